//! Tests of `head`.

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
