//! Counting the requests of one worker, without a lock.
//!
//! A request is counted by route, status and reason; what else its event holds is for the log.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::AccessEvent;
use super::histogram::Histogram;

/// One worker's counters. It remembers every counter it has used, so that a request takes a lock
/// only when it is the worker's first with its route, status and reason.
#[derive(Debug)]
pub struct WorkerMetrics {
    requests: Family<RequestLabels, Counter>,
    request_duration: Histogram,
    upstream_duration: Histogram,
    /// For each route the outcomes met so far: a handful, so a search beats a hash.
    counters: RefCell<HashMap<Arc<str>, Vec<Outcome>>>,
    unrouted: Arc<str>,
}

impl WorkerMetrics {
    /// Nothing remembered yet.
    pub(super) fn new(
        requests: Family<RequestLabels, Counter>,
        request_duration: Histogram,
        upstream_duration: Histogram,
    ) -> Self {
        Self {
            requests,
            request_duration,
            upstream_duration,
            counters: RefCell::default(),
            unrouted: Arc::from(UNROUTED),
        }
    }

    /// Counts a request and how long it took.
    pub fn record(&self, event: &AccessEvent) {
        self.request_duration.observe(event.duration);
        if let Some(upstream) = event.upstream {
            self.upstream_duration.observe(upstream);
        }
        let route = event.route.as_ref().unwrap_or(&self.unrouted);
        let mut counters = self.counters.borrow_mut();
        let outcomes = match counters.get_mut(&**route) {
            Some(outcomes) => outcomes,
            None => counters.entry(Arc::clone(route)).or_default(),
        };
        let same =
            |outcome: &&Outcome| outcome.status == event.status && outcome.reason == event.reason;
        if let Some(outcome) = outcomes.iter().find(same) {
            outcome.counter.inc();
            return;
        }
        let counter = self.requests.get_or_create_owned(&RequestLabels {
            route: Arc::clone(route),
            status: event.status,
            reason: event.reason,
        });
        counter.inc();
        outcomes.push(Outcome {
            status: event.status,
            reason: event.reason,
            counter,
        });
    }
}

/// A way in which requests of one route ended, and their number.
#[derive(Debug)]
struct Outcome {
    status: u16,
    reason: &'static str,
    counter: Counter,
}

/// What tells one series of requests from another.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RequestLabels {
    route: Arc<str>,
    status: u16,
    reason: &'static str,
}

/// The `route` of requests that no route took.
const UNROUTED: &str = "-";
