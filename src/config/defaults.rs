//! Every default, with its unit in its name and its argument beside it.

use std::num::NonZero;

/// Connections open at once. Half of the 20,000 file descriptors that a process commonly gets,
/// because each proxied connection may need a second one upstream.
pub const CONNECTIONS: usize = 10_000;

/// Connections open at once from one address: a tenth of all, so that one client cannot keep the
/// rest out, and far more than a browser or an office behind one address has.
pub const CONNECTIONS_PER_ADDRESS: usize = 1_000;

/// The largest head of a request in bytes: cookies and a token of 8 KiB fit twice, and most
/// upstreams take no more.
pub const HEADER_BYTES: usize = 32 * 1024;

/// The most fields in one: what hyper has room for without asking for more, and three times what
/// browsers send.
pub const HEADER_FIELDS: usize = 100;

/// Concurrent HTTP/2 streams of a connection: what RFC 9113 §6.5.2 recommends as the least.
pub const STREAMS: u64 = 100;

/// For the TLS handshake, in seconds: several round trips to the moon and back.
pub const HANDSHAKE_TIMEOUT_SECONDS: u64 = 10;

/// For a request's head, in seconds: it is one packet from an honest client.
pub const HEADER_TIMEOUT_SECONDS: u64 = 10;

/// For the next request on a connection, in seconds: as nginx has it, and above the 60 s of the
/// usual load balancers in front, which should be the ones to close first.
pub const IDLE_TIMEOUT_SECONDS: u64 = 75;

/// How long a client may let a body stand still, in seconds: no network that works pauses for so
/// long, and what is held for the client meanwhile is held from others.
pub const BODY_TIMEOUT_SECONDS: u64 = 30;

/// How long nothing may pass through an upgraded connection, in seconds: an hour, as HAProxy's
/// manual has it. Most WebSockets ping every minute or so; what is silent for longer is forgotten.
pub const TUNNEL_IDLE_TIMEOUT_SECONDS: u64 = 60 * 60;

/// How long an upgraded connection or an answer may last, in seconds: a day. What was allowed
/// then is looked at again, at a time when a client can bear it.
pub const MAX_STREAM_AGE_SECONDS: u64 = 24 * 60 * 60;

/// For a connection to an upstream, in seconds: two retransmissions of the first packet.
pub const CONNECT_TIMEOUT_SECONDS: u64 = 5;

/// How long a connection is kept without a request, in seconds. Below the 5 s after which Apache,
/// Node and gunicorn close theirs: whoever closes first loses no request, and it had better be us.
pub const UPSTREAM_KEEPALIVE_SECONDS: u64 = 4;

/// How old a connection to an upstream may become, in seconds: a new instance behind a load
/// balancer gets its share within minutes, and a handshake every five costs nothing.
pub const UPSTREAM_MAX_AGE_SECONDS: u64 = 300;

/// Connections to one upstream at once. As Envoy has it: more than most backends bear, and a
/// bound on what one that hangs can take of ours.
pub const UPSTREAM_MAX_CONNECTIONS: usize = 1024;

/// Requests that wait for one of these. As Envoy has it.
pub const UPSTREAM_MAX_WAITING: usize = 1024;

/// How long they wait, in seconds. An upstream that frees no connection in that time is not busy
/// but overwhelmed, and a quick 503 helps it more than another one in the queue.
pub const UPSTREAM_WAIT_SECONDS: u64 = 1;

/// How often the names of upstreams are looked up, in seconds: the shortest lifetime that is
/// common in DNS.
pub const RESOLVE_SECONDS: u64 = 5;

/// For the head of an upstream's answer, in seconds: as nginx and most load balancers have it.
pub const ROUTE_TIMEOUT_SECONDS: u64 = 60;

/// For requests in flight after the signal to stop, in seconds: what Kubernetes grants before
/// it kills.
pub const DRAIN_SECONDS: u64 = 30;

/// How long idle connections stay open after that signal, in seconds, so that a request already
/// on its way still arrives.
pub const DRAIN_IDLE_SECONDS: u64 = 2;

/// How often the configuration's files are looked at without word of a change, in seconds. Some file
/// systems send none; a key that is taken back should not be good for much longer.
pub const RELOAD_POLL_SECONDS: u64 = 30;

/// How far an issuer's clock and ours may differ, in seconds: NTP keeps to far less.
pub const LEEWAY_SECONDS: u64 = 30;

/// The largest leeway, in seconds. More than five minutes is a broken clock.
pub const MAX_LEEWAY_SECONDS: u64 = 300;

/// `Strict-Transport-Security`: a year, in seconds, as RFC 6797 §6.1 shows it.
pub const HSTS: &str = "max-age=31536000";

/// Verified tokens that are remembered, in bytes, of all workers together: some 20,000 of the usual
/// size, which is more users than most gateways see within the lifetime of a token.
pub const TOKEN_CACHE_BYTES: usize = 32 * 1024 * 1024;

/// The header that carries the subject unless the route says otherwise.
pub const IDENTITY_HEADER: &str = "x-auth-subject";

/// Worker threads: one for each core that this process may use.
pub fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}
