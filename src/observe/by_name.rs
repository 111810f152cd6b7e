//! Series that go by a name of the configuration's, and for a while after it has the name no more.
//!
//! Names come and go with every reload, and nobody restarts the gateway for it. What goes by a name
//! that is gone is told on for as long as it takes everybody to have asked; a name that comes back
//! meanwhile goes on counting. Then it is removed, or `/metrics` would grow for ever.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::TypedMetric;
use prometheus_client::registry::Unit;

/// One `T` for each name. Clones are the same one.
#[derive(Debug)]
pub(super) struct ByName<T>(Arc<Mutex<Series<T>>>);

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

/// Something that is told of a name. Clones count together.
pub(super) trait Told: Clone {
    /// Whether it counts something that has not come to its end.
    fn is_needed(&self) -> bool;
}

impl<T: Told> ByName<T> {
    /// What goes by this name, if need be a new one.
    pub(super) fn get(&self, name: &str, new: impl FnOnce() -> T) -> T {
        let mut series = self.series();
        if let Some(known) = series.by_name.get(name) {
            return known.metrics.clone();
        }
        let is_gone = series
            .names
            .as_ref()
            .is_some_and(|names| !names.contains(name));
        let metrics = new();
        let named = Named {
            metrics: metrics.clone(),
            gone: is_gone.then(Instant::now),
        };
        series.by_name.insert(Arc::from(name), named);
        metrics
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
    }

    /// All there is, by name. Workers need not wait until it is told.
    pub(super) fn all(&self) -> Vec<(Arc<str>, T)> {
        let series = self.series();
        let all = series.by_name.iter();
        all.map(|(name, named)| (Arc::clone(name), named.metrics.clone()))
            .collect()
    }

    fn series(&self) -> MutexGuard<'_, Series<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Default for ByName<T> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Series {
            by_name: BTreeMap::new(),
            names: None,
        })))
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
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A count; from 100 on it is needed.
    #[derive(Debug, Default, Clone)]
    struct Count(Arc<AtomicU32>);

    impl Count {
        fn get(&self) -> u32 {
            self.0.load(Ordering::Relaxed)
        }
    }

    impl Told for Count {
        fn is_needed(&self) -> bool {
            self.get() >= 100
        }
    }

    fn names(names: &[&str]) -> HashSet<Arc<str>> {
        names.iter().map(|name| Arc::from(*name)).collect()
    }

    fn count(by_name: &ByName<Count>, name: &str, more: u32) {
        let count = by_name.get(name, Count::default);
        count.0.fetch_add(more, Ordering::Relaxed);
    }

    fn told(by_name: &ByName<Count>) -> Vec<String> {
        let all = by_name.all();
        all.iter()
            .map(|(name, count)| format!("{name}={}", count.get()))
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
        by_name.tidy(now + TOLD_FOR);
        assert_eq!(told(&by_name), ["a=1"]);
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
        let count = by_name.get("a", Count::default);
        count.0.store(0, Ordering::Relaxed);
        by_name.tidy(now + TOLD_FOR * 2);
        assert_eq!(told(&by_name), [""; 0]);
    }
}
