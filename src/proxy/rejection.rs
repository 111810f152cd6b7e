//! Every refusal, and what is said about it: to the client in fixed words, to the log by name.
//!
//! Exhaustive on purpose: a new way to refuse does not compile until it has a status, a name and
//! a sentence. Nothing that the client sent comes back in an answer.

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::body::Source;
use crate::observe::RequestId;
use crate::route::HeadError;
use crate::token::{InvalidToken, RepeatedOrMalformed};

/// Why a request is not forwarded, or why its forwarding failed.
#[derive(Debug)]
pub(super) enum Rejection {
    /// The target or the host is ambiguous, too long or of an unknown method.
    Head(HeadError),
    /// The message's framing is ambiguous (RFC 9112 §6.3).
    AmbiguousFraming,
    /// A line of the head ends with LF alone (RFC 9112 §2.2).
    BareLineFeed,
    /// A transfer coding other than chunked (RFC 9112 §6.1).
    UnknownTransferCoding,
    /// More fields than are looked at.
    TooManyFields,
    /// An `Expect` that is not `100-continue` (RFC 9110 §10.1.1).
    UnknownExpectation,
    /// The host belongs to another certificate than the one served (RFC 9110 §15.5.20).
    Misdirected,
    /// The request has been through here before.
    Loop,
    /// No route for this host and path.
    NoRoute,
    /// No route for this method; the ones there are.
    MethodNotAllowed(HeaderValue),
    /// A stream of HTTP/2 is to become a WebSocket, on a route that has none.
    UpgradeNotEnabled,
    /// No bearer token.
    NoCredential,
    /// A bearer token that cannot be read.
    MalformedCredential(RepeatedOrMalformed),
    /// A bearer token that is not good.
    InvalidToken(InvalidToken),
    /// The body is larger than the route allows.
    BodyTooLarge,
    /// The body's framing broke on the way.
    MalformedBody,
    /// The client stopped sending its body.
    BodyTimeout,
    /// No connection to the upstream.
    UpstreamUnreachable,
    /// The upstream's name has no addresses.
    UpstreamUnresolved,
    /// The upstream's certificate is not to be believed, or it does not believe ours.
    UpstreamTls,
    /// All connections to the upstream are in use.
    UpstreamOverloaded,
    /// The upstream broke off, or what it said is no HTTP.
    UpstreamBroken,
    /// The upstream did not answer in time.
    UpstreamTimeout,
    /// A bug of ours.
    Panicked,
}

impl Rejection {
    /// The answer's status.
    pub(super) const fn status(&self) -> StatusCode {
        match self {
            Self::Head(HeadError::Ambiguous(_))
            | Self::AmbiguousFraming
            | Self::BareLineFeed
            | Self::MalformedCredential(_)
            | Self::MalformedBody => StatusCode::BAD_REQUEST,
            Self::Head(HeadError::TargetTooLong) => StatusCode::URI_TOO_LONG,
            Self::Head(HeadError::MethodNotImplemented)
            | Self::UnknownTransferCoding
            | Self::UpgradeNotEnabled => StatusCode::NOT_IMPLEMENTED,
            Self::TooManyFields => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::UnknownExpectation => StatusCode::EXPECTATION_FAILED,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::Loop => StatusCode::LOOP_DETECTED,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::NoCredential | Self::InvalidToken(_) => StatusCode::UNAUTHORIZED,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::UpstreamUnreachable
            | Self::UpstreamUnresolved
            | Self::UpstreamTls
            | Self::UpstreamBroken => StatusCode::BAD_GATEWAY,
            Self::UpstreamOverloaded => StatusCode::SERVICE_UNAVAILABLE,
            Self::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::Panicked => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The stable name in logs and metrics.
    pub(super) const fn label(&self) -> &'static str {
        match self {
            Self::Head(error) => error.label(),
            Self::AmbiguousFraming => "ambiguous_framing",
            Self::BareLineFeed => "bare_line_feed",
            Self::UnknownTransferCoding => "unknown_transfer_coding",
            Self::TooManyFields => "too_many_fields",
            Self::UnknownExpectation => "unknown_expectation",
            Self::Misdirected => "misdirected",
            Self::Loop => "loop",
            Self::NoRoute => "no_route",
            Self::MethodNotAllowed(_) => "method_not_allowed",
            Self::UpgradeNotEnabled => "upgrade_not_enabled",
            Self::NoCredential => "no_credential",
            Self::MalformedCredential(RepeatedOrMalformed::Repeated) => "repeated_credential",
            Self::MalformedCredential(RepeatedOrMalformed::Malformed) => "malformed_credential",
            Self::InvalidToken(reason) => reason.label(),
            Self::BodyTooLarge => "body_too_large",
            Self::MalformedBody => "malformed_body",
            Self::BodyTimeout => "body_timeout",
            Self::UpstreamUnreachable => "upstream_unreachable",
            Self::UpstreamUnresolved => "upstream_unresolved",
            Self::UpstreamTls => "upstream_tls",
            Self::UpstreamOverloaded => "upstream_overloaded",
            Self::UpstreamBroken => "upstream_broken",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::Panicked => "panic",
        }
    }

    /// One fixed sentence for the client. It tells an honest one what to mend, and an attacker
    /// nothing: every bad token gets the same.
    const fn detail(&self) -> &'static str {
        match self {
            Self::Head(HeadError::Ambiguous(_)) => "The request's target or host is ambiguous.",
            Self::Head(HeadError::TargetTooLong) => "The request's target is too long.",
            Self::Head(HeadError::MethodNotImplemented) => "The request's method is not supported.",
            Self::AmbiguousFraming => "The request's framing is ambiguous.",
            Self::BareLineFeed => "The request's lines must end with CR and LF.",
            Self::UnknownTransferCoding => "The request's transfer coding is not supported.",
            Self::TooManyFields => "The request has too many header fields.",
            Self::UnknownExpectation => "The request's expectation cannot be met.",
            Self::Misdirected => "This connection is not for that host.",
            Self::Loop => "The request has come back to where it was.",
            Self::NoRoute => "There is nothing here.",
            Self::MethodNotAllowed(_) => "The method is not allowed here.",
            Self::UpgradeNotEnabled => "There is no WebSocket here.",
            Self::NoCredential => "A bearer token is required.",
            Self::MalformedCredential(_) => INVALID_REQUEST,
            Self::InvalidToken(_) => INVALID_TOKEN,
            Self::BodyTooLarge => "The request's body is too large.",
            Self::MalformedBody => "The request's body is malformed.",
            Self::BodyTimeout => "The request's body did not arrive in time.",
            Self::UpstreamUnreachable | Self::UpstreamUnresolved | Self::UpstreamTls => {
                "The upstream cannot be reached."
            }
            Self::UpstreamOverloaded => "The upstream has too much to do.",
            Self::UpstreamBroken => "The upstream's answer is unusable.",
            Self::UpstreamTimeout => "The upstream did not answer in time.",
            Self::Panicked => "Something went wrong here.",
        }
    }

    /// The challenge of RFC 6750 §3: bare when there was no credential (§3.1), with the error
    /// code otherwise.
    const fn challenge(&self) -> Option<&'static str> {
        match self {
            Self::NoCredential => Some(BARE_CHALLENGE),
            Self::MalformedCredential(_) => Some(INVALID_REQUEST_CHALLENGE),
            Self::InvalidToken(_) => Some(INVALID_TOKEN_CHALLENGE),
            Self::Head(_)
            | Self::AmbiguousFraming
            | Self::BareLineFeed
            | Self::UnknownTransferCoding
            | Self::TooManyFields
            | Self::UnknownExpectation
            | Self::Misdirected
            | Self::Loop
            | Self::NoRoute
            | Self::MethodNotAllowed(_)
            | Self::UpgradeNotEnabled
            | Self::BodyTooLarge
            | Self::MalformedBody
            | Self::BodyTimeout
            | Self::UpstreamUnreachable
            | Self::UpstreamUnresolved
            | Self::UpstreamTls
            | Self::UpstreamOverloaded
            | Self::UpstreamBroken
            | Self::UpstreamTimeout
            | Self::Panicked => None,
        }
    }

    /// Whether the client's next request cannot be told from the rest of this one, so that an
    /// HTTP/1 connection must close.
    pub(super) const fn breaks_connection(&self) -> bool {
        match self {
            Self::Head(HeadError::Ambiguous(_))
            | Self::AmbiguousFraming
            | Self::BareLineFeed
            | Self::UnknownTransferCoding
            | Self::MalformedBody
            | Self::BodyTimeout => true,
            Self::Head(HeadError::TargetTooLong | HeadError::MethodNotImplemented)
            | Self::TooManyFields
            | Self::UnknownExpectation
            | Self::Misdirected
            | Self::Loop
            | Self::NoRoute
            | Self::MethodNotAllowed(_)
            | Self::UpgradeNotEnabled
            | Self::NoCredential
            | Self::MalformedCredential(_)
            | Self::InvalidToken(_)
            | Self::BodyTooLarge
            | Self::UpstreamUnreachable
            | Self::UpstreamUnresolved
            | Self::UpstreamTls
            | Self::UpstreamOverloaded
            | Self::UpstreamBroken
            | Self::UpstreamTimeout
            | Self::Panicked => false,
        }
    }

    /// The answer: problem details (RFC 9457) with the request's id.
    pub(super) fn respond(&self, request_id: &RequestId) -> Response<Source> {
        let request_id = request_id.as_str();
        let status = self.status();
        let title = status.canonical_reason().unwrap_or("Refused");
        let (number, detail) = (status.as_u16(), self.detail());
        // Nothing in it needs escaping: fixed words, a number, and an id.
        let problem = format!(
            "{{\"type\":\"about:blank\",\"title\":\"{title}\",\"status\":{number},\
             \"detail\":\"{detail}\",\"request_id\":\"{request_id}\"}}\n"
        );
        let mut response = Response::new(Source::from(problem));
        *response.status_mut() = status;
        self.describe(response.headers_mut());
        response
    }

    fn describe(&self, headers: &mut HeaderMap) {
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(challenge) = self.challenge() {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static(challenge),
            );
        }
        if let Self::MethodNotAllowed(allow) = self {
            headers.insert(header::ALLOW, allow.clone());
        }
        if self.status() == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
    }
}

const INVALID_REQUEST: &str = "The request's credentials are malformed or repeated.";
const INVALID_TOKEN: &str = "The bearer token is not valid here.";

const BARE_CHALLENGE: &str = r#"Bearer realm="jotgate""#;
const INVALID_REQUEST_CHALLENGE: &str = r#"Bearer realm="jotgate", error="invalid_request", error_description="The request's credentials are malformed or repeated.""#;
const INVALID_TOKEN_CHALLENGE: &str = r#"Bearer realm="jotgate", error="invalid_token", error_description="The bearer token is not valid here.""#;
