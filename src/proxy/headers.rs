//! Header hygiene, both directions. The only place that adds or removes forwarded fields.
//!
//! The rule towards the upstream: first everything goes that the client had no business sending,
//! in every spelling and on every line; then what we observed ourselves is written; last of all
//! the identity, so that nothing a client sends can follow it, precede it or take it away.

mod hop_by_hop;
mod trailers;

use std::net::IpAddr;

use bytes::BytesMut;
use http::Version;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http_body::Body;

use super::forwarded::{Claims, Origin};
use super::told::Told;
use super::upgrade::Upgrade;
use super::websocket::Challenge;
use crate::observe::RequestId;
use crate::policy::{Permit, ReservedNames};
use crate::trust::TrustedProxies;
use crate::via::Pseudonym;

use hop_by_hop::Met;
use trailers::announced;
pub(super) use trailers::{Announced, rewrite_response_trailers};

/// What a route and a connection say about the fields of one request.
pub(super) struct RequestRules<'a> {
    pub(super) reserved: &'a ReservedNames,
    pub(super) keep_authorization: bool,
    pub(super) limits_methods: bool,
    /// Where the request came from.
    pub(super) origin: &'a Origin,
    /// What was told of the connection's requests before.
    pub(super) told: &'a Told,
    /// What it is called.
    pub(super) request_id: &'a RequestId,
    /// The protocol that the client spoke.
    pub(super) version: Version,
    /// Us, in `Via`.
    pub(super) pseudonym: &'a Pseudonym,
    /// The host that the client asked for.
    pub(super) client_host: &'a HeaderValue,
    /// The host that the upstream is told.
    pub(super) upstream_host: &'a HeaderValue,
    pub(super) framing: Framing,
    /// What the upstream is asked to switch to.
    pub(super) upgrade: Option<&'a Upgrade>,
}

/// How the upstream is told where the body ends (RFC 9112 §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none.
    NoBody,
    /// After so many bytes.
    Length(u64),
    /// When the last chunk says so.
    Chunked,
}

impl Framing {
    /// What is known of a body before its first byte.
    pub(super) fn of(body: &impl Body) -> Self {
        if body.is_end_stream() {
            return Self::NoBody;
        }
        body.size_hint().exact().map_or(Self::Chunked, Self::Length)
    }
}

/// Where a request came from: from the peer, or from whom the peer says, if it is believed.
pub(super) fn origin(
    peer: IpAddr,
    headers: &HeaderMap,
    believed: Option<&TrustedProxies>,
) -> Origin {
    let Some(trusted) = believed else {
        return Origin::observed(peer);
    };
    let claims = Claims {
        listed: headers.get_all(X_FORWARDED_FOR),
        described: headers.get_all(header::FORWARDED),
        scheme: headers.get_all(X_FORWARDED_PROTO),
        host: headers.get_all(X_FORWARDED_HOST),
    };
    Origin::claimed(peer, &claims, trusted)
}

/// What a request is called already, if it is called so once and in a way that can stand anywhere.
pub(super) fn request_id(headers: &HeaderMap) -> Option<RequestId> {
    let mut lines = headers.get_all(X_REQUEST_ID).iter();
    let line = lines.next()?;
    match lines.next() {
        None => RequestId::from_field(line.clone()),
        Some(_) => None,
    }
}

/// Takes the values out of the buffer that they came in. Where an answer may wait for its turn, it
/// would keep all of that.
pub(super) fn detach(headers: &mut HeaderMap) {
    let length = headers.values().map(HeaderValue::len).sum();
    let mut copy = BytesMut::with_capacity(length);
    for value in headers.values() {
        copy.extend_from_slice(value.as_bytes());
    }
    let mut copy = copy.freeze();
    for value in headers.values_mut() {
        if let Ok(copied) = HeaderValue::from_maybe_shared(copy.split_to(value.len())) {
            *value = copied;
        }
    }
}

/// Tells a client what its request is called, whatever the upstream calls it.
pub(super) fn name_answer(headers: &mut HeaderMap, id: &RequestId) {
    let mut name = id.field().clone();
    // No other answer has it, so HTTP/2 need not keep it to refer to (RFC 7541 §7.1.3).
    name.set_sensitive(true);
    headers.insert(X_REQUEST_ID, name);
}

/// Turns the client's fields into what the upstream gets, last of all who is asking. Returns the
/// trailer fields that may follow.
#[inline(never)] // Counted by itself (benches/micro).
pub(super) fn rewrite_request(
    headers: &mut HeaderMap,
    rules: &RequestRules<'_>,
    permit: &mut Permit,
) -> Announced {
    headers.reserve(WRITTEN);
    let met = Met::among(headers, |name| is_unforgeable(name, rules));
    let nominated = met.nominated(headers);
    let takes_trailers = met.te && list(headers, &header::TE).any(|coding| coding == "trailers");
    // Without chunks there is no place for them.
    let announced = (met.trailer && rules.framing == Framing::Chunked)
        .then(|| {
            announced(headers, |name| {
                !is_unforgeable(name, rules) && !nominated.contains(name)
            })
        })
        .flatten();
    met.remove_from(headers, &nominated);
    if !rules.keep_authorization {
        headers.remove(header::AUTHORIZATION);
    }
    if met.cookie {
        join_cookies(headers);
    }
    write_framing(headers, rules.framing);
    if takes_trailers {
        write_option(headers, header::TE, HeaderValue::from_static("trailers"));
    }
    if let Some((line, _)) = &announced {
        headers.insert(header::TRAILER, line.clone());
    }
    if let Some(upgrade) = rules.upgrade {
        write_upgrade(headers, upgrade);
    }
    write_observed(headers, rules);
    for (name, value) in permit.take_identity() {
        headers.insert(name, value);
    }
    announced.map(|(_, names)| names).unwrap_or_default()
}

/// Turns the upstream's fields into what the client gets. Its trailer fields are another matter:
/// [`rewrite_response_trailers`].
#[inline(never)] // As above.
pub(super) fn rewrite_response(headers: &mut HeaderMap) {
    let met = Met::among(headers, |_| false);
    let nominated = met.nominated(headers);
    let announced = met
        .trailer
        .then(|| announced(headers, |name| !nominated.contains(name)))
        .flatten();
    met.remove_from(headers, &nominated);
    if let Some((line, _)) = announced {
        headers.insert(header::TRAILER, line);
    }
}

/// Turns the fields of an upstream's 101 into what the client gets.
pub(super) fn rewrite_switch(headers: &mut HeaderMap, upgrade: &Upgrade, protocol: &HeaderValue) {
    rewrite_response(headers);
    // What follows is no content, whatever the upstream says of its length (RFC 9110 §8.6).
    headers.remove(header::CONTENT_LENGTH);
    match upgrade {
        Upgrade::Offered(_) => {
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(header::UPGRADE, protocol.clone());
        }
        // The challenge was ours, and HTTP/2 knows none (RFC 8441 §5).
        Upgrade::ExtendedConnect(_) => {
            headers.remove(header::SEC_WEBSOCKET_ACCEPT);
        }
    }
}

/// Whether this request has been through the gateway of this name before (RFC 9110 §7.6.3).
pub(super) fn has_come_back(headers: &HeaderMap, pseudonym: &Pseudonym) -> bool {
    headers
        .get_all(header::VIA)
        .iter()
        .flat_map(|line| line.as_bytes().split(|&b| b == b','))
        .filter_map(|hop| {
            let words = hop.split(u8::is_ascii_whitespace);
            words.filter(|word| !word.is_empty()).nth(1)
        })
        .any(|name| name == pseudonym.name().as_bytes())
}

/// Whether OPTIONS is for us, as no further hop is allowed (RFC 9110 §7.6.2).
pub(super) fn has_no_hop_left(headers: &HeaderMap) -> bool {
    hops_left(headers) == Some(0)
}

/// Notes that OPTIONS has come this far.
pub(super) fn one_hop_less(headers: &mut HeaderMap) {
    if let Some(left) = hops_left(headers) {
        headers.insert(header::MAX_FORWARDS, left.saturating_sub(1).into());
    }
}

fn hops_left(headers: &HeaderMap) -> Option<u64> {
    let hops = headers.get(header::MAX_FORWARDS)?.to_str().ok()?;
    let are_digits = hops.bytes().all(|byte| byte.is_ascii_digit());
    hops.parse().ok().filter(|_| are_digits)
}

/// Whether a field is one that only we may write.
fn is_unforgeable(name: &HeaderName, rules: &RequestRules<'_>) -> bool {
    let text = name.as_str();
    // CGI, WSGI and their kin fold `-` and `_` into one, so `X_Auth_Subject` would arrive as
    // `X-Auth-Subject`. No honest client needs any other character either.
    let is_alias = !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    is_alias
        || rules.reserved.contains(name)
        || text.starts_with("x-forwarded-")
        || is_rewritten(text)
        || (rules.limits_methods && METHOD_OVERRIDES.contains(&text))
}

/// The members of a list field on all its lines, in lower case and without parameters.
fn list<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = String> + use<'h> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .filter_map(|member| member.split(';').next())
        .map(|member| member.trim().to_ascii_lowercase())
        .filter(|member| !member.is_empty())
}

/// HTTP/2 may split cookies into crumbs; HTTP/1.1 wants one field (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(header::COOKIE).iter();
    let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) else {
        return;
    };
    let mut joined = first.as_bytes().to_vec();
    for crumb in [second].into_iter().chain(crumbs) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(crumb.as_bytes());
    }
    if let Ok(joined) = HeaderValue::from_bytes(&joined) {
        headers.insert(header::COOKIE, joined);
    }
}

/// Writes the framing anew, in one line, from the body that is sent: whatever the client said,
/// and however often, was for its own connection.
fn write_framing(headers: &mut HeaderMap, framing: Framing) {
    let had_length = headers.remove(header::CONTENT_LENGTH).is_some();
    match framing {
        // Some upstreams answer 411 to a POST that says nothing.
        Framing::NoBody if had_length => {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        Framing::NoBody => {}
        Framing::Length(length) => {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        // Said outright, or hyper would send a GET without the body that it has.
        Framing::Chunked => {
            headers.insert(
                header::TRANSFER_ENCODING,
                HeaderValue::from_static("chunked"),
            );
        }
    }
}

/// Writes a field of our own connection to the upstream, and in `Connection` that it is one
/// (RFC 9110 §7.6.1).
fn write_option(headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) {
    headers.append(header::CONNECTION, HeaderValue::from(name.clone()));
    headers.insert(name, value);
}

/// Asks for another protocol, in the words of HTTP/1.1.
fn write_upgrade(headers: &mut HeaderMap, upgrade: &Upgrade) {
    write_option(headers, header::UPGRADE, upgrade.protocols());
    if let Some(key) = upgrade.challenge().and_then(Challenge::key) {
        headers.insert(header::SEC_WEBSOCKET_KEY, key);
    }
}

/// Writes what we saw with our own eyes, and before it what is believed of what others saw: who
/// asked, how, for which host (RFC 7239), and that it came this way (RFC 9110 §7.6.3).
fn write_observed(headers: &mut HeaderMap, rules: &RequestRules<'_>) {
    let (origin, host) = (rules.origin, rules.client_host);
    let scheme = HeaderValue::from_static(origin.scheme());
    headers.insert(X_FORWARDED_PROTO, scheme);
    headers.insert(X_FORWARDED_HOST, origin.host(host).clone());
    if let Some((list, description)) = rules.told.of(origin, host) {
        headers.insert(X_FORWARDED_FOR, list);
        headers.insert(header::FORWARDED, description);
    }
    headers.insert(X_REQUEST_ID, rules.request_id.field().clone());
    headers.append(header::VIA, rules.pseudonym.hop(rules.version).clone());
    headers.insert(header::HOST, rules.upstream_host.clone());
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// As many fields as are written into most requests.
const WRITTEN: usize = 8;

/// Whether upstreams hear of this from us alone, if at all.
fn is_rewritten(name: &str) -> bool {
    matches!(
        name,
        // Where a request came from and what it is called, beside `X-Forwarded-*`.
        "forwarded" | "x-forwarded" | "x-real-ip" | "x-request-id"
            | "client-ip" | "x-client-ip" | "true-client-ip" | "x-cluster-client-ip"
            // What some frameworks take for the target.
            | "x-original-url" | "x-original-uri" | "x-original-host" | "x-rewrite-url"
            // CGI makes `HTTP_PROXY` of it, which many programs obey (CVE-2016-5385).
            | "proxy"
            // Settled between hyper and each side.
            | "expect"
    )
}

/// Fields that some frameworks take for the method.
const METHOD_OVERRIDES: [&str; 3] = [
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
];

#[cfg(test)]
mod tests;
