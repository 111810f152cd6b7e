//! A stream that is read in pieces.
//!
//! hyper doubles its buffer for HTTP/1 whenever one read has filled it, up to a bound that has to
//! be large enough for heads; the bytes underneath grow by doubling too, so that a
//! body that comes fast ends up with several times what it needs. Where a thousand bodies are
//! under way at once, that is most of the memory there is. A piece that never quite fills the
//! buffer leaves it as it is.
//!
//! Small pieces cost more time for each byte. So a stream on which a lot has come at once gets
//! larger ones, as long as there is memory put by for that. When it goes on with little at a time
//! it gives that back, but for what its buffer takes, which stays large as long as the stream.

mod growth;
mod surplus;

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf, Take};

use crate::socket::Taking;

use growth::Growth;
pub(crate) use surplus::Share;
pub use surplus::{Grant, Surplus};

/// A stream whose reads are limited. Writes pass as they are.
#[derive(Debug)]
pub(crate) struct Pieces<S> {
    stream: Take<S>,
    /// What hyper's buffer is to be, in bytes; a power of two.
    usual: usize,
    /// Where it may become larger.
    growth: Option<Growth>,
}

impl<S: AsyncRead> Pieces<S> {
    /// For a buffer of so many bytes.
    pub(crate) fn of(stream: S, buffer: usize) -> Self {
        Self {
            stream: stream.take(0),
            usual: buffer,
            growth: None,
        }
    }

    /// For a buffer that may become as large as one of these, the largest first, if there is a
    /// surplus; and what it has of that.
    pub(crate) fn growing_to(
        mut self,
        sizes: &'static [usize],
        surplus: &Surplus,
    ) -> (Self, Share) {
        let growth = Growth::new(self.usual, sizes, surplus);
        let share = growth.share();
        self.growth = Some(growth);
        (self, share)
    }

    /// The stream itself.
    pub(crate) fn into_inner(self) -> S {
        self.stream.into_inner()
    }

    /// Whether the buffer may have become large.
    fn has_grown(&self) -> bool {
        let growth = self.growth.as_ref();
        growth.is_some_and(Growth::has_begun)
    }

    fn size(&self) -> usize {
        self.growth.as_ref().map_or(self.usual, Growth::size)
    }
}

impl<S: AsyncRead + Taking> Taking for Pieces<S> {
    fn taken(&self) -> u64 {
        self.stream.get_ref().taken()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Pieces<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        // hyper's first buffer, which cannot be filled so, or a tunnel's own, which never grows.
        if !self.has_grown() && buf.remaining() < self.usual {
            return Pin::new(self.stream.get_mut()).poll_read(cx, buf);
        }
        let not_full = self.size() as u64 - 1;
        self.stream.set_limit(not_full);
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if let Some(growth) = &mut self.growth {
            growth.note(buf.filled().len() - before, Instant::now);
        }
        Poll::Ready(Ok(()))
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

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::growth::{MANY_CALM_READS, MUCH_BYTES};
    use super::surplus::{HELD_AT_ONCE, TAKEN_BY_BUFFER};
    use super::*;

    const USUAL: usize = 16 * 1024;
    const LARGE: usize = 64 * 1024;

    const BUFFER: usize = LARGE * TAKEN_BY_BUFFER;
    const BOTH: usize = BUFFER + LARGE * HELD_AT_ONCE;

    /// Enough for so many streams.
    fn surplus_for(streams: usize) -> Surplus {
        Surplus::of(streams * BOTH)
    }

    /// What happens on a stream, in turn; after it comes the end.
    struct Script(VecDeque<Step>);

    #[derive(Clone)]
    enum Step {
        /// So many bytes, as far as there is room for them.
        Bytes(usize),
        /// Nothing for now.
        Pause,
        /// Told once, as sockets do.
        Reset,
    }

    impl AsyncRead for Script {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            match self.0.pop_front() {
                Some(Step::Bytes(length)) => {
                    let now = length.min(buf.remaining());
                    buf.put_slice(&vec![7; now]);
                    if now < length {
                        self.0.push_front(Step::Bytes(length - now));
                    }
                    Poll::Ready(Ok(()))
                }
                Some(Step::Pause) => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                Some(Step::Reset) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                None => Poll::Ready(Ok(())),
            }
        }
    }

    fn pieces_of(steps: impl IntoIterator<Item = Step>, surplus: &Surplus) -> Pieces<Script> {
        sharing_pieces_of(steps, surplus).0
    }

    fn sharing_pieces_of(
        steps: impl IntoIterator<Item = Step>,
        surplus: &Surplus,
    ) -> (Pieces<Script>, Share) {
        let script = Script(steps.into_iter().collect());
        Pieces::of(script, USUAL).growing_to(&[LARGE], surplus)
    }

    /// A stream with more than anybody reads.
    fn flood(surplus: &Surplus) -> Pieces<Script> {
        pieces_of([Step::Bytes(usize::MAX)], surplus)
    }

    async fn piece(pieces: &mut Pieces<Script>) -> usize {
        let mut buffer = vec![0; 2 * LARGE];
        pieces.read(&mut buffer).await.unwrap()
    }

    /// Reads what it takes to be given larger pieces.
    async fn much(pieces: &mut Pieces<Script>) {
        let mut read = 0;
        while read < MUCH_BYTES {
            read += piece(pieces).await;
        }
    }

    /// How a stream ends, read to its end, and what came before.
    async fn to_the_end(pieces: &mut Pieces<Script>) -> (usize, io::Result<()>) {
        let (mut buffer, mut read) = (vec![0; 2 * LARGE], 0);
        loop {
            match pieces.read(&mut buffer).await {
                Ok(0) => return (read, Ok(())),
                Ok(length) => read += length,
                Err(error) => return (read, Err(error)),
            }
        }
    }

    #[tokio::test]
    async fn a_stream_on_which_much_has_come_is_read_in_large_pieces() {
        let mut pieces = flood(&surplus_for(1));
        assert_eq!(piece(&mut pieces).await, USUAL - 1);
        much(&mut pieces).await;
        assert_eq!(piece(&mut pieces).await, LARGE - 1);
    }

    #[tokio::test]
    async fn t117_without_memory_for_them_pieces_stay_small() {
        let for_one = surplus_for(1);
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
        let bits = vec![Step::Bytes(1024); 2 * MUCH_BYTES / 1024];
        let mut pieces = pieces_of(bits, &surplus_for(1));
        while piece(&mut pieces).await > 0 {
            assert!(!pieces.has_grown());
        }
    }

    #[tokio::test]
    async fn pieces_become_as_large_as_there_is_memory_for() {
        const LARGER: [usize; 2] = [2 * LARGE, LARGE];
        let surplus = surplus_for(1);
        let script = Script([Step::Bytes(usize::MAX)].into());
        let (mut pieces, _share) = Pieces::of(script, USUAL).growing_to(&LARGER, &surplus);
        much(&mut pieces).await;
        assert_eq!(piece(&mut pieces).await, LARGE - 1);
    }

    /// A stream that flows and then goes on with little at a time.
    fn dwindling(surplus: &Surplus) -> (Pieces<Script>, Share) {
        let little = vec![[Step::Pause, Step::Bytes(100)]; MANY_CALM_READS].concat();
        // As many as `much` reads.
        let piece = USUAL - 1;
        let flow = [Step::Bytes(MUCH_BYTES.div_ceil(piece) * piece)];
        sharing_pieces_of(flow.into_iter().chain(little), surplus)
    }

    #[tokio::test]
    async fn t117_a_stream_that_goes_on_with_little_gives_back_what_it_had() {
        let surplus = Surplus::of(BOTH + BUFFER);
        let (mut first, share) = dwindling(&surplus);
        much(&mut first).await;
        let mut second = flood(&surplus);
        much(&mut second).await;
        for _ in 0..MANY_CALM_READS {
            assert_eq!(piece(&mut second).await, USUAL - 1);
            assert_eq!(piece(&mut first).await, 100);
        }
        // It tries again with each piece.
        assert_eq!(piece(&mut second).await, USUAL - 1);
        assert_eq!(piece(&mut second).await, LARGE - 1);
        // What it read into is as large as ever.
        assert!(!share.rest());
    }

    #[tokio::test]
    async fn t117_what_is_held_of_a_large_piece_counts_when_the_stream_goes_on() {
        let (mut pieces, share) = sharing_pieces_of([Step::Bytes(usize::MAX)], &surplus_for(1));
        much(&mut pieces).await;
        let held = share.for_piece();
        assert!(share.rest());
        // What comes next has nothing as long as that is held.
        for _ in 0..3 {
            assert_eq!(piece(&mut pieces).await, USUAL - 1);
        }
        drop(held);
        assert_eq!(piece(&mut pieces).await, USUAL - 1);
        assert_eq!(piece(&mut pieces).await, LARGE - 1);
        assert!(share.rest());
        // Nor is it kept if it does not flow by then.
        assert!(!share.rest());
    }

    #[tokio::test]
    async fn t117_what_is_held_of_a_small_piece_counts_as_the_large_buffer_it_came_in() {
        let surplus = surplus_for(1);
        let (mut pieces, share) = dwindling(&surplus);
        much(&mut pieces).await;
        assert!(share.rest());
        assert_eq!(piece(&mut pieces).await, 100);
        let held = share.for_piece();
        assert!(!share.rest());
        drop((pieces, share));
        assert!(surplus.take(BOTH).is_none());
        drop(held);
        assert!(surplus.take(BOTH).is_some());
    }

    #[tokio::test]
    async fn t117_a_stream_whose_buffer_is_large_takes_no_pieces_that_are_smaller() {
        const LARGER: [usize; 2] = [2 * LARGE, LARGE];
        let surplus = Surplus::of(2 * BOTH);
        let script = Script([Step::Bytes(usize::MAX)].into());
        let (mut pieces, share) = Pieces::of(script, USUAL).growing_to(&LARGER, &surplus);
        much(&mut pieces).await;
        assert_eq!(piece(&mut pieces).await, 2 * LARGE - 1);
        assert!(share.rest());
        // What it reads into first is as large as before.
        let others = surplus.take(LARGE * HELD_AT_ONCE).unwrap();
        for _ in 0..2 {
            assert_eq!(piece(&mut pieces).await, USUAL - 1);
        }
        drop(others);
        assert_eq!(piece(&mut pieces).await, USUAL - 1);
        assert_eq!(piece(&mut pieces).await, 2 * LARGE - 1);
    }

    #[tokio::test]
    async fn a_reader_without_room_for_large_pieces_takes_no_memory_from_others() {
        let mut pieces = flood(&surplus_for(1));
        let mut buffer = vec![0; USUAL / 2];
        for _ in 0..2 * MUCH_BYTES / buffer.len() {
            pieces.read_exact(&mut buffer).await.unwrap();
        }
        assert!(!pieces.has_grown());
    }

    #[tokio::test]
    async fn a_reset_behind_a_large_piece_is_never_taken_for_an_end() {
        let steps = [Step::Bytes(2 * MUCH_BYTES), Step::Reset];
        let mut pieces = pieces_of(steps, &surplus_for(1));
        let (read, end) = to_the_end(&mut pieces).await;
        assert_eq!(read, 2 * MUCH_BYTES);
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert!(pieces.has_grown());
    }

    #[tokio::test]
    async fn an_end_behind_a_large_piece_is_seen_after_it() {
        let mut pieces = pieces_of([Step::Bytes(2 * MUCH_BYTES)], &surplus_for(1));
        let (read, end) = to_the_end(&mut pieces).await;
        assert_eq!(read, 2 * MUCH_BYTES);
        end.unwrap();
    }
}
