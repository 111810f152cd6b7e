//! Memory put by for larger pieces, and who holds some of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The memory that all workers together may use for larger pieces.
#[derive(Debug, Clone)]
pub struct Surplus(Arc<Semaphore>);

/// Some of it, until the last that holds it lets go.
#[derive(Debug, Clone)]
pub struct Grant {
    _permit: Arc<OwnedSemaphorePermit>,
}

impl Surplus {
    /// So many bytes.
    pub fn of(bytes: usize) -> Self {
        let units = (bytes / UNIT).min(Semaphore::MAX_PERMITS);
        Self(Arc::new(Semaphore::new(units)))
    }

    /// So many bytes of it, if there are as many left.
    pub(crate) fn take(&self, bytes: usize) -> Option<Grant> {
        let units = u32::try_from(bytes / UNIT).ok()?;
        let permit = self.0.clone().try_acquire_many_owned(units).ok()?;
        Some(Grant {
            _permit: Arc::new(permit),
        })
    }
}

/// What a stream has for its pieces. Whoever hands one on holds it with the piece, which may well
/// be there for longer than the stream flows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Share(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
struct Held {
    buffer: Option<Buffer>,
    for_pieces: Option<Grant>,
}

/// A buffer that has become large, and stays so as long as the stream.
#[derive(Debug)]
struct Buffer {
    size: usize,
    _grant: Grant,
}

impl Share {
    /// What to hold as long as there is something of the piece that came last.
    pub(crate) fn for_piece(&self) -> Option<Grant> {
        self.held().for_pieces.clone()
    }

    /// What was asked of the stream has come, and was handed on. Whether it is to be kept for what
    /// comes next: not if it has become large and flows no more, for its buffer takes what others
    /// could use.
    pub(crate) fn rest(&self) -> bool {
        let mut held = self.held();
        let flows = held.for_pieces.take().is_some();
        flows || held.buffer.is_none()
    }

    /// Takes what the stream needs to flow in pieces of one of these sizes, the first that there
    /// is enough for. Returns the size that it has now.
    pub(super) fn take(&self, surplus: &Surplus, sizes: &[usize]) -> Option<usize> {
        let mut held = self.held();
        if held.for_pieces.is_some() {
            return held.buffer.as_ref().map(|buffer| buffer.size);
        }
        if let Some(Buffer { size, .. }) = held.buffer {
            held.for_pieces = surplus.take(size * HELD_AT_ONCE);
            return held.for_pieces.is_some().then_some(size);
        }
        sizes.iter().copied().find(|&size| {
            let grants = surplus.take(size).zip(surplus.take(size * HELD_AT_ONCE));
            grants.is_some_and(|(grant, for_pieces)| {
                let _grant = grant;
                *held = Held {
                    buffer: Some(Buffer { size, _grant }),
                    for_pieces: Some(for_pieces),
                };
                true
            })
        })
    }

    /// The size of the pieces, as long as there is something put by for them.
    pub(super) fn size(&self) -> Option<usize> {
        let held = self.held();
        let buffer = held.buffer.as_ref();
        buffer
            .filter(|_| held.for_pieces.is_some())
            .map(|buffer| buffer.size)
    }

    /// No piece that was large is held any more, but for the buffer.
    pub(super) fn let_go(&self) {
        self.held().for_pieces = None;
    }

    /// What is held is right between any two lines, so that a panic does not matter.
    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Pieces that are held of one stream at most, where their receiver takes nothing, beside the
/// buffer: measured are 1.2 MiB with it, where they are of 512 KiB.
pub(super) const HELD_AT_ONCE: usize = 3;

/// What memory is counted in.
const UNIT: usize = 1024;
