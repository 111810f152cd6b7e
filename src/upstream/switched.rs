//! A connection that is used for something else than HTTP.

use bytes::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::client::TlsStream;

use super::connect::Tcp;
use crate::pieces::Pieces;

/// Bytes in both directions.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// The stream itself, and what came behind the upstream's 101, in the buffer that it came in.
pub(super) fn apart(upgraded: Upgraded) -> Option<(Box<dyn Duplex>, Bytes)> {
    match stream_of::<Tcp>(upgraded) {
        Ok((mut stream, unread)) => {
            stream.fail_at_once();
            Some((Box::new(stream), unread))
        }
        Err(upgraded) => {
            let (mut stream, unread) = stream_of::<TlsStream<Tcp>>(upgraded).ok()?;
            stream.get_mut().0.fail_at_once();
            Some((Box::new(stream), unread))
        }
    }
}

fn stream_of<S: Duplex + 'static>(upgraded: Upgraded) -> Result<(S, Bytes), Upgraded> {
    let parts = upgraded.downcast::<TokioIo<Pieces<S>>>()?;
    Ok((parts.io.into_inner().into_inner(), parts.read_buf))
}
