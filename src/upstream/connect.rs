//! One new connection to a target.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::debug;

use super::Target;
use crate::crypto;
use crate::observe::{Connect, OpenConnection};
use crate::pieces::{Pieces, Share, Surplus};
use crate::socket::Socket;

/// A connection to an upstream. Dropping it closes it at once, whatever is still under way on it.
pub(super) struct Connection<B> {
    /// Takes requests.
    pub(super) sender: SendRequest<B>,
    /// The other end.
    pub(super) address: SocketAddr,
    /// What its answers have of the surplus.
    pub(super) share: Share,
    retire_at: Instant,
    _driver: Driver,
    _held: Held,
}

/// What a connection takes up as long as it lives.
pub(super) struct Held {
    /// One of the target's connections.
    pub(super) _slot: OwnedSemaphorePermit,
    /// One of the process's sockets.
    pub(super) _socket: OwnedSemaphorePermit,
    pub(super) _counted: OpenConnection,
}

/// The task that moves a connection's bytes. It ends with its owner, not when hyper thinks fit:
/// hyper would go on with an upload that has had its answer.
struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name has no addresses.
    #[error("the name does not resolve")]
    Unresolved,
    /// Nobody answered in time.
    #[error("nobody answered in time")]
    TimedOut,
    /// Nobody is there; the last address's error.
    #[error("nobody is there")]
    Refused(#[source] io::Error),
    /// Whoever is there is not to be believed, or does not believe us.
    #[error("no TLS")]
    Tls(#[source] io::Error),
}

impl ConnectError {
    /// The kind, for metrics.
    pub(super) const fn kind(&self) -> Connect {
        match self {
            Self::Unresolved => Connect::Unresolved,
            Self::TimedOut => Connect::Timeout,
            Self::Refused(_) => Connect::Refused,
            Self::Tls(_) => Connect::Tls,
        }
    }
}

impl<B> Connection<B> {
    /// Whether it can take another request now, as far as is known.
    pub(super) fn is_usable(&self, now: Instant) -> bool {
        !self.sender.is_closed() && now < self.retire_at
    }
}

/// Opens a TCP connection to one of these addresses, trying them in this order. Each gets its
/// share of the time that is left, so that a silent one does not use up all of it.
///
/// Those that failed are told to `note_failure`.
///
/// # Errors
/// [`ConnectError`]: that of the last address.
pub(super) async fn open(
    addresses: &[SocketAddr],
    deadline: Instant,
    mut note_failure: impl FnMut(SocketAddr),
) -> Result<(TcpStream, SocketAddr), ConnectError> {
    let mut error = ConnectError::Unresolved;
    for (tried, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        match timeout(
            share.max(LEAST_SHARE).min(left),
            TcpStream::connect(address),
        )
        .await
        {
            Ok(Ok(stream)) => return Ok((stream, *address)),
            Ok(Err(refused)) => error = ConnectError::Refused(refused),
            Err(_) => error = ConnectError::TimedOut,
        }
        note_failure(*address);
    }
    Err(error)
}

/// Starts HTTP/1.1 on an open TCP connection, inside TLS if the target wants it.
///
/// The connection is driven by a task of its own on this worker.
///
/// # Errors
/// [`ConnectError`].
pub(super) async fn start<B>(
    target: &Target,
    (stream, address): (TcpStream, SocketAddr),
    deadline: Instant,
    held: Held,
    surplus: &Surplus,
) -> Result<Connection<B>, ConnectError>
where
    B: http_body::Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + 'static,
{
    // Heads are small and wait for nothing: Nagle's algorithm would only delay them. An upstream
    // that vanishes without a word in the middle of a long answer is found out by the kernel.
    stream.set_nodelay(true).map_err(ConnectError::Refused)?;
    SockRef::from(&stream)
        .set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE_AFTER))
        .map_err(ConnectError::Refused)?;
    let stream = Socket::new(stream);
    let (sender, share, driver) = match target.tls() {
        None => drive(stream, target, surplus).await?,
        Some(tls) => {
            let handshake = timeout_at(deadline, tls.connect(stream)).await;
            let stream = handshake.map_err(|_| ConnectError::TimedOut)?;
            drive(stream.map_err(ConnectError::Tls)?, target, surplus).await?
        }
    };
    Ok(Connection {
        sender,
        address,
        share,
        retire_at: Instant::now() + lifetime(target),
        _driver: driver,
        _held: held,
    })
}

async fn drive<S, B>(
    stream: S,
    target: &Target,
    surplus: &Surplus,
) -> Result<(SendRequest<B>, Share, Driver), ConnectError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    B: http_body::Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + 'static,
{
    let pieces = Pieces::of(stream, BUFFER_BYTES);
    let (pieces, share) = pieces.growing_to(&LARGER_BUFFERS, surplus);
    let (sender, connection) = http1::Builder::new()
        .max_header_size(MAX_HEAD_BYTES)
        .max_buf_size(LARGER_BUFFERS[0])
        .handshake(TokioIo::new(pieces))
        .await
        .map_err(|error| ConnectError::Refused(io::Error::other(error)))?;
    let name = target.name().clone();
    let driver = tokio::task::spawn_local(async move {
        if let Err(error) = connection.with_upgrades().await {
            debug!(upstream = &*name, %error, "upstream connection ended");
        }
    });
    Ok((sender, share, Driver(driver.abort_handle())))
}

/// What an address gets at least of the time there is: one on the other side of the world.
const LEAST_SHARE: Duration = Duration::from_secs(1);

/// How long a connection is silent before the kernel asks whether anybody is there.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);

/// How much of an answer is read at once: usually, and where there is memory to spare, the largest
/// first.
const BUFFER_BYTES: usize = 32 * 1024;
const LARGER_BUFFERS: [usize; 2] = [512 * 1024, 128 * 1024];

/// The largest head of an answer.
const MAX_HEAD_BYTES: usize = 32 * 1024;

/// How old a connection may become: the setting, less or more by up to a tenth, so that
/// connections that began together do not end together.
fn lifetime(target: &Target) -> Duration {
    let tenths = f64::from(u16::from_ne_bytes(crypto::random())) / f64::from(u16::MAX);
    target.settings().max_age.mul_f64(0.9 + tenths / 5.0)
}
