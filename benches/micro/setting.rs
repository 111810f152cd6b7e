//! What both kinds of micro-benchmark measure: a verifier, a table of routes, a pipeline in memory.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "what is set up here works, or there is nothing to measure"
)]

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{Method, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jotgate::cli::run;
use jotgate::clock::{Clock, NumericDate};
use jotgate::control::Loaded;
use jotgate::crypto::{self, KeyKind};
use jotgate::observe::{
    AccessLog, DurationsOf, LogFormat, LogWriter, Metrics, Readiness, RouteNames,
};
use jotgate::pieces::Surplus;
use jotgate::proxy::{Arrival, Downstream, Peer, Worker, handle};
use jotgate::route::{Access, Lookup};
use jotgate::snapshot::Live;
use jotgate::token::{
    self, Acceptance, Presented, Refusal, TrustedIssuer, VerifiedToken, Verifier,
};
use jotgate::upstream::{Pool, Slots};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};

/// A key pair of the issuer's.
pub(crate) struct Signer {
    algorithm: Algorithm,
    kid: &'static str,
    signing: EncodingKey,
    spki: Vec<u8>,
}

impl Signer {
    pub(crate) fn new(kind: KeyKind) -> Self {
        crypto::install();
        let pair = crypto::generate(kind).unwrap();
        let pem = pem("PRIVATE KEY", &pair.private_pkcs8_der);
        let (algorithm, kid, signing) = match kind {
            KeyKind::P256 => (Algorithm::ES256, "ec", EncodingKey::from_ec_pem(&pem)),
            _ => (Algorithm::RS256, "rsa", EncodingKey::from_rsa_pem(&pem)),
        };
        Self {
            algorithm,
            kid,
            signing: signing.unwrap(),
            spki: pair.public_spki_der,
        }
    }

    /// A token as identity providers make them.
    pub(crate) fn token(&self, subject: &str, expires_in: i64) -> String {
        let header = Header {
            kid: Some(self.kid.to_owned()),
            ..Header::new(self.algorithm)
        };
        let claims = json!({
            "iss": "https://issuer.example",
            "aud": "orders",
            "sub": subject,
            "iat": now() - 7200,
            "exp": now() + expires_in,
            "scope": "openid profile email",
            "email": format!("{subject}@example.com"),
            "jti": "Yt7mC5vJ2XbQwR8sKd0aLg",
        });
        jsonwebtoken::encode(&header, &claims, &self.signing).unwrap()
    }
}

/// The crypto library's own verification with a parsed key, and what it is asked.
pub(crate) struct Raw {
    key: ParsedPublicKey,
    message: String,
    signature: Vec<u8>,
}

impl Raw {
    pub(crate) fn new(kind: KeyKind) -> Self {
        let signer = Signer::new(kind);
        let token = signer.token("alice", 3600);
        let (message, signature) = token.rsplit_once('.').unwrap();
        let key = match kind {
            KeyKind::P256 => ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &signer.spki),
            _ => ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &signer.spki),
        };
        Self {
            key: key.unwrap(),
            message: message.to_owned(),
            signature: URL_SAFE_NO_PAD.decode(signature).unwrap(),
        }
    }

    pub(crate) fn verifies(&self) -> bool {
        let message = self.message.as_bytes();
        self.key.verify_sig(message, &self.signature).is_ok()
    }
}

fn pem(label: &str, der: &[u8]) -> Vec<u8> {
    let text = STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n").into_bytes()
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

/// A configuration that was loaded as the command loads it.
pub(crate) struct Setting {
    pub(crate) loaded: Loaded,
    _folder: TempDir,
}

impl Setting {
    /// With so many routes, all of them to this port.
    pub(crate) fn new(signers: &[&Signer], routes: usize, port: u16) -> Self {
        crypto::install();
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
        let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        write("tls.crt", certified.cert.pem().as_bytes());
        write("tls.key", certified.signing_key.serialize_pem().as_bytes());
        let private = fs::Permissions::from_mode(0o600);
        fs::set_permissions(folder.path().join("tls.key"), private).unwrap();
        let mut keys = Vec::new();
        for signer in signers {
            write(
                &format!("{}.pub", signer.kid),
                &pem("PUBLIC KEY", &signer.spki),
            );
            keys.push(format!(
                "{{ file = \"{0}.pub\", kid = \"{0}\" }}",
                signer.kid
            ));
        }
        let mut text = format!(
            "[listen]\nhttps = \"127.0.0.1:0\"\ncert = \"tls.crt\"\nkey = \"tls.key\"\n\
             [issuer.main]\niss = \"https://issuer.example\"\naud = \"orders\"\nkeys = [{}]\n",
            keys.join(", ")
        );
        for number in 0..routes {
            let path = format!("/api/{number}/");
            write!(
                text,
                "[[route]]\npath = \"{path}\"\nto = \"http://127.0.0.1:{port}\"\nauth = \"main\"\n"
            )
            .unwrap();
        }
        write("jotgate.toml", text.as_bytes());
        let loaded = run::load(&folder.path().join("jotgate.toml"))
            .unwrap_or_else(|error| panic!("{error}"));
        Self {
            loaded,
            _folder: folder,
        }
    }

    /// Whether there is a route for a path.
    pub(crate) fn has_route(&self, path: &str) -> bool {
        let routes = &self.loaded.snapshot.routes;
        matches!(
            routes.find("localhost", path, &Method::GET),
            Lookup::Found(_)
        )
    }

    fn accepted(&self) -> Arc<[Acceptance]> {
        match self
            .loaded
            .snapshot
            .routes
            .find("localhost", "/api/0/x", &Method::GET)
        {
            Lookup::Found(route) => match &*route.access {
                Access::Bearer { accepted, .. } => Arc::from(&accepted[..]),
                Access::Public => panic!("the route is public"),
            },
            Lookup::NoRoute | Lookup::MethodNotAllowed { .. } => panic!("no route"),
        }
    }
}

/// A worker's verifier, with tokens to ask it about.
pub(crate) struct Bench {
    verifier: Verifier,
    accepted: Arc<[Acceptance]>,
    issuers: Vec<Arc<TrustedIssuer>>,
    now: NumericDate,
    /// As `Authorization` has them.
    fields: Vec<String>,
}

impl Bench {
    /// One that has verified none of them.
    pub(crate) fn new(signer: &Signer, tokens: &[String]) -> Self {
        let setting = Setting::new(&[signer], 1, 1);
        Self {
            verifier: Verifier::new(metrics(), 32 << 20),
            accepted: setting.accepted(),
            issuers: setting.loaded.snapshot.issuers.clone(),
            now: Clock::system().numeric_date(),
            fields: tokens
                .iter()
                .map(|token| format!("Bearer {token}"))
                .collect(),
        }
    }

    /// One that has verified all of them.
    pub(crate) fn that_knows(signer: &Signer, tokens: &[String]) -> Self {
        let mut bench = Self::new(signer, tokens);
        for index in 0..bench.fields.len() {
            assert!(bench.verify(index).is_ok());
        }
        bench
    }

    /// Asks about one of them, as the field has it.
    pub(crate) fn verify(&mut self, index: usize) -> Result<VerifiedToken, Refusal> {
        let field = &self.fields[index];
        let presented = Presented::parse(field.as_bytes()).expect("a bearer token");
        let accepted = token::accepted(&self.accepted, &self.issuers);
        match self.verifier.recall(presented, accepted.clone(), self.now) {
            Some(outcome) => outcome,
            None => {
                let credential = presented.credential().expect("a credential");
                self.verifier.verify(credential, accepted, self.now)
            }
        }
    }
}

fn metrics() -> Arc<Metrics> {
    Arc::new(Metrics::new(
        &Readiness::starting(),
        RouteNames::default(),
        DurationsOf::All,
    ))
}

/// Requests from one end of memory to the other: parsed, admitted, forwarded over one connection
/// of the kernel's to an upstream of few words, answered, logged, counted. Only TLS is left out.
pub(crate) struct Pipeline {
    runtime: LocalRuntime,
    client: DuplexStream,
    request: Vec<u8>,
    _setting: Setting,
    _log: LogWriter,
}

impl Pipeline {
    /// For a token, with more lines in the head of each request, and a body.
    pub(crate) fn new(signer: &Signer, more_lines: &str, body: &str) -> Self {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default())
            .unwrap();
        let port = runtime.block_on(upstream());
        let setting = Setting::new(&[signer], 10, port);
        let (log, writer) =
            AccessLog::start(Box::new(std::io::sink()), LogFormat::Json, &metrics()).unwrap();
        let request = format!(
            "GET /api/5/orders HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench/1\r\n\
             Accept: */*\r\nAuthorization: Bearer {}\r\n{more_lines}\r\n{body}",
            signer.token("alice", 3600)
        );
        let snapshot = setting.loaded.snapshot.clone();
        let client = runtime.block_on(async move {
            let (client, served) = duplex(64 << 10);
            let sockets = Arc::new(Slots::new(16, 16));
            let pool = Pool::new(metrics(), sockets, Surplus::of(1 << 20));
            let live = Live::new(snapshot);
            let worker = Worker::new(&live, Clock::system(), log, metrics(), pool, 32 << 20);
            let peer = Peer::known("192.0.2.7:50123".parse().unwrap());
            let downstream = Downstream::new(peer, None, None);
            tokio::task::spawn_local(async move {
                let service = service_fn(|request: Request<Incoming>| {
                    let arrival = Arrival::note(request, &downstream, &worker);
                    Box::pin(handle(arrival, |body| body))
                });
                let connection = http1::Builder::new();
                let _ = connection
                    .serve_connection(TokioIo::new(served), service)
                    .await;
            });
            client
        });
        let mut pipeline = Self {
            runtime,
            client,
            request: request.into_bytes(),
            _setting: setting,
            _log: writer,
        };
        pipeline.run(20);
        pipeline
    }

    /// So many requests, one after the other.
    pub(crate) fn run(&mut self, count: usize) {
        let Self {
            runtime,
            client,
            request,
            ..
        } = self;
        runtime.block_on(async {
            let mut answer = [0; 4096];
            for _ in 0..count {
                client.write_all(request).await.unwrap();
                let mut read = 0;
                while !answer[..read].ends_with(b"good day\n") {
                    read += client.read(&mut answer[read..]).await.unwrap();
                }
                assert!(answer.starts_with(b"HTTP/1.1 200"));
            }
        });
    }
}

/// Answers every head that it reads in one piece, and no end of a body; returns its port.
async fn upstream() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::task::spawn_local(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            tokio::task::spawn_local(async move {
                let mut head = [0; 8192];
                while stream.read(&mut head).await.is_ok_and(|read| read > 0) {
                    if !head.starts_with(b"GET ") {
                        continue;
                    }
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ngood day\n";
                    stream.write_all(answer).await.unwrap();
                }
            });
        }
    });
    port
}
