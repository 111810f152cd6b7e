//! How the gateway gets at its upstreams: by which of their addresses, in how many connections, and
//! what it hears of those that close.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use crate::harness::{Authority, H1, PATIENCE, Script, Stage, Start, TlsFront, Upstream};
use crate::upstreams::{Names, route};

/// An address where nobody answers, and what keeps it so: a full queue.
fn silent() -> (SocketAddr, impl Drop) {
    struct Full {
        _socket: Socket,
        _queue: Vec<TcpStream>,
    }
    impl Drop for Full {
        fn drop(&mut self) {}
    }
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let mut queue = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        queue.push(stream);
    }
    let full = Full {
        _socket: socket,
        _queue: queue,
    };
    (address, full)
}

#[tokio::test]
async fn an_address_that_is_silent_for_longer_than_anybody_waits_comes_last() {
    let upstream = Upstream::start().await;
    let (silent, _full) = silent();
    let names = Names::new();
    names.say(Some(&[silent, upstream.address]));
    let gateway = Start::routes(&route("http://app.test", "timeout = \"1200ms\""))
        .extra("[upstream]\nkeepalive = \"0s\"\n[server]\nworkers = 1\n")
        .resolver(names.resolver())
        .start();
    let mut client = gateway.h1().await;
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(client.get("/x", &[]).await.status);
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 502]);
    let events = gateway.events(6).await;
    let reasons = events.iter().filter(|event| event["reason"] != "ok");
    let reasons: Vec<_> = reasons.map(|event| event["reason"].clone()).collect();
    assert_eq!(reasons, ["upstream_unreachable"], "it was never sent");
    let metrics = H1::plain(gateway.admin()).await.get("/metrics", &[]).await;
    let line =
        "jotgate_upstream_connects_total{upstream=\"http://app.test:80\",result=\"timeout\"} 1";
    assert!(metrics.text().contains(line), "{}", metrics.text());
}

#[tokio::test]
async fn workers_share_the_turns_of_the_addresses() {
    let mut upstreams = Vec::new();
    for _ in 0..4 {
        upstreams.push(Upstream::start().await);
    }
    let addresses: Vec<_> = upstreams.iter().map(|upstream| upstream.address).collect();
    let names = Names::new();
    names.say(Some(&addresses));
    let gateway = Start::routes(&route("http://app.test", ""))
        .extra("[upstream]\nkeepalive = \"0s\"\n[server]\nworkers = 4\n")
        .resolver(names.resolver())
        .start();
    for _ in 0..16 {
        assert_eq!(gateway.h1().await.get("/x", &[]).await.status, 200);
    }
    for upstream in &upstreams {
        assert_eq!(upstream.received().len(), 4);
    }
}

#[tokio::test]
async fn an_address_with_a_bad_certificate_leaves_the_request_to_the_next() {
    let upstream = Upstream::start().await;
    let [good, bad] = [Authority::new(), Authority::new()];
    let [one, other] = [&bad, &good].map(async |authority| {
        TlsFront::start(upstream.address, authority, &["app.test"], None).await
    });
    let (one, other) = (one.await, other.await);
    let names = Names::new();
    names.say(Some(&[one.address, other.address]));
    let gateway = Start::routes(&route("https://app.test", ""))
        .extra("[upstream]\nca = \"ca.pem\"\nkeepalive = \"0s\"\n[server]\nworkers = 1\n")
        .file("ca.pem", good.pem())
        .resolver(names.resolver())
        .start();
    let mut client = gateway.h1().await;
    for _ in 0..3 {
        assert_eq!(client.get("/x", &[]).await.status, 200);
    }
    assert_eq!(other.handshakes(), 3);
}

#[tokio::test]
async fn p21_requests_that_wait_go_over_the_connections_there_are() {
    let upstream = Upstream::start().await;
    let gateway = Start::routes(&route(
        &upstream.url(),
        "upstream = { max_connections = 4, wait = \"10s\" }",
    ))
    .extra("[server]\nworkers = 1\n")
    .start();
    let mut clients = Vec::new();
    for _ in 0..16 {
        clients.push(gateway.h1().await);
    }
    let asking = clients.into_iter().map(async |mut client| {
        for _ in 0..20 {
            assert_eq!(client.get("/x", &[]).await.status, 200);
        }
    });
    futures_util::future::join_all(asking).await;
    assert_eq!(upstream.received().len(), 320);
    assert_eq!(upstream.connections(), 4);
}

#[tokio::test]
async fn p21_a_request_that_waits_for_longer_than_its_answer_may_take_was_too_many() {
    let upstream = Stage::open().await;
    let connecting = "upstream = { max_connections = 1, wait = \"10s\" }\n";
    let (busy, hasty) = (
        route(&upstream.url(), connecting).replace("\"/\"", "\"/busy/\""),
        route(
            &upstream.url(),
            &format!("timeout = \"300ms\"\n{connecting}"),
        ),
    );
    let gateway = Start::routes(&[busy, hasty].concat()).start();
    let mut first = gateway.h1().await;
    first
        .send("GET /busy/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let mut line = upstream.enter().await;
    line.head_text().await;
    let answer = gateway.h1().await.get("/x", &[]).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.one("retry-after"), Some("1"));
    assert_eq!(gateway.event().await["reason"], "upstream_overloaded");
}

#[tokio::test]
async fn t108_an_answer_is_heard_although_its_upstream_closes_on_the_rest_of_the_upload() {
    let upstream = Script::start(move |mut line| async move {
        line.head().await.unwrap();
        line.send("HTTP/1.1 413 Content Too Large\r\ncontent-length: 2\r\n\r\nno")
            .await;
        // With the upload unread, the kernel resets the connection.
        drop(line);
    })
    .await;
    let gateway = Start::to(&upstream.url()).start();
    for number in 1..=20 {
        let mut client = gateway.h1().await;
        let head = "POST /public/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n";
        let upload = [head.as_bytes(), &[b'x'; 1_000_000]].concat();
        client.send(upload).await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.text().as_str()), (413, "no"));
        let events = gateway.events(number).await;
        assert_eq!(events[number - 1]["reason"], "ok");
    }
}

#[tokio::test]
async fn a_tunnel_whose_upstream_is_gone_ends_although_its_client_goes_on() {
    let upstream = Script::start(move |mut line| async move {
        line.head().await.unwrap();
        line.send(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: raw\r\n\r\n",
        )
        .await;
    })
    .await;
    let gateway = Start::routes(&route(&upstream.url(), "upgrade = true")).start();
    let mut client = gateway.h1().await;
    client
        .send("GET /x HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n")
        .await;
    assert_eq!(client.head_answer().await.status, 101);
    let going_on = async { while client.stream.write_all(&[b'x'; 65_536]).await.is_ok() {} };
    timeout(PATIENCE, going_on).await.expect("it does not end");
    assert_eq!(gateway.event().await["reason"], "upstream_broke_off");
}
