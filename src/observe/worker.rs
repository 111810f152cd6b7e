//! Counting the requests of one worker, without a lock.
//!
//! A request is counted by route, status and reason; what else its event holds is for the log.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::AccessEvent;
use super::requests::{Durations, Outcome, RequestTable};

/// One worker's counters. It remembers every counter it has used, so that a request takes a lock
/// only when it is the worker's first with its route, status and reason.
#[derive(Debug)]
pub struct WorkerMetrics {
    table: RequestTable,
    /// For each route what was met so far.
    routes: RefCell<FxHashMap<Arc<str>, RouteMetrics>>,
    /// How often the table had removed something then.
    removals: Cell<u64>,
}

/// What one route has met.
#[derive(Debug)]
struct RouteMetrics {
    durations: Durations,
    /// A handful, so a search beats a hash.
    outcomes: Vec<Outcome>,
}

impl WorkerMetrics {
    /// Nothing remembered yet.
    pub(super) fn new(table: RequestTable) -> Self {
        Self {
            routes: RefCell::default(),
            removals: Cell::new(table.removals()),
            table,
        }
    }

    /// Counts a request and how long it took.
    pub fn record(&self, event: &AccessEvent) {
        let route = event.route.as_ref().unwrap_or(&self.table.unrouted);
        let mut routes = self.routes.borrow_mut();
        let removals = self.table.removals();
        if self.removals.replace(removals) != removals {
            routes.clear();
        }
        let known = match routes.get_mut(&**route) {
            Some(known) => known,
            None => routes.entry(Arc::clone(route)).or_insert(RouteMetrics {
                durations: self.table.durations(route),
                outcomes: Vec::new(),
            }),
        };
        known.durations.request.observe(event.duration);
        if let Some(upstream) = event.upstream {
            known.durations.upstream.observe(upstream);
        }
        let outcomes = &mut known.outcomes;
        let same =
            |outcome: &&Outcome| outcome.status == event.status && outcome.reason == event.reason;
        if let Some(outcome) = outcomes.iter().find(same) {
            outcome.counter.inc();
            return;
        }
        let outcome = self.table.outcome(route, event.status, event.reason);
        outcome.counter.inc();
        outcomes.push(outcome);
    }
}
