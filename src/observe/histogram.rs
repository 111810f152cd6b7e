//! A latency histogram that a request updates with two atomic additions and no lock.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// How long things took; clones share the counts.
#[derive(Debug, Clone, Default)]
pub(super) struct Histogram(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// Observations for each of [`BOUNDS`], and last those beyond; not cumulative.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    /// Microseconds: as nanoseconds, ten thousand requests in flight would fill it in three weeks.
    sum: AtomicU64,
}

impl Histogram {
    /// Counts one observation. What is below a microsecond is lost from the sum.
    pub(super) fn observe(&self, duration: Duration) {
        let bucket = BOUNDS.partition_point(|bound| *bound < duration);
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.0.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.0.sum.fetch_add(micros, Ordering::Relaxed);
    }
}

impl TypedMetric for Histogram {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Histogram {
    /// Encodes a moment's view. The count is the sum of the buckets, so these two always agree.
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let bounds = BOUNDS
            .iter()
            .map(Duration::as_secs_f64)
            .chain([f64::INFINITY]);
        let counts = self
            .0
            .buckets
            .iter()
            .map(|count| count.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = Duration::from_micros(self.0.sum.load(Ordering::Relaxed)).as_secs_f64();
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

/// Upper bounds, inclusive. The gateway's own work lies below half a millisecond, so that is where
/// the first bucket ends; 60 s is the longest wait for an upstream's head by default. In between,
/// each step is at most 2.5 times the one before: a quantile read from them is wrong by less than
/// that factor.
const BOUNDS: [Duration; 17] = [
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2_500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2_500),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(20),
    Duration::from_secs(40),
    Duration::from_secs(60),
];

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn counts(histogram: &Histogram) -> Vec<u64> {
        histogram
            .0
            .buckets
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .collect()
    }

    #[test]
    fn bounds_rise_by_small_factors() {
        for pair in BOUNDS.windows(2) {
            assert!(
                pair[0] < pair[1] && pair[1] <= pair[0].mul_f64(2.5),
                "{pair:?}"
            );
        }
    }

    #[test]
    fn a_bound_belongs_to_its_bucket_and_the_next_nanosecond_does_not() {
        for (index, bound) in BOUNDS.into_iter().enumerate() {
            let histogram = Histogram::default();
            histogram.observe(bound);
            histogram.observe(bound + Duration::from_nanos(1));
            assert_eq!(
                (counts(&histogram)[index], counts(&histogram)[index + 1]),
                (1, 1)
            );
        }
    }

    #[test]
    fn nothing_is_lost_between_threads() {
        let histogram = Histogram::default();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for micros in 0..10_000 {
                        histogram.observe(Duration::from_micros(micros));
                    }
                });
            }
        });
        // 0..=500, 501..=1000, 1001..=2500, 2501..=5000, 5001..=9999 µs, four times each.
        assert_eq!(
            counts(&histogram)[..6],
            [2_004, 2_000, 6_000, 10_000, 19_996, 0]
        );
        assert_eq!(
            histogram.0.sum.load(Ordering::Relaxed),
            4 * (9_999 * 10_000 / 2)
        );
    }
}
