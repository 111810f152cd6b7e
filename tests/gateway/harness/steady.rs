//! Steady traffic on a route that no change is about: its issuer, its key and its upstream are its
//! own. Whatever happens beside it, it notices nothing.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::SendRequest;
use jotgate::crypto::KeyKind;
use jsonwebtoken::Algorithm;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Draft, H1, PATIENCE, Process, Script, Signer, Start, TestGateway, h2_connect_to};

/// A gateway that runs, in this process or in another.
pub trait Running {
    fn https(&self) -> SocketAddr;
    fn admin(&self) -> SocketAddr;
    fn authority(&self) -> &str;
    /// Everything in the access log, and maybe more.
    fn written(&self) -> String;
}

impl Running for TestGateway {
    fn https(&self) -> SocketAddr {
        self.https()
    }

    fn admin(&self) -> SocketAddr {
        self.admin()
    }

    fn authority(&self) -> &str {
        self.authority()
    }

    fn written(&self) -> String {
        self.log_text()
    }
}

impl Running for Process {
    fn https(&self) -> SocketAddr {
        self.https
    }

    fn admin(&self) -> SocketAddr {
        self.admin
    }

    fn authority(&self) -> &str {
        &self.authority
    }

    fn written(&self) -> String {
        self.written()
    }
}

/// The traffic, and what it needs.
#[must_use = "only `was_unharmed` tells whether it was"]
pub struct Steady {
    token: String,
    /// The first lines of what the upstream has got.
    received: Arc<Mutex<Vec<String>>>,
    _upstream: Script,
    is_over: Arc<AtomicBool>,
    clients: JoinSet<Vec<Answered>>,
}

/// A request, and the generation that was known to be in force before.
struct Answered {
    target: String,
    status: u16,
    known: u64,
}

const HTTP1_CLIENTS: usize = 3;
const HTTP2_CLIENTS: usize = 2;

impl Steady {
    /// Starts a gateway with it.
    pub async fn beside<R: Running>(start: Start, run: impl FnOnce(Start) -> R) -> (R, Self) {
        let (start, steady) = Self::prepare(start).await;
        let running = run(start);
        let steady = steady.begin(&running).await;
        (running, steady)
    }

    /// Adds to the configuration what it needs.
    pub async fn prepare(start: Start) -> (Start, Self) {
        let received = Arc::new(Mutex::new(Vec::new()));
        let upstream = slow(received.clone()).await;
        let signer = Signer::new(KeyKind::Ed25519);
        let draft = Draft::good().algorithm(Algorithm::EdDSA).kid("steady");
        let token = draft
            .claim("iss", "\"https://steady.test\"")
            .signed_by(&signer);
        let to = upstream.url();
        let start = start
            .file("steady.pem", signer.public_pem())
            .extra(&format!(
                "\n[issuer.steady]\niss = \"https://steady.test\"\naud = \"api\"\n\
             keys = \"steady.pem\"\n\
             [[route]]\npath = \"/steady/\"\nto = \"{to}\"\nauth = \"steady\"\n"
            ));
        let steady = Self {
            token,
            received,
            _upstream: upstream,
            is_over: Arc::default(),
            clients: JoinSet::new(),
        };
        (start, steady)
    }

    /// Begins it. When this returns, each client has been answered once.
    pub async fn begin(mut self, running: &impl Running) -> Self {
        for number in 0..HTTP1_CLIENTS + HTTP2_CLIENTS {
            let (address, authority) = (running.https(), running.authority());
            let client = if number < HTTP1_CLIENTS {
                let client = H1::connect_to(address, authority, Some("localhost"));
                Client::Http1(Box::new(client.await))
            } else {
                Client::Http2(h2_connect_to(address, authority).await)
            };
            let mut visitor = Visitor {
                number,
                client,
                operator: H1::plain(running.admin()).await,
                token: self.token.clone(),
                answered: Vec::new(),
            };
            visitor.ask().await;
            self.clients.spawn(visitor.run(self.is_over.clone()));
        }
        self
    }

    /// Ends it. Every request was answered, was sent upstream once, and was decided by a generation
    /// that was in force meanwhile.
    pub async fn was_unharmed(mut self, running: &impl Running) {
        self.is_over.store(true, Ordering::SeqCst);
        let mut clients = Vec::new();
        while let Some(answered) = self.clients.join_next().await {
            clients.push(answered.unwrap());
        }
        let requests: usize = clients.iter().map(Vec::len).sum();
        let mut received = std::mem::take(&mut *self.received.lock().unwrap());
        assert_eq!(received.len(), requests);
        received.sort_unstable();
        received.dedup();
        assert_eq!(received.len(), requests, "some were sent twice");
        let newest = generation(&mut H1::plain(running.admin()).await).await;
        let generations = generations(running, requests).await;
        for answered in clients {
            let mut before = 1;
            for Answered {
                target,
                status,
                known,
            } in answered
            {
                assert_eq!(status, 200, "{target}");
                let generation = generations[&target];
                let range = known.max(before)..=newest;
                assert!(range.contains(&generation), "{target} by {generation}");
                before = generation;
            }
        }
    }
}

/// An upstream that takes its time, so that requests are under way at every moment.
async fn slow(received: Arc<Mutex<Vec<String>>>) -> Script {
    Script::start(move |mut line| {
        let received = received.clone();
        async move {
            while let Some(head) = line.head().await {
                let first = head.lines().next().unwrap_or_default();
                received.lock().unwrap().push(first.to_owned());
                tokio::time::sleep(Duration::from_millis(25)).await;
                line.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                    .await;
            }
        }
    })
    .await
}

/// By which generation each request of the steady traffic was decided, once all of them are known.
async fn generations(running: &impl Running, requests: usize) -> HashMap<String, u64> {
    let logged = async {
        loop {
            let text = running.written();
            if text.matches("\"path\":\"/steady/").count() == requests {
                return text;
            }
            tokio::task::yield_now().await;
        }
    };
    let text = timeout(PATIENCE, logged).await.expect("not all are logged");
    let events = text.lines().filter(|line| line.contains("\"/steady/"));
    events
        .map(|line| {
            let event: Value = serde_json::from_str(line).unwrap();
            let path = event["path"].as_str().unwrap().to_owned();
            (path, event["generation"].as_u64().unwrap())
        })
        .collect()
}

/// One client, which asks without pause.
struct Visitor {
    number: usize,
    client: Client,
    operator: H1<TcpStream>,
    token: String,
    answered: Vec<Answered>,
}

impl Visitor {
    async fn run(mut self, is_over: Arc<AtomicBool>) -> Vec<Answered> {
        // The last request begins after everything else has happened.
        while !is_over.load(Ordering::SeqCst) {
            self.ask().await;
        }
        self.ask().await;
        self.answered
    }

    async fn ask(&mut self) {
        let known = generation(&mut self.operator).await;
        let target = format!("/steady/{}/{}", self.number, self.answered.len());
        let (status, _) = self.client.get(&target, &self.token).await;
        self.answered.push(Answered {
            target,
            status,
            known,
        });
    }
}

/// The generation that is in force.
pub async fn generation(operator: &mut H1<TcpStream>) -> u64 {
    let text = operator.get("/readyz", &[]).await.text();
    let (_, after) = text.split_once("\ngeneration ").unwrap();
    after.split(' ').next().unwrap().parse().unwrap()
}

/// A connection of either protocol.
pub enum Client {
    Http1(Box<H1>),
    Http2(SendRequest<Full<Bytes>>),
}

impl Client {
    /// The status and the body; 0 if there is no whole answer.
    pub async fn get(&mut self, target: &str, token: &str) -> (u16, String) {
        let authorization = format!("Bearer {token}");
        match self {
            Self::Http1(client) => {
                let field = format!("Authorization: {authorization}");
                let answer = client.get(target, &[&field]).await;
                (answer.status, answer.text())
            }
            Self::Http2(client) => {
                let request = Request::get(format!("https://localhost{target}"))
                    .header("authorization", authorization)
                    .body(Full::default())
                    .unwrap();
                let Ok(answer) = client.send_request(request).await else {
                    return (0, String::new());
                };
                let status = answer.status().as_u16();
                match answer.into_body().collect().await {
                    Ok(body) => {
                        let body = body.to_bytes();
                        (status, String::from_utf8_lossy(&body).into_owned())
                    }
                    Err(_) => (0, String::new()),
                }
            }
        }
    }
}
