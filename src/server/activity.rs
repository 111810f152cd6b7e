//! What hyper does with a client's stream: when it reads and writes, and where in a request it is.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::task::Poll;

use http_body::Body;
use tokio::time::Instant;

use super::chunks::Chunks;
use super::frames::Frames;
use super::head_lines::{HeadLines, LineEnds};

/// What hyper has done with a connection.
#[derive(Debug)]
pub(super) struct Activity {
    region: RefCell<Region>,
    /// The present, as of the last time that the connection had its turn.
    now: Cell<Instant>,
    /// When the head began that has not come whole, or when what kept it back was over.
    head_since: Cell<Option<Instant>>,
    /// Bytes were written and not flushed yet.
    unflushed: Cell<bool>,
    /// When bytes were last written.
    written: Cell<Instant>,
    /// When bytes were last read.
    read: Cell<Instant>,
    /// Since when the client takes nothing of what is to be written.
    stalled_since: Cell<Option<Instant>>,
    /// How many bytes the kernel had taken when that was looked at.
    taken: Cell<u64>,
    bytes: Cell<u64>,
}

/// What the next byte from the client belongs to.
#[derive(Debug)]
enum Region {
    /// A head, of which this much is known.
    Head(HeadLines),
    /// Nothing yet: hyper has a whole head, and has not said what it makes of it.
    Judged(LineEnds),
    /// A body with this many bytes left.
    Body(u64),
    /// A chunked body, whose end only hyper finds, and after it a head.
    Chunked(Chunks),
    /// HTTP/2.
    Frames(Frames),
    /// No telling.
    Opaque,
}

impl Activity {
    /// Of a connection on which an HTTP/1 head comes next.
    pub(super) fn of_heads() -> Rc<Self> {
        Self::starting_with(Region::Head(HeadLines::default()))
    }

    /// Of a connection that begins as HTTP/2 does.
    pub(super) fn of_frames() -> Rc<Self> {
        Self::starting_with(Region::Frames(Frames::after_preface()))
    }

    fn starting_with(region: Region) -> Rc<Self> {
        let now = Instant::now();
        Rc::new(Self {
            region: RefCell::new(region),
            now: Cell::new(now),
            head_since: Cell::new(None),
            unflushed: Cell::new(false),
            written: Cell::new(now),
            read: Cell::new(now),
            stalled_since: Cell::new(None),
            taken: Cell::new(0),
            bytes: Cell::new(0),
        })
    }

    /// It is the connection's turn; reads and writes that follow happen now.
    pub(super) fn tick(&self, now: Instant) {
        self.now.set(now);
    }

    /// As many frames as are taken at once may come again.
    pub(super) fn begin_turn(&self) {
        if let Region::Frames(frames) = &mut *self.region.borrow_mut() {
            frames.begin_turn();
        }
    }

    /// Whether no more is to be read before the next turn.
    pub(super) fn turn_is_over(&self) -> bool {
        matches!(&*self.region.borrow(), Region::Frames(frames) if frames.turn_is_over())
    }

    /// Since when a head is on its way that nothing keeps back, if one is.
    pub(super) fn head_since(&self) -> Option<Instant> {
        self.head_since.get()
    }

    /// Notes whether there is one now. A head that ended and one that began in the same turn are
    /// two.
    pub(super) fn note_head(&self, is_on_its_way: bool) {
        let since = self.head_since.get().unwrap_or(self.now.get());
        self.head_since.set(is_on_its_way.then_some(since));
    }

    /// hyper has understood a head, which this body follows. Returns how the head's lines ended;
    /// `None` if it was not seen coming, which would be a mistake of ours.
    pub(super) fn head_completed(&self, body: &impl Body) -> Option<LineEnds> {
        let next = match body.size_hint().exact() {
            Some(0) => Region::Head(HeadLines::default()),
            Some(length) => Region::Body(length),
            None => Region::Chunked(Chunks::default()),
        };
        self.head_since.set(None);
        match self.region.replace(next) {
            Region::Judged(ends) => Some(ends),
            Region::Chunked(chunks) => chunks.ends(),
            Region::Head(_) | Region::Body(_) | Region::Frames(_) | Region::Opaque => None,
        }
    }

    /// Whether a head has begun to arrive and is not complete. Empty lines before it do not
    /// count: some clients send one after a body.
    pub(super) fn is_in_head(&self) -> bool {
        match &*self.region.borrow() {
            Region::Head(lines) => lines.have_begun(),
            Region::Chunked(chunks) => chunks.have_begun(),
            Region::Judged(_) => true,
            Region::Body(_) | Region::Frames(_) | Region::Opaque => false,
        }
    }

    /// Whether hyper has written all it had to write. It flushes only once its own buffer is
    /// empty.
    pub(super) fn is_flushed(&self) -> bool {
        !self.unflushed.get()
    }

    /// When bytes were last written.
    pub(super) fn written(&self) -> Instant {
        self.written.get()
    }

    /// When bytes last went either way.
    pub(super) fn moved(&self) -> Instant {
        self.written.get().max(self.read.get())
    }

    /// Since when the client takes nothing of what is to be written.
    pub(super) fn stalled_since(&self) -> Option<Instant> {
        self.stalled_since.get()
    }

    /// How many bytes were read.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    pub(super) fn note_write(&self, result: &Poll<io::Result<usize>>, taken: u64) {
        self.unflushed.set(true);
        if result.is_ready() {
            self.written.set(self.now.get());
            self.stalled_since.set(None);
        } else {
            self.note_wait(taken);
        }
    }

    pub(super) fn note_flush(&self, result: &Poll<io::Result<()>>, taken: u64) {
        match result {
            Poll::Ready(Ok(())) => {
                self.unflushed.set(false);
                self.stalled_since.set(None);
            }
            // TLS may have taken all there is.
            Poll::Pending if self.unflushed.get() => self.note_wait(taken),
            Poll::Pending | Poll::Ready(Err(_)) => {}
        }
    }

    /// Something is to be written, of which the kernel may have taken a part.
    fn note_wait(&self, taken: u64) {
        let moves = self.taken.replace(taken) != taken;
        if moves || self.stalled_since.get().is_none() {
            self.stalled_since.set(Some(self.now.get()));
        }
    }

    /// Notes what came, and returns how much of it hyper may have now: no more than the rest of
    /// the head or of the body that it belongs to, so that the next head is seen from its first
    /// byte on; and no more than so many frames.
    pub(super) fn admit(&self, bytes: &[u8]) -> usize {
        if bytes.is_empty() {
            return 0;
        }
        let mut region = self.region.borrow_mut();
        let admitted = match &mut *region {
            Region::Head(lines) => match lines.see(bytes) {
                Some((end, ends)) => {
                    *region = Region::Judged(ends);
                    end
                }
                None => bytes.len(),
            },
            Region::Body(left) => {
                let length = usize::try_from(*left).map_or(bytes.len(), |l| l.min(bytes.len()));
                *left -= length as u64;
                if *left == 0 {
                    *region = Region::Head(HeadLines::default());
                }
                length
            }
            Region::Chunked(chunks) => chunks.see(bytes),
            Region::Frames(frames) => frames.see(bytes),
            // hyper wants more although it has a whole head: it sees something else than we do.
            Region::Judged(_) => {
                *region = Region::Opaque;
                bytes.len()
            }
            Region::Opaque => bytes.len(),
        };
        self.read.set(self.now.get());
        self.bytes.set(self.bytes.get() + admitted as u64);
        admitted
    }
}
