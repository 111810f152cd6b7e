//! One request and its answer as the log sees them: begun once, told once.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, Version, header};
use tokio::time::Instant;

use super::body::{Progress, ResponseBody, Source, State};
use super::delivery::{Cut, Delivery};
use super::downstream::{Downstream, InFlightGuard};
use super::event::{CLIENT_CLOSED, CLIENT_CLOSED_REQUEST, event_of};
use super::forwarded::Origin;
use super::headers;
use super::portion::{Allowance, Backlog};
use super::rejection::Rejection;
use super::tunnel::End;
use super::upload::Upload;
use super::worker::Worker;
use crate::observe::{AccessEvent, RequestId, RouteName};
use crate::snapshot::Snapshot;
use crate::token::{Refusal, VerifiedToken};

/// One request and its answer. Dropping it writes the access event.
///
/// It goes through many hands and is large, so it is always in a box.
pub(super) struct Exchange {
    worker: Rc<Worker>,
    downstream: Rc<Downstream>,
    version: Version,
    begun: Instant,
    event: AccessEvent,
    origin: Origin,
    progress: Rc<Progress>,
    complete: bool,
    /// When the last byte of the answer was handed over, if it was.
    completed: Option<Instant>,
    delivery: Rc<Delivery>,
    hsts: Option<HeaderValue>,
    _in_flight: InFlightGuard,
}

impl Exchange {
    pub(super) fn begin(
        parts: &Parts,
        body: &Upload,
        downstream: &Rc<Downstream>,
        worker: &Rc<Worker>,
        snapshot: &Snapshot,
    ) -> Box<Self> {
        let begun = downstream.now.get();
        let believed = downstream.believed(&snapshot.trusted_proxies);
        let origin = headers::origin(downstream.peer.ip(), &parts.headers, believed);
        let request_id = believed
            .and_then(|_| headers::request_id(&parts.headers))
            .unwrap_or_else(|| worker.next_request_id());
        Box::new(Self {
            event: AccessEvent {
                client: origin.client(),
                ..event_of(parts, request_id, downstream, worker, snapshot.generation)
            },
            origin,
            worker: worker.clone(),
            version: parts.version,
            begun,
            progress: Progress::new(body, begun),
            complete: false,
            completed: None,
            delivery: downstream.deliveries.begin(begun),
            hsts: None,
            _in_flight: downstream.in_flight.enter(),
            downstream: downstream.clone(),
        })
    }

    pub(super) fn worker(&self) -> &Rc<Worker> {
        &self.worker
    }

    pub(super) fn downstream(&self) -> &Rc<Downstream> {
        &self.downstream
    }

    /// Where the request came from.
    pub(super) const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// What the request is called.
    pub(super) const fn request_id(&self) -> &RequestId {
        &self.event.request_id
    }

    pub(super) fn progress(&self) -> &Rc<Progress> {
        &self.progress
    }

    /// Notes the host, once it is known to be one.
    pub(super) fn addressed(&mut self, host: &str, snapshot: &Snapshot) {
        if self.downstream.secured.is_some() {
            self.hsts = snapshot.hsts_for(host).cloned();
        }
    }

    /// Notes the route.
    pub(super) fn routed(&mut self, route: &RouteName) {
        self.event.route = Some(route.clone());
    }

    /// The name of the route that was noted.
    pub(super) const fn route(&self) -> Option<&RouteName> {
        self.event.route.as_ref()
    }

    /// Notes whose token it was.
    pub(super) fn identified(&mut self, token: &VerifiedToken) {
        self.event.issuer = Some(token.issuer().clone());
        self.event.kid = token.key().shared_kid();
        if self.worker.snapshot().log_subject {
            self.event.subject = token.claims().subject().as_deref().map(Arc::from);
        }
    }

    /// Notes what may be said of a refused token.
    pub(super) fn unidentified(&mut self, refusal: Refusal) {
        self.event.issuer = refusal.issuer;
        self.event.kid = refusal.kid;
    }

    /// Notes how long the upstream took to the head of its answer.
    pub(super) fn upstream_took(&mut self, duration: Duration) {
        self.event.upstream = Some(duration);
    }

    /// Whether the request's body has gone through whole.
    pub(super) fn request_finished(&self) -> bool {
        self.progress.state() == State::Finished
    }

    /// Whether the request was refused because its client broke its body off.
    fn is_broken(&self) -> bool {
        let refused = Rejection::MalformedBody.status().as_u16();
        self.progress.state() == State::Broken && self.event.status == refused
    }

    /// `length` more bytes of the answer's body were handed over.
    pub(super) fn sent(&mut self, length: usize, now: Instant) {
        self.event.bytes_out += length as u64;
        self.delivery.handed_over(now);
    }

    /// What is sent goes this way, which tells when some of it is taken.
    pub(super) fn delivered_through(&self, backlog: &Backlog) {
        self.delivery.watch(backlog);
    }

    /// More of the answer's body is asked for: what was handed over has been taken.
    pub(super) fn asked(&mut self) {
        self.delivery.taken();
    }

    /// More of it cannot be handed over yet, as the client has not taken what was.
    pub(super) fn held_back(&self) {
        self.delivery.held_back();
    }

    /// The answer was handed over whole.
    pub(super) fn completed(&mut self, now: Instant) {
        self.complete = true;
        self.completed = Some(now);
    }

    /// Whether the answer has lasted longer than it may. If so, that is how it ends.
    pub(super) fn is_too_old(&mut self, now: Instant) -> bool {
        let is_too_old = now - self.begun > self.worker.snapshot().limits.max_stream_age;
        if is_too_old {
            self.event.reason = STREAM_TOO_OLD;
            self.complete = true;
        }
        is_too_old
    }

    /// The upstream broke off in the middle of its answer; or the client did in the middle of its
    /// request, which ends the connection upstream.
    pub(super) fn broke_off(&mut self) {
        self.event.reason = match self.progress.state() {
            State::Broken => CLIENT_CLOSED,
            State::TooLarge => Rejection::BodyTooLarge.label(),
            State::Held | State::Awaited | State::Finished => UPSTREAM_BROKE_OFF,
        };
        self.complete = true;
    }

    /// Sends what the upstream, or we in its place, had to say.
    pub(super) fn answer(
        mut self: Box<Self>,
        response: Response<Source>,
    ) -> Response<ResponseBody> {
        self.event.reason = OK;
        self.event.status = response.status().as_u16();
        self.hand_over(response)
    }

    /// Sends a refusal.
    pub(super) fn refuse(mut self: Box<Self>, rejection: &Rejection) -> Response<ResponseBody> {
        self.event.reason = rejection.label();
        self.event.status = rejection.status().as_u16();
        let mut response = rejection.respond(&self.event.request_id);
        // A body that nobody wants is not read: the client is told not to reuse the connection.
        if rejection.breaks_connection() || !self.request_finished() {
            self.close_after(&mut response);
        }
        self.hand_over(response)
    }

    /// Sends the client to the same place over https (RFC 9110 §15.4.9).
    pub(super) fn redirect(mut self: Box<Self>, location: HeaderValue) -> Response<ResponseBody> {
        let mut response = Response::new(Source::Empty);
        *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
        response.headers_mut().insert(header::LOCATION, location);
        self.event.reason = REDIRECT;
        self.event.status = StatusCode::PERMANENT_REDIRECT.as_u16();
        if !self.request_finished() {
            self.close_after(&mut response);
        }
        self.hand_over(response)
    }

    /// Notes that the connection is used for something else from now on.
    pub(super) fn switched(&mut self, status: StatusCode) {
        self.event.status = status.as_u16();
    }

    /// Notes how that ended.
    pub(super) fn tunnelled(&mut self, end: End) {
        self.event.reason = end.label();
        self.complete = true;
    }

    /// Notes what passed either way.
    pub(super) fn passed(&mut self, received: u64, sent: u64) {
        self.event.bytes_out = sent;
        self.progress.add(received);
    }

    fn hand_over(mut self: Box<Self>, mut response: Response<Source>) -> Response<ResponseBody> {
        if self.downstream.closing.get() {
            self.close_after(&mut response);
        }
        let allowance = self.downstream.allowance.clone();
        let are_many = allowance.as_ref().is_some_and(Allowance::one_more_head);
        if are_many || response.body().is_large() {
            headers::detach(response.headers_mut());
        }
        headers::name_answer(response.headers_mut(), self.request_id());
        if let Some(hsts) = self.hsts.take() {
            response
                .headers_mut()
                .insert(header::STRICT_TRANSPORT_SECURITY, hsts);
        }
        if self.event.method == Method::HEAD {
            omit_content(&mut response);
        }
        response.map(|source| ResponseBody::new(source, self, allowance.as_ref()))
    }

    /// Only HTTP/1 says so in a field; HTTP/2 has frames for it (RFC 9113 §8.2.2).
    fn close_after(&self, response: &mut Response<Source>) {
        if self.version < Version::HTTP_2 {
            response
                .headers_mut()
                .insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.complete {
            self.event.reason = match self.delivery.why_cut() {
                Some(Cut::Stalled) => CLIENT_STALLED,
                Some(Cut::TooOld) => STREAM_TOO_OLD,
                None if self.worker.has_ended() => DRAINED,
                None => CLIENT_CLOSED,
            };
            // To a client that took its upload back, there is nobody to tell what was wrong with it.
            if self.event.reason == CLIENT_CLOSED && self.is_broken() {
                self.event.status = CLIENT_CLOSED_REQUEST;
            }
            if self.event.reason == CLIENT_CLOSED {
                let snapshot = self.worker.snapshot();
                self.downstream.took_back(&snapshot.trusted_proxies);
            }
            if self.event.reason == DRAINED && self.event.status == CLIENT_CLOSED_REQUEST {
                self.event.status = StatusCode::SERVICE_UNAVAILABLE.as_u16();
            }
        }
        self.downstream.ended(self.request_finished());
        self.downstream.deliveries.end(&self.delivery);
        let ended = self.completed.unwrap_or_else(Instant::now);
        self.event.duration = ended.saturating_duration_since(self.begun);
        self.event.bytes_in = self.progress.bytes();
        self.worker.record(&self.event);
    }
}

/// To HEAD, only the length of our own words is sent (RFC 9110 §9.3.2).
fn omit_content(response: &mut Response<Source>) {
    if let Source::Own(bytes) = response.body() {
        let length = HeaderValue::from(bytes.len());
        response
            .headers_mut()
            .insert(header::CONTENT_LENGTH, length);
        *response.body_mut() = Source::Empty;
    }
}

/// The reason of a request that was answered.
const OK: &str = "ok";

/// The reason of an answer of the plain listener.
const REDIRECT: &str = "redirect";

const DRAINED: &str = End::Drained.label();

/// The reason of an answer of which the client took nothing for too long.
const CLIENT_STALLED: &str = "client_stalled";

/// The reason of an answer whose body the upstream did not finish.
const UPSTREAM_BROKE_OFF: &str = "upstream_broke_off";

/// The reason of an answer that lasted longer than it may.
const STREAM_TOO_OLD: &str = "stream_too_old";
