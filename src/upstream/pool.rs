//! One worker's upstream connections, kept alive between requests.
//!
//! A connection is lent to one request at a time and comes back only when both messages on it
//! are complete ([`Lease::give_back`]); a lease that is dropped closes it. So an answer can never
//! reach anybody but the one who asked. The connection used last is used next, and the rest may
//! grow old and go.
//!
//! Connections are each worker's own; how many there may be is counted for the whole process. A
//! request for which there is none left waits, first come, first served, until one is handed back
//! or closed; connections that nobody uses are closed for it, whatever their target.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::upgrade::Upgraded;
use rustc_hash::FxHashMap;
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::task::yield_now;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::Target;
use super::connect::{ConnectError, Connection, Held};
use super::shelf::Shelf;
use super::slots::Slots;
use super::switched::{self, Duplex};
use crate::observe::Metrics;
use crate::pieces::{Grant, Surplus};
use crate::policy::Permit;

/// The connections of one worker.
pub struct Pool<B> {
    /// By the target's address in memory, which the shelf keeps from being used again.
    shelves: RefCell<FxHashMap<usize, Shelf<B>>>,
    /// Told when another worker waits for a connection that we may have and not use.
    wanted: Arc<Notify>,
    /// What all pools of the process may have open, whatever their targets allow.
    sockets: Arc<Slots>,
    pub(super) surplus: Surplus,
    metrics: Arc<Metrics>,
}

/// A connection lent to one request.
pub struct Lease<B> {
    connection: Box<Connection<B>>,
    target: Arc<Target>,
    pool: Weak<Pool<B>>,
}

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// All connections are in use, and too many requests wait for one, or this one has waited for
    /// too long; or there are no sockets left. It was not sent.
    #[error("all connections to the upstream are in use")]
    Overloaded,
    /// No connection could be made; the request was not sent.
    #[error("cannot connect to the upstream")]
    Unreachable(#[source] ConnectError),
    /// The connection broke, or what came back is no HTTP; the request may have been seen.
    #[error("the upstream broke off")]
    Broken(#[source] hyper::Error),
}

impl SendError {
    /// Whether the upstream would have none of our TLS: of TLS 1.3 that is heard after the
    /// handshake only.
    pub fn is_about_tls(&self) -> bool {
        match self {
            Self::Broken(error) => super::tls::is_alert(error),
            Self::Unreachable(error) => matches!(error, ConnectError::Tls(_)),
            Self::Overloaded => false,
        }
    }
}

/// How far a request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// All connections are in use.
    Waiting,
    /// A connection is being made.
    Connecting,
    /// It is on its way, or was.
    Sent,
}

/// A connection for a request.
pub(super) struct Obtained<B> {
    pub(super) connection: Box<Connection<B>>,
    /// Whether it has had others. It may have gone without our knowing yet.
    pub(super) is_used: bool,
}

/// What a request that waits may get.
enum Waited<B> {
    Connection(Box<Connection<B>>),
    Slot(OwnedSemaphorePermit),
}

impl<B> Pool<B>
where
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + 'static,
{
    /// An empty pool, which takes sockets and memory out of what all workers share. Must be called
    /// on the worker's runtime, where it also closes what has been idle for too long.
    pub fn new(metrics: Arc<Metrics>, sockets: Arc<Slots>, surplus: Surplus) -> Rc<Self> {
        let wanted = Arc::new(Notify::new());
        sockets.add_idler(&wanted);
        let pool = Rc::new(Self {
            shelves: RefCell::default(),
            wanted,
            sockets,
            surplus,
            metrics,
        });
        tokio::task::spawn_local(tidy(Rc::downgrade(&pool), pool.wanted.clone()));
        pool
    }

    /// Sends a request and waits for the answer's head. The permit is the proof that it may go.
    ///
    /// A kept connection may have been closed by the upstream without our knowing yet. When
    /// hyper then hands the request back untouched, it goes out once more, on a new connection in
    /// its place; one of which a byte was sent never does, whatever its method.
    ///
    /// The request comes in a box, for a future keeps the room for what it was given. `stage` tells
    /// how far it has come, should nobody wait for the end.
    ///
    /// # Errors
    /// [`SendError`].
    ///
    /// # Cancellation
    /// Dropping the future closes the connection, and with it what the upstream was doing.
    pub async fn send(
        self: &Rc<Self>,
        _permit: &Permit,
        target: &Arc<Target>,
        mut request: Box<Request<B>>,
        now: Instant,
        stage: &Cell<Stage>,
    ) -> Result<(Response<Incoming>, Lease<B>), SendError> {
        let mut current = match self.with_shelf(target, |shelf| shelf.take(now)) {
            Some(connection) => Obtained {
                connection,
                is_used: true,
            },
            None => self.obtain(target, stage).await?,
        };
        loop {
            stage.set(Stage::Sent);
            // In one statement: what is left of the outcome is not kept for what comes after it.
            request = match current.connection.sender.try_send_request(*request).await {
                Ok(response) => return Ok((response, self.lease(current.connection, target))),
                Err(mut error) => match error.take_message() {
                    Some(unsent) if current.is_used => Box::new(unsent),
                    Some(_) | None => return Err(SendError::Broken(error.into_error())),
                },
            };
            self.metrics.count_upstream_retry();
            // In its place: there may be room for one only.
            let held = current.connection.make_room();
            // In a box, because it is rare and would make every request's future twice as large.
            current = Box::pin(self.connect(target, held, stage)).await?;
        }
    }

    /// A connection that is ours alone: a new one, or one that somebody hands on while we wait.
    ///
    /// Boxed for the same reason.
    fn obtain<'a>(
        self: &'a Rc<Self>,
        target: &'a Arc<Target>,
        stage: &'a Cell<Stage>,
    ) -> Pin<Box<dyn Future<Output = Result<Obtained<B>, SendError>> + 'a>> {
        Box::pin(async move {
            let slot = match target.slots().try_take() {
                Some(slot) => slot,
                None => match self.wait(target).await? {
                    Waited::Slot(slot) => slot,
                    Waited::Connection(connection) => {
                        // It has just had an answer. What comes behind that, or the upstream's
                        // end of the connection, has to be seen before it is anybody else's.
                        yield_now().await;
                        if connection.is_usable(Instant::now()) && connection.sender.is_ready() {
                            return Ok(Obtained {
                                connection,
                                is_used: true,
                            });
                        }
                        return self.connect(target, connection.make_room(), stage).await;
                    }
                },
            };
            let socket = match self.sockets.try_take() {
                Some(socket) => socket,
                None => self.wait_for_socket(target.settings().wait).await?,
            };
            let held = Held {
                _slot: slot,
                _socket: socket,
            };
            self.connect(target, held, stage).await
        })
    }

    /// A socket of those that all targets share. Connections that nobody uses give way.
    async fn wait_for_socket(&self, within: Duration) -> Result<OwnedSemaphorePermit, SendError> {
        let begun = Instant::now();
        let _waiting = self.sockets.join_queue().ok_or(SendError::Overloaded)?;
        let socket = timeout(within, self.sockets.take()).await;
        self.metrics.observe_upstream_wait(begun.elapsed());
        socket.ok().flatten().ok_or(SendError::Overloaded)
    }

    async fn wait(&self, target: &Arc<Target>) -> Result<Waited<B>, SendError> {
        let begun = Instant::now();
        let _waiting = target.slots().join_queue().ok_or(SendError::Overloaded)?;
        let (handed, _waiting_here) = self.with_shelf(target, Shelf::wait);
        let slot = target.slots().take();
        let obtained = timeout(target.settings().wait, async {
            tokio::select! {
                biased;
                Ok(connection) = handed => Some(Waited::Connection(connection)),
                Some(slot) = slot => Some(Waited::Slot(slot)),
                else => None,
            }
        })
        .await;
        self.metrics.observe_upstream_wait(begun.elapsed());
        obtained.ok().flatten().ok_or(SendError::Overloaded)
    }

    fn lease(self: &Rc<Self>, connection: Box<Connection<B>>, target: &Arc<Target>) -> Lease<B> {
        Lease {
            connection,
            target: target.clone(),
            pool: Rc::downgrade(self),
        }
    }
}

impl<B> Pool<B> {
    pub(super) fn with_shelf<R>(
        &self,
        target: &Arc<Target>,
        act: impl FnOnce(&mut Shelf<B>) -> R,
    ) -> R {
        let mut shelves = self.shelves.borrow_mut();
        let shelf = shelves
            .entry(Arc::as_ptr(target).addr())
            .or_insert_with(|| {
                target.slots().add_idler(&self.wanted);
                Shelf::new(target.clone(), self.metrics.upstream(target.name()))
            });
        act(shelf)
    }
}

impl<B> Lease<B>
where
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + 'static,
{
    /// What to hold as long as there is something of what came last of the answer, where the
    /// connection's buffer has become large.
    pub fn for_piece(&self) -> Option<Grant> {
        self.connection.share.for_piece()
    }

    /// The connection is used for something else than HTTP from now on: its stream, and what came
    /// behind the upstream's 101, with what to hold as long as there is something of that.
    pub fn switched(&self, upgraded: Upgraded) -> Option<(Box<dyn Duplex>, Bytes, Option<Grant>)> {
        let (stream, unread) = switched::apart(upgraded)?;
        let grant = self.for_piece();
        self.connection.share.let_all_go();
        Some((stream, unread, grant))
    }

    /// Hands the connection back for the next request.
    ///
    /// Only for when the request and its answer are complete, and all that has come of it was
    /// handed on. A connection that the upstream wants closed, or that has more memory than it is
    /// worth, is dropped here, not kept.
    pub fn give_back(self, now: Instant) {
        if let Some(pool) = self.pool.upgrade()
            && self.connection.share.rest()
        {
            let are_scarce = pool.sockets.waiting() > 0;
            pool.with_shelf(&self.target, |shelf| {
                shelf.put(self.connection, now, are_scarce);
            });
        }
    }
}

/// Closes what is of no use, now and then and whenever it is wanted elsewhere, until the pool is
/// gone.
async fn tidy<B>(pool: Weak<Pool<B>>, wanted: Arc<Notify>) {
    let mut tick = interval(TIDY_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = wanted.notified() => {}
        }
        let Some(pool) = pool.upgrade() else { return };
        let mut wanted = pool.sockets.waiting();
        pool.shelves.borrow_mut().retain(|_, shelf| {
            wanted -= shelf.tidy(wanted).min(wanted);
            !shelf.is_forgotten()
        });
    }
}

/// How often idle connections are looked through.
const TIDY_EVERY: Duration = Duration::from_secs(1);
