//! What is said of a configuration in the log: what somebody should look at, and why it cannot be
//! used while the one before goes on.

use std::path::Path;

use tracing::warn;

use super::load::LoadError;
use crate::config::{Problems, Severity, Source};

/// A place, and what is wrong there.
pub(super) type Complaint = (String, String);

/// All that is wrong.
pub(super) fn complaints_of(error: &LoadError) -> Vec<Complaint> {
    match error {
        LoadError::Problems { problems, file, .. } => {
            let (foremost, _) = problems.foremost();
            let errors = foremost.iter().filter(|p| p.severity == Severity::Error);
            let mut complaints: Vec<_> = errors
                .map(|problem| {
                    let line = problem.place.as_ref().map(|place| file.source.line(place));
                    let message = [std::slice::from_ref(&problem.message), &problem.help].concat();
                    (place(&file.source.path, line), message.join("; "))
                })
                .collect();
            let more = problems.errors().count() - complaints.len();
            if more > 0 {
                complaints.push((place(&file.source.path, None), format!("and {more} more")));
            }
            complaints
        }
        LoadError::Unreadable(error) => {
            let cause = std::error::Error::source(error);
            let cause = cause.map_or_else(String::new, |cause| format!(": {cause}"));
            vec![(place(error.path(), None), format!("{error}{cause}"))]
        }
        LoadError::Unsteady(path) | LoadError::BeingWritten(path) => {
            vec![(place(path, None), error.to_string())]
        }
    }
}

/// Tells of what does not keep a configuration from being used.
pub fn warn_of(problems: &Problems, source: &Source) {
    let (warnings, more) = problems.foremost();
    for problem in warnings {
        let line = problem.place.as_ref().map(|place| source.line(place));
        let at = place(&source.path, line);
        warn!(at, "{}", problem.message);
    }
    if more > 0 {
        warn!(more, "there are more such warnings");
    }
}

/// A line of a file, or the file.
fn place(file: &Path, line: Option<usize>) -> String {
    match line {
        Some(line) => format!("{}:{line}", file.display()),
        None => file.display().to_string(),
    }
}
