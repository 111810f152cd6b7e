//! How a pool comes to a new connection: one address after the other, until somebody is there.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Body;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::debug;

use super::Target;
use super::connect::{ConnectError, Connection, Held, open, share_of};
use super::pool::{Obtained, Pool, SendError, Stage};
use super::target::Resolution;
use crate::observe::{Connect, OpenConnection, with_causes};

impl<B> Pool<B>
where
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + 'static,
{
    /// A new connection to one of the target's addresses. Those that fail come last for a while.
    pub(super) async fn connect(
        self: &Rc<Self>,
        target: &Arc<Target>,
        held: Held,
        stage: &Cell<Stage>,
    ) -> Result<Obtained<B>, SendError> {
        stage.set(Stage::Connecting);
        let deadline = Instant::now() + target.settings().connect_timeout;
        let mut error = ConnectError::Unresolved;
        let addresses = self.addresses(target, deadline).await;
        for (tried, address) in addresses.iter().enumerate() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let share = share_of(left, addresses.len() - tried);
            let attempt = Attempt::begin(self, target, *address);
            let opened = timeout(share, open(target, *address, &self.surplus)).await;
            match opened.unwrap_or(Err(ConnectError::TimedOut)) {
                Ok(opened) => {
                    let counted = attempt.succeeded();
                    let connection = Connection::new(opened, *address, target, held, counted);
                    return Ok(Obtained {
                        connection: Box::new(connection),
                        is_used: false,
                    });
                }
                Err(failure) => {
                    attempt.failed(&failure);
                    error = failure;
                }
            }
        }
        if addresses.is_empty() {
            self.with_shelf(target, |shelf| shelf.metrics.count_connect(error.kind()));
        }
        Err(SendError::Unreachable(error))
    }

    /// The addresses in the order in which to try them; waits for the first look-up of a name.
    async fn addresses(&self, target: &Arc<Target>, deadline: Instant) -> Vec<SocketAddr> {
        let mut known = self.with_shelf(target, |shelf| shelf.addresses.watch());
        let first = known.wait_for(|known| *known != Resolution::Pending);
        // Without an answer there are none; if there is nobody left to look it up, there will be
        // none.
        let _ = timeout_at(deadline, first).await;
        self.with_shelf(target, |shelf| shelf.addresses.in_turn(target.next_turn()))
    }
}

/// An attempt to connect to an address. One that is given up, as nobody wants it any more, has
/// failed if it has had its time.
struct Attempt<'p, B> {
    pool: &'p Pool<B>,
    target: &'p Arc<Target>,
    address: SocketAddr,
    begun: Instant,
    is_told: bool,
}

impl<'p, B> Attempt<'p, B> {
    fn begin(pool: &'p Pool<B>, target: &'p Arc<Target>, address: SocketAddr) -> Self {
        Self {
            pool,
            target,
            address,
            begun: Instant::now(),
            is_told: false,
        }
    }

    fn succeeded(mut self) -> OpenConnection {
        self.is_told = true;
        self.pool.with_shelf(self.target, |shelf| {
            shelf.addresses.note_success(self.address);
            shelf.metrics.count_connect(Connect::Ok);
            shelf.metrics.open_connection()
        })
    }

    fn failed(mut self, error: &ConnectError) {
        self.is_told = true;
        self.tell(error);
    }

    fn tell(&self, error: &ConnectError) {
        let (upstream, address) = (&**self.target.name(), self.address);
        debug!(upstream, %address, error = %with_causes(error), "cannot connect");
        self.pool.with_shelf(self.target, |shelf| {
            shelf.addresses.note_failure(address);
            shelf.metrics.count_connect(error.kind());
        });
    }
}

impl<B> Drop for Attempt<'_, B> {
    fn drop(&mut self) {
        if !self.is_told && self.begun.elapsed() >= PATIENCE {
            self.tell(&ConnectError::TimedOut);
        }
    }
}

/// What is not there by then was worth giving up.
const PATIENCE: Duration = Duration::from_secs(1);
