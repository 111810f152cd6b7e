//! The snapshot in force, and how it is replaced.

use std::cell::RefCell;
use std::fmt;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Snapshot;

/// The snapshot in force. Clones are the same one.
///
/// One writer replaces it, and takes the old one apart; any number of threads look, each through a
/// [`View`] of its own. What a look costs is one load of a number that nobody writes to between two replacements.
#[derive(Clone)]
pub struct Live(Arc<Cell>);

struct Cell {
    /// That of the snapshot, once it can be had.
    generation: AtomicU64,
    snapshot: Mutex<Arc<Snapshot>>,
    /// Those that were replaced, for as long as somebody may look at them. Taking one of ten
    /// thousand routes apart takes milliseconds, which must not be a worker's.
    replaced: Mutex<Vec<Arc<Snapshot>>>,
}

impl Live {
    /// Beginning with this one.
    pub fn new(snapshot: Arc<Snapshot>) -> Self {
        Self(Arc::new(Cell {
            generation: AtomicU64::new(snapshot.generation),
            snapshot: Mutex::new(snapshot),
            replaced: Mutex::default(),
        }))
    }

    /// The one in force.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        let snapshot = self.0.snapshot.lock();
        snapshot.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces it. Whoever looks after this returns sees the new one.
    pub fn publish(&self, snapshot: Arc<Snapshot>) {
        let generation = snapshot.generation;
        let mut current = self
            .0
            .snapshot
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let replaced = std::mem::replace(&mut *current, snapshot);
        drop(current);
        // Last, so that nobody who has word of it finds the lock taken by us.
        self.0.generation.store(generation, Ordering::Release);
        self.replaced().push(replaced);
    }

    /// Lets go of those that were replaced and that nobody looks at any more.
    pub fn tidy(&self) {
        let mut replaced = self.replaced();
        let unused = replaced.extract_if(.., |snapshot| Arc::strong_count(snapshot) == 1);
        let unused: Vec<_> = unused.collect();
        // Outside the lock: they may be large.
        drop(replaced);
        drop(unused);
    }

    fn replaced(&self) -> MutexGuard<'_, Vec<Arc<Snapshot>>> {
        let replaced = self.0.replaced.lock();
        replaced.unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let generation = self.0.generation.load(Ordering::Relaxed);
        write!(f, "Live({generation})")
    }
}

/// One thread's view of the snapshot in force.
pub struct View {
    live: Live,
    seen: RefCell<Current>,
}

/// The snapshot that was in force at some moment. It is for a while, not to be kept: a stream may
/// last for a day, and no generation should last as long.
#[expect(
    clippy::redundant_allocation,
    reason = "the outer count is this thread's own, the inner one every thread's"
)]
#[derive(Clone)]
pub struct Current(Rc<Arc<Snapshot>>);

impl View {
    /// Of what is in force.
    pub fn of(live: &Live) -> Self {
        Self {
            seen: RefCell::new(Current(Rc::new(live.snapshot()))),
            live: live.clone(),
        }
    }

    /// What is in force now.
    pub fn now(&self) -> Current {
        let mut seen = self.seen.borrow_mut();
        if self.live.0.generation.load(Ordering::Acquire) != seen.generation {
            *seen = Current(Rc::new(self.live.snapshot()));
        }
        seen.clone()
    }
}

impl Deref for Current {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.0
    }
}
