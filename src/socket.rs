//! A connection as the kernel has it, whose writes take the shorter way there is.
//!
//! hyper and rustls hand over a list of buffers whenever the stream takes lists, also if it has one
//! buffer in it, as for nearly every request and answer. A list goes through writev(2), which comes
//! to the socket by way of files, vectors and their bounds; a buffer through send(2).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream that writes a list of one buffer as that buffer, and counts what is taken. Everything
/// else passes as it is.
#[derive(Debug)]
pub(crate) struct Socket<S> {
    stream: S,
    taken: u64,
}

/// What is written to in the end is such a stream.
pub(crate) trait Taking {
    /// How many bytes the kernel has taken so far.
    fn taken(&self) -> u64;
}

impl<S> Socket<S> {
    pub(crate) const fn new(stream: S) -> Self {
        Self { stream, taken: 0 }
    }
}

impl<S> Taking for Socket<S> {
    fn taken(&self) -> u64 {
        self.taken
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        self.taken += written as u64;
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let stream = Pin::new(&mut self.stream);
        let written = ready!(match bufs {
            [buf] => stream.poll_write(cx, buf),
            _ => stream.poll_write_vectored(cx, bufs),
        })?;
        self.taken += written as u64;
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// Notes how it is written to.
    #[derive(Default)]
    struct Noted(Vec<(&'static str, Vec<u8>)>);

    impl AsyncWrite for Noted {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.0.push(("buffer", buf.to_vec()));
            Poll::Ready(Ok(buf.len()))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bufs: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let all: Vec<u8> = bufs.iter().flat_map(|buf| buf.to_vec()).collect();
            let length = all.len();
            self.0.push(("list", all));
            Poll::Ready(Ok(length))
        }

        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn a_list_of_one_buffer_is_written_as_that_buffer_and_a_longer_one_as_a_list() {
        let mut socket = Socket::new(Noted::default());
        let mut write = |bufs: &[&[u8]]| {
            let bufs: Vec<_> = bufs.iter().map(|buf| IoSlice::new(buf)).collect();
            let cx = &mut Context::from_waker(Waker::noop());
            let written = Pin::new(&mut socket).poll_write_vectored(cx, &bufs);
            assert!(matches!(written, Poll::Ready(Ok(3))), "{written:?}");
        };
        write(&[b"one"]);
        write(&[b"t", b"wo"]);
        assert!(socket.is_write_vectored());
        assert_eq!(
            socket.stream.0,
            [("buffer", b"one".to_vec()), ("list", b"two".to_vec())]
        );
    }
}
