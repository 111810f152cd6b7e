//! How the pieces of a stream become larger: by what has come, and out of memory put by for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

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

/// How a buffer becomes larger, and small again.
#[derive(Debug)]
pub(super) struct Growth {
    /// What it is without a surplus, in bytes; a power of two.
    usual: usize,
    /// What it may be, in bytes; a power of two.
    most: usize,
    surplus: Surplus,
    /// What has come in large parts without a pause, and since when.
    flowed: usize,
    since: Option<Instant>,
    /// Reads in a row that brought little.
    small_reads: usize,
    /// The memory, once there was some.
    granted: Option<OwnedSemaphorePermit>,
}

impl Growth {
    pub(super) fn between(usual: usize, most: usize, surplus: &Surplus) -> Self {
        Self {
            usual,
            most,
            surplus: surplus.clone(),
            flowed: 0,
            since: None,
            small_reads: 0,
            granted: None,
        }
    }

    /// Whether the buffer has become large.
    pub(super) fn has_begun(&self) -> bool {
        self.granted.is_some()
    }

    /// What the buffer should be, in bytes, now that one read has brought so much.
    pub(super) fn after(&mut self, length: usize, now: impl FnOnce() -> Instant) -> usize {
        if length < self.usual / 2 {
            self.note_small();
        } else {
            self.note_large(length, now);
        }
        if self.has_begun() {
            self.most
        } else {
            self.usual
        }
    }

    fn note_small(&mut self) {
        (self.flowed, self.since) = (0, None);
        self.small_reads += 1;
        if self.small_reads >= MANY_SMALL_READS {
            self.small_reads = 0;
            self.granted = None;
        }
    }

    fn note_large(&mut self, length: usize, now: impl FnOnce() -> Instant) {
        self.small_reads = 0;
        self.flowed += length;
        let Some(since) = self.since else {
            self.since = Some(now());
            return;
        };
        if self.flowed < MUCH_BYTES {
            return;
        }
        let now = now();
        // Who takes its time gains nothing by larger pieces, however long it goes on. What is held of
        // them still fits into a client's share of the memory.
        if now.duration_since(since) > SOON {
            self.granted = None;
        } else if self.granted.is_none() {
            let more = (self.most - self.usual) * HELD_AT_ONCE;
            self.granted = self.surplus.take(more);
        }
        (self.flowed, self.since) = (0, Some(now));
    }
}

/// Bytes that come without a pause before they are read in larger pieces: more than the systems on
/// the way hold for a receiver that takes nothing.
pub(super) const MUCH_BYTES: usize = 8 * 1024 * 1024;

/// The time within which they come: less than a megabyte a second is no flow, unless there are so
/// many that the surplus would not be enough for them.
const SOON: Duration = Duration::from_secs(10);

/// Small reads in a row after which a stream flows no more: enough that no piece of it that was
/// large is held any longer. hyper's own buffer may stay as large as it was, which an upstream's
/// share of the memory has room for.
pub(super) const MANY_SMALL_READS: usize = 16;

/// Pieces that are held of one stream at most, where their receiver takes nothing: measured are
/// six, in buffers of hyper's on both sides, of TLS, and on the way between them.
pub(super) const HELD_AT_ONCE: usize = 8;

/// What memory is counted in.
const UNIT: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: usize = 16 * 1024;
    const LARGE: usize = 64 * 1024;

    /// A stream of large parts.
    struct Stream {
        growth: Growth,
        now: Instant,
    }

    impl Stream {
        /// What the buffer is after enough of them, each of which takes so long to come.
        fn after_much(&mut self, each: Duration) -> usize {
            let mut size = 0;
            for _ in 0..MUCH_BYTES / USUAL {
                self.now += each;
                size = self.growth.after(USUAL, || self.now);
            }
            size
        }
    }

    /// So many come within the time, or just do not.
    const FAST: Duration = Duration::from_millis(19);
    const SLOW: Duration = Duration::from_millis(20);

    #[test]
    fn t117_who_takes_its_time_has_nothing_of_what_is_for_the_fast() {
        let mut stream = Stream {
            growth: Growth::between(USUAL, LARGE, &Surplus::of(1024 * 1024)),
            now: Instant::now(),
        };
        assert_eq!(stream.after_much(SLOW), USUAL);
        assert_eq!(stream.after_much(FAST), LARGE);
        assert_eq!(stream.after_much(FAST), LARGE);
        assert_eq!(stream.after_much(SLOW), USUAL);
    }
}
