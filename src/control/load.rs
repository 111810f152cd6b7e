//! From a path to something that can be served. There is one way, for the start and for every
//! reload.

use std::path::Path;
use std::sync::Arc;

use crate::config::{self, Config, Problems, Source};
use crate::snapshot::Snapshot;

/// A configuration with everything that it names loaded, and nothing bound yet.
pub struct Loaded {
    /// What the file says.
    pub config: Config,
    /// What was built from it.
    pub snapshot: Arc<Snapshot>,
    /// Warnings; there are no errors.
    pub problems: Problems,
    /// The file itself.
    pub source: Source,
}

/// Why there is nothing to serve.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error(transparent)]
    Unreadable(#[from] config::SourceError),
    /// The file, or what it names, has errors.
    #[error("{}", problems.render(file, false))]
    Problems {
        /// All of them.
        problems: Problems,
        /// The file they are in.
        file: Box<Source>,
        /// What could be read of it.
        partial: Box<Config>,
    },
}

/// Reads a configuration and everything that it names, and binds nothing. What is as it was in the
/// `previous` state is taken over from it.
///
/// # Errors
/// [`LoadError`], with every problem there is.
pub fn load(path: &Path, previous: Option<&Snapshot>) -> Result<Loaded, LoadError> {
    let source = Source::read(path)?;
    let (config, mut problems) = config::parse(&source);
    match Snapshot::build(&config, previous, &mut problems) {
        Some(snapshot) => Ok(Loaded {
            config,
            snapshot: Arc::new(snapshot),
            problems,
            source,
        }),
        None => Err(LoadError::Problems {
            problems,
            file: Box::new(source),
            partial: Box::new(config),
        }),
    }
}
