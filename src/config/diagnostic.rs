//! Problems with the configuration, and how they are shown: as rustc shows its own.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::string::FromUtf8Error;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::{Place, confidential};

/// A configuration file's path and text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Where it was read; other paths in it are relative to its folder.
    pub path: PathBuf,
    /// What it says.
    pub text: String,
}

/// Why a configuration file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file cannot be opened or read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no configuration.
    #[error("{}: {reason}", path.display())]
    NotText {
        /// Which.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
}

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file is not used.
    Error,
    /// The file is used; somebody should look.
    Warning,
}

/// One problem, where it is, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How bad.
    pub severity: Severity,
    /// Where; `None` for the file as a whole.
    pub place: Option<Place>,
    /// What is wrong.
    pub message: String,
    /// What stands beside the caret.
    pub label: String,
    /// What to do.
    pub help: Vec<String>,
    /// Other places that matter, and why.
    pub also: Vec<(Place, String)>,
    /// Whether it is about what stands where, or about something that is not there: after a syntax
    /// error, neither need be true.
    pub is_structural: bool,
    /// Whether it looks as if a file was being written or replaced at this moment.
    pub is_unsettled: bool,
}

/// All the problems of one file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems {
    found: Vec<Problem>,
    /// What of the file is not to be shown.
    confidential: Vec<Place>,
}

impl SourceError {
    /// Which file.
    pub fn path(&self) -> &Path {
        match self {
            Self::Unreadable { path, .. } | Self::NotText { path, .. } => path,
        }
    }
}

impl Source {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// [`SourceError`], which says what to do.
    pub fn read(path: &Path) -> Result<Self, SourceError> {
        let unreadable = |source| SourceError::Unreadable {
            path: path.into(),
            source,
        };
        let not_text = |reason: String| SourceError::NotText {
            path: path.into(),
            reason,
        };
        if !path.metadata().map_err(unreadable)?.is_file() {
            return Err(not_text("not a regular file".to_owned()));
        }
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(unreadable)?;
        file.take(MAX_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(unreadable)?;
        if bytes.len() as u64 > MAX_BYTES {
            let reason = "larger than 4 MiB; is this the right file?";
            return Err(not_text(reason.to_owned()));
        }
        let text = String::from_utf8(bytes).map_err(|error| not_text(no_utf8(&error)))?;
        Ok(Self {
            path: path.into(),
            text,
        })
    }
}

/// Why a text cannot be read.
fn no_utf8(error: &FromUtf8Error) -> String {
    let bytes = error.as_bytes();
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return "UTF-16 text; save it as UTF-8".to_owned();
    }
    let good = &bytes[..error.utf8_error().valid_up_to()];
    let line = 1 + good.iter().filter(|byte| **byte == b'\n').count();
    format!("not UTF-8 text, on line {line}")
}

impl Source {
    /// The line in which a place begins, counted from one.
    pub fn line(&self, place: &Place) -> usize {
        let before = within(place, &self.text).start;
        1 + self.text.as_bytes()[..before]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
    }
}

impl Problem {
    /// An error at a place.
    pub fn error(place: Place, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, Some(place), message.into())
    }

    /// A warning at a place.
    pub fn warning(place: Place, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, Some(place), message.into())
    }

    fn new(severity: Severity, place: Option<Place>, message: String) -> Self {
        Self {
            severity,
            place,
            message,
            label: String::new(),
            help: Vec::new(),
            also: Vec::new(),
            is_structural: false,
            is_unsettled: false,
        }
    }

    /// An error about the file as a whole.
    pub fn of_root(message: impl Into<String>) -> Self {
        Self::new(Severity::Error, None, message.into())
    }

    /// As a problem with what stands where, or with something that is not there.
    #[must_use]
    pub fn structural(mut self) -> Self {
        self.is_structural = true;
        self
    }

    /// As one that may be over once a file is written.
    #[must_use]
    pub fn unsettled(mut self, is_unsettled: bool) -> Self {
        self.is_unsettled = is_unsettled;
        self
    }

    /// With a word beside the caret.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// With advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// With another place.
    #[must_use]
    pub fn also(mut self, place: Place, why: impl Into<String>) -> Self {
        self.also.push((place, why.into()));
        self
    }
}

impl Problems {
    /// None so far, of a file of which these places are never shown.
    pub(super) fn hiding(confidential: Vec<Place>) -> Self {
        Self {
            found: Vec::new(),
            confidential,
        }
    }

    /// Adds one.
    pub fn push(&mut self, problem: Problem) {
        self.found.push(problem);
    }

    /// Whether the file cannot be used.
    pub fn has_errors(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    /// Whether all that is wrong may be over once some files are written.
    pub fn are_unsettled(&self) -> bool {
        let mut errors = self.errors();
        errors.all(|problem| problem.is_unsettled)
    }

    /// Those for which the file cannot be used.
    pub fn errors(&self) -> impl Iterator<Item = &Problem> {
        let errors = self.found.iter();
        errors.filter(|problem| problem.severity == Severity::Error)
    }

    /// Every problem, in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.found.iter()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Those that somebody should see, errors before warnings, and how many more there are. Thousands,
    /// as where every line lacks its quotes, or where the file is another one, help nobody.
    pub fn foremost(&self) -> (Vec<&Problem>, usize) {
        let mut problems: Vec<&Problem> = self.found.iter().collect();
        problems.sort_by_key(|problem| {
            let start = problem.place.as_ref().map_or(0, |place| place.start);
            (problem.severity, start)
        });
        problems.truncate(MOST_SHOWN);
        let more = self.found.len() - problems.len();
        (problems, more)
    }

    fn count(&self, severity: Severity) -> usize {
        self.found
            .iter()
            .filter(|problem| problem.severity == severity)
            .count()
    }

    /// In the order of the file, each with its line and a caret, and their number.
    pub fn render(&self, source: &Source, color: bool) -> String {
        let renderer = if color {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let renderer = renderer.decor_style(DecorStyle::Ascii);
        let path = source.path.display().to_string();
        let text = confidential::masked(&source.text, &self.confidential);
        let (mut shown, more) = self.foremost();
        shown.sort_by_key(|problem| problem.place.as_ref().map_or(0, |place| place.start));
        let mut out = String::new();
        for problem in shown {
            out.push_str(&renderer.render(&report(problem, &text, &path)));
            out.push_str("\n\n");
        }
        out.push_str(&self.to_string());
        if more > 0 {
            out.push_str(&format!("; {MOST_SHOWN} are shown"));
        }
        out.push('\n');
        out
    }
}

impl IntoIterator for Problems {
    type Item = Problem;
    type IntoIter = std::vec::IntoIter<Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.found.into_iter()
    }
}

impl fmt::Display for Problems {
    /// Their number: `2 errors, 1 warning`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |count: usize, noun: &str| match count {
            1 => format!("1 {noun}"),
            count => format!("{count} {noun}s"),
        };
        let errors = self.count(Severity::Error);
        let warnings = self.count(Severity::Warning);
        match (errors, warnings) {
            (errors, 0) => f.write_str(&number(errors, "error")),
            (0, warnings) => f.write_str(&number(warnings, "warning")),
            _ => write!(
                f,
                "{}, {}",
                number(errors, "error"),
                number(warnings, "warning")
            ),
        }
    }
}

fn report<'a>(problem: &'a Problem, text: &'a str, path: &'a str) -> Vec<Group<'a>> {
    let level = match problem.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.primary_title(problem.message.as_str());
    let mut group = match &problem.place {
        None => title.element(Origin::path(path)),
        Some(place) => {
            let primary = AnnotationKind::Primary.span(within(place, text));
            let mut snippet = Snippet::source(text)
                .path(path)
                .annotation(primary.label(problem.label.as_str()));
            for (place, why) in &problem.also {
                let context = AnnotationKind::Context.span(within(place, text));
                snippet = snippet.annotation(context.label(why.as_str()));
            }
            title.element(snippet)
        }
    };
    for help in &problem.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    vec![group]
}

/// A place that lies inside the text; one past its end (a file cut short) points at the end.
fn within(place: &Place, text: &str) -> Place {
    let end = place.end.min(text.len());
    place.start.min(end)..end
}

/// As many as anybody reads.
const MOST_SHOWN: usize = 50;

/// Ten thousand routes fit several times over.
const MAX_BYTES: u64 = 4 * 1024 * 1024;
