//! HTTP/2 as attackers speak it: frames written by hand over TLS, and what comes back.

use std::time::Duration;

use h2::Reason;
use http::{Request, Version};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::harness::frames::*;
use crate::harness::{PATIENCE, Script, Stage, Start, TestGateway, Upstream, h2_streams, tls};

async fn assert_serves(gateway: &TestGateway) {
    let answer = gateway.h1().await.get("/public/x", &[]).await;
    assert_eq!(answer.status, 200);
}

/// An upstream that never answers.
async fn silent() -> Script {
    Script::start(|mut line| async move {
        line.rest().await;
    })
    .await
}

/// Sends `make(n)` for n = 0, 1, 2 … until the gateway has had enough; the GOAWAY it says so with.
async fn flood(frames: Frames, count: u32, make: impl Fn(u32) -> Vec<u8>) -> Option<Frame> {
    let (mut writer, goodbye) = frames.flood();
    for number in 0..count {
        if writer.write_all(&make(number)).await.is_err() {
            break;
        }
    }
    let _ = writer.flush().await;
    let _ = writer.shutdown().await;
    goodbye.await.unwrap()
}

fn assert_had_enough(goodbye: Option<Frame>) -> u32 {
    let goodbye = goodbye.expect("the flood was let through");
    assert_eq!(goodbye.number(4), ENHANCE_YOUR_CALM, "{goodbye:?}");
    goodbye.number(0)
}

#[tokio::test]
async fn t113_rapid_resets_end_the_connection_and_nobody_elses() {
    let upstream = silent().await;
    let alive = Upstream::start().await;
    let gateway = Start::routes(&format!(
        "[[route]]\npath = \"/public/\"\nto = \"{}\"\nauth = \"public\"\n\
         [[route]]\npath = \"/silent/\"\nto = \"{}\"\nauth = \"public\"\n",
        alive.url(),
        upstream.url()
    ))
    .start();
    let head = block(&[
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", "/silent/x"),
    ]);
    let flooding = flood(Frames::connect(&gateway).await, 10_000, |number| {
        let stream = 2 * number + 1;
        let opened = frame(HEADERS, END_STREAM | END_HEADERS, stream, &head);
        [opened, frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat()
    });
    let (goodbye, ()) = tokio::join!(flooding, async {
        for _ in 0..20 {
            assert_serves(&gateway).await;
        }
    });
    let last = assert_had_enough(goodbye);
    assert!(last / 2 < 1_000, "only after {} resets", last / 2);
    assert_serves(&gateway).await;
}

#[tokio::test]
async fn t114_a_header_block_without_end_is_not_waited_for() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    let mut frames = Frames::connect(&gateway).await;
    frames
        .send(&frame(HEADERS, END_STREAM, 1, &request("GET", &[])))
        .await;
    let more = block(&[("x-more", "1")]);
    let goodbye = flood(frames, 50_000, |_| frame(CONTINUATION, 0, 1, &more)).await;
    assert_had_enough(goodbye);
    let mut frames = Frames::connect(&gateway).await;
    frames
        .send(&frame(HEADERS, END_STREAM, 1, &request("GET", &[])))
        .await;
    let goodbye = flood(frames, 50_000, |_| frame(CONTINUATION, 0, 1, &[])).await;
    assert_had_enough(goodbye);
    assert_eq!(upstream.connections(), 0);
    assert_serves(&gateway).await;
}

#[tokio::test]
async fn t114_empty_data_frames_are_not_taken_for_ever() {
    let upstream = silent().await;
    let gateway = Start::to(&upstream.url()).start();
    let mut frames = Frames::connect(&gateway).await;
    frames
        .send(&frame(HEADERS, END_HEADERS, 1, &request("POST", &[])))
        .await;
    let goodbye = flood(frames, 100_000, |_| frame(DATA, 0, 1, &[])).await;
    assert_had_enough(goodbye);
}

#[tokio::test]
async fn t115_a_flood_of_pings_or_settings_keeps_nobody_else_waiting() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    for (count, one) in [
        (50_000, frame(PING, 0, 0, b"pingpong")),
        (20_000, frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0])),
    ] {
        let flooding = flood(Frames::connect(&gateway).await, count, |_| one.clone());
        let (_, ()) = tokio::join!(flooding, async {
            for _ in 0..20 {
                assert_serves(&gateway).await;
            }
        });
    }
    assert_serves(&gateway).await;
}

#[tokio::test]
async fn t115_pings_whose_answers_nobody_reads_are_no_longer_read_either() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    let mut frames = Frames::connect(&gateway).await;
    let batch = frame(PING, 0, 0, b"pingpong").repeat(1_000);
    let mut sent = 0;
    while timeout(Duration::from_millis(300), frames.send(&batch))
        .await
        .is_ok_and(|taken| taken)
    {
        sent += batch.len();
        assert!(sent < 64 << 20, "every answer is kept");
    }
    assert_serves(&gateway).await;
}

#[tokio::test]
async fn t115_a_flood_of_pings_or_settings_without_a_stream_ends_the_connection() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    for one in [
        frame(PING, 0, 0, b"pingpong"),
        frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]),
    ] {
        let (count, mut answered) = (50_000, 0);
        let mut frames = Frames::connect(&gateway).await;
        while answered < count && frames.send(&one.repeat(100)).await {
            // Each batch is read, so that it is the count that ends it and not a full socket.
            for _ in 0..100 {
                if frames.next().await.is_none() {
                    break;
                }
                answered += 1;
            }
        }
        assert!(answered < 15_000, "{answered} were answered");
    }
    assert_serves(&gateway).await;
}

#[tokio::test]
async fn t116_streams_that_we_are_made_to_reset_are_counted_and_cancelled_upstream() {
    let upstream = silent().await;
    let gateway = Start::to(&upstream.url()).start();
    let head = request("GET", &[]);
    let overflow = 0x7fff_ffff_u32.to_be_bytes();
    flood(Frames::connect(&gateway).await, 20_000, |number| {
        let stream = 2 * number + 1;
        let opened = frame(HEADERS, END_STREAM | END_HEADERS, stream, &head);
        [opened, frame(WINDOW_UPDATE, 0, stream, &overflow)].concat()
    })
    .await;
    let resets = upstream.connections();
    assert!(resets < 1_100, "only after {resets} resets");
}

#[tokio::test]
async fn t117_a_small_block_that_unpacks_to_a_large_head_is_refused() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    // One entry into the table, then references to it of one byte each.
    let mut bomb = request("GET", &[]);
    bomb.extend([0x40, 6]);
    bomb.extend(b"cookie");
    bomb.extend([8]);
    bomb.extend(b"12345678");
    bomb.extend([0x80 | 62; 4_000]);
    let mut frames = Frames::connect(&gateway).await;
    frames
        .send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &bomb))
        .await;
    assert!(refused(&mut frames, 1).await);
    assert_eq!(upstream.connections(), 0);
    assert_serves(&gateway).await;
}

/// Whether a stream was ended with an error or an answer other than 2xx.
async fn refused(frames: &mut Frames, stream: u32) -> bool {
    let frame = frames
        .first_of(&[HEADERS, RST_STREAM], stream)
        .await
        .expect("closed without a word");
    match frame.kind {
        // Of the statuses in the static table (RFC 7541 §A), 8 to 10 are 2xx.
        HEADERS => !matches!(frame.payload[0], 0x88..=0x8a),
        RST_STREAM => frame.number(0) != 0,
        _ => frame.number(4) != 0,
    }
}

#[tokio::test]
async fn t117_a_head_over_32_kib_or_100_fields_is_431_and_the_connection_goes_on() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    let sender = h2_streams(&gateway).await;
    let get = || Request::get("https://localhost/public/x").version(Version::HTTP_2);
    let mut large = get();
    for number in 0..9 {
        large = large.header(format!("x-large-{number}"), "a".repeat(4_096));
    }
    let mut many = get();
    for number in 0..101 {
        many = many.header(format!("x-{number}"), "a");
    }
    for request in [large, many] {
        let mut sender = sender.clone().ready().await.unwrap();
        let (answer, _) = sender
            .send_request(request.body(()).unwrap(), true)
            .unwrap();
        assert_eq!(answer.await.unwrap().status(), 431);
    }
    assert_eq!(upstream.connections(), 0);
    let mut sender = sender.ready().await.unwrap();
    let (answer, _) = sender.send_request(get().body(()).unwrap(), true).unwrap();
    assert_eq!(answer.await.unwrap().status(), 200);
}

#[tokio::test]
async fn t118_what_would_be_something_else_in_http1_never_gets_that_far() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    let usual = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", "/public/x"),
    ];
    let with = |more: &[(&'static str, &'static str)]| block(&[&usual[..], more].concat());
    let instead = |name: &str, value: &'static str| {
        block(&usual.map(|(n, v)| (n, if n == name { value } else { v })))
    };
    let without = |name: &str| {
        let rest: Vec<_> = usual.into_iter().filter(|(n, _)| *n != name).collect();
        block(&rest)
    };
    let cases = [
        (
            "transfer-encoding",
            with(&[("transfer-encoding", "chunked")]),
        ),
        ("connection", with(&[("connection", "close")])),
        ("keep-alive", with(&[("keep-alive", "timeout=5")])),
        ("proxy-connection", with(&[("proxy-connection", "close")])),
        ("upgrade", with(&[("upgrade", "h2c")])),
        ("te", with(&[("te", "gzip")])),
        ("upper case", with(&[("X-Upper", "1")])),
        ("space in a name", with(&[("x bad", "1")])),
        ("colon in a name", with(&[("x:bad", "1")])),
        ("empty name", with(&[("", "1")])),
        (
            "line end in a value",
            with(&[("x-a", "1\r\nx-auth-subject: admin")]),
        ),
        ("line feed in a value", with(&[("x-a", "1\nx")])),
        ("NUL in a value", with(&[("x-a", "1\0")])),
        (
            "pseudo after regular",
            block(&[usual[0], usual[1], usual[2], ("x-a", "1"), usual[3]]),
        ),
        ("two paths", with(&[(":path", "/api/x")])),
        ("two methods", with(&[(":method", "GET")])),
        ("two authorities", with(&[(":authority", "localhost")])),
        ("unknown pseudo", with(&[(":evil", "1")])),
        ("a status in a request", with(&[(":status", "200")])),
        ("path without slash", instead(":path", "public/x")),
        ("path with space", instead(":path", "/public/x HTTP/1.1")),
        ("path with line end", instead(":path", "/public/x\r\n")),
        ("empty path", instead(":path", "")),
        ("a star", instead(":path", "*")),
        (
            "method with more",
            instead(":method", "GET / HTTP/1.1\r\nx: y"),
        ),
        ("method with space", instead(":method", "GET /public/x")),
        ("empty method", instead(":method", "")),
        (
            "authority with userinfo",
            instead(":authority", "u@localhost"),
        ),
        ("authority with path", instead(":authority", "localhost/x")),
        ("empty authority", instead(":authority", "")),
        ("no method", without(":method")),
        ("no path", without(":path")),
        ("no authority", without(":authority")),
        ("another host", with(&[("host", "evil.test")])),
        (
            "two hosts",
            with(&[("host", "localhost"), ("host", "localhost")]),
        ),
        (
            "two lengths",
            with(&[("content-length", "0"), ("content-length", "1")]),
        ),
        ("a length of words", with(&[("content-length", "x")])),
    ];
    for (what, block) in cases {
        let mut frames = Frames::connect(&gateway).await;
        frames
            .send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &block))
            .await;
        assert!(refused(&mut frames, 1).await, "{what}");
        assert_eq!(upstream.bytes(), 0, "{what}");
    }
    // The bytes are right: without the mischief it is a request.
    let mut frames = Frames::connect(&gateway).await;
    frames
        .send(&frame(
            HEADERS,
            END_STREAM | END_HEADERS,
            1,
            &with(&[("te", "trailers")]),
        ))
        .await;
    assert!(!refused(&mut frames, 1).await);
    assert_eq!(upstream.received().len(), 1);
}

#[tokio::test]
async fn t93_a_host_that_contradicts_the_authority_ends_that_stream_alone() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    let sender = h2_streams(&gateway).await;
    for (host, status) in [("evil.test", 400), ("LOCALHOST", 200), ("localhost", 200)] {
        let mut sender = sender.clone().ready().await.unwrap();
        let request = Request::get("https://localhost/public/x")
            .version(Version::HTTP_2)
            .header("host", host)
            .body(())
            .unwrap();
        let (answer, _) = sender.send_request(request, true).unwrap();
        assert_eq!(answer.await.unwrap().status(), status, "{host}");
    }
    assert_eq!(upstream.received().len(), 2);
    for received in upstream.received() {
        assert_eq!(received.all("host").len(), 1);
    }
}

#[tokio::test]
async fn cookie_crumbs_arrive_as_one_field() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    let mut frames = Frames::connect(&gateway).await;
    let crumbs = request(
        "GET",
        &[("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")],
    );
    frames
        .send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &crumbs))
        .await;
    assert!(!refused(&mut frames, 1).await);
    assert_eq!(upstream.only().one("cookie"), Some("a=1; b=2; c=3"));
}

#[tokio::test]
async fn t119_a_body_that_contradicts_its_length_is_never_completed_upstream() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    for (what, length, data) in [
        ("less", "10", "hello"),
        ("more", "3", "hello"),
        ("none", "1", ""),
    ] {
        let mut frames = Frames::connect(&gateway).await;
        let head = request("POST", &[("content-length", length)]);
        frames
            .send(
                &[
                    frame(HEADERS, END_HEADERS, 1, &head),
                    frame(DATA, END_STREAM, 1, data.as_bytes()),
                ]
                .concat(),
            )
            .await;
        let end = frames.first_of(&[RST_STREAM], 1).await.unwrap();
        let code = end.number(if end.kind == GOAWAY { 4 } else { 0 });
        assert_eq!(code, PROTOCOL_ERROR, "{what}: {end:?}");
    }
    for (trailer, is_refused) in [
        (("X-Upper", "1"), true),
        // h2 lets it pass; like every trailer, it goes no further than here.
        ((":path", "/api/x"), false),
    ] {
        let mut frames = Frames::connect(&gateway).await;
        frames
            .send(
                &[
                    frame(HEADERS, END_HEADERS, 1, &request("POST", &[])),
                    frame(DATA, 0, 1, b"hello"),
                    frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(&[trailer])),
                ]
                .concat(),
            )
            .await;
        assert_eq!(refused(&mut frames, 1).await, is_refused, "{trailer:?}");
    }
    // None of the others was a request in the end.
    let received = upstream.only();
    assert_eq!(received.line, "POST /public/x HTTP/1.1");
    assert_eq!(received.body, b"hello");
}

#[tokio::test]
async fn t120_a_hundred_streams_and_no_more_with_small_windows() {
    let upstream = silent().await;
    let gateway = Start::to(&upstream.url()).start();
    let mut frames = Frames::connect(&gateway).await;
    let mut settings = Vec::new();
    let mut window = 65_535;
    // What the gateway says first, before it has heard of us.
    while settings.is_empty() || window == 65_535 {
        let frame = frames.next().await.unwrap();
        match (frame.kind, frame.flags) {
            (SETTINGS, 0) => {
                settings = frame
                    .payload
                    .chunks(6)
                    .map(|s| (s[1], u32::from_be_bytes(s[2..].try_into().unwrap())))
                    .collect();
            }
            (WINDOW_UPDATE, _) if frame.stream == 0 => window += frame.number(0),
            _ => {}
        }
    }
    const MAX_CONCURRENT_STREAMS: u8 = 3;
    const INITIAL_WINDOW_SIZE: u8 = 4;
    assert!(
        settings.contains(&(MAX_CONCURRENT_STREAMS, 100)),
        "{settings:?}"
    );
    assert!(
        settings.contains(&(INITIAL_WINDOW_SIZE, 65_536)),
        "{settings:?}"
    );
    assert!((4 * 65_536..=1 << 19).contains(&window), "{window}");

    let head = request("GET", &[]);
    let opened: Vec<u8> = (0..101)
        .flat_map(|number| frame(HEADERS, END_STREAM | END_HEADERS, 2 * number + 1, &head))
        .collect();
    frames.send(&opened).await;
    let end = frames.first_of(&[RST_STREAM], 201).await.unwrap();
    assert_eq!((end.kind, end.number(0)), (RST_STREAM, REFUSED_STREAM));
}

#[tokio::test]
async fn t121_who_says_nothing_in_http2_is_closed_by_the_header_timeout() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream)
        .extra("\n[limits]\nheader_timeout = \"200ms\"\n")
        .start();
    let settings = frame(SETTINGS, 0, 0, &[]);
    let half_a_head = frame(HEADERS, 0, 1, &request("GET", &[]));
    for bytes in [
        b"".to_vec(),
        PREFACE[..10].to_vec(),
        PREFACE.to_vec(),
        [PREFACE, &settings[..5]].concat(),
        [PREFACE, &settings].concat(),
        [PREFACE, &settings, &half_a_head].concat(),
    ] {
        let mut stream = secured(&gateway).await;
        stream.write_all(&bytes).await.unwrap();
        stream.flush().await.unwrap();
        let mut said = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut said))
            .await
            .unwrap_or_else(|_| panic!("open for ever after {bytes:?}"));
    }
    assert_eq!(upstream.connections(), 0);
    assert_serves(&gateway).await;
}

#[tokio::test]
async fn one_bad_stream_leaves_the_others_alone() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    let sender = h2_streams(&gateway).await;
    for (path, status) in [
        ("/public/x", 200),
        ("/api/x", 401),
        ("/api/%2e%2e/x", 400),
        ("/nowhere", 404),
        ("/public/y", 200),
    ] {
        let mut sender = sender.clone().ready().await.unwrap();
        let request = Request::get(format!("https://localhost{path}"))
            .body(())
            .unwrap();
        let (answer, mut stream) = sender.send_request(request, false).unwrap();
        if status == 200 {
            stream.send_data("".into(), true).unwrap();
        }
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
        assert!(!answer.headers().contains_key("connection"), "{path}");
        stream.send_reset(Reason::CANCEL);
    }
    let reasons: Vec<_> = gateway
        .events(5)
        .await
        .iter()
        .map(|event| event["status"].as_u64().unwrap())
        .collect();
    assert_eq!(reasons, [200, 401, 400, 404, 200]);
}

/// Sends a PING every now and then until the gateway closes; `false` if it never does.
async fn is_closed_despite_pings(frames: &mut Frames) -> bool {
    // Fewer than would be a flood.
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    let closed = async {
        while frames.send(&frame(PING, 0, 0, b"pingpong")).await {
            // The answer to it, or what else there is to say.
            if frames.next().await.is_none() {
                break;
            }
            pace.tick().await;
        }
    };
    timeout(PATIENCE, closed).await.is_ok()
}

#[tokio::test]
async fn an_upload_that_ends_in_a_frame_of_its_own_leaves_its_connection_to_the_next() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    let client = h2_streams(&gateway).await;
    for _ in 0..3 {
        let request = Request::post("https://localhost/public/x").header("content-length", 4);
        let (answer, mut body) = client
            .clone()
            .ready()
            .await
            .unwrap()
            .send_request(request.body(()).unwrap(), false)
            .unwrap();
        body.send_data("body".into(), false).unwrap();
        // All of it is there, so the upstream has answered before its end is told.
        let answer = timeout(PATIENCE, answer).await.unwrap().unwrap();
        assert_eq!(answer.status(), 200);
        let _ = body.send_data(bytes::Bytes::new(), true);
    }
    assert_eq!((upstream.received().len(), upstream.connections()), (3, 1));
    for event in gateway.events(3).await {
        assert_eq!(
            (&event["reason"], &event["bytes_in"]),
            (&"ok".into(), &4.into())
        );
    }
}

/// As many as a stream's window allows, as those of a page that has much to say in few words.
#[tokio::test]
async fn small_frames_of_a_body_or_a_tunnel_arrive_however_many_come_at_once() {
    let upstream = Stage::open().await;
    let gateway = Start::routes(&format!(
        "[[route]]\npath = \"/public/\"\nto = \"{}\"\nauth = \"public\"\nupgrade = true\n",
        upstream.url()
    ))
    .start();
    let upload = request("POST", &[("content-length", "64000")]);
    let websocket = [(":protocol", "websocket"), ("sec-websocket-version", "13")];
    let websocket = request("CONNECT", &websocket);
    for (head, size) in [&upload, &websocket]
        .iter()
        .flat_map(|head| [40, 8, 1].map(|size| (head, size)))
    {
        let mut frames = Frames::connect(&gateway).await;
        frames.send(&frame(HEADERS, END_HEADERS, 1, head)).await;
        let mut line = upstream.enter().await;
        let asked = line.head_text().await;
        let key = asked
            .lines()
            .find_map(|line| line.strip_prefix("sec-websocket-key: "));
        if let Some(key) = key {
            let accept = derive_accept_key(key.as_bytes());
            line.send(format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\
                 Upgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
            ))
            .await;
            let answer = frames.first_of(&[HEADERS], 1).await.unwrap();
            assert_eq!(answer.kind, HEADERS, "{answer:?}");
        }
        let data = frame(DATA, 0, 1, &vec![b'x'; size]);
        frames.send(&data.repeat(64_000 / size)).await;
        line.bytes(64_000).await;
    }
}

#[tokio::test]
async fn cookies_in_lines_of_their_own_are_one_field() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    let client = h2_streams(&gateway).await;
    for (name, status) in [("cookie", 200), ("x-cookie", 431)] {
        let mut request = Request::get("https://localhost/public/x");
        for number in 0..150 {
            request = request.header(name, format!("c{number}=1"));
        }
        let sent = client
            .clone()
            .ready()
            .await
            .unwrap()
            .send_request(request.body(()).unwrap(), true);
        let answer = timeout(PATIENCE, sent.unwrap().0).await.unwrap().unwrap();
        assert_eq!(answer.status(), status, "{name}");
    }
    let cookies = upstream.only().one("cookie").unwrap().split("; ").count();
    assert_eq!(cookies, 150);
}

#[tokio::test]
async fn t121_pings_do_not_keep_a_connection_that_asks_for_nothing() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream)
        .extra("[limits]\nheader_timeout = \"300ms\"\nidle_timeout = \"300ms\"\nbody_timeout = \"300ms\"\n")
        .start();
    let mut never_asked = Frames::connect(&gateway).await;
    assert!(is_closed_despite_pings(&mut never_asked).await);
    let mut asked_once = Frames::connect(&gateway).await;
    let head = request("GET", &[]);
    asked_once
        .send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &head))
        .await;
    assert!(is_closed_despite_pings(&mut asked_once).await);
}

#[tokio::test]
async fn t117_a_stream_that_stalls_is_reset_and_no_other() {
    let upstream = Script::start(|mut line| async move {
        let head = line.head().await.unwrap();
        line.send("HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n")
            .await;
        if head.contains("/quiet") {
            line.rest().await;
        }
        while line.send([b'x'; 16 * 1024]).await {}
    })
    .await;
    let gateway = Start::to(&upstream.url())
        .extra("[limits]\nbody_timeout = \"300ms\"\nheader_timeout = \"300ms\"\n")
        .start();
    // With room for what one of its streams does not take.
    let stream = TcpStream::connect(gateway.https()).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = tls(&gateway, &[b"h2"]).connect(name, stream).await.unwrap();
    let (client, connection) = h2::client::Builder::new()
        .initial_connection_window_size(1024 * 1024)
        .handshake::<_, bytes::Bytes>(stream)
        .await
        .unwrap();
    tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let mut ask = |path: &str| {
        let request = Request::get(format!("https://localhost/public/{path}"));
        let (answer, _) = client
            .send_request(request.body(()).unwrap(), true)
            .unwrap();
        answer
    };
    let (stalled, quiet, moving) = (ask("stalled"), ask("quiet"), ask("moving"));
    let mut stalled = stalled.await.unwrap().into_body();
    let quiet = quiet.await.unwrap();
    let mut moving = moving.await.unwrap().into_body();
    // One is read all the time, one not at all, one has nothing to say.
    let reading = tokio::spawn(async move {
        while let Some(Ok(data)) = moving.data().await {
            moving.flow_control().release_capacity(data.len()).unwrap();
        }
    });
    let event = gateway.event().await;
    assert_eq!(event["path"], "/public/stalled");
    assert_eq!(event["reason"], "client_stalled");
    let reset = loop {
        match stalled.data().await {
            Some(Ok(_)) => {}
            Some(Err(error)) => break error.reason(),
            None => break None,
        }
    };
    assert_eq!(reset, Some(Reason::CANCEL));
    assert!(!reading.is_finished(), "the moving one was ended as well");
    reading.abort();
    drop((quiet, client));
    gateway.events(3).await;
}

#[tokio::test]
async fn t117_answers_that_nobody_reads_do_not_keep_back_one_that_somebody_does() {
    const LENGTH: usize = 1_000_000;
    let upstream = Script::start(|mut line| async move {
        line.head().await.unwrap();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {LENGTH}\r\n\r\n");
        line.send(head).await;
        line.send(vec![b'x'; LENGTH]).await;
        line.rest().await;
    })
    .await;
    let gateway = Start::to(&upstream.url()).start();
    let stream = secured(&gateway).await;
    let (client, connection) = h2::client::Builder::new()
        .initial_connection_window_size(1 << 30)
        .handshake::<_, bytes::Bytes>(stream)
        .await
        .unwrap();
    tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let mut unread = Vec::new();
    // Together they hold more than all of one connection may.
    for _ in 0..99 {
        client = client.ready().await.unwrap();
        let request = Request::get("https://localhost/public/unread").body(());
        let (answer, _) = client.send_request(request.unwrap(), true).unwrap();
        let mut body = answer.await.unwrap().into_body();
        while body.flow_control().available_capacity() > 0 {
            body.data().await.unwrap().unwrap();
        }
        unread.push(body);
    }
    let request = Request::get("https://localhost/public/read").body(());
    let (answer, _) = client.send_request(request.unwrap(), true).unwrap();
    let mut body = answer.await.unwrap().into_body();
    let mut length = 0;
    while let Some(data) = timeout(PATIENCE, body.data()).await.unwrap() {
        length += data.as_ref().unwrap().len();
        let taken = data.unwrap().len();
        body.flow_control().release_capacity(taken).unwrap();
    }
    assert_eq!(length, LENGTH);
}
