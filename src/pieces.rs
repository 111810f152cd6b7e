//! A stream that is read in pieces.
//!
//! hyper doubles its buffer for HTTP/1 whenever one read has filled it, up to the largest head
//! that it accepts, and keeps it that large; the bytes underneath grow by doubling too, so that a
//! body that comes fast ends up with several times what it needs. Where a thousand bodies are
//! under way at once, that is most of the memory there is. A piece that never quite fills the
//! buffer leaves it as it is.
//!
//! Small pieces cost more time for each byte. So a stream on which a lot has come at once gets
//! larger ones, as long as there is memory put by for that.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf, Take};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The memory that all workers together may use for larger pieces.
#[derive(Debug, Clone)]
pub struct Surplus(Arc<Semaphore>);

impl Surplus {
    /// So many bytes.
    pub fn of(bytes: usize) -> Self {
        let units = (bytes / UNIT).min(Semaphore::MAX_PERMITS);
        Self(Arc::new(Semaphore::new(units)))
    }

    fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let units = u32::try_from(bytes / UNIT).ok()?;
        self.0.clone().try_acquire_many_owned(units).ok()
    }
}

/// A stream whose reads are limited. Writes pass as they are.
#[derive(Debug)]
pub(crate) struct Pieces<S> {
    stream: Take<S>,
    /// hyper's buffer, in bytes; a power of two.
    buffer: usize,
    /// Where it may become larger.
    growth: Option<Growth>,
    /// An error that was met behind bytes, for the next read.
    failed: Option<io::Error>,
}

/// How a buffer becomes larger.
#[derive(Debug)]
struct Growth {
    /// Up to so many bytes; a power of two.
    most: usize,
    surplus: Surplus,
    /// What has come in large parts without a pause.
    flowed: usize,
    /// The memory, once there was some. Kept to the end: what hyper has once allocated, it
    /// allocates again.
    granted: Option<OwnedSemaphorePermit>,
}

impl<S: AsyncRead> Pieces<S> {
    /// For a buffer of so many bytes.
    pub(crate) fn of(stream: S, buffer: usize) -> Self {
        Self {
            stream: stream.take(0),
            buffer,
            growth: None,
            failed: None,
        }
    }

    /// For a buffer that may become this large, if there is a surplus.
    pub(crate) fn growing_to(mut self, most: usize, surplus: &Surplus) -> Self {
        self.growth = Some(Growth {
            most,
            surplus: surplus.clone(),
            flowed: 0,
            granted: None,
        });
        self
    }

    /// The stream itself.
    pub(crate) fn into_inner(self) -> S {
        self.stream.into_inner()
    }

    /// Whether the buffer has become large.
    fn has_grown(&self) -> bool {
        let growth = self.growth.as_ref();
        growth.is_some_and(|growth| growth.granted.is_some())
    }

    /// Notes how much one read has brought.
    fn note(&mut self, length: usize) {
        let Some(growth) = &mut self.growth else {
            return;
        };
        if length < self.buffer / 2 {
            growth.flowed = 0;
            return;
        }
        growth.flowed += length;
        if growth.flowed >= MUCH_BYTES {
            growth.flowed = 0;
            let more = (growth.most - self.buffer) * HELD_AT_ONCE;
            growth.granted = growth.surplus.take(more);
            if growth.granted.is_some() {
                self.buffer = growth.most;
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Pieces<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let has_grown = self.has_grown();
        // hyper's first buffer, which cannot be filled so, or a tunnel's own, which never grows.
        if !has_grown && buf.remaining() < self.buffer {
            return Pin::new(self.stream.get_mut()).poll_read(cx, buf);
        }
        let not_full = self.buffer as u64 - 1;
        self.stream.set_limit(not_full);
        if !has_grown {
            ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
            self.note(buf.filled().len() - before);
            return Poll::Ready(Ok(()));
        }
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        // TLS gives no more than one record at a time.
        while buf.remaining() > 0 && self.stream.limit() > 0 {
            let so_far = buf.filled().len();
            match Pin::new(&mut self.stream).poll_read(cx, buf) {
                Poll::Ready(Ok(())) if buf.filled().len() > so_far => {}
                nothing if so_far == before => return nothing,
                // What came first goes first. An end is found again, an error may not be.
                Poll::Ready(outcome) => {
                    self.failed = outcome.err();
                    break;
                }
                Poll::Pending => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Bytes that come without a pause before they are read in larger pieces: more than the systems on
/// the way hold for a receiver that takes nothing.
const MUCH_BYTES: usize = 8 * 1024 * 1024;

/// Pieces that are held of one stream at most, where their receiver takes nothing: measured are
/// six, in buffers of hyper's on both sides, of TLS, and on the way between them.
const HELD_AT_ONCE: usize = 8;

/// What memory is counted in.
const UNIT: usize = 1024;

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

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: usize = 16 * 1024;
    const LARGE: usize = 64 * 1024;

    /// A stream with more than anybody reads.
    fn flood(surplus: &Surplus) -> Pieces<tokio::io::Repeat> {
        Pieces::of(tokio::io::repeat(7), USUAL).growing_to(LARGE, surplus)
    }

    async fn piece<S: AsyncRead + Unpin>(pieces: &mut Pieces<S>) -> usize {
        let mut buffer = vec![0; 128 * 1024];
        pieces.read(&mut buffer).await.unwrap()
    }

    /// Reads what it takes to be given larger pieces.
    async fn much<S: AsyncRead + Unpin>(pieces: &mut Pieces<S>) {
        let mut read = 0;
        while read < MUCH_BYTES {
            read += piece(pieces).await;
        }
    }

    #[tokio::test]
    async fn a_stream_on_which_much_has_come_is_read_in_large_pieces() {
        let mut pieces = flood(&Surplus::of(1024 * 1024));
        assert_eq!(piece(&mut pieces).await, USUAL - 1);
        much(&mut pieces).await;
        assert_eq!(piece(&mut pieces).await, LARGE - 1);
    }

    #[tokio::test]
    async fn t117_without_memory_for_them_pieces_stay_small() {
        let for_one = Surplus::of((LARGE - USUAL) * HELD_AT_ONCE);
        let (mut first, mut second) = (flood(&for_one), flood(&for_one));
        much(&mut first).await;
        much(&mut second).await;
        assert_eq!(piece(&mut first).await, LARGE - 1);
        assert_eq!(piece(&mut second).await, USUAL - 1);
        drop(first);
        much(&mut second).await;
        assert_eq!(piece(&mut second).await, LARGE - 1);
    }

    #[tokio::test]
    async fn what_comes_bit_by_bit_never_gets_large_pieces() {
        let (ours, mut theirs) = tokio::io::duplex(1024);
        let mut pieces = Pieces::of(ours, USUAL).growing_to(LARGE, &Surplus::of(1024 * 1024));
        for _ in 0..2 * MUCH_BYTES / 1024 {
            tokio::io::AsyncWriteExt::write_all(&mut theirs, &[0; 1024])
                .await
                .unwrap();
            assert_eq!(piece(&mut pieces).await, 1024);
        }
        assert!(!pieces.has_grown());
    }

    #[tokio::test]
    async fn a_reader_without_room_for_large_pieces_takes_no_memory_from_others() {
        let mut pieces = flood(&Surplus::of(1024 * 1024));
        let mut buffer = vec![0; USUAL / 2];
        for _ in 0..2 * MUCH_BYTES / buffer.len() {
            pieces.read_exact(&mut buffer).await.unwrap();
        }
        assert!(!pieces.has_grown());
    }

    /// Bytes without a pause, and then a reset.
    struct Broken(usize);

    impl AsyncRead for Broken {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            // Told once, as sockets do.
            if self.0 == 0 {
                self.0 = usize::MAX;
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            if self.0 == usize::MAX {
                return Poll::Ready(Ok(()));
            }
            let length = self.0.min(16 * 1024).min(buf.remaining());
            buf.put_slice(&vec![7; length]);
            self.0 -= length;
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn a_reset_behind_a_large_piece_is_never_taken_for_an_end() {
        let stream = Broken(MUCH_BYTES * 2);
        let mut pieces = Pieces::of(stream, USUAL).growing_to(LARGE, &Surplus::of(1024 * 1024));
        let (mut buffer, mut read) = (vec![0; 128 * 1024], 0);
        let error = loop {
            match pieces.read(&mut buffer).await {
                Ok(0) => panic!("the end after {read} bytes"),
                Ok(length) => read += length,
                Err(error) => break error,
            }
        };
        assert_eq!(read, MUCH_BYTES * 2);
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn an_end_behind_a_large_piece_is_seen_after_it() {
        let stream = tokio::io::repeat(7).take(MUCH_BYTES as u64 * 2);
        let mut pieces = Pieces::of(stream, USUAL).growing_to(LARGE, &Surplus::of(1024 * 1024));
        let mut read = 0;
        loop {
            match piece(&mut pieces).await {
                0 => break,
                length => read += length,
            }
        }
        assert_eq!(read, MUCH_BYTES * 2);
    }
}
