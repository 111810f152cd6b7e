//! A gateway on free ports, started by the very function that `jotgate run` uses.

use std::fs::Permissions;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jotgate::cli::run;
use jotgate::clock::Clock;
use jotgate::control::{ControlPlane, Resolver};
use jotgate::server::{Gateway, Inherited, Surroundings};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::Notify;

use super::{H1, Signer, Upstream};

/// How to start a gateway. The defaults: one issuer `main` that trusts [`Signer::rsa`], `/api/`
/// for its tokens, `/public/` for everybody, one upstream.
pub struct Start {
    folder: TempDir,
    routes: String,
    issuers: String,
    /// Of `https`, `http` and `admin`.
    ports: [u16; 3],
    listen: String,
    extra: String,
    clock: Clock,
    resolver: Resolver,
    authority: Authority,
}

/// A certificate authority of the test's own.
pub struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    /// Its own certificate.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The same, as clients want it.
    pub fn certificate(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()
    }

    /// A certificate for these names, and its key.
    pub fn leaf(&self, names: &[&str]) -> (String, String) {
        self.leaf_until(names, 4096)
    }

    /// One that is good until the first day of a year.
    pub fn leaf_until(&self, names: &[&str], year: i32) -> (String, String) {
        self.leaf_between(names, 1975, year)
    }

    /// One that is good from the first day of a year until that of another.
    pub fn leaf_between(&self, names: &[&str], from: i32, until: i32) -> (String, String) {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        self.sign(params)
    }

    /// One that says just this.
    pub fn sign(&self, params: CertificateParams) -> (String, String) {
        let leaf = KeyPair::generate().unwrap();
        let cert = params.signed_by(&leaf, &self.issuer).unwrap().pem();
        (cert, leaf.serialize_pem())
    }

    fn write(&self, names: &[&str], cert: &Path, key: &Path) {
        let (cert_pem, key_pem) = self.leaf(names);
        std::fs::create_dir_all(cert.parent().unwrap()).unwrap();
        std::fs::write(cert, cert_pem).unwrap();
        write_private(key, key_pem);
    }
}

/// Writes what is nobody else's business.
fn write_private(path: &Path, contents: impl AsRef<[u8]>) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, contents).unwrap();
    std::fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

/// A certificate for these names by an authority that nobody will hear of again.
pub fn write_certificate(names: &[&str], cert: &Path, key: &Path) {
    Authority::new().write(names, cert, key);
}

impl Start {
    /// The default routes to this upstream.
    pub fn with(upstream: &Upstream) -> Self {
        Self::to(&upstream.url())
    }

    /// The default routes to the upstream at this address.
    pub fn to(to: &str) -> Self {
        Self::routes(&format!(
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
    }

    /// These routes, in TOML.
    pub fn routes(routes: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Signer::rsa().write_public(&folder.path().join("keys/main.pem"));
        let authority = Authority::new();
        let certs = folder.path().join("certs");
        authority.write(
            &["localhost", "api.test", "127.0.0.1"],
            &certs.join("tls.crt"),
            &certs.join("tls.key"),
        );
        let issuers = r#"
            [issuer.main]
            iss = "https://issuer.test"
            aud = "api"
            keys = "keys/"
        "#;
        Self {
            folder,
            routes: routes.to_owned(),
            issuers: issuers.to_owned(),
            ports: [0; 3],
            listen: String::new(),
            extra: String::new(),
            clock: Clock::system(),
            resolver: Resolver::system(),
            authority,
        }
    }

    /// On these ports rather than on any that are free.
    pub fn ports(mut self, https: u16, http: u16, admin: u16) -> Self {
        self.ports = [https, http, admin];
        self
    }

    /// Instead of the default issuer.
    pub fn issuers(mut self, issuers: &str) -> Self {
        self.issuers = issuers.to_owned();
        self
    }

    /// Further keys of `[listen]`.
    pub fn listen(mut self, listen: &str) -> Self {
        self.listen = listen.to_owned();
        self
    }

    /// Further tables, such as `[limits]`.
    pub fn extra(mut self, extra: &str) -> Self {
        self.extra.push_str(extra);
        self
    }

    /// Another clock.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Another way to look up names.
    pub fn resolver(mut self, resolver: Resolver) -> Self {
        self.resolver = resolver;
        self
    }

    /// A certificate for these names in `certs/NAME.crt` and `.key`; the table is for `extra`.
    pub fn certificate(self, name: &str, names: &[&str]) -> Self {
        let certs = self.folder.path().join("certs");
        self.authority.write(
            names,
            &certs.join(format!("{name}.crt")),
            &certs.join(format!("{name}.key")),
        );
        self.extra(&format!(
            "\n[[certificate]]\ncert = \"certs/{name}.crt\"\nkey = \"certs/{name}.key\"\n"
        ))
    }

    /// A file in the configuration's folder; a private key or a secret is called `*.key`.
    pub fn file(self, path: &str, contents: impl AsRef<[u8]>) -> Self {
        let path = self.folder.path().join(path);
        write_private(&path, contents);
        if path.extension().is_none_or(|ending| ending != "key") {
            std::fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
        }
        self
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The authority's certificate, for clients.
    pub fn authority(&self) -> &str {
        &self.authority.pem
    }

    /// Writes the configuration and returns its path.
    pub fn write(&self) -> PathBuf {
        let text = format!(
            r#"
            [listen]
            https = "127.0.0.1:{}"
            http = "127.0.0.1:{}"
            admin = "127.0.0.1:{}"
            cert = "certs/tls.crt"
            key = "certs/tls.key"
            {}
            {}
            {}
            {}
            "#,
            self.ports[0],
            self.ports[1],
            self.ports[2],
            self.listen,
            self.issuers,
            self.routes,
            self.extra
        );
        let path = self.folder.path().join("jotgate.toml");
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Starts it.
    pub fn start(self) -> TestGateway {
        jotgate::crypto::install();
        let loaded = run::load(&self.write()).unwrap_or_else(|error| panic!("{error}"));
        let log = Log::default();
        let surroundings = Surroundings {
            clock: self.clock.clone(),
            access_log: Box::new(log.clone()),
            inherited: Inherited::default(),
        };
        let (gateway, control) = run::start(&loaded, surroundings, self.resolver.clone()).unwrap();
        TestGateway {
            gateway,
            control,
            log,
            authority: self.authority.pem.clone(),
            folder: self.folder,
        }
    }
}

/// A running gateway. It ends when it is dropped.
pub struct TestGateway {
    pub gateway: Gateway,
    pub control: ControlPlane,
    log: Log,
    authority: String,
    folder: TempDir,
}

impl TestGateway {
    /// Where its configuration, keys and certificates are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn https(&self) -> SocketAddr {
        self.gateway.addresses().https[0]
    }

    pub fn http(&self) -> SocketAddr {
        self.gateway.addresses().http[0]
    }

    pub fn admin(&self) -> SocketAddr {
        self.gateway.addresses().admin[0]
    }

    /// The authority's certificate, for clients.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// A new HTTP/1.1 connection to `localhost`.
    pub async fn h1(&self) -> H1 {
        H1::connect(self, Some("localhost")).await
    }

    /// The access events that have been written, once there are this many, but for those of steady
    /// traffic.
    pub async fn events(&self, count: usize) -> Vec<Value> {
        loop {
            let changed = self.log.changed.notified();
            let events = self.log.events();
            if events.len() >= count {
                assert_eq!(events.len(), count, "{events:#?}");
                return events;
            }
            tokio::time::timeout(PATIENCE, changed)
                .await
                .unwrap_or_else(|_| {
                    panic!(
                        "only {} of {count} events: {:#?}",
                        events.len(),
                        self.log.events()
                    )
                });
        }
    }

    /// The only access event.
    pub async fn event(&self) -> Value {
        self.events(1).await.remove(0)
    }

    /// Everything written to the access log.
    pub fn log_text(&self) -> String {
        String::from_utf8(self.log.bytes.lock().unwrap().clone()).unwrap()
    }
}

/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// An access log that a test can wait on.
#[derive(Clone, Default)]
struct Log {
    bytes: Arc<Mutex<Vec<u8>>>,
    changed: Arc<Notify>,
}

impl Log {
    /// In the order of their requests: the lines of several workers are handed over in pieces.
    fn events(&self) -> Vec<Value> {
        let bytes = self.bytes.lock().unwrap();
        let lines = str::from_utf8(&bytes).unwrap().lines();
        let mut events: Vec<Value> = lines
            .filter(|line| !line.contains("\"path\":\"/steady/"))
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        events.sort_by_key(|event| event["time"].as_str().unwrap().to_owned());
        events
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.bytes.lock().unwrap().extend_from_slice(bytes);
        self.changed.notify_one();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
