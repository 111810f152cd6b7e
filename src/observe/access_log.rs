//! The access log: one line for each request.

use std::io::{self, Write};
use std::time::Duration;

use super::line_log::{LineLog, LogKind, LogWriter};
use super::{LogFormat, Metrics};

/// Where workers leave their lines; clones share one queue.
#[derive(Debug, Clone)]
pub struct AccessLog {
    format: LogFormat,
    lines: LineLog,
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
    ) -> io::Result<(Self, LogWriter)> {
        let dropped = metrics.access_log_dropped.clone();
        let (lines, writer) = LineLog::start(sink, KIND, dropped)?;
        Ok((Self { format, lines }, writer))
    }

    /// How a line is written here.
    pub const fn format(&self) -> LogFormat {
        self.format
    }

    /// Hands over some whole lines. It never blocks: without room in the queue they are dropped
    /// and counted.
    pub fn submit(&self, lines: &str) {
        self.lines.submit(lines);
    }
}

/// A piece is what one worker had to tell in 20 ms, or as much of it as fits. The writer pauses as
/// long: at most 50 wake-ups a second, each of which takes a core from somebody, and no reader of a
/// log notices.
const KIND: LogKind = LogKind {
    name: "access-log",
    most: 1_024,
    pause: Duration::from_millis(20),
};
