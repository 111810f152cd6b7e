//! Operational messages: one line each on standard error, for whoever runs the gateway. Nobody who
//! has something to say waits for it to be read.
//!
//! A field may hold what a client sent, so every character that could end the line, drive a
//! terminal or turn the writing direction is escaped, in every field and not only in the message.

use std::fmt::{self, Write};
use std::io;
use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::set_global_default;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::prelude::*;
use tracing_subscriber::registry::LookupSpan;

use super::line_log::{LineLog, LogKind, LogWriter, unbuffered};

/// Starts writing messages to standard error; to be called once, before the first of them. What it
/// returns is to be kept until after the last.
///
/// `filter` is a comma-separated list of levels (`debug`: jotgate's own messages from there on)
/// and `TARGET=LEVEL` pairs (`jotgate::tls=trace`, `h2=warn`). What is not named is not written:
/// a library's messages appear only when asked for. An empty filter is `info`.
///
/// # Errors
/// [`MessagesError::Filter`] names the part that is not understood;
/// [`MessagesError::AlreadyStarted`] on a second call; [`MessagesError::Thread`] when the system has
/// no thread to give.
pub fn init(filter: &str, style: Style) -> Result<Messages, MessagesError> {
    let targets = parse_filter(filter)?;
    let sink = unbuffered(io::stderr()).unwrap_or_else(|_| Box::new(io::sink()));
    let (lines, writer) = LineLog::start(sink, KIND, dropped())
        .map_err(|error| MessagesError::Thread(error.kind()))?;
    let _first = SAID.set(lines.clone());
    let handed = lines.clone();
    set_global_default(subscriber(targets, style, move || Handed(handed.clone())))
        .map_err(|_| MessagesError::AlreadyStarted)?;
    Ok(Messages {
        lines,
        writer: Some(writer),
    })
}

/// Says something that is no message, in its turn among those.
pub fn say(text: &str) {
    match SAID.get() {
        Some(lines) => lines.submit(&format!("{text}\n")),
        None => {
            let _ = io::Write::write_fmt(&mut io::stderr(), format_args!("{text}\n"));
        }
    }
}

/// Where it goes once messages are written.
static SAID: OnceLock<LineLog> = OnceLock::new();

/// How many messages were lost to a slow or broken reader, in this process.
pub(super) fn dropped() -> Counter {
    static DROPPED: LazyLock<Counter> = LazyLock::new(Counter::default);
    DROPPED.clone()
}

/// Messages that are being written. When it is dropped, those that were said are written, unless
/// nobody reads them.
#[derive(Debug)]
#[must_use]
pub struct Messages {
    lines: LineLog,
    writer: Option<LogWriter>,
}

impl Drop for Messages {
    fn drop(&mut self) {
        self.lines.end();
        if let Some(writer) = self.writer.take() {
            let _written = writer.finish(FINISH_WITHIN);
        }
    }
}

/// Hands each message over whole.
struct Handed(LineLog);

impl io::Write for Handed {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.submit(&String::from_utf8_lossy(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How levels are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// With the terminal's escape sequences.
    Colored,
    /// Plain text.
    Plain,
    /// With the priority in front that a journal takes from a line (sd-daemon(3)), so that
    /// `journalctl -p err` finds errors.
    Journal,
}

/// Why messages could not be started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessagesError {
    /// A part of the filter is neither a level nor a target with one.
    #[error(
        "log filter: {part:?} is not a level or TARGET=LEVEL \
         (levels: off, error, warn, info, debug, trace; example: \"info,jotgate::tls=debug\")"
    )]
    Filter {
        /// The part, as it was written.
        part: String,
    },
    /// Messages are being written already.
    #[error("messages were started twice")]
    AlreadyStarted,
    /// The system has no thread for them.
    #[error("cannot start a thread for messages: {0}")]
    Thread(io::ErrorKind),
}

/// Reads a filter. The syntax is narrower than that of other programs, where a level with a typo
/// names a target that does not exist and silences everything.
fn parse_filter(filter: &str) -> Result<Targets, MessagesError> {
    let mut targets = Targets::new().with_target(OWN_TARGET, LevelFilter::INFO);
    for part in filter
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        let (target, level) = part.split_once('=').unwrap_or((OWN_TARGET, part));
        let known = LEVELS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(level.trim()));
        match known {
            Some((_, level)) if !target.trim().is_empty() => {
                targets = targets.with_target(target.trim(), *level);
            }
            Some(_) | None => {
                return Err(MessagesError::Filter {
                    part: part.to_owned(),
                });
            }
        }
    }
    Ok(targets)
}

fn subscriber<W>(targets: Targets, style: Style, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let fields = debug_fn(|out, field, value| {
        if field.name() != "message" {
            write!(out, "{}=", field.name())?;
        }
        write!(Escaped(out), "{value:?}")
    });
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(style == Style::Colored)
        .fmt_fields(fields.delimited(" "))
        .with_writer(writer)
        .map_event_format(|lines| Prioritized {
            lines,
            is_for_journal: style == Style::Journal,
        });
    tracing_subscriber::registry().with(targets).with(lines)
}

/// Lines with a priority in front, where a journal wants it.
struct Prioritized<F> {
    lines: F,
    is_for_journal: bool,
}

impl<S, N, F> FormatEvent<S, N> for Prioritized<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if self.is_for_journal {
            // syslog(3): LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG.
            let priority = match *event.metadata().level() {
                Level::ERROR => 3,
                Level::WARN => 4,
                Level::INFO => 6,
                Level::DEBUG | Level::TRACE => 7,
            };
            write!(out, "<{priority}>")?;
        }
        self.lines.format_event(context, out, event)
    }
}

/// Passes on what is printable and escapes the rest: controls, separators of lines, format
/// characters such as the bidirectional overrides.
struct Escaped<W>(W);

impl<W: Write> Write for Escaped<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            match character {
                // They have an escape, but need none here: values were quoted already.
                '"' | '\'' | '\\' => self.0.write_char(character)?,
                other => write!(self.0, "{}", other.escape_debug())?,
            }
        }
        Ok(())
    }
}

/// A piece is one message, which is written at once. A library that traces says thousands of them
/// in a moment.
const KIND: LogKind = LogKind {
    name: "messages",
    most: 8_192,
    pause: Duration::ZERO,
};

/// How long the last messages may take, at the end of the process.
const FINISH_WITHIN: Duration = Duration::from_secs(1);

/// The prefix of every target of ours.
const OWN_TARGET: &str = "jotgate";

const LEVELS: [(&str, LevelFilter); 6] = [
    ("off", LevelFilter::OFF),
    ("error", LevelFilter::ERROR),
    ("warn", LevelFilter::WARN),
    ("info", LevelFilter::INFO),
    ("debug", LevelFilter::DEBUG),
    ("trace", LevelFilter::TRACE),
];

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::{debug, error, info, trace, warn};

    use super::*;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What `speak` makes a subscriber with `filter` write.
    fn written(filter: &str, speak: impl FnOnce()) -> String {
        written_in(Style::Plain, filter, speak)
    }

    fn written_in(style: Style, filter: &str, speak: impl FnOnce()) -> String {
        let memory = Memory::default();
        let writer = memory.clone();
        let targets = parse_filter(filter).unwrap();
        let subscriber = subscriber(targets, style, move || writer.clone());
        tracing::subscriber::with_default(subscriber, speak);
        let bytes = memory.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn t78_hostile_fields_and_messages_stay_on_their_line() {
        let hostile = "a\u{1b}[2J\r\n2026-01-01 ERROR forged\u{9b}\u{202e}\u{2028}é";
        let text = written("", || {
            warn!(displayed = %hostile, debugged = ?hostile, plain = hostile, "{hostile}");
        });
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        assert!(
            !text.trim_end_matches('\n').chars().any(char::is_control),
            "{text:?}"
        );
        assert!(!text.contains(['\u{202e}', '\u{2028}']), "{text:?}");
        assert!(text.contains(r"displayed=a\u{1b}[2J\r\n2026"), "{text}");
        assert!(text.contains('é'), "{text}");
    }

    #[test]
    fn a_level_alone_is_for_our_own_messages() {
        let text = written("debug", || {
            debug!("ours");
            tracing::error!(target: "h2::proto", "theirs");
        });
        assert!(text.contains("ours") && !text.contains("theirs"), "{text}");
    }

    #[test]
    fn a_journal_is_told_how_much_a_line_matters() {
        let speak = || {
            error!("<0>an error");
            warn!("a warning");
            info!("a note");
            debug!("a detail");
            trace!("a trifle");
        };
        let text = written_in(Style::Journal, "trace", speak);
        let first: Vec<&str> = text.lines().map(|line| &line[..4]).collect();
        assert_eq!(first, ["<3>2", "<4>2", "<6>2", "<7>2", "<7>2"]);
        assert!(
            written("trace", speak)
                .lines()
                .all(|line| line.starts_with('2'))
        );
    }

    #[test]
    fn the_default_is_info() {
        let text = written(" ", || {
            info!(port = 8443, "listening");
            debug!("detail");
        });
        assert!(
            text.ends_with("INFO jotgate::observe::messages::tests: listening port=8443\n"),
            "{text}"
        );
    }

    #[test]
    fn targets_are_taken_to_the_letter() {
        let targets = parse_filter("warn, jotgate::tls=TRACE,h2=debug").unwrap();
        assert!(targets.would_enable("jotgate::tls::sni", &Level::TRACE));
        assert!(!targets.would_enable("jotgate::proxy", &Level::INFO));
        assert!(targets.would_enable("h2", &Level::DEBUG));
        assert!(!targets.would_enable("hyper", &Level::ERROR));
    }

    #[test]
    fn what_is_not_a_level_is_refused_by_name() {
        for (filter, part) in [
            ("inof", "inof"),
            ("info,h2", "h2"),
            ("=info", "=info"),
            ("a=b=c", "a=b=c"),
        ] {
            let error = parse_filter(filter).unwrap_err();
            assert_eq!(error, MessagesError::Filter { part: part.into() });
        }
    }
}
