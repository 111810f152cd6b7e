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
    /// For the buffer, which once it has become large stays so as long as the stream.
    buffer: Option<Part>,
    pieces: Option<Part>,
}

/// What is put by for one size.
#[derive(Debug)]
struct Part {
    size: usize,
    grant: Grant,
}

impl Share {
    /// What to hold as long as there is something of the piece that came last: a small one, too,
    /// keeps the buffer that it came in.
    pub(crate) fn for_piece(&self) -> Option<Grant> {
        let held = self.held();
        let part = held.pieces.as_ref().or(held.buffer.as_ref());
        part.map(|part| part.grant.clone())
    }

    /// What was asked of the stream has come, and was handed on. Whether it is to be kept for what
    /// comes next: not if it has become large and flows no more, for its buffer takes what others
    /// could use.
    pub(crate) fn rest(&self) -> bool {
        let mut held = self.held();
        let flows = held.pieces.take().is_some();
        flows || held.buffer.is_none()
    }

    /// The stream is read by others from now on, in their own buffers.
    pub(crate) fn let_all_go(&self) {
        *self.held() = Held::default();
    }

    /// Takes what the stream needs to flow in pieces of one of these sizes, the first that there
    /// is enough for; once its buffer has one of them, in pieces of that. Whether it has that now.
    pub(super) fn take(&self, surplus: &Surplus, sizes: &[usize]) -> bool {
        let mut held = self.held();
        if held.pieces.is_some() {
            return true;
        }
        let part = |size, parts| {
            let grant = surplus.take(size * parts)?;
            Some(Part { size, grant })
        };
        if let Some(buffer) = &held.buffer {
            held.pieces = part(buffer.size, HELD_AT_ONCE);
            return held.pieces.is_some();
        }
        let both = |&size| Some((part(size, TAKEN_BY_BUFFER)?, part(size, HELD_AT_ONCE)?));
        let Some((buffer, pieces)) = sizes.iter().find_map(both) else {
            return false;
        };
        (held.buffer, held.pieces) = (Some(buffer), Some(pieces));
        true
    }

    /// The size of the pieces, as long as there is something put by for them.
    pub(super) fn size(&self) -> Option<usize> {
        self.held().pieces.as_ref().map(|pieces| pieces.size)
    }

    /// No piece that was large is to come any more, nor on its way to who hands it on.
    pub(super) fn let_go(&self) {
        self.held().pieces = None;
    }

    /// What is held is right between any two lines, so that a panic does not matter.
    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Pieces that are held of one stream at most, where their receiver takes nothing, beside the
/// buffer. Measured are up to 1.4 MiB with it, where they are of 512 KiB.
pub(super) const HELD_AT_ONCE: usize = 2;

/// What a buffer takes that grows while bytes are in it, in pieces of its size.
pub(super) const TAKEN_BY_BUFFER: usize = 2;

/// What memory is counted in.
const UNIT: usize = 1024;
