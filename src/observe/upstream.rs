//! Counting what is done with upstreams: connections, waits, second tries.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::Connect;
use super::by_name::{ByName, Told, encode};
use super::histogram::Histogram;
use super::metrics::OpenConnection;

/// The rows about upstreams. Upstreams are labelled with their origins, as the configuration has
/// them.
#[derive(Debug, Default)]
pub(super) struct UpstreamTable {
    upstreams: ByName<UpstreamMetrics>,
    pub(super) wait: Histogram,
    pub(super) retries: Counter,
}

/// One upstream's counters.
#[derive(Debug, Clone, Default)]
pub struct UpstreamMetrics {
    open: Gauge,
    connects: [Counter; Connect::ALL.len()],
}

impl UpstreamTable {
    pub(super) fn upstream(&self, name: &str) -> UpstreamMetrics {
        self.upstreams.get(name, UpstreamMetrics::default)
    }

    /// From now on there are these.
    pub(super) fn publish(&self, names: HashSet<Arc<str>>, now: Instant) {
        self.upstreams.publish(names, now);
    }

    /// Removes what is not told any more.
    pub(super) fn tidy(&self, now: Instant) {
        self.upstreams.tidy(now);
    }

    pub(super) fn register(&self, table: &mut Registry) {
        table.register_collector(Box::new(EachUpstream(self.upstreams.clone())));
        table.register_with_unit(
            "upstream_wait",
            "Time that requests waited because all connections to their upstream were in use",
            Unit::Seconds,
            self.wait.clone(),
        );
        table.register(
            "upstream_retries",
            "Requests sent on a new connection because a kept one had gone before any of it was sent",
            self.retries.clone(),
        );
    }
}

/// The rows that there are for each of them.
#[derive(Debug)]
struct EachUpstream(ByName<UpstreamMetrics>);

impl Collector for EachUpstream {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let upstreams = self.0.all();
        let open = upstreams.iter().map(|(name, metrics)| {
            let label = [("upstream", Arc::clone(name))];
            (label, metrics.open.clone())
        });
        let connects = upstreams.iter().flat_map(|(name, metrics)| {
            let results = Connect::ALL.into_iter().zip(&metrics.connects);
            results.map(|(result, counter)| {
                let labels = ConnectLabels {
                    upstream: Arc::clone(name),
                    result: result.label(),
                };
                (labels, counter.clone())
            })
        });
        encode(
            &mut encoder,
            (
                "upstream_connections_open",
                "Open connections to upstreams, in use or kept",
                None,
            ),
            open,
        )?;
        encode(
            &mut encoder,
            (
                "upstream_connects",
                "Attempts to connect to an upstream",
                None,
            ),
            connects,
        )
    }
}

impl Told for UpstreamMetrics {
    /// As long as connections are open.
    fn is_needed(&self) -> bool {
        self.open.get() > 0
    }
}

impl UpstreamMetrics {
    /// Counts a connection as open for as long as the guard lives.
    pub fn open_connection(&self) -> OpenConnection {
        OpenConnection::counted_by(&self.open)
    }

    /// Counts an attempt to connect.
    pub fn count_connect(&self, result: Connect) {
        self.connects[result as usize].inc();
    }
}

#[derive(Debug, EncodeLabelSet)]
struct ConnectLabels {
    upstream: Arc<str>,
    result: &'static str,
}
