//! Trailer fields: what may come after a body (RFC 9110 §6.5), by the rules that hold for the head.

use std::collections::HashSet;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::hop_by_hop::{is_hop_by_hop, remove_where};
use super::list;

/// Trailer fields that were announced and may pass (RFC 9110 §6.5.1).
#[derive(Debug, Default)]
pub(in crate::proxy) struct Announced(HashSet<HeaderName>);

impl Announced {
    /// What of these trailer fields may pass; `None` if there is nothing.
    pub(in crate::proxy) fn of(&self, mut trailers: HeaderMap) -> Option<HeaderMap> {
        remove_where(&mut trailers, |name| !self.0.contains(name));
        (!trailers.is_empty()).then_some(trailers)
    }
}

/// Turns the upstream's trailer fields into what the client gets; `None` if there is nothing.
///
/// HTTP/2 needs no announcement. For HTTP/1.1 hyper sends only what was announced, and only to a
/// client that said that it takes trailers (RFC 9110 §6.5.1).
pub(in crate::proxy) fn rewrite_response_trailers(mut trailers: HeaderMap) -> Option<HeaderMap> {
    remove_where(&mut trailers, |name| !may_trail(name));
    (!trailers.is_empty()).then_some(trailers)
}

/// What `Trailer` announces and may trail, anew in one line, if there is any.
pub(super) fn announced(
    headers: &HeaderMap,
    may_pass: impl Fn(&HeaderName) -> bool,
) -> Option<(HeaderValue, Announced)> {
    if !headers.contains_key(header::TRAILER) {
        return None;
    }
    let mut names = HashSet::new();
    let mut line = String::new();
    let listed = list(headers, &header::TRAILER)
        .take(MOST_ANNOUNCED)
        .filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok())
        .filter(|name| may_trail(name) && may_pass(name));
    for name in listed {
        if !names.insert(name.clone()) {
            continue;
        }
        if !line.is_empty() {
            line.push_str(", ");
        }
        line.push_str(name.as_str());
    }
    let line = HeaderValue::try_from(line).ok()?;
    (!names.is_empty()).then_some((line, Announced(names)))
}

/// More are not announced, and so do not pass.
const MOST_ANNOUNCED: usize = 100;

/// Whether a field may come after the body: one that decides about nothing by then
/// (RFC 9110 §6.5.1).
fn may_trail(name: &HeaderName) -> bool {
    !is_hop_by_hop(name.as_str()) && !NEVER_TRAILING.contains(&name.as_str())
}

/// Fields that decide where a message goes or ends, who may see it, and how it is to be read: all
/// of that is settled before its body begins.
const NEVER_TRAILING: [&str; 27] = [
    "age",
    "authorization",
    "cache-control",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "expect",
    "expires",
    "host",
    "location",
    "max-forwards",
    "pragma",
    "range",
    "retry-after",
    "set-cookie",
    "strict-transport-security",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-request-id",
];
