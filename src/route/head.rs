//! The canonical head of a request: method, host, path and query, or why there is none.
//!
//! What hyper lets through is syntax; whether it means one thing only is decided here, before any
//! route is looked for. The head is refused rather than repaired, apart from the spellings that
//! RFC 3986 §6.2.2 declares equal.

use std::borrow::Cow;

use http::header::HOST;
use http::request::Parts;
use http::uri::{PathAndQuery, Scheme};
use http::{Method, Version};
use thiserror::Error;

use super::ambiguity::Ambiguity;
use super::host::Host;
use super::path;

/// What of a request decides its route, in the form that is matched *and* forwarded.
///
/// It borrows from the request unless a spelling had to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHead<'a> {
    method: &'a Method,
    host: Host<'a>,
    path: Cow<'a, str>,
    query: Option<&'a str>,
}

impl<'a> RequestHead<'a> {
    /// Reads the head as HTTP/1 (RFC 9112 §3.2) or HTTP/2 (RFC 9113 §8.3.1) delivers it.
    ///
    /// # Errors
    /// The method is judged first, then the target's length, then host, path and query.
    pub fn parse(parts: &'a Parts) -> Result<Self, HeadError> {
        if !is_implemented(&parts.method) {
            return Err(HeadError::MethodNotImplemented);
        }
        // An authority-form target has no path; only CONNECT has a use for one.
        let target = parts.uri.path_and_query().ok_or(Ambiguity::TargetForm)?;
        if target.as_str().len() > MAX_TARGET_LEN {
            return Err(HeadError::TargetTooLong);
        }
        Ok(Self {
            method: &parts.method,
            host: host_of(parts)?,
            path: path_of(parts, target)?,
            query: target.query().map(forwardable_query).transpose()?,
        })
    }

    /// The method, as it was sent.
    pub fn method(&self) -> &'a Method {
        self.method
    }

    /// The host in lower case, without a final dot and without the port; an IPv6 address is in
    /// its shortest form and in brackets.
    pub fn host(&self) -> &str {
        self.host.name()
    }

    /// The port that the client wrote, if any.
    pub fn port(&self) -> Option<u16> {
        self.host.port()
    }

    /// Host and port as an upstream gets them in `Host`: those of the target, if it had any
    /// (RFC 9112 §3.2.2).
    pub fn host_field(&self) -> &str {
        self.host.field()
    }

    /// The canonical path, or `*`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The path as those read it who drop the parameters of segments (`;…`), if that is another one;
    /// or why it is none then.
    pub fn path_without_parameters(&self) -> Option<Result<String, Ambiguity>> {
        path::without_parameters(&self.path)
    }

    /// The query as it was sent, without its question mark.
    pub fn query(&self) -> Option<&'a str> {
        self.query
    }

    /// Whether this is `OPTIONS *` (RFC 9112 §3.2.4), which asks about the gateway and no route.
    pub fn is_about_the_server(&self) -> bool {
        self.path == ASTERISK
    }
}

/// Why a head is refused before any route is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum HeadError {
    /// Two parties could read it in two ways, or nobody can read it: 400.
    #[error(transparent)]
    Ambiguous(#[from] Ambiguity),
    /// The target's path and query are longer than 8 KiB: 414.
    #[error("the target is longer than 8 KiB")]
    TargetTooLong,
    /// `CONNECT`, `TRACE`, or a name that no registered method has: 501.
    #[error("the method is not implemented")]
    MethodNotImplemented,
}

impl HeadError {
    /// The stable label for the log and the metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ambiguous(ambiguity) => ambiguity.label(),
            Self::TargetTooLong => "target_too_long",
            Self::MethodNotImplemented => "method_not_implemented",
        }
    }
}

/// Capital letters and hyphens, as every registered method is spelt. `CONNECT` would make a
/// tunnel of the gateway, and `TRACE` would show the client what the upstream got.
fn is_implemented(method: &Method) -> bool {
    let name = method.as_str();
    name.len() <= MAX_METHOD_LEN
        && name
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte == b'-')
        && *method != Method::CONNECT
        && *method != Method::TRACE
}

/// The one host that the target and the Host field agree on.
fn host_of(parts: &Parts) -> Result<Host<'_>, Ambiguity> {
    let mut lines = parts.headers.get_all(HOST).iter();
    let line = lines.next();
    if lines.next().is_some() {
        return Err(Ambiguity::HostRepeated);
    }
    let field = match line {
        Some(value) => {
            let value = value.to_str().map_err(|_| Ambiguity::HostMalformed)?;
            Some(Host::parse(value)?)
        }
        None => None,
    };
    match (authority_of(parts)?, field) {
        (Some((authority, default_port)), Some(field)) => authority
            .agrees_with(&field, default_port)
            .then_some(authority)
            .ok_or(Ambiguity::HostMismatch),
        (Some((authority, _)), None) if parts.version == Version::HTTP_2 => Ok(authority),
        (None, Some(field)) => Ok(field),
        (Some(_) | None, None) => Err(Ambiguity::HostMissing),
    }
}

/// The host that the target itself names, and what its scheme takes for the port.
fn authority_of(parts: &Parts) -> Result<Option<(Host<'_>, u16)>, Ambiguity> {
    let Some(authority) = parts.uri.authority() else {
        return Ok(None);
    };
    let default_port = match parts.uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTPS => 443,
        Some(scheme) if *scheme == Scheme::HTTP => 80,
        Some(_) | None => return Err(Ambiguity::Scheme),
    };
    Ok(Some((Host::parse(authority.as_str())?, default_port)))
}

/// The canonical path of `target`, or `*` if the method may ask that.
fn path_of<'a>(parts: &Parts, target: &'a PathAndQuery) -> Result<Cow<'a, str>, Ambiguity> {
    match target.path() {
        ASTERISK if parts.method == Method::OPTIONS => Ok(Cow::Borrowed(ASTERISK)),
        ASTERISK => Err(Ambiguity::TargetForm),
        // `http://host?query` means `/` in HTTP/1; in HTTP/2 a path is never empty.
        _ if target.as_str().starts_with('?') && parts.version == Version::HTTP_2 => {
            Err(Ambiguity::PathNotAbsolute)
        }
        path => path::canonicalize(path),
    }
}

/// `query`, if one request line can carry it as it is. What browsers send unescaped passes, RFC
/// 3986 or not; nobody here decides anything by the query.
fn forwardable_query(query: &str) -> Result<&str, Ambiguity> {
    if query.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(query)
    } else {
        Err(Ambiguity::QueryCharacter)
    }
}

/// The asterisk-form of a target.
const ASTERISK: &str = "*";

/// RFC 9112 §3 asks for 8,000 bytes at least.
const MAX_TARGET_LEN: usize = 8 * 1024;

/// The longest registered method, `UPDATEREDIRECTREF`, has 17 bytes.
const MAX_METHOD_LEN: usize = 32;

#[cfg(test)]
mod tests;
