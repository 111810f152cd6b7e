//! One worker's lines on their way to the log: gathered for a moment, handed over together.
//!
//! Every event is written once, into a buffer that is used again and again; what crosses to the
//! writer's thread is one piece for many requests.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;

use super::value::Dates;
use super::{AccessEvent, AccessLog};

/// Where the requests of one worker leave their events.
#[derive(Debug)]
pub struct AccessLines {
    log: AccessLog,
    gathered: RefCell<Gathered>,
    /// Told when there is something to hand over.
    begun: Rc<Notify>,
}

#[derive(Debug, Default)]
struct Gathered {
    lines: String,
    dates: Dates,
}

impl AccessLines {
    /// None yet. Must be called on the worker's runtime, where they are handed over from.
    pub fn new(log: AccessLog) -> Rc<Self> {
        let lines = Rc::new(Self {
            log,
            gathered: RefCell::default(),
            begun: Rc::default(),
        });
        tokio::task::spawn_local(hand_over(Rc::downgrade(&lines), lines.begun.clone()));
        lines
    }

    /// Takes one event. It never blocks.
    pub fn record(&self, event: &AccessEvent) {
        let gathered = &mut *self.gathered.borrow_mut();
        let is_first = gathered.lines.is_empty();
        event.write_line(self.log.format(), &mut gathered.dates, &mut gathered.lines);
        if gathered.lines.len() >= PIECE_BYTES {
            self.log.submit(&gathered.lines);
            gathered.lines.clear();
        } else if is_first {
            self.begun.notify_one();
        }
    }

    fn flush(&self) {
        let lines = &mut self.gathered.borrow_mut().lines;
        if !lines.is_empty() {
            self.log.submit(lines);
            lines.clear();
        }
    }
}

impl Drop for AccessLines {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Hands over what has gathered for a moment, until the worker is gone.
async fn hand_over(lines: Weak<AccessLines>, begun: Rc<Notify>) {
    loop {
        begun.notified().await;
        sleep(PAUSE).await;
        let Some(lines) = lines.upgrade() else { return };
        lines.flush();
    }
}

/// Lines that are handed over at once: some two hundred of usual length.
const PIECE_BYTES: usize = 64 << 10;

/// How long fewer may gather. No reader of a log notices.
const PAUSE: Duration = Duration::from_millis(20);
