//! Counting what is done with upstreams: connections, waits, second tries.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::Connect;
use super::histogram::Histogram;
use super::metrics::OpenConnection;

/// The rows about upstreams. Upstreams are labelled with their origins, as the configuration has
/// them.
#[derive(Debug, Default)]
pub(super) struct UpstreamTable {
    open: Family<UpstreamLabel, Gauge>,
    connects: Family<ConnectLabels, Counter>,
    pub(super) wait: Histogram,
    pub(super) retries: Counter,
}

/// One upstream's counters.
#[derive(Debug, Clone)]
pub struct UpstreamMetrics {
    open: Gauge,
    connects: [Counter; Connect::ALL.len()],
}

impl UpstreamTable {
    pub(super) fn upstream(&self, name: &Arc<str>) -> UpstreamMetrics {
        let upstream = || Arc::clone(name);
        UpstreamMetrics {
            open: self.open.get_or_create_owned(&UpstreamLabel {
                upstream: upstream(),
            }),
            connects: Connect::ALL.map(|result| {
                self.connects.get_or_create_owned(&ConnectLabels {
                    upstream: upstream(),
                    result: result.label(),
                })
            }),
        }
    }

    pub(super) fn register(&self, table: &mut Registry) {
        table.register(
            "upstream_connections_open",
            "Open connections to upstreams, in use or kept",
            self.open.clone(),
        );
        table.register(
            "upstream_connects",
            "Attempts to connect to an upstream",
            self.connects.clone(),
        );
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

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UpstreamLabel {
    upstream: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConnectLabels {
    upstream: Arc<str>,
    result: &'static str,
}
