//! Who answers the requests of a connection: the gateway, the redirect to it, or the admin.

use std::convert::Infallible;
use std::error::Error;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, Version, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;

use crate::admin::{self, AdminState};
use crate::proxy::{self, Arrival, Downstream, Portion, ResponseBody, Worker};

/// What a listener does with requests.
#[derive(Clone)]
pub(super) enum Answer {
    /// Forwards them, if they may pass.
    Forward(Rc<Worker>),
    /// Sends the client to https.
    Redirect(Rc<Worker>),
    /// Tells the operator.
    Admin(Arc<AdminState>),
}

/// A request that has arrived and is not answered yet.
pub(super) enum Request {
    Forward(Arrival),
    Redirect(Arrival),
    /// The operator's, which takes no time.
    Answered(Response<Full<Bytes>>),
}

impl Answer {
    /// What is still under way dies now.
    pub(super) fn end(&self) {
        match self {
            Self::Forward(worker) | Self::Redirect(worker) => worker.end(),
            Self::Admin(_) => {}
        }
    }

    /// Takes a request in. What is not done here may never be: a client that goes away at once
    /// leaves no time for more.
    pub(super) fn receive(
        &self,
        request: http::Request<Incoming>,
        downstream: &Rc<Downstream>,
    ) -> Request {
        match self {
            Self::Forward(worker) => Request::Forward(Arrival::note(request, downstream, worker)),
            Self::Redirect(worker) => Request::Redirect(Arrival::note(request, downstream, worker)),
            Self::Admin(state) => {
                let mut answer = admin::respond(&request, state);
                downstream.in_flight.pass();
                let is_read = request.body().is_end_stream();
                downstream.ended(is_read);
                if !is_read && request.version() < Version::HTTP_2 {
                    let close = HeaderValue::from_static("close");
                    answer.headers_mut().insert(header::CONNECTION, close);
                }
                Request::Answered(answer)
            }
        }
    }

    /// Notes a request whose head hyper itself refused; `status` is what it said.
    pub(super) fn unreadable(&self, status: StatusCode, reason: &'static str, to: &Downstream) {
        match self {
            Self::Forward(worker) | Self::Redirect(worker) => {
                proxy::note_unreadable(status, reason, to, worker);
            }
            Self::Admin(_) => {}
        }
    }
}

/// The answer, once it is there.
///
/// In a box: hyper and tokio move it some five times before it runs, and keep the room for it as
/// long as the answer's body lasts; and the stream can be taken back from an HTTP/1 connection
/// that is not pinned.
pub(super) type Answering = Pin<Box<dyn Future<Output = Result<Response<AnswerBody>, Infallible>>>>;

impl Request {
    pub(super) fn answer(self) -> Answering {
        match self {
            Self::Forward(arrival) => Box::pin(proxy::handle(arrival, AnswerBody::Proxy)),
            Self::Redirect(arrival) => at_once(arrival.redirect().map(AnswerBody::Proxy)),
            Self::Answered(answer) => at_once(answer.map(AnswerBody::Admin)),
        }
    }

    /// For a request whose head has lines that end with LF alone.
    pub(super) fn refuse_bare_line_feeds(self) -> Answering {
        at_once(match self {
            Self::Forward(arrival) | Self::Redirect(arrival) => {
                arrival.refuse_bare_line_feeds().map(AnswerBody::Proxy)
            }
            // Nothing is forwarded, so nobody can read it another way.
            Self::Answered(answer) => answer.map(AnswerBody::Admin),
        })
    }
}

fn at_once(answer: Response<AnswerBody>) -> Answering {
    Box::pin(std::future::ready(Ok(answer)))
}

/// An answer's body.
pub(super) enum AnswerBody {
    Proxy(ResponseBody),
    Admin(Full<Bytes>),
}

impl Body for AnswerBody {
    type Data = Portion;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Portion>, Self::Error>>> {
        match self.get_mut() {
            Self::Proxy(body) => Pin::new(body).poll_frame(cx),
            Self::Admin(body) => {
                let frame = Pin::new(body).poll_frame(cx).map_err(Into::into);
                frame.map_ok(|frame| frame.map_data(Portion::from))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Proxy(body) => body.is_end_stream(),
            Self::Admin(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Proxy(body) => body.size_hint(),
            Self::Admin(body) => body.size_hint(),
        }
    }
}
