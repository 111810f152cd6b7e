//! Every default, with its unit in its name and its argument beside it.

use std::num::NonZero;

/// Connections open at once. Half of the 20,000 file descriptors that a process commonly gets,
/// because each proxied connection may need a second one upstream.
pub const CONNECTIONS: u64 = 10_000;

/// Concurrent HTTP/2 streams of a connection: what RFC 9113 §6.5.2 recommends as the least.
pub const STREAMS: u64 = 100;

/// For the TLS handshake, in seconds: several round trips to the moon and back.
pub const HANDSHAKE_TIMEOUT_SECONDS: u64 = 10;

/// For a request's head, in seconds: it is one packet from an honest client.
pub const HEADER_TIMEOUT_SECONDS: u64 = 10;

/// For the next request on a connection, in seconds: as nginx has it, and above the 60 s of the
/// usual load balancers in front, which should be the ones to close first.
pub const IDLE_TIMEOUT_SECONDS: u64 = 75;

/// For a TCP connection to an upstream, in seconds: two retransmissions of the first packet.
pub const CONNECT_TIMEOUT_SECONDS: u64 = 5;

/// For the head of an upstream's answer, in seconds: as nginx and most load balancers have it.
pub const ROUTE_TIMEOUT_SECONDS: u64 = 60;

/// For requests in flight after the signal to stop, in seconds: what Kubernetes grants before
/// it kills.
pub const DRAIN_SECONDS: u64 = 30;

/// How long idle connections stay open after that signal, in seconds, so that a request already
/// on its way still arrives.
pub const DRAIN_IDLE_SECONDS: u64 = 2;

/// How far an issuer's clock and ours may differ, in seconds: NTP keeps to far less.
pub const LEEWAY_SECONDS: u64 = 30;

/// The largest leeway, in seconds. More than five minutes is a broken clock.
pub const MAX_LEEWAY_SECONDS: u64 = 300;

/// `Strict-Transport-Security`: a year, in seconds, as RFC 6797 §6.1 shows it.
pub const HSTS: &str = "max-age=31536000";

/// The header that carries the subject unless the route says otherwise.
pub const IDENTITY_HEADER: &str = "x-auth-subject";

/// Worker threads: one for each core that this process may use.
pub fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}
