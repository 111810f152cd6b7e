//! A client's stream as hyper sees it: with what was read too early put back in front, and with
//! an eye on what hyper does.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http_body::Body;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::LINGER;
use super::head_lines::{HeadLines, LineEnds};
use crate::socket::Taking;

/// What hyper has done with a connection.
#[derive(Debug)]
pub(super) struct Activity {
    region: RefCell<Region>,
    /// The present, as of the last time that the connection had its turn.
    now: Cell<Instant>,
    /// When the head began that has not come whole, or when what kept it back was over.
    head_since: Cell<Option<Instant>>,
    /// Bytes were written and not flushed yet.
    unflushed: Cell<bool>,
    /// When bytes were last written.
    written: Cell<Instant>,
    /// When bytes were last read.
    read: Cell<Instant>,
    /// Since when the client takes nothing of what is to be written.
    stalled_since: Cell<Option<Instant>>,
    /// How many bytes the kernel had taken when that was looked at.
    taken: Cell<u64>,
    /// Counts the reads, so that a pause can be told from one.
    reads: Cell<u64>,
    bytes: Cell<u64>,
}

/// What the next byte from the client belongs to.
#[derive(Debug)]
enum Region {
    /// A head, of which this much is known.
    Head(HeadLines),
    /// Nothing yet: hyper has a whole head, and has not said what it makes of it.
    Judged(LineEnds),
    /// A body with this many bytes left.
    Body(u64),
    /// A chunked body, whose end only hyper finds, and after it a head. Both end with an empty
    /// line; this is what is known of the lines before the next one, and how those before the
    /// last one ended.
    Chunked(HeadLines, Option<LineEnds>),
    /// No HTTP/1.
    Opaque,
}

impl Activity {
    /// Of a connection on which an HTTP/1 head comes next.
    pub(super) fn of_heads() -> Rc<Self> {
        Self::starting_with(Region::Head(HeadLines::default()))
    }

    /// Of a connection whose bytes are for hyper alone to understand.
    pub(super) fn opaque() -> Rc<Self> {
        Self::starting_with(Region::Opaque)
    }

    fn starting_with(region: Region) -> Rc<Self> {
        let now = Instant::now();
        Rc::new(Self {
            region: RefCell::new(region),
            now: Cell::new(now),
            head_since: Cell::new(None),
            unflushed: Cell::new(false),
            written: Cell::new(now),
            read: Cell::new(now),
            stalled_since: Cell::new(None),
            taken: Cell::new(0),
            reads: Cell::new(0),
            bytes: Cell::new(0),
        })
    }

    /// It is the connection's turn; reads and writes that follow happen now.
    pub(super) fn tick(&self, now: Instant) {
        self.now.set(now);
    }

    /// Since when a head is on its way that nothing keeps back, if one is.
    pub(super) fn head_since(&self) -> Option<Instant> {
        self.head_since.get()
    }

    /// Notes whether there is one now. A head that ended and one that began in the same turn are
    /// two.
    pub(super) fn note_head(&self, is_on_its_way: bool) {
        let since = self.head_since.get().unwrap_or(self.now.get());
        self.head_since.set(is_on_its_way.then_some(since));
    }

    /// hyper has understood a head, which this body follows. Returns how the head's lines ended;
    /// `None` if it was not seen coming, which would be a mistake of ours.
    pub(super) fn head_completed(&self, body: &impl Body) -> Option<LineEnds> {
        let next = match body.size_hint().exact() {
            Some(0) => Region::Head(HeadLines::default()),
            Some(length) => Region::Body(length),
            None => Region::Chunked(HeadLines::default(), None),
        };
        self.head_since.set(None);
        match self.region.replace(next) {
            Region::Judged(ends) => Some(ends),
            Region::Chunked(_, ends) => ends,
            Region::Head(_) | Region::Body(_) | Region::Opaque => None,
        }
    }

    /// Whether a head has begun to arrive and is not complete. Empty lines before it do not
    /// count: some clients send one after a body.
    pub(super) fn is_in_head(&self) -> bool {
        match &*self.region.borrow() {
            Region::Head(lines) | Region::Chunked(lines, _) => lines.have_begun(),
            Region::Judged(_) => true,
            Region::Body(_) | Region::Opaque => false,
        }
    }

    /// Whether hyper has written all it had to write. It flushes only once its own buffer is
    /// empty.
    pub(super) fn is_flushed(&self) -> bool {
        !self.unflushed.get()
    }

    /// When bytes were last written.
    pub(super) fn written(&self) -> Instant {
        self.written.get()
    }

    /// When bytes last went either way.
    pub(super) fn moved(&self) -> Instant {
        self.written.get().max(self.read.get())
    }

    /// Since when the client takes nothing of what is to be written.
    pub(super) fn stalled_since(&self) -> Option<Instant> {
        self.stalled_since.get()
    }

    /// How many bytes were read.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// How many reads there were.
    pub(super) fn reads(&self) -> u64 {
        self.reads.get()
    }

    fn note_write(&self, result: &Poll<io::Result<usize>>, taken: u64) {
        self.unflushed.set(true);
        if result.is_ready() {
            self.written.set(self.now.get());
            self.stalled_since.set(None);
        } else {
            self.note_wait(taken);
        }
    }

    fn note_flush(&self, result: &Poll<io::Result<()>>, taken: u64) {
        match result {
            Poll::Ready(Ok(())) => {
                self.unflushed.set(false);
                self.stalled_since.set(None);
            }
            // TLS may have taken all there is.
            Poll::Pending if self.unflushed.get() => self.note_wait(taken),
            Poll::Pending | Poll::Ready(Err(_)) => {}
        }
    }

    /// Something is to be written, of which the kernel may have taken a part.
    fn note_wait(&self, taken: u64) {
        let moves = self.taken.replace(taken) != taken;
        if moves || self.stalled_since.get().is_none() {
            self.stalled_since.set(Some(self.now.get()));
        }
    }

    /// Notes what came, and returns how much of it hyper may have now: no more than the rest of
    /// the head or of the body that it belongs to, so that the next head is seen from its first
    /// byte on.
    fn admit(&self, bytes: &[u8]) -> usize {
        if bytes.is_empty() {
            return 0;
        }
        let mut region = self.region.borrow_mut();
        let admitted = match &mut *region {
            Region::Head(lines) => match lines.see(bytes) {
                Some((end, ends)) => {
                    *region = Region::Judged(ends);
                    end
                }
                None => bytes.len(),
            },
            Region::Body(left) => {
                let length = usize::try_from(*left).map_or(bytes.len(), |l| l.min(bytes.len()));
                *left -= length as u64;
                if *left == 0 {
                    *region = Region::Head(HeadLines::default());
                }
                length
            }
            Region::Chunked(lines, ended) => match lines.see(bytes) {
                Some((end, ends)) => {
                    (*lines, *ended) = (HeadLines::default(), Some(ends));
                    end
                }
                None => bytes.len(),
            },
            // hyper wants more although it has a whole head: it sees something else than we do.
            Region::Judged(_) => {
                *region = Region::Opaque;
                bytes.len()
            }
            Region::Opaque => bytes.len(),
        };
        self.read.set(self.now.get());
        self.reads.set(self.reads.get() + 1);
        self.bytes.set(self.bytes.get() + admitted as u64);
        admitted
    }
}

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
