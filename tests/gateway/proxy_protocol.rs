//! Connections that a proxy passes on: who opened them is what its header says, and no byte of
//! what follows is lost.

use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use crate::harness::{H1, PATIENCE, Start, TestGateway, Upstream, tls};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// 192.0.2.7:32768 to 10.0.0.1:443.
const PAIR: [u8; 12] = [192, 0, 2, 7, 10, 0, 0, 1, 0x80, 0, 1, 187];

fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, rest].concat()
}

fn behind_a_proxy(upstream: &Upstream) -> TestGateway {
    Start::with(upstream)
        .listen("trusted_proxies = [\"127.0.0.1\", \"10.0.0.0/8\"]\nproxy_protocol = true")
        .extra("[limits]\nhandshake_timeout = \"2s\"\n")
        .start()
}

async fn connect(gateway: &TestGateway) -> TcpStream {
    let stream = TcpStream::connect(gateway.https()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

async fn secure(gateway: &TestGateway, stream: TcpStream) -> H1<TlsStream<TcpStream>> {
    let name = ServerName::try_from("localhost").unwrap();
    let handshake = tls(gateway, &[b"http/1.1"]).connect(name, stream);
    H1::over(timeout(PATIENCE, handshake).await.unwrap().unwrap())
}

/// A client behind a proxy that says this of it.
async fn introduced(gateway: &TestGateway, header: &[u8]) -> H1<TlsStream<TcpStream>> {
    let mut stream = connect(gateway).await;
    stream.write_all(header).await.unwrap();
    secure(gateway, stream).await
}

/// Asserts that the gateway closes the connection without a word, and returns how long it took.
async fn assert_closed(stream: &mut TcpStream) -> Duration {
    let begun = Instant::now();
    let mut said = Vec::new();
    // Whether in good order or by a reset.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut said))
        .await
        .expect("still open");
    assert!(said.is_empty(), "{said:?}");
    begun.elapsed()
}

async fn metrics(gateway: &TestGateway) -> String {
    H1::plain(gateway.admin())
        .await
        .get("/metrics", &[])
        .await
        .text()
}

#[tokio::test]
async fn whoever_a_header_names_is_the_peer() {
    let upstream = Upstream::start().await;
    let gateway = behind_a_proxy(&upstream);
    let with_tlvs = [&PAIR[..], &[4, 0, 2, 0, 0, 1, 0, 2, b'h', b'2']].concat();
    let longest = [&PAIR[..], &[0; 4096 - 16 - 12]].concat();
    let v6 = [
        &[0x20, 1, 0xd, 0xb8],
        &[0; 11][..],
        &[7],
        &[0; 16],
        &[0, 80, 1, 187],
    ]
    .concat();
    let cases: [(Vec<u8>, &str); 8] = [
        (
            b"PROXY TCP4 192.0.2.7 10.0.0.1 32768 443\r\n".to_vec(),
            "192.0.2.7:32768",
        ),
        (
            b"PROXY TCP6 2001:db8::7 ::1 80 443\r\n".to_vec(),
            "[2001:db8::7]:80",
        ),
        (binary(0x21, 0x11, &PAIR), "192.0.2.7:32768"),
        (binary(0x21, 0x11, &with_tlvs), "192.0.2.7:32768"),
        (binary(0x21, 0x11, &longest), "192.0.2.7:32768"),
        (binary(0x21, 0x21, &v6), "[2001:db8::7]:80"),
        (binary(0x20, 0x11, &PAIR), "127.0.0.1:"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1:"),
    ];
    for (number, (header, peer)) in cases.iter().enumerate() {
        let mut client = introduced(&gateway, header).await;
        assert_eq!(client.get("/public/x", &[]).await.status, 200);
        let event = gateway.events(number + 1).await.remove(number);
        let logged = event["peer"].as_str().unwrap();
        assert!(logged.starts_with(peer), "{logged} for {header:?}");
        let received = upstream.received().pop().unwrap();
        let list = received.one("x-forwarded-for");
        assert_eq!(list, event["client"].as_str(), "{header:?}");
    }
    assert!(
        metrics(&gateway)
            .await
            .contains("jotgate_proxy_headers_total{result=\"ok\"} 8\n")
    );
}

#[tokio::test]
async fn a_header_may_come_byte_by_byte_or_with_what_follows_it() {
    let upstream = Upstream::start().await;
    let gateway = behind_a_proxy(&upstream);
    for header in [
        b"PROXY TCP4 192.0.2.7 10.0.0.1 32768 443\r\n".to_vec(),
        binary(0x21, 0x11, &[&PAIR[..], &[4, 0, 1, 0]].concat()),
    ] {
        let mut stream = connect(&gateway).await;
        for byte in &header {
            stream.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        let mut client = secure(&gateway, stream).await;
        assert_eq!(client.get("/public/x", &[]).await.status, 200);
    }
    // On the plain listener a request can follow in the same packet.
    let mut client = H1::plain(gateway.http()).await;
    client
        .send(
            "PROXY TCP4 192.0.2.7 10.0.0.1 32768 80\r\nGET /x HTTP/1.1\r\nHost: localhost\r\n\r\n",
        )
        .await;
    assert_eq!(client.answer().await.status, 308);
    assert_eq!(gateway.events(3).await[2]["peer"], "192.0.2.7:32768");
}

#[tokio::test]
async fn what_is_no_header_is_closed_without_a_word() {
    let upstream = Upstream::start().await;
    let gateway = behind_a_proxy(&upstream);
    let too_long = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200]].concat();
    let oversize = binary(0x21, 0x11, &[0; 4096 - 16 + 1]);
    let cases: [&[u8]; 9] = [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        // The beginning of a ClientHello.
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00\x00",
        b"\0",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 32768 443\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 99999 443\r\n",
        &too_long,
        &oversize,
        &binary(0x31, 0x11, &PAIR),
        &binary(0x21, 0x11, &PAIR[..4]),
    ];
    for bytes in cases {
        let mut stream = connect(&gateway).await;
        stream.write_all(bytes).await.unwrap();
        let took = assert_closed(&mut stream).await;
        assert!(took < Duration::from_secs(1), "{took:?} for {bytes:?}");
    }
    let metrics = metrics(&gateway).await;
    assert!(
        metrics.contains("jotgate_proxy_headers_total{result=\"malformed\"} 9\n"),
        "{metrics}"
    );
    assert_eq!(gateway.log_text(), "");
}

fn within(handshake_timeout: &str, upstream: &Upstream) -> TestGateway {
    Start::with(upstream)
        .listen("trusted_proxies = \"127.0.0.1\"\nproxy_protocol = true")
        .extra(&format!(
            "[limits]\nhandshake_timeout = \"{handshake_timeout}\"\n"
        ))
        .start()
}

#[tokio::test]
async fn a_header_that_does_not_come_in_time_is_not_waited_for() {
    let upstream = Upstream::start().await;
    let gateway = within("300ms", &upstream);
    let whole = binary(0x21, 0x11, &PAIR);
    for bytes in [&b""[..], b"PROXY TCP4", &SIGNATURE[..4], &whole[..20]] {
        let mut stream = connect(&gateway).await;
        stream.write_all(bytes).await.unwrap();
        let took = assert_closed(&mut stream).await;
        assert!(took >= Duration::from_millis(200), "{took:?} for {bytes:?}");
    }
    let metrics = metrics(&gateway).await;
    assert!(
        metrics.contains("jotgate_proxy_headers_total{result=\"timeout\"} 4\n"),
        "{metrics}"
    );
}

#[tokio::test]
async fn the_time_for_the_header_and_that_for_the_handshake_are_one() {
    let upstream = Upstream::start().await;
    let gateway = within("3s", &upstream);
    let mut stream = connect(&gateway).await;
    let begun = Instant::now();
    let mut byte = [0];
    let early = timeout(Duration::from_millis(1_500), stream.read(&mut byte)).await;
    assert!(early.is_err(), "it has most of its time left: {early:?}");
    stream.write_all(&binary(0x21, 0x11, &PAIR)).await.unwrap();
    assert_closed(&mut stream).await;
    let took = begun.elapsed();
    // Each for itself they would take four seconds and a half.
    assert!(took < Duration::from_millis(4_400), "{took:?}");
    // It is closed a moment before it is counted.
    let counted = async {
        let line = "jotgate_tls_handshakes_total{result=\"timeout\"} 1\n";
        while !metrics(&gateway).await.contains(line) {}
    };
    timeout(PATIENCE, counted).await.expect("it is not counted");
}

#[tokio::test]
async fn whoever_is_not_on_the_list_gets_nowhere_with_or_without_a_header() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream)
        .listen("trusted_proxies = \"10.0.0.0/8\"\nproxy_protocol = true")
        .start();
    for bytes in [&b""[..], b"PROXY TCP4 10.0.0.9 10.0.0.1 32768 443\r\n"] {
        let mut stream = connect(&gateway).await;
        let _ = stream.write_all(bytes).await;
        assert!(assert_closed(&mut stream).await < Duration::from_secs(1));
        let mut stream = TcpStream::connect(gateway.http()).await.unwrap();
        let _ = stream.write_all(bytes).await;
        assert!(assert_closed(&mut stream).await < Duration::from_secs(1));
    }
    // The operator's listener is not behind the proxy.
    let metrics = metrics(&gateway).await;
    assert!(
        metrics.contains("jotgate_proxy_headers_total{result=\"untrusted\"} 4\n"),
        "{metrics}"
    );
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn t74_a_header_decides_whether_its_client_is_believed_about_others() {
    let upstream = Upstream::start().await;
    let gateway = behind_a_proxy(&upstream);
    let cases: [(Vec<u8>, &str); 6] = [
        // A stranger.
        (
            b"PROXY TCP4 192.0.2.7 10.0.0.1 1 443\r\n".to_vec(),
            "192.0.2.7",
        ),
        // A second proxy, which speaks HTTP.
        (
            b"PROXY TCP4 10.0.0.9 10.0.0.1 1 443\r\n".to_vec(),
            "8.8.8.8",
        ),
        // The first one itself.
        (binary(0x20, 0x00, &[]), "8.8.8.8"),
        // Somebody behind it of whom nothing is known: what it says could be anybody's word.
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (binary(0x21, 0x00, &[]), "127.0.0.1"),
        (binary(0x21, 0x31, &[b'/'; 216]), "127.0.0.1"),
    ];
    for (number, (header, client)) in cases.iter().enumerate() {
        let lines = ["X-Forwarded-For: 8.8.8.8", "X-Request-Id: forged"];
        let mut connection = introduced(&gateway, header).await;
        let answer = connection.get("/public/x", &lines).await;
        let is_believed = *client == "8.8.8.8";
        assert_eq!(
            answer.one("x-request-id") == Some("forged"),
            is_believed,
            "{header:?}"
        );
        let event = gateway.events(number + 1).await.remove(number);
        assert_eq!(event["client"], *client, "{header:?}");
    }
}

#[tokio::test]
async fn without_the_setting_a_header_is_no_tls() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream)
        .listen("trusted_proxies = \"127.0.0.1\"")
        .start();
    let mut stream = connect(&gateway).await;
    stream
        .write_all(b"PROXY TCP4 192.0.2.7 10.0.0.1 32768 443\r\n")
        .await
        .unwrap();
    let mut said = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut said))
        .await
        .expect("still open");
    assert!(
        metrics(&gateway)
            .await
            .contains("jotgate_proxy_headers_total{result=\"ok\"} 0\n")
    );
    assert_eq!(gateway.h1().await.get("/public/x", &[]).await.status, 200);
}
