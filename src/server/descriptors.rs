//! File descriptors: as many as the system grants, and never the last one for a client.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{debug, warn};

/// Raises the limit of this process as far as the system allows, and tells how many connections
/// from clients fit: each may need another one to an upstream, and reading keys, resolving names
/// and answering the operator need some, too.
///
/// Those that do not fit wait in the kernel's queue, where they cost no descriptor.
pub(super) fn room_for(connections: usize) -> usize {
    let Some(limit) = raise() else {
        return connections;
    };
    let room = usize::try_from(limit.saturating_sub(RESERVED) / 2).unwrap_or(usize::MAX);
    if room >= connections {
        return connections;
    }
    let room = room.max(1);
    warn!(
        limit,
        connections,
        room,
        "the limit of file descriptors leaves room for fewer connections than [limits] connections; raise it (LimitNOFILE=, ulimit -n)"
    );
    room
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
