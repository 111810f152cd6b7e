//! A secured stream, which holds the more of what is written, the more is written at once.
//!
//! What TLS has made of it waits for the client to take it. For one that takes nothing, that should
//! be little; where a lot is handed over at once, because it flows, it goes to the kernel in fewer
//! and larger writes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

/// A stream whose handshake is done.
pub struct Secure<S>(TlsStream<S>);

impl<S> Secure<S> {
    pub(super) const fn new(stream: TlsStream<S>) -> Self {
        Self(stream)
    }

    /// For so much to be written at once, in bytes.
    fn make_room_for(&mut self, length: usize) {
        let holds = if length < LARGE_BYTES {
            USUAL_BYTES
        } else {
            FLOWING_BYTES
        };
        let (_, connection) = self.0.get_mut();
        connection.set_buffer_limit(Some(holds));
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Secure<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Secure<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.make_room_for(buf.len());
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.make_room_for(bufs.iter().map(|buf| buf.len()).sum());
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// What TLS holds of an answer that the client does not take: two records.
const USUAL_BYTES: usize = 32 * 1024;

/// The same of one that is handed over in large pieces.
const FLOWING_BYTES: usize = 128 * 1024;

/// What is large: more than several that are not may come to, and less than one that is.
const LARGE_BYTES: usize = 96 * 1024;
