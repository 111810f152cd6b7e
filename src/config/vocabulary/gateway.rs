//! The root, and the tables about the gateway itself.

use std::time::Duration;

use super::access::{ISSUERS, ROUTE};
use super::upstream::UPSTREAM;
use super::{Key, Kind, Table, default, optional, required};

/// What stands at the root: tables only.
pub(in crate::config) static ROOT: Table = Table::new(&[
    required(
        "listen",
        Kind::Table(&LISTEN),
        r#"{ https = "127.0.0.1:8443", cert = "certs/tls.crt", key = "certs/tls.key" }"#,
        "Where to listen, and the default certificate.",
    ),
    optional(
        "certificate",
        Kind::Many(&Kind::Table(&CERTIFICATE)),
        "that of `[listen]` alone",
        r#"[{ cert = "certs/shop.crt", key = "certs/shop.key" }]"#,
        "Further certificates, chosen by SNI from the names in them.",
    ),
    optional(
        "tls",
        Kind::Table(&TLS),
        "the defaults of its keys",
        "{}",
        "How TLS is spoken with clients.",
    ),
    optional(
        "issuer",
        Kind::Named(&ISSUERS),
        "every route must be public",
        r#"{ main = { iss = "https://issuer.example", aud = "orders", keys = "keys/" } }"#,
        "Whose tokens are believed: one table for each `iss`, under a name for `auth` and the log.",
    ),
    required(
        "route",
        Kind::Many(&Kind::Table(&ROUTE)),
        r#"[{ path = "/", to = "http://127.0.0.1:3000", auth = "public" }]"#,
        "Which requests go where, and who may send them; the most specific route wins.",
    ),
    optional(
        "upstream",
        Kind::Table(&UPSTREAM),
        "the defaults of its keys",
        "{}",
        "How upstreams are connected to; a route may say otherwise.",
    ),
    optional(
        "limits",
        Kind::Table(&LIMITS),
        "the defaults of its keys",
        "{}",
        "How much clients may use, and how long they may take.",
    ),
    optional(
        "log",
        Kind::Table(&LOG),
        "the defaults of its keys",
        "{}",
        "The access log, on stdout.",
    ),
    optional(
        "metrics",
        Kind::Table(&METRICS),
        "the defaults of its keys",
        "{}",
        "The metrics, on the admin listener.",
    ),
    optional(
        "server",
        Kind::Table(&SERVER),
        "the defaults of its keys",
        "{}",
        "The process itself.",
    ),
    optional(
        "reload",
        Kind::Table(&RELOAD),
        "the defaults of its keys",
        "{}",
        "How changes of the configuration and its files are seen.",
    ),
]);

static LISTEN: Table = Table::new(&[
    required(
        "https",
        ADDRESSES,
        r#""127.0.0.1:8443""#,
        "Where TLS is terminated; \":443\" is every interface, IPv6 and IPv4.",
    ),
    optional(
        "http",
        ADDRESSES,
        "nowhere",
        r#""127.0.0.1:8080""#,
        "Where plain HTTP is answered with a redirect to https, and nothing else.",
    ),
    optional(
        "admin",
        ADDRESSES,
        "nowhere",
        r#""127.0.0.1:9901""#,
        "Where /livez, /readyz and /metrics are answered; on loopback, unless `admin_public` is true.",
    ),
    default(
        "admin_public",
        Kind::Truth,
        "false",
        "Allows `admin` on an address that others reach.",
    ),
    CERT,
    KEY,
    optional(
        "public_port",
        Kind::Number(1..=65_535),
        "the port of the first `https`",
        "443",
        "The port that clients see, for redirects and for HSTS.",
    ),
    default(
        "trusted_proxies",
        Kind::AnyOf(&[Kind::Like(NETWORK), Kind::Many(&Kind::Like(NETWORK))]),
        "[]",
        "Addresses, or ranges of them, of the proxies in front: what they say of clients is believed.",
    ),
    default(
        "proxy_protocol",
        Kind::Truth,
        "false",
        "Whether connections to `https` and `http` come from `trusted_proxies` alone and begin with a PROXY header.",
    ),
    default(
        "side_by_side",
        Kind::Truth,
        "false",
        "Whether another jotgate may listen on `https` and `http` at the same time; needs the sysctl net.ipv4.tcp_migrate_req=1.",
    ),
]);

static CERTIFICATE: Table = Table::new(&[CERT, KEY]);

const CERT: Key = required(
    "cert",
    Kind::Path,
    r#""certs/tls.crt""#,
    "A PEM file with the certificate's chain, the leaf first.",
);

const KEY: Key = required(
    "key",
    Kind::Path,
    r#""certs/tls.key""#,
    "A PEM file with the certificate's private key, not encrypted.",
);

static TLS: Table = Table::new(&[
    default(
        "min_version",
        Kind::Choice(&["1.2", "1.3"]),
        r#""1.2""#,
        "The oldest protocol version.",
    ),
    default(
        "hsts",
        Kind::AnyOf(&[Kind::Like(MAX_AGE), Kind::Only("false")]),
        r#""max-age=31536000""#,
        "The value of Strict-Transport-Security, or false for none.",
    ),
    default(
        "unknown_sni",
        Kind::Choice(&["default", "refuse"]),
        r#""default""#,
        "What a client gets that asks for a name in no certificate: that of `[listen]`, or an alert.",
    ),
]);

static LIMITS: Table = Table::new(&[
    default(
        "connections",
        Kind::Number(1..=1_000_000),
        "10000",
        "Connections from clients that are open at once; more wait.",
    ),
    default(
        "connections_per_address",
        Kind::Number(1..=1_000_000),
        "1000",
        "Of these, from one address or one /64 of IPv6; more are closed at once.",
    ),
    default(
        "header_bytes",
        Kind::Size,
        r#""32KiB""#,
        "The largest head of a request, 4 KiB to 64 KiB.",
    ),
    default(
        "header_fields",
        Kind::Number(20..=1_000),
        "100",
        "The most fields in the head of a request.",
    ),
    default(
        "streams",
        Kind::Number(1..=10_000),
        "100",
        "Concurrent HTTP/2 streams of one connection.",
    ),
    default(
        "handshake_timeout",
        TIMEOUT,
        r#""10s""#,
        "For the TLS handshake, from the accept on.",
    ),
    default(
        "header_timeout",
        TIMEOUT,
        r#""10s""#,
        "For the head of a request.",
    ),
    default(
        "idle_timeout",
        TIMEOUT,
        r#""75s""#,
        "How long a connection may wait for its next request.",
    ),
    default(
        "body_timeout",
        TIMEOUT,
        r#""30s""#,
        "How long a client may let a body stand still, in either direction.",
    ),
    default(
        "tunnel_idle_timeout",
        TIMEOUT,
        r#""1h""#,
        "How long nothing may pass through an upgraded connection.",
    ),
    default(
        "max_stream_age",
        TIMEOUT,
        r#""24h""#,
        "How long an upgraded connection may last, or a request to the end of its answer.",
    ),
]);

static LOG: Table = Table::new(&[
    default(
        "format",
        Kind::Choice(&["json", "text"]),
        r#""json""#,
        "How a line of the access log is written.",
    ),
    default(
        "subject",
        Kind::Truth,
        "false",
        "Whether the line names the token's subject.",
    ),
]);

static METRICS: Table = Table::new(&[default(
    "by_route",
    Kind::Truth,
    "false",
    "Tells the durations of each route apart, which takes some forty series for each.",
)]);

static SERVER: Table = Table::new(&[
    optional(
        "workers",
        Kind::Number(1..=1024),
        "one for each core",
        "8",
        "Worker threads.",
    ),
    default(
        "token_cache",
        Kind::AnyOf(&[Kind::Size, Kind::Choice(&["off"])]),
        r#""32MiB""#,
        "Memory in which verified tokens are remembered, of all workers together, or \"off\".",
    ),
    default(
        "drain",
        GRACE,
        r#""30s""#,
        "How long requests in flight may take after the signal to stop.",
    ),
    default(
        "drain_idle",
        GRACE,
        r#""2s""#,
        "How long idle HTTP/1 connections stay open after that signal.",
    ),
]);

static RELOAD: Table = Table::new(&[default(
    "poll",
    Kind::Duration(Duration::from_secs(1)..=DAY),
    r#""30s""#,
    "How often the files are looked at, where the file system sends no word of changes.",
)]);

const ADDRESSES: Kind = Kind::OneOrMany(&Kind::Like(ADDRESS));

/// `127.0.0.1:443`, `[::1]:443`, `:443`.
const ADDRESS: &str = r"^([0-9.]+|\[[0-9A-Fa-f:.]+(%[0-9]+)?\])?:[0-9]{1,5}$";

/// `10.0.0.0/8`, `2001:db8::1`.
const NETWORK: &str = "^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$";

/// A directive `max-age`, in any case, among others.
const MAX_AGE: &str = "(^|;) *[Mm][Aa][Xx]-[Aa][Gg][Ee]=[0-9]+ *(;|$)";

/// A timeout that makes sense.
pub(super) const TIMEOUT: Kind = Kind::Duration(Duration::from_millis(1)..=DAY);

/// A time that may be none at all.
pub(super) const GRACE: Kind = Kind::Duration(Duration::ZERO..=DAY);

pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);
