//! Series that go by a name of the configuration's, and for a while after it has the name no more.
//!
//! Names come and go with every reload, and nobody restarts the gateway for it. What goes by a name
//! that is gone is told on for as long as it takes everybody to have asked; a name that comes back
//! meanwhile goes on counting. Then it is removed, or `/metrics` would grow for ever.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::TypedMetric;
use prometheus_client::registry::Unit;

/// One `T` for each name. Clones are the same one.
#[derive(Debug)]
pub(super) struct ByName<T>(Arc<Shared<T>>);

#[derive(Debug)]
struct Shared<T> {
    series: Mutex<Series<T>>,
    /// Counts the times when something was removed.
    removals: AtomicU64,
}

#[derive(Debug)]
struct Series<T> {
    by_name: BTreeMap<Arc<str>, Named<T>>,
    /// The names there are; `None` until somebody has said.
    names: Option<HashSet<Arc<str>>>,
}

#[derive(Debug)]
struct Named<T> {
    metrics: T,
    /// Since when there is no such name.
    gone: Option<Instant>,
}

/// Something that is told of a name.
pub(super) trait Told: Clone + Default {
    /// Whether it counts something that has not come to its end.
    fn is_needed(&self) -> bool;
}

impl<T: Told> ByName<T> {
    /// Does something to what goes by this name.
    pub(super) fn with<R>(&self, name: &Arc<str>, what: impl FnOnce(&mut T) -> R) -> R {
        let mut series = self.series();
        if let Some(known) = series.by_name.get_mut(name) {
            return what(&mut known.metrics);
        }
        let is_gone = series
            .names
            .as_ref()
            .is_some_and(|names| !names.contains(name));
        let new = Named {
            metrics: T::default(),
            gone: is_gone.then(Instant::now),
        };
        what(
            &mut series
                .by_name
                .entry(Arc::clone(name))
                .or_insert(new)
                .metrics,
        )
    }

    /// How often something has been removed: who remembers a `T` must look it up anew when this
    /// has changed.
    pub(super) fn removals(&self) -> u64 {
        self.0.removals.load(Ordering::Relaxed)
    }

    /// From now on there are these names.
    pub(super) fn publish(&self, names: HashSet<Arc<str>>, now: Instant) {
        let mut series = self.series();
        for (name, named) in &mut series.by_name {
            named.gone = match named.gone {
                _ if names.contains(name) => None,
                Some(since) => Some(since),
                None => Some(now),
            };
        }
        series.names = Some(names);
        drop(series);
        self.tidy(now);
    }

    /// Removes what has gone by a name that is gone for long enough, and if there are too many of
    /// those, the longest gone.
    pub(super) fn tidy(&self, now: Instant) {
        let mut series = self.series();
        let most = series
            .names
            .as_ref()
            .map_or(0, HashSet::len)
            .max(LEAST_GONE);
        let unneeded = |named: &Named<T>| named.gone.filter(|_| !named.metrics.is_needed());
        let all = series.by_name.iter();
        let gone = all.filter_map(|(name, named)| Some((unneeded(named)?, Arc::clone(name))));
        let mut gone: Vec<(Instant, Arc<str>)> = gone.collect();
        gone.sort_unstable_by(|one, other| other.cmp(one));
        let too_many = gone.len().saturating_sub(most);
        let for_long = gone
            .iter()
            .rev()
            .take_while(|(since, _)| now.duration_since(*since) >= TOLD_FOR);
        let removed = too_many.max(for_long.count());
        for (_, name) in gone.iter().rev().take(removed) {
            series.by_name.remove(name);
        }
        if removed > 0 {
            self.0.removals.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// All there is, by name. Workers need not wait until it is told.
    pub(super) fn all(&self) -> Vec<(Arc<str>, T)> {
        let series = self.series();
        let all = series.by_name.iter();
        all.map(|(name, named)| (Arc::clone(name), named.metrics.clone()))
            .collect()
    }

    fn series(&self) -> MutexGuard<'_, Series<T>> {
        self.0.series.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Default for ByName<T> {
    fn default() -> Self {
        Self(Arc::new(Shared {
            series: Mutex::new(Series {
                by_name: BTreeMap::new(),
                names: None,
            }),
            removals: AtomicU64::new(0),
        }))
    }
}

impl<T> Clone for ByName<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// Writes one family: its name, what it tells, in which unit, and its samples.
pub(super) fn encode<L: EncodeLabelSet, M: EncodeMetric + TypedMetric>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help, unit): (&str, &str, Option<Unit>),
    samples: impl IntoIterator<Item = (L, M)>,
) -> fmt::Result {
    let help = format!("{help}.");
    let mut family = encoder.encode_descriptor(name, &help, unit.as_ref(), M::TYPE)?;
    for (labels, metric) in samples {
        metric.encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

/// How long that is: everybody who asks does so every few minutes.
const TOLD_FOR: Duration = Duration::from_secs(10 * 60);

/// So many names that are gone are always told of, and as many as there are others.
const LEAST_GONE: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    /// A count; from 100 on it is needed.
    #[derive(Debug, Default, Clone)]
    struct Count(u32);

    impl Told for Count {
        fn is_needed(&self) -> bool {
            self.0 >= 100
        }
    }

    fn names(names: &[&str]) -> HashSet<Arc<str>> {
        names.iter().map(|name| Arc::from(*name)).collect()
    }

    fn count(by_name: &ByName<Count>, name: &str, more: u32) {
        by_name.with(&Arc::from(name), |count| count.0 += more);
    }

    fn told(by_name: &ByName<Count>) -> Vec<String> {
        let all = by_name.all();
        all.iter()
            .map(|(name, count)| format!("{name}={}", count.0))
            .collect()
    }

    #[test]
    fn what_goes_by_a_name_that_is_gone_is_told_for_a_while() {
        let (by_name, now) = (ByName::default(), Instant::now());
        count(&by_name, "a", 1);
        count(&by_name, "b", 1);
        by_name.tidy(now + TOLD_FOR);
        assert_eq!(
            told(&by_name),
            ["a=1", "b=1"],
            "nobody has said which there are"
        );
        by_name.publish(names(&["a", "b"]), now);
        by_name.publish(names(&["a"]), now);
        count(&by_name, "b", 1);
        by_name.tidy(now + TOLD_FOR - Duration::from_secs(1));
        assert_eq!(told(&by_name), ["a=1", "b=2"]);
        assert_eq!(by_name.removals(), 0);
        by_name.tidy(now + TOLD_FOR);
        assert_eq!(told(&by_name), ["a=1"]);
        assert_eq!(by_name.removals(), 1);
        // One of its requests had not come to its end.
        count(&by_name, "b", 1);
        assert_eq!(told(&by_name), ["a=1", "b=1"]);
        by_name.tidy(Instant::now() + TOLD_FOR);
        assert_eq!(told(&by_name), ["a=1"]);
    }

    #[test]
    fn a_name_that_comes_back_goes_on_counting() {
        let (by_name, now) = (ByName::default(), Instant::now());
        by_name.publish(names(&["a"]), now);
        count(&by_name, "a", 1);
        by_name.publish(names(&[]), now);
        by_name.publish(names(&["a"]), now + TOLD_FOR / 2);
        by_name.tidy(now + TOLD_FOR * 2);
        count(&by_name, "a", 1);
        assert_eq!(told(&by_name), ["a=2"]);
        assert_eq!(by_name.removals(), 0);
    }

    #[test]
    fn of_names_that_change_all_the_time_the_last_are_told() {
        let (by_name, now) = (ByName::default(), Instant::now());
        for number in 0..2 * LEAST_GONE {
            let name = format!("route-{number:04}");
            let then = now + Duration::from_millis(number as u64);
            by_name.publish(names(&[&name]), then);
            count(&by_name, &name, 1);
        }
        let told = told(&by_name);
        assert_eq!(told.len(), LEAST_GONE + 1);
        assert_eq!(told[0], format!("route-{:04}=1", LEAST_GONE - 1));
    }

    #[test]
    fn what_is_needed_stays_whatever_there_is() {
        let (by_name, now) = (ByName::default(), Instant::now());
        by_name.publish(names(&["a"]), now);
        count(&by_name, "a", 100);
        by_name.publish(names(&[]), now);
        by_name.tidy(now + TOLD_FOR * 2);
        assert_eq!(told(&by_name), ["a=100"]);
        by_name.with(&Arc::from("a"), |count| count.0 = 0);
        by_name.tidy(now + TOLD_FOR * 2);
        assert_eq!(told(&by_name), [""; 0]);
    }
}
