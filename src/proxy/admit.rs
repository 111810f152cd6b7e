//! May this request pass? Head, route, credential, verified token, permit, in this order.
//!
//! Nothing here waits, and nothing is sent: an [`Admission`] is what forwarding needs.

use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Version, header};
use hyper::body::Body;

use super::downstream::Downstream;
use super::exchange::Exchange;
use super::headers::{has_come_back, has_no_hop_left};
use super::rejection::Rejection;
use super::upload::Upload;
use crate::policy::{self, Permit};
use crate::route::{Access, Ambiguity, HeadError, Lookup, RequestHead, Route};
use crate::snapshot::Snapshot;
use crate::token::{self, CredentialError, InvalidToken, Presented};

/// What an admitted request is.
pub(super) enum Admitted<'s> {
    /// One for an upstream.
    Forward(Admission<'s>),
    /// `OPTIONS` about the server itself, or for the last one that it may reach.
    Server,
}

/// Leave to forward a request, and where to.
pub(super) struct Admission<'s> {
    pub(super) route: &'s Route,
    pub(super) permit: Permit,
    /// The target, in the canonical form that was decided on.
    pub(super) target: PathAndQuery,
    /// The host the client asked for.
    pub(super) host: HeaderValue,
}

/// Decides about a request by its head alone.
///
/// # Errors
/// The first [`Rejection`] in the order of the checks.
pub(super) fn admit<'s>(
    parts: &Parts,
    body: &Upload,
    snapshot: &'s Snapshot,
    exchange: &mut Exchange,
) -> Result<Admitted<'s>, Rejection> {
    check_fields(parts, body, snapshot)?;
    let head = RequestHead::parse(parts).map_err(Rejection::Head)?;
    exchange.addressed(head.host(), snapshot);
    check_direction(head.host(), exchange.downstream())?;
    if head.is_about_the_server() {
        return Ok(Admitted::Server);
    }
    let route = match snapshot
        .routes
        .find(head.host(), head.path(), &parts.method)
    {
        Lookup::Found(route) => route,
        Lookup::NoRoute => return Err(Rejection::NoRoute),
        Lookup::MethodNotAllowed { allow } => return Err(Rejection::MethodNotAllowed(allow)),
    };
    exchange.routed(&route.name);
    check_parameters(&head, route, snapshot)?;
    let permit = permit(route, &parts.headers, snapshot, exchange)?;
    if parts.method == Method::OPTIONS && has_no_hop_left(&parts.headers) {
        return Ok(Admitted::Server);
    }
    if route
        .max_body
        .is_some_and(|limit| body.size_hint().lower() > limit)
    {
        return Err(Rejection::BodyTooLarge);
    }
    Ok(Admitted::Forward(Admission {
        target: forwarded_target(&head, route, parts)?,
        host: host_field(&head, &parts.headers, exchange.downstream())?,
        permit,
        route,
    }))
}

/// Many an upstream drops what follows a `;` in a segment before it looks at the path. It must not
/// come to what another route is for.
fn check_parameters(
    head: &RequestHead<'_>,
    route: &Route,
    snapshot: &Snapshot,
) -> Result<(), Rejection> {
    let Some(path) = head.path_without_parameters() else {
        return Ok(());
    };
    let ambiguous = || Rejection::Head(HeadError::Ambiguous(Ambiguity::PathParameters));
    let path = path.map_err(|_no_path| ambiguous())?;
    match snapshot.routes.find(head.host(), &path, head.method()) {
        Lookup::Found(other) if std::ptr::eq(other, route) => Ok(()),
        Lookup::Found(_) | Lookup::NoRoute | Lookup::MethodNotAllowed { .. } => Err(ambiguous()),
    }
}

/// The host as the upstream may get it: the client's own field, if that is canonical already.
fn host_field(
    head: &RequestHead<'_>,
    headers: &HeaderMap,
    downstream: &Downstream,
) -> Result<HeaderValue, Rejection> {
    let canonical = head.host_field();
    match headers.get(header::HOST) {
        Some(field) if field == canonical => Ok(field.clone()),
        Some(_) | None => downstream
            .told
            .host(canonical)
            .map_or_else(|| HeaderValue::from_str(canonical), Ok)
            .map_err(|_| Rejection::Head(HeadError::Ambiguous(Ambiguity::HostMalformed))),
    }
}

/// Who is asking, and may they?
fn permit(
    route: &Route,
    headers: &HeaderMap,
    snapshot: &Snapshot,
    exchange: &mut Exchange,
) -> Result<Permit, Rejection> {
    let (accepted, policy) = match &*route.access {
        Access::Public => return Ok(Permit::public()),
        Access::Bearer { accepted, policy } => (accepted, policy),
    };
    let presented = Presented::from_headers(headers).map_err(no_credential)?;
    let accepted = token::accepted(accepted, &snapshot.issuers);
    let worker = exchange.worker().clone();
    let now = worker.clock().numeric_date();
    let mut verifier = worker.verifier();
    let outcome = match verifier.recall(presented, accepted.clone(), now) {
        Some(outcome) => outcome,
        None => {
            let credential = presented.credential().map_err(no_credential)?;
            verifier.verify(credential, accepted, now)
        }
    };
    let token = outcome.map_err(|refusal| {
        let reason = refusal.reason;
        exchange.unidentified(refusal);
        Rejection::InvalidToken(reason)
    })?;
    exchange.identified(&token);
    policy::authorize(policy, &token)
        .map_err(|_unusable| Rejection::InvalidToken(InvalidToken::ClaimUnusable))
}

fn no_credential(error: CredentialError) -> Rejection {
    match error {
        CredentialError::Missing => Rejection::NoCredential,
        CredentialError::Malformed(how) => Rejection::MalformedCredential(how),
    }
}

/// What can be said about the fields before anybody asks what they mean.
fn check_fields(parts: &Parts, body: &Upload, snapshot: &Snapshot) -> Result<(), Rejection> {
    let headers = &parts.headers;
    let most = snapshot.limits.header_fields;
    // Browsers send each cookie in a line of its own on HTTP/2; that is one field all the same.
    if headers.len() > most && headers.len() - further_cookies(headers) > most {
        return Err(Rejection::TooManyFields);
    }
    check_framing(parts, body)?;
    let mut expectations = headers.get_all(header::EXPECT).iter();
    if expectations.any(|value| !value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return Err(Rejection::UnknownExpectation);
    }
    if has_come_back(headers, &snapshot.pseudonym) {
        return Err(Rejection::Loop);
    }
    Ok(())
}

fn further_cookies(headers: &HeaderMap) -> usize {
    headers.get_all(header::COOKIE).iter().skip(1).count()
}

/// Only one reading of where the message ends (RFC 9112 §6).
///
/// hyper has settled most of it before we see the head; what it lets pass is more than one
/// transfer coding, and a body without a length from an HTTP/1.0 client.
fn check_framing(parts: &Parts, body: &Upload) -> Result<(), Rejection> {
    let mut codings = parts.headers.get_all(header::TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        let is_only_one = codings.next().is_none();
        if parts.version == Version::HTTP_2 || !is_only_one {
            return Err(Rejection::AmbiguousFraming);
        }
        if !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return Err(judge_codings(coding.as_bytes()));
        }
    }
    // No client may send content with it (RFC 9110 §9.3.8), and not everybody looks for one.
    if parts.method == Method::TRACE && !body.is_end_stream() {
        return Err(Rejection::AmbiguousFraming);
    }
    let needs_length = matches!(parts.method, Method::POST | Method::PUT | Method::PATCH);
    if parts.version == Version::HTTP_10
        && needs_length
        && !parts.headers.contains_key(header::CONTENT_LENGTH)
        && body.is_end_stream()
    {
        return Err(Rejection::AmbiguousFraming);
    }
    Ok(())
}

/// What is wrong with a list of transfer codings of which the last is chunked: another chunked
/// before it, or nothing at all, is no coding that anybody could apply (RFC 9112 §6.1).
fn judge_codings(list: &[u8]) -> Rejection {
    let mut before_last = list.rsplit(|&b| b == b',').skip(1).map(<[u8]>::trim_ascii);
    if before_last.any(|coding| coding.is_empty() || coding.eq_ignore_ascii_case(b"chunked")) {
        Rejection::AmbiguousFraming
    } else {
        Rejection::UnknownTransferCoding
    }
}

/// A connection is for the hosts of the certificate it was opened with (RFC 9110 §7.4): a host of
/// another certificate must not slip in behind it.
fn check_direction(host: &str, downstream: &Downstream) -> Result<(), Rejection> {
    let Some(secured) = &downstream.secured else {
        return Ok(());
    };
    let Some(server_name) = &secured.server_name else {
        return Ok(());
    };
    if server_name == host
        || secured.certificates.choose(Some(host)) == secured.certificates.choose(Some(server_name))
    {
        return Ok(());
    }
    Err(Rejection::Misdirected)
}

/// The target that the upstream gets: its own base path, the path that was matched, the query
/// untouched.
fn forwarded_target(
    head: &RequestHead<'_>,
    route: &Route,
    parts: &Parts,
) -> Result<PathAndQuery, Rejection> {
    let base = route.to.base_path();
    let path = match &route.strip_prefix {
        Some(pattern) => pattern.strip(head.path()),
        None => head.path(),
    };
    if base.is_empty()
        && path == parts.uri.path()
        && let Some(target) = parts.uri.path_and_query()
        && target.as_str().starts_with('/')
    {
        // The path of `http://host#…` is written as none at all, though it is told as one.
        let is_root = target.as_str() == "/";
        return Ok(if is_root { root() } else { target.clone() });
    }
    let slash = if path.starts_with('/') { "" } else { "/" };
    let mut target = [base, slash, path].concat();
    if let Some(query) = head.query() {
        target.push('?');
        target.push_str(query);
    }
    // All its parts were checked; a target that is none after all is refused, not sent.
    PathAndQuery::from_maybe_shared(bytes::Bytes::from(target))
        .map_err(|_| Rejection::Head(HeadError::Ambiguous(Ambiguity::TargetForm)))
}

fn root() -> PathAndQuery {
    PathAndQuery::from_static("/")
}

/// Where the plain listener sends a request: the same host, port aside, and path, over https.
///
/// # Errors
/// [`Rejection`], as for any other request: an ambiguous host or path is not repeated.
pub(super) fn redirect_location(parts: &Parts, public_port: u16) -> Result<HeaderValue, Rejection> {
    let head = RequestHead::parse(parts).map_err(Rejection::Head)?;
    let host = head.host();
    let path = if head.is_about_the_server() {
        "/"
    } else {
        head.path()
    };
    let mut location = match public_port {
        443 => format!("https://{host}{path}"),
        port => format!("https://{host}:{port}{path}"),
    };
    if let Some(query) = head.query() {
        location.push('?');
        location.push_str(query);
    }
    HeaderValue::from_str(&location)
        .map_err(|_| Rejection::Head(HeadError::Ambiguous(Ambiguity::TargetForm)))
}
