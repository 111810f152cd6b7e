//! A route's name, and with it what is counted of its requests.
//!
//! Of ten thousand routes none is in the processor's cache when it is asked for. So what counts a
//! request is not looked up by the name: it lies beside it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use smol_str::SmolStr;

use super::by_name::Told;
use super::histogram::Histogram;

/// What a route is called in the log and in the metrics. Clones are the same one, of all workers
/// together.
#[derive(Debug, Clone)]
pub struct RouteName(Arc<Named>);

#[derive(Debug)]
struct Named {
    text: SmolStr,
    outcomes: OnceLock<Outcome>,
    durations: OnceLock<Box<Durations>>,
}

/// A way in which requests of one route ended, and their number.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) status: u16,
    pub(super) reason: &'static str,
    count: AtomicU64,
    /// The next one that was met: there is a handful, so a search beats a hash.
    next: OnceLock<Box<Self>>,
}

/// How long requests took, and their upstreams.
#[derive(Debug, Clone, Default)]
pub(super) struct Durations {
    pub(super) request: Histogram,
    pub(super) upstream: Histogram,
}

impl RouteName {
    /// A name of which nothing has been counted.
    pub(super) fn new(text: &str) -> Self {
        Self(Arc::new(Named {
            text: text.into(),
            outcomes: OnceLock::new(),
            durations: OnceLock::new(),
        }))
    }

    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// Counts a request that ended like this. It locks nothing, unless it is the first.
    pub(super) fn count(&self, status: u16, reason: &'static str) {
        let new = || Outcome::new(status, reason);
        let mut outcome = self.0.outcomes.get_or_init(new);
        while outcome.status != status || outcome.reason != reason {
            outcome = outcome.next.get_or_init(|| Box::new(new()));
        }
        outcome.count.fetch_add(1, Ordering::Relaxed);
    }

    /// How requests ended so far.
    pub(super) fn outcomes(&self) -> impl Iterator<Item = &Outcome> {
        std::iter::successors(self.0.outcomes.get(), |outcome| {
            outcome.next.get().map(|next| &**next)
        })
    }

    /// How long they took, for who wants to count one.
    pub(super) fn durations(&self) -> &Durations {
        self.0.durations.get_or_init(Box::default)
    }

    /// How long they took, if one was counted.
    pub(super) fn counted_durations(&self) -> Option<&Durations> {
        self.0.durations.get().map(|durations| &**durations)
    }
}

impl Outcome {
    const fn new(status: u16, reason: &'static str) -> Self {
        Self {
            status,
            reason,
            count: AtomicU64::new(0),
            next: OnceLock::new(),
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

impl Told for RouteName {
    /// As long as there is a route, or a request under way, that has it.
    fn is_needed(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

impl fmt::Display for RouteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn counts(name: &RouteName) -> Vec<(u16, &'static str, u64)> {
        let outcomes = name.outcomes();
        outcomes
            .map(|outcome| (outcome.status, outcome.reason, outcome.count()))
            .collect()
    }

    #[test]
    fn each_way_to_end_is_counted_for_itself() {
        let name = RouteName::new("orders");
        assert_eq!(counts(&name), []);
        for (status, reason) in [(200, "ok"), (404, "ok"), (200, "ok"), (200, "broke_off")] {
            name.count(status, reason);
        }
        assert_eq!(
            counts(&name),
            [(200, "ok", 2), (404, "ok", 1), (200, "broke_off", 1)]
        );
    }

    #[test]
    fn a_name_is_needed_as_long_as_somebody_has_it() {
        let name = RouteName::new("orders");
        assert!(!name.is_needed());
        let held = name.clone();
        assert!(name.is_needed());
        drop(held);
        assert!(!name.is_needed());
    }

    #[test]
    fn nothing_is_lost_when_threads_meet_something_new_at_once() {
        let name = RouteName::new("orders");
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for number in 0..1_000 {
                        name.count(200 + number % 10, "ok");
                    }
                });
            }
        });
        let mut counts = counts(&name);
        counts.sort_unstable();
        let expected: Vec<_> = (200..210).map(|status| (status, "ok", 400)).collect();
        assert_eq!(counts, expected);
    }
}
