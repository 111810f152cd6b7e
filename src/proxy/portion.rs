//! How much of the bodies is on its way from one side to the other.
//!
//! hyper takes as much of a body as it may read at once, which is a lot more than should be held
//! for a receiver that takes nothing. So each portion tells when it has been written, and no more
//! than a little is handed over before that.
//!
//! On a connection of HTTP/2 there are many answers at once, and what they hold together is
//! bounded. Beyond the bound each may still hand over a very little, so that those which nobody
//! reads do not keep back those which somebody does.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use atomic_waker::AtomicWaker;
use bytes::{Buf, Bytes};

use crate::pieces::Grant;

/// What the answers of one connection may hold together before it is written.
#[derive(Debug, Clone)]
pub struct Allowance(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    held: AtomicUsize,
    most: usize,
    /// Heads that may not have been written.
    heads: AtomicUsize,
}

impl Allowance {
    /// So many bytes.
    pub fn of(bytes: usize) -> Self {
        Self(Arc::new(Shared {
            held: AtomicUsize::new(0),
            most: bytes,
            heads: AtomicUsize::new(0),
        }))
    }

    /// One more head is handed over. Whether there are so many by now that it should not keep the
    /// buffer that it came in.
    pub(super) fn one_more_head(&self) -> bool {
        self.0.heads.fetch_add(1, Ordering::Relaxed) >= FEW_HEADS
    }

    /// All heads have been written.
    pub(super) fn heads_written(&self) {
        self.0.heads.store(0, Ordering::Relaxed);
    }

    /// Whether so much is held that small portions should not keep the buffers that they came in.
    fn is_strained(&self) -> bool {
        self.0.held.load(Ordering::Relaxed) >= self.0.most / 4
    }

    fn left(&self) -> usize {
        let held = self.0.held.load(Ordering::Relaxed);
        self.0.most.saturating_sub(held)
    }
}

/// What was handed over of one body and has not been written yet. Clones are the same one.
#[derive(Debug, Default, Clone)]
pub(super) struct Backlog(Arc<Unwritten>);

#[derive(Debug, Default)]
struct Unwritten {
    bytes: AtomicUsize,
    /// What has been written since that was asked.
    written: AtomicUsize,
    waker: AtomicWaker,
    /// Shared with other bodies; without one, it is this body's alone.
    allowance: Option<Allowance>,
}

impl Backlog {
    /// Of a body that shares an allowance with others.
    pub(super) fn sharing(allowance: &Allowance) -> Self {
        Self(Arc::new(Unwritten {
            allowance: Some(allowance.clone()),
            ..Unwritten::default()
        }))
    }

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

    /// Whether more than a very little has been written since this was so last.
    pub(super) fn has_moved(&self) -> bool {
        let has_moved = self.0.written.load(Ordering::Relaxed) >= LITTLE_BYTES;
        if has_moved {
            self.0.written.store(0, Ordering::Relaxed);
        }
        has_moved
    }

    fn has_room(&self) -> bool {
        let bytes = self.0.bytes.load(Ordering::Acquire);
        match &self.0.allowance {
            None => bytes < MOST_BYTES,
            // What is its own will be written in its turn, which wakes it.
            Some(allowance) => bytes == 0 || allowance.left() >= LITTLE_BYTES,
        }
    }

    /// Hands as much over as there is room for; with what is put by for the buffer that it is in,
    /// if that is large.
    pub(super) fn portion(&self, data: &mut Bytes, grant: Option<Grant>) -> Portion {
        let Some(allowance) = &self.0.allowance else {
            return self.holding(data.len(), std::mem::take(data), grant);
        };
        let room = allowance.left().max(LITTLE_BYTES);
        let part = data.split_to(room.min(data.len()));
        if part.len() > SMALL_BYTES {
            return self.holding(part.len(), part, grant);
        }
        // It may be all that is left of its buffer, and keep that.
        if allowance.is_strained() {
            self.holding(part.len(), Bytes::copy_from_slice(&part), None)
        } else {
            self.holding(SMALL_BYTES, part, grant)
        }
    }

    fn holding(&self, bytes: usize, data: Bytes, grant: Option<Grant>) -> Portion {
        let bytes = bytes + FRAME_BYTES;
        let (data, grant) = out_of_large(data, grant);
        self.0.bytes.fetch_add(bytes, Ordering::Release);
        if let Some(allowance) = &self.0.allowance {
            allowance.0.held.fetch_add(bytes, Ordering::Relaxed);
        }
        Portion {
            data,
            held: Some(Held {
                bytes,
                backlog: self.0.clone(),
            }),
            _grant: grant,
        }
    }
}

/// Some of a body, for as long as it has not been written whole.
#[derive(Debug)]
pub struct Portion {
    data: Bytes,
    held: Option<Held>,
    /// Of the memory put by for large ones.
    _grant: Option<Grant>,
}

#[derive(Debug)]
struct Held {
    bytes: usize,
    backlog: Arc<Unwritten>,
}

impl Portion {
    /// All of it, which no backlog counts; with what is put by for the buffer that it is in, if
    /// that is large.
    pub(super) fn uncounted(data: Bytes, grant: Option<Grant>) -> Self {
        let (data, grant) = out_of_large(data, grant);
        Self {
            data,
            held: None,
            _grant: grant,
        }
    }
}

/// What is small leaves the large buffer that it came in, and what is put by for that. An upstream
/// can bring next to nothing in many of them.
fn out_of_large(data: Bytes, grant: Option<Grant>) -> (Bytes, Option<Grant>) {
    match grant {
        Some(_) if data.len() <= SMALL_BYTES => (Bytes::copy_from_slice(&data), None),
        grant => (data, grant),
    }
}

/// What is our own.
impl From<Bytes> for Portion {
    fn from(data: Bytes) -> Self {
        Self::uncounted(data, None)
    }
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
        if let Some(held) = &self.held {
            held.backlog.written.fetch_add(count, Ordering::Relaxed);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(allowance) = &self.backlog.allowance {
            allowance.0.held.fetch_sub(self.bytes, Ordering::Relaxed);
        }
        self.backlog.bytes.fetch_sub(self.bytes, Ordering::Release);
        self.backlog.waker.wake();
    }
}

/// From so many bytes on, no more is handed over of a body that shares with none.
const MOST_BYTES: usize = 32 * 1024;

/// What a body may hand over even if others hold all there is, as long as it holds nothing itself;
/// and of a large portion, what has to be taken now and then.
const LITTLE_BYTES: usize = 1024;

/// As many answers as a client usually waits for at once.
const FEW_HEADS: usize = 16;

/// Up to this size, a portion counts for more than itself, or is copied.
const SMALL_BYTES: usize = 8 * 1024;

/// What a portion takes beside its bytes.
const FRAME_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pieces::Surplus;
    use std::task::{Wake, Waker};

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Woken {
        fn times(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn p20_no_more_is_handed_over_until_some_has_been_written() {
        let (backlog, woken) = (Backlog::default(), Arc::new(Woken::default()));
        let waker = Waker::from(woken.clone());
        let cx = Context::from_waker(&waker);
        let block = Bytes::from(vec![7; MOST_BYTES / 2]);
        let mut first = backlog.portion(&mut block.clone(), None);
        assert!(backlog.poll_room(&cx).is_ready());
        let _second = backlog.portion(&mut block.clone(), None);
        assert!(backlog.poll_room(&cx).is_pending());
        first.advance(MOST_BYTES / 4);
        assert!(backlog.poll_room(&cx).is_pending());
        drop(first);
        assert_eq!(woken.times(), 1);
        assert!(backlog.poll_room(&cx).is_ready());
    }

    #[test]
    fn t117_answers_that_nobody_reads_leave_the_others_a_little_at_a_time() {
        const MOST: usize = 64 * 1024;
        let allowance = Allowance::of(MOST);
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let cx = Context::from_waker(&waker);
        let (unread, read) = (Backlog::sharing(&allowance), Backlog::sharing(&allowance));
        let mut flood = Bytes::from(vec![7; 2 * MOST]);
        let kept = unread.portion(&mut flood, None);
        assert_eq!(kept.remaining(), MOST);
        assert!(unread.poll_room(&cx).is_pending());
        let mut body = Bytes::from(vec![8; 2 * LITTLE_BYTES]);
        assert!(read.poll_room(&cx).is_ready());
        let little = read.portion(&mut body, None);
        assert_eq!(little.remaining(), LITTLE_BYTES);
        assert_eq!(body.len(), LITTLE_BYTES);
        assert!(read.poll_room(&cx).is_pending());
        drop(little);
        assert_eq!(woken.times(), 1);
        assert!(read.poll_room(&cx).is_ready());
        drop(kept);
        assert_eq!(allowance.left(), MOST);
        assert!(unread.poll_room(&cx).is_ready());
    }

    #[test]
    fn t117_few_small_portions_keep_the_buffers_that_they_came_in() {
        let backlog = Backlog::sharing(&Allowance::of(8 * SMALL_BYTES));
        let keep_their_buffer = (0..100).map(|_| {
            let mut buffer = Bytes::from(vec![7; SMALL_BYTES]);
            let portion = backlog.portion(&mut buffer.split_to(10), None);
            assert_eq!(portion.remaining(), 10);
            (!buffer.is_unique(), portion)
        });
        let kept: Vec<_> = keep_their_buffer.collect();
        assert_eq!(kept.iter().filter(|(keeps, _)| *keeps).count(), 2);
    }

    #[test]
    fn t117_what_was_put_by_for_a_large_portion_is_free_when_it_has_been_written() {
        const GRANT: usize = 1024;
        let surplus = Surplus::of(GRANT);
        let hands_over: [fn(Bytes, Option<Grant>) -> Portion; 3] = [
            Portion::uncounted,
            |mut data, grant| Backlog::default().portion(&mut data, grant),
            |mut data, grant| {
                Backlog::sharing(&Allowance::of(MOST_BYTES)).portion(&mut data, grant)
            },
        ];
        for hand_over in hands_over {
            for (length, keeps_its_buffer) in [(SMALL_BYTES, false), (SMALL_BYTES + 1, true)] {
                let mut buffer = Bytes::from(vec![7; 2 * length]);
                let portion = hand_over(buffer.split_to(length), surplus.take(GRANT));
                assert_eq!(portion.chunk(), vec![7; length]);
                assert_eq!(!buffer.is_unique(), keeps_its_buffer);
                assert_eq!(surplus.take(GRANT).is_none(), keeps_its_buffer);
                drop(portion);
                assert!(surplus.take(GRANT).is_some());
            }
        }
    }

    #[test]
    fn t117_few_heads_keep_the_buffers_that_they_came_in() {
        let allowance = Allowance::of(MOST_BYTES);
        let copied = || (0..100).filter(|_| allowance.one_more_head()).count();
        assert_eq!(copied(), 100 - FEW_HEADS);
        allowance.heads_written();
        assert_eq!(copied(), 100 - FEW_HEADS);
    }
}
