//! Keeps what is in force what the files say.
//!
//! Word comes from the file system, from the operator (SIGHUP), and from a look now and then. A
//! new state is built whole beside the old one, by the very function that the start uses, and put
//! into force at once, or not at all: whatever is wrong with the files, the last good state goes
//! on serving, and the log says what is wrong.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{error, info, warn};

use super::complaints::{Complaint, complaints_of, warn_of};
use super::inputs::{Fingerprint, Inputs};
use super::load::{ConfigFile, LoadError, Loaded, Previous, load_after};
use super::resolve::Resolved;
use super::watch::Watch;
use crate::clock::Clock;
use crate::config::Fixed;
use crate::observe::{Metrics, Reload};
use crate::snapshot::Live;

/// The one who puts snapshots into force.
pub(super) struct Reloader {
    path: PathBuf,
    live: Live,
    metrics: Arc<Metrics>,
    /// Whose addresses are looked up.
    resolved: watch::Sender<Resolved>,
    poll: Duration,
    /// Told by the file system.
    changed: Arc<Notify>,
    wishes: Wishes,
    /// What is watched.
    inputs: Inputs,
    watch: Watch,
    /// What is in force.
    file: Arc<ConfigFile>,
    /// What that was loaded from.
    applied: (Inputs, Fingerprint),
    /// What was looked at last; nothing if that is to be looked at again.
    tried: Option<Fingerprint>,
    /// What was seen last, whether it was looked at or not.
    seen: Fingerprint,
    trouble: Trouble,
    /// Whether a state was replaced just now.
    has_replaced: bool,
}

/// The operator's.
pub(super) struct Wishes {
    /// Told when there is one.
    pub(super) asked: Arc<Notify>,
    /// Counts those that have come true.
    pub(super) answer: watch::Sender<u64>,
}

/// What is wrong with the files now.
enum Trouble {
    None,
    /// They seem to be written at this moment, and have been since then.
    Pending(Instant),
    /// This has been said of it.
    Told(Vec<Complaint>),
}

/// Why one looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Changed,
    Asked,
    Poll,
    /// What was pending has been for too long.
    Impatience,
}

impl Reloader {
    /// For what was just loaded and is in force.
    pub(super) fn new(
        loaded: Loaded,
        live: Live,
        metrics: Arc<Metrics>,
        resolved: watch::Sender<Resolved>,
        wishes: Wishes,
    ) -> Self {
        let changed = Arc::new(Notify::new());
        // What has changed since it was loaded is seen by the first look.
        changed.notify_one();
        Self {
            path: loaded.file.source.path.clone(),
            live,
            metrics,
            resolved,
            poll: loaded.file.config.reload.poll,
            watch: Watch::over(&loaded.inputs, changed.clone()),
            changed,
            wishes,
            inputs: loaded.inputs.clone(),
            file: loaded.file,
            tried: Some(loaded.fingerprint.clone()),
            seen: loaded.fingerprint.clone(),
            applied: (loaded.inputs, loaded.fingerprint),
            trouble: Trouble::None,
            has_replaced: false,
        }
    }

    /// Goes on for ever.
    pub(super) async fn keep_current(mut self) {
        loop {
            let patience = match self.trouble {
                Trouble::Pending(since) => Some(since + PATIENCE),
                Trouble::None | Trouble::Told(_) => None,
            };
            let cause = tokio::select! {
                biased;
                () = self.wishes.asked.notified() => Cause::Asked,
                () = self.changed.notified() => {
                    self.settle().await;
                    Cause::Changed
                }
                () = sleep_until(patience.unwrap_or_else(Instant::now)), if patience.is_some() => {
                    Cause::Impatience
                }
                () = sleep(TIDY_AFTER), if self.has_replaced => {
                    self.has_replaced = false;
                    self.live.tidy();
                    continue;
                }
                () = sleep(self.poll) => Cause::Poll,
            };
            if cause == Cause::Asked {
                // Until it is decided, if that can be had.
                for _ in 0..LOOKS_FOR_A_WISH {
                    if self.look(cause) {
                        break;
                    }
                    sleep(QUIET).await;
                }
                self.wishes.answer.send_modify(|answered| *answered += 1);
            } else {
                self.look(cause);
                sleep(PAUSE).await;
            }
        }
    }

    /// Waits until there has been no word for a moment: a file is written in several steps, and
    /// several files come together.
    async fn settle(&self) {
        let latest = Instant::now() + SETTLED_AT_LATEST;
        loop {
            tokio::select! {
                biased;
                () = self.changed.notified() => {}
                () = sleep_until(latest) => return,
                () = sleep(QUIET) => return,
            }
        }
    }

    /// Looks whether there is something new, and does what is to be done. Whether that could be
    /// decided; if not, one must look again.
    fn look(&mut self, cause: Cause) -> bool {
        self.live.tidy();
        self.metrics.tidy();
        if cause != Cause::Impatience {
            self.watch.turn_to(&self.inputs);
        }
        let seen = self.inputs.fingerprint();
        let before = std::mem::replace(&mut self.seen, seen.clone());
        if !seen.agrees_about_the_system(&before) {
            // Nobody has told, so nobody will tell when it is over: what stays is believed.
            self.changed.notify_one();
            return false;
        }
        // What was wrong may have been so for a moment only, and would stay so.
        let is_told = matches!(self.trouble, Trouble::Told(_));
        let is_known = match cause {
            Cause::Poll | Cause::Changed => !is_told,
            Cause::Asked | Cause::Impatience => false,
        };
        if self.tried.as_ref() == Some(&seen) && is_known {
            return true;
        }
        if let Some(path) = self.watch.being_written() {
            return self.put_off(&LoadError::BeingWritten(path), cause);
        }
        let previous = self.live.snapshot();
        let begun = Instant::now();
        let known = Previous {
            file: &self.file,
            snapshot: &previous,
            fingerprint: &self.applied.1,
            seen: (&self.inputs, &seen),
        };
        let outcome = match load_after(&self.path, Some(&known)) {
            Ok(loaded) if !loaded.restless.is_empty() => {
                // There is more to come of what is restless.
                self.changed.notify_one();
                match self.watch.being_written() {
                    Some(path) => return self.put_off(&LoadError::BeingWritten(path), cause),
                    None => self.apply(loaded, begun),
                }
            }
            Ok(loaded) if loaded.fingerprint == self.applied.1 => self.as_it_was(loaded, cause),
            Ok(loaded) => self.apply(loaded, begun),
            Err(error @ LoadError::Unsteady(_)) => {
                self.changed.notify_one();
                return self.put_off(&error, cause);
            }
            Err(error) => {
                let inputs = error.inputs(&self.applied.0);
                if inputs != self.inputs {
                    // Again, with an eye on all of it.
                    self.inputs = inputs;
                    self.changed.notify_one();
                    return false;
                }
                self.tried = Some(seen);
                self.refuse(&error, cause)
            }
        };
        self.metrics.reloads().ended(outcome, now());
        true
    }

    /// The files are in motion: one must look again.
    fn put_off(&mut self, error: &LoadError, cause: Cause) -> bool {
        self.tried = None;
        let outcome = self.refuse(error, cause);
        self.metrics.reloads().ended(outcome, now());
        false
    }

    /// The files say what is in force.
    fn as_it_was(&mut self, loaded: Loaded, cause: Cause) -> Reload {
        let generation = self.live.snapshot().generation;
        match self.trouble {
            Trouble::None if cause != Cause::Asked => {}
            Trouble::None => info!(generation, "nothing has changed"),
            Trouble::Pending(_) | Trouble::Told(_) => {
                info!(generation, "the files are as they were");
            }
        }
        self.settled(loaded.inputs, loaded.fingerprint);
        Reload::Unchanged
    }

    fn apply(&mut self, loaded: Loaded, begun: Instant) -> Reload {
        let Loaded {
            file,
            snapshot,
            problems,
            inputs,
            fingerprint,
            restless: _,
        } = loaded;
        let previous = self.live.snapshot();
        let generation = snapshot.generation;
        let changes = snapshot.changes_since(&previous);
        // Ignored if nobody looks up anything any more: then the process is about to end.
        let _ = self.resolved.send(Resolved {
            targets: snapshot.targets.clone(),
            every: file.config.resolve,
        });
        let kept: HashSet<_> = snapshot.targets.iter().map(Arc::as_ptr).collect();
        self.live.publish(snapshot.clone());
        self.metrics.publish(snapshot.inventory());
        self.has_replaced = true;
        // Now nobody finds the way to them any more.
        let gone = previous.targets.iter();
        gone.filter(|target| !kept.contains(&Arc::as_ptr(target)))
            .for_each(|target| target.retire());
        let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        info!(generation, took_ms, %changes, "configuration applied");
        warn_of(&problems, &file.source);
        let waiting = Fixed::of(&file.config).differing(&snapshot.fixed);
        if !waiting.is_empty() {
            let settings = waiting.join(", ");
            warn!(
                settings,
                "these changes need a restart; all others are in force"
            );
        }
        self.poll = file.config.reload.poll;
        self.file = file;
        self.settled(inputs, fingerprint);
        Reload::Applied
    }

    fn settled(&mut self, inputs: Inputs, fingerprint: Fingerprint) {
        if inputs != self.inputs {
            self.inputs = inputs.clone();
            self.changed.notify_one();
        }
        self.tried = Some(fingerprint.clone());
        self.applied = (inputs, fingerprint);
        self.trouble = Trouble::None;
    }

    /// The last good state goes on.
    fn refuse(&mut self, error: &LoadError, cause: Cause) -> Reload {
        let generation = self.live.snapshot().generation;
        let complaints = complaints_of(error);
        if let Trouble::Told(before) = &self.trouble
            && *before == complaints
            && cause == Cause::Poll
        {
            // Nobody has asked to hear it again.
            return Reload::Rejected;
        }
        if error.is_unsettled() {
            let (since, is_new) = match self.trouble {
                Trouble::Pending(since) => (since, false),
                Trouble::None | Trouble::Told(_) => (Instant::now(), true),
            };
            self.trouble = Trouble::Pending(since);
            if since.elapsed() < PATIENCE {
                if !is_new && matches!(error, LoadError::Unsteady(_) | LoadError::BeingWritten(_)) {
                    return Reload::Pending;
                }
                for (at, what) in complaints {
                    info!(generation, at, "waiting for files to be complete: {what}");
                }
                return Reload::Pending;
            }
        }
        for (at, what) in &complaints {
            error!(
                generation,
                at, "not applied, the last good configuration goes on: {what}"
            );
        }
        self.trouble = Trouble::Told(complaints);
        Reload::Rejected
    }
}

fn now() -> u64 {
    Clock::system().numeric_date().seconds()
}

/// How often one looks at the operator's wish until it is decided.
const LOOKS_FOR_A_WISH: usize = 4;

/// How long there must be no word of changes.
const QUIET: Duration = Duration::from_millis(150);

/// Whether there is or not: a change takes effect within a second.
const SETTLED_AT_LATEST: Duration = Duration::from_millis(400);

/// The least time between two looks.
const PAUSE: Duration = Duration::from_millis(200);

/// How long after it was replaced a state is let go of. A worker that has had no request since
/// still looks at it; then it is for the next look at the files.
const TIDY_AFTER: Duration = Duration::from_secs(1);

/// How long files may be incomplete before somebody has to see to it.
const PATIENCE: Duration = Duration::from_secs(30);
