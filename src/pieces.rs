//! A stream that is read in pieces.
//!
//! hyper doubles its buffer for HTTP/1 whenever one read has filled it, up to the largest head
//! that it accepts, and keeps it that large; the bytes underneath grow by doubling too, so that a
//! body that comes fast ends up with several times what it needs. Where a thousand bodies are
//! under way at once, that is most of the memory there is. A piece that never quite fills the
//! buffer leaves it as it is.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf, Take};

/// A stream whose reads are limited. Writes pass as they are.
#[derive(Debug)]
pub(crate) struct Pieces<S> {
    stream: Take<S>,
    buffer: usize,
}

impl<S: AsyncRead> Pieces<S> {
    /// For a buffer of so many bytes, which is a power of two.
    pub(crate) fn for_buffer(buffer: usize, stream: S) -> Self {
        Self {
            stream: stream.take(0),
            buffer,
        }
    }

    /// The stream itself.
    pub(crate) fn into_inner(self) -> S {
        self.stream.into_inner()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Pieces<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let not_full = self.buffer as u64 - 1;
        self.stream.set_limit(not_full);
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Pieces<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self.stream.get_mut()).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self.stream.get_mut()).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.get_ref().is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.stream.get_mut()).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.stream.get_mut()).poll_shutdown(cx)
    }
}
