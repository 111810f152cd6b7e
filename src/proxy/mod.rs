//! The request's life: [`handle`] is where to start reading.

mod admit;
mod body;
mod carry;
mod delivery;
mod downstream;
mod ending;
mod event;
mod exchange;
mod forward;
mod forwarded;
mod gate;
mod headers;
mod portion;
mod rejection;
mod request_id;
mod told;
mod tunnel;
mod upgrade;
mod upload;
mod websocket;
mod worker;

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;

pub use body::{RequestBody, ResponseBody};
pub use delivery::{Cut, Delivery};
pub use downstream::{Downstream, InFlight, Peer, Secured};
pub use portion::{Allowance, Portion};
pub use tunnel::Tunnel;
pub use worker::Worker;

use crate::observe::AccessEvent;
use crate::snapshot::Current;

use admit::{Admitted, admit};
use exchange::Exchange;
use forward::{Forwarding, Switch};
use rejection::Rejection;
use upgrade::Upgrade;
use upload::Upload;

/// A request that has arrived. Its event is written whatever becomes of it, once this is dropped
/// or its answer's last byte has been handed over.
pub struct Arrival {
    parts: Box<Parts>,
    body: Upload,
    exchange: Box<Exchange>,
    /// What it is decided by, from its first check to the last.
    snapshot: Current,
}

impl Arrival {
    /// Notes a request. Nothing is decided yet.
    pub fn note(
        request: Request<Incoming>,
        downstream: &Rc<Downstream>,
        worker: &Rc<Worker>,
    ) -> Self {
        let (parts, body) = request.into_parts();
        let body = Upload::new(body, parts.version, downstream);
        let snapshot = worker.snapshot();
        Self {
            exchange: Exchange::begin(&parts, &body, downstream, worker, &snapshot),
            snapshot,
            parts: Box::new(parts),
            body,
        }
    }

    /// Refuses a request whose head has lines that end with LF alone (RFC 9112 §2.2): not
    /// everybody takes that for the end of a line.
    pub fn refuse_bare_line_feeds(self) -> Response<ResponseBody> {
        self.exchange.refuse(&Rejection::BareLineFeed)
    }

    /// Answers a request on the plain listener: the same place over https, and nothing else.
    pub fn redirect(self) -> Response<ResponseBody> {
        match admit::redirect_location(&self.parts, self.snapshot.public_port) {
            Ok(location) => self.exchange.redirect(location),
            Err(rejection) => self.exchange.refuse(&rejection),
        }
    }
}

/// Answers one request, whatever it is, with a body that is wrapped once more.
///
/// Admit, forward, one access event: the event is written when the last byte of the answer has
/// been handed over, or when the client has gone. It cannot fail: a refusal, a broken upstream
/// and a panic are answers too.
pub fn handle<B>(
    arrival: Arrival,
    wrap: impl Fn(ResponseBody) -> B,
) -> impl Future<Output = Result<Response<B>, Infallible>> {
    // Taken apart outside: a future keeps the room for what it was given.
    let Arrival {
        mut parts,
        body,
        mut exchange,
        snapshot,
    } = arrival;
    async move {
        let outcome = {
            let responding = pin!(respond(&mut parts, body, snapshot, &mut exchange));
            contain_panics(responding).await
        };
        let response = match outcome {
            Some(Ok(Reply::Answer(response))) => exchange.answer(response),
            Some(Ok(Reply::Switch(head, switch))) => {
                let client = parts.extensions.remove();
                tunnel::open(head, *switch, client, exchange)
            }
            Some(Err(rejection)) => exchange.refuse(&rejection),
            None => exchange.refuse(&Rejection::Panicked),
        };
        Ok(response.map(wrap))
    }
}

/// Writes the access event of a request whose head hyper itself refused. All that is known of it
/// is what was said in answer, and to whom.
pub fn note_unreadable(
    status: StatusCode,
    reason: &'static str,
    downstream: &Downstream,
    worker: &Worker,
) {
    let event = AccessEvent {
        protocol: "HTTP/1.1",
        status: status.as_u16(),
        reason,
        ..event::blank_event(
            worker.next_request_id(),
            downstream,
            worker,
            worker.snapshot().generation,
        )
    };
    worker.record(&event);
}

/// What a request comes to, if nothing is wrong with it.
enum Reply {
    /// An answer.
    Answer(Response<body::Source>),
    /// The end of HTTP.
    Switch(Response<()>, Box<Switch>),
}

async fn respond(
    parts: &mut Parts,
    body: Upload,
    snapshot: Current,
    exchange: &mut Exchange,
) -> Result<Reply, Rejection> {
    // Two statements: nothing of the first is kept while the second takes its time.
    let forwarding = match judge(parts, body, snapshot, exchange)? {
        Judged::Forward(forwarding) => forwarding,
        Judged::Reply(reply) => return Ok(*reply),
    };
    forwarding.answered(exchange).await
}

/// What a request may have.
enum Judged {
    /// An answer from its upstream.
    Forward(Forwarding),
    /// One of ours.
    Reply(Box<Reply>),
}

/// Decides about a request, by a snapshot that goes before what may take long.
fn judge(
    parts: &mut Parts,
    body: Upload,
    snapshot: Current,
    exchange: &mut Exchange,
) -> Result<Judged, Rejection> {
    let upgrade = Upgrade::wanted(parts, &body);
    let admission = match admit(parts, &body, &snapshot, exchange)? {
        Admitted::Forward(admission) => admission,
        Admitted::Server => {
            let reply = Reply::Answer(server_options());
            return Ok(Judged::Reply(Box::new(reply)));
        }
    };
    let upgrade = match upgrade {
        upgrade if admission.route.upgrade => upgrade,
        // As if it had not asked: a server need not switch (RFC 9110 §7.8).
        None | Some(Upgrade::Offered(_)) => None,
        Some(Upgrade::ExtendedConnect(_)) => return Err(Rejection::UpgradeNotEnabled),
    };
    let forwarding = forward::begin(admission, parts, body, upgrade, &snapshot, exchange);
    Ok(Judged::Forward(forwarding))
}

/// `OPTIONS *` asks about the server as a whole (RFC 9110 §9.3.7), which is us; and so are we the
/// last that a request with no hop left is for (§7.6.2).
fn server_options() -> Response<body::Source> {
    let mut response = Response::new(body::Source::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(
        header::ALLOW,
        HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
    );
    response
}

/// Runs a future; `None` if it panicked. Whatever it had borrowed is still ours to answer with.
///
/// It is lent, not given: a future that is moved into another one has its place in both.
async fn contain_panics<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    std::future::poll_fn(
        |cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(Poll::Ready(output)) => Poll::Ready(Some(output)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(_) => Poll::Ready(None),
        },
    )
    .await
}
