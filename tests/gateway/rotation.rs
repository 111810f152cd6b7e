//! Keys, certificates and routes change again and again under steady traffic, and nobody notices.

use std::collections::HashSet;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use jotgate::crypto::KeyKind;
use jsonwebtoken::Algorithm;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::harness::{
    Authority, Draft, H1, PATIENCE, Process, Script, Signer, Start, TestGateway, Upstream,
    h2_client,
};

/// What every client needs to go on: the token of the moment, and what they have done.
struct Traffic {
    token: watch::Sender<(usize, String)>,
    /// Of each client, under which token its last request was sent.
    epochs: Vec<AtomicUsize>,
    requests: AtomicU64,
    failed: Mutex<Vec<String>>,
    is_over: AtomicBool,
}

const HTTP1_CLIENTS: usize = 40;
const HTTP2_CLIENTS: usize = 24;

impl Traffic {
    fn new() -> Arc<Self> {
        let clients = HTTP1_CLIENTS + HTTP2_CLIENTS;
        Arc::new(Self {
            token: watch::Sender::new((0, key_token(&new_key(), 0))),
            epochs: (0..clients).map(|_| AtomicUsize::new(0)).collect(),
            requests: AtomicU64::new(0),
            failed: Mutex::default(),
            is_over: AtomicBool::new(false),
        })
    }

    fn note(&self, client: usize, epoch: usize, status: u16) {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        if status != 200 {
            let what = format!("request {number} with token {epoch}: {status}");
            self.failed.lock().unwrap().push(what);
        }
        self.epochs[client].store(epoch, Ordering::SeqCst);
    }

    /// Waits until no request is under way with an older token.
    async fn all_use(&self, epoch: usize) {
        let all = async {
            while self.epochs.iter().any(|e| e.load(Ordering::SeqCst) < epoch) {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, all).await.expect("a client stands still");
    }
}

fn new_key() -> Signer {
    Signer::new(KeyKind::Ed25519)
}

fn key_token(signer: &Signer, epoch: usize) -> String {
    let draft = Draft::good().algorithm(Algorithm::EdDSA);
    draft.kid(&format!("key-{epoch}")).signed_by(signer)
}

async fn over_http1(mut client: H1, number: usize, traffic: Arc<Traffic>) {
    for request in 0.. {
        if traffic.is_over.load(Ordering::Relaxed) {
            return;
        }
        let (epoch, token) = traffic.token.borrow().clone();
        let authorization = format!("Authorization: Bearer {token}");
        let target = format!("/api/{number}/{request}");
        let answer = client.get(&target, &[&authorization]).await;
        traffic.note(number, epoch, answer.status);
    }
}

async fn over_http2(
    mut client: hyper::client::conn::http2::SendRequest<Full<Bytes>>,
    number: usize,
    traffic: Arc<Traffic>,
) {
    for request in 0.. {
        if traffic.is_over.load(Ordering::Relaxed) {
            return;
        }
        let (epoch, token) = traffic.token.borrow().clone();
        let request = Request::get(format!("https://localhost/api/{number}/{request}"))
            .header("authorization", format!("Bearer {token}"))
            .body(Full::default())
            .unwrap();
        let status = match client.send_request(request).await {
            Ok(answer) => {
                let status = answer.status().as_u16();
                match answer.into_body().collect().await {
                    Ok(_) => status,
                    Err(_) => 0,
                }
            }
            Err(_) => 0,
        };
        traffic.note(number, epoch, status);
    }
}

/// The generation that is in force.
async fn generation(operator: &mut H1<tokio::net::TcpStream>) -> u64 {
    let text = operator.get("/readyz", &[]).await.text();
    let (_, after) = text.split_once("\ngeneration ").unwrap();
    after.split(' ').next().unwrap().parse().unwrap()
}

async fn reaches(operator: &mut H1<tokio::net::TcpStream>, wanted: u64) {
    let reached = async { while generation(operator).await < wanted {} };
    timeout(PATIENCE, reached)
        .await
        .expect("no such generation");
}

/// Routes of steady traffic to `api`, and of long streams to `stream`; `more` is something else.
fn start(api: &str, stream: &str) -> Start {
    let start = Start::routes(&format!(
        "[[route]]\npath = \"/api/\"\nto = \"{api}\"\nauth = \"main\"\n\
         [[route]]\npath = \"/stream/\"\nto = \"{stream}\"\nauth = \"public\"\nupgrade = true\n"
    ));
    fs::remove_file(start.folder().join("keys/main.pem")).unwrap();
    start
}

/// An upstream that sends a chunk for every line it gets, or echoes lines after an upgrade.
async fn streams() -> Script {
    Script::start(|mut line| async move {
        let head = line.head().await.unwrap();
        let is_upgrade = head.to_ascii_lowercase().contains("upgrade: echo");
        line.send(if is_upgrade {
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n"
        } else {
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
        })
        .await;
        let end: &[u8] = if is_upgrade { b"\n" } else { b"\n\r\n" };
        while let Some(text) = line.until(end).await {
            let answer = if is_upgrade {
                text
            } else {
                "4\r\nmore\r\n".to_owned()
            };
            line.send(answer).await;
        }
    })
    .await
}

#[tokio::test]
async fn p1_p2_p3_p30_rotations_under_traffic_cost_no_request_and_no_stream() {
    const ROTATIONS: usize = 20;
    let seen = Arc::new(Mutex::new(HashSet::new()));
    let twice = Arc::new(AtomicU64::new(0));
    let upstream = Upstream::answering({
        let (seen, twice) = (seen.clone(), twice.clone());
        move |request| {
            if !seen.lock().unwrap().insert(request.line.clone()) {
                twice.fetch_add(1, Ordering::Relaxed);
            }
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec()
        }
    })
    .await;
    let streaming = streams().await;
    let start = start(&upstream.url(), &streaming.url());
    let first = new_key();
    first.write_public(&start.folder().join("keys/key-0.pem"));
    let gateway = start.start();
    let traffic = Traffic::new();
    traffic.token.send_replace((0, key_token(&first, 0)));

    let mut clients = JoinSet::new();
    for number in 0..HTTP1_CLIENTS {
        clients.spawn(over_http1(gateway.h1().await, number, traffic.clone()));
    }
    for number in HTTP1_CLIENTS..HTTP1_CLIENTS + HTTP2_CLIENTS {
        clients.spawn(over_http2(
            h2_client(&gateway).await,
            number,
            traffic.clone(),
        ));
    }
    let mut tunnel = gateway.h1().await;
    tunnel
        .send("GET /stream/x HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        .await;
    assert!(tunnel.head_text().await.contains(" 101 "));
    let mut download = gateway.h1().await;
    download
        .send("POST /stream/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    assert!(download.head_text().await.contains(" 200 "));

    rotate(&gateway, &traffic, ROTATIONS, async || {
        tunnel.send("still here\n").await;
        assert_eq!(tunnel.bytes(11).await, b"still here\n");
        download.send("1\r\n\n\r\n").await;
        assert_eq!(download.chunk().await, b"more");
    })
    .await;

    traffic.is_over.store(true, Ordering::Relaxed);
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
    assert_eq!(*traffic.failed.lock().unwrap(), Vec::<String>::new());
    assert_eq!(twice.load(Ordering::Relaxed), 0);
    let requests = traffic.requests.load(Ordering::Relaxed);
    let generations: HashSet<u64> = gateway
        .log_text()
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|event| event["generation"].as_u64().unwrap())
        .collect();
    println!("{requests} requests in {} generations", generations.len());
    // Each rotation is three reloads, and nearly all of them had requests.
    assert!(generations.len() > ROTATIONS, "{generations:?}");
}

/// Rotates keys, certificates and routes so often, and looks after each whether `streams` live.
async fn rotate(
    gateway: &TestGateway,
    traffic: &Traffic,
    rotations: usize,
    mut streams: impl AsyncFnMut(),
) {
    let folder = gateway.folder();
    let config = fs::read_to_string(folder.join("jotgate.toml")).unwrap();
    let mut operator = H1::plain(gateway.admin()).await;
    for epoch in 1..=rotations {
        let in_force = generation(&mut operator).await;
        let next = new_key();
        next.write_public(&folder.join(format!("keys/key-{epoch}.pem")));
        reaches(&mut operator, in_force + 1).await;
        traffic.token.send_replace((epoch, key_token(&next, epoch)));
        traffic.all_use(epoch).await;
        fs::remove_file(folder.join(format!("keys/key-{}.pem", epoch - 1))).unwrap();
        reaches(&mut operator, in_force + 2).await;

        let (cert, key) = Authority::new().leaf(&["localhost", "api.test"]);
        fs::write(folder.join("certs/tls.key"), key).unwrap();
        fs::write(folder.join("certs/tls.crt"), cert).unwrap();
        let more = format!(
            "{config}\n[[route]]\npath = \"/more-{epoch}/\"\nto = \"http://127.0.0.1:9\"\nauth = \"public\"\n"
        );
        fs::write(folder.join("jotgate.toml"), more).unwrap();
        reaches(&mut operator, in_force + 3).await;
        streams().await;
    }
}

#[tokio::test]
async fn p7_five_hundred_reloads_leave_the_memory_where_it_was() {
    const RELOADS: usize = 500;
    let upstream = Upstream::start().await;
    let start = start(&upstream.url(), &upstream.url());
    let keys = [new_key(), new_key()];
    keys[0].write_public(&start.folder().join("keys/key-0.pem"));
    let process = Process::start(start, "info");
    let mut client = H1::connect_to(process.https, &process.authority, Some("localhost")).await;
    let mut operator = H1::plain(process.admin).await;
    let mut memory = Vec::new();
    for reload in 1..=RELOADS {
        let signer = &keys[reload % 2];
        // Always under the same name: what is new is the key.
        signer.write_public(&process.folder().join("keys/.next"));
        fs::rename(
            process.folder().join("keys/.next"),
            process.folder().join("keys/key-0.pem"),
        )
        .unwrap();
        process.signal("HUP");
        reaches(&mut operator, reload as u64 + 1).await;
        let authorization = format!("Authorization: Bearer {}", key_token(signer, 0));
        assert_eq!(client.get("/api/x", &[&authorization]).await.status, 200);
        if reload % 100 == 0 {
            memory.push(process.resident());
        }
    }
    println!("{memory:?}");
    // The first hundred pay for what the rest share.
    assert!(
        memory[RELOADS / 100 - 1] <= memory[0] + 1024 * 1024,
        "{memory:?}"
    );
}
