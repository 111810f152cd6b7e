//! What to do with an HTTP/2 connection that is idle, stalls, floods, or meets the drain: hyper
//! has a timer for none of that.

use std::pin::Pin;
use std::rc::Rc;
use std::task::Context;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};
use tracing::debug;

use super::activity::Activity;
use super::crowd::{Parked, Parking};
use super::http1::{Deadlines, Manner, PARK_AFTER};
use super::phase::{Phase, PhaseWatch};
use crate::proxy::Downstream;

/// Watches over one connection.
pub(super) struct Vigil {
    downstream: Rc<Downstream>,
    activity: Rc<Activity>,
    deadlines: Deadlines,
    parking: Rc<Parking>,
    /// Since when there is no stream, and how many there had been by then.
    idle_since: (Instant, u64),
    /// How many bytes had come by then.
    quiet_from: u64,
    /// While it has been idle for so long that it may be asked to go.
    parked: Option<Parked>,
    /// When, and how many requests there had been by then.
    said_goodbye: Option<(Instant, u64)>,
    /// Since when requests that were taken back are counted, and how many there had been by then.
    taken_back: (Instant, u64),
    check: Pin<Box<Sleep>>,
    draining: Pin<Box<dyn Future<Output = ()>>>,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    GoOn,
    /// The client is told with GOAWAY, and may finish what it began.
    SayGoodbye,
    /// It is closed.
    Close,
}

impl Vigil {
    pub(super) fn over(
        downstream: &Rc<Downstream>,
        activity: &Rc<Activity>,
        manner: &Manner,
    ) -> Self {
        Self {
            downstream: downstream.clone(),
            activity: activity.clone(),
            deadlines: manner.deadlines,
            parking: manner.parking.clone(),
            idle_since: (Instant::now(), 0),
            quiet_from: 0,
            parked: None,
            said_goodbye: None,
            taken_back: (Instant::now(), 0),
            check: Box::pin(sleep(manner.deadlines.header)),
            draining: Box::pin(drain(manner.phase.clone())),
        }
    }

    /// Looks at what has happened. What comes of [`Verdict::SayGoodbye`] needs another look.
    pub(super) fn look(&mut self, cx: &mut Context<'_>) -> Verdict {
        if self.said_goodbye.is_none() && self.draining.as_mut().poll(cx).is_ready() {
            return self.say_goodbye();
        }
        self.note_requests();
        if self.is_flooding() {
            debug!(peer = %self.downstream.peer, "a flood of frames without a stream");
            return Verdict::Close;
        }
        if self.takes_too_much_back() {
            debug!(peer = %self.downstream.peer, "a flood of requests that were taken back");
            // What it has not taken back comes to its end, unless it goes on.
            return match self.said_goodbye {
                None => self.say_goodbye(),
                Some(_) => Verdict::Close,
            };
        }
        let has_to_go = self
            .parked
            .as_ref()
            .is_some_and(|p| p.poll_evicted(cx).is_ready());
        if has_to_go && self.said_goodbye.is_none() {
            return self.say_goodbye();
        }
        while self.check.as_mut().poll(cx).is_ready() {
            let verdict = self.judge();
            if verdict != Verdict::GoOn {
                return verdict;
            }
        }
        // One that was parked just now has to be listened to.
        match &self.parked {
            Some(parked) if parked.poll_evicted(cx).is_ready() && self.said_goodbye.is_none() => {
                self.say_goodbye()
            }
            Some(_) | None => Verdict::GoOn,
        }
    }

    /// While there are requests, it is not idle. One that comes after the goodbye has not heard it
    /// yet, or does not want to: it is answered, and puts nothing off.
    fn note_requests(&mut self) {
        let requests = &self.downstream.in_flight;
        let (is_free, total) = (requests.is_zero(), requests.total());
        if is_free && total == self.idle_since.1 {
            return;
        }
        self.quiet_from = self.activity.bytes();
        if self.said_goodbye.is_some_and(|(_, heard)| total > heard) {
            self.idle_since.1 = total;
            return;
        }
        let is_first = self.idle_since.1 == 0;
        self.idle_since = (Instant::now(), total);
        if self.parked.take().is_some() || is_first {
            self.check_in(CHECK_AT_LEAST_EVERY);
        }
    }

    /// Now and then: has it been idle, or stood still, for too long?
    fn judge(&mut self) -> Verdict {
        let Deadlines { body, age, .. } = self.deadlines;
        self.downstream.deliveries.cut_overdue(Some(body), age);
        let requests = &self.downstream.in_flight;
        if !requests.is_zero() {
            self.check_in(CHECK_AT_LEAST_EVERY);
            return Verdict::GoOn;
        }
        let is_new = requests.total() == 0;
        let (idle_since, patience) = self.patience(is_new);
        let idle = idle_since.elapsed();
        let left = patience.saturating_sub(idle);
        if left > Duration::ZERO {
            let rests = !is_new && self.said_goodbye.is_none();
            if rests && idle >= PARK_AFTER && self.parked.is_none() {
                self.parked = Some(self.parking.park());
            }
            let is_parked = !rests || self.parked.is_some();
            self.check_in(if is_parked {
                left
            } else {
                left.min(PARK_AFTER)
            });
            return Verdict::GoOn;
        }
        if self.said_goodbye.is_some() || is_new {
            // Told and not gone, or never really here.
            return Verdict::Close;
        }
        self.say_goodbye()
    }

    /// Since when it has been idle, and for how long it may.
    ///
    /// The last answer is done with when it has been written, not when hyper has it. But whatever
    /// a client sends is answered, a PING for instance, so that cannot count for long; and not at
    /// all before the first request.
    fn patience(&self, is_new: bool) -> (Instant, Duration) {
        let since = self.idle_since.0;
        let (written, moved) = (self.activity.written(), self.activity.moved());
        if let Some((goodbye, heard)) = self.said_goodbye {
            let begun = since.max(goodbye);
            // Who goes on asking has what it asked for.
            if self.downstream.in_flight.total() > heard && self.activity.is_flushed() {
                return (begun, GOODBYE);
            }
            return (begun.max(moved.min(begun + self.deadlines.body)), GOODBYE);
        }
        if is_new {
            return (since, self.deadlines.header);
        }
        let written = written.min(since + self.deadlines.body);
        (since.max(written), self.deadlines.idle)
    }

    fn say_goodbye(&mut self) -> Verdict {
        self.said_goodbye = Some((Instant::now(), self.downstream.in_flight.total()));
        self.parked = None;
        self.check_in(GOODBYE);
        Verdict::SayGoodbye
    }

    fn check_in(&mut self, time: Duration) {
        self.check.as_mut().reset(Instant::now() + time);
    }

    /// PING, SETTINGS and their kin are answered by the library for as long as they come. What was
    /// sent of bodies that nobody wanted comes still, as much as the windows allow and for a moment
    /// more than that, which is then thrown away.
    fn is_flooding(&self) -> bool {
        let abandoned = self.downstream.abandoned.get() * u64::from(super::http2::STREAM_WINDOW);
        let expected = abandoned + self.downstream.discarded.get();
        self.activity.bytes() - self.quiet_from > MAX_BYTES_WITHOUT_STREAM + expected
    }

    /// A stream that is reset costs the client nothing, and the upstream a connection. h2 counts
    /// only those that come in one burst.
    fn takes_too_much_back(&mut self) -> bool {
        let (now, all) = (self.downstream.now.get(), self.downstream.taken_back.get());
        let (since, before) = self.taken_back;
        let is_too_much = all - before > MANY_TAKEN_BACK;
        if is_too_much || now >= since + TAKEN_BACK_WITHIN {
            self.taken_back = (now, all);
        }
        is_too_much
    }
}

async fn drain(mut phase: PhaseWatch) {
    phase.reached(Phase::Draining).await;
}

/// What a peer may send while no stream is open: some thousand control frames, and far more than
/// an honest one has reason to. A refused head counts, too.
const MAX_BYTES_WITHOUT_STREAM: u64 = 128 * 1024;

/// More requests than an honest client takes back on one connection in this time.
const MANY_TAKEN_BACK: u64 = 500;
const TAKEN_BACK_WITHIN: Duration = Duration::from_secs(10);

/// How long a peer may take to go after GOAWAY when it has nothing left to do.
const GOODBYE: Duration = Duration::from_secs(5);

/// A bound on how often the deadline is looked at while requests come and go.
const CHECK_AT_LEAST_EVERY: Duration = Duration::from_secs(1);
