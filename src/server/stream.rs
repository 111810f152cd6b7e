//! A client's stream as hyper sees it: with what was read too early put back in front, and with
//! an eye on what hyper does.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use http_body::Body;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::head_lines::{HeadLines, LineEnds};

/// What hyper has done with a connection.
#[derive(Debug)]
pub(super) struct Activity {
    region: RefCell<Region>,
    /// Bytes were written and not flushed yet.
    unflushed: Cell<bool>,
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
    /// Anything: a body whose end only hyper finds, or no HTTP/1 at all.
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
        Rc::new(Self {
            region: RefCell::new(region),
            unflushed: Cell::new(false),
            reads: Cell::new(0),
            bytes: Cell::new(0),
        })
    }

    /// hyper has understood a head, which this body follows. Returns how the head's lines ended;
    /// `None` if it came where it could not be seen, behind a body whose end only hyper found.
    pub(super) fn head_completed(&self, body: &impl Body) -> Option<LineEnds> {
        let next = match body.size_hint().exact() {
            Some(0) => Region::Head(HeadLines::default()),
            Some(length) => Region::Body(length),
            None => Region::Opaque,
        };
        match self.region.replace(next) {
            Region::Judged(ends) => Some(ends),
            Region::Head(_) | Region::Body(_) | Region::Opaque => None,
        }
    }

    /// Whether a head has begun to arrive and is not complete.
    pub(super) fn is_in_head(&self) -> bool {
        match &*self.region.borrow() {
            Region::Head(lines) => !lines.is_empty(),
            Region::Judged(_) => true,
            Region::Body(_) | Region::Opaque => false,
        }
    }

    /// Whether it is unknown what the next byte belongs to.
    pub(super) fn is_opaque(&self) -> bool {
        matches!(*self.region.borrow(), Region::Opaque)
    }

    /// Whether hyper has written all it had to write. It flushes only once its own buffer is
    /// empty.
    pub(super) fn is_flushed(&self) -> bool {
        !self.unflushed.get()
    }

    /// How many bytes were read.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// How many reads there were.
    pub(super) fn reads(&self) -> u64 {
        self.reads.get()
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
            // hyper wants more although it has a whole head: it sees something else than we do.
            Region::Judged(_) => {
                *region = Region::Opaque;
                bytes.len()
            }
            Region::Opaque => bytes.len(),
        };
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
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, put_back: Bytes, activity: Rc<Activity>) -> Self {
        Self {
            stream,
            put_back,
            activity,
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

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.activity.unflushed.set(true);
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        if matches!(result, Poll::Ready(Ok(()))) {
            self.activity.unflushed.set(false);
        }
        result
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.activity.unflushed.set(true);
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
