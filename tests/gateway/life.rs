//! The life of connections and of the gateway itself: what is not in time, what may finish, what
//! breaks without breaking anything else.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use jotgate::clock::Clock;

use crate::harness::{
    Answer, H1, PATIENCE, Signer, Stage, Start, TestGateway, Upstream, h2_client,
};

const GET: &str = "GET /public/ HTTP/1.1\r\nHost: localhost\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A public route to this upstream, with further keys.
fn route(to: &str, more: &str) -> Start {
    Start::routes(&format!(
        "[[route]]\npath = \"/public/\"\nto = \"{to}\"\nauth = \"public\"\n{more}\n"
    ))
}

/// Asks the admin listener.
async fn admin(gateway: &TestGateway, path: &str) -> Answer {
    H1::plain(gateway.admin()).await.get(path, &[]).await
}

/// The value of a metric.
async fn metric(gateway: &TestGateway, name: &str) -> String {
    let text = admin(gateway, "/metrics").await.text();
    text.lines()
        .find_map(|line| {
            line.strip_prefix(name)?
                .strip_prefix(' ')
                .map(str::to_owned)
        })
        .unwrap_or_else(|| panic!("no {name} in {text}"))
}

/// Waits until a metric has this value.
async fn until_metric(gateway: &TestGateway, name: &str, value: &str) {
    let reached = async { while metric(gateway, name).await != value {} };
    timeout(PATIENCE, reached)
        .await
        .unwrap_or_else(|_| panic!("{name} never became {value}"));
}

/// Waits until nobody listens there any more.
pub async fn until_refused(address: std::net::SocketAddr) {
    let refused = async { while TcpStream::connect(address).await.is_ok() {} };
    timeout(PATIENCE, refused).await.expect("still accepting");
}

async fn ended(gateway: &mut TestGateway) {
    timeout(PATIENCE, gateway.gateway.ended())
        .await
        .expect("the gateway did not end");
}

fn get() -> Request<Full<Bytes>> {
    Request::get("https://localhost/public/")
        .body(Full::default())
        .unwrap()
}

#[tokio::test]
async fn t123_a_client_that_does_not_shake_hands_is_closed() {
    let upstream = Upstream::start().await;
    let gateway = route(&upstream.url(), "")
        .extra("[limits]\nhandshake_timeout = \"200ms\"\n")
        .start();
    // Nothing at all, and the beginning of a ClientHello.
    for beginning in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
        let mut client = H1::plain(gateway.https()).await;
        client.send(beginning).await;
        assert!(client.is_closed().await);
    }
    let timeouts = r#"jotgate_tls_handshakes_total{result="timeout"}"#;
    // It is counted once it is closed.
    until_metric(&gateway, timeouts, "2").await;
    assert_eq!(gateway.log_text(), "");
}

#[tokio::test]
async fn half_a_head_is_answered_408_and_no_byte_with_nothing() {
    let upstream = Upstream::start().await;
    let gateway = route(&upstream.url(), "")
        .extra("[limits]\nheader_timeout = \"200ms\"\n")
        .start();
    let mut silent = gateway.h1().await;
    assert!(silent.is_closed().await);
    let mut silent = H1::plain(gateway.http()).await;
    assert!(silent.is_closed().await);
    assert_eq!(gateway.log_text(), "");

    let half = "GET /public/ HTTP/1.1\r\nHost: loc";
    let mut slow = gateway.h1().await;
    slow.send(half).await;
    assert_eq!(slow.answer().await.status, 408);
    assert!(slow.is_closed().await);
    let mut slow = H1::plain(gateway.http()).await;
    slow.send(half).await;
    assert_eq!(slow.answer().await.status, 408);
    assert!(slow.is_closed().await);
    for event in gateway.events(2).await {
        assert_eq!(
            (&event["status"], &event["reason"]),
            (&408.into(), &"head_timeout".into())
        );
    }
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn half_a_head_after_a_whole_one_is_answered_408_too() {
    let upstream = Upstream::start().await;
    let gateway = route(&upstream.url(), "")
        .extra("[limits]\nheader_timeout = \"200ms\"\n")
        .start();
    let mut client = gateway.h1().await;
    client.send(format!("{GET}GET /public/ HT")).await;
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(client.answer().await.status, 408);
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_body_in_chunks_may_take_longer_than_a_head() {
    let stage = Stage::open().await;
    let gateway = route(&stage.url(), "")
        .extra("[limits]\nheader_timeout = \"200ms\"\n")
        .start();
    let mut client = gateway.h1().await;
    client
        .send("POST /public/ HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbo")
        .await;
    let mut upstream = stage.enter().await;
    upstream.head_text().await;
    stays_open(&mut client, Duration::from_millis(900)).await;
    client.send("dy\r\n0\r\n\r\n").await;
    assert!(upstream.chunk().await.starts_with(b"bo"));
    upstream.send(OK).await;
    assert_eq!(client.answer().await.status, 200);
    // After the answer, the next head has its time.
    client.send("GET /public/ HT").await;
    assert_eq!(client.answer().await.status, 408);
}

#[tokio::test]
async fn a_head_behind_a_request_has_its_time_from_the_end_of_the_answer_on() {
    let stage = Stage::open().await;
    let gateway = route(&stage.url(), "")
        .extra("[limits]\nheader_timeout = \"400ms\"\n")
        .start();
    let mut client = gateway.h1().await;
    client.send(format!("{GET}{}", &GET[..10])).await;
    let mut upstream = stage.enter().await;
    upstream.head_text().await;
    stays_open(&mut client, Duration::from_millis(900)).await;
    upstream.send(OK).await;
    assert_eq!(client.answer().await.status, 200);
    client
        .send(format!("{}{GET}{}", &GET[10..], &GET[..10]))
        .await;
    let mut answered = Instant::now();
    for _ in 0..2 {
        upstream.head_text().await;
        stays_open(&mut client, Duration::from_millis(900)).await;
        answered = Instant::now();
        upstream.send(OK).await;
        assert_eq!(client.answer().await.status, 200);
    }
    assert_eq!(client.answer().await.status, 408);
    assert!(answered.elapsed() >= Duration::from_millis(400));
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_its_time_and_not_before() {
    let upstream = Upstream::start().await;
    let idle = Duration::from_millis(1_200);
    // A head has much less time than the pause before it.
    let gateway = route(&upstream.url(), "")
        .extra("[limits]\nheader_timeout = \"300ms\"\nidle_timeout = \"1200ms\"\n")
        .start();
    let mut client = gateway.h1().await;
    assert_eq!(client.get("/public/", &[]).await.status, 200);
    let since = Instant::now();
    assert!(client.is_closed().await);
    assert!(since.elapsed() >= idle, "after {:?}", since.elapsed());
    assert_eq!(gateway.events(1).await.len(), 1);
}

#[tokio::test]
async fn a_parked_connection_serves_on() {
    let upstream = Upstream::start().await;
    let gateway = route(&upstream.url(), "").start();
    let mut client = gateway.h1().await;
    for _ in 0..2 {
        assert_eq!(client.get("/public/", &[]).await.status, 200);
        // Long enough for the gateway to have taken the stream back.
        stays_open(&mut client, Duration::from_millis(1_300)).await;
    }
    // The first byte alone, so that it and the rest come by different ways.
    client.send(&GET[..1]).await;
    client.send(&GET[1..]).await;
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(upstream.received().len(), 3);
}

#[tokio::test]
async fn an_idle_http2_connection_is_told_and_closed() {
    let upstream = Upstream::start().await;
    let gateway = route(&upstream.url(), "")
        .extra("[limits]\nheader_timeout = \"300ms\"\nidle_timeout = \"500ms\"\n")
        .start();
    let mut client = h2_client(&gateway).await;
    assert_eq!(client.send_request(get()).await.unwrap().status(), 200);
    until_closed(&mut client).await;
}

async fn until_closed(client: &mut hyper::client::conn::http2::SendRequest<Full<Bytes>>) {
    let closed = async {
        while client.ready().await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, closed).await.expect("still open");
}

/// Whether the kernel asks now and then whether the other end of this connection is there: the
/// kind of timer that `/proc/net/tcp` has for it.
#[cfg(target_os = "linux")]
fn is_kept_alive(ours: std::net::SocketAddr, theirs: std::net::SocketAddr) -> bool {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let ends = format!(":{:04X} 0100007F:{:04X} 01 ", ours.port(), theirs.port());
    let line = table.lines().find(|line| line.contains(&ends)).unwrap();
    line.split_ascii_whitespace()
        .nth(5)
        .unwrap()
        .starts_with("02:")
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_client_that_vanishes_while_its_answer_is_silent_is_asked_after() {
    let stage = Stage::open().await;
    let gateway = route(&stage.url(), "").start();
    let mut client = gateway.h1().await;
    client.send(GET).await;
    let mut upstream = stage.enter().await;
    upstream.head_text().await;
    let theirs = client.stream.get_ref().0.local_addr().unwrap();
    // Acknowledgements that are due come first.
    let asked_after = async {
        while !is_kept_alive(gateway.https(), theirs) {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, asked_after).await.unwrap();
}

#[tokio::test]
async fn p9_a_drain_lets_a_request_in_flight_finish_and_closes_after_it() {
    let stage = Stage::open().await;
    let mut gateway = route(&stage.url(), "").start();
    let mut client = gateway.h1().await;
    client.send(GET).await;
    let mut upstream = stage.enter().await;
    upstream.head_text().await;
    gateway.gateway.drain();
    until_refused(gateway.https()).await;
    until_refused(gateway.http()).await;
    upstream.send(OK).await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    assert_eq!(answer.one("connection"), Some("close"));
    assert!(client.is_closed().await);
    ended(&mut gateway).await;
    assert_eq!(gateway.event().await["reason"], "ok");
}

#[tokio::test]
async fn p9_a_request_that_an_idle_connection_sends_in_the_drain_is_served() {
    let upstream = Upstream::start().await;
    let mut gateway = route(&upstream.url(), "")
        .extra("[server]\ndrain_idle = \"15s\"\n")
        .start();
    let mut client = gateway.h1().await;
    assert_eq!(client.get("/public/", &[]).await.one("connection"), None);
    let mut fresh = gateway.h1().await;
    gateway.gateway.drain();
    until_refused(gateway.https()).await;
    for client in [&mut client, &mut fresh] {
        let answer = client.get("/public/", &[]).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.one("connection"), Some("close"));
        assert!(client.is_closed().await);
    }
    // Nobody is left, so nobody is waited for.
    let since = Instant::now();
    ended(&mut gateway).await;
    assert!(since.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn p9_an_idle_connection_that_stays_idle_is_closed_in_the_drain() {
    let upstream = Upstream::start().await;
    let mut gateway = route(&upstream.url(), "")
        .extra("[server]\ndrain_idle = \"200ms\"\n")
        .start();
    let mut used = gateway.h1().await;
    assert_eq!(used.get("/public/", &[]).await.status, 200);
    let mut fresh = gateway.h1().await;
    let mut plain = H1::plain(gateway.http()).await;
    gateway.gateway.drain();
    assert!(used.is_closed().await);
    assert!(fresh.is_closed().await);
    assert!(plain.is_closed().await);
    ended(&mut gateway).await;
}

#[tokio::test]
async fn p9_a_drain_says_goodbye_over_http2_and_lets_streams_finish() {
    let stage = Stage::open().await;
    let mut gateway = route(&stage.url(), "").start();
    let mut client = h2_client(&gateway).await;
    let mut other = h2_client(&gateway).await;
    let answer = tokio::spawn(client.send_request(get()));
    let mut upstream = stage.enter().await;
    upstream.head_text().await;
    gateway.gateway.drain();
    until_closed(&mut other).await;
    upstream.send(OK).await;
    let answer = answer.await.unwrap().unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "ok");
    until_closed(&mut client).await;
    ended(&mut gateway).await;
}

#[tokio::test]
async fn p9_a_client_that_does_not_shake_hands_does_not_put_off_the_end() {
    let upstream = Upstream::start().await;
    let mut gateway = route(&upstream.url(), "")
        .extra("[limits]\nhandshake_timeout = \"1h\"\n[server]\ndrain = \"1h\"\ndrain_idle = \"200ms\"\n")
        .start();
    let _silent = TcpStream::connect(gateway.https()).await.unwrap();
    until_metric(
        &gateway,
        r#"jotgate_connections_open{listener="https"}"#,
        "1",
    )
    .await;
    gateway.gateway.drain();
    ended(&mut gateway).await;
}

#[tokio::test]
async fn p9_a_drain_ends_when_its_time_is_over() {
    let stage = Stage::open().await;
    let mut gateway = route(&stage.url(), "")
        .extra("[server]\ndrain = \"200ms\"\n")
        .start();
    let mut client = gateway.h1().await;
    client.send(GET).await;
    let mut upstream = stage.enter().await;
    upstream.head_text().await;
    gateway.gateway.drain();
    ended(&mut gateway).await;
    assert!(client.is_closed().await);
    assert!(upstream.is_closed().await);
    let event = gateway.event().await;
    assert_eq!(
        (&event["reason"], &event["status"]),
        (&"drained".into(), &503.into())
    );
}

#[tokio::test]
async fn the_end_cuts_at_once() {
    let stage = Stage::open().await;
    let mut gateway = route(&stage.url(), "").start();
    let mut client = gateway.h1().await;
    client.send(GET).await;
    let mut upstream = stage.enter().await;
    upstream.head_text().await;
    let since = Instant::now();
    gateway.gateway.end();
    ended(&mut gateway).await;
    assert!(since.elapsed() < Duration::from_secs(2));
    assert!(client.is_closed().await);
    assert!(upstream.is_closed().await);
    until_refused(gateway.https()).await;
}

#[tokio::test]
async fn t153_p27_a_panic_is_one_requests_500_and_nobody_elses() {
    let stage = Stage::open().await;
    let to = stage.url();
    // The clock is asked twice by a request with a token: for its event, then for its claims.
    let fuse = Arc::new(AtomicU64::new(u64::MAX));
    let clock = Clock::from_fn({
        let fuse = fuse.clone();
        move || {
            let burnt = fuse.fetch_sub(1, Ordering::Relaxed) == 0;
            assert!(!burnt, "a panic on purpose");
            SystemTime::now()
        }
    });
    let gateway = Start::routes(&format!(
        r#"
        [[route]]
        path = "/api/"
        to = "{to}"
        auth = "main"
        [[route]]
        path = "/public/"
        to = "{to}"
        auth = "public"
        "#
    ))
    .clock(clock)
    .extra("[server]\nworkers = 1\n")
    .start();
    let mut bystander = gateway.h1().await;
    bystander.send(GET).await;
    let mut upstream = stage.enter().await;
    upstream.head_text().await;

    let authorization = format!("Authorization: Bearer {}", Signer::rsa().good());
    let mut client = gateway.h1().await;
    let panics = async || -> u64 {
        let counted = metric(&gateway, "jotgate_panics_total").await;
        counted.parse().unwrap()
    };
    let before = panics().await;
    fuse.store(1, Ordering::Relaxed);
    let answer = client.get("/api/x", &[&authorization]).await;
    assert_eq!(answer.status, 500);
    assert!(!answer.text().contains("on purpose"));
    assert_eq!(gateway.event().await["reason"], "panic");
    assert_eq!(panics().await, before + 1);

    upstream.send(OK).await;
    assert_eq!(bystander.answer().await.status, 200);
    // The connection that it happened on, and the worker, serve on.
    client
        .send(format!(
            "GET /api/y HTTP/1.1\r\nHost: localhost\r\n{authorization}\r\n\r\n"
        ))
        .await;
    assert!(upstream.head_text().await.starts_with("GET /api/y "));
    upstream.send(OK).await;
    assert_eq!(client.answer().await.status, 200);
}

#[tokio::test]
async fn admin_tells_that_it_lives_whether_it_is_ready_and_what_it_counted() {
    let upstream = Upstream::start().await;
    let mut gateway = Start::with(&upstream)
        .extra("[server]\ndrain_idle = \"15s\"\n")
        .start();
    let mut client = gateway.h1().await;
    assert_eq!(client.get("/public/x", &[]).await.status, 200);
    assert_eq!(client.get("/api/x", &[]).await.status, 401);
    gateway.events(2).await;

    let mut operator = H1::plain(gateway.admin()).await;
    assert_eq!(operator.get("/livez", &[]).await.status, 200);
    let ready = operator.get("/readyz", &[]).await;
    assert_eq!(ready.status, 200);
    let text = ready.text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "ready");
    assert_eq!(lines[1], format!("process {}", std::process::id()));
    assert!(lines[2].starts_with("generation 1 since "), "{text}");
    assert_eq!(lines[3], "2 routes and 1 upstream");
    assert_eq!(lines[4], "issuer main: 1 key main");
    assert!(
        lines[5].ends_with(": localhost api.test 127.0.0.1"),
        "{text}"
    );
    let text = operator.get("/metrics", &[]).await.text();
    for line in [
        r#"jotgate_requests_total{route="/public/",status="200",reason="ok"} 1"#,
        r#"jotgate_requests_total{route="/api/",status="401",reason="no_credential"} 1"#,
        r#"jotgate_connections_open{listener="https"} 1"#,
        r#"jotgate_tls_handshakes_total{result="ok"} 1"#,
        r#"jotgate_keys{issuer="main"} 1"#,
        "jotgate_ready 1",
        "# EOF",
    ] {
        assert!(text.lines().any(|l| l == line), "no {line} in {text}");
    }
    assert_eq!(operator.get("/api/x", &[]).await.status, 404);
    assert_eq!(operator.request("POST", "/metrics", &[]).await.status, 405);

    gateway.gateway.drain();
    until_refused(gateway.https()).await;
    let ready = operator.get("/readyz", &[]).await;
    assert_eq!(
        (ready.status, ready.text().as_str()),
        (503, "not ready: draining\n")
    );
    // A probe comes on a connection of its own, and must not find the door shut.
    assert_eq!(admin(&gateway, "/readyz").await.status, 503);
    assert_eq!(admin(&gateway, "/livez").await.status, 200);
    assert_eq!(metric(&gateway, "jotgate_ready").await, "0");
    drop(client);
    ended(&mut gateway).await;
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_their_turn() {
    let upstream = Upstream::start().await;
    let gateway = route(&upstream.url(), "")
        .extra("[limits]\nconnections = 2\n")
        .start();
    let open = r#"jotgate_connections_open{listener="https"}"#;
    let mut first = gateway.h1().await;
    let mut second = gateway.h1().await;
    assert_eq!(second.get("/public/", &[]).await.status, 200);
    let mut third = pin!(async { gateway.h1().await.get("/public/", &[]).await.status });
    let meanwhile = async {
        for _ in 0..20 {
            assert_eq!(first.get("/public/", &[]).await.status, 200);
            assert_eq!(metric(&gateway, open).await, "2");
        }
    };
    tokio::select! {
        _ = &mut third => panic!("three connections at once"),
        () = meanwhile => {}
    }
    drop(second);
    assert_eq!(timeout(PATIENCE, third).await.unwrap(), 200);
    until_metric(&gateway, open, "1").await;
}

#[tokio::test]
async fn every_listener_accepts_up_to_the_limit() {
    let upstream = Upstream::start().await;
    let gateway = route(&upstream.url(), "")
        .extra("[limits]\nconnections = 1\n[server]\nworkers = 4\n")
        .start();
    // Whichever worker it lands on, and whichever listener: no slot is taken by waiting.
    for _ in 0..8 {
        let mut client = gateway.h1().await;
        let answer = client.get("/public/", &["Connection: close"]).await;
        assert_eq!(answer.status, 200);
        assert!(client.is_closed().await);
        let mut client = H1::plain(gateway.http()).await;
        let answer = client.get("/", &["Connection: close"]).await;
        assert_eq!(answer.status, 308);
        assert!(client.is_closed().await);
    }
}

#[tokio::test]
async fn an_upstream_connection_is_kept_for_the_next_request() {
    let upstream = Upstream::start().await;
    let gateway = route(&upstream.url(), "")
        .extra("[server]\nworkers = 1\n")
        .start();
    let mut client = gateway.h1().await;
    let mut other = gateway.h1().await;
    for _ in 0..3 {
        assert_eq!(client.get("/public/", &[]).await.status, 200);
        assert_eq!(other.get("/public/", &[]).await.status, 200);
    }
    client
        .send("POST /public/ HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
        .await;
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(client.get("/public/", &[]).await.status, 200);
    assert_eq!(upstream.received().len(), 8);
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn an_upstream_that_closes_after_each_answer_gets_a_connection_for_each() {
    let upstream = Upstream::answering(|_| {
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok".to_vec()
    })
    .await;
    let gateway = route(&upstream.url(), "").start();
    let mut client = gateway.h1().await;
    for _ in 0..3 {
        let answer = client.get("/public/", &[]).await;
        assert_eq!((answer.status, answer.one("connection")), (200, None));
    }
    assert_eq!(upstream.connections(), 3);
}

#[tokio::test]
async fn p11_an_upstream_that_is_down_or_talks_nonsense_is_a_502() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let nonsense = Upstream::answering(|_| b"SSH-2.0-x\r\n\r\n".to_vec()).await;
    let closes = Stage::open().await;
    let switches = Upstream::answering(|_| {
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n".to_vec()
    })
    .await;
    for (to, reason) in [
        (format!("http://{address}"), "upstream_unreachable"),
        (nonsense.url(), "upstream_broken"),
        (closes.url(), "upstream_broken"),
        (switches.url(), "upstream_broken"),
    ] {
        let gateway = route(&to, "").start();
        let mut client = gateway.h1().await;
        client.send(GET).await;
        if to == closes.url() {
            closes.enter().await.head_text().await;
        }
        let answer = client.answer().await;
        assert_eq!(answer.status, 502, "{to}");
        assert!(!answer.text().contains("127.0.0.1"));
        assert_eq!(gateway.event().await["reason"], reason);
        // The client has done nothing wrong and may go on.
        assert_eq!(answer.one("connection"), None);
    }
}

#[tokio::test]
async fn p11_an_upstream_that_stalls_is_a_504_and_is_let_go() {
    let stage = Stage::open().await;
    let gateway = route(&stage.url(), "timeout = \"300ms\"").start();
    let mut client = gateway.h1().await;
    client.send(GET).await;
    let mut upstream = stage.enter().await;
    upstream.head_text().await;
    assert_eq!(client.answer().await.status, 504);
    assert!(upstream.is_closed().await);
    assert_eq!(gateway.event().await["reason"], "upstream_timeout");
}

#[tokio::test]
async fn a_slow_answers_body_is_not_timed() {
    let stage = Stage::open().await;
    let gateway = route(&stage.url(), "timeout = \"100ms\"").start();
    let mut client = gateway.h1().await;
    client.send(GET).await;
    let mut upstream = stage.enter().await;
    upstream.head_text().await;
    upstream
        .send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no")
        .await;
    assert_eq!(client.head_answer().await.status, 200);
    assert_eq!(client.bytes(1).await, b"o");
    stays_open(&mut client, Duration::from_millis(300)).await;
    upstream.send("k").await;
    assert_eq!(client.bytes(1).await, b"k");
    assert_eq!(gateway.event().await["reason"], "ok");
}

#[tokio::test]
async fn a_long_upload_is_no_slow_upstream() {
    let upstream = Upstream::start().await;
    let gateway = route(&upstream.url(), "timeout = \"800ms\"").start();
    let mut client = gateway.h1().await;
    client
        .send("POST /public/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8\r\n\r\n")
        .await;
    let mut pace = tokio::time::interval(Duration::from_millis(150));
    for _ in 0..8 {
        pace.tick().await;
        client.send("x").await;
    }
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(upstream.only().body, b"xxxxxxxx");
}

#[tokio::test]
async fn p11_an_answer_that_breaks_off_is_never_completed() {
    let cases = [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ];
    for head in cases {
        let stage = Stage::open().await;
        let gateway = route(&stage.url(), "").start();
        let mut client = gateway.h1().await;
        client.send(GET).await;
        let mut upstream = stage.enter().await;
        upstream.head_text().await;
        upstream.send(head).await;
        drop(upstream);
        assert_eq!(client.head_answer().await.status, 200);
        let rest = String::from_utf8(client.rest().await).unwrap();
        assert!(
            matches!(rest.as_str(), "half" | "4\r\nhalf\r\n"),
            "{rest:?}"
        );
        assert_eq!(gateway.event().await["reason"], "upstream_broke_off");
    }
    let stage = Stage::open().await;
    let gateway = route(&stage.url(), "").start();
    let mut client = h2_client(&gateway).await;
    let answer = tokio::spawn(client.send_request(get()));
    let mut upstream = stage.enter().await;
    upstream.head_text().await;
    upstream.send(cases[0]).await;
    drop(upstream);
    let answer = answer.await.unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(answer.into_body().collect().await.is_err());
}

#[tokio::test]
async fn p28_a_client_that_goes_away_takes_its_request_along() {
    let stage = Stage::open().await;
    let gateway = route(&stage.url(), "").start();
    let mut client = gateway.h1().await;
    client.send(GET).await;
    let mut upstream = stage.enter().await;
    upstream.head_text().await;
    drop(client);
    assert!(upstream.is_closed().await);
    let event = gateway.event().await;
    assert_eq!(
        (&event["status"], &event["reason"]),
        (&499.into(), &"client_closed".into())
    );
}

#[tokio::test]
async fn a_connection_that_has_sent_a_body_may_be_idle_for_as_long_as_any_other() {
    let stage = Stage::open().await;
    let gateway = route(&stage.url(), "")
        .extra("[limits]\nheader_timeout = \"400ms\"\n")
        .start();
    let mut client = gateway.h1().await;
    client
        .send("POST /public/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\n")
        .await;
    // The head has gone through before the body is sent, so the two are read apart.
    let mut upstream = stage.enter().await;
    upstream.head_text().await;
    client.send("body").await;
    assert_eq!(upstream.bytes(4).await, b"body");
    upstream.send(OK).await;
    assert_eq!(client.answer().await.status, 200);
    stays_open(&mut client, Duration::from_millis(1_200)).await;
}

/// Watches a connection for a while, in which it must not close and nothing must come.
async fn stays_open(client: &mut H1, pause: Duration) {
    assert!(
        timeout(pause, client.is_closed()).await.is_err(),
        "it was closed, or something came"
    );
}
