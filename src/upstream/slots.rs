//! Slots for connections, and who waits for one.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// So many connections may be open at once, of all workers together. There are some for each
/// target, and some for all of them.
#[derive(Debug)]
pub struct Slots {
    free: Arc<Semaphore>,
    waiting: AtomicUsize,
    max_waiting: usize,
    /// Those that may hold connections which nobody uses.
    idlers: Mutex<Vec<Weak<Notify>>>,
}

/// One request that waits for a slot.
pub(super) struct Waiting<'s>(&'s Slots);

impl Slots {
    /// So many, for which so many requests may wait.
    pub fn new(count: usize, max_waiting: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(count)),
            waiting: AtomicUsize::new(0),
            max_waiting,
            idlers: Mutex::default(),
        }
    }

    /// One, if there is one now.
    pub(super) fn try_take(&self) -> Option<OwnedSemaphorePermit> {
        self.free.clone().try_acquire_owned().ok()
    }

    /// One, once there is one; for those who have [joined](Self::join_queue).
    pub(super) async fn take(&self) -> Option<OwnedSemaphorePermit> {
        // Nobody closes the semaphore.
        self.free.clone().acquire_owned().await.ok()
    }

    /// Joins those that wait, unless there are too many. Whoever holds connections that nobody
    /// uses is told.
    pub(super) fn join_queue(&self) -> Option<Waiting<'_>> {
        let others = self.waiting.fetch_add(1, Ordering::Relaxed);
        let waiting = Waiting(self);
        if others >= self.max_waiting {
            return None;
        }
        for idler in &*self.idlers.lock().unwrap_or_else(PoisonError::into_inner) {
            if let Some(idler) = idler.upgrade() {
                idler.notify_one();
            }
        }
        Some(waiting)
    }

    /// How many wait, of all workers.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// From now on this one is told when somebody waits.
    pub(super) fn add_idler(&self, idler: &Arc<Notify>) {
        let mut idlers = self.idlers.lock().unwrap_or_else(PoisonError::into_inner);
        idlers.retain(|idler| idler.strong_count() > 0);
        idlers.push(Arc::downgrade(idler));
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
