//! One new connection to a target.

use std::io;
use std::time::Duration;

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, lookup_host};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tracing::debug;

use super::TargetUrl;

/// A connection to an upstream. Dropping it closes it at once, whatever is still under way on it.
pub(super) struct Connection<B> {
    /// Takes requests.
    pub(super) sender: SendRequest<B>,
    _driver: Driver,
}

/// The task that moves a connection's bytes. It ends with its owner, not when hyper thinks fit:
/// hyper would go on with an upload that has had its answer.
struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Connects to a target, trying its addresses in turn, and starts HTTP/1.1 on it.
///
/// The connection is driven by a task of its own on this worker.
///
/// # Errors
/// The last address's error; [`io::ErrorKind::TimedOut`] if none answered `within` that time,
/// name resolution included.
pub(super) async fn connect<B>(target: &TargetUrl, within: Duration) -> io::Result<Connection<B>>
where
    B: http_body::Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + 'static,
{
    let stream = timeout(within, connect_any(target)).await??;
    // Heads are small and wait for nothing: Nagle's algorithm would only delay them.
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    let name = target.to_string();
    let driver = tokio::task::spawn_local(async move {
        if let Err(error) = connection.await {
            debug!(target = name, %error, "upstream connection ended");
        }
    });
    Ok(Connection {
        sender,
        _driver: Driver(driver.abort_handle()),
    })
}

async fn connect_any(target: &TargetUrl) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in lookup_host((target.host(), target.port())).await? {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}
