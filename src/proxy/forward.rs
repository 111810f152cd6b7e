//! A permit becomes a request upstream, and what comes back becomes an answer.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use super::Reply;
use super::admit::Admission;
use super::body::{Progress, RequestBody, Source, State};
use super::ending;
use super::exchange::Exchange;
use super::headers::{
    Framing, RequestRules, detach, one_hop_less, rewrite_request, rewrite_response, rewrite_switch,
};
use super::rejection::Rejection;
use super::upgrade::{Upgrade, is_websocket};
use super::upload::Upload;
use crate::observe::with_causes;
use crate::policy::Permit;
use crate::snapshot::Snapshot;
use crate::upstream::{ConnectError, Lease, SendError, Stage, Target};

/// Leave of an upstream to use a connection for something else than HTTP.
pub(super) struct Switch {
    pub(super) upstream: OnUpgrade,
    pub(super) lease: Lease<RequestBody>,
    pub(super) is_websocket: bool,
}

/// An admitted request in the form in which its upstream gets it.
pub(super) struct Forwarding {
    /// In a box, so that what waits for the answer is small.
    request: Box<Request<RequestBody>>,
    target: Arc<Target>,
    timeout: Duration,
    permit: Permit,
    upgrade: Option<Upgrade>,
    body_timeout: Duration,
}

/// Makes of an admitted request what its upstream gets.
pub(super) fn begin(
    mut admission: Admission<'_>,
    parts: &mut Parts,
    body: Upload,
    upgrade: Option<Upgrade>,
    snapshot: &Snapshot,
    exchange: &Exchange,
) -> Forwarding {
    let request = upstream_request(
        &mut admission,
        parts,
        body,
        upgrade.as_ref(),
        snapshot,
        exchange,
    );
    Forwarding {
        request: Box::new(request),
        target: admission.route.target.clone(),
        timeout: admission.route.timeout,
        permit: admission.permit,
        upgrade,
        body_timeout: snapshot.limits.body_timeout,
    }
}

impl Forwarding {
    /// Sends the request and waits for the head of the answer.
    ///
    /// # Errors
    /// The [`Rejection`]s from [`BodyTooLarge`](Rejection::BodyTooLarge) on.
    ///
    /// # Cancellation
    /// A client that goes away drops the future, and with it the request upstream.
    pub(super) fn answered(
        self,
        exchange: &mut Exchange,
    ) -> impl Future<Output = Result<Reply, Rejection>> {
        let Self {
            request,
            target,
            timeout,
            permit,
            upgrade,
            body_timeout,
        } = self;
        let worker = exchange.worker().clone();
        let progress = exchange.progress().clone();
        async move {
            let (asked, stage) = (Instant::now(), Cell::new(Stage::Waiting));
            let answer = tokio::select! {
                answer = worker.pool().send(&permit, &target, request, asked, &stage) => answer,
                late = too_late(&progress, asked, timeout, body_timeout) => {
                    let rejection = blame_for(late, stage.get());
                    debug!(route = exchange.route().map(display), why = rejection.label(), "too late");
                    return Err(rejection);
                }
            };
            let (response, lease) = answer.map_err(|error| {
                debug!(route = exchange.route().map(display), why = %with_causes(&error), "no answer from the upstream");
                blame(&progress, &error)
            })?;
            exchange.upstream_took(asked.elapsed());
            conclude(response, lease, upgrade)
        }
    }
}

/// What an upstream's answer comes to.
fn conclude(
    response: Response<Incoming>,
    lease: Lease<RequestBody>,
    upgrade: Option<Upgrade>,
) -> Result<Reply, Rejection> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        // Unless it was asked for, it is no answer.
        let upgrade = upgrade.ok_or(Rejection::UpstreamBroken)?;
        return switch(response, lease, &upgrade);
    }
    let (mut head, incoming) = response.into_parts();
    ending::settle(&mut head).map_err(|_ambiguous| Rejection::UpstreamBroken)?;
    if upgrade.is_some_and(|upgrade| !upgrade.may_answer(head.status)) {
        return Err(Rejection::UpstreamBroken);
    }
    rewrite_response(&mut head.headers);
    head.version = Version::HTTP_11;
    head.extensions.clear();
    Ok(Reply::Answer(Response::from_parts(
        head,
        Source::Upstream {
            incoming,
            lease: Some(lease),
        },
    )))
}

/// What an upstream's 101 comes to.
fn switch(
    mut response: Response<Incoming>,
    lease: Lease<RequestBody>,
    upgrade: &Upgrade,
) -> Result<Reply, Rejection> {
    let protocol = upgrade
        .accepted(response.headers())
        .ok_or(Rejection::UpstreamBroken)?;
    let upstream = hyper::upgrade::on(&mut response);
    let (mut head, _) = response.into_parts();
    rewrite_switch(&mut head.headers, upgrade, &protocol);
    // It may wait for its turn, and not in the buffer that it came in.
    detach(&mut head.headers);
    head.status = upgrade.status();
    head.version = Version::HTTP_11;
    head.extensions.clear();
    let switch = Switch {
        upstream,
        lease,
        is_websocket: is_websocket(&protocol),
    };
    Ok(Reply::Switch(
        Response::from_parts(head, ()),
        Box::new(switch),
    ))
}

fn upstream_request(
    admission: &mut Admission<'_>,
    parts: &mut Parts,
    body: Upload,
    upgrade: Option<&Upgrade>,
    snapshot: &Snapshot,
    exchange: &Exchange,
) -> Request<RequestBody> {
    let route = admission.route;
    let mut headers = std::mem::take(&mut parts.headers);
    if parts.method == Method::OPTIONS {
        one_hop_less(&mut headers);
    }
    let announced = rewrite_request(
        &mut headers,
        &RequestRules {
            reserved: &snapshot.reserved,
            keep_authorization: route.keep_authorization,
            limits_methods: route.limits_methods,
            origin: exchange.origin(),
            told: &exchange.downstream().told,
            request_id: exchange.request_id(),
            version: parts.version,
            pseudonym: &snapshot.pseudonym,
            client_host: &admission.host,
            upstream_host: if route.own_host {
                route.to.host_header()
            } else {
                &admission.host
            },
            framing: Framing::of(&body),
            upgrade,
        },
        &mut admission.permit,
    );
    let mut request = Request::new(RequestBody::new(
        body,
        route.max_body,
        announced,
        exchange.progress().clone(),
    ));
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = Uri::from(admission.target.clone());
    *request.headers_mut() = headers;
    request
}

/// Whom to blame for an answer that is overdue: an upstream that has not got the request yet owes
/// none.
const fn blame_for(late: Late, stage: Stage) -> Rejection {
    match (late, stage) {
        (Late::Body, _) => Rejection::BodyTimeout,
        (Late::Answer, Stage::Waiting) => Rejection::UpstreamOverloaded,
        (Late::Answer, Stage::Connecting) => Rejection::UpstreamUnreachable,
        (Late::Answer, Stage::Sent) => Rejection::UpstreamTimeout,
    }
}

/// What is overdue.
enum Late {
    /// More of the request's body.
    Body,
    /// The head of the answer.
    Answer,
}

/// Resolves when the answer's head is overdue: `timeout` after the request's body last moved, so
/// that a long upload is no slow upstream; or when the client sends nothing of a body that is
/// waited for, for `body_timeout`.
async fn too_late(
    progress: &Progress,
    mut now: Instant,
    timeout: Duration,
    body_timeout: Duration,
) -> Late {
    loop {
        let is_awaited = progress.state() == State::Awaited;
        let patience = if is_awaited {
            body_timeout.min(timeout)
        } else {
            timeout
        };
        let due = progress.moved() + patience;
        if due > now {
            // Whose turn it is may change in the meantime, and with it the patience.
            sleep_until(due.min(now + body_timeout)).await;
            now = Instant::now();
        } else if is_awaited {
            return Late::Body;
        } else {
            return Late::Answer;
        }
    }
}

/// Whose fault it is that there is no answer: hyper reports a client's broken body as a failure
/// of the upstream connection that it was sent on.
fn blame(progress: &Progress, error: &SendError) -> Rejection {
    match (progress.state(), error) {
        (State::TooLarge, _) => Rejection::BodyTooLarge,
        (State::Broken, _) => Rejection::MalformedBody,
        (_, SendError::Overloaded) => Rejection::UpstreamOverloaded,
        (_, SendError::Unreachable(ConnectError::Unresolved)) => Rejection::UpstreamUnresolved,
        (_, SendError::Unreachable(ConnectError::Tls(_))) => Rejection::UpstreamTls,
        (_, SendError::Unreachable(ConnectError::TimedOut | ConnectError::Refused(_))) => {
            Rejection::UpstreamUnreachable
        }
        (_, SendError::Broken(_)) if error.is_about_tls() => Rejection::UpstreamTls,
        (_, SendError::Broken(_)) => Rejection::UpstreamBroken,
    }
}
