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
use tokio::time::Instant;
use tracing::debug;

use super::Target;
use super::last_words::LastWords;
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
    held: Held,
    _counted: OpenConnection,
}

/// What a connection takes up as long as it lives.
pub(super) struct Held {
    /// One of the target's connections.
    pub(super) _slot: OwnedSemaphorePermit,
    /// One of the process's sockets.
    pub(super) _socket: OwnedSemaphorePermit,
}

/// A connection as hyper has it, of which nothing is counted yet.
pub(super) struct Opened<B> {
    sender: SendRequest<B>,
    share: Share,
    driver: Driver,
}

/// A TCP connection to an upstream.
pub(super) type Tcp = LastWords<Socket<TcpStream>>;

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
    /// This one, which takes up what is `held`.
    pub(super) fn new(
        opened: Opened<B>,
        address: SocketAddr,
        target: &Target,
        held: Held,
        counted: OpenConnection,
    ) -> Self {
        Self {
            sender: opened.sender,
            address,
            share: opened.share,
            retire_at: Instant::now() + lifetime(target),
            _driver: opened.driver,
            held,
            _counted: counted,
        }
    }

    /// Whether it can take another request now, as far as is known.
    pub(super) fn is_usable(&self, now: Instant) -> bool {
        !self.sender.is_closed() && now < self.retire_at
    }

    /// Closes it, and leaves what it took up to another one.
    pub(super) fn make_room(self) -> Held {
        self.held
    }
}

/// How much of the time that is `left` the next of so many addresses gets: the same as the others,
/// but enough for one on the other side of the world; and if that is silent, something is left for
/// the others all the same.
pub(super) fn share_of(left: Duration, addresses: usize) -> Duration {
    match u32::try_from(addresses) {
        Ok(0 | 1) => left,
        Ok(count) => (left / count).max(LEAST_SHARE).min(left / 2),
        Err(_) => Duration::ZERO,
    }
}

/// Opens a TCP connection to this address and starts HTTP/1.1 on it, inside TLS if the target
/// wants it.
///
/// The connection is driven by a task of its own on this worker.
///
/// # Errors
/// [`ConnectError`].
pub(super) async fn open<B>(
    target: &Target,
    address: SocketAddr,
    surplus: &Surplus,
) -> Result<Opened<B>, ConnectError>
where
    B: http_body::Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + 'static,
{
    let stream = TcpStream::connect(address);
    let stream = stream.await.map_err(ConnectError::Refused)?;
    // Heads are small and wait for nothing: Nagle's algorithm would only delay them. An upstream
    // that vanishes without a word in the middle of a long answer is found out by the kernel.
    stream.set_nodelay(true).map_err(ConnectError::Refused)?;
    SockRef::from(&stream)
        .set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE_AFTER))
        .map_err(ConnectError::Refused)?;
    let stream: Tcp = LastWords::new(Socket::new(stream));
    match target.tls() {
        None => drive(stream, target, surplus).await,
        Some(tls) => {
            let stream = tls.connect(stream).await.map_err(ConnectError::Tls)?;
            drive(stream, target, surplus).await
        }
    }
}

async fn drive<S, B>(
    stream: S,
    target: &Target,
    surplus: &Surplus,
) -> Result<Opened<B>, ConnectError>
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
    Ok(Opened {
        sender,
        share,
        driver: Driver(driver.abort_handle()),
    })
}

/// What an address gets at least, as long as half of the time is left.
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
    let part = f64::from(u16::from_ne_bytes(crypto::random())) / f64::from(u16::MAX);
    target.settings().max_age.mul_f64(0.9 + part / 5.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silent_addresses_leave_time_for_the_next() {
        let shares = |all: u64, count| {
            let mut left = Duration::from_millis(all);
            let share = |remaining| {
                let share = share_of(left, remaining);
                left -= share;
                share.as_millis()
            };
            (1..=count).rev().map(share).collect::<Vec<_>>()
        };
        assert_eq!(shares(5000, 1), [5000]);
        assert_eq!(shares(5000, 2), [2500, 2500]);
        assert_eq!(shares(1000, 2), [500, 500]);
        assert_eq!(
            shares(5000, 8),
            [1000, 1000, 1000, 1000, 500, 250, 125, 125]
        );
    }
}
