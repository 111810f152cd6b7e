//! Where one HTTP/1 message ends and the next begins: whatever a client writes, the upstream gets
//! nothing, or exactly the one request that was meant.

use crate::harness::{H1, Signer, Stage, Start, TestGateway, Upstream};

/// What a client would like to get past the gateway.
const SMUGGLED: &str = "GET /api/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Something wrong with a request: its head after the request line and Host, and its body.
struct Case {
    fields: &'static str,
    body: &'static str,
    status: u16,
    reason: &'static str,
}

const fn case(fields: &'static str, body: &'static str, status: u16, reason: &'static str) -> Case {
    Case {
        fields,
        body,
        status,
        reason,
    }
}

/// A public route for everything but `/api/`.
async fn start() -> (Upstream, TestGateway) {
    let upstream = Upstream::start().await;
    let gateway = serving(&upstream.url(), "");
    (upstream, gateway)
}

fn serving(to: &str, more: &str) -> TestGateway {
    Start::routes(&format!(
        r#"
        [[route]]
        path = "/api/"
        to = "{to}"
        auth = "main"
        [[route]]
        path = "/"
        to = "{to}"
        auth = "public"
        {more}
        "#
    ))
    .start()
}

/// Sends each request with another one behind it. It is refused, the connection closes, and the
/// upstream has got no request, neither the first nor the second.
async fn check_refused(cases: &[Case]) {
    let (upstream, gateway) = start().await;
    for (number, case) in cases.iter().enumerate() {
        let shown = format!("{:?} {:?}", case.fields, case.body);
        let mut client = gateway.h1().await;
        client
            .send(format!(
                "POST / HTTP/1.1\r\nHost: localhost\r\n{}\r\n\r\n{}{SMUGGLED}",
                case.fields, case.body
            ))
            .await;
        let answer = client.answer().await;
        let event = gateway.events(number + 1).await.remove(number);
        assert_eq!(
            (answer.status, event["reason"].as_str()),
            (case.status, Some(case.reason)),
            "{shown}"
        );
        assert!(client.is_closed().await, "{shown}");
        assert_eq!(upstream.received().len(), 0, "{shown}");
    }
    // With a broken head there was nothing to forward, not even the beginning.
    if cases.iter().all(|case| case.reason != "malformed_body") {
        assert_eq!(upstream.connections(), 0);
    }
}

#[tokio::test]
async fn t99_of_length_and_coding_only_one_is_believed_and_the_connection_closes() {
    // hyper drops Content-Length before the head is ours to judge. So there is no refusal; but the
    // upstream gets one request, framed anew, and the rest of the connection is read by nobody.
    for fields in [
        "Content-Length: 6\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 6",
        "Content-Length: 6\r\nTransfer-Encoding: chunked\r\nContent-Length: 7",
    ] {
        let (upstream, gateway) = start().await;
        let mut client = gateway.h1().await;
        client
            .send(format!(
                "POST / HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n\r\n0\r\n\r\n{SMUGGLED}"
            ))
            .await;
        assert_eq!(client.answer().await.status, 200, "{fields}");
        assert!(client.is_closed().await, "{fields}");
        let received = upstream.only();
        assert_eq!(received.line, "POST / HTTP/1.1");
        assert_eq!(received.body, b"");
        assert_eq!(
            (
                received.one("content-length"),
                received.one("transfer-encoding")
            ),
            (None, Some("chunked")),
            "{fields}"
        );
    }
}

#[tokio::test]
async fn t100_no_transfer_coding_but_one_chunked_is_understood() {
    let body = "5\r\nhello\r\n0\r\n\r\n";
    let malformed = |fields| case(fields, body, 400, "malformed_head");
    let ambiguous = |fields| case(fields, body, 400, "ambiguous_framing");
    check_refused(&[
        malformed("Transfer-Encoding: xchunked"),
        malformed("Transfer-Encoding: chunked, identity"),
        malformed("Transfer-Encoding: identity"),
        malformed("Transfer-Encoding: chunked,"),
        malformed("Transfer-Encoding:"),
        malformed("Transfer-Encoding: \u{b}chunked"),
        malformed("Transfer-Encoding: chunked;x=y"),
        malformed("Transfer-Encoding: \"chunked\""),
        malformed("Transfer-Encoding:\r\n chunked"),
        malformed("Transfer-Encoding : chunked"),
        malformed("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
        ambiguous("Transfer-Encoding: chunked, chunked"),
        ambiguous("Transfer-Encoding: ,chunked"),
        ambiguous("Transfer-Encoding: gzip, , chunked"),
        ambiguous("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
        ambiguous("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked"),
        case(
            "Transfer-Encoding: gzip, chunked",
            body,
            501,
            "unknown_transfer_coding",
        ),
    ])
    .await;
}

#[tokio::test]
async fn t100_a_coding_in_disguise_is_no_coding() {
    let (upstream, gateway) = start().await;
    let mut client = gateway.h1().await;
    client
        .send(format!(
            "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\nTransfer_Encoding: chunked\r\n\r\n{SMUGGLED}",
            SMUGGLED.len()
        ))
        .await;
    assert_eq!(client.answer().await.status, 200);
    let received = upstream.only();
    assert_eq!(received.body, SMUGGLED.as_bytes());
    assert!(
        received
            .headers
            .iter()
            .all(|(name, _)| !name.starts_with("transfer"))
    );
}

#[tokio::test]
async fn t101_a_length_is_digits() {
    let malformed = |fields| case(fields, "hello", 400, "malformed_head");
    check_refused(&[
        malformed("Content-Length: 5,5"),
        malformed("Content-Length: 5, 6"),
        malformed("Content-Length: 5\r\nContent-Length: 6"),
        malformed("Content-Length: +5"),
        malformed("Content-Length: -1"),
        malformed("Content-Length: -0"),
        malformed("Content-Length: 0x5"),
        malformed("Content-Length: 5 5"),
        malformed("Content-Length: 5_0"),
        malformed("Content-Length: 18446744073709551616"),
        malformed("Content-Length:"),
        malformed("Content-Length: five"),
        malformed("Content-Length : 5"),
        // hyper keeps the last two numbers for itself.
        case(
            "Content-Length: 18446744073709551615",
            "hello",
            431,
            "head_too_large",
        ),
    ])
    .await;
}

#[tokio::test]
async fn t101_two_equal_lengths_are_one() {
    // hyper drops the second before the head is ours to judge.
    let (upstream, gateway) = start().await;
    let mut client = gateway.h1().await;
    client
        .send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello")
        .await;
    assert_eq!(client.answer().await.status, 200);
    let received = upstream.only();
    assert_eq!(received.one("content-length"), Some("5"));
    assert_eq!(received.body, b"hello");
}

#[tokio::test]
async fn t102_other_versions_are_refused() {
    let (upstream, gateway) = start().await;
    let cases = [
        (
            "POST / HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "malformed_head",
        ),
        (
            "POST / HTTP/1.0\r\nHost: localhost\r\n\r\nhello",
            "ambiguous_framing",
        ),
        (
            "PUT / HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n",
            "ambiguous_framing",
        ),
        (
            "TRACE / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello",
            "ambiguous_framing",
        ),
        ("GET /\r\n\r\n", "malformed_head"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "malformed_head"),
        (
            "GET / HTTP/1.2\r\nHost: localhost\r\n\r\n",
            "malformed_head",
        ),
        (
            "GET / HTTP/2.0\r\nHost: localhost\r\n\r\n",
            "malformed_head",
        ),
        (
            "GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
            "malformed_head",
        ),
        (
            "GET / http/1.1\r\nHost: localhost\r\n\r\n",
            "malformed_head",
        ),
    ];
    for (number, (request, reason)) in cases.into_iter().enumerate() {
        let mut client = gateway.h1().await;
        client.send(format!("{request}{SMUGGLED}")).await;
        let answer = client.answer().await;
        let event = gateway.events(number + 1).await.remove(number);
        assert_eq!(
            (answer.status, event["reason"].as_str()),
            (400, Some(reason)),
            "{request}"
        );
        assert!(client.is_closed().await, "{request}");
    }
    assert_eq!(upstream.connections(), 0);
    let mut client = gateway.h1().await;
    client
        .send("GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
        .await;
    assert_eq!(client.answer().await.status, 200);
    assert!(client.is_closed().await);
    assert_eq!(upstream.only().line, "GET / HTTP/1.1");
}

#[tokio::test]
async fn t103_a_chunk_is_a_size_in_hexadecimal_and_so_many_bytes() {
    let long: &'static str = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(64 * 1024)).leak();
    let broken = |body| case("Transfer-Encoding: chunked", body, 400, "malformed_body");
    check_refused(&[
        broken("0_2e\r\nhello\r\n0\r\n\r\n"),
        broken("0x5\r\nhello\r\n0\r\n\r\n"),
        broken(" 5\r\nhello\r\n0\r\n\r\n"),
        broken("-5\r\nhello\r\n0\r\n\r\n"),
        broken("+5\r\nhello\r\n0\r\n\r\n"),
        broken("5 5\r\nhello\r\n0\r\n\r\n"),
        broken("00000000000000010\r\nhello"),
        broken("fffffffffffffffff\r\nhello"),
        broken("\r\nhello\r\n0\r\n\r\n"),
        broken("5\r\nhello0\r\n\r\n"),
        broken("5\r\nhello!!\r\n0\r\n\r\n"),
        broken("5\r\nhello\r\n5\r\nhell"),
        broken("5\nhello\r\n0\r\n\r\n"),
        broken("5\rhello\r\n0\r\n\r\n"),
        broken("5\r\nhello\n0\r\n\r\n"),
        broken("5;x\nhello\r\n0\r\n\r\n"),
        broken("5;x\rhello\r\n0\r\n\r\n"),
        broken("5\0\r\nhello\r\n0\r\n\r\n"),
        broken(long),
    ])
    .await;
}

#[tokio::test]
async fn t103_a_chunks_extension_is_not_forwarded() {
    // hyper reads over it, whatever is in it.
    let (upstream, gateway) = start().await;
    let mut client = gateway.h1().await;
    client
        .send("POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5;a=\"\0\"\r\nhello\r\n0;b\r\n\r\n")
        .await;
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(upstream.only().body, b"hello");
}

#[tokio::test]
async fn t103_a_body_that_breaks_on_the_way_is_never_completed_upstream() {
    let stage = Stage::open().await;
    let gateway = serving(&stage.url(), "");
    let mut client = gateway.h1().await;
    client
        .send("POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        .await;
    let mut upstream = stage.enter().await;
    assert!(
        upstream
            .head_text()
            .await
            .starts_with("POST / HTTP/1.1\r\n")
    );
    assert_eq!(upstream.bytes(10).await, b"5\r\nhello\r\n");
    client.send(format!("oops\r\n{SMUGGLED}")).await;
    assert_eq!(client.answer().await.status, 400);
    assert!(client.is_closed().await);
    // No last chunk: the upstream knows that it is not whole.
    assert_eq!(upstream.rest().await, b"");
    assert_eq!(gateway.event().await["reason"], "malformed_body");
}

#[tokio::test]
async fn t104_a_field_is_a_token_a_colon_and_visible_text() {
    let malformed = |fields| case(fields, "", 400, "malformed_head");
    check_refused(&[
        malformed("X-A: a\0b"),
        malformed("X-A: a\rb"),
        malformed("X-A: a\u{7f}b"),
        malformed("X-A : a"),
        malformed("X-A: a\r\n b"),
        malformed("X-A: a\r\n\tb"),
        malformed(": a"),
        malformed("X[A]: a"),
        malformed("X A: a"),
        malformed("X-\u{e9}: a"),
        malformed("X-A"),
        malformed(" X-A: a"),
    ])
    .await;
}

/// Heads of which at least one line ends with LF alone.
const BARE_LINE_FEEDS: [&str; 5] = [
    "GET / HTTP/1.1\nHost: localhost\nX-A: a\n\n",
    "GET / HTTP/1.1\nHost: localhost\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: localhost\nX-A: a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: localhost\r\n\n",
    "\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
];

#[tokio::test]
async fn t104_a_line_that_ends_with_a_line_feed_alone_is_refused() {
    let (upstream, gateway) = start().await;
    for (number, head) in BARE_LINE_FEEDS.iter().enumerate() {
        let mut client = gateway.h1().await;
        client.send(format!("{head}{SMUGGLED}")).await;
        let answer = client.answer().await;
        let event = gateway.events(number + 1).await.remove(number);
        assert_eq!(answer.status, 400, "{head:?}");
        assert_eq!(answer.one("connection"), Some("close"), "{head:?}");
        assert_eq!(event["reason"], "bare_line_feed", "{head:?}");
        assert!(client.is_closed().await, "{head:?}");
    }
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn t104_a_bare_line_feed_is_seen_however_the_head_arrives() {
    let (upstream, gateway) = start().await;
    let bare = BARE_LINE_FEEDS[2];
    let honest = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let length = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\na\nb";
    let mut forwarded = 0;
    for before in [honest, length, "\r\n"] {
        // In one piece with what comes before, and byte by byte.
        for whole in [true, false] {
            let mut client = gateway.h1().await;
            let sent = format!("{before}{bare}");
            if whole {
                client.send(&sent).await;
            } else {
                for byte in sent.bytes() {
                    client.send([byte]).await;
                }
            }
            if before != "\r\n" {
                assert_eq!(client.answer().await.status, 200, "{before:?}");
                forwarded += 1;
            }
            assert_eq!(client.answer().await.status, 400, "{before:?}");
            assert!(client.is_closed().await, "{before:?}");
        }
    }
    assert_eq!(upstream.received().len(), forwarded);
}

const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n\
    3\r\na\nb\r\n0\r\n\r\n";

#[tokio::test]
async fn t104_a_bare_line_feed_is_seen_behind_a_chunked_body_too() {
    let (upstream, gateway) = start().await;
    let honest = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let trailers = "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n\
        6\r\na\n\n\n\nb\r\n0\r\nX-A: a\r\n\r\n";
    let mut forwarded = 0;
    for body in [CHUNKED, trailers] {
        for bare in BARE_LINE_FEEDS {
            let mut client = gateway.h1().await;
            client.send(format!("{body}{honest}{body}{bare}")).await;
            for _ in 0..3 {
                let answer = client.answer().await;
                assert_eq!((answer.status, answer.one("connection")), (200, None));
                forwarded += 1;
            }
            assert_eq!(client.answer().await.status, 400, "{body:?} {bare:?}");
            assert!(client.is_closed().await);
        }
    }
    assert_eq!(upstream.received().len(), forwarded);
    let bodies = upstream.received();
    assert!(bodies.iter().any(|request| request.body == b"a\n\n\n\nb"));
}

#[tokio::test]
async fn t104_a_bare_line_feed_is_seen_behind_trailers_with_empty_lines_too() {
    let (upstream, gateway) = start().await;
    let mut client = gateway.h1().await;
    client
        .send(
            "POST /public/1 HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n\
             5\r\nhello\r\n0\r\nA: b\n\nX: y\r\n\r\n\
             GET /public/2 HTTP/1.1\nHost: localhost\n\n\
             GET /public/3 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        )
        .await;
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(client.answer().await.status, 400);
    assert!(client.is_closed().await);
    assert_eq!(upstream.received().len(), 1);
}

#[tokio::test]
async fn t104_a_head_begun_behind_a_chunked_body_is_seen_from_its_first_byte() {
    let (upstream, gateway) = start().await;
    let mut client = gateway.h1().await;
    for (rest, status) in [
        ("Host: localhost\r\n\r\n", 200),
        ("Host: localhost\n\r\n", 400),
    ] {
        client.send(format!("{CHUNKED}GET / HTTP/1.1\r\n")).await;
        assert_eq!(client.answer().await.status, 200);
        client.send(rest).await;
        assert_eq!(client.answer().await.status, status);
    }
    assert!(client.is_closed().await);
    assert_eq!(upstream.received().len(), 3);
}

#[tokio::test]
async fn t105_a_head_has_at_most_a_hundred_fields_and_thirty_two_kibibytes() {
    let many = |count| {
        (0..count)
            .map(|number| format!("X-{number}: x\r\n"))
            .collect::<String>()
    };
    let field = |length| format!("X-A: {}\r\n", "x".repeat(length));
    let (upstream, gateway) = start().await;
    let mut forwarded = 0;
    for (number, (fields, status)) in [
        (many(99), 200),
        (many(100), 431),
        (many(1_000), 431),
        (field(30 * 1024), 200),
        (field(33 * 1024), 431),
        (field(100 * 1024), 431),
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = gateway.h1().await;
        client
            .send(format!("GET / HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"))
            .await;
        assert_eq!(client.head_answer().await.status, status, "{number}");
        let event = gateway.events(number + 1).await.remove(number);
        if status == 200 {
            forwarded += 1;
        } else {
            assert!(client.is_closed().await, "{number}");
            assert_eq!(event["reason"], "head_too_large");
        }
        assert_eq!(upstream.received().len(), forwarded, "{number}");
    }
}

#[tokio::test]
async fn t106_what_follows_an_early_answer_is_body_and_no_request() {
    let upstream = Stage::open().await;
    let gateway = serving(&upstream.url(), "");
    let upload = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n";
    for drains in [false, true] {
        let mut client = gateway.h1().await;
        client.send(upload).await;
        let mut line = upstream.enter().await;
        line.head_text().await;
        if drains {
            gateway.gateway.drain();
        }
        line.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            .await;
        assert_eq!(client.answer().await.text(), "ok");
        client.send(SMUGGLED).await;
        assert!(client.is_closed().await);
        assert!(line.is_closed().await, "the upload had its answer");
    }
    assert_eq!(gateway.events(2).await[1]["method"], "POST");
}

#[tokio::test]
async fn t106_a_request_inside_a_body_is_body() {
    let (upstream, gateway) = start().await;
    let mut client = gateway.h1().await;
    client
        .send(format!(
            "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{SMUGGLED}{SMUGGLED}",
            SMUGGLED.len()
        ))
        .await;
    assert_eq!(client.answer().await.status, 200);
    // The one after the body is a request, and is asked for its token.
    assert_eq!(client.answer().await.status, 401);
    assert_eq!(upstream.only().body, SMUGGLED.as_bytes());
}

#[tokio::test]
async fn t106_pipelined_requests_are_judged_alone_and_answered_in_order() {
    let upstream = Upstream::answering(|request| {
        let target = request.line.split(' ').nth(1).unwrap();
        let length = target.len();
        format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{target}").into_bytes()
    })
    .await;
    let gateway = serving(&upstream.url(), "");
    let token = Signer::rsa().good();
    let requests: String = (0..100)
        .map(|number| match number % 3 {
            0 => format!("GET /api/{number} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"),
            1 => format!("GET /api/{number} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
            _ => format!("GET /{number} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        })
        .collect();
    let client = gateway.h1().await;
    let (reader, mut writer) = tokio::io::split(client.stream);
    let sent = tokio::spawn(async move {
        tokio::io::AsyncWriteExt::write_all(&mut writer, requests.as_bytes())
            .await
            .unwrap();
        writer
    });
    let mut client = H1::over(tokio::io::join(reader, tokio::io::sink()));
    for number in 0..100 {
        let answer = client.answer().await;
        match number % 3 {
            0 => assert_eq!(answer.text(), format!("/api/{number}")),
            1 => assert_eq!(answer.status, 401, "{number}"),
            _ => assert_eq!(answer.text(), format!("/{number}")),
        }
    }
    drop(sent.await.unwrap());
    let received = upstream.received();
    assert_eq!(received.len(), 67);
    for request in received {
        let subject = request.line.contains("/api/").then_some("alice");
        assert_eq!(request.one("x-auth-subject"), subject, "{}", request.line);
    }
}

#[tokio::test]
async fn t107_only_one_expectation_can_be_met() {
    let (upstream, gateway) = start().await;
    for (number, expectation) in [
        "200-ok",
        "y 100-continue",
        "100-continue, x",
        "\"100-continue\"",
        "",
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = gateway.h1().await;
        client
            .send(format!(
                "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nExpect: {expectation}\r\n\r\n"
            ))
            .await;
        assert_eq!(client.answer().await.status, 417, "{expectation}");
        // The body is outstanding: what comes next could be either.
        assert!(client.is_closed().await, "{expectation}");
        let event = gateway.events(number + 1).await.remove(number);
        assert_eq!(event["reason"], "unknown_expectation");
    }
    assert_eq!(upstream.connections(), 0);
    let mut client = gateway.h1().await;
    client
        .send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nExpect: 100-Continue\r\n\r\n")
        .await;
    assert_eq!(client.head_answer().await.status, 100);
    client.send("hello").await;
    assert_eq!(client.answer().await.status, 200);
    let received = upstream.only();
    assert_eq!(
        (received.one("expect"), received.body.as_slice()),
        (None, &b"hello"[..])
    );
}

#[tokio::test]
async fn t107_a_body_that_was_promised_and_never_comes_ends_both_connections() {
    let stage = Stage::open().await;
    let gateway = serving(&stage.url(), "timeout = \"300ms\"");
    let mut client = gateway.h1().await;
    client
        .send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        .await;
    let mut upstream = stage.enter().await;
    upstream.head_text().await;
    assert_eq!(client.head_answer().await.status, 100);
    let answer = client.answer().await;
    assert_eq!(
        (answer.status, answer.one("connection")),
        (408, Some("close"))
    );
    assert!(client.is_closed().await);
    assert!(upstream.is_closed().await);
    assert_eq!(gateway.event().await["reason"], "body_timeout");
}

#[tokio::test]
async fn t107_an_upstream_connection_with_a_body_outstanding_is_not_used_again() {
    let stage = Stage::open().await;
    let gateway = serving(&stage.url(), "");
    let mut client = gateway.h1().await;
    client
        .send("POST /first HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60\r\n\r\nhello")
        .await;
    let mut first = stage.enter().await;
    first.head_text().await;
    // It answers without having read the body; the client gets that answer.
    first
        .send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        .await;
    assert_eq!(client.answer().await.text(), "ok");
    let mut other = gateway.h1().await;
    other
        .send("GET /second HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let mut second = stage.enter().await;
    assert!(second.head_text().await.starts_with("GET /second "));
    second.send("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(other.answer().await.status, 204);
}

#[tokio::test]
async fn t107_a_refused_upload_is_answered_and_then_closed() {
    let (upstream, gateway) = start().await;
    for (number, (fields, status)) in [
        ("Content-Length: 1000000000", 401),
        ("Transfer-Encoding: chunked", 401),
        ("Content-Length: 1000000000\r\nExpect: 100-continue", 401),
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = gateway.h1().await;
        client
            .send(format!(
                "POST /api/x HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n\r\n"
            ))
            .await;
        // No `100 Continue` before it.
        let answer = client.answer().await;
        assert_eq!(
            (answer.status, answer.one("connection")),
            (status, Some("close")),
            "{fields}"
        );
        assert!(answer.text().contains("request_id"));
        assert!(client.is_closed().await, "{fields}");
        let event = gateway.events(number + 1).await.remove(number);
        assert_eq!(event["reason"], "no_credential");
        assert_eq!(event["bytes_in"], 0);
    }
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn t107_the_answer_to_a_refused_upload_arrives_although_the_client_keeps_sending() {
    let (upstream, gateway) = start().await;
    let mut client = gateway.h1().await;
    client
        .send("POST /api/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")
        .await;
    // As much as is thrown away before the connection would be reset.
    client.send(vec![b'x'; 32 * 1024]).await;
    assert_eq!(client.answer().await.status, 401);
    assert!(client.is_closed().await);
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn t112_what_an_upstream_may_have_seen_is_never_sent_again() {
    for method in ["GET", "POST"] {
        let stage = Stage::open().await;
        let gateway = serving(&stage.url(), "");
        let mut client = gateway.h1().await;
        client
            .send("GET /warm HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await;
        let mut kept = stage.enter().await;
        kept.head_text().await;
        kept.send("HTTP/1.1 204 No Content\r\n\r\n").await;
        assert_eq!(client.answer().await.status, 204);
        // The next one comes on the same connection, which breaks once it has been read.
        client
            .send(format!(
                "{method} /once HTTP/1.1\r\nHost: localhost\r\n\r\n"
            ))
            .await;
        assert!(
            kept.head_text()
                .await
                .starts_with(&format!("{method} /once "))
        );
        drop(kept);
        assert_eq!(client.answer().await.status, 502, "{method}");
        assert_eq!(gateway.events(2).await[1]["reason"], "upstream_broken");
        client
            .send("GET /next HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await;
        let mut next = stage.enter().await;
        assert!(next.head_text().await.starts_with("GET /next "), "{method}");
    }
}

#[tokio::test]
async fn t112_a_connection_that_the_upstream_has_closed_costs_nobody_a_request() {
    for method in ["GET", "POST"] {
        let stage = Stage::open().await;
        let gateway = serving(&stage.url(), "");
        let mut client = gateway.h1().await;
        client
            .send("GET /warm HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await;
        let mut kept = stage.enter().await;
        kept.head_text().await;
        kept.send("HTTP/1.1 204 No Content\r\n\r\n").await;
        assert_eq!(client.answer().await.status, 204);
        drop(kept);
        client
            .send(format!(
                "{method} /again HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello"
            ))
            .await;
        let mut next = stage.enter().await;
        assert!(
            next.head_text()
                .await
                .starts_with(&format!("{method} /again "))
        );
        assert_eq!(next.bytes(5).await, b"hello");
        next.send("HTTP/1.1 204 No Content\r\n\r\n").await;
        assert_eq!(client.answer().await.status, 204, "{method}");
    }
}
