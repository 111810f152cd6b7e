//! What `to = "https://…"` means: an origin and a base path.

use std::fmt;

use http::HeaderValue;
use http::uri::{Authority, Uri};

/// The URL of an upstream: `http[s]://host[:port][/base]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TargetUrl {
    origin: Origin,
    host_header: HeaderValue,
    base_path: String,
}

/// What connections are made to (RFC 6454 §4).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// How it is spoken to.
    pub scheme: Scheme,
    /// The name or address in lower case; an IPv6 address without its brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// How an upstream is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// HTTP/1.1 over TCP.
    Http,
    /// HTTP/1.1 over TLS.
    Https,
}

/// Why a text is no upstream's URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetUrlError {
    /// Neither `http://…` nor `https://…`.
    #[error("expected http://host[:port][/base] or https://…")]
    Scheme,
    /// No host, or a port that is none.
    #[error("the host or the port is malformed; expected http://host[:port][/base] or https://…")]
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
        let scheme = if text.starts_with("https://") {
            Scheme::Https
        } else if text.starts_with("http://") {
            Scheme::Http
        } else {
            return Err(TargetUrlError::Scheme);
        };
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
        Self::new(scheme, authority, base_path).ok_or(TargetUrlError::Authority)
    }

    fn new(scheme: Scheme, authority: &Authority, base_path: &str) -> Option<Self> {
        let host = authority.host().to_ascii_lowercase();
        let port = match authority.as_str()[authority.host().len()..].strip_prefix(':') {
            None => scheme.default_port(),
            Some(port) => port.parse().ok().filter(|port| *port != 0)?,
        };
        let host_header = if port == scheme.default_port() {
            HeaderValue::from_str(&host)
        } else {
            HeaderValue::from_str(&format!("{host}:{port}"))
        };
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let host_header = host_header.ok().filter(|_| !host.is_empty())?;
        Some(Self {
            origin: Origin { scheme, host, port },
            host_header,
            base_path: base_path.to_owned(),
        })
    }

    /// What connections are made to.
    pub const fn origin(&self) -> &Origin {
        &self.origin
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

impl Scheme {
    /// RFC 9110 §4.2.1 and §4.2.2.
    const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.base_path)
    }
}

fn is_forwardable(path: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@%".contains(&b);
    path.split('/')
        .skip(1)
        .all(|segment| !matches!(segment, "" | "." | "..") && segment.bytes().all(is_plain))
}

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
            ("https://app", "app", 443, "app", ""),
            ("https://app:80", "app", 80, "app:80", ""),
        ] {
            let url = TargetUrl::parse(text).unwrap();
            assert_eq!(
                (&*url.origin().host, url.origin().port, url.base_path()),
                (host, port, base),
                "{text}"
            );
            assert_eq!(url.host_header(), header, "{text}");
        }
    }

    #[test]
    fn what_is_no_upstream_is_refused_with_the_reason() {
        for (text, error) in [
            ("ftp://app", TargetUrlError::Scheme),
            ("app:3000", TargetUrlError::Scheme),
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
