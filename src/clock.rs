//! What time it is, as the verifier sees it.
//!
//! Tokens speak in wall-clock seconds (`NumericDate`, RFC 7519 §2), so this is the only place
//! that reads the wall clock for a decision. Deadlines are monotonic and never come through here.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Whole seconds since 1970-01-01T00:00:00Z, ignoring leap seconds (RFC 7519 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct NumericDate(u64);

impl NumericDate {
    /// The instant `seconds` after the epoch.
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds)
    }

    /// Seconds since the epoch.
    pub const fn seconds(self) -> u64 {
        self.0
    }

    /// This instant moved `by` into the future; it stops at the last one there is.
    pub const fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(by.as_secs()))
    }
}

/// The wall clock: the system's, or one that a test holds in its hand.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    System,
    Custom(Arc<dyn Fn() -> SystemTime + Send + Sync>),
}

impl Clock {
    /// The system's wall clock.
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that asks `now` each time.
    pub fn from_fn(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Source::Custom(Arc::new(now)))
    }

    /// The present instant with all its precision, for the log.
    pub fn now(&self) -> SystemTime {
        match &self.0 {
            Source::System => SystemTime::now(),
            Source::Custom(now) => now(),
        }
    }

    /// The present instant as tokens count it. A clock set before 1970 reads as 1970, where
    /// every token is not yet valid or absurdly long-lived, but nothing underflows.
    pub fn numeric_date(&self) -> NumericDate {
        let since_epoch = self.now().duration_since(UNIX_EPOCH).unwrap_or_default();
        NumericDate(since_epoch.as_secs())
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match &self.0 {
            Source::System => "Clock::system",
            Source::Custom(_) => "Clock::from_fn",
        })
    }
}
