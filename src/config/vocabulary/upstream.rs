//! `[upstream]`, and what of it a route may say of its own.

use std::time::Duration;

use super::gateway::{DAY, GRACE, TIMEOUT};
use super::{Key, Kind, Table, default, optional};

pub(super) static UPSTREAM: Table = Table::new(&[
    default(
        "resolve",
        Kind::Duration(Duration::from_millis(100)..=DAY),
        r#""5s""#,
        "How often the names of upstreams are looked up.",
    ),
    CONNECT_TIMEOUT,
    KEEPALIVE,
    MAX_AGE,
    MAX_CONNECTIONS,
    MAX_WAITING,
    WAIT,
    CA,
    CERT,
    KEY,
]);

/// A route's own. What is not said here is as `[upstream]` has it.
pub(super) static ROUTE_UPSTREAM: Table = Table::new(&[
    CONNECT_TIMEOUT,
    KEEPALIVE,
    MAX_AGE,
    MAX_CONNECTIONS,
    MAX_WAITING,
    WAIT,
    CA,
    CERT,
    KEY,
]);

const CONNECT_TIMEOUT: Key = default(
    "connect_timeout",
    TIMEOUT,
    r#""5s""#,
    "For a connection: TCP, TLS, and waiting for a name that was never resolved.",
);

const KEEPALIVE: Key = default(
    "keepalive",
    GRACE,
    r#""4s""#,
    "How long a connection is kept without a request.",
);

const MAX_AGE: Key = default(
    "max_age",
    TIMEOUT,
    r#""5m""#,
    "How old a connection may become, give or take a tenth.",
);

const MAX_CONNECTIONS: Key = default(
    "max_connections",
    Kind::Number(1..=MOST),
    "1024",
    "Connections to one upstream at once, of the whole process.",
);

const MAX_WAITING: Key = default(
    "max_waiting",
    Kind::Number(0..=MOST),
    "1024",
    "Requests that wait for one; more are refused with 503.",
);

const WAIT: Key = default(
    "wait",
    GRACE,
    r#""1s""#,
    "How long they wait before they are refused, too.",
);

const CA: Key = optional(
    "ca",
    Kind::Path,
    "the authorities of the system",
    r#""certs/internal-ca.crt""#,
    "For https: a PEM file with the authorities to believe.",
);

const CERT: Key = optional(
    "cert",
    Kind::Path,
    "none is shown",
    r#""certs/gateway.crt""#,
    "For https: a PEM file with the certificate to show to upstreams that ask for one.",
);

const KEY: Key = optional(
    "key",
    Kind::Path,
    "none is shown",
    r#""certs/gateway.key""#,
    "For https: a PEM file with the private key of `cert`.",
);

const MOST: u64 = 1_000_000;
