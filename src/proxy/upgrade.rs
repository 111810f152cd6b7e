//! Which requests want to switch protocols (RFC 9110 §7.8, RFC 8441), and whether an upstream's
//! answer is leave to do so.

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use hyper::body::Body;
use hyper::ext::Protocol;

use super::upload::Upload;
use super::websocket::Challenge;

/// A wish to switch.
#[derive(Debug)]
pub(super) enum Upgrade {
    /// `Upgrade` in HTTP/1.1: the protocols that the client offers.
    Offered(HeaderValue),
    /// WebSocket inside a stream of HTTP/2. The upstream, which speaks HTTP/1.1, is challenged by
    /// us, as HTTP/2 has no challenge.
    ExtendedConnect(Challenge),
}

impl Upgrade {
    /// What a request wants. An extended CONNECT is a GET from here on, as it is in HTTP/1.1.
    ///
    /// A request with a body is not taken for one. Nor is a wish for HTTP in another version: that
    /// is for the client and us to settle (RFC 9113 §3.1), and inside a tunnel nobody would look at
    /// its requests.
    pub(super) fn wanted(parts: &mut Parts, body: &Upload) -> Option<Self> {
        if parts.version == Version::HTTP_2 {
            let protocol = parts.extensions.get::<Protocol>()?;
            if parts.method != Method::CONNECT || protocol.as_ref() != b"websocket" {
                return None;
            }
            parts.method = Method::GET;
            return Some(Self::ExtendedConnect(Challenge::new()));
        }
        if parts.version != Version::HTTP_11 || !body.is_end_stream() {
            return None;
        }
        if !tokens(&parts.headers, &header::CONNECTION).any(|name| is(name, "upgrade")) {
            return None;
        }
        let offered: Vec<&str> = tokens(&parts.headers, &header::UPGRADE)
            .filter(|name| !is_http(name))
            .collect();
        if offered.is_empty() {
            return None;
        }
        HeaderValue::from_str(&offered.join(", "))
            .ok()
            .map(Self::Offered)
    }

    /// What the upstream is asked for.
    pub(super) fn protocols(&self) -> HeaderValue {
        match self {
            Self::Offered(protocols) => protocols.clone(),
            Self::ExtendedConnect(_) => HeaderValue::from_static(WEBSOCKET),
        }
    }

    /// The challenge of our own, if there is one.
    pub(super) const fn challenge(&self) -> Option<&Challenge> {
        match self {
            Self::Offered(_) => None,
            Self::ExtendedConnect(challenge) => Some(challenge),
        }
    }

    /// The protocol that an answer of 101 switches to; `None` if it is not the one that was asked
    /// for.
    pub(super) fn accepted(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let protocol = headers.get(header::UPGRADE)?;
        let text = protocol.to_str().ok()?;
        let is_ours = match self {
            Self::Offered(offered) => offered
                .to_str()
                .is_ok_and(|offered| offered.split(", ").any(|name| is(name, text))),
            Self::ExtendedConnect(challenge) => {
                is(text, WEBSOCKET)
                    && headers
                        .get(header::SEC_WEBSOCKET_ACCEPT)
                        .is_some_and(|accept| challenge.is_met_by(accept))
            }
        };
        is_ours.then(|| protocol.clone())
    }

    /// The status that tells the client of it.
    pub(super) const fn status(&self) -> StatusCode {
        match self {
            Self::Offered(_) => StatusCode::SWITCHING_PROTOCOLS,
            Self::ExtendedConnect(_) => StatusCode::OK,
        }
    }

    /// Whether an answer that is no 101 can be passed on. One of success would tell a client of
    /// HTTP/2 that its tunnel is open (RFC 9110 §9.3.6).
    pub(super) fn may_answer(&self, status: StatusCode) -> bool {
        match self {
            Self::Offered(_) => true,
            Self::ExtendedConnect(_) => !status.is_success(),
        }
    }
}

/// Whether this is how WebSocket is called.
pub(super) fn is_websocket(protocol: &HeaderValue) -> bool {
    protocol.to_str().is_ok_and(|name| is(name, WEBSOCKET))
}

/// The members of a list field, whatever lines they stand on (RFC 9110 §5.6.1).
fn tokens<'h>(
    headers: &'h HeaderMap,
    name: &header::HeaderName,
) -> impl Iterator<Item = &'h str> + use<'h> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .filter(|token| !token.is_empty())
}

/// Whether this is a name of HTTP in any version, or of what HTTP would go on in (RFC 2817).
fn is_http(protocol: &str) -> bool {
    ["http", "h2", "h3", "tls"].iter().any(|name| {
        let start = protocol.get(..name.len());
        start.is_some_and(|start| is(start, name))
    })
}

/// Protocol names know no case (RFC 9110 §7.8).
fn is(name: &str, other: &str) -> bool {
    name.eq_ignore_ascii_case(other)
}

const WEBSOCKET: &str = "websocket";
