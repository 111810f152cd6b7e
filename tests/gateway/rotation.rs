//! Keys, certificates and routes change again and again under steady traffic, and nobody notices.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::{SinkExt, StreamExt};
use jotgate::crypto::KeyKind;
use jsonwebtoken::Algorithm;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{accept_async, client_async};

use crate::harness::{
    Authority, Client, Draft, H1, PATIENCE, Process, Script, Signer, Start, TestGateway, Upstream,
    generation, h2_client,
};

/// What every client needs to go on, and what they have done.
struct Traffic {
    now: watch::Sender<Moment>,
    /// Of each client, up to which moment it has come.
    moments: Vec<AtomicUsize>,
    /// The newest generation that may be in force.
    newest: AtomicU64,
    requests: AtomicUsize,
    answered: Mutex<Vec<Answered>>,
    failed: Mutex<Vec<String>>,
    is_over: AtomicBool,
}

/// What is so at the moment.
#[derive(Clone, Default)]
struct Moment {
    number: usize,
    /// At least this generation is in force.
    generation: u64,
    /// A token that is good.
    token: String,
    /// One whose key is gone.
    retired: Option<String>,
}

/// A good answer.
struct Answered {
    target: String,
    /// The generations between which the request was sent and answered.
    oldest: u64,
    newest: u64,
    /// What the upstream was asked for, which only one version of the route does.
    version: String,
}

const HTTP1_CLIENTS: usize = 40;
const HTTP2_CLIENTS: usize = 24;

impl Traffic {
    fn new() -> Arc<Self> {
        let clients = HTTP1_CLIENTS + HTTP2_CLIENTS;
        Arc::new(Self {
            now: watch::Sender::default(),
            moments: (0..clients).map(|_| AtomicUsize::new(0)).collect(),
            newest: AtomicU64::new(1),
            requests: AtomicUsize::new(0),
            answered: Mutex::default(),
            failed: Mutex::default(),
            is_over: AtomicBool::new(false),
        })
    }

    /// Waits until no request is under way from before this moment.
    async fn goes_on(&self, change: impl FnOnce(&mut Moment)) {
        let mut number = 0;
        self.now.send_modify(|moment| {
            moment.number += 1;
            number = moment.number;
            change(moment);
        });
        let all = async {
            while self
                .moments
                .iter()
                .any(|m| m.load(Ordering::SeqCst) < number)
            {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, all).await.expect("a client stands still");
    }

    fn fail(&self, what: String) {
        self.failed.lock().unwrap().push(what);
    }

    /// One client, which asks without pause.
    async fn run(self: Arc<Self>, mut client: Client, number: usize) {
        for request in 0.. {
            if self.is_over.load(Ordering::Relaxed) {
                return;
            }
            let moment = self.now.borrow().clone();
            let target = format!("/api/{number}/{request}");
            let (status, version) = client.get(&target, &moment.token).await;
            self.requests.fetch_add(1, Ordering::Relaxed);
            if status == 200 {
                self.answered.lock().unwrap().push(Answered {
                    target,
                    oldest: moment.generation,
                    newest: self.newest.load(Ordering::SeqCst),
                    version,
                });
            } else {
                self.fail(format!("{target} at moment {}: {status}", moment.number));
            }
            if let Some(retired) = moment.retired {
                let target = format!("/api/{number}/{request}/retired");
                let (status, _) = client.get(&target, &retired).await;
                self.requests.fetch_add(1, Ordering::Relaxed);
                if status != 401 {
                    self.fail(format!("{target} at moment {}: {status}", moment.number));
                }
            }
            self.moments[number].store(moment.number, Ordering::SeqCst);
        }
    }
}

fn new_key() -> Signer {
    Signer::new(KeyKind::Ed25519)
}

fn key_token(signer: &Signer, epoch: usize) -> String {
    let draft = Draft::good().algorithm(Algorithm::EdDSA);
    draft.kid(&format!("key-{epoch}")).signed_by(signer)
}

async fn reaches(operator: &mut H1<tokio::net::TcpStream>, wanted: u64) {
    let reached = async { while generation(operator).await < wanted {} };
    timeout(PATIENCE, reached)
        .await
        .expect("no such generation");
}

/// Routes of steady traffic to the first version of `api`, of long streams to `stream`, and of
/// WebSockets to `echo`.
fn start(api: &str, stream: &str, echo: &str) -> Start {
    let start = Start::routes(&format!(
        "[[route]]\npath = \"/api/\"\nto = \"{api}/v0\"\nauth = \"main\"\n\
         [[route]]\npath = \"/stream/\"\nto = \"{stream}\"\nauth = \"public\"\n\
         [[route]]\npath = \"/echo/\"\nto = \"{echo}\"\nauth = \"public\"\nupgrade = true\n"
    ));
    fs::remove_file(start.folder().join("keys/main.pem")).unwrap();
    start
}

/// An upstream that sends a chunk for every line it gets.
async fn streams() -> Script {
    Script::start(|mut line| async move {
        line.head().await.unwrap();
        line.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            .await;
        while line.until(b"\n\r\n").await.is_some() {
            line.send("4\r\nmore\r\n").await;
        }
    })
    .await
}

/// One that sends back what it gets through a WebSocket.
async fn echo() -> Script {
    Script::start(|line| async move {
        let mut socket = accept_async(line.stream).await.unwrap();
        while let Some(Ok(message)) = socket.next().await {
            if socket.send(message).await.is_err() {
                return;
            }
        }
    })
    .await
}

/// An upstream that answers with the version that it was asked for, and counts what it is asked
/// for twice.
async fn versions(twice: &Arc<AtomicU64>) -> Upstream {
    let (seen, twice) = (Mutex::new(HashSet::new()), twice.clone());
    Upstream::answering(move |request| {
        if !seen.lock().unwrap().insert(request.line.clone()) {
            twice.fetch_add(1, Ordering::Relaxed);
        }
        let version = request.line.split('/').nth(1).unwrap();
        let length = version.len();
        format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{version}").into_bytes()
    })
    .await
}

#[tokio::test]
async fn p1_p2_p3_p30_rotations_under_traffic_cost_no_request_and_no_stream() {
    const ROTATIONS: usize = 16;
    let twice = Arc::new(AtomicU64::new(0));
    let upstream = versions(&twice).await;
    let (streaming, echoing) = (streams().await, echo().await);
    let start = start(&upstream.url(), &streaming.url(), &echoing.url());
    let first = new_key();
    first.write_public(&start.folder().join("keys/key-0.pem"));
    let gateway = start.start();
    let traffic = Traffic::new();
    traffic
        .now
        .send_modify(|moment| moment.token = key_token(&first, 0));

    let mut clients = JoinSet::new();
    for number in 0..HTTP1_CLIENTS + HTTP2_CLIENTS {
        let client = if number < HTTP1_CLIENTS {
            Client::Http1(Box::new(gateway.h1().await))
        } else {
            Client::Http2(h2_client(&gateway).await)
        };
        clients.spawn(traffic.clone().run(client, number));
    }
    let stream = gateway.h1().await.stream;
    let (mut tunnel, _) = client_async("wss://localhost/echo/x", stream)
        .await
        .unwrap();
    let mut download = gateway.h1().await;
    download
        .send("POST /stream/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    assert!(download.head_text().await.contains(" 200 "));

    let versions = rotate(&gateway, &traffic, &first, ROTATIONS, async || {
        tunnel.send(Message::text("still here")).await.unwrap();
        let answer = tunnel.next().await.unwrap().unwrap();
        assert_eq!(answer.into_text().unwrap(), "still here");
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
    let answered = std::mem::take(&mut *traffic.answered.lock().unwrap());
    let requests = traffic.requests.load(Ordering::Relaxed);
    let events = gateway.events(requests).await;
    let generations = check_generations(&events, &answered, &versions);
    println!("{requests} requests in {} generations", generations.len());
    // Each rotation is four reloads, and nearly all of them had requests.
    assert!(generations.len() > 2 * ROTATIONS, "{generations:?}");
}

/// Each request was answered under the generation that the log has for it: one that may have been
/// in force then, and that had the route that led where it went.
fn check_generations(
    events: &[serde_json::Value],
    answered: &[Answered],
    versions: &BTreeMap<u64, String>,
) -> HashSet<u64> {
    let generations: HashMap<&str, u64> = events
        .iter()
        .map(|event| {
            (
                event["path"].as_str().unwrap(),
                event["generation"].as_u64().unwrap(),
            )
        })
        .collect();
    for Answered {
        target,
        oldest,
        newest,
        version,
    } in answered
    {
        let generation = generations[&**target];
        assert!(
            (*oldest..=*newest).contains(&generation),
            "{target}: {generation}"
        );
        let (_, expected) = versions.range(..=generation).next_back().unwrap();
        assert_eq!(version, expected, "{target} in generation {generation}");
    }
    let used = answered.iter().map(|one| generations[&*one.target]);
    used.collect()
}

/// Rotates keys, certificates and routes so often, and looks after each whether `streams` live.
/// Returns the generations from which on there was another version of the route.
async fn rotate(
    gateway: &TestGateway,
    traffic: &Traffic,
    first: &Signer,
    rotations: usize,
    mut streams: impl AsyncFnMut(),
) -> BTreeMap<u64, String> {
    let folder = gateway.folder();
    let config = fs::read_to_string(folder.join("jotgate.toml")).unwrap();
    let mut operator = H1::plain(gateway.admin()).await;
    let mut versions = BTreeMap::from([(1, "v0".to_owned())]);
    let mut in_force = 1;
    let mut old = key_token(first, 0);
    for epoch in 1..=rotations {
        // Makes a change, and waits until it is in force.
        let mut changed = async |change: &dyn Fn()| {
            in_force += 1;
            traffic.newest.store(in_force, Ordering::SeqCst);
            change();
            reaches(&mut operator, in_force).await;
            in_force
        };
        let next = new_key();
        let new = key_token(&next, epoch);
        let added = folder.join(format!("keys/key-{epoch}.pem"));
        let generation = changed(&|| next.write_public(&added)).await;
        traffic
            .goes_on(|moment| {
                moment.generation = generation;
                moment.token.clone_from(&new);
            })
            .await;

        let removed = folder.join(format!("keys/key-{}.pem", epoch - 1));
        let generation = changed(&|| fs::remove_file(&removed).unwrap()).await;
        let retired = std::mem::replace(&mut old, new);
        traffic
            .goes_on(|moment| {
                moment.generation = generation;
                moment.retired = Some(retired);
            })
            .await;

        let (cert, key) = Authority::new().leaf(&["localhost", "api.test"]);
        changed(&|| {
            fs::write(folder.join("certs/tls.key"), &key).unwrap();
            fs::write(folder.join("certs/tls.crt"), &cert).unwrap();
        })
        .await;

        let version = format!("v{epoch}");
        // And neither what streams nor what is upgraded has its route any more.
        let other = config
            .replacen("/v0", &format!("/{version}"), 1)
            .replace("\"/stream/", &format!("\"/stream-{epoch}/"))
            .replace("\"/echo/", &format!("\"/echo-{epoch}/"));
        let generation = changed(&|| replace(&folder.join("jotgate.toml"), &other)).await;
        versions.insert(generation, version);
        traffic
            .goes_on(|moment| moment.generation = generation)
            .await;
        streams().await;
    }
    versions
}

/// Puts a file in the place of another, whole.
fn replace(path: &Path, text: &str) {
    let beside = path.with_extension("next");
    fs::write(&beside, text).unwrap();
    fs::rename(beside, path).unwrap();
}

#[tokio::test]
async fn p7_five_hundred_reloads_leave_the_memory_where_it_was() {
    const RELOADS: usize = 500;
    let upstreams = [Upstream::start().await, Upstream::start().await];
    let authority = Authority::new();
    let (cert, key) = authority.leaf(&["localhost"]);
    let [first, _] = &upstreams;
    let start = start(&first.url(), &first.url(), &first.url())
        .file("certs/tls.crt", cert)
        .file("certs/tls.key", key);
    // Two keys, each with one token, by turns: what the cache holds is not what is measured.
    let keys = [new_key(), new_key()].map(|key| (key_token(&key, 0), key.public_pem()));
    let mut which = 0;
    fs::write(start.folder().join("keys/key-0.pem"), &keys[0].1).unwrap();
    let process = Process::start(start, "info");
    let folder = process.folder();
    let config = fs::read_to_string(folder.join("jotgate.toml")).unwrap();
    let connect = async || H1::connect_to(process.https, authority.pem(), Some("localhost")).await;
    let mut client = connect().await;
    let mut operator = H1::plain(process.admin).await;
    let mut memory = Vec::new();
    for reload in 1..=RELOADS {
        match reload % 3 {
            0 => {
                // Always under the same name: what is new is the key.
                which = 1 - which;
                replace(&folder.join("keys/key-0.pem"), &keys[which].1);
            }
            1 => {
                let (cert, key) = authority.leaf(&["localhost"]);
                replace(&folder.join("certs/tls.key"), &key);
                replace(&folder.join("certs/tls.crt"), &cert);
            }
            _ => {
                // Always under another name, and to the upstream that was not in the file.
                let to = upstreams[1].url();
                let more = format!(
                    "{config}\n[[route]]\npath = \"/more-{reload}/\"\nto = \"{to}\"\n\
                     auth = \"public\"\nupstream = {{ max_connections = {reload} }}\n"
                );
                replace(&folder.join("jotgate.toml"), &more);
            }
        }
        process.signal("HUP");
        reaches(&mut operator, reload as u64 + 1).await;
        if reload % 3 == 1 {
            client = connect().await;
        }
        let authorization = format!("Authorization: Bearer {}", keys[which].0);
        assert_eq!(client.get("/api/x", &[&authorization]).await.status, 200);
        if reload % 3 == 2 {
            let more = format!("/more-{reload}/x");
            assert_eq!(client.get(&more, &[]).await.status, 200);
        }
        if reload == 3 || reload % 100 == 0 {
            memory.push(process.resident());
        }
    }
    println!("{memory:?}");
    // The first of each kind, and then the first hundred, pay for what the rest share.
    let [first, hundred, .., last] = memory[..] else {
        panic!("{memory:?}")
    };
    assert!(last <= hundred + 1024 * 1024, "{memory:?}");
    assert!(last <= first + 4 * 1024 * 1024, "{memory:?}");
}
