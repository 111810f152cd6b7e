//! How much of a request's body is on its way between the client and the upstream.
//!
//! hyper takes as much of it as it may read of an answer at once, which is a lot more than should
//! be held for an upstream that takes nothing. So each portion tells when it has been written, and
//! no more than a little is handed over before that.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use atomic_waker::AtomicWaker;
use bytes::{Buf, Bytes};

/// What was handed over of one body and has not been written yet.
#[derive(Debug, Default)]
pub(super) struct Backlog(Arc<Unwritten>);

#[derive(Debug, Default)]
struct Unwritten {
    bytes: AtomicUsize,
    waker: AtomicWaker,
}

impl Backlog {
    /// Ready once more may be handed over.
    pub(super) fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        if self.has_room() {
            return Poll::Ready(());
        }
        self.0.waker.register(cx.waker());
        // It may have been written in between.
        if self.has_room() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    fn has_room(&self) -> bool {
        self.0.bytes.load(Ordering::Acquire) < MOST_BYTES
    }

    /// Hands some of the body over.
    pub(super) fn portion(&self, data: Bytes) -> Portion {
        self.0.bytes.fetch_add(data.len(), Ordering::Release);
        Portion {
            length: data.len(),
            data,
            backlog: self.0.clone(),
        }
    }
}

/// Some of a request's body, for as long as it has not been written whole.
#[derive(Debug)]
pub struct Portion {
    data: Bytes,
    length: usize,
    backlog: Arc<Unwritten>,
}

impl Buf for Portion {
    fn remaining(&self) -> usize {
        self.data.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.data.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.data.advance(count);
    }
}

impl Drop for Portion {
    fn drop(&mut self) {
        self.backlog.bytes.fetch_sub(self.length, Ordering::Release);
        self.backlog.waker.wake();
    }
}

/// From so many bytes on, no more is handed over.
const MOST_BYTES: usize = 32 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::{Wake, Waker};

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn p20_no_more_is_handed_over_until_some_has_been_written() {
        let (backlog, woken) = (Backlog::default(), Arc::new(Woken::default()));
        let waker = Waker::from(woken.clone());
        let cx = Context::from_waker(&waker);
        let block = Bytes::from(vec![7; MOST_BYTES / 2]);
        let mut first = backlog.portion(block.clone());
        assert!(backlog.poll_room(&cx).is_ready());
        let _second = backlog.portion(block);
        assert!(backlog.poll_room(&cx).is_pending());
        first.advance(MOST_BYTES / 4);
        assert!(backlog.poll_room(&cx).is_pending());
        drop(first);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert!(backlog.poll_room(&cx).is_ready());
    }
}
