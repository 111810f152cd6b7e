//! What is said of a configuration that cannot be used, in the log of the one that goes on.

use std::path::Path;

use super::load::LoadError;

/// A place, and what is wrong there.
pub(super) type Complaint = (String, String);

/// All that is wrong.
pub(super) fn complaints_of(error: &LoadError) -> Vec<Complaint> {
    match error {
        LoadError::Problems { problems, file, .. } => problems
            .errors()
            .map(|problem| {
                let line = problem.place.as_ref().map(|place| file.source.line(place));
                let message = [std::slice::from_ref(&problem.message), &problem.help].concat();
                (place(&file.source.path, line), message.join("; "))
            })
            .collect(),
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

/// A line of a file, or the file.
pub(super) fn place(file: &Path, line: Option<usize>) -> String {
    match line {
        Some(line) => format!("{}:{line}", file.display()),
        None => file.display().to_string(),
    }
}
