//! One new connection to a target.

use std::io;
use std::time::Duration;

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tracing::debug;

use super::TargetUrl;

/// Connects to a target, trying its addresses in turn, and starts HTTP/1.1 on it.
///
/// The connection is driven by a task of its own on this worker, which ends with it.
///
/// # Errors
/// The last address's error; [`io::ErrorKind::TimedOut`] if none answered `within` that time,
/// name resolution included.
pub(super) async fn connect<B>(target: &TargetUrl, within: Duration) -> io::Result<SendRequest<B>>
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
    tokio::task::spawn_local(async move {
        if let Err(error) = connection.await {
            debug!(target = name, %error, "upstream connection ended");
        }
    });
    Ok(sender)
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
