//! The access log's way out: from many workers through one bounded queue to one writer thread.
//!
//! A request never waits for the log. A queue that is full, in lines or in bytes, and a sink that
//! fails cost lines, and every lost line is counted. Only the writer thread touches the sink.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tracing::warn;

use super::{AccessEvent, LogFormat, Metrics};

/// Standard output without the buffer of [`io::stdout`], which would hide what could not be written.
///
/// # Errors
/// When standard output is closed or no file descriptor is left.
pub fn stdout() -> io::Result<File> {
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

/// Where requests leave their event; clones share one queue.
#[derive(Debug, Clone)]
pub struct AccessLog {
    format: LogFormat,
    queue: SyncSender<String>,
    queued_bytes: Arc<AtomicUsize>,
    dropped: Counter,
}

impl AccessLog {
    /// Starts the thread that writes to `sink`, which should not buffer. Lost lines are counted in
    /// `metrics`.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(
        sink: Box<dyn Write + Send>,
        format: LogFormat,
        metrics: &Metrics,
    ) -> io::Result<(Self, AccessLogWriter)> {
        let (queue, lines) = sync_channel(QUEUE_LINES);
        let (running, ended) = channel();
        let queued_bytes = Arc::new(AtomicUsize::new(0));
        let dropped = metrics.access_log_dropped.clone();
        let mut writer = Writer {
            lines,
            queued_bytes: Arc::clone(&queued_bytes),
            batch: Vec::with_capacity(BATCH_BYTES),
            sink,
            torn: false,
            lost: None,
            dropped: dropped.clone(),
            _running: running,
        };
        let thread = thread::Builder::new()
            .name("access-log".into())
            .spawn(move || writer.run())?;
        Ok((
            Self {
                format,
                queue,
                queued_bytes,
                dropped,
            },
            AccessLogWriter { thread, ended },
        ))
    }

    /// Hands over one event. It never blocks: without room in the queue the line is dropped and
    /// counted.
    pub fn submit(&self, event: &AccessEvent) {
        let mut line = String::with_capacity(USUAL_LINE_BYTES);
        event.write_line(self.format, &mut line);
        let bytes = line.len();
        // Claimed before it is checked, so that workers together cannot overshoot.
        let before = self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes > QUEUE_BYTES || self.queue.try_send(line).is_err() {
            self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.dropped.inc();
        }
    }
}

/// The owner of the writer thread.
#[derive(Debug)]
pub struct AccessLogWriter {
    thread: JoinHandle<()>,
    /// Never carries anything; it disconnects when the thread ends.
    ended: Receiver<()>,
}

impl AccessLogWriter {
    /// Waits until what is queued is written, at most `within`, and says whether that came true.
    ///
    /// The thread ends once every [`AccessLog`] is dropped. One that is stuck in its sink, or that
    /// a handle keeps alive, is left behind: a reader that sleeps must not keep the process.
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
    lines: Receiver<String>,
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
    /// Sleeps until there is a line, then writes all there are at once.
    fn run(&mut self) {
        while let Ok(line) = self.lines.recv() {
            self.take(line);
            while self.batch.len() < BATCH_BYTES
                && let Ok(line) = self.lines.try_recv()
            {
                self.take(line);
            }
            let full = self.batch.len() >= BATCH_BYTES;
            self.write_batch();
            if !full {
                // Nobody wakes a thread that is not waiting: under load the workers pay for one
                // wake-up per pause rather than for one per request.
                thread::sleep(PAUSE);
            }
        }
    }

    fn take(&mut self, line: String) {
        self.queued_bytes.fetch_sub(line.len(), Ordering::Relaxed);
        self.batch.extend_from_slice(line.as_bytes());
    }

    /// Writes the batch, or as much of it as the sink takes; the rest is lost and counted.
    fn write_batch(&mut self) {
        let (written, outcome) = self.write_after_torn_line();
        if let Some(last) = self.batch[..written].last() {
            self.torn = *last != b'\n';
        }
        // Every line ends with its only newline, so the newlines left over are the lines lost.
        let lost = self.batch[written..]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count() as u64;
        self.dropped.inc_by(lost);
        self.batch.clear();
        match (outcome, self.lost) {
            (Ok(()), None) => {}
            (Ok(()), Some(lost)) => {
                warn!(lost, "access log can be written again");
                self.lost = None;
            }
            (Err(error), None) => {
                warn!(%error, "access log cannot be written, lines are lost until it can");
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
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(PAUSE),
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}

/// Lines that may wait: half a second of 16,000 requests a second.
const QUEUE_LINES: usize = 8_192;
/// Bytes that may wait. Usual lines fill [`QUEUE_LINES`] first; hostile ones are escaped to many
/// times that size and stop here.
const QUEUE_BYTES: usize = 8 << 20;
/// A batch this large is written before more is taken; beyond it, larger writes gain nothing.
const BATCH_BYTES: usize = 256 << 10;
/// How long the writer leaves lines to gather: at most 200 wake-ups a second, and no reader of a
/// log notices.
const PAUSE: Duration = Duration::from_millis(5);
/// Room for a line of usual size, so that most are allocated once.
const USUAL_LINE_BYTES: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Readiness;
    use crate::observe::event::tests::event;

    /// A sink that shows every write to the test and does what the test answers; once the test
    /// drops its end, it takes everything.
    struct Puppet {
        offered: Sender<Vec<u8>>,
        answers: Receiver<io::Result<usize>>,
    }

    impl Write for Puppet {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.offered.send(bytes.to_vec());
            let taken = self.answers.recv().unwrap_or(Ok(bytes.len()))?;
            Ok(taken.min(bytes.len()))
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Stage {
        log: AccessLog,
        writer: AccessLogWriter,
        offered: Receiver<Vec<u8>>,
        answers: Sender<io::Result<usize>>,
        dropped: Counter,
    }

    fn stage() -> Stage {
        let metrics = Metrics::new(&Readiness::starting());
        let (offer, offered) = channel();
        let (answers, answered) = channel();
        let sink = Puppet {
            offered: offer,
            answers: answered,
        };
        let (log, writer) = AccessLog::start(Box::new(sink), LogFormat::Text, &metrics).unwrap();
        Stage {
            log,
            writer,
            offered,
            answers,
            dropped: metrics.access_log_dropped.clone(),
        }
    }

    fn numbered(number: u64) -> AccessEvent {
        AccessEvent {
            generation: number,
            ..event()
        }
    }

    fn line(number: u64) -> Vec<u8> {
        let mut line = String::new();
        numbered(number).write_line(LogFormat::Text, &mut line);
        line.into_bytes()
    }

    #[test]
    fn a_blocked_reader_costs_lines_but_no_request_waits() {
        let stage = stage();
        stage.log.submit(&numbered(0));
        assert_eq!(stage.offered.recv().unwrap(), line(0));
        // The writer is stuck in its sink now: exactly the queue's capacity fits.
        let capacity = QUEUE_LINES as u64;
        for number in 1..=capacity + 7 {
            stage.log.submit(&numbered(number));
        }
        assert_eq!(stage.dropped.get(), 7);

        drop((stage.log, stage.answers));
        assert!(stage.writer.finish(LONG));
        let rest: Vec<u8> = stage.offered.try_iter().flatten().collect();
        let expected: Vec<u8> = (1..=capacity).flat_map(line).collect();
        assert!(rest == expected, "every queued line once, in order");
        assert_eq!(stage.dropped.get(), 7);
    }

    #[test]
    fn hostile_lines_are_bounded_in_bytes() {
        let stage = stage();
        let hostile = AccessEvent {
            path: "\u{1}".repeat(2_000),
            ..event()
        };
        let mut line = String::new();
        hostile.write_line(LogFormat::Text, &mut line);
        stage.log.submit(&hostile);
        assert_eq!(stage.offered.recv().unwrap(), line.as_bytes());

        let room = QUEUE_BYTES / line.len();
        assert!(room < QUEUE_LINES);
        for _ in 0..room + 5 {
            stage.log.submit(&hostile);
        }
        assert_eq!(stage.dropped.get(), 5);

        // What the writer has taken is room again.
        drop(stage.answers);
        while stage.log.queued_bytes.load(Ordering::Relaxed) > 0 {
            stage.offered.recv_timeout(LONG).unwrap();
        }
        stage.log.submit(&hostile);
        drop(stage.log);
        assert!(stage.writer.finish(LONG));
        assert_eq!(stage.dropped.get(), 5);
    }

    #[test]
    fn a_failing_sink_is_tried_again_and_a_torn_line_is_ended() {
        let stage = stage();
        let answer = |answer| stage.answers.send(answer).unwrap();

        stage.log.submit(&numbered(1));
        assert_eq!(stage.offered.recv().unwrap(), line(1));
        answer(Err(ErrorKind::BrokenPipe.into()));

        stage.log.submit(&numbered(2));
        assert_eq!(stage.offered.recv().unwrap(), line(2));
        assert_eq!(stage.dropped.get(), 1);
        answer(Ok(5));
        assert_eq!(stage.offered.recv().unwrap(), line(2)[5..]);
        answer(Err(ErrorKind::StorageFull.into()));

        stage.log.submit(&numbered(3));
        assert_eq!(stage.offered.recv().unwrap(), b"\n");
        assert_eq!(stage.dropped.get(), 2);
        answer(Ok(1));
        assert_eq!(stage.offered.recv().unwrap(), line(3));
        answer(Ok(usize::MAX));

        drop((stage.log, stage.answers));
        assert!(stage.writer.finish(LONG));
        assert_eq!(stage.dropped.get(), 2);
    }

    #[test]
    fn an_interrupted_or_full_pipe_loses_nothing() {
        let stage = stage();
        for kind in [ErrorKind::Interrupted, ErrorKind::WouldBlock] {
            stage.answers.send(Err(kind.into())).unwrap();
        }
        stage.log.submit(&numbered(1));
        drop((stage.log, stage.answers));
        assert!(stage.writer.finish(LONG));
        assert_eq!(stage.offered.iter().collect::<Vec<_>>(), vec![line(1); 3]);
        assert_eq!(stage.dropped.get(), 0);
    }

    #[test]
    fn a_sleeping_reader_does_not_keep_the_process() {
        let stage = stage();
        stage.log.submit(&numbered(1));
        stage.offered.recv().unwrap();
        drop(stage.log);
        assert!(!stage.writer.finish(Duration::from_millis(1)));
    }

    #[test]
    fn a_forgotten_handle_does_not_keep_the_process() {
        let stage = stage();
        assert!(!stage.writer.finish(Duration::from_millis(1)));
        drop(stage.log);
    }

    #[test]
    fn a_dead_writer_costs_lines_only() {
        struct Bomb(Sender<()>);
        impl Write for Bomb {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                let _ = &self.0;
                panic!("a sink that panics");
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let metrics = Metrics::new(&Readiness::starting());
        let (alive, dead) = channel();
        let (log, writer) =
            AccessLog::start(Box::new(Bomb(alive)), LogFormat::Json, &metrics).unwrap();
        log.submit(&event());
        assert!(dead.recv().is_err());
        log.submit(&event());
        assert!(!writer.finish(LONG));
    }

    /// Far beyond what a sound run needs.
    const LONG: Duration = Duration::from_secs(30);
}
