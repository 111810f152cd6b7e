//! How the pieces of a stream become larger: by what has come, and out of memory put by for it.

use std::time::{Duration, Instant};

use super::surplus::{Share, Surplus};

/// How large the pieces of a stream are.
#[derive(Debug)]
pub(super) struct Growth {
    /// Without a surplus, in bytes; a power of two.
    usual: usize,
    /// With one, in bytes; powers of two, the largest first.
    larger: &'static [usize],
    surplus: Surplus,
    share: Share,
    /// What has come in large parts without a pause, and since when.
    flowed: usize,
    since: Option<Instant>,
    /// Whether that was much in a short time, the last time that it was much.
    is_fast: bool,
    /// Reads in a row that brought little, or not much in a short time.
    calm_reads: usize,
    /// Whether the buffer may have become large.
    has_begun: bool,
}

impl Growth {
    pub(super) fn new(usual: usize, larger: &'static [usize], surplus: &Surplus) -> Self {
        Self {
            usual,
            larger,
            surplus: surplus.clone(),
            share: Share::default(),
            flowed: 0,
            since: None,
            is_fast: false,
            calm_reads: 0,
            has_begun: false,
        }
    }

    pub(super) fn share(&self) -> Share {
        self.share.clone()
    }

    /// Whether the buffer may have become large.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// How large the next piece may be, in bytes.
    pub(super) fn size(&self) -> usize {
        let larger = self.is_fast.then(|| self.share.size()).flatten();
        larger.unwrap_or(self.usual)
    }

    /// Notes that one read has brought so much.
    pub(super) fn note(&mut self, length: usize, now: impl FnOnce() -> Instant) {
        if length < self.usual / 2 {
            (self.flowed, self.since) = (0, None);
            self.calm();
            return;
        }
        self.flowed += length;
        match self.since {
            None => self.since = Some(now()),
            Some(since) if self.flowed >= MUCH_BYTES => {
                let now = now();
                // Who takes its time gains nothing by larger pieces, however long it goes on.
                self.is_fast = now.duration_since(since) <= SOON;
                (self.flowed, self.since) = (0, Some(now));
            }
            Some(_) => {}
        }
        if self.is_fast {
            self.calm_reads = 0;
            self.has_begun |= self.share.take(&self.surplus, self.larger);
        } else {
            self.calm();
        }
    }

    fn calm(&mut self) {
        self.calm_reads += 1;
        if self.calm_reads == MANY_CALM_READS {
            self.is_fast = false;
            self.share.let_go();
        }
    }
}

/// Bytes that come without a pause before they are read in larger pieces: more than the systems on
/// the way hold for a receiver that takes nothing.
pub(super) const MUCH_BYTES: usize = 8 * 1024 * 1024;

/// The time within which they come: less than a megabyte a second is no flow, unless there are so
/// many that the surplus would not be enough for them.
const SOON: Duration = Duration::from_secs(10);

/// Calm reads in a row after which a stream flows no more: enough that all of its pieces that were
/// large have been handed on.
pub(super) const MANY_CALM_READS: usize = 16;

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
            for _ in 0..MUCH_BYTES / USUAL {
                self.now += each;
                self.growth.note(USUAL, || self.now);
            }
            self.growth.size()
        }
    }

    /// So many come within the time, or just do not.
    const FAST: Duration = Duration::from_millis(19);
    const SLOW: Duration = Duration::from_millis(20);

    #[test]
    fn who_was_fast_when_there_was_no_memory_and_then_goes_on_with_little_starts_again() {
        let surplus = Surplus::of(1024 * 1024);
        let others = surplus.take(1024 * 1024);
        let mut stream = Stream {
            growth: Growth::new(USUAL, &[LARGE], &surplus),
            now: Instant::now(),
        };
        assert_eq!(stream.after_much(FAST), USUAL);
        drop(others);
        for _ in 0..MANY_CALM_READS {
            stream.growth.note(1, || stream.now);
        }
        stream.growth.note(USUAL, || stream.now);
        assert_eq!(stream.growth.size(), USUAL);
        assert_eq!(stream.after_much(FAST), LARGE);
    }

    #[test]
    fn t117_who_takes_its_time_has_nothing_of_what_is_for_the_fast() {
        let mut stream = Stream {
            growth: Growth::new(USUAL, &[LARGE], &Surplus::of(1024 * 1024)),
            now: Instant::now(),
        };
        assert_eq!(stream.after_much(SLOW), USUAL);
        assert_eq!(stream.after_much(FAST), LARGE);
        assert_eq!(stream.after_much(FAST), LARGE);
        assert_eq!(stream.after_much(SLOW), USUAL);
    }
}
