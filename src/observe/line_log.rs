//! A log's way out: from many threads through one bounded queue to one that writes.
//!
//! Nobody waits for whoever reads the log. A queue that is full, in pieces or in bytes, and a sink
//! that fails cost lines, and every lost line is counted. Only the writer thread touches the sink.

mod whole_lines;

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use memchr::memchr_iter;
use prometheus_client::metrics::counter::Counter;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use tracing::warn;

use whole_lines::WholeLines;

/// A standard stream without the buffer and the lock of [`io::stdout`] and [`io::stderr`], which
/// would hide what could not be written.
///
/// A file is written at its end, whatever the shell opened it for: whoever rotates it by copying it
/// and cutting it off would otherwise find the next line where the last one was, behind a hole.
///
/// # Errors
/// When the stream is closed or no file descriptor is left.
pub fn unbuffered(stream: impl AsFd) -> io::Result<Box<dyn Write + Send>> {
    let file = File::from(stream.as_fd().try_clone_to_owned()?);
    let kind = file.metadata()?.file_type();
    if kind.is_file() {
        fcntl_setfl(&file, fcntl_getfl(&file)? | OFlags::APPEND)?;
    }
    Ok(if kind.is_fifo() || kind.is_socket() {
        Box::new(WholeLines(file))
    } else {
        Box::new(file)
    })
}

/// What a log is like.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogKind {
    /// Of its thread.
    pub(super) name: &'static str,
    /// How many pieces may wait; what they hold is bounded by [`QUEUE_BYTES`].
    pub(super) most: usize,
    /// How long lines are left to gather between two writes.
    pub(super) pause: Duration,
}

/// Some whole lines; `None` after the last.
type Piece = Option<Box<str>>;

/// Where many leave their lines; clones share one queue.
#[derive(Debug, Clone)]
pub(super) struct LineLog {
    queue: SyncSender<Piece>,
    queued_bytes: Arc<AtomicUsize>,
    dropped: Counter,
}

impl LineLog {
    /// Starts the thread that writes to `sink`, which should not buffer. Lost lines are counted
    /// in `dropped`.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub(super) fn start(
        sink: Box<dyn Write + Send>,
        kind: LogKind,
        dropped: Counter,
    ) -> io::Result<(Self, LogWriter)> {
        let LogKind { name, most, pause } = kind;
        let (queue, pieces) = sync_channel(most);
        let (running, ended) = channel();
        let queued_bytes = Arc::new(AtomicUsize::new(0));
        let mut writer = Writer {
            name,
            pause,
            pieces,
            queued_bytes: Arc::clone(&queued_bytes),
            batch: Vec::with_capacity(BATCH_BYTES),
            sink,
            torn: false,
            lost: None,
            dropped: dropped.clone(),
            _running: running,
        };
        let thread = thread::Builder::new()
            .name(name.into())
            .spawn(move || writer.run())?;
        Ok((
            Self {
                queue,
                queued_bytes,
                dropped,
            },
            LogWriter { thread, ended },
        ))
    }

    /// Hands over some whole lines. It never blocks: without room in the queue they are dropped
    /// and counted.
    pub(super) fn submit(&self, lines: &str) {
        let bytes = lines.len();
        // Claimed before it is checked, so that workers together cannot overshoot.
        let before = self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes > QUEUE_BYTES || self.queue.try_send(Some(lines.into())).is_err() {
            self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.dropped.inc_by(count_lines(lines.as_bytes()));
        }
    }

    /// The last line was handed over, though others still hold the log.
    pub(super) fn end(&self) {
        // If there is no room, nobody reads it any more.
        let _ = self.queue.try_send(None);
    }
}

/// The owner of the thread that writes.
#[derive(Debug)]
pub struct LogWriter {
    thread: JoinHandle<()>,
    /// Never carries anything; it disconnects when the thread ends.
    ended: Receiver<()>,
}

impl LogWriter {
    /// Waits until what is queued is written, at most `within`, and says whether that came true.
    ///
    /// The thread ends once every handle of the log is dropped, or one has said so. One that is
    /// stuck in its sink, or that a handle keeps alive, is left behind: a reader that sleeps must not
    /// keep the process.
    #[must_use]
    pub fn finish(self, within: Duration) -> bool {
        match self.ended.recv_timeout(within) {
            Err(RecvTimeoutError::Disconnected) => self.thread.join().is_ok(),
            Ok(()) | Err(RecvTimeoutError::Timeout) => false,
        }
    }
}

/// What the writer thread holds.
struct Writer {
    name: &'static str,
    pause: Duration,
    pieces: Receiver<Piece>,
    queued_bytes: Arc<AtomicUsize>,
    batch: Vec<u8>,
    sink: Box<dyn Write + Send>,
    /// Whether the sink's last line has no end, because a write failed inside it.
    torn: bool,
    /// Lines lost since the sink began to fail; `None` while it works.
    lost: Option<u64>,
    dropped: Counter,
    /// Held until the thread ends, however it ends.
    _running: Sender<()>,
}

impl Writer {
    /// Sleeps until there are lines, then writes all there are at once.
    fn run(&mut self) {
        let mut goes_on = true;
        while goes_on && let Ok(piece) = self.pieces.recv() {
            goes_on = self.take(piece);
            while goes_on
                && self.batch.len() < BATCH_BYTES
                && let Ok(piece) = self.pieces.try_recv()
            {
                goes_on = self.take(piece);
            }
            let full = self.batch.len() >= BATCH_BYTES;
            self.write_batch();
            if goes_on && !full {
                // Nobody wakes a thread that is not waiting: under load the workers pay for one
                // wake-up per pause rather than for one per request.
                thread::sleep(self.pause);
            }
        }
    }

    /// Whether there is more to come.
    fn take(&mut self, piece: Piece) -> bool {
        let Some(lines) = piece else {
            return false;
        };
        self.queued_bytes.fetch_sub(lines.len(), Ordering::Relaxed);
        self.batch.extend_from_slice(lines.as_bytes());
        true
    }

    /// Writes the batch, or as much of it as the sink takes; the rest is lost and counted.
    fn write_batch(&mut self) {
        let (written, outcome) = self.write_after_torn_line();
        if let Some(last) = self.batch[..written].last() {
            self.torn = *last != b'\n';
        }
        let lost = count_lines(&self.batch[written..]);
        self.dropped.inc_by(lost);
        self.batch.clear();
        match (outcome, self.lost) {
            (Ok(()), None) => {}
            (Ok(()), Some(lost)) => {
                warn!(log = self.name, lost, "can be written again");
                self.lost = None;
            }
            (Err(error), None) => {
                warn!(log = self.name, %error, "cannot be written, lines are lost until it can");
                self.lost = Some(lost);
            }
            (Err(_), Some(before)) => self.lost = Some(before + lost),
        }
    }

    /// Ends a torn line first: the event after it must begin on a line of its own.
    fn write_after_torn_line(&mut self) -> (usize, io::Result<()>) {
        if self.torn {
            match write_fully(&mut self.sink, b"\n") {
                (_, Ok(())) => self.torn = false,
                (_, Err(error)) => return (0, Err(error)),
            }
        }
        write_fully(&mut self.sink, &self.batch)
    }
}

/// How many lines end in here. Every line ends with its only newline.
fn count_lines(bytes: &[u8]) -> u64 {
    memchr_iter(b'\n', bytes).count() as u64
}

/// Like [`Write::write_all`], but says how many bytes got through before an error.
fn write_fully(sink: &mut impl Write, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while written < bytes.len() {
        match sink.write(&bytes[written..]) {
            Ok(0) => return (written, Err(ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Another process that shares the terminal or pipe made it non-blocking: a slow
            // reader, not a broken one.
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(RETRY),
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}

/// Bytes that may wait: half a second of 40,000 requests a second.
const QUEUE_BYTES: usize = 8 << 20;
/// A batch this large is written before more is taken; beyond it, larger writes gain nothing.
const BATCH_BYTES: usize = 256 << 10;
/// How long a slow reader is left alone.
const RETRY: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests;
