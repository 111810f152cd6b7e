//! The way to a WebSocket's client: shut, when the time comes, between two frames.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

use super::websocket::Frames;

/// Where the stream of frames to the client is, and whether it is to stop at the next end of one.
#[derive(Default)]
pub(super) struct Gate {
    frames: Cell<Frames>,
    closing: Cell<bool>,
}

impl Gate {
    /// From now on nothing passes but the rest of the frame under way.
    pub(super) fn close(&self) {
        self.closing.set(true);
    }

    /// Whether another frame could be put in here.
    pub(super) fn is_between_frames(&self) -> bool {
        self.frames.get().is_between()
    }

    /// Whether the last frame has gone by.
    pub(super) fn has_seen_close(&self) -> bool {
        self.frames.get().is_closed()
    }

    /// How much of this may pass.
    fn admits(&self, bytes: &[u8]) -> usize {
        if !self.closing.get() {
            return bytes.len();
        }
        let mut frames = self.frames.get();
        if frames.is_between() {
            return 0;
        }
        frames.advance(bytes)
    }

    fn passed(&self, bytes: &[u8]) {
        let mut frames = self.frames.get();
        let mut seen = 0;
        while seen < bytes.len() {
            seen += frames.advance(&bytes[seen..]);
        }
        self.frames.set(frames);
    }
}

/// The client's side behind the gate.
pub(super) struct Gated<'g, W> {
    pub(super) stream: W,
    pub(super) gate: &'g Gate,
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Gated<'_, W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let admitted = self.gate.admits(bytes);
        if admitted == 0 && !bytes.is_empty() {
            // For ever: whoever shut the gate does not wait for this.
            return Poll::Pending;
        }
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &bytes[..admitted]))?;
        self.gate.passed(&bytes[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
