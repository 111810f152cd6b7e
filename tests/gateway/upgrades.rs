//! WebSocket and other protocols that begin as HTTP.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::Empty;
use hyper::client::conn::http2;
use hyper::ext::Protocol;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async, client_async};

use crate::harness::{
    Authority, Draft, H1, PATIENCE, Script, Signer, Stage, Start, TestGateway, TlsFront, Upstream,
    bearer, tls,
};

/// An upstream that sends back what it gets, and remembers how it was asked and how it was left.
struct Echo {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<HeaderMap>>>,
    left: Arc<Mutex<Vec<Option<CloseFrame>>>>,
    task: JoinHandle<()>,
}

impl Echo {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let left = Arc::new(Mutex::new(Vec::new()));
        let (asked_of, left_by) = (asked.clone(), left.clone());
        let task = tokio::spawn(async move {
            let mut tasks = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                tasks.spawn(echo(stream, asked_of.clone(), left_by.clone()));
            }
        });
        Self {
            address,
            asked,
            left,
            task,
        }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[expect(clippy::result_large_err, reason = "as the library wants it")]
async fn echo(
    stream: TcpStream,
    asked: Arc<Mutex<Vec<HeaderMap>>>,
    left: Arc<Mutex<Vec<Option<CloseFrame>>>>,
) {
    let note = |request: &server::Request, answer: server::Response| {
        asked.lock().unwrap().push(request.headers().clone());
        Ok(answer)
    };
    let Ok(mut socket) = accept_hdr_async(stream, note).await else {
        return;
    };
    while let Some(Ok(message)) = socket.next().await {
        match message {
            Message::Close(frame) => left.lock().unwrap().push(frame),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            Message::Text(_) | Message::Binary(_) => {
                if socket.send(message).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// `/ws/` for tokens and `/open/` for everybody, both with upgrades; `/plain/` without.
fn start(to: &str) -> Start {
    Start::routes(&format!(
        r#"
        [[route]]
        path = "/ws/"
        to = "{to}"
        auth = "main"
        upgrade = true
        [[route]]
        path = "/open/"
        to = "{to}"
        auth = "public"
        upgrade = true
        [[route]]
        path = "/plain/"
        to = "{to}"
        auth = "public"
        "#
    ))
}

/// A WebSocket's client with a good token.
async fn connect(gateway: &TestGateway) -> WebSocketStream<TlsStream<TcpStream>> {
    let request = Request::get("wss://localhost/ws/chat")
        .header("Host", "localhost")
        .header("Connection", "keep-alive, Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("X-Auth-Subject", "admin")
        .header("Authorization", format!("Bearer {}", Signer::rsa().good()))
        .body(())
        .unwrap();
    let stream = gateway.h1().await.stream;
    let connected = timeout(PATIENCE, client_async(request, stream)).await;
    connected.expect("no answer").unwrap().0
}

async fn next<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>) -> Message {
    let message = timeout(PATIENCE, socket.next())
        .await
        .expect("nothing came");
    message.expect("it is over").unwrap()
}

/// Messages of every length that is written in another way, and back.
async fn check_echo<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>) {
    for length in [0, 1, 125, 126, 65_535, 65_536, 900_000] {
        let message = Message::Binary(vec![7; length].into());
        socket.send(message.clone()).await.unwrap();
        assert!(next(socket).await == message, "{length}");
    }
}

#[tokio::test]
async fn a_websocket_passes_whole_and_says_who_is_asking() {
    let upstream = Echo::start().await;
    let gateway = start(&upstream.url()).start();
    let mut socket = connect(&gateway).await;
    check_echo(&mut socket).await;
    socket.close(None).await.unwrap();
    assert!(matches!(next(&mut socket).await, Message::Close(_)));
    assert!(socket.next().await.is_none());

    let asked = upstream.asked.lock().unwrap().remove(0);
    assert_eq!(asked["x-auth-subject"], "alice");
    assert_eq!(asked.get_all("x-auth-subject").iter().count(), 1);
    assert!(!asked.contains_key("authorization"));
    let event = gateway.event().await;
    assert_eq!(
        (event["status"].as_u64(), event["reason"].as_str()),
        (Some(101), Some("ok"))
    );
    assert!(event["bytes_in"].as_u64().unwrap() > 1_000_000);
    assert!(event["bytes_out"].as_u64().unwrap() > 1_000_000);
}

#[tokio::test]
async fn a_websocket_passes_to_an_upstream_over_tls() {
    let (upstream, authority) = (Echo::start().await, Authority::new());
    let front = TlsFront::start(upstream.address, &authority, &["localhost"], None).await;
    let to = format!("https://localhost:{}", front.address.port());
    let gateway = start(&to)
        .extra("[upstream]\nca = \"ca.pem\"\n")
        .file("ca.pem", authority.pem())
        .start();
    let mut socket = connect(&gateway).await;
    check_echo(&mut socket).await;
    socket.close(None).await.unwrap();
    assert!(matches!(next(&mut socket).await, Message::Close(_)));
}

#[tokio::test]
async fn many_websockets_pass_at_once() {
    let upstream = Echo::start().await;
    let gateway = start(&upstream.url()).start();
    let mut sockets = Vec::new();
    for _ in 0..100 {
        sockets.push(connect(&gateway).await);
    }
    for (number, socket) in sockets.iter_mut().enumerate() {
        socket.send(number.to_string().into()).await.unwrap();
    }
    for (number, socket) in sockets.iter_mut().enumerate() {
        assert_eq!(next(socket).await, number.to_string().into());
    }
}

/// The head of a request for a WebSocket, as raw text.
fn wish(path: &str, more: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}

const SMUGGLED: &str = "GET /ws/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A client and an upstream that have agreed on a WebSocket and said nothing on it yet.
async fn switched(gateway: &TestGateway, upstream: &Stage) -> (H1, H1<TcpStream>) {
    let mut client = gateway.h1().await;
    client.send(wish("/open/chat", "")).await;
    let mut line = upstream.enter().await;
    line.head_text().await;
    line.send(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    )
    .await;
    assert_eq!(client.head_answer().await.status, 101);
    (client, line)
}

#[tokio::test]
async fn t129_an_upgrade_without_a_token_reaches_nobody() {
    let upstream = Upstream::start().await;
    let gateway = start(&upstream.url()).start();
    let mut client = gateway.h1().await;
    client.send(wish("/ws/chat", "")).await;
    assert_eq!(client.answer().await.status, 401);
    let expired = bearer(&Draft::good().claim("exp", "1").signed());
    client
        .send(wish("/ws/chat", &format!("{expired}\r\n")))
        .await;
    assert_eq!(client.answer().await.status, 401);
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn t130_what_follows_an_upgrade_waits_for_the_101() {
    let upstream = Stage::open().await;
    let gateway = start(&upstream.url())
        .extra("[limits]\nheader_timeout = \"200ms\"\n")
        .start();
    let mut client = gateway.h1().await;
    client.send(wish("/open/chat", "") + "early bytes").await;
    let mut line = upstream.enter().await;
    let head = line.head_text().await;
    // They are no head that comes too slowly.
    let waited = timeout(Duration::from_millis(900), client.is_closed()).await;
    assert!(waited.is_err(), "it was closed, or something came");
    assert!(head.contains("\r\nupgrade: websocket\r\n"), "{head}");
    assert!(head.contains("\r\nconnection: upgrade\r\n"), "{head}");
    line.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\n")
        .await;
    line.send("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nfrom the upstream")
        .await;
    let answer = client.head_answer().await;
    assert_eq!(answer.status, 101);
    assert_eq!(answer.one("connection"), Some("upgrade"));
    assert_eq!(
        answer.one("sec-websocket-accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    assert_eq!(client.bytes(17).await, b"from the upstream");
    assert_eq!(line.bytes(11).await, b"early bytes");
}

#[tokio::test]
async fn t130_t131_without_a_101_what_follows_is_the_next_request() {
    let upstream = Upstream::answering(|_| {
        b"HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 13\r\ncontent-length: 2\r\n\r\nno"
            .to_vec()
    })
    .await;
    let gateway = start(&upstream.url()).start();
    let mut client = gateway.h1().await;
    client
        .send(wish("/open/chat", "") + SMUGGLED + SMUGGLED)
        .await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.text().as_str()), (426, "no"));
    for _ in 0..2 {
        assert_eq!(client.answer().await.status, 401, "it is asked for a token");
    }
    assert_eq!(upstream.received().len(), 1);
    assert_eq!(client.get("/open/x", &[]).await.status, 426);
}

#[tokio::test]
async fn t132_h2c_is_no_upgrade() {
    let upstream = Upstream::start().await;
    let gateway = start(&upstream.url()).start();
    let mut client = gateway.h1().await;
    let answer = client
        .get(
            "/open/x",
            &[
                "Connection: Upgrade, HTTP2-Settings",
                "Upgrade: h2c",
                "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA",
            ],
        )
        .await;
    assert_eq!(answer.status, 200);
    let received = upstream.only();
    for name in ["upgrade", "http2-settings", "connection"] {
        assert_eq!(received.one(name), None, "{name}");
    }
}

#[tokio::test]
async fn a_route_without_upgrades_forwards_none() {
    let upstream = Upstream::start().await;
    let gateway = start(&upstream.url()).start();
    let mut client = gateway.h1().await;
    client.send(wish("/plain/chat", "")).await;
    assert_eq!(client.answer().await.status, 200);
    // Nor does one that asks in an older version, or with a body.
    let old = wish("/open/x", "").replace("HTTP/1.1", "HTTP/1.0");
    client = gateway.h1().await;
    client.send(old).await;
    assert_eq!(client.answer().await.status, 200);
    client = gateway.h1().await;
    client
        .send(wish("/open/x", "Content-Length: 1\r\n") + "x")
        .await;
    assert_eq!(client.answer().await.status, 200);
    for received in upstream.received() {
        assert_eq!(received.one("upgrade"), None);
    }
}

#[tokio::test]
async fn a_switch_that_nobody_asked_for_is_no_answer() {
    for protocol in ["Upgrade: other\r\n", ""] {
        let upstream = Script::start(move |mut line| async move {
            line.head().await.unwrap();
            let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n";
            line.send(format!("{head}{protocol}\r\nHTTP/1.1 200 OK\r\n\r\n"))
                .await;
            line.rest().await;
        })
        .await;
        let gateway = start(&upstream.url()).start();
        for path in ["/open/x", "/plain/x"] {
            let mut client = gateway.h1().await;
            client.send(wish(path, "")).await;
            assert_eq!(client.answer().await.status, 502, "{protocol:?} {path}");
        }
    }
}

#[tokio::test]
async fn p9_the_drain_says_goodbye_to_a_websocket_and_lets_it_answer() {
    let upstream = Echo::start().await;
    let mut gateway = start(&upstream.url()).start();
    let mut socket = connect(&gateway).await;
    check_echo(&mut socket).await;
    gateway.gateway.drain();
    let Message::Close(Some(frame)) = next(&mut socket).await else {
        panic!("no goodbye");
    };
    assert_eq!(frame.code, CloseCode::Away);
    assert!(socket.next().await.is_none_or(|end| end.is_err()));
    drop(socket);
    timeout(PATIENCE, gateway.gateway.ended()).await.unwrap();
    assert_eq!(gateway.event().await["reason"], "drained");
    // The client's answer to it has reached the upstream.
    let left = upstream.left.lock().unwrap().clone();
    assert_eq!(left[0].as_ref().unwrap().code, CloseCode::Away);
}

#[tokio::test]
async fn p9_of_a_tunnel_that_the_end_of_the_drain_cuts_off_is_told_what_has_passed() {
    let upstream = Stage::open().await;
    let mut gateway = start(&upstream.url())
        .extra("[server]\ndrain = \"200ms\"\n")
        .start();
    let mut client = gateway.h1().await;
    client
        .send(
            "GET /open/x HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
        )
        .await;
    let mut line = upstream.enter().await;
    line.head_text().await;
    let agreed = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    line.send(agreed).await;
    assert_eq!(client.head_answer().await.status, 101);
    client.send("question").await;
    line.bytes(8).await;
    line.send("answer").await;
    client.bytes(6).await;
    gateway.gateway.drain();
    timeout(PATIENCE, gateway.gateway.ended()).await.unwrap();
    let event = gateway.event().await;
    assert_eq!(
        (&event["reason"], &event["status"]),
        (&"drained".into(), &101.into())
    );
    assert_eq!(
        (&event["bytes_in"], &event["bytes_out"]),
        (&8.into(), &6.into())
    );
}

#[tokio::test]
async fn a_goodbye_waits_for_the_end_of_the_frame_under_way() {
    let upstream = Stage::open().await;
    let gateway = start(&upstream.url()).start();
    let (mut client, mut line) = switched(&gateway, &upstream).await;
    line.send(b"\x82\x05he").await;
    assert_eq!(client.bytes(4).await, b"\x82\x05he");
    gateway.gateway.drain();
    line.send(b"llo\x82\x03not").await;
    assert_eq!(client.bytes(3).await, b"llo");
    assert_eq!(client.bytes(4).await, [0x88, 2, 0x03, 0xe9]);
    client.send(b"\x88\x82\0\0\0\0\x03\xe9").await;
    assert_eq!(line.bytes(8).await, b"\x88\x82\0\0\0\0\x03\xe9");
    drop(line);
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn t133_a_websocket_ends_when_it_is_silent_or_old() {
    let upstream = Echo::start().await;
    for (limit, code, reason) in [
        (
            "tunnel_idle_timeout = \"200ms\"",
            CloseCode::Away,
            "tunnel_idle",
        ),
        (
            "max_stream_age = \"200ms\"",
            CloseCode::Policy,
            "tunnel_too_old",
        ),
    ] {
        let gateway = start(&upstream.url())
            .extra(&format!("[limits]\n{limit}\n"))
            .start();
        let mut socket = connect(&gateway).await;
        let Message::Close(Some(frame)) = next(&mut socket).await else {
            panic!("no goodbye");
        };
        assert_eq!(frame.code, code);
        drop(socket);
        assert_eq!(gateway.event().await["reason"], reason);
    }
}

#[tokio::test]
async fn any_protocol_passes_byte_for_byte_and_half_closed() {
    let upstream = Script::start(|mut line| async move {
        let head = line.head().await.unwrap();
        assert!(head.contains("\r\nupgrade: first/1, second\r\n"), "{head}");
        line.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: second\r\n\r\n",
        )
        .await;
        let all = line.rest().await;
        line.send(all).await;
    })
    .await;
    let gateway = start(&upstream.url()).start();
    let mut client = gateway.h1().await;
    client
        .send(
            "GET /open/x HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\n\
             Upgrade: first/1, h2c, HTTP/2.0\r\nUpgrade: second, H2, h3, TLS/1.0\r\n\r\n",
        )
        .await;
    let answer = client.head_answer().await;
    assert_eq!(
        (answer.status, answer.one("upgrade")),
        (101, Some("second"))
    );
    let sent: Vec<u8> = (0..3_000_000_u32)
        .map(|n| (n.wrapping_mul(n) >> 7) as u8)
        .collect();
    client.send(&sent).await;
    client.stream.shutdown().await.unwrap();
    assert!(client.rest().await == sent);
    assert_eq!(gateway.event().await["reason"], "ok");
}

#[tokio::test]
async fn a_client_that_still_talks_when_its_tunnel_ends_is_not_cut_off() {
    let upstream = Stage::open().await;
    let gateway = start(&upstream.url()).start();
    let (mut client, line) = switched(&gateway, &upstream).await;
    drop(line);
    assert!(client.is_closed().await);
    // A reset would destroy what it has not read yet.
    for _ in 0..64 {
        client.send([0; 16 * 1024]).await;
    }
}

#[tokio::test]
async fn an_upstream_that_does_not_read_holds_the_client_back() {
    let upstream = Stage::open().await;
    let gateway = start(&upstream.url()).start();
    let (mut client, _line) = switched(&gateway, &upstream).await;
    // More than all kernels on the way can hold; then it must stand still.
    let block = vec![0; 1024 * 1024];
    let mut sent = 0;
    while sent < 256 {
        let write = client.stream.write_all(&block);
        if timeout(Duration::from_millis(300), write).await.is_err() {
            break;
        }
        sent += 1;
    }
    assert!(sent < 256, "nobody held it back");
}

/// A WebSocket inside a stream of HTTP/2.
async fn connect_in_stream(
    gateway: &TestGateway,
    path: &str,
) -> (
    http::Response<hyper::body::Incoming>,
    http2::SendRequest<Empty<Bytes>>,
) {
    let stream = TcpStream::connect(gateway.https()).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = tls(gateway, &[b"h2"]).connect(name, stream).await.unwrap();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    // The server's settings, which allow it, must have arrived.
    let first = Request::get("https://localhost/plain/first").body(Empty::new());
    sender.ready().await.unwrap();
    let _ = sender.send_request(first.unwrap()).await.unwrap();
    let mut request = Request::connect(format!("https://localhost{path}"))
        .header("sec-websocket-version", "13")
        .header("authorization", format!("Bearer {}", Signer::rsa().good()))
        .body(Empty::new())
        .unwrap();
    request
        .extensions_mut()
        .insert(Protocol::from_static("websocket"));
    (sender.send_request(request).await.unwrap(), sender)
}

#[tokio::test]
async fn a_websocket_passes_inside_a_stream_of_http2() {
    let upstream = Echo::start().await;
    let mut gateway = start(&upstream.url()).start();
    let (answer, sender) = connect_in_stream(&gateway, "/ws/chat").await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(!answer.headers().contains_key("sec-websocket-accept"));
    let stream = TokioIo::new(hyper::upgrade::on(answer).await.unwrap());
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
    check_echo(&mut socket).await;
    let asked = upstream.asked.lock().unwrap().clone();
    assert_eq!(asked.last().unwrap()["x-auth-subject"], "alice");

    gateway.gateway.drain();
    let Message::Close(Some(frame)) = next(&mut socket).await else {
        panic!("no goodbye");
    };
    assert_eq!(frame.code, CloseCode::Away);
    while timeout(PATIENCE, socket.next())
        .await
        .unwrap()
        .is_some_and(|m| m.is_ok())
    {}
    drop((socket, sender));
    timeout(PATIENCE, gateway.gateway.ended()).await.unwrap();
    let event = gateway.events(2).await.remove(1);
    assert_eq!(event["method"], "CONNECT");
    assert_eq!(event["reason"], "drained");
}

#[tokio::test]
async fn a_stream_becomes_a_websocket_only_where_the_route_and_the_upstream_agree() {
    for (path, head, status) in [
        ("/plain/x", "", 501),
        ("/ws/x", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 502),
        (
            "/ws/x",
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
            502,
        ),
        (
            "/ws/x",
            "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n",
            403,
        ),
    ] {
        let upstream = Script::start(move |mut line| async move {
            while let Some(request) = line.head().await {
                let answer = if request.contains("/first ") {
                    "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
                } else {
                    head
                };
                line.send(answer).await;
            }
        })
        .await;
        let gateway = start(&upstream.url()).start();
        let (answer, _sender) = connect_in_stream(&gateway, path).await;
        assert_eq!(answer.status(), status, "{path} {head}");
    }
}

#[tokio::test]
async fn p28_a_client_that_vanishes_takes_its_tunnel_along() {
    let upstream = Stage::open().await;
    let gateway = start(&upstream.url()).start();
    let (client, mut line) = switched(&gateway, &upstream).await;
    drop(client);
    let mut end = [0; 1];
    let read = timeout(PATIENCE, line.stream.read(&mut end)).await.unwrap();
    assert!(matches!(read, Ok(0) | Err(_)));
    drop(line);
    gateway.event().await;
}
