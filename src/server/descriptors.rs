//! File descriptors: as many as the system grants, and never the last one for a client.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::debug;

/// How many sockets there are for clients and upstreams together, with so many workers; `None` if
/// there is no limit.
///
/// Raises the limit of this process as far as the system allows. Reading keys, resolving names and
/// answering the operator need some, too.
pub(super) fn room(workers: usize) -> Option<usize> {
    let reserved = RESERVED + FOR_EACH_WORKER * workers as u64;
    let usable = raise()?.saturating_sub(reserved);
    Some(usize::try_from(usable).unwrap_or(usize::MAX))
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

/// For log, operator, files and name servers.
const RESERVED: u64 = 64;

/// For a worker's runtime and its listeners.
const FOR_EACH_WORKER: u64 = 8;
