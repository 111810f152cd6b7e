//! From a path to something that can be served. There is one way, for the start and for every
//! reload.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::inputs::{Fingerprint, Inputs};
use crate::config::{self, Config, Problems, Source, SourceError};
use crate::snapshot::Snapshot;

/// A configuration with everything that it names loaded, and nothing bound yet.
#[derive(Clone)]
pub struct Loaded {
    /// The configuration.
    pub file: Arc<ConfigFile>,
    /// What was built from it.
    pub snapshot: Arc<Snapshot>,
    /// Warnings; there are no errors.
    pub problems: Problems,
    /// What it was loaded from.
    pub(super) inputs: Inputs,
    /// What that contained.
    pub(super) fingerprint: Fingerprint,
}

/// A configuration file, read.
#[derive(Debug)]
pub struct ConfigFile {
    /// The file itself.
    pub source: Source,
    /// What it says.
    pub config: Config,
    /// What is wrong with that, whatever the files are that it names.
    problems: Problems,
}

/// What is there before anything is read.
pub(super) struct Previous<'a> {
    /// What is in force.
    pub(super) file: &'a Arc<ConfigFile>,
    /// What was built from it.
    pub(super) snapshot: &'a Snapshot,
    /// What has just been seen in these files.
    pub(super) seen: (&'a Inputs, &'a Fingerprint),
}

/// Why there is nothing to serve.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error(transparent)]
    Unreadable(#[from] SourceError),
    /// The file, or what it names, has errors.
    #[error("{}", problems.render(&file.source, false))]
    Problems {
        /// All of them.
        problems: Problems,
        /// The file they are in, and what could be read of it.
        file: Arc<ConfigFile>,
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
                file.source.text.is_empty() || problems.are_unsettled()
            }
            Self::Unsteady => true,
        }
    }

    /// What must change for it to be mended: what was read, and what is in force.
    pub(super) fn inputs(&self, applied: &Inputs) -> Inputs {
        match self {
            Self::Problems { file, .. } => Inputs::of(&file.source.path, &file.config).and(applied),
            Self::Unreadable(_) | Self::Unsteady => applied.clone(),
        }
    }
}

/// Reads a configuration and everything that it names, and binds nothing.
///
/// Relative paths are relative to the file; the file's own to the working directory.
///
/// # Errors
/// [`LoadError`], with every problem there is.
pub fn load(path: &Path) -> Result<Loaded, LoadError> {
    load_after(path, None)
}

/// The same, after something else. What is as it was before is taken over from it.
pub(super) fn load_after(
    path: &Path,
    previous: Option<&Previous<'_>>,
) -> Result<Loaded, LoadError> {
    let mut seen = previous.map(|previous| previous.seen);
    for _ in 0..READINGS {
        let file = ConfigFile::read(path, previous.map(|previous| previous.file))?;
        let inputs = Inputs::of(path, &file.config);
        let fingerprint = match seen.take() {
            Some((seen, fingerprint)) if *seen == inputs => fingerprint.clone(),
            Some(_) | None => inputs.fingerprint(),
        };
        let mut problems = file.problems.clone();
        let snapshot = previous.map(|previous| previous.snapshot);
        let snapshot = Snapshot::build(&file.config, snapshot, &mut problems);
        // What was built is what the fingerprint is of, or it would pass for that for ever.
        let is_steady =
            inputs.fingerprint() == fingerprint && Source::read(path)?.text == file.source.text;
        if !is_steady {
            continue;
        }
        return match snapshot {
            Some(snapshot) => Ok(Loaded {
                file,
                snapshot: Arc::new(snapshot),
                problems,
                inputs,
                fingerprint,
            }),
            None => Err(LoadError::Problems { problems, file }),
        };
    }
    Err(LoadError::Unsteady)
}

impl ConfigFile {
    /// Reads one, which may be as it was before.
    fn read(path: &Path, previous: Option<&Arc<Self>>) -> Result<Arc<Self>, SourceError> {
        let source = Source::read(path)?;
        if let Some(previous) = previous.filter(|previous| previous.source == source) {
            return Ok(previous.clone());
        }
        let (config, problems) = config::parse(&source);
        Ok(Arc::new(Self {
            source,
            config,
            problems,
        }))
    }
}

/// How often files are read that change meanwhile.
const READINGS: usize = 3;
