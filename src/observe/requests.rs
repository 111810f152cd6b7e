//! What is counted of requests: by route, status and reason, and how long they took.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::{Registry, Unit};

use super::by_name::{ByName, Told, encode};
use super::histogram::Histogram;

/// The rows about requests.
#[derive(Debug, Clone)]
pub(super) struct RequestTable {
    routes: ByName<RouteSeries>,
    /// Of all requests together; `None` if each route has its own.
    durations: Option<Durations>,
    /// The name of those that no route took.
    pub(super) unrouted: Arc<str>,
}

/// Whose durations are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DurationsOf {
    /// Those of all requests together.
    All,
    /// Those of each route, which takes some forty series more for each.
    EachRoute,
}

/// How long requests took, and their upstreams.
#[derive(Debug, Clone, Default)]
pub(super) struct Durations {
    pub(super) request: Histogram,
    pub(super) upstream: Histogram,
}

/// What one route has met, of all workers together.
#[derive(Debug, Clone, Default)]
struct RouteSeries {
    outcomes: Vec<Outcome>,
    durations: Durations,
}

impl Told for RouteSeries {
    /// Requests are counted when they have come to their end.
    fn is_needed(&self) -> bool {
        false
    }
}

/// A way in which requests of one route ended, and their number.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    pub(super) status: u16,
    pub(super) reason: &'static str,
    pub(super) counter: Counter,
}

impl RequestTable {
    pub(super) fn new(whose: DurationsOf) -> Self {
        Self {
            routes: ByName::default(),
            durations: match whose {
                DurationsOf::All => Some(Durations::default()),
                DurationsOf::EachRoute => None,
            },
            unrouted: Arc::from(UNROUTED),
        }
    }

    pub(super) fn register(&self, table: &mut Registry) {
        table.register_collector(Box::new(self.clone()));
        if let Some(Durations { request, upstream }) = &self.durations {
            for ((name, help), histogram) in DURATIONS.into_iter().zip([request, upstream]) {
                table.register_with_unit(name, help, Unit::Seconds, histogram.clone());
            }
        }
    }

    /// Those that a route's requests count in.
    pub(super) fn durations(&self, route: &Arc<str>) -> Durations {
        self.durations
            .clone()
            .unwrap_or_else(|| self.routes.with(route, |series| series.durations.clone()))
    }

    /// The one of this status and reason.
    pub(super) fn outcome(&self, route: &Arc<str>, status: u16, reason: &'static str) -> Outcome {
        self.routes.with(route, |series| {
            let mut known = series.outcomes.iter();
            let known = known.find(|known| known.status == status && known.reason == reason);
            known.cloned().unwrap_or_else(|| {
                let outcome = Outcome {
                    status,
                    reason,
                    counter: Counter::default(),
                };
                series.outcomes.push(outcome.clone());
                outcome
            })
        })
    }

    /// How often series were removed: after that, those that one remembers may be some of them.
    pub(super) fn removals(&self) -> u64 {
        self.routes.removals()
    }

    /// From now on there are these routes.
    pub(super) fn publish(&self, mut routes: HashSet<Arc<str>>, now: Instant) {
        routes.insert(Arc::clone(&self.unrouted));
        self.routes.publish(routes, now);
    }

    /// Removes what is not told any more.
    pub(super) fn tidy(&self, now: Instant) {
        self.routes.tidy(now);
    }
}

impl Collector for RequestTable {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let routes = self.routes.all();
        let requests = routes.iter().flat_map(|(route, series)| {
            series.outcomes.iter().map(|outcome| {
                let labels = RequestLabels {
                    route: Arc::clone(route),
                    status: outcome.status,
                    reason: outcome.reason,
                };
                (labels, outcome.counter.clone())
            })
        });
        encode(
            &mut encoder,
            ("requests", "Requests answered", None),
            requests,
        )?;
        if self.durations.is_some() {
            return Ok(());
        }
        let each = |which: fn(&Durations) -> &Histogram| {
            routes.iter().map(move |(route, series)| {
                let label = [("route", Arc::clone(route))];
                (label, which(&series.durations).clone())
            })
        };
        let [request, upstream] = DURATIONS.map(|(name, help)| (name, help, Some(Unit::Seconds)));
        encode(&mut encoder, request, each(|durations| &durations.request))?;
        encode(
            &mut encoder,
            upstream,
            each(|durations| &durations.upstream),
        )
    }
}

/// What tells one series of requests from another.
#[derive(Debug, EncodeLabelSet)]
struct RequestLabels {
    route: Arc<str>,
    status: u16,
    reason: &'static str,
}

/// The names of the histograms, and what they tell.
const DURATIONS: [(&str, &str); 2] = [
    (
        "request_duration",
        "Time from a request's head to the last byte of its response",
    ),
    (
        "upstream_duration",
        "Time from forwarding a head to the head of the upstream's response",
    ),
];

/// The `route` of requests that no route took.
const UNROUTED: &str = "-";
