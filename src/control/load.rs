//! From a path to something that can be served. There is one way, for the start and for every
//! reload.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::inputs::{Fingerprint, Inputs};
use crate::config::{self, Config, Problems, Source, SourceError};
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
    /// What it was loaded from.
    pub(super) inputs: Inputs,
    /// What that contained.
    pub(super) fingerprint: Fingerprint,
}

/// Why there is nothing to serve.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error(transparent)]
    Unreadable(#[from] SourceError),
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
    /// The files change while they are read.
    #[error("the files change while they are read")]
    Unsteady,
}

impl LoadError {
    /// Whether it looks as if files were being written or replaced at this moment.
    pub(super) fn is_unsettled(&self) -> bool {
        match self {
            Self::Unreadable(SourceError::Unreadable { source, .. }) => {
                source.kind() == io::ErrorKind::NotFound
            }
            Self::Unreadable(SourceError::NotText { .. }) => false,
            Self::Problems { problems, file, .. } => {
                file.text.is_empty() || problems.are_unsettled()
            }
            Self::Unsteady => true,
        }
    }

    /// What must change for it to be mended: what was read, and what is in force.
    pub(super) fn inputs(&self, applied: &Inputs) -> Inputs {
        match self {
            Self::Problems { file, partial, .. } => Inputs::of(&file.path, partial).and(applied),
            Self::Unreadable(_) | Self::Unsteady => applied.clone(),
        }
    }
}

/// Reads a configuration and everything that it names, and binds nothing. What is as it was in the
/// `previous` state is taken over from it.
///
/// Relative paths are relative to the file; the file's own to the working directory.
///
/// # Errors
/// [`LoadError`], with every problem there is.
pub fn load(path: &Path, previous: Option<&Snapshot>) -> Result<Loaded, LoadError> {
    for _ in 0..READINGS {
        let source = Source::read(path)?;
        let (config, mut problems) = config::parse(&source);
        let inputs = Inputs::of(path, &config);
        let fingerprint = inputs.fingerprint();
        let snapshot = Snapshot::build(&config, previous, &mut problems);
        // What was built is what the fingerprint is of, or it would pass for that for ever.
        let is_steady =
            inputs.fingerprint() == fingerprint && Source::read(path)?.text == source.text;
        if !is_steady {
            continue;
        }
        return match snapshot {
            Some(snapshot) => Ok(Loaded {
                config,
                snapshot: Arc::new(snapshot),
                problems,
                source,
                inputs,
                fingerprint,
            }),
            None => Err(LoadError::Problems {
                problems,
                file: Box::new(source),
                partial: Box::new(config),
            }),
        };
    }
    Err(LoadError::Unsteady)
}

/// How often files are read that change meanwhile.
const READINGS: usize = 3;
