//! Answers on their way to the client, as whoever runs the connection sees them: whether they
//! move, and a way to end one without the others.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

use super::portion::Backlog;

/// One answer, from its request's head to its last byte.
#[derive(Debug)]
pub struct Delivery {
    begun: Instant,
    /// Since when a piece is handed over and the next one not asked for.
    untaken_since: Cell<Option<Instant>>,
    /// What was handed over, where that tells that some of it is taken (HTTP/2).
    backlog: RefCell<Option<Backlog>>,
    cut: Cell<Option<Cut>>,
    waker: RefCell<Option<Waker>>,
}

/// Why an answer is ended before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The client takes nothing of it.
    Stalled,
    /// It has lasted too long.
    TooOld,
}

/// All answers of one connection.
#[derive(Debug, Default)]
pub struct Deliveries {
    all: RefCell<Vec<Rc<Delivery>>>,
    /// Nobody has taken charge of the last one yet.
    has_new: Cell<bool>,
}

impl Deliveries {
    pub(super) fn begin(&self, now: Instant) -> Rc<Delivery> {
        let delivery = Rc::new(Delivery {
            begun: now,
            untaken_since: Cell::new(None),
            backlog: RefCell::default(),
            cut: Cell::new(None),
            waker: RefCell::default(),
        });
        self.all.borrow_mut().push(delivery.clone());
        self.has_new.set(true);
        delivery
    }

    pub(super) fn end(&self, delivery: &Rc<Delivery>) {
        let mut all = self.all.borrow_mut();
        if let Some(index) = all.iter().position(|other| Rc::ptr_eq(other, delivery)) {
            all.swap_remove(index);
        }
        self.has_new.set(false);
    }

    /// The one that has just begun, for whoever runs its task.
    pub fn take_new(&self) -> Option<Rc<Delivery>> {
        let is_new = self.has_new.replace(false);
        self.all.borrow().last().filter(|_| is_new).cloned()
    }

    /// Ends those that have lasted too long, or of which the client takes nothing for too long.
    /// Whether there were any.
    pub fn cut_overdue(&self, patience: Option<Duration>, max_age: Duration) -> bool {
        let mut found = false;
        for delivery in &*self.all.borrow() {
            delivery.note_progress();
            let untaken = delivery.untaken_since.get().zip(patience);
            let is_stalled = untaken.is_some_and(|(since, patience)| since.elapsed() >= patience);
            let cut = if is_stalled {
                Cut::Stalled
            } else if delivery.begun.elapsed() >= max_age {
                Cut::TooOld
            } else {
                continue;
            };
            delivery.cut(cut);
            found = true;
        }
        found
    }

    /// Ends all of them.
    pub fn cut_all(&self, cut: Cut) {
        for delivery in &*self.all.borrow() {
            delivery.cut(cut);
        }
    }
}

impl Delivery {
    /// What is handed over from now on tells when some of it is taken.
    pub(super) fn watch(&self, backlog: &Backlog) {
        self.backlog.replace(Some(backlog.clone()));
    }

    /// A large piece may well take long, and some of it has been taken.
    fn note_progress(&self) {
        let moves = |backlog: &Backlog| backlog.has_moved();
        if self.untaken_since.get().is_some() && self.backlog.borrow().as_ref().is_some_and(moves) {
            self.untaken_since.set(Some(Instant::now()));
        }
    }

    pub(super) fn handed_over(&self, now: Instant) {
        self.untaken_since.set(Some(now));
    }

    pub(super) fn taken(&self) {
        self.untaken_since.set(None);
    }

    /// There is more, and it has to wait until some of what was handed over is written.
    pub(super) fn held_back(&self) {
        if self.untaken_since.get().is_none() {
            self.untaken_since.set(Some(Instant::now()));
        }
    }

    /// Why it was ended, if it was.
    pub(super) fn why_cut(&self) -> Option<Cut> {
        self.cut.get()
    }

    /// Ready when it is to be ended.
    pub fn poll_cut(&self, cx: &Context<'_>) -> Poll<()> {
        if self.cut.get().is_some() {
            return Poll::Ready(());
        }
        let mut waker = self.waker.borrow_mut();
        if !waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    fn cut(&self, cut: Cut) {
        if self.cut.replace(Some(cut)).is_none()
            && let Some(waker) = self.waker.borrow_mut().take()
        {
            waker.wake();
        }
    }
}
