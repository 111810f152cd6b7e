//! A client's connection as its requests see it.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::time::Instant;

use super::delivery::Deliveries;
use super::portion::Allowance;
use super::told::Told;
use super::tunnel::Tunnel;
use crate::tls::Certificates;
use crate::trust::TrustedProxies;

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Where it is.
    pub address: SocketAddr,
    /// Whether the address is that of a proxy which does not say who is behind it. What is said on
    /// the connection is then not the proxy's word, but anybody's.
    is_hidden: bool,
}

impl Peer {
    /// Whoever has this address.
    pub const fn known(address: SocketAddr) -> Self {
        Self {
            address,
            is_hidden: false,
        }
    }

    /// Somebody that this proxy does not name.
    pub const fn hidden_behind(proxy: SocketAddr) -> Self {
        Self {
            address: proxy,
            is_hidden: true,
        }
    }
}

/// What is known of a client's connection.
pub struct Downstream {
    /// The other end's address.
    pub peer: SocketAddr,
    peer_is_hidden: bool,
    /// What the handshake settled; `None` on the plain listener.
    pub secured: Option<Secured>,
    /// The present, as of the last time that it had its turn.
    pub now: Cell<Instant>,
    /// How many requests are being answered on it.
    pub in_flight: InFlight,
    /// Whether each further answer is the connection's last (HTTP/1).
    pub closing: Cell<bool>,
    /// Whether the body of the request that ended last was not read to its end. What follows on
    /// the connection is then no head, and it cannot go on (HTTP/1).
    pub unread: Cell<bool>,
    /// How many requests ended so. What their clients had sent already is still on its way
    /// (HTTP/2).
    pub abandoned: Cell<u64>,
    /// How many requests their client took back before they were answered whole; none of a proxy
    /// that is trusted, which has many clients.
    pub taken_back: Cell<u64>,
    /// How many bytes of their bodies were thrown away (HTTP/2).
    pub discarded: Cell<u64>,
    /// The answers that are on their way.
    pub deliveries: Deliveries,
    /// What is not HTTP any more, and has nobody yet to run it.
    pub tunnels: Tunnels,
    /// What its answers may hold together, where there are several at once (HTTP/2).
    pub(super) allowance: Option<Allowance>,
    /// What upstreams were told of its requests.
    pub(super) told: Told,
}

/// Tunnels on their way from the request that opened them to whoever runs the connection.
pub struct Tunnels {
    /// `None` once the connection has ended: then nobody will run them.
    waiting: RefCell<Option<Vec<Tunnel>>>,
    waker: RefCell<Option<Waker>>,
}

impl Tunnels {
    /// The next one, if there is one now.
    pub fn take(&self) -> Option<Box<Tunnel>> {
        self.waiting.borrow_mut().as_mut()?.pop().map(Box::new)
    }

    /// The next one.
    pub fn poll_next(&self, cx: &Context<'_>) -> Poll<Box<Tunnel>> {
        match self.take() {
            Some(tunnel) => Poll::Ready(tunnel),
            None => {
                *self.waker.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    pub(super) fn add(&self, tunnel: Tunnel) {
        let mut waiting = self.waiting.borrow_mut();
        let Some(open) = waiting.as_mut() else {
            drop(waiting);
            return tunnel.abandon();
        };
        open.push(tunnel);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// A connection that somebody runs. Each tunnel knows its connection and the connection its
/// tunnels, so when it is over, those that nobody has run are let go, or none of both ever would be.
pub struct Running(Rc<Downstream>);

impl Drop for Running {
    fn drop(&mut self) {
        let left = self.0.tunnels.waiting.borrow_mut().take();
        for tunnel in left.into_iter().flatten() {
            tunnel.abandon();
        }
    }
}

impl Downstream {
    /// A connection that has just begun; what its answers may hold together, where there are
    /// several at once.
    pub fn new(peer: Peer, secured: Option<Secured>, allowance: Option<Allowance>) -> Rc<Self> {
        Rc::new(Self {
            peer: peer.address,
            peer_is_hidden: peer.is_hidden,
            secured,
            now: Cell::new(Instant::now()),
            in_flight: InFlight::default(),
            closing: Cell::new(false),
            unread: Cell::new(false),
            abandoned: Cell::new(0),
            taken_back: Cell::new(0),
            discarded: Cell::new(0),
            deliveries: Deliveries::default(),
            tunnels: Tunnels {
                waiting: RefCell::new(Some(Vec::new())),
                waker: RefCell::default(),
            },
            allowance,
            told: Told::default(),
        })
    }

    /// Whom to believe about clients: these, if the peer is one of them, and else nobody.
    pub(super) fn believed<'t>(&self, trusted: &'t TrustedProxies) -> Option<&'t TrustedProxies> {
        let is_trusted = !self.peer_is_hidden && trusted.contains(self.peer.ip());
        is_trusted.then_some(trusted)
    }

    /// All heads of its answers have been written.
    pub fn heads_written(&self) {
        if let Some(allowance) = &self.allowance {
            allowance.heads_written();
        }
    }

    /// To be held by whoever runs the connection, until its end.
    pub fn run(self: &Rc<Self>) -> Running {
        Running(self.clone())
    }

    /// Notes that a client took a request back.
    pub(super) fn took_back(&self, trusted: &TrustedProxies) {
        if self.believed(trusted).is_none() {
            self.taken_back.set(self.taken_back.get() + 1);
        }
    }

    /// Notes that so much of a body was thrown away.
    pub(super) fn discarded(&self, length: usize) {
        self.discarded.set(self.discarded.get() + length as u64);
    }

    /// Notes how the body of a request ended that is over now.
    pub fn ended(&self, body_was_read: bool) {
        self.unread.set(!body_was_read);
        if !body_was_read {
            self.abandoned.set(self.abandoned.get() + 1);
        }
    }
}

/// What a TLS handshake settled.
#[derive(Debug)]
pub struct Secured {
    /// The name the client asked for, in lower case.
    pub server_name: Option<String>,
    /// The certificates it was chosen from.
    pub certificates: Arc<Certificates>,
}

/// Counts the requests that a connection is busy with.
#[derive(Debug, Clone, Default)]
pub struct InFlight(Rc<Requests>);

#[derive(Debug, Default)]
struct Requests {
    current: Cell<usize>,
    total: Cell<u64>,
}

impl InFlight {
    /// Whether there is none.
    pub fn is_zero(&self) -> bool {
        self.0.current.get() == 0
    }

    /// How many there have been since the connection began.
    pub fn total(&self) -> u64 {
        self.0.total.get()
    }

    /// Counts one that takes no time.
    pub fn pass(&self) {
        self.0.total.set(self.0.total.get() + 1);
    }

    pub(super) fn enter(&self) -> InFlightGuard {
        self.0.current.set(self.0.current.get() + 1);
        self.0.total.set(self.0.total.get() + 1);
        InFlightGuard(self.clone())
    }
}

/// Keeps a request counted until it is dropped.
#[derive(Debug)]
pub(super) struct InFlightGuard(InFlight);

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        let requests = &self.0.0;
        requests.current.set(requests.current.get() - 1);
    }
}
