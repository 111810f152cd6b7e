//! A client's stream as hyper sees it: with what was read too early put back in front, and with
//! an eye on what hyper does.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::LINGER;
use super::activity::Activity;
use crate::socket::Taking;

/// A stream with some bytes put back in front.
pub(super) struct Watched<S> {
    stream: S,
    put_back: Bytes,
    activity: Rc<Activity>,
    lingering: Option<Pin<Box<Sleep>>>,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, put_back: Bytes, activity: Rc<Activity>) -> Self {
        Self {
            stream,
            put_back,
            activity,
            lingering: None,
        }
    }

    /// The stream itself, and what was read of it and not used, of which hyper has `first`.
    pub(super) fn into_parts(self, first: Bytes) -> (S, Bytes) {
        let unread = match (first.is_empty(), self.put_back.is_empty()) {
            (_, true) => first,
            (true, false) => self.put_back,
            (false, false) => {
                let mut both = BytesMut::from(first);
                both.extend_from_slice(&self.put_back);
                both.freeze()
            }
        };
        (self.stream, unread)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.activity.turn_is_over() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if !self.put_back.is_empty() {
            let length = self.put_back.len().min(buf.remaining());
            let admitted = self.activity.admit(&self.put_back[..length]);
            buf.put_slice(&self.put_back[..admitted]);
            self.put_back.advance(admitted);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        let read = &buf.filled()[before..];
        let admitted = self.activity.admit(read);
        if admitted < read.len() {
            self.put_back = Bytes::copy_from_slice(&read[admitted..]);
            buf.set_filled(before + admitted);
        }
        result
    }
}

impl<S: AsyncRead + AsyncWrite + Taking + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.activity.note_write(&written, self.stream.taken());
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        self.activity.note_flush(&result, self.stream.taken());
        result
    }

    /// Closes our side, then reads and throws away what still comes, for a moment (RFC 9112
    /// §9.6): what the client acknowledges while it reads the last answer must not meet a closed
    /// socket, which would reset the connection and destroy that answer.
    ///
    /// Only HTTP/2 comes this way. For HTTP/1 the stream is taken back from hyper first.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        }
        let this = &mut *self;
        let lingering = this
            .lingering
            .get_or_insert_with(|| Box::pin(sleep(LINGER)));
        let mut discarded = [0; 8192];
        loop {
            if lingering.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let mut buf = ReadBuf::new(&mut discarded);
            let read = ready!(Pin::new(&mut this.stream).poll_read(cx, &mut buf));
            if read.is_err() || buf.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.activity.note_write(&written, self.stream.taken());
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, BufWriter, DuplexStream, duplex};
    use tokio::time::Instant;

    use super::*;
    use crate::socket::Socket;

    /// As TLS does, it takes more than it can pass on.
    type Secured = BufWriter<Socket<DuplexStream>>;

    impl Taking for Secured {
        fn taken(&self) -> u64 {
            self.get_ref().taken()
        }
    }

    #[tokio::test]
    async fn p16_who_takes_nothing_of_what_tls_has_taken_already_stalls_and_who_moves_does_not() {
        let (near, mut far) = duplex(16);
        let activity = Activity::of_heads();
        let secured: Secured = BufWriter::new(Socket::new(near));
        let mut stream = Watched::new(secured, Bytes::new(), activity.clone());
        stream.write_all(&[7; 100]).await.unwrap();
        assert_eq!(activity.stalled_since(), None);
        let mut flush = Box::pin(stream.flush());
        let begun = Instant::now();
        let mut read = [0; 10];
        for (second, takes, stalled) in [(0, false, 0), (1, false, 0), (2, true, 2), (3, false, 2)]
        {
            if takes {
                far.read_exact(&mut read).await.unwrap();
            }
            activity.tick(begun + Duration::from_secs(second));
            std::future::poll_fn(|cx| {
                assert!(flush.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
            let since = begun + Duration::from_secs(stalled);
            assert_eq!(activity.stalled_since(), Some(since), "second {second}");
        }
        let mut rest = [0; 90];
        let (flushed, _) = tokio::join!(flush, far.read_exact(&mut rest));
        flushed.unwrap();
        assert_eq!(
            (activity.stalled_since(), activity.is_flushed()),
            (None, true)
        );
    }
}
