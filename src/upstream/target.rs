//! What `to = "http://…"` means: an authority and a base path.

use std::fmt;

use http::HeaderValue;
use http::uri::{Authority, Uri};

/// The URL of an upstream: `http://host[:port][/base]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TargetUrl {
    host: String,
    port: u16,
    host_header: HeaderValue,
    base_path: String,
}

/// Why a text is no upstream's URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetUrlError {
    /// Not `http://…`.
    #[error("expected http://host[:port][/base]")]
    NotHttp,
    /// `https://…`.
    #[error("this version speaks plain HTTP/1.1 to upstreams, not https")]
    Https,
    /// No host, or a port that is none.
    #[error("the host or the port is malformed; expected http://host[:port][/base]")]
    Authority,
    /// `user:password@`.
    #[error("a user or password has no place in it")]
    UserInfo,
    /// A query or a fragment.
    #[error("a query or fragment has no place in it; requests bring their own")]
    Query,
    /// A base path that is not in the form in which paths are forwarded.
    #[error(
        "the base path has a dot segment, an empty segment or a character that must be percent-encoded"
    )]
    BasePath,
}

impl TargetUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`TargetUrlError`].
    pub fn parse(text: &str) -> Result<Self, TargetUrlError> {
        if text.starts_with("https://") {
            return Err(TargetUrlError::Https);
        }
        if !text.starts_with("http://") {
            return Err(TargetUrlError::NotHttp);
        }
        if text.contains(['?', '#']) {
            return Err(TargetUrlError::Query);
        }
        let uri: Uri = text.parse().map_err(|_| TargetUrlError::Authority)?;
        let authority = uri.authority().ok_or(TargetUrlError::Authority)?;
        if authority.as_str().contains('@') {
            return Err(TargetUrlError::UserInfo);
        }
        let base_path = uri.path().strip_suffix('/').unwrap_or(uri.path());
        if !is_forwardable(base_path) {
            return Err(TargetUrlError::BasePath);
        }
        Self::new(authority, base_path).ok_or(TargetUrlError::Authority)
    }

    fn new(authority: &Authority, base_path: &str) -> Option<Self> {
        let host = authority.host().to_ascii_lowercase();
        let port = match authority.as_str()[authority.host().len()..].strip_prefix(':') {
            None => HTTP_PORT,
            Some(port) => port.parse().ok().filter(|port| *port != 0)?,
        };
        let host_header = match port {
            HTTP_PORT => HeaderValue::from_str(&host),
            port => HeaderValue::from_str(&format!("{host}:{port}")),
        };
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let host_header = host_header.ok().filter(|_| !host.is_empty())?;
        Some(Self {
            host,
            port,
            host_header,
            base_path: base_path.to_owned(),
        })
    }

    /// The name or address; an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// What stands before every forwarded path: empty, or `/…` without a final slash.
    pub fn base_path(&self) -> &str {
        &self.base_path
    }

    /// The authority as a Host field says it, without the default port.
    pub const fn host_header(&self) -> &HeaderValue {
        &self.host_header
    }
}

impl fmt::Display for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bracket = |host: &str| {
            if host.contains(':') {
                format!("[{host}]")
            } else {
                host.to_owned()
            }
        };
        write!(
            f,
            "http://{}:{}{}",
            bracket(&self.host),
            self.port,
            self.base_path
        )
    }
}

fn is_forwardable(path: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@%".contains(&b);
    path.split('/')
        .skip(1)
        .all(|segment| !matches!(segment, "" | "." | "..") && segment.bytes().all(is_plain))
}

/// RFC 9110 §4.2.1.
const HTTP_PORT: u16 = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_host_a_port_and_a_base_path() {
        for (text, host, port, header, base) in [
            ("http://app", "app", 80, "app", ""),
            ("http://APP:80/", "app", 80, "app", ""),
            (
                "http://127.0.0.1:3000/base/",
                "127.0.0.1",
                3000,
                "127.0.0.1:3000",
                "/base",
            ),
            ("http://[::1]:3000/a/b", "::1", 3000, "[::1]:3000", "/a/b"),
        ] {
            let url = TargetUrl::parse(text).unwrap();
            assert_eq!(
                (url.host(), url.port(), url.base_path()),
                (host, port, base),
                "{text}"
            );
            assert_eq!(url.host_header(), header, "{text}");
        }
    }

    #[test]
    fn what_is_no_upstream_is_refused_with_the_reason() {
        for (text, error) in [
            ("https://app", TargetUrlError::Https),
            ("app:3000", TargetUrlError::NotHttp),
            ("http://", TargetUrlError::Authority),
            ("http://app:0", TargetUrlError::Authority),
            ("http://app:99999", TargetUrlError::Authority),
            ("http://u:p@app", TargetUrlError::UserInfo),
            ("http://app/?q", TargetUrlError::Query),
            ("http://app/#f", TargetUrlError::Query),
            ("http://app/../x", TargetUrlError::BasePath),
            ("http://app//x", TargetUrlError::BasePath),
        ] {
            assert_eq!(TargetUrl::parse(text), Err(error), "{text}");
        }
    }
}
