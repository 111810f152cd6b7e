//! File descriptors: as many as the system grants, and never the last one for a client.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::Semaphore;
use tracing::{debug, warn};

/// How many sockets each side gets.
pub(super) struct Room {
    /// For clients. Those that do not fit wait in the kernel's queue, where they cost no descriptor.
    pub(super) clients: usize,
    /// For upstreams. A client of HTTP/2 may bring a hundred requests at once.
    pub(super) upstreams: usize,
}

/// Raises the limit of this process as far as the system allows, and divides what there is: each
/// connection from a client may need another one to an upstream, and reading keys, resolving names
/// and answering the operator need some, too.
pub(super) fn room_for(connections: usize) -> Room {
    let Some(limit) = raise() else {
        return Room {
            clients: connections,
            upstreams: Semaphore::MAX_PERMITS,
        };
    };
    let usable = usize::try_from(limit.saturating_sub(RESERVED)).unwrap_or(usize::MAX);
    let clients = connections.min(usable / 2).max(1);
    // What is reserved may well come out of what the defaults ask for; nobody has to act on that.
    if clients < connections - connections / 10 {
        warn!(
            limit,
            connections,
            room = clients,
            "the limit of file descriptors leaves room for fewer connections than [limits] connections; raise it (LimitNOFILE=, ulimit -n)"
        );
    }
    Room {
        clients,
        upstreams: (usable - usable.min(clients)).clamp(1, Semaphore::MAX_PERMITS),
    }
}

/// The limit in force; `None` if there is none.
fn raise() -> Option<u64> {
    let limits = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limits.maximum,
        maximum: limits.maximum,
    };
    if limits.current == limits.maximum || setrlimit(Resource::Nofile, raised).is_ok() {
        return limits.maximum;
    }
    debug!("the limit of file descriptors cannot be raised");
    limits.current
}

/// For listeners, runtimes, log, operator, files and name servers.
const RESERVED: u64 = 64;
