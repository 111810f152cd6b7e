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
        Ok(apart) => Some(apart),
        Err(upgraded) => stream_of::<TlsStream<Tcp>>(upgraded).ok(),
    }
}

fn stream_of<S>(upgraded: Upgraded) -> Result<(Box<dyn Duplex>, Bytes), Upgraded>
where
    S: Duplex + 'static,
{
    let parts = upgraded.downcast::<TokioIo<Pieces<S>>>()?;
    let stream = parts.io.into_inner().into_inner();
    Ok((Box::new(stream), parts.read_buf))
}
