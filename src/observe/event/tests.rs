use proptest::prelude::*;
use serde_json::Value as Json;

use super::*;

/// An unremarkable event, for tests to change.
pub(in crate::observe) fn event() -> AccessEvent {
    AccessEvent {
        time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
        request_id: id("0af7651916cd43dd8448eb211c80319c"),
        peer: "[2001:db8::1]:50123".parse().unwrap(),
        client: "192.0.2.7".parse().unwrap(),
        protocol: "HTTP/2",
        method: Method::GET,
        host: Some("api.example.com".into()),
        path: "/api/orders".into(),
        route: Some(RouteName::new("orders")),
        status: 200,
        reason: "ok",
        issuer: Some("main".into()),
        kid: Some("2026-01".into()),
        subject: None,
        generation: 3,
        duration: Duration::from_nanos(12_345_678),
        upstream: Some(Duration::from_micros(9)),
        bytes_in: 0,
        bytes_out: 512,
    }
}

pub(in crate::observe) fn id(text: &str) -> RequestId {
    RequestId::from_field(text.parse().unwrap()).unwrap()
}

pub(in crate::observe) fn line(event: &AccessEvent, format: LogFormat) -> String {
    let mut out = String::new();
    event.write_line(format, &mut Dates::default(), &mut out);
    out
}

fn json(event: &AccessEvent) -> Json {
    serde_json::from_str(&line(event, LogFormat::Json)).expect("valid JSON")
}

/// What a capped field reads back as.
fn capped(text: &str, cap: usize) -> String {
    let kept = &text[..text.floor_char_boundary(cap)];
    match text.len() - kept.len() {
        0 => kept.to_owned(),
        missing => format!("{kept}...[+{missing}]"),
    }
}

/// Splits a text line into its pairs again, strictly.
fn parse_text(line: &str) -> Vec<(String, String)> {
    let mut rest = line.strip_suffix('\n').expect("a final newline");
    let mut pairs = Vec::new();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').expect("a name before each value");
        let (value, after) = if after.starts_with('"') {
            let mut strings = serde_json::Deserializer::from_str(after).into_iter::<String>();
            let value = strings.next().unwrap().expect("a JSON string");
            (value, &after[strings.byte_offset()..])
        } else {
            let end = after.find(' ').unwrap_or(after.len());
            (after[..end].to_owned(), &after[end..])
        };
        pairs.push((name.to_owned(), value));
        rest = after.strip_prefix(' ').unwrap_or(after);
    }
    pairs
}

#[test]
fn json_has_every_field_in_a_fixed_order() {
    assert_eq!(
        line(&event(), LogFormat::Json),
        concat!(
            r#"{"time":"2023-11-14T22:13:20.123Z","#,
            r#""request_id":"0af7651916cd43dd8448eb211c80319c","#,
            r#""peer":"[2001:db8::1]:50123","client":"192.0.2.7","protocol":"HTTP/2","#,
            r#""method":"GET","host":"api.example.com","path":"/api/orders","route":"orders","status":200,"#,
            r#""reason":"ok","issuer":"main","kid":"2026-01","subject":null,"generation":3,"#,
            r#""duration_ms":12.345,"upstream_ms":0.009,"bytes_in":0,"bytes_out":512}"#,
            "\n"
        )
    );
}

#[test]
fn text_leaves_out_what_is_unknown() {
    assert_eq!(
        line(&event(), LogFormat::Text),
        "time=2023-11-14T22:13:20.123Z request_id=0af7651916cd43dd8448eb211c80319c \
         peer=[2001:db8::1]:50123 client=192.0.2.7 protocol=HTTP/2 method=GET \
         host=api.example.com path=/api/orders route=orders status=200 reason=ok issuer=main kid=2026-01 \
         generation=3 duration_ms=12.345 upstream_ms=0.009 bytes_in=0 bytes_out=512\n"
    );
}

#[test]
fn text_quotes_what_could_be_misread() {
    for (path, written) in [
        ("", r#"path="" "#),
        ("/a b", r#"path="/a b" "#),
        ("/a status=500", r#"path="/a status=500" "#),
        ("/\"", r#"path="/\"" "#),
        ("/a\r\ntime=", r#"path="/a\r\ntime=" "#),
    ] {
        let line = line(
            &AccessEvent {
                path: path.into(),
                ..event()
            },
            LogFormat::Text,
        );
        assert!(line.contains(written), "{line}");
    }
}

#[test]
fn t78_a_terminal_sees_no_command_and_no_other_direction() {
    let hostile = "\u{1b}[2J\u{9b}31m\u{202e}\u{2028}\u{7f}\u{0}\u{1f600}é";
    let event = AccessEvent {
        kid: Some(hostile.into()),
        ..event()
    };
    let escaped = r#""\u001b[2J\u009b31m\u202e\u2028\u007f\u0000\ud83d\ude00\u00e9""#;
    for format in [LogFormat::Json, LogFormat::Text] {
        let line = line(&event, format);
        assert!(line.contains(escaped), "{line}");
    }
    assert_eq!(json(&event)["kid"], hostile);
}

#[test]
fn t78_a_long_value_is_cut_and_says_by_how_much() {
    let event = AccessEvent {
        path: format!("/{}", "é".repeat(5000)).as_str().into(),
        method: Method::from_bytes(&[b'A'; 100]).unwrap(),
        ..event()
    };
    assert_eq!(
        json(&event)["path"],
        format!("/{}...[+8978]", "é".repeat(511))
    );
    assert_eq!(
        json(&event)["method"],
        format!("{}...[+68]", "A".repeat(32))
    );
}

#[test]
fn t79_a_password_before_the_host_never_reaches_the_line() {
    let event = AccessEvent {
        host: Some("alice:can@ary@localhost:443".into()),
        ..event()
    };
    assert_eq!(json(&event)["host"], "localhost:443");
}

#[test]
fn t79_a_query_never_reaches_the_line() {
    let event = AccessEvent {
        path: "/login?code=canary".into(),
        ..event()
    };
    for format in [LogFormat::Json, LogFormat::Text] {
        assert!(!line(&event, format).contains("canary"));
    }
    assert_eq!(json(&event)["path"], "/login");
}

#[test]
fn a_clock_out_of_range_still_makes_a_valid_time() {
    let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
    let after = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 60);
    for time in [before, after] {
        assert_eq!(
            json(&AccessEvent { time, ..event() })["time"],
            "1970-01-01T00:00:00.000Z"
        );
    }
}

/// Anything at all, hostile characters more often than chance would have it.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[\\x00-\\x20\"\\\\=\\x7f-\\u{9f}\\u{202a}-\\u{202e}\\u{2028}\\u{1f600}a?]{0,40}",
        "[a\"é\n]{0,3000}",
    ]
}

prop_compose! {
    fn any_event()(
        request_id in "[A-Za-z0-9._~+/=:-]{1,128}",
        texts in prop::array::uniform3(text()),
        optional in prop::array::uniform4(prop::option::of(text())),
        method in "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,60}",
        peer in any::<SocketAddr>(),
        client in any::<IpAddr>(),
        numbers in any::<[u64; 3]>(),
        status in any::<u16>(),
        times in any::<(Duration, Option<Duration>)>(),
    ) -> AccessEvent {
        let [path, route, issuer] = texts;
        let [host, kid, subject, _] = optional;
        AccessEvent {
            request_id: id(&request_id),
            path: path.as_str().into(),
            route: Some(RouteName::new(&route)),
            issuer: Some(issuer.into()),
            host: host.as_deref().map(WireText::from),
            kid: kid.map(Arc::from),
            subject: subject.map(Arc::from),
            method: Method::from_bytes(method.as_bytes()).unwrap(),
            peer,
            client,
            status,
            generation: numbers[0],
            bytes_in: numbers[1],
            bytes_out: numbers[2],
            duration: times.0,
            upstream: times.1,
            ..event()
        }
    }
}

/// The untrusted fields of an event as a reader should see them again.
fn expected(event: &AccessEvent) -> Vec<(&'static str, Option<String>)> {
    let cap = |text: Option<&str>, cap| text.map(|text| capped(text, cap));
    let host = event.host.as_ref().map(WireText::text);
    let host = host.as_deref().and_then(|host| host.rsplit('@').next());
    vec![
        ("request_id", Some(event.request_id.as_str().to_owned())),
        ("method", cap(Some(event.method.as_str()), 32)),
        ("host", cap(host, 255)),
        ("path", cap(event.path.text().split('?').next(), 1024)),
        ("route", event.route.as_ref().map(ToString::to_string)),
        ("issuer", event.issuer.as_deref().map(str::to_owned)),
        ("kid", cap(event.kid.as_deref(), 128)),
        ("subject", cap(event.subject.as_deref(), 1024)),
        ("peer", Some(event.peer.to_string())),
        ("client", Some(event.client.to_string())),
    ]
}

proptest! {
    #[test]
    fn any_event_is_one_line_of_printable_ascii(event in any_event()) {
        for format in [LogFormat::Json, LogFormat::Text] {
            let line = line(&event, format);
            let body = line.strip_suffix('\n').unwrap();
            prop_assert!(body.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{line:?}");
        }
    }

    #[test]
    fn json_reads_back_as_it_was_apart_from_the_caps(event in any_event()) {
        let json = json(&event);
        prop_assert_eq!(json.as_object().unwrap().len(), 19);
        for (name, value) in expected(&event) {
            prop_assert_eq!(json[name].as_str(), value.as_deref(), "{}", name);
        }
        prop_assert_eq!(json["status"].as_u64(), Some(event.status.into()));
        prop_assert_eq!(json["bytes_out"].as_u64(), Some(event.bytes_out));
    }

    #[test]
    fn text_reads_back_as_it_was_apart_from_the_caps(event in any_event()) {
        let pairs = parse_text(&line(&event, LogFormat::Text));
        for (name, value) in expected(&event) {
            let found: Vec<_> = pairs.iter().filter(|pair| pair.0 == name).collect();
            prop_assert!(found.len() <= 1, "{} twice", name);
            prop_assert_eq!(found.first().map(|pair| &pair.1), value.as_ref(), "{}", name);
        }
    }
}
