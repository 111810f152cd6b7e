//! Upstreams that fail in every way at once, and crowds of clients that do not: whatever happens,
//! nobody gets another one's answer, and nothing is sent twice.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::harness::{
    Draft, H1, Line, PATIENCE, Process, Script, Signer, Start, TestGateway, Upstream, bearer,
    connector, h2_connect_to,
};

/// The way to a gateway, for many at once.
#[derive(Clone)]
struct Way {
    address: SocketAddr,
    authority: Arc<str>,
}

impl Way {
    fn to(gateway: &TestGateway) -> Self {
        Self {
            address: gateway.https(),
            authority: gateway.authority().into(),
        }
    }

    async fn h1(&self) -> H1 {
        H1::connect_to(self.address, &self.authority, Some("localhost")).await
    }

    async fn h2(&self) -> http2::SendRequest<Empty<Bytes>> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = connector(&self.authority, &[b"h2"]).connect(name, stream);
        let io = TokioIo::new(stream.await.unwrap());
        let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        sender
    }
}

/// How often each request was seen.
type Seen = Arc<Mutex<HashMap<u64, usize>>>;

/// The number in a request's path.
fn id_of(head: &str) -> u64 {
    let target = head.split(' ').nth(1).unwrap();
    target.rsplit('/').next().unwrap().parse().unwrap()
}

/// Numbers that look like chance and are the same every time.
fn scramble(id: u64) -> u64 {
    let mixed = (id ^ (id >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 29)
}

/// What an answer says: the request's number, so often that it does not fit into one packet.
fn body_of(id: u64) -> String {
    format!("{id};").repeat((scramble(id) % 400) as usize + 1)
}

/// Answers requests until chance has it that one is failed.
async fn unreliable(mut line: Line, seen: Seen) {
    while let Some(head) = line.head().await {
        let id = id_of(&head);
        *seen.lock().unwrap().entry(id).or_default() += 1;
        let body = body_of(id);
        let length = body.len();
        let whole = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
        let chunked = format!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n"
        );
        let cut = whole.len() - 1 - (scramble(id ^ 7) as usize % (whole.len() - 1));
        match scramble(id ^ 3) % 40 {
            // Dies before, in, or after the head, or in the body.
            0 => return,
            1 => {
                line.send(&whole[..cut]).await;
                return;
            }
            // As rudely as can be.
            2 => {
                line.send(&whole[..cut]).await;
                line.stream.set_zero_linger().unwrap();
                return;
            }
            // Says more than it was asked.
            3 => {
                line.send(format!(
                    "{whole}HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"
                ))
                .await;
            }
            // Says that it goes, or goes without a word.
            4 => {
                line.send(whole.replacen("\r\n", "\r\nconnection: close\r\n", 1))
                    .await;
                return;
            }
            5 => {
                line.send(&whole).await;
                return;
            }
            // Half closes.
            6 => {
                line.send(&whole).await;
                line.stream.shutdown().await.unwrap();
            }
            // Drips.
            7 => {
                for piece in whole.as_bytes().chunks(whole.len() / 3 + 1) {
                    line.send(piece).await;
                    tokio::task::yield_now().await;
                }
            }
            8..=20 => {
                line.send(&chunked).await;
            }
            _ => {
                line.send(&whole).await;
            }
        }
    }
}

/// Sends requests one after another, on as many connections as that takes. Returns how many were
/// answered whole.
async fn ask_over_http1(gateway: Way, ids: std::ops::Range<u64>) -> usize {
    let mut whole = 0;
    let mut client = gateway.h1().await;
    for id in ids {
        let method = if id % 2 == 0 { "GET" } else { "POST" };
        client
            .send(format!(
                "{method} /public/{id} HTTP/1.1\r\nHost: localhost\r\n\r\n"
            ))
            .await;
        let Some(answer) = client.try_answer().await else {
            client = gateway.h1().await;
            continue;
        };
        match answer.status {
            200 => {
                assert_eq!(answer.text(), body_of(id), "somebody else's answer");
                whole += 1;
            }
            status => assert_eq!(status, 502),
        }
    }
    whole
}

async fn ask_over_http2(gateway: Way, ids: std::ops::Range<u64>) -> usize {
    let client = gateway.h2().await;
    let mut asked = JoinSet::new();
    let mut whole = 0;
    for id in ids {
        let mut client = client.clone();
        asked.spawn(async move {
            let request = Request::get(format!("https://localhost/public/{id}"))
                .body(Empty::new())
                .unwrap();
            let answer = client.send_request(request).await.unwrap();
            let status = answer.status();
            let body = BodyExt::collect(answer.into_body()).await;
            let Ok(body) = body else { return false };
            if status == StatusCode::OK {
                assert_eq!(body.to_bytes(), body_of(id), "somebody else's answer");
            } else {
                assert_eq!(status, StatusCode::BAD_GATEWAY);
            }
            status == StatusCode::OK
        });
        if asked.len() >= 20 {
            whole += usize::from(asked.join_next().await.unwrap().unwrap());
        }
    }
    whole + asked.join_all().await.into_iter().filter(|ok| *ok).count()
}

#[tokio::test]
async fn t111_p12_twenty_thousand_answers_reach_whoever_asked_and_nobody_asks_twice() {
    const EACH: u64 = 400;
    let seen = Seen::default();
    let upstream = {
        let seen = seen.clone();
        Script::start(move |line| unreliable(line, seen.clone())).await
    };
    let gateway = Start::to(&upstream.url()).start();
    let way = Way::to(&gateway);
    let mut clients = JoinSet::new();
    for number in 0..50 {
        let ids = number * EACH..(number + 1) * EACH;
        let way = way.clone();
        if number % 5 == 0 {
            clients.spawn(ask_over_http2(way, ids));
        } else {
            clients.spawn(ask_over_http1(way, ids));
        }
    }
    let whole: usize = clients.join_all().await.into_iter().sum();
    // Three of forty fail by themselves; a connection that is gone may cost a few more.
    assert!(whole > 17_000, "{whole}");
    let seen = seen.lock().unwrap();
    let twice: Vec<_> = seen.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    assert!(seen.len() > 19_000, "{}", seen.len());
}

#[tokio::test]
async fn t128_handshakes_by_the_hundred_leave_others_their_connections() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    let way = Way::to(&gateway);
    let mut honest = gateway.h1().await;
    let done = Arc::new(AtomicUsize::new(0));
    let mut crowd = JoinSet::new();
    for _ in 0..8 {
        let (way, done) = (way.clone(), done.clone());
        crowd.spawn(async move {
            for _ in 0..50 {
                way.h1().await.stream.shutdown().await.unwrap();
                done.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let mut asked = 0;
    while done.load(Ordering::Relaxed) < 400 {
        assert_eq!(honest.get("/public/x", &[]).await.status, 200);
        asked += 1;
    }
    crowd.join_all().await;
    assert!(asked > 0 && upstream.received().len() == asked);
}

#[tokio::test]
async fn p22_a_flood_of_bad_tokens_hurts_no_good_one() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    let way = Way::to(&gateway);
    let good = bearer(&Signer::rsa().good());
    let mut flood = JoinSet::new();
    for number in 0..4_u64 {
        let way = way.clone();
        flood.spawn(async move {
            let mut client = way.h1().await;
            for index in 0..250_u64 {
                // A good one with another signature, and another one every time.
                let token = Draft::good().claim("jti", &format!("\"{number}.{index}\""));
                let forged = bearer(&token.signed_by(Signer::stranger()));
                assert_eq!(client.get("/api/x", &[&forged]).await.status, 401);
            }
        });
    }
    let mut honest: H1 = gateway.h1().await;
    let mut asked = 0;
    while !flood.is_empty() {
        assert_eq!(honest.get("/api/x", &[&good]).await.status, 200);
        asked += 1;
        while let Some(ended) = flood.try_join_next() {
            ended.unwrap();
        }
    }
    assert_eq!(upstream.received().len(), asked);
    let last = timeout(PATIENCE, honest.get("/api/x", &[&good])).await;
    assert_eq!(last.unwrap().status, 200);
}

#[tokio::test]
async fn p24_messages_that_nobody_takes_delay_no_request_no_reload_and_not_the_end() {
    let upstream = Upstream::start().await;
    let mut process = Process::start_unread(Start::with(&upstream), "debug,h2=trace");
    let unknown = Draft::good().header("kid", "\"unknown\"").signed();
    let mut client = h2_connect_to(process.https, &process.authority).await;
    // Each is worth many messages.
    for _ in 0..1_000 {
        let request = Request::get("https://localhost/api/x")
            .header("authorization", format!("Bearer {unknown}"))
            .body(Full::default())
            .unwrap();
        client.ready().await.unwrap();
        let answer = timeout(PATIENCE, client.send_request(request)).await;
        assert_eq!(answer.unwrap().unwrap().status(), 401);
    }
    let metrics = async || {
        let mut operator = H1::plain(process.admin).await;
        operator.get("/metrics", &[]).await.text()
    };
    let lost = "jotgate_messages_dropped_total 0\n";
    assert!(!metrics().await.contains(lost), "their loss is not told");
    let config = process.folder().join("jotgate.toml");
    let changed = std::fs::read_to_string(&config).unwrap() + "[server]\ndrain = \"1s\"\n";
    std::fs::write(&config, changed).unwrap();
    let reloaded = async { while !metrics().await.contains("jotgate_config_generation 2\n") {} };
    timeout(PATIENCE, reloaded).await.expect("no reload");
    process.signal("TERM");
    assert!(process.ended(), "it does not end");
}

#[tokio::test]
async fn p24_a_log_that_nobody_takes_delays_no_request_and_its_loss_is_counted() {
    let (reader, closed) = std::io::pipe().unwrap();
    drop(reader);
    let full = std::fs::File::options().write(true).open("/dev/full");
    for sink in [Stdio::from(full.unwrap()), Stdio::from(closed)] {
        let upstream = Upstream::start().await;
        let process = Process::start_writing_to(Start::with(&upstream), sink);
        let address = process.https;
        let mut client = H1::connect_to(address, &process.authority, Some("localhost")).await;
        for _ in 0..100 {
            assert_eq!(client.get("/public/x", &[]).await.status, 200);
        }
        let lost = async {
            loop {
                let mut operator = H1::plain(process.admin).await;
                let text = operator.get("/metrics", &[]).await.text();
                if text.contains("jotgate_access_log_dropped_total 100\n") {
                    break;
                }
            }
        };
        timeout(PATIENCE, lost).await.expect("the loss is not told");
    }
}
