//! How long things may last on an HTTP/1 connection while hyper serves it: hyper has a timer for
//! heads alone, which cannot tell an idle client from a slow one and is set anew for every head.

use std::time::Duration;

use tokio::time::Instant;

use super::activity::Activity;
use super::http1::{Deadlines, PARK_AFTER};
use crate::proxy::{Cut, Downstream};

/// What is known of one turn of hyper's, from when it took the stream.
pub(super) struct Patience<'c> {
    activity: &'c Activity,
    downstream: &'c Downstream,
    deadlines: Deadlines,
    begun: Instant,
    /// How many requests there had been before.
    requests_before: u64,
    look_every: Duration,
    /// Since when there is nothing to do, and how many requests there had been by then.
    pause: (Option<Instant>, u64),
}

/// What has lasted for too long.
pub(super) enum Spent {
    /// There has been nothing to do.
    Pause,
    /// A head has not come whole, or not begun to.
    Head,
    /// The client takes nothing of its answer, or that has lasted too long.
    Answer,
}

impl<'c> Patience<'c> {
    pub(super) fn with(
        activity: &'c Activity,
        downstream: &'c Downstream,
        deadlines: Deadlines,
    ) -> Self {
        Self {
            activity,
            downstream,
            deadlines,
            begun: Instant::now(),
            requests_before: downstream.in_flight.total(),
            look_every: PARK_AFTER.min(deadlines.header),
            pause: (None, 0),
        }
    }

    /// When to look for the first time.
    pub(super) fn first_look(&self) -> Instant {
        self.begun + self.look_every
    }

    /// Whether there is nothing to do. A request in between, however short, begins a new pause;
    /// empty lines do not, or they would keep the connection for ever.
    ///
    /// While a request is under way, what comes is its body, or waits behind it, maybe as the first
    /// bytes of another protocol. A head among that has its time when the request is over.
    pub(super) fn observe(&mut self, now: Instant) -> bool {
        let (since, requests) = &mut self.pause;
        let is_free = self.downstream.in_flight.is_zero();
        let is_in_head = is_free && self.activity.is_in_head();
        self.activity.note_head(is_in_head);
        let is_idle = is_free && !is_in_head && self.activity.is_flushed();
        let total = self.downstream.in_flight.total();
        if !is_idle || *requests != total {
            *since = None;
        }
        *requests = total;
        if is_idle && since.is_none() {
            *since = Some(now);
        }
        is_idle
    }

    /// When to look again, unless something has lasted for too long already.
    pub(super) fn judge(&self, now: Instant) -> Result<Instant, Spent> {
        let is_over =
            |since: Option<Instant>, limit| since.is_some_and(|since| now >= since + limit);
        let Deadlines {
            header, body, age, ..
        } = self.deadlines;
        if is_over(self.activity.stalled_since(), body) {
            self.downstream.deliveries.cut_all(Cut::Stalled);
            return Err(Spent::Answer);
        }
        if self.downstream.deliveries.cut_overdue(None, age) {
            return Err(Spent::Answer);
        }
        let is_new = self.downstream.in_flight.total() == self.requests_before;
        // A first head that has not begun is as good as one that does not end.
        let not_begun = is_new.then_some(self.begun);
        let head_since = self.activity.head_since().or(not_begun);
        if is_over(head_since, header) {
            return Err(Spent::Head);
        }
        let paused_since = self.pause.0.filter(|_| !is_new);
        if is_over(paused_since, self.look_every) {
            return Err(Spent::Pause);
        }
        let next_look = match (head_since, paused_since) {
            (Some(since), _) if is_new => since + header,
            (Some(since), _) => (since + header).min(now + self.look_every),
            (None, Some(since)) => since + self.look_every,
            (None, None) => now + self.look_every,
        };
        Ok(next_look)
    }
}
