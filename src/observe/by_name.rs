//! Series that go by a name of the configuration's, for as long as it has the name.
//!
//! Names come and go with every reload, and nobody restarts the gateway for it: what went by a
//! name that is gone is told once more, so that its last counts are not lost, and then removed.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

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
    by_name: BTreeMap<Arc<str>, T>,
    /// The names there are; `None` until somebody has said.
    names: Option<HashSet<Arc<str>>>,
}

impl<T: Default> ByName<T> {
    /// Does something to what goes by this name.
    pub(super) fn with<R>(&self, name: &Arc<str>, what: impl FnOnce(&mut T) -> R) -> R {
        let mut series = self.series();
        if let Some(known) = series.by_name.get_mut(name) {
            return what(known);
        }
        what(series.by_name.entry(Arc::clone(name)).or_default())
    }

    /// How often something has been removed: who remembers a `T` must look it up anew when this
    /// has changed.
    pub(super) fn removals(&self) -> u64 {
        self.0.removals.load(Ordering::Relaxed)
    }

    /// From now on there are these names. What has gone by another that is gone already is
    /// removed, told or not; but for what is `needed` still.
    pub(super) fn publish(&self, names: HashSet<Arc<str>>, needed: impl Fn(&T) -> bool) {
        let mut series = self.series();
        let before = series.names.replace(names);
        self.keep(&mut series, |name, names, of_name| {
            let were = before.as_ref().is_none_or(|before| before.contains(name));
            were || names.contains(name) || needed(of_name)
        });
    }

    /// Tells of all there is, and removes what goes by a name that is gone and is not `needed`.
    pub(super) fn tell(
        &self,
        tell: impl FnOnce(&BTreeMap<Arc<str>, T>) -> fmt::Result,
        needed: impl Fn(&T) -> bool,
    ) -> fmt::Result {
        let mut series = self.series();
        tell(&series.by_name)?;
        self.keep(&mut series, |name, names, of_name| {
            names.contains(name) || needed(of_name)
        });
        Ok(())
    }

    fn keep(
        &self,
        series: &mut Series<T>,
        keeps: impl Fn(&Arc<str>, &HashSet<Arc<str>>, &T) -> bool,
    ) {
        let Some(names) = &series.names else {
            return;
        };
        let before = series.by_name.len();
        series
            .by_name
            .retain(|name, of_name| keeps(name, names, of_name));
        if series.by_name.len() < before {
            self.0.removals.fetch_add(1, Ordering::Relaxed);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> HashSet<Arc<str>> {
        names.iter().map(|name| Arc::from(*name)).collect()
    }

    fn count(by_name: &ByName<u32>, name: &str) {
        by_name.with(&Arc::from(name), |count| *count += 1);
    }

    /// What is told, as `name=count`; what counts 9 is needed.
    fn told(by_name: &ByName<u32>) -> Vec<String> {
        let mut told = Vec::new();
        let tell = |series: &BTreeMap<Arc<str>, u32>| {
            told.extend(series.iter().map(|(name, count)| format!("{name}={count}")));
            Ok(())
        };
        by_name.tell(tell, |count| *count == 9).unwrap();
        told
    }

    #[test]
    fn what_goes_by_a_name_that_is_gone_is_told_once_more() {
        let by_name = ByName::default();
        count(&by_name, "a");
        count(&by_name, "b");
        assert_eq!(
            told(&by_name),
            ["a=1", "b=1"],
            "nobody has said which there are"
        );
        by_name.publish(names(&["a", "b"]), |_| false);
        by_name.publish(names(&["a"]), |_| false);
        count(&by_name, "b");
        assert_eq!(
            (told(&by_name), by_name.removals()),
            (vec!["a=1".to_owned(), "b=2".to_owned()], 1)
        );
        assert_eq!(told(&by_name), ["a=1"]);
        by_name.publish(names(&["a", "b"]), |_| false);
        count(&by_name, "b");
        assert_eq!(told(&by_name), ["a=1", "b=1"]);
        assert_eq!(by_name.removals(), 1);
    }

    #[test]
    fn names_that_change_all_the_time_are_not_held_even_if_nobody_asks() {
        let by_name = ByName::default();
        for number in 0..100 {
            let name = format!("route-{number}");
            by_name.publish(names(&[&name]), |_| false);
            count(&by_name, &name);
        }
        assert_eq!(told(&by_name), ["route-98=1", "route-99=1"]);
    }

    #[test]
    fn what_is_needed_stays_whatever_there_is() {
        let by_name = ByName::default();
        by_name.publish(names(&["a"]), |_| false);
        by_name.with(&Arc::from("a"), |count| *count = 9);
        by_name.publish(names(&[]), |count| *count == 9);
        by_name.publish(names(&[]), |count| *count == 9);
        assert_eq!(told(&by_name), ["a=9"]);
        assert_eq!(told(&by_name), ["a=9"]);
        by_name.with(&Arc::from("a"), |count| *count = 0);
        assert_eq!(told(&by_name), ["a=0"]);
        assert_eq!(told(&by_name), Vec::<String>::new());
    }
}
