//! A client's stream as hyper sees it: with what was read too early put back in front, and with
//! an eye on what hyper does.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::proxy::InFlight;

/// What hyper has done with a connection.
#[derive(Debug)]
pub(super) struct Activity {
    in_flight: InFlight,
    /// Bytes were read since the last head was complete.
    in_head: Cell<bool>,
    /// Bytes were written and not flushed yet.
    unflushed: Cell<bool>,
    /// Counts the reads, so that a pause can be told from one.
    reads: Cell<u64>,
    bytes: Cell<u64>,
}

impl Activity {
    /// Of a connection that counts its requests there.
    pub(super) fn of(in_flight: &InFlight) -> Rc<Self> {
        Rc::new(Self {
            in_flight: in_flight.clone(),
            in_head: Cell::new(false),
            unflushed: Cell::new(false),
            reads: Cell::new(0),
            bytes: Cell::new(0),
        })
    }

    /// A head is complete; what is read now belongs to its body, or to the next.
    pub(super) fn head_completed(&self) {
        self.in_head.set(false);
    }

    /// Whether a head has begun to arrive.
    pub(super) fn is_in_head(&self) -> bool {
        self.in_head.get()
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

    /// The stream itself. What was put back must have been read by now.
    pub(super) fn into_inner(self) -> S {
        self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = if self.put_back.is_empty() {
            Pin::new(&mut self.stream).poll_read(cx, buf)
        } else {
            let length = self.put_back.len().min(buf.remaining());
            buf.put_slice(&self.put_back[..length]);
            self.put_back.advance(length);
            Poll::Ready(Ok(()))
        };
        let read = buf.filled().len() - before;
        if read > 0 {
            self.activity
                .bytes
                .set(self.activity.bytes.get() + read as u64);
            // While a request is in flight, what is read is its body.
            if self.activity.in_flight.is_zero() {
                self.activity.in_head.set(true);
            }
            self.activity.reads.set(self.activity.reads.get() + 1);
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
