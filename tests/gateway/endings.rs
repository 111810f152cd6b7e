//! How connections and answers end, when one side is slow, impatient, or gone.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::harness::{
    H1, PATIENCE, Script, Signer, Stage, Start, TestGateway, Upstream, bearer, h2_streams, tls,
};

const MIB: usize = 1024 * 1024;

/// A connection whose client's kernel takes hardly anything that the client does not read.
async fn narrow(gateway: &TestGateway) -> H1 {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let stream = socket.connect(gateway.https()).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let handshake = tls(gateway, &[b"http/1.1"]).connect(name, stream);
    H1::over(handshake.await.unwrap())
}

#[tokio::test]
async fn t108_an_early_answer_arrives_whole_however_late_it_is_read() {
    let upstream = Script::start(|mut line| async move {
        let head = line.head().await.unwrap();
        let size: usize = head.split(['/', ' ']).nth(3).unwrap().parse().unwrap();
        line.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n"))
            .await;
        line.send(vec![b'x'; size]).await;
        line.rest().await;
    })
    .await;
    let gateway = Start::to(&upstream.url()).start();
    // Larger and larger, until it does not fit any more where nobody reads: in the last one that
    // did, the gateway itself had some of it when the answer was over.
    for number in 1.. {
        let size = 16 * 1024 * number;
        let mut client = narrow(&gateway).await;
        let head = format!("POST /public/{size} HTTP/1.1\r\nHost: localhost\r\n");
        client
            .send(format!("{head}Content-Length: 1000000000\r\n\r\nx"))
            .await;
        let over = timeout(Duration::from_millis(300), gateway.events(number)).await;
        let Ok(mut events) = over else { break };
        assert_eq!(events.remove(number - 1)["reason"], "ok");
        assert_eq!(client.answer().await.body.len(), size);
        assert!(client.is_closed().await);
    }
}

/// An upstream that sends without end, and says when nobody takes it any more.
async fn endless() -> (Script, mpsc::UnboundedReceiver<()>) {
    let (tell, told) = mpsc::unbounded_channel();
    let script = Script::start(move |mut line| {
        let tell = tell.clone();
        async move {
            line.head().await.unwrap();
            line.send("HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n")
                .await;
            let block = vec![b'x'; 64 * 1024];
            while line.send(&block).await {}
            let _ = tell.send(());
        }
    })
    .await;
    (script, told)
}

#[tokio::test]
async fn p16_a_client_that_takes_nothing_of_its_answer_is_left() {
    let (upstream, mut gone) = endless().await;
    let gateway = Start::to(&upstream.url())
        .extra("[limits]\nbody_timeout = \"300ms\"\nheader_timeout = \"300ms\"\n")
        .start();
    let mut http1 = gateway.h1().await;
    http1
        .send("GET /public/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let event = gateway.event().await;
    assert_eq!(event["reason"], "client_stalled");
    assert_eq!(event["status"], 200);
    timeout(PATIENCE, gone.recv()).await.unwrap().unwrap();

    let http2 = h2_streams(&gateway).await;
    let request = Request::get("https://localhost/public/x").body(()).unwrap();
    let (answer, _) = http2.clone().send_request(request, true).unwrap();
    let answer = answer.await.unwrap();
    let event = gateway.events(2).await.remove(1);
    assert_eq!(event["reason"], "client_stalled");
    timeout(PATIENCE, gone.recv()).await.unwrap().unwrap();
    drop((answer, http2));
}

#[tokio::test]
async fn p11_an_answer_that_breaks_off_does_not_look_whole_to_an_old_client() {
    let upstream = Script::start(|mut line| async move {
        line.head().await.unwrap();
        line.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
            .await;
    })
    .await;
    let gateway = Start::to(&upstream.url()).start();
    let mut client = gateway.h1().await;
    client
        .send("GET /public/x HTTP/1.0\r\nHost: localhost\r\n\r\n")
        .await;
    // Its end is the end of the connection; only TLS can say that it came too soon.
    let mut read = Vec::new();
    let end = timeout(PATIENCE, client.stream.read_to_end(&mut read)).await;
    assert!(read.ends_with(b"hello"), "{read:?}");
    assert_eq!(
        end.unwrap().unwrap_err().kind(),
        std::io::ErrorKind::UnexpectedEof
    );
    assert_eq!(gateway.event().await["reason"], "upstream_broke_off");
}

#[tokio::test]
async fn p28_a_client_that_is_gone_at_once_leaves_exactly_one_event() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    for number in 0..20 {
        let mut client = gateway.h1().await;
        client
            .send("GET /api/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await;
        client.stream.shutdown().await.unwrap();
        client.rest().await;
        let event = gateway.events(number + 1).await.remove(number);
        assert_eq!(event["path"], "/api/x");
    }
    assert_eq!(upstream.bytes(), 0);
}

#[tokio::test]
async fn t107_a_client_that_writes_before_it_reads_sees_its_refusal() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    let mut client = gateway.h1().await;
    let head = format!(
        "POST /api/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
        8 * MIB
    );
    client.send(head).await;
    client.send(vec![b'x'; 8 * MIB]).await;
    assert_eq!(client.answer().await.status, 401);
    assert!(client.is_closed().await);
    assert_eq!(upstream.bytes(), 0);
}

#[tokio::test]
async fn t108_a_connection_goes_on_after_an_answer_to_the_head_alone_or_says_that_it_ends() {
    let upstream = Stage::open().await;
    let gateway = Start::to(&upstream.url()).start();
    for _ in 0..20 {
        let mut client = gateway.h1().await;
        client
            .send("POST /public/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\n")
            .await;
        let mut line = upstream.enter().await;
        line.head_text().await;
        line.send("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
            .await;
        client.send("body").await;
        assert_eq!(client.answer().await.status, 404);
        client
            .send("GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await;
        let next = client.try_head_answer().await;
        assert!(next.is_none_or(|answer| answer.status == 404));
    }
}

#[tokio::test]
async fn t116_refused_uploads_do_not_end_the_connection_they_share() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    let mut client = h2_streams(&gateway).await;
    let mut answers = Vec::new();
    for _ in 0..8 {
        let request = Request::post("https://localhost/api/x").body(()).unwrap();
        client = client.ready().await.unwrap();
        let (answer, mut body) = client.send_request(request, false).unwrap();
        body.send_data(Bytes::from(vec![b'x'; 65_535]), true)
            .unwrap();
        answers.push(answer);
    }
    for answer in answers {
        let answer = timeout(PATIENCE, answer).await.unwrap().unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    }
    let mut request = Request::get("https://localhost/api/x").body(()).unwrap();
    let (name, value) = (
        http::header::AUTHORIZATION,
        bearer(&Signer::rsa().good())["Authorization: ".len()..].parse(),
    );
    request.headers_mut().insert(name, value.unwrap());
    let (answer, _) = client.send_request(request, true).unwrap();
    assert_eq!(answer.await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_body_for_the_operators_listener_is_no_request() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    for framing in ["Transfer-Encoding: chunked", "Content-Length: 1000"] {
        let mut client = H1::plain(gateway.admin()).await;
        client
            .send(format!(
                "GET /livez HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n"
            ))
            .await;
        let answer = client.answer().await;
        assert_eq!(answer.one("connection"), Some("close"), "{framing}");
        client
            .stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await
            .unwrap();
        assert!(client.is_closed().await, "{framing}");
    }
}
