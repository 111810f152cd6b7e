//! One worker's connections to one target: those that wait for a request, and the requests that
//! wait for one.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Target;
use super::addresses::Addresses;
use super::connect::Connection;
use crate::observe::UpstreamMetrics;

/// The connections.
pub(super) struct Shelf<B> {
    pub(super) target: Arc<Target>,
    pub(super) addresses: Addresses,
    pub(super) metrics: UpstreamMetrics,
    idle: Vec<Idle<B>>,
    waiters: VecDeque<oneshot::Sender<Box<Connection<B>>>>,
    /// How many wait here: [`Slots`](super::Slots) counts them, too, for as long as they do.
    waiting: Rc<Cell<usize>>,
    /// Whether the last connection was closed for the sake of another worker.
    is_others_turn: bool,
}

/// One request that waits here.
pub(super) struct WaitingHere(Rc<Cell<usize>>);

impl Drop for WaitingHere {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

struct Idle<B> {
    connection: Box<Connection<B>>,
    since: Instant,
}

impl<B> Shelf<B> {
    pub(super) fn new(target: Arc<Target>, metrics: UpstreamMetrics) -> Self {
        Self {
            addresses: Addresses::of(&target),
            target,
            metrics,
            idle: Vec::new(),
            waiters: VecDeque::new(),
            waiting: Rc::default(),
            is_others_turn: false,
        }
    }

    /// The connection that was used last, if it can be used again.
    pub(super) fn take(&mut self, now: Instant) -> Option<Box<Connection<B>>> {
        let keepalive = self.target.settings().keepalive;
        while let Some(idle) = self.idle.pop() {
            if now.duration_since(idle.since) < keepalive
                && idle.connection.is_usable(now)
                && self.addresses.include(idle.connection.address)
                && idle.connection.sender.is_ready()
            {
                return Some(idle.connection);
            }
        }
        None
    }

    /// Gives a connection to the one who has waited longest here, or keeps it. It is closed where
    /// it is too old, or its upstream has moved; and every second time where requests of other
    /// workers wait as well, so that its slot goes to whoever has waited longest of all.
    ///
    /// Nothing is kept idle while sockets `are_scarce`.
    pub(super) fn put(
        &mut self,
        mut connection: Box<Connection<B>>,
        now: Instant,
        are_scarce: bool,
    ) {
        if !connection.is_usable(now) || !self.addresses.include(connection.address) {
            return;
        }
        let others_wait = self.target.slots().waiting() > self.waiting.get();
        self.is_others_turn = others_wait && !self.is_others_turn;
        if self.is_others_turn {
            return;
        }
        while let Some(waiter) = self.waiters.pop_front() {
            match waiter.send(connection) {
                Ok(()) => return,
                Err(unwanted) => connection = unwanted,
            }
        }
        if !others_wait && !are_scarce && !self.target.is_retired() {
            self.idle.push(Idle {
                connection,
                since: now,
            });
        }
    }

    /// Waits for what is [put](Self::put).
    pub(super) fn wait(&mut self) -> (oneshot::Receiver<Box<Connection<B>>>, WaitingHere) {
        let (give, given) = oneshot::channel();
        self.waiters.retain(|waiter| !waiter.is_closed());
        self.waiters.push_back(give);
        self.waiting.set(self.waiting.get() + 1);
        (given, WaitingHere(self.waiting.clone()))
    }

    /// Closes what is of no use any more, or of more use to another worker or, up to `wanted`,
    /// to another target. Returns how many of these there were.
    pub(super) fn tidy(&mut self, wanted: usize) -> usize {
        let closed = wanted
            .max(self.target.slots().waiting())
            .min(self.idle.len());
        self.idle.drain(..closed);
        let (keepalive, now) = (self.target.settings().keepalive, Instant::now());
        self.idle.retain(|idle| {
            now.duration_since(idle.since) < keepalive && idle.connection.is_usable(now)
        });
        if self.target.is_retired() {
            self.idle.clear();
        }
        self.waiters.retain(|waiter| !waiter.is_closed());
        closed
    }

    /// Whether nobody will ask for the target any more, and nothing is left of it here.
    pub(super) fn is_forgotten(&self) -> bool {
        self.target.is_retired() && self.idle.is_empty() && self.waiters.is_empty()
    }
}
