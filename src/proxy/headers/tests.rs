use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::hop_by_hop::is_hop_by_hop;
use super::*;

/// What a client may try: names that fold into ours, hop-by-hop names, honest ones.
fn field_name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[xX][-_][aA]uth[-_][sS]ubject",
        "[xX][-_][fF]orwarded[-_](for|host|proto|prefix)",
        "(te|upgrade|keep-alive|proxy-authorization|http2-settings|forwarded|x-real-ip)",
        "[xX][-_][rR]equest[-_]id",
        "(accept|user-agent|x-trace|cookie|authorization|x-role)",
    ]
}

fn headers(fields: &[(String, String)], connection: &[String]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    for line in connection {
        headers.append(header::CONNECTION, HeaderValue::from_str(line).unwrap());
    }
    headers
}

fn rewritten(headers: HeaderMap) -> HeaderMap {
    rewritten_with(headers, Framing::NoBody)
}

fn rewritten_with(mut headers: HeaderMap, framing: Framing) -> HeaderMap {
    let host = HeaderValue::from_static("api.example");
    let reserved: ReservedNames = [HeaderName::from_static("x-role")].into_iter().collect();
    rewrite_request(
        &mut headers,
        &RequestRules {
            reserved: &reserved,
            keep_authorization: false,
            limits_methods: false,
            origin: &Origin::observed(IpAddr::from([192, 0, 2, 7])),
            told: &Told::default(),
            request_id: &RequestId::from_field(HeaderValue::from_static("id-1")).unwrap(),
            version: Version::HTTP_11,
            pseudonym: &Pseudonym::new(7),
            client_host: &host,
            upstream_host: &host,
            framing,
            upgrade: None,
        },
        &mut Permit::public(),
    );
    headers
}

/// A name as CGI and WSGI fold it.
fn folded(name: &HeaderName) -> String {
    name.as_str().replace('_', "-")
}

#[test]
fn t101_the_framing_is_written_anew_in_one_line() {
    let length = |value: &str| ("content-length".to_owned(), value.to_owned());
    let twice = [length("5"), length("5")];
    for (framing, content_length, transfer_encoding) in [
        (Framing::Length(5), vec!["5"], vec![]),
        (Framing::NoBody, vec!["0"], vec![]),
        (Framing::Chunked, vec![], vec!["chunked"]),
    ] {
        let after = rewritten_with(headers(&twice, &[]), framing);
        let all = |name| after.get_all(name).iter().collect::<Vec<_>>();
        assert_eq!(all(header::CONTENT_LENGTH), content_length, "{framing:?}");
        assert_eq!(
            all(header::TRANSFER_ENCODING),
            transfer_encoding,
            "{framing:?}"
        );
    }
    assert!(!rewritten(headers(&[], &[])).contains_key(header::CONTENT_LENGTH));
}

#[test]
fn t75_what_is_announced_twice_is_announced_once_and_what_connection_names_is_not() {
    let trailer = ("trailer".to_owned(), "b, B, X-Gone, c, b".to_owned());
    let sent = headers(&[trailer], &["x-gone, x-gone".to_owned()]);
    let after = rewritten_with(sent, Framing::Chunked);
    let lines: Vec<_> = after.get_all(header::TRAILER).iter().collect();
    assert_eq!(lines, ["b, c"]);
    let many: Vec<String> = (0..150).map(|number| format!("t-{number}")).collect();
    let sent = headers(&[("trailer".to_owned(), many.join(","))], &[]);
    let after = rewritten_with(sent, Framing::Chunked);
    assert_eq!(after[header::TRAILER], many[..100].join(", "));
}

#[test]
fn t80_the_way_that_a_request_came_is_read_past_bytes_that_are_no_text() {
    let via = HeaderValue::from_bytes(b"1.1 caf\xe9,1.0\t jotgate-00000007 (x)").unwrap();
    let headers = HeaderMap::from_iter([(header::VIA, via)]);
    assert!(has_come_back(&headers, &Pseudonym::new(7)));
    assert!(!has_come_back(&headers, &Pseudonym::new(8)));
}

proptest! {
    #[test]
    fn f9_no_spelling_of_a_managed_name_survives(
        fields in vec((field_name(), "[ -~&&[^ ]]{0,12}"), 0..12),
        connection in vec("(close|x-trace|host|x-forwarded-for|X-Auth-Subject|, ){1,3}", 0..4),
    ) {
        let after = rewritten(headers(&fields, &connection));
        for name in after.keys() {
            let folded = folded(name);
            prop_assert!(!name.as_str().contains('_'), "{name}");
            prop_assert!(folded != "x-auth-subject" && folded != "x-role", "{name}");
            prop_assert!(!is_hop_by_hop(&folded), "{name}");
            prop_assert!(name != header::AUTHORIZATION);
        }
        let ours = [
            ("x-forwarded-for", "192.0.2.7"),
            ("x-forwarded-host", "api.example"),
            ("x-forwarded-proto", "https"),
            ("forwarded", "for=192.0.2.7;host=\"api.example\";proto=https"),
            ("host", "api.example"),
            ("via", "1.1 jotgate-00000007"),
            ("x-request-id", "id-1"),
        ];
        for (name, value) in ours {
            let values: Vec<_> = after.get_all(name).iter().collect();
            prop_assert_eq!(values, vec![value]);
        }
        prop_assert!(!after.contains_key("x-forwarded-prefix"));
    }

    #[test]
    fn f9_what_is_nobodys_business_arrives_as_it_was(value in "[!-~]{1,20}") {
        let sent = [("accept".to_owned(), value.clone()), ("x-trace".to_owned(), value.clone())];
        let after = rewritten(headers(&sent, &[]));
        for (name, value) in &sent {
            prop_assert_eq!(after.get(name).map(HeaderValue::as_bytes), Some(value.as_bytes()));
        }
    }

    #[test]
    fn cookie_crumbs_are_joined_in_their_order(crumbs in vec("[a-z]=[a-z0-9]{1,5}", 1..6)) {
        let sent: Vec<_> = crumbs.iter().map(|c| ("cookie".to_owned(), c.clone())).collect();
        let after = rewritten(headers(&sent, &[]));
        let values: Vec<_> = after.get_all(header::COOKIE).iter().collect();
        let joined = crumbs.join("; ");
        prop_assert_eq!(values, vec![&joined]);
    }
}

#[test]
fn a_switch_has_no_length() {
    let text = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    for upgrade in [
        Upgrade::Offered(HeaderValue::from_static("websocket")),
        Upgrade::ExtendedConnect(Challenge::new()),
    ] {
        let mut switch = headers(&[text("content-length", "0"), text("x-kept", "1")], &[]);
        rewrite_switch(
            &mut switch,
            &upgrade,
            &HeaderValue::from_static("websocket"),
        );
        assert!(!switch.contains_key(header::CONTENT_LENGTH));
        assert_eq!(switch["x-kept"], "1");
    }
}

#[test]
fn t117_detached_values_are_the_same_and_let_go_of_the_buffer_they_came_in() {
    let mut buffer = Bytes::from(b"one two and much more".to_vec());
    let mut headers = HeaderMap::new();
    for name in ["x-first", "x-second"] {
        let value = HeaderValue::from_maybe_shared(buffer.split_to(4)).unwrap();
        headers.append(name, value.clone());
        headers.append("x-both", value);
    }
    let before = headers.clone();
    detach(&mut headers);
    assert_eq!(headers, before);
    drop(before);
    assert!(buffer.is_unique());
}
