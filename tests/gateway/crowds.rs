//! Many clients at once, most of them of no use.

use http::{Request, StatusCode};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::harness::{H1, PATIENCE, Process, Stage, Start, TestGateway, Upstream, h2_streams, tls};

const PUBLIC: &str = "GET /public/x HTTP/1.1\r\nHost: localhost\r\n\r\n";

async fn works(client: &mut H1) {
    client.send(PUBLIC).await;
    assert_eq!(client.answer().await.status, 200);
}

/// A metric's value.
async fn metric(gateway: &TestGateway, name: &str) -> String {
    let answer = H1::plain(gateway.admin()).await.get("/metrics", &[]).await;
    let text = answer.text();
    let line = text.lines().find(|line| line.starts_with(name));
    let line = line.unwrap_or_else(|| panic!("no {name} in {text}"));
    line.rsplit(' ').next().unwrap().to_owned()
}

#[tokio::test]
async fn an_address_has_so_many_connections_and_others_do_not_suffer() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream)
        .extra("[limits]\nconnections_per_address = 3\n")
        .start();
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = gateway.h1().await;
        works(&mut client).await;
        clients.push(client);
    }
    let mut refused = TcpStream::connect(gateway.https()).await.unwrap();
    let mut byte = [0];
    let read = timeout(PATIENCE, refused.read(&mut byte)).await.unwrap();
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    let name = "jotgate_connections_turned_away_total{listener=\"https\"}";
    assert_eq!(metric(&gateway, name).await, "1");

    let elsewhere = TcpSocket::new_v4().unwrap();
    elsewhere.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let stream = elsewhere.connect(gateway.https()).await.unwrap();
    let server = ServerName::try_from("localhost").unwrap();
    let handshake = tls(&gateway, &[b"http/1.1"]).connect(server, stream);
    works(&mut H1::over(handshake.await.unwrap())).await;

    let mut last = clients.pop().unwrap();
    last.stream.shutdown().await.unwrap();
    last.rest().await;
    for client in &mut clients {
        works(client).await;
    }
    works(&mut gateway.h1().await).await;
}

/// So short that connections are parked at once.
const PARKS_SOON: &str = "header_timeout = \"200ms\"\nidle_timeout = \"1h\"\n";

#[tokio::test]
async fn when_it_is_full_the_one_that_has_waited_longest_goes() {
    for workers in [1, 4] {
        let upstream = Upstream::start().await;
        let gateway = Start::with(&upstream)
            .extra(&format!(
                "[limits]\nconnections = 2\n{PARKS_SOON}[server]\nworkers = {workers}\n"
            ))
            .start();
        let mut first = gateway.h1().await;
        works(&mut first).await;
        let mut second = gateway.h1().await;
        works(&mut second).await;
        let mut third = gateway.h1().await;
        works(&mut third).await;
        assert!(first.is_closed().await, "{workers} workers");
        if workers == 1 {
            works(&mut second).await;
        }
        works(&mut gateway.h1().await).await;
    }
}

#[tokio::test]
async fn when_it_is_full_an_idle_http2_connection_is_told_to_go() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream)
        .extra(&format!("[limits]\nconnections = 1\n{PARKS_SOON}"))
        .start();
    let mut http2 = h2_streams(&gateway).await;
    let request = || Request::get("https://localhost/public/x").body(()).unwrap();
    let (answer, _) = http2.send_request(request(), true).unwrap();
    assert_eq!(answer.await.unwrap().status(), StatusCode::OK);
    works(&mut gateway.h1().await).await;
    assert!(http2.ready().await.is_err() || gateway.events(2).await.len() == 2);
}

#[tokio::test]
async fn a_connection_that_is_busy_does_not_give_way() {
    let upstream = Stage::open().await;
    let gateway = Start::to(&upstream.url())
        .extra(&format!("[limits]\nconnections = 1\n{PARKS_SOON}"))
        .start();
    let mut busy = gateway.h1().await;
    busy.send(PUBLIC).await;
    let mut line = upstream.enter().await;
    line.head_text().await;
    let waiting = tokio::spawn({
        let (address, authority) = (gateway.https(), gateway.authority().to_owned());
        async move {
            let mut client = H1::connect_to(address, &authority, Some("localhost")).await;
            client.get("/nowhere", &[]).await.status
        }
    });
    line.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        .await;
    assert_eq!(busy.answer().await.text(), "ok");
    // Now it waits for its next request, and somebody has one.
    assert_eq!(timeout(PATIENCE, waiting).await.unwrap().unwrap(), 404);
    assert!(busy.is_closed().await);
}

#[tokio::test]
async fn t105_heads_are_as_large_as_the_file_allows() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream)
        .extra("[limits]\nheader_bytes = \"8KiB\"\nheader_fields = 20\n")
        .start();
    let pad = |length: usize| format!("X-Pad: {}", "x".repeat(length));
    let many = |count: usize| (0..count).map(|n| format!("X-{n}: x")).collect::<Vec<_>>();
    for (lines, status) in [
        (vec![pad(7_000)], 200),
        (vec![pad(9_000)], 431),
        (many(19), 200),
        (many(20), 431),
    ] {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let answer = gateway.h1().await.get("/public/x", &lines).await;
        assert_eq!(answer.status, status, "{}", lines.len());
    }
    for (count, length, status) in [(1, 9_000, 431), (21, 1, 431), (19, 1, 200)] {
        let mut request = Request::get("https://localhost/public/x");
        for number in 0..count {
            request = request.header(format!("x-{number}"), "x".repeat(length));
        }
        let mut client = h2_streams(&gateway).await;
        let (answer, _) = client
            .send_request(request.body(()).unwrap(), true)
            .unwrap();
        assert_eq!(answer.await.unwrap().status(), status, "{count} {length}");
    }
}

/// What a slow client sends, and then nothing more.
#[derive(Debug, Clone, Copy)]
enum Slow {
    Nothing,
    HalfAHandshake,
    HalfAPreface,
    HalfAHead,
}

async fn slow(gateway: &TestGateway, kind: Slow) -> Box<dyn tokio::io::AsyncRead + Send + Unpin> {
    let mut stream = TcpStream::connect(gateway.https()).await.unwrap();
    let server = ServerName::try_from("localhost").unwrap();
    let (alpn, text): (&[u8], &[u8]) = match kind {
        Slow::Nothing => return Box::new(stream),
        Slow::HalfAHandshake => {
            stream.write_all(b"\x16\x03\x01\x02\x00\x01").await.unwrap();
            return Box::new(stream);
        }
        Slow::HalfAPreface => (b"h2", b"PRI * HTTP/2.0\r\n"),
        Slow::HalfAHead => (b"http/1.1", b"GET /public/x HTTP/1.1\r\nHost: loc"),
    };
    let handshake = tls(gateway, &[alpn]).connect(server, stream);
    let mut stream = handshake.await.unwrap();
    stream.write_all(text).await.unwrap();
    Box::new(stream)
}

#[tokio::test]
async fn p15_clients_that_are_slow_in_any_way_are_closed_and_harm_nobody() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream)
        .extra("[limits]\nheader_timeout = \"1s\"\nhandshake_timeout = \"1s\"\n")
        .start();
    let mut honest = gateway.h1().await;
    for kind in [
        Slow::Nothing,
        Slow::HalfAHandshake,
        Slow::HalfAPreface,
        Slow::HalfAHead,
    ] {
        let mut clients = Vec::new();
        for _ in 0..100 {
            clients.push(slow(&gateway, kind).await);
            works(&mut honest).await;
        }
        for client in &mut clients {
            let mut rest = Vec::new();
            let closed = timeout(PATIENCE, client.read_to_end(&mut rest)).await;
            assert!(closed.is_ok(), "{kind:?} is still open");
            works(&mut honest).await;
        }
    }
    // In the end there is the honest one alone; the others' last moments may take one.
    let open = "jotgate_connections_open{listener=\"https\"}";
    let settled = async { while metric(&gateway, open).await != "1" {} };
    timeout(PATIENCE, settled)
        .await
        .expect("some are still open");
}

#[tokio::test]
async fn p19_more_clients_than_file_descriptors_leave_room_for_upstreams_and_the_operator() {
    let upstream = Upstream::start().await;
    let start = Start::with(&upstream)
        .extra("[limits]\nheader_timeout = \"200ms\"\n[server]\nworkers = 8\n");
    let process = Process::start_with_descriptors(start, "info", 256);
    // There is room for 64: half of what is left after what is reserved, for each worker, too.
    let mut crowd = Vec::new();
    for _ in 0..200 {
        let connect = H1::connect_to(process.https, &process.authority, Some("localhost"));
        let mut client = timeout(PATIENCE, connect).await.unwrap();
        works(&mut client).await;
        crowd.push(client);
    }
    let mut operator = H1::plain(process.admin).await;
    assert_eq!(operator.get("/readyz", &[]).await.status, 200);
    let text = operator.get("/metrics", &[]).await.text();
    assert!(text.contains("jotgate_connections_limit 64\n"), "{text}");
    let written = process.end();
    let warnings = written
        .lines()
        .filter(|line| line.contains(" WARN "))
        .count();
    assert!(written.contains("room=64"), "{written}");
    assert_eq!(warnings, 1, "of the limit: {written}");
}
