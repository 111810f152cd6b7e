//! A client's connection as its requests see it.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use crate::tls::Certificates;

/// What is known of a client's connection.
#[derive(Debug)]
pub struct Downstream {
    /// The client's address.
    pub peer: SocketAddr,
    /// What the handshake settled; `None` on the plain listener.
    pub secured: Option<Secured>,
    /// How many requests are being answered on it.
    pub in_flight: InFlight,
    /// Whether each further answer is the connection's last (HTTP/1).
    pub closing: Cell<bool>,
    /// Whether the body of the request that ended last was not read to its end. What follows on
    /// the connection is then no head, and it cannot go on (HTTP/1).
    pub unread: Cell<bool>,
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
