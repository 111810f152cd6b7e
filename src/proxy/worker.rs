//! What one worker owns. Nothing in here is shared with another.

use std::cell::{Cell, RefCell, RefMut};
use std::rc::Rc;
use std::sync::Arc;

use super::RequestBody;
use super::request_id::RequestIds;
use crate::clock::Clock;
use crate::observe::{AccessEvent, AccessLines, AccessLog, Metrics, RequestId};
use crate::snapshot::{Current, Live, View};
use crate::token::Verifier;
use crate::upstream::Pool;

/// One worker's belongings: its connections upstream, its verified tokens, its counters.
pub struct Worker {
    view: View,
    clock: Clock,
    pool: Rc<Pool<RequestBody>>,
    verifier: RefCell<Verifier>,
    request_ids: RequestIds,
    access_lines: Rc<AccessLines>,
    metrics: Arc<Metrics>,
    ended: Cell<bool>,
}

impl Worker {
    /// A worker with nothing done yet, which remembers verified tokens in `token_cache` bytes. Must
    /// be called on its own runtime.
    pub fn new(
        live: &Live,
        clock: Clock,
        access_log: AccessLog,
        metrics: Arc<Metrics>,
        pool: Rc<Pool<RequestBody>>,
        token_cache: usize,
    ) -> Rc<Self> {
        Rc::new(Self {
            pool,
            view: View::of(live),
            clock,
            verifier: RefCell::new(Verifier::new(metrics.clone(), token_cache)),
            request_ids: RequestIds::new(),
            access_lines: AccessLines::new(access_log),
            metrics,
            ended: Cell::new(false),
        })
    }

    /// The drain is over: what is still under way dies now, and nobody else is to blame.
    pub fn end(&self) {
        self.ended.set(true);
    }

    pub(super) const fn has_ended(&self) -> bool {
        self.ended.get()
    }

    /// What the configuration says now.
    pub fn snapshot(&self) -> Current {
        self.view.now()
    }

    /// Tells of a request that has ended: one line, and the counters.
    pub(super) fn record(&self, event: &AccessEvent) {
        self.metrics.count_request(event);
        self.access_lines.record(event);
    }

    /// The counters of the process.
    pub(super) const fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    pub(super) const fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(super) const fn pool(&self) -> &Rc<Pool<RequestBody>> {
        &self.pool
    }

    /// The verifier; never held across an await.
    pub(super) fn verifier(&self) -> RefMut<'_, Verifier> {
        self.verifier.borrow_mut()
    }

    pub(super) fn next_request_id(&self) -> RequestId {
        self.request_ids.next()
    }
}
