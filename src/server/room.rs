//! How many connections there is room for, on either side.

use tokio::sync::Semaphore;
use tracing::{info, warn};

use super::descriptors;
use super::memory::Memory;

/// How many sockets each side gets.
pub(super) struct Room {
    /// For clients. Those that do not fit wait in the kernel's queue, where they cost nothing.
    pub(super) clients: usize,
    /// For upstreams. A client of HTTP/2 may bring a hundred requests at once.
    pub(super) upstreams: usize,
    /// What a client of HTTP/2 may make us hold each way, in bytes.
    pub(super) each_way: usize,
}

/// Divides what there is: each connection from a client may need another one to an upstream, and
/// as much memory as both take when nobody reads.
pub(super) fn room_for(connections: usize, workers: usize, memory: Memory) -> Room {
    let sockets = descriptors::room(workers).unwrap_or(usize::MAX);
    let by_descriptors = (sockets / 2).max(1);
    let clients = connections.min(by_descriptors).min(memory.clients());
    // What is reserved may well come out of what the defaults ask for; nobody has to act on that.
    if by_descriptors < connections - connections / 10 {
        warn!(
            sockets,
            connections,
            room = clients,
            "the limit of file descriptors leaves room for fewer connections than [limits] connections; raise it (LimitNOFILE=, ulimit -n)"
        );
    }
    if memory.clients() < connections {
        info!(
            connections,
            room = clients,
            "the memory this process may use leaves room for fewer connections than [limits] connections"
        );
    }
    let upstreams = (sockets - sockets.min(clients)).min(memory.upstreams());
    Room {
        each_way: memory.each_way(clients),
        clients,
        upstreams: upstreams.clamp(1, Semaphore::MAX_PERMITS),
    }
}
