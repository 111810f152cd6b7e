//! Bodies in both directions: streamed, bounded, counted; and what happens when one ends early.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream as StdStream};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use http::{Request, StatusCode};
use jotgate::cli::run;
use jotgate::clock::Clock;
use jotgate::control::Resolver;
use jotgate::server::{Inherited, Surroundings};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc as events};
use tokio::time::timeout;

use crate::harness::{
    H1, Line, PATIENCE, Process, Received, Script, Start, TestGateway, Upstream, h2_streams,
};

/// A channel for what the script of an upstream has seen.
fn telling() -> (events::UnboundedSender<&'static str>, Told) {
    let (tell, told) = events::unbounded_channel();
    (tell, Told(told))
}

struct Told(events::UnboundedReceiver<&'static str>);

impl Told {
    async fn expect(&mut self, what: &str) {
        let told = timeout(PATIENCE, self.0.recv()).await;
        assert_eq!(told.expect("the upstream saw nothing"), Some(what));
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// An answer over HTTP/2, its body read to its end, however that came.
async fn h2_get(gateway: &TestGateway, path: &str) -> (StatusCode, Result<Vec<u8>, h2::Error>) {
    let request = Request::get(format!("https://localhost{path}"))
        .body(())
        .unwrap();
    let (answer, _) = h2_streams(gateway)
        .await
        .send_request(request, true)
        .unwrap();
    let answer = answer.await.unwrap();
    let status = answer.status();
    let mut body = answer.into_body();
    let mut bytes = Vec::new();
    loop {
        match timeout(PATIENCE, body.data()).await.unwrap() {
            Some(Ok(data)) => {
                body.flow_control().release_capacity(data.len()).unwrap();
                bytes.extend(data);
            }
            Some(Err(error)) => return (status, Err(error)),
            None => return (status, Ok(bytes)),
        }
    }
}

#[tokio::test]
async fn bodies_arrive_whole_whatever_delimits_them_on_either_side() {
    const BODY: &str = "hello\r\n\r\n0\r\n\r\nworld";
    let upstream = Upstream::answering(|request: &Received| {
        assert_eq!(request.body, BODY.as_bytes());
        let delimited = match request.line.split(' ').nth(1).unwrap() {
            "/public/length" => format!("content-length: {}\r\n\r\n{BODY}", BODY.len()),
            "/public/chunked" => format!(
                "transfer-encoding: chunked\r\n\r\n3\r\n{}\r\n{:x};x=y\r\n{}\r\n0\r\nx-t: 1\r\n\r\n",
                &BODY[..3],
                BODY.len() - 3,
                &BODY[3..]
            ),
            _ => format!("connection: close\r\n\r\n{BODY}"),
        };
        format!("HTTP/1.1 200 OK\r\n{delimited}").into_bytes()
    })
    .await;
    let gateway = Start::with(&upstream).start();
    let length = format!("Content-Length: {}\r\n\r\n{BODY}", BODY.len());
    let chunked = format!(
        "Transfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n{:X}\r\n{}\r\n0\r\n\r\n",
        &BODY[..1],
        BODY.len() - 1,
        &BODY[1..]
    );
    let mut client = gateway.h1().await;
    let mut count = 0;
    for path in ["length", "chunked", "close"] {
        for framed in [&length, &chunked] {
            client
                .send(format!(
                    "POST /public/{path} HTTP/1.1\r\nHost: localhost\r\n{framed}"
                ))
                .await;
            let answer = client.answer().await;
            assert_eq!(
                (answer.status, answer.text().as_str()),
                (200, BODY),
                "{path}"
            );
            count += 1;
        }
        for declared in [true, false] {
            let mut request = Request::post(format!("https://localhost/public/{path}"));
            if declared {
                request = request.header("content-length", BODY.len());
            }
            let (answer, mut body) = h2_streams(&gateway)
                .await
                .send_request(request.body(()).unwrap(), false)
                .unwrap();
            body.send_data(BODY[..7].into(), false).unwrap();
            body.send_data(BODY[7..].into(), true).unwrap();
            let mut answer = answer.await.unwrap().into_body();
            let mut bytes = Vec::new();
            while let Some(data) = answer.data().await {
                bytes.extend(data.unwrap());
            }
            assert_eq!(bytes, BODY.as_bytes(), "{path}");
            count += 1;
        }
    }
    for event in gateway.events(count).await {
        assert_eq!(event["reason"], "ok");
        assert_eq!(event["bytes_in"], BODY.len());
        assert_eq!(event["bytes_out"], BODY.len());
    }
}

#[tokio::test]
async fn an_http10_client_gets_a_body_without_chunks() {
    let upstream = Upstream::answering(|_| {
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".to_vec()
    })
    .await;
    let gateway = Start::with(&upstream).start();
    let mut client = gateway.h1().await;
    client
        .send("GET /public/x HTTP/1.0\r\nHost: localhost\r\n\r\n")
        .await;
    let answer = client.answer().await;
    assert_eq!(answer.one("transfer-encoding"), None);
    assert_eq!(answer.text(), "hello");
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn answers_without_a_body_end_with_their_head() {
    let upstream = Upstream::answering(|request: &Received| {
        let status = match request.line.as_str() {
            line if line.contains("/204") => "204 No Content\r\nx-kept: 1",
            line if line.contains("/304") => "304 Not Modified\r\ncontent-length: 5\r\nx-kept: 1",
            line if line.starts_with("HEAD") => "200 OK\r\ncontent-length: 5\r\nx-kept: 1",
            _ => return OK.into(),
        };
        format!("HTTP/1.1 {status}\r\n\r\n").into_bytes()
    })
    .await;
    let gateway = Start::with(&upstream).start();
    let mut client = gateway.h1().await;
    for (method, path, status, length) in [
        ("HEAD", "/public/x", 200, Some("5")),
        ("GET", "/public/204", 204, None),
        ("HEAD", "/public/204", 204, None),
        ("GET", "/public/304", 304, None),
        ("HEAD", "/public/304", 304, None),
    ] {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        client.send(head).await;
        let answer = client.head_answer().await;
        assert_eq!(answer.status, status, "{method} {path}");
        assert_eq!(answer.one("x-kept"), Some("1"), "{method} {path}");
        assert_eq!(answer.one("transfer-encoding"), None, "{method} {path}");
        // The length of what a 304 does not send may be left out (RFC 9110 §8.6).
        if status != 304 {
            assert_eq!(answer.one("content-length"), length, "{method} {path}");
        }
        // The next answer begins right behind it.
        assert_eq!(client.get("/public/next", &[]).await.text(), "ok");
    }
    assert_eq!(upstream.connections(), 1);
    for event in gateway.events(10).await {
        assert_eq!(event["reason"], "ok");
    }
}

#[tokio::test]
async fn our_own_words_are_left_out_of_answers_to_head_but_their_length_is_not() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    let mut client = gateway.h1().await;
    for path in ["/api/x", "/nowhere"] {
        let get = client.get(path, &[]).await;
        let head = client.request("HEAD", path, &[]).await;
        assert_eq!(head.status, get.status);
        assert_eq!(head.one("content-length"), get.one("content-length"));
        assert_eq!(head.one("www-authenticate"), get.one("www-authenticate"));
    }
    assert_eq!(client.get("/public/x", &[]).await.text(), "ok");
}

#[tokio::test]
async fn events_of_a_stream_arrive_one_by_one() {
    let (go, gone) = events::channel::<()>(1);
    let gone = Arc::new(Mutex::new(gone));
    let upstream = Script::start(move |mut line| {
        let gone = gone.clone();
        async move {
            while let Some(head) = line.head().await {
                let chunked = head.contains("/chunked");
                line.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n")
                    .await;
                line.send(if chunked {
                    "transfer-encoding: chunked\r\n\r\n"
                } else {
                    "connection: close\r\n\r\n"
                })
                .await;
                for number in 0..3 {
                    let event = format!("data: {number}\n\n");
                    let sent = if chunked {
                        line.send(format!("{:x}\r\n{event}\r\n", event.len())).await
                    } else {
                        line.send(event).await
                    };
                    assert!(sent);
                    // The next one comes only when this one has been seen.
                    gone.lock().await.recv().await.unwrap();
                }
                if !chunked {
                    return;
                }
                line.send("0\r\n\r\n").await;
            }
        }
    })
    .await;
    let gateway = Start::to(&upstream.url()).start();
    for path in ["/public/chunked", "/public/close"] {
        let mut client = gateway.h1().await;
        client
            .send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
            .await;
        client.head_answer().await;
        for number in 0..3 {
            assert_eq!(
                client.chunk().await,
                format!("data: {number}\n\n").as_bytes()
            );
            go.send(()).await.unwrap();
        }
        assert_eq!(client.chunk().await, b"");

        let request = Request::get(format!("https://localhost{path}"))
            .body(())
            .unwrap();
        let (answer, _) = h2_streams(&gateway)
            .await
            .send_request(request, true)
            .unwrap();
        let mut body = answer.await.unwrap().into_body();
        for number in 0..3 {
            let data = timeout(PATIENCE, body.data()).await.unwrap().unwrap();
            assert_eq!(data.unwrap(), format!("data: {number}\n\n"));
            go.send(()).await.unwrap();
        }
        while let Some(data) = body.data().await {
            assert_eq!(data.unwrap(), "");
        }
    }
}

/// Routes with a limit of 1 KiB.
fn limited(to: &str) -> Start {
    Start::routes(&format!(
        r#"
        [[route]]
        path = "/public/"
        to = "{to}"
        auth = "public"
        max_body = "1KiB"
        "#
    ))
}

#[tokio::test]
async fn a_body_that_says_it_is_too_large_reaches_nobody() {
    let upstream = Upstream::start().await;
    let gateway = limited(&upstream.url()).start();
    for length in ["1025", "9223372036854775807"] {
        let mut client = gateway.h1().await;
        let headers = [
            &*format!("Content-Length: {length}"),
            "Expect: 100-continue",
        ];
        let answer = client.request("POST", "/public/x", &headers).await;
        assert_eq!(answer.status, 413, "{length}");
        assert_eq!(answer.one("connection"), Some("close"));
        assert!(client.is_closed().await);
    }
    let request = Request::post("https://localhost/public/x")
        .header("content-length", 1_025)
        .body(())
        .unwrap();
    let (answer, _body) = h2_streams(&gateway)
        .await
        .send_request(request, false)
        .unwrap();
    assert_eq!(answer.await.unwrap().status(), 413);
    for event in gateway.events(3).await {
        assert_eq!(event["reason"], "body_too_large");
        assert_eq!(event["bytes_in"], 0);
    }
    assert_eq!(upstream.connections(), 0);

    let mut client = gateway.h1().await;
    let head = "POST /public/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1024\r\n\r\n";
    client.send(format!("{head}{}", "x".repeat(1_024))).await;
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(upstream.only().body.len(), 1_024);
}

#[tokio::test]
async fn a_body_that_grows_too_large_is_cut_off_and_never_completed_upstream() {
    let (tell, mut told) = telling();
    let upstream = Script::start(move |mut line| {
        let tell = tell.clone();
        async move {
            line.head().await.unwrap();
            line.until(&[b'x'; 600]).await.unwrap();
            tell.send("half").unwrap();
            let rest = String::from_utf8(line.rest().await).unwrap();
            let completed = rest.contains("\r\n0\r\n") || rest.starts_with("0\r\n");
            tell.send(if completed { "completed" } else { "aborted" })
                .unwrap();
        }
    })
    .await;
    let gateway = limited(&upstream.url()).start();
    let part = "x".repeat(600);

    let mut client = gateway.h1().await;
    let head = "POST /public/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.send(format!("{head}258\r\n{part}\r\n")).await;
    told.expect("half").await;
    client.send(format!("258\r\n{part}\r\n0\r\n\r\n")).await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 413);
    assert_eq!(answer.one("connection"), Some("close"));
    told.expect("aborted").await;
    assert_eq!(gateway.event().await["reason"], "body_too_large");

    let request = Request::post("https://localhost/public/x")
        .body(())
        .unwrap();
    let (answer, mut body) = h2_streams(&gateway)
        .await
        .send_request(request, false)
        .unwrap();
    body.send_data(part.clone().into(), false).unwrap();
    told.expect("half").await;
    body.send_data(part.into(), true).unwrap();
    assert_eq!(answer.await.unwrap().status(), 413);
    told.expect("aborted").await;
}

#[tokio::test]
async fn a_client_that_goes_away_takes_its_request_upstream_with_it() {
    let (tell, mut told) = telling();
    let upstream = Script::start(move |mut line| {
        let tell = tell.clone();
        async move {
            let head = line.head().await.unwrap();
            if head.contains("/answering") {
                line.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx")
                    .await;
            }
            tell.send("asked").unwrap();
            line.rest().await;
            tell.send("gone").unwrap();
        }
    })
    .await;
    let gateway = Start::to(&upstream.url()).start();
    for (head, sees_answer) in [
        ("GET /public/silent HTTP/1.1", false),
        ("GET /public/answering HTTP/1.1", true),
        ("POST /public/silent HTTP/1.1\r\nContent-Length: 9", false),
    ] {
        let mut client = gateway.h1().await;
        client
            .send(format!("{head}\r\nHost: localhost\r\n\r\n"))
            .await;
        told.expect("asked").await;
        if sees_answer {
            assert_eq!(client.head_answer().await.status, 200);
        }
        drop(client);
        told.expect("gone").await;
    }
    for path in ["silent", "answering"] {
        let mut connection = h2_streams(&gateway).await;
        let request = Request::get(format!("https://localhost/public/{path}"))
            .body(())
            .unwrap();
        let (answer, mut stream) = connection.send_request(request, true).unwrap();
        told.expect("asked").await;
        if path == "answering" {
            let answer = answer.await.unwrap();
            assert_eq!(answer.status(), 200);
            drop(answer);
        }
        stream.send_reset(h2::Reason::CANCEL);
        told.expect("gone").await;
        // It was the stream that went, not the connection.
        connection.ready().await.unwrap();
    }
    let events = gateway.events(5).await;
    let told: Vec<_> = events
        .iter()
        .map(|event| (event["status"].as_u64().unwrap(), event["reason"].as_str()))
        .collect();
    for outcome in &told {
        // A half-sent body is a broken one; who broke it is gone either way.
        assert!(
            matches!(
                outcome,
                (200 | 499, Some("client_closed")) | (400, Some("malformed_body"))
            ),
            "{told:?}"
        );
    }
    assert_eq!(told.iter().filter(|(status, _)| *status == 200).count(), 2);
}

#[tokio::test]
async fn an_upstream_that_dies_in_its_answer_is_seen_to_have_died() {
    let upstream = Script::start(|mut line| async move {
        let head = line.head().await.unwrap();
        line.send(if head.contains("/length") {
            "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello"
        } else if head.contains("/chunk") {
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"
        } else {
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n"
        })
        .await;
    })
    .await;
    let gateway = Start::to(&upstream.url()).start();
    let mut count = 0;
    for path in ["/public/length", "/public/chunk", "/public/malformed"] {
        let mut client = gateway.h1().await;
        client
            .send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
            .await;
        let answer = client.head_answer().await;
        assert_eq!(answer.status, 200);
        let rest = String::from_utf8(client.rest().await).unwrap();
        match answer.one("content-length") {
            Some(length) => assert!(rest.len() < length.parse().unwrap(), "{path}: {rest}"),
            None => assert!(!rest.contains("0\r\n"), "{path}: {rest}"),
        }
        let (status, body) = h2_get(&gateway, path).await;
        assert_eq!(status, 200);
        assert!(body.unwrap_err().is_reset(), "{path}");
        count += 2;
    }
    for event in gateway.events(count).await {
        assert_eq!(event["reason"], "upstream_broke_off");
        assert_eq!(event["status"], 200);
    }
}

#[tokio::test]
async fn t108_an_answer_before_the_end_of_the_upload_is_passed_on_and_ends_the_connection() {
    let (tell, mut told) = telling();
    let upstream = Script::start(move |mut line| {
        let tell = tell.clone();
        async move {
            line.head().await.unwrap();
            line.send("HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\nno")
                .await;
            line.rest().await;
            tell.send("gone").unwrap();
        }
    })
    .await;
    let gateway = Start::to(&upstream.url()).start();
    let mut client = gateway.h1().await;
    client
        .send("POST /public/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nx")
        .await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.text().as_str()), (401, "no"));
    told.expect("gone").await;
    assert_eq!(gateway.event().await["reason"], "ok");
    drop(client);
    let answer = gateway.h1().await.get("/public/x", &[]).await;
    assert_eq!(answer.status, 401);
    assert_eq!(upstream.connections(), 2);
}

/// What an upstream may say that no upstream should, and what may come of it.
#[tokio::test]
async fn t109_what_a_bad_upstream_says_reaches_at_most_the_one_who_asked() {
    let evil = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
    let huge = format!(
        "HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n",
        format!("x-pad: {}\r\n", "a".repeat(1_000)).repeat(10_000)
    );
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(20_000));
    // (name, answer, the statuses allowed, the body then)
    let cases: Vec<(&str, String, &[u16], &str)> = vec![
        (
            "two lengths",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok!".into(),
            &[502],
            "",
        ),
        (
            "a list of lengths",
            "HTTP/1.1 200 OK\r\ncontent-length: 2, 3\r\n\r\nok!".into(),
            &[502],
            "",
        ),
        (
            "a negative length",
            "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\nok".into(),
            &[502],
            "",
        ),
        (
            "a length with a sign",
            "HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nok".into(),
            &[502],
            "",
        ),
        (
            "length and chunks",
            format!(
                "HTTP/1.1 200 OK\r\ncontent-length: 0\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n{evil}"
            ),
            &[502],
            "",
        ),
        (
            "chunks and length",
            format!(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 0\r\n\r\n2\r\nok\r\n0\r\n\r\n{evil}"
            ),
            &[502],
            "",
        ),
        (
            "two codings",
            format!("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n{evil}"),
            &[502],
            "",
        ),
        (
            "chunks in HTTP/1.0",
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n2\r\nok\r\n0\r\n\r\n".into(),
            &[502],
            "",
        ),
        (
            "an unknown coding",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: xchunked\r\nconnection: close\r\n\r\nok".into(),
            &[502],
            "",
        ),
        (
            "more than its length",
            format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok{evil}"),
            &[200, 502],
            "ok",
        ),
        (
            "more than its chunks",
            format!(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n{evil}"
            ),
            &[200, 502],
            "ok",
        ),
        (
            "a body after 204",
            format!("HTTP/1.1 204 No Content\r\ncontent-length: 4\r\n\r\n{evil}"),
            &[204, 502],
            "",
        ),
        (
            "a body after 304",
            format!("HTTP/1.1 304 Not Modified\r\n\r\n{evil}"),
            &[304, 502],
            "",
        ),
        (
            "two lengths of nothing",
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\ncontent-length: 8\r\n\r\n".into(),
            &[502],
            "",
        ),
        (
            "no length of nothing",
            "HTTP/1.1 304 Not Modified\r\ncontent-length: zz\r\n\r\n".into(),
            &[502],
            "",
        ),
        (
            "HTTP/9.9",
            "HTTP/9.9 200 OK\r\ncontent-length: 2\r\n\r\nok".into(),
            &[502],
            "",
        ),
        (
            "HTTP/2 in text",
            "HTTP/2.0 200 OK\r\ncontent-length: 2\r\n\r\nok".into(),
            &[502],
            "",
        ),
        ("no status", "HTTP/1.1 OK\r\n\r\n".into(), &[502], ""),
        (
            "a status of one digit",
            "HTTP/1.1 2 OK\r\n\r\n".into(),
            &[502],
            "",
        ),
        ("no HTTP", "220 mail.test ESMTP\r\n".into(), &[502], ""),
        ("nothing", String::new(), &[502], ""),
        (
            "half a head",
            "HTTP/1.1 200 OK\r\nconten".into(),
            &[502],
            "",
        ),
        (
            "NUL in a value",
            "HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 2\r\n\r\nok".into(),
            &[502],
            "",
        ),
        ("10 MB of fields", huge, &[502], ""),
        ("20,000 fields", many, &[502], ""),
        (
            "101 unasked",
            format!(
                "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n{evil}"
            ),
            &[502],
            "",
        ),
        (
            "10,000 × 100",
            format!("{}{OK}", "HTTP/1.1 100 Continue\r\n\r\n".repeat(10_000)),
            &[200, 502],
            "ok",
        ),
        (
            "10,000 × 103",
            format!(
                "{}{OK}",
                "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n".repeat(10_000)
            ),
            &[200, 502],
            "ok",
        ),
    ];
    let answers: Arc<Vec<String>> = Arc::new(cases.iter().map(|case| case.1.clone()).collect());
    let upstream = Script::start(move |mut line: Line| {
        let answers = answers.clone();
        async move {
            while let Some(head) = line.head().await {
                let path = head.split(' ').nth(1).unwrap();
                match path.strip_prefix("/public/case/") {
                    None => {
                        line.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngood")
                            .await;
                    }
                    Some(number) => {
                        let answer = &answers[number.parse::<usize>().unwrap()];
                        line.send(answer).await;
                        // Only one that is complete may be followed by another.
                        if !answer.contains("\r\n\r\n") || answer.contains("close") {
                            return;
                        }
                    }
                }
            }
        }
    })
    .await;
    let gateway = Start::to(&upstream.url()).start();
    for (number, (name, _, allowed, body)) in cases.iter().enumerate() {
        let mut client = gateway.h1().await;
        let answer = client.get(&format!("/public/case/{number}"), &[]).await;
        assert!(allowed.contains(&answer.status), "{name}: {answer:?}");
        if answer.status == 502 {
            let event = gateway.events(2 * number + 1).await.pop().unwrap();
            assert_eq!(event["reason"], "upstream_broken", "{name}");
        } else {
            assert_eq!(answer.text(), *body, "{name}");
        }
        // Whoever asks next, on the same connection and so of the same worker, gets their own.
        let next = client.get("/public/next", &[]).await;
        assert_eq!((next.status, next.text().as_str()), (200, "good"), "{name}");
        gateway.events(2 * number + 2).await;
    }
}

#[tokio::test]
async fn t109_an_endless_prelude_ends_with_the_routes_timeout() {
    let upstream = Script::start(|mut line| async move {
        line.head().await;
        while line.send("HTTP/1.1 100 Continue\r\n\r\n".repeat(100)).await {}
    })
    .await;
    let gateway = Start::routes(&format!(
        "[[route]]\npath = \"/public/\"\nto = \"{}\"\nauth = \"public\"\ntimeout = \"300ms\"\n",
        upstream.url()
    ))
    .start();
    let answer = gateway.h1().await.get("/public/x", &[]).await;
    assert_eq!(answer.status, 504);
    assert_eq!(gateway.event().await["reason"], "upstream_timeout");
}

#[tokio::test]
async fn t109_a_head_answered_with_a_body_leaves_nothing_for_the_next() {
    let upstream = Script::start(|mut line| async move {
        while let Some(head) = line.head().await {
            let body = if head.starts_with("HEAD") {
                "evil"
            } else {
                "good"
            };
            line.send(format!(
                "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n{body}"
            ))
            .await;
        }
    })
    .await;
    let gateway = Start::to(&upstream.url()).start();
    let mut client = gateway.h1().await;
    for _ in 0..3 {
        let answer = client.request("HEAD", "/public/x", &[]).await;
        assert_eq!(answer.status, 200);
        assert_eq!(client.get("/public/x", &[]).await.text(), "good");
    }
    assert!(upstream.connections() > 3);
}

#[tokio::test]
async fn a_reader_of_the_log_that_sleeps_delays_no_request() {
    let upstream = Upstream::start().await;
    let start = Start::with(&upstream);
    jotgate::crypto::install();
    let loaded = run::load(&start.write()).unwrap_or_else(|error| panic!("{error}"));
    let (reached, blocked) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let surroundings = Surroundings {
        clock: Clock::system(),
        access_log: Box::new(Asleep { reached, released }),
        inherited: Inherited::default(),
    };
    let (gateway, _control) = run::start(&loaded, surroundings, Resolver::system()).unwrap();
    let address = gateway.addresses().https[0];
    let mut client = H1::connect_to(address, start.authority(), Some("localhost")).await;
    assert_eq!(client.get("/nowhere", &[]).await.status, 404);
    blocked.recv_timeout(PATIENCE).unwrap();

    // More than the queue holds, while the writer is stuck.
    const BATCH: usize = 100;
    const LONG_LINE: usize = 1_000;
    let path = "n".repeat(LONG_LINE);
    let batch = format!("GET /{path} HTTP/1.1\r\nHost: localhost\r\n\r\n").repeat(BATCH);
    let fits_in_queue = 8 * 1024 * 1024 / LONG_LINE;
    for _ in 0..fits_in_queue / BATCH {
        client.send(&batch).await;
        for _ in 0..BATCH {
            assert_eq!(client.answer().await.status, 404);
        }
    }
    assert_eq!(client.get("/public/x", &[]).await.text(), "ok");
    let admin = TcpStream::connect(gateway.addresses().admin[0]).await;
    let metrics = H1::over(admin.unwrap()).get("/metrics", &[]).await.text();
    let dropped: f64 = metrics
        .lines()
        .find(|line| line.starts_with("jotgate_access_log_dropped"))
        .and_then(|line| line.split(' ').nth(1))
        .unwrap_or_else(|| panic!("{metrics}"))
        .parse()
        .unwrap();
    // All lines are longer than their paths.
    let most = fits_in_queue as f64 / 2.0;
    assert!(dropped > 0.0 && dropped < most, "{dropped}");
    drop(release);
}

/// A sink that takes nothing until it is released.
struct Asleep {
    reached: mpsc::Sender<()>,
    released: mpsc::Receiver<()>,
}

impl Write for Asleep {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.reached.send(());
        let _ = self.released.recv();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How much is sent through the gateway.
const GIBIBYTE: u64 = 1 << 30;

/// How much a process may grow by while it passes.
const GROWTH: u64 = 32 << 20;

/// Bytes whose value tells their place, so that none can go missing or change places unnoticed.
struct Pattern {
    bytes: Vec<u8>,
    at: u64,
}

impl Pattern {
    /// A prime, so that it falls in step with no buffer.
    const PERIOD: usize = 65_521;
    const SLICE: usize = 65_536;

    fn new() -> Self {
        let bytes = (0..Self::PERIOD + Self::SLICE)
            .map(|index| ((index % Self::PERIOD) as u32).wrapping_mul(2_654_435_761) as u8)
            .collect();
        Self { bytes, at: 0 }
    }

    fn next(&mut self, length: usize) -> &[u8] {
        let start = (self.at % Self::PERIOD as u64) as usize;
        self.at += length as u64;
        &self.bytes[start..start + length]
    }

    fn write_all(&mut self, sink: &mut impl Write) -> io::Result<()> {
        while self.at < GIBIBYTE {
            let length = Self::SLICE.min((GIBIBYTE - self.at) as usize);
            sink.write_all(self.next(length))?;
        }
        sink.flush()
    }

    fn check_all(&mut self, source: &mut impl Read) {
        let mut buffer = vec![0; Self::SLICE];
        while self.at < GIBIBYTE {
            let wanted = Self::SLICE.min((GIBIBYTE - self.at) as usize);
            let length = source.read(&mut buffer[..wanted]).unwrap();
            assert!(length > 0, "it ended after {} bytes", self.at);
            let at = self.at;
            assert!(buffer[..length] == *self.next(length), "changed near {at}");
        }
    }
}

/// Reads a head byte by byte, so that none of its body goes with it.
fn read_head(source: &mut impl Read) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        source.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

fn blocking_client(process: &Process) -> StreamOwned<ClientConnection, StdStream> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(process.authority.as_bytes()).unwrap())
        .unwrap();
    let config = ClientConfig::builder_with_provider(jotgate::crypto::rustls_provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let stream = StdStream::connect(process.https).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    StreamOwned::new(connection, stream)
}

/// An upstream in a thread of its own that serves one connection.
fn blocking_upstream(
    serve: impl FnOnce(StdStream) + Send + 'static,
) -> (SocketAddr, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || serve(listener.accept().unwrap().0));
    (address, thread)
}

#[test]
fn a_gibibyte_up_and_a_gibibyte_down_leave_the_gateway_as_small_as_it_was() {
    let (address, upstream) = blocking_upstream(|mut stream| {
        read_head(&mut stream);
        Pattern::new().check_all(&mut stream);
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {GIBIBYTE}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        Pattern::new().write_all(&mut stream).unwrap();
    });
    let process = Process::start(Start::to(&format!("http://{address}")), "info");
    let mut client = blocking_client(&process);
    let before = process.resident();
    let head =
        format!("POST /public/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: {GIBIBYTE}\r\n\r\n");
    client.write_all(head.as_bytes()).unwrap();
    Pattern::new().write_all(&mut client).unwrap();
    assert!(read_head(&mut client).starts_with("HTTP/1.1 200 "));
    Pattern::new().check_all(&mut client);
    let growth = process.peak() - before;
    assert!(growth < GROWTH, "it grew by {growth} bytes");
    upstream.join().unwrap();
    process.wait_for("\"bytes_in\":1073741824,\"bytes_out\":1073741824");
}

#[test]
fn an_upstream_that_does_not_read_stops_the_client_and_not_the_memory() {
    let (go_on, asleep) = mpsc::channel::<()>();
    let (address, upstream) = blocking_upstream(move |mut stream| {
        read_head(&mut stream);
        let _ = asleep.recv();
        let received = io::copy(&mut stream, &mut io::sink()).unwrap_or(0);
        assert!(received < GIBIBYTE);
    });
    let process = Process::start(Start::to(&format!("http://{address}")), "info");
    let mut client = blocking_client(&process);
    let before = process.resident();
    let head =
        format!("POST /public/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: {GIBIBYTE}\r\n\r\n");
    client.write_all(head.as_bytes()).unwrap();
    client.sock.set_write_timeout(Some(STALL)).unwrap();
    // rustls looks for an answer whenever it cannot write.
    client.sock.set_read_timeout(Some(STALL)).unwrap();
    let block = vec![0; Pattern::SLICE];
    let sent = stalls_after(|| client.write(&block));
    assert!(sent < 64 << 20, "{sent} bytes went nowhere");
    let growth = process.peak() - before;
    assert!(growth < GROWTH, "it grew by {growth} bytes");
    drop((go_on, client));
    upstream.join().unwrap();
}

#[test]
fn a_client_that_does_not_read_stops_the_upstream_and_not_the_memory() {
    let (tell, told) = mpsc::channel();
    let (address, upstream) = blocking_upstream(move |mut stream| {
        read_head(&mut stream);
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {GIBIBYTE}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        stream.set_write_timeout(Some(STALL)).unwrap();
        let block = vec![0; Pattern::SLICE];
        tell.send(stalls_after(|| stream.write(&block))).unwrap();
    });
    let process = Process::start(Start::to(&format!("http://{address}")), "info");
    let mut client = blocking_client(&process);
    let before = process.resident();
    client
        .write_all(b"GET /public/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    assert!(read_head(&mut client).starts_with("HTTP/1.1 200 "));
    let sent = told.recv_timeout(PATIENCE).unwrap();
    assert!(sent < 64 << 20, "{sent} bytes went nowhere");
    let growth = process.peak() - before;
    assert!(growth < GROWTH, "it grew by {growth} bytes");
    upstream.join().unwrap();
}

/// How long a write must take to count as stalled.
const STALL: Duration = Duration::from_millis(500);

/// How many bytes go until a write takes too long, or a whole gibibyte has gone.
fn stalls_after(mut write: impl FnMut() -> io::Result<usize>) -> u64 {
    let mut sent = 0;
    while sent < GIBIBYTE {
        match write() {
            Ok(length) => sent += length as u64,
            Err(error) => {
                let kind = error.kind();
                assert!(
                    matches!(kind, io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
                    "{error}"
                );
                break;
            }
        }
    }
    sent
}

#[tokio::test]
async fn t133_an_answer_without_end_ends_when_it_is_too_old() {
    let upstream = Script::start(|mut line| async move {
        line.head().await.unwrap();
        line.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            .await;
        while line.send("5\r\nevent\r\n").await {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let gateway = Start::to(&upstream.url())
        .extra("[limits]\nmax_stream_age = \"100ms\"\n")
        .start();
    let mut client = gateway.h1().await;
    client
        .send("GET /public/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let rest = client.rest().await;
    assert!(!rest.ends_with(b"0\r\n\r\n"), "it must not look whole");
    assert_eq!(gateway.event().await["reason"], "stream_too_old");
}
