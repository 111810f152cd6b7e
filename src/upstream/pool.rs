//! One worker's upstream connections, kept alive between requests.
//!
//! A connection is lent to one request at a time and comes back only when both messages on it
//! are complete ([`Lease::give_back`]); a lease that is dropped closes it. So an answer can never
//! reach anybody but the one who asked. The connection used last is used next, and the rest may
//! grow old and go.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use tokio::time::{Instant, interval};

use super::TargetUrl;
use super::connect::{Connection, connect};
use crate::policy::Permit;

/// The idle connections of one worker.
pub struct Pool<B> {
    idle: RefCell<HashMap<Arc<TargetUrl>, Vec<Idle<B>>>>,
    connect_timeout: Duration,
}

struct Idle<B> {
    connection: Connection<B>,
    since: Instant,
}

/// A connection lent to one request.
pub struct Lease<B> {
    connection: Connection<B>,
    target: Arc<TargetUrl>,
    pool: Weak<Pool<B>>,
}

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// No connection could be made; the request was not sent.
    #[error("cannot connect to the upstream")]
    Unreachable(#[source] io::Error),
    /// The connection broke, or what came back is no HTTP; the request may have been seen.
    #[error("the upstream broke off")]
    Broken(#[source] hyper::Error),
}

impl<B> Pool<B>
where
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + 'static,
{
    /// An empty pool. Must be called on the worker's runtime, where it also removes what has
    /// been idle for too long.
    pub fn new(connect_timeout: Duration) -> Rc<Self> {
        let pool = Rc::new(Self {
            idle: RefCell::default(),
            connect_timeout,
        });
        tokio::task::spawn_local(sweep(Rc::downgrade(&pool)));
        pool
    }

    /// Sends a request and waits for the answer's head. The permit is the proof that it may go.
    ///
    /// A kept connection may have been closed by the upstream without our knowing yet. When
    /// hyper then hands the request back untouched, it goes out once more, on a new connection;
    /// one of which a byte was sent never does, whatever its method.
    ///
    /// # Errors
    /// [`SendError`].
    ///
    /// # Cancellation
    /// Dropping the future closes the connection, and with it what the upstream was doing.
    pub async fn send(
        self: &Rc<Self>,
        _permit: &Permit,
        target: &Arc<TargetUrl>,
        mut request: Request<B>,
    ) -> Result<(Response<Incoming>, Lease<B>), SendError> {
        if let Some(mut kept) = self.checkout(target) {
            match kept.sender.try_send_request(request).await {
                Ok(response) => return Ok((response, self.lease(kept, target))),
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(SendError::Broken(error.into_error())),
                },
            }
        }
        let mut fresh = connect(target, self.connect_timeout)
            .await
            .map_err(SendError::Unreachable)?;
        let response = fresh
            .sender
            .send_request(request)
            .await
            .map_err(SendError::Broken)?;
        Ok((response, self.lease(fresh, target)))
    }

    fn lease(self: &Rc<Self>, connection: Connection<B>, target: &Arc<TargetUrl>) -> Lease<B> {
        Lease {
            connection,
            target: target.clone(),
            pool: Rc::downgrade(self),
        }
    }

    fn checkout(&self, target: &Arc<TargetUrl>) -> Option<Connection<B>> {
        let mut idle = self.idle.borrow_mut();
        let kept = idle.get_mut(target)?;
        while let Some(idle) = kept.pop() {
            if idle.is_usable() && idle.connection.sender.is_ready() {
                return Some(idle.connection);
            }
        }
        None
    }
}

impl<B> Idle<B> {
    fn is_usable(&self) -> bool {
        !self.connection.sender.is_closed() && self.since.elapsed() < KEEPALIVE
    }
}

impl<B> Lease<B> {
    /// Hands the connection back for the next request.
    ///
    /// Only for when the request and its answer are complete. A connection that the upstream
    /// wants closed is dropped here, not kept.
    pub fn give_back(self) {
        let Some(pool) = self.pool.upgrade() else {
            return;
        };
        if self.connection.sender.is_closed() {
            return;
        }
        let idle = Idle {
            connection: self.connection,
            since: Instant::now(),
        };
        pool.idle
            .borrow_mut()
            .entry(self.target)
            .or_default()
            .push(idle);
    }
}

/// Closes what has been idle for too long, until the pool is gone.
async fn sweep<B>(pool: Weak<Pool<B>>) {
    let mut tick = interval(SWEEP_EVERY);
    loop {
        tick.tick().await;
        let Some(pool) = pool.upgrade() else { return };
        pool.idle.borrow_mut().retain(|_, connections| {
            connections.retain(Idle::is_usable);
            !connections.is_empty()
        });
    }
}

/// How long a connection is kept without a request. Below the 5 s after which Apache, Node and
/// gunicorn close theirs: whoever closes first loses no request, and it had better be us.
const KEEPALIVE: Duration = Duration::from_secs(4);

/// How often idle connections are looked through.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
