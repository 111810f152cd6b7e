//! What the log is told of a request before anything has come of it.

use std::time::Duration;

use http::request::Parts;
use http::{Method, Version, header};

use super::downstream::Downstream;
use super::worker::Worker;
use crate::observe::{AccessEvent, RequestId, WireText};

/// An event of a request with this head.
pub(super) fn event_of(
    parts: &Parts,
    request_id: RequestId,
    downstream: &Downstream,
    worker: &Worker,
    generation: u64,
) -> AccessEvent {
    AccessEvent {
        protocol: protocol(parts.version),
        method: parts.method.clone(),
        host: raw_host(parts),
        path: raw_path(parts),
        ..blank_event(request_id, downstream, worker, generation)
    }
}

/// An event of which only the connection is known yet.
pub(super) fn blank_event(
    request_id: RequestId,
    downstream: &Downstream,
    worker: &Worker,
    generation: u64,
) -> AccessEvent {
    AccessEvent {
        time: worker.clock().now(),
        request_id,
        peer: downstream.peer,
        client: downstream.peer.ip().to_canonical(),
        protocol: "-",
        method: unknown_method(),
        host: None,
        path: WireText::Other(Box::default()),
        route: None,
        status: CLIENT_CLOSED_REQUEST,
        reason: CLIENT_CLOSED,
        issuer: None,
        kid: None,
        subject: None,
        generation,
        duration: Duration::ZERO,
        upstream: None,
        bytes_in: 0,
        bytes_out: 0,
    }
}

/// What stands for a method that could not be read.
fn unknown_method() -> Method {
    Method::from_bytes(b"-").expect("a hyphen is a token (RFC 9110 §5.6.2)")
}

const fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}

/// The host as the client wrote it, for the log alone.
fn raw_host(parts: &Parts) -> Option<WireText> {
    let field = || parts.headers.get(header::HOST).cloned();
    match parts.uri.authority() {
        Some(authority) => Some(WireText::Authority(authority.clone())),
        None => field().map(WireText::Field),
    }
}

/// The path as the client wrote it, for the log alone.
fn raw_path(parts: &Parts) -> WireText {
    match parts.uri.path_and_query() {
        Some(target) => WireText::Path(target.clone()),
        None => WireText::Other(Box::default()),
    }
}

/// The reason of a request whose client went away before the end of the answer.
pub(super) const CLIENT_CLOSED: &str = "client_closed";

/// No status was sent; the number that logs have for it since nginx.
pub(super) const CLIENT_CLOSED_REQUEST: u16 = 499;
