//! Which of a target's addresses is connected to next, as one worker sees it.
//!
//! All of them in turn, of all workers together, so that none is left out; those that just failed
//! come last, so that one dead address costs one request its patience and not every second one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::Target;
use super::target::Resolution;

/// One worker's view of a target's addresses.
pub(super) struct Addresses {
    known: watch::Receiver<Resolution>,
    /// What is known, as of the last look; `None` before the first.
    current: Option<Arc<[SocketAddr]>>,
    failed: Vec<(SocketAddr, Instant)>,
}

impl Addresses {
    pub(super) fn of(target: &Target) -> Self {
        let mut known = target.addresses();
        known.mark_changed();
        Self {
            known,
            current: None,
            failed: Vec::new(),
        }
    }

    /// What is known, as it changes.
    pub(super) fn watch(&self) -> watch::Receiver<Resolution> {
        self.known.clone()
    }

    /// All addresses in the order in which to try them, beginning with the one whose turn it is.
    pub(super) fn in_turn(&mut self, turn: usize) -> Vec<SocketAddr> {
        let mut order = match &*self.known.borrow() {
            Resolution::Known(addresses) => addresses.to_vec(),
            Resolution::Pending | Resolution::Failed => return Vec::new(),
        };
        let first = turn % order.len();
        order.rotate_left(first);
        self.failed.retain(|(_, at)| at.elapsed() < SHUNNED_FOR);
        // Stable, so that the good ones keep their turn.
        order.sort_by_key(|address| self.has_failed(*address));
        order
    }

    /// Nobody answered at this address.
    pub(super) fn note_failure(&mut self, address: SocketAddr) {
        self.failed.retain(|(failed, _)| *failed != address);
        self.failed.push((address, Instant::now()));
    }

    /// Somebody did.
    pub(super) fn note_success(&mut self, address: SocketAddr) {
        self.failed.retain(|(failed, _)| *failed != address);
    }

    fn has_failed(&self, address: SocketAddr) -> bool {
        self.failed.iter().any(|(failed, _)| *failed == address)
    }

    /// Whether this is one of the target's addresses now: it may have moved.
    pub(super) fn include(&mut self, address: SocketAddr) -> bool {
        // An atomic load, as long as nothing has changed.
        if self.known.has_changed().unwrap_or(false)
            && let Resolution::Known(addresses) = &*self.known.borrow_and_update()
        {
            self.current = Some(addresses.clone());
        }
        self.current
            .as_ref()
            .is_none_or(|current| current.contains(&address))
    }
}

/// How long an address that did not answer comes last.
const SHUNNED_FOR: Duration = Duration::from_secs(10);
