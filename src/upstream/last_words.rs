//! What an upstream said before it closed is heard, whatever of the request it left unread.
//!
//! An upstream that refuses an upload answers and closes. The bytes that it has not read make the
//! kernel reset the connection (RFC 9112 §9.6), and the next write fails while the answer still
//! lies there to be read. To hyper a failed write is the end; here it is a write that takes for
//! ever, and what comes of the connection is for its reading side to say.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream that is read to its end although nobody takes what is written to it any more.
#[derive(Debug)]
pub(super) struct LastWords<S> {
    stream: S,
    hearing: Hearing,
}

/// What becomes of writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hearing {
    /// They are as for any stream, until one fails because the other side is gone.
    Good,
    /// They take for ever.
    Deaf,
    /// They are as for any stream, whatever happens.
    OfNoMatter,
}

impl<S: AsyncWrite + Unpin> LastWords<S> {
    pub(super) const fn new(stream: S) -> Self {
        Self {
            stream,
            hearing: Hearing::Good,
        }
    }

    /// From now on a write fails like any other: in a tunnel nobody waits for an answer.
    pub(super) const fn fail_at_once(&mut self) {
        self.hearing = Hearing::OfNoMatter;
    }

    fn unless_deaf<T>(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if self.hearing == Hearing::Deaf {
            return Poll::Pending;
        }
        match write(Pin::new(&mut self.stream), cx) {
            Poll::Ready(Err(error)) if self.hearing == Hearing::Good && is_gone(&error) => {
                self.hearing = Hearing::Deaf;
                // Somebody may have looked for an answer just before it came.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            outcome @ (Poll::Ready(_) | Poll::Pending) => outcome,
        }
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted
    )
}

impl<S: AsyncRead + Unpin> AsyncRead for LastWords<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for LastWords<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.unless_deaf(cx, |stream, cx| stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.unless_deaf(cx, |stream, cx| stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.unless_deaf(cx, |stream, cx| stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Nobody is there to be told.
        if self.hearing == Hearing::Deaf {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
