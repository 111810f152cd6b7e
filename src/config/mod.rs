//! The configuration file: text in, checked values out.
//!
//! Nothing here opens a socket, resolves a name or reads a key. What a value *means* (a pattern,
//! an algorithm, an identity rule) is a type of the module that uses it; what is written here is
//! how the file spells it and what to say when it is spelt wrong.

mod check;
mod confidential;
pub mod defaults;
pub mod diagnostic;
mod file;
mod fixed;
mod identity;
mod inputs;
mod issuer;
mod item;
mod listen;
mod names;
mod oddities;
mod route;
mod routes;
mod schema;
mod settings;
#[cfg(test)]
mod tests;
mod units;
mod upstream;
mod vocabulary;

use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use http::Method;

use crate::keys::Algorithm;
use crate::keys::source::{KeySource, SecretEncoding};
use crate::observe::{DurationsOf, LogFormat};
use crate::policy::IdentityRule;
use crate::route::{HostPattern, PathPattern};
use crate::tls::MinVersion;
use crate::trust::TrustedProxies;
use crate::upstream::{Settings, TargetUrl};

pub use check::parse;
pub use diagnostic::{Problem, Problems, Severity, Source, SourceError};
pub use fixed::Fixed;
pub use inputs::Input;
pub use schema::json_schema;

/// Where in the file a value stands, in bytes.
pub type Place = Range<usize>;

/// A value and where it was written. Two are the same if the values are.
#[derive(Debug, Clone)]
pub struct Located<T> {
    /// What was written.
    pub value: T,
    /// Where.
    pub place: Place,
}

impl<T: PartialEq> PartialEq for Located<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Eq> Eq for Located<T> {}

/// Everything the file says, checked and with the defaults filled in.
///
/// Paths are already joined to the file's folder. Issuers and routes stand in the order of the
/// file.
#[derive(Debug, Clone)]
pub struct Config {
    /// `[listen]`.
    pub listen: Listen,
    /// `[listen]`'s pair first (the default certificate), then every `[[certificate]]`.
    pub certificates: Vec<CertificatePair>,
    /// `[tls]`.
    pub tls: Tls,
    /// `[issuer.*]`.
    pub issuers: Vec<Issuer>,
    /// `[[route]]`.
    pub routes: Vec<Route>,
    /// How often the names of upstreams are looked up.
    pub resolve: Duration,
    /// `[limits]`.
    pub limits: Limits,
    /// `[log]`.
    pub log: Log,
    /// `[metrics]`.
    pub metrics: Metrics,
    /// `[server]`.
    pub server: Server,
    /// `[reload]`.
    pub reload: Reload,
}

/// `[listen]`: the addresses.
#[derive(Debug, Clone)]
pub struct Listen {
    /// Where TLS is terminated; at least one.
    pub https: Vec<ListenAddress>,
    /// Where plain HTTP is answered with a redirect to https.
    pub http: Vec<ListenAddress>,
    /// Where the operator asks for health and metrics.
    pub admin: Vec<ListenAddress>,
    /// Whether others than this machine may do that, by whatever name it has for them.
    pub admin_public: bool,
    /// The port that clients see, for redirects; by default that of the first `https`.
    pub public_port: Option<u16>,
    /// Whose word about clients is believed.
    pub trusted_proxies: TrustedProxies,
    /// Whether connections to `https` and `http` begin with a PROXY header.
    pub proxy_protocol: bool,
    /// Whether another gateway may listen on `https` and `http` at the same time.
    pub side_by_side: bool,
}

/// One address to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// `":443"`: every interface, IPv6 and IPv4.
    Any(u16),
    /// `"127.0.0.1:443"`, `"[::1]:443"`.
    Exact(SocketAddr),
}

/// A certificate chain and its private key, both PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificatePair {
    /// The chain, leaf first.
    pub cert: Located<PathBuf>,
    /// The leaf's private key.
    pub key: Located<PathBuf>,
}

/// `[tls]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The oldest protocol version spoken.
    pub min_version: MinVersion,
    /// The value of `Strict-Transport-Security`, or none.
    pub hsts: Option<http::HeaderValue>,
    /// What a client gets that asks for a name no certificate has.
    pub unknown_sni: UnknownSni,
}

/// What a client gets that asks for a name no certificate has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownSni {
    /// The certificate of `[listen]`.
    Default,
    /// The alert `unrecognized_name`.
    Refuse,
}

/// `[issuer.NAME]`: somebody whose tokens are believed.
#[derive(Debug, Clone)]
pub struct Issuer {
    /// The table's name, as routes write it.
    pub name: String,
    /// Where the table's head stands.
    pub place: Place,
    /// The exact value of `iss`.
    pub iss: String,
    /// A token must carry at least one of these as `aud`.
    pub audiences: Vec<String>,
    /// What verifies the signatures.
    pub keys: KeyMaterial,
    /// Narrows what the keys allow; `None` leaves that to the keys.
    pub algorithms: Option<Located<Vec<Algorithm>>>,
    /// How far clocks may differ; at most 300 s.
    pub leeway: Duration,
}

/// Where an issuer's keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyMaterial {
    /// `keys = …`: public keys.
    Public(Vec<Located<KeySource>>),
    /// `secret = …`: an HMAC secret.
    Secret {
        /// The file that holds it.
        path: Located<PathBuf>,
        /// How the file spells it.
        encoding: SecretEncoding,
    },
}

/// One `[[route]]`.
#[derive(Debug, Clone)]
pub struct Route {
    /// Unique; the name written, or the methods, if there are some, then host and path.
    pub name: String,
    /// Where the table's head stands.
    pub place: Place,
    /// The host it is for; `None` is any host that has no routes of its own.
    pub host: Option<HostPattern>,
    /// The path it is for.
    pub path: Located<PathPattern>,
    /// The methods it is for; `None` is all.
    pub methods: Option<Vec<Method>>,
    /// The upstream.
    pub to: Located<TargetUrl>,
    /// How it is connected to.
    pub connecting: Connecting,
    /// Who may pass.
    pub access: Access,
    /// Which claims are forwarded, and as which header.
    pub identity: Vec<IdentityRule>,
    /// Whether what the pattern matched before the subtree is removed from the path.
    pub strip_prefix: bool,
    /// Whether the upstream gets the client's `Authorization`.
    pub keep_authorization: bool,
    /// Which Host the upstream gets.
    pub host_header: HostHeader,
    /// Whether requests may switch to another protocol, such as WebSocket.
    pub upgrade: bool,
    /// How long the upstream may take to send the response's head.
    pub timeout: Duration,
    /// The largest request body in bytes; `None` is no limit.
    pub max_body: Option<u64>,
}

/// How an upstream is connected to: `[upstream]`, and over it a route's own `upstream`.
#[derive(Debug, Clone)]
pub struct Connecting {
    /// Deadlines and bounds.
    pub settings: Settings,
    /// For `https`.
    pub tls: UpstreamTls,
}

/// Whom to believe and what to show when an upstream is spoken to over TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpstreamTls {
    /// The authorities, PEM; without it those of the system.
    pub ca: Option<Located<PathBuf>>,
    /// The certificate that is shown to upstreams that ask for one.
    pub identity: Option<CertificatePair>,
}

/// `auth = …`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Access {
    /// `"public"`: everybody.
    Public,
    /// Bearers of a token of one of these issuers.
    Bearer {
        /// Indexes into [`Config::issuers`].
        issuers: Vec<usize>,
        /// The route's own `aud`, instead of the issuer's.
        audiences: Option<Vec<String>>,
    },
}

/// Which Host an upstream gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostHeader {
    /// The one the client sent.
    Client,
    /// That of `to`.
    Target,
}

/// `[limits]`.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections open at once, over all listeners and workers.
    pub connections: usize,
    /// Connections open at once from one address, or one /64 of IPv6.
    pub connections_per_address: usize,
    /// Concurrent HTTP/2 streams of one connection.
    pub streams: u32,
    /// The largest head of a request in bytes.
    pub header_bytes: usize,
    /// The most fields in one.
    pub header_fields: usize,
    /// For the TLS handshake, from the accept on.
    pub handshake_timeout: Duration,
    /// For a request's head, from its first byte (or the connection's start) on.
    pub header_timeout: Duration,
    /// How long a connection may wait for its next request.
    pub idle_timeout: Duration,
    /// How long nothing may pass through an upgraded connection.
    pub tunnel_idle_timeout: Duration,
    /// How long an upgraded connection may last, or a request from its head to the last byte of
    /// its answer.
    pub max_stream_age: Duration,
    /// How long a client may take nothing of an answer, or send nothing of a body that is waited
    /// for.
    pub body_timeout: Duration,
}

/// `[log]`: the access log.
#[derive(Debug, Clone)]
pub struct Log {
    /// How a line is written.
    pub format: LogFormat,
    /// Whether the subject is part of it.
    pub subject: bool,
}

/// `[metrics]`.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Whose durations are told.
    pub durations: DurationsOf,
}

/// `[reload]`.
#[derive(Debug, Clone)]
pub struct Reload {
    /// How often the files are looked at, whether there is word of a change or not.
    pub poll: Duration,
}

/// `[server]`.
#[derive(Debug, Clone)]
pub struct Server {
    /// Worker threads; without it one for each core.
    pub workers: Option<usize>,
    /// Bytes in which verified tokens are remembered, of all workers together; 0 for not at all.
    pub token_cache: usize,
    /// How long requests in flight may take after the signal to stop.
    pub drain: Duration,
    /// How long idle HTTP/1 connections stay open after that signal.
    pub drain_idle: Duration,
}

impl Server {
    /// How many worker threads that makes in this process.
    pub fn worker_count(&self) -> usize {
        self.workers.unwrap_or_else(defaults::workers)
    }
}
