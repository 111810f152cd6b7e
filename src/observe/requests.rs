//! What is counted of requests: by route, status and reason, and how long they took.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::{Registry, Unit};

use super::AccessEvent;
use super::by_name::{ByName, encode};
use super::histogram::Histogram;
use super::route_name::{Durations, RouteName};

/// The names that routes have and had, each with what was counted under it. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct RouteNames(ByName<RouteName>);

/// The rows about requests.
#[derive(Debug, Clone)]
pub(super) struct RequestTable {
    names: RouteNames,
    /// Of all requests together; `None` if each route has its own.
    durations: Option<Durations>,
    /// The name of those that no route took.
    unrouted: RouteName,
}

/// Whose durations are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DurationsOf {
    /// Those of all requests together.
    All,
    /// Those of each route, which takes some forty series more for each.
    EachRoute,
}

impl RouteNames {
    /// This name, whether there was one before or not.
    pub fn name(&self, text: &str) -> RouteName {
        self.0.get(text, || RouteName::new(text))
    }
}

impl RequestTable {
    pub(super) fn new(names: RouteNames, whose: DurationsOf) -> Self {
        Self {
            durations: match whose {
                DurationsOf::All => Some(Durations::default()),
                DurationsOf::EachRoute => None,
            },
            unrouted: names.name(UNROUTED),
            names,
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

    /// Counts a request and how long it took.
    pub(super) fn record(&self, event: &AccessEvent) {
        let route = event.route.as_ref().unwrap_or(&self.unrouted);
        route.count(event.status, event.reason);
        let all = self.durations.as_ref();
        let durations = all.unwrap_or_else(|| route.durations());
        durations.request.observe(event.duration);
        if let Some(upstream) = event.upstream {
            durations.upstream.observe(upstream);
        }
    }

    /// From now on there are these routes.
    pub(super) fn publish(&self, mut routes: HashSet<Arc<str>>, now: Instant) {
        routes.insert(Arc::from(UNROUTED));
        self.names.0.publish(routes, now);
    }

    /// Removes what is not told any more.
    pub(super) fn tidy(&self, now: Instant) {
        self.names.0.tidy(now);
    }
}

impl Collector for RequestTable {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let routes = self.names.0.all();
        let requests = routes.iter().flat_map(|(route, name)| {
            name.outcomes().map(|outcome| {
                let labels = RequestLabels {
                    route: Arc::clone(route),
                    status: outcome.status,
                    reason: outcome.reason,
                };
                (labels, ConstCounter::new(outcome.count()))
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
            routes.iter().filter_map(move |(route, name)| {
                let label = [("route", Arc::clone(route))];
                Some((label, which(name.counted_durations()?).clone()))
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
