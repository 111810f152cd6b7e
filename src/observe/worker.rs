//! Counting the requests of one worker, without a lock.
//!
//! A request is counted by route, status and reason; what else its event holds is for the log.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Registry, Unit};

use super::AccessEvent;
use super::histogram::Histogram;

/// One worker's counters. It remembers every counter it has used, so that a request takes a lock
/// only when it is the worker's first with its route, status and reason.
#[derive(Debug)]
pub struct WorkerMetrics {
    requests: Family<RequestLabels, Counter>,
    durations: Durations,
    /// For each route what was met so far.
    routes: RefCell<HashMap<Arc<str>, RouteMetrics>>,
    unrouted: Arc<str>,
}

impl WorkerMetrics {
    /// Nothing remembered yet.
    pub(super) fn new(requests: Family<RequestLabels, Counter>, durations: Durations) -> Self {
        Self {
            requests,
            durations,
            routes: RefCell::default(),
            unrouted: Arc::from(UNROUTED),
        }
    }

    /// Counts a request and how long it took.
    pub fn record(&self, event: &AccessEvent) {
        let route = event.route.as_ref().unwrap_or(&self.unrouted);
        let mut routes = self.routes.borrow_mut();
        let known = match routes.get_mut(&**route) {
            Some(known) => known,
            None => routes.entry(Arc::clone(route)).or_insert(RouteMetrics {
                durations: self.durations.of(route),
                outcomes: Vec::new(),
            }),
        };
        known.durations.0.observe(event.duration);
        if let Some(upstream) = event.upstream {
            known.durations.1.observe(upstream);
        }
        let outcomes = &mut known.outcomes;
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

/// Whose durations are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DurationsOf {
    /// Those of all requests together.
    All,
    /// Those of each route, which takes some forty series more for each.
    EachRoute,
}

/// How long requests took, and their upstreams: first the one, then the other.
#[derive(Debug, Clone)]
pub(super) enum Durations {
    All(Histogram, Histogram),
    EachRoute(Family<RouteLabel, Histogram>, Family<RouteLabel, Histogram>),
}

impl Durations {
    pub(super) fn new(whose: DurationsOf) -> Self {
        match whose {
            DurationsOf::All => Self::All(Histogram::default(), Histogram::default()),
            DurationsOf::EachRoute => Self::EachRoute(Family::default(), Family::default()),
        }
    }

    fn of(&self, route: &Arc<str>) -> (Histogram, Histogram) {
        match self {
            Self::All(request, upstream) => (request.clone(), upstream.clone()),
            Self::EachRoute(requests, upstreams) => {
                let label = RouteLabel {
                    route: Arc::clone(route),
                };
                (
                    requests.get_or_create_owned(&label),
                    upstreams.get_or_create_owned(&label),
                )
            }
        }
    }

    pub(super) fn register(&self, table: &mut Registry) {
        let request = (
            "request_duration",
            "Time from a request's head to the last byte of its response",
        );
        let upstream = (
            "upstream_duration",
            "Time from forwarding a head to the head of the upstream's response",
        );
        match self {
            Self::All(requests, upstreams) => {
                table.register_with_unit(request.0, request.1, Unit::Seconds, requests.clone());
                table.register_with_unit(upstream.0, upstream.1, Unit::Seconds, upstreams.clone());
            }
            Self::EachRoute(requests, upstreams) => {
                table.register_with_unit(request.0, request.1, Unit::Seconds, requests.clone());
                table.register_with_unit(upstream.0, upstream.1, Unit::Seconds, upstreams.clone());
            }
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RouteLabel {
    route: Arc<str>,
}

/// What one route has met.
#[derive(Debug)]
struct RouteMetrics {
    durations: (Histogram, Histogram),
    /// A handful, so a search beats a hash.
    outcomes: Vec<Outcome>,
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
