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
mod tests {
    use http::{HeaderValue, Request, Uri};
    use proptest::prelude::*;

    use super::*;

    fn http1(method: &str, target: &str, hosts: &[&str]) -> Parts {
        let uri = Uri::try_from(target).expect(target);
        let mut request = Request::builder().method(method).uri(uri);
        for host in hosts {
            request = request.header(HOST, HeaderValue::from_bytes(host.as_bytes()).unwrap());
        }
        request.body(()).unwrap().into_parts().0
    }

    fn http2(authority: Option<&str>, path: &str, hosts: &[&str]) -> Parts {
        let mut parts = http1("GET", "/", hosts);
        parts.version = Version::HTTP_2;
        let uri = Uri::builder().path_and_query(path);
        let uri = match authority {
            Some(authority) => uri.scheme("https").authority(authority),
            None => uri,
        };
        parts.uri = uri.build().unwrap();
        parts
    }

    fn reason(parts: &Parts) -> HeadError {
        RequestHead::parse(parts).expect_err(parts.uri.path())
    }

    fn ambiguous(parts: &Parts) -> Ambiguity {
        match reason(parts) {
            HeadError::Ambiguous(ambiguity) => ambiguity,
            other @ (HeadError::TargetTooLong | HeadError::MethodNotImplemented) => {
                panic!("{other}")
            }
        }
    }

    #[test]
    fn a_canonical_head_borrows_everything() {
        let parts = http1("GET", "/api/s?a=1", &["api.example.com:8443"]);
        let head = RequestHead::parse(&parts).unwrap();
        assert!(matches!(head.path, Cow::Borrowed("/api/s")));
        assert_eq!((head.host(), head.port()), ("api.example.com", Some(8443)));
        assert_eq!(head.host_field(), "api.example.com:8443");
        assert_eq!((head.method(), head.query()), (&Method::GET, Some("a=1")));
        assert!(!head.is_about_the_server());
    }

    #[test]
    fn t87_a_fragment_never_reaches_the_path() {
        let parts = http1("GET", "/api/s#/public/x", &["a.test"]);
        assert_eq!(RequestHead::parse(&parts).unwrap().path(), "/api/s");
        let parts = http1("GET", "/public#/../api", &["a.test"]);
        assert_eq!(RequestHead::parse(&parts).unwrap().path(), "/public");
    }

    #[test]
    fn t7_t88_the_query_is_untouched_and_no_part_of_the_path() {
        for query in [
            "/public/",
            "path=/public/../x",
            "a=%2e%2E//&b={}|[]\\^`'",
            "",
            "?access_token=x",
        ] {
            let target = format!("/api/s?{query}");
            let parts = http1("GET", &target, &["a.test"]);
            let head = RequestHead::parse(&parts).unwrap();
            assert_eq!((head.path(), head.query()), ("/api/s", Some(query)));
        }
    }

    #[test]
    fn t89_raw_bytes_outside_ascii_are_refused() {
        assert_eq!(
            ambiguous(&http1("GET", "/é", &["a.test"])),
            Ambiguity::PathCharacter
        );
        assert_eq!(
            ambiguous(&http1("GET", "/?é", &["a.test"])),
            Ambiguity::QueryCharacter
        );
        assert_eq!(
            ambiguous(&http1("GET", "/{\"a\"}", &["a.test"])),
            Ambiguity::PathCharacter
        );
    }

    #[test]
    fn t92_one_host_in_every_spelling() {
        for host in ["a.test", "A.TEST", "a.test.", "A.test.:443", "a.test:443"] {
            let parts = http1("GET", "/", &[host]);
            assert_eq!(RequestHead::parse(&parts).unwrap().host(), "a.test");
        }
    }

    #[test]
    fn t93_exactly_one_host_is_required() {
        assert_eq!(ambiguous(&http1("GET", "/", &[])), Ambiguity::HostMissing);
        assert_eq!(
            ambiguous(&http1("GET", "http://a.test/", &[])),
            Ambiguity::HostMissing
        );
        assert_eq!(
            ambiguous(&http1("GET", "/", &["a.test", "a.test"])),
            Ambiguity::HostRepeated
        );
        assert_eq!(
            ambiguous(&http1("GET", "/", &["a.test", "b.test"])),
            Ambiguity::HostRepeated
        );
        for host in ["", "a,b", "u@h", "h/p", "\u{e4}.test", "a\tb"] {
            assert_eq!(
                ambiguous(&http1("GET", "/", &[host])),
                Ambiguity::HostMalformed,
                "{host:?}"
            );
        }
        let mut old = http1("GET", "/", &[]);
        old.version = Version::HTTP_10;
        assert_eq!(ambiguous(&old), Ambiguity::HostMissing);
    }

    #[test]
    fn t93_an_absolute_target_must_agree_with_host() {
        for host in ["good.test", "GOOD.test.", "good.test:80"] {
            let parts = http1("GET", "http://good.test/a?b", &[host]);
            let head = RequestHead::parse(&parts).unwrap();
            assert_eq!(
                (head.host_field(), head.path(), head.query()),
                ("good.test", "/a", Some("b"))
            );
        }
        let mismatch = |target: &str, host: &str| ambiguous(&http1("GET", target, &[host]));
        assert_eq!(mismatch("http://other/", "good"), Ambiguity::HostMismatch);
        assert_eq!(
            mismatch("http://good/", "good:443"),
            Ambiguity::HostMismatch
        );
        assert_eq!(
            mismatch("https://good:8443/", "good"),
            Ambiguity::HostMismatch
        );
        assert_eq!(mismatch("http://u@good/", "good"), Ambiguity::HostMalformed);
        assert_eq!(mismatch("ftp://good/", "good"), Ambiguity::Scheme);
        assert_eq!(mismatch("good", "good"), Ambiguity::TargetForm);
    }

    #[test]
    fn an_absolute_target_without_a_path_means_the_root() {
        let parts = http1("GET", "http://a.test?b", &["a.test"]);
        let head = RequestHead::parse(&parts).unwrap();
        assert_eq!((head.path(), head.query()), ("/", Some("b")));
    }

    #[test]
    fn t93_http2_takes_authority_or_host_and_both_only_if_equal() {
        for (authority, hosts) in [
            (Some("a.test"), &[][..]),
            (None, &["a.test"]),
            (Some("A.test"), &["a.test:443"]),
        ] {
            let parts = http2(authority, "/x", hosts);
            let head = RequestHead::parse(&parts).unwrap();
            assert_eq!((head.host_field(), head.path()), ("a.test", "/x"));
        }
        assert_eq!(
            ambiguous(&http2(Some("a.test"), "/", &["b.test"])),
            Ambiguity::HostMismatch
        );
        assert_eq!(
            ambiguous(&http2(Some("a.test"), "/", &["a.test", "a.test"])),
            Ambiguity::HostRepeated
        );
        assert_eq!(ambiguous(&http2(None, "/", &[])), Ambiguity::HostMissing);
    }

    #[test]
    fn t118_an_http2_path_starts_with_a_slash() {
        assert_eq!(
            ambiguous(&http2(Some("a.test"), "?a", &[])),
            Ambiguity::PathNotAbsolute
        );
        assert_eq!(
            ambiguous(&http2(Some("a.test"), "*", &[])),
            Ambiguity::TargetForm
        );
    }

    #[test]
    fn t95_the_asterisk_is_for_options_alone() {
        let parts = http1("OPTIONS", "*", &["a.test"]);
        assert!(RequestHead::parse(&parts).unwrap().is_about_the_server());
        for method in ["GET", "POST", "PROPFIND"] {
            assert_eq!(
                ambiguous(&http1(method, "*", &["a.test"])),
                Ambiguity::TargetForm
            );
        }
    }

    #[test]
    fn t95_methods_that_no_gateway_implements_are_refused() {
        let long = "A".repeat(33);
        let endless = "A".repeat(10_240);
        for method in [
            "CONNECT", "TRACE", "get", "Get", "G3T", "M_OVE", "GET!", &long, &endless,
        ] {
            assert_eq!(
                reason(&http1(method, "/", &["a.test"])),
                HeadError::MethodNotImplemented
            );
        }
        assert_eq!(
            reason(&http1("CONNECT", "h:443", &["h:443"])),
            HeadError::MethodNotImplemented
        );
        for method in [
            "GET",
            "PATCH",
            "PROPFIND",
            "M-SEARCH",
            "VERSION-CONTROL",
            "QUERY",
            &long[1..],
        ] {
            assert!(
                RequestHead::parse(&http1(method, "/", &["a.test"])).is_ok(),
                "{method}"
            );
        }
    }

    #[test]
    fn t98_a_long_target_is_refused_before_it_is_read() {
        let longest = format!("/{}", "a".repeat(8_191));
        assert!(RequestHead::parse(&http1("GET", &longest, &["a.test"])).is_ok());
        for target in [
            format!("{longest}a"),
            "/..".repeat(20_000),
            format!("/?{}", "a".repeat(8_191)),
        ] {
            assert_eq!(
                reason(&http1("GET", &target, &["a.test"])),
                HeadError::TargetTooLong
            );
        }
    }

    proptest! {
        #[test]
        fn any_host_bytes_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut parts = http1("GET", "/", &[]);
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                parts.headers.insert(HOST, value);
                if let Ok(head) = RequestHead::parse(&parts) {
                    prop_assert!(head.host_field().bytes().all(|byte| byte.is_ascii_graphic()));
                }
            }
        }

        #[test]
        fn any_target_is_refused_or_becomes_one_request_line(target in "/[ -~é]{0,40}") {
            if let Ok(uri) = Uri::try_from(target) {
                let mut parts = http1("GET", "/", &["a.test"]);
                parts.uri = uri;
                if let Ok(head) = RequestHead::parse(&parts) {
                    prop_assert!(head.path().starts_with('/'));
                    let line = format!("{}?{}", head.path(), head.query().unwrap_or_default());
                    prop_assert!(line.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#'));
                }
            }
        }
    }
}
