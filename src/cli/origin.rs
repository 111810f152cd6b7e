//! Where a process was started from: by which path, and in which directory. What these paths lead
//! to may be replaced later, and then it is the new that counts.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Of this process.
pub(super) struct Origin {
    /// The program by the path that it was started by: what that leads to later is what takes over
    /// then.
    pub(super) program: Option<PathBuf>,
    /// What relative paths are relative to.
    pub(super) directory: PathBuf,
}

impl Origin {
    /// As it is now. To be asked for before anybody replaces anything.
    pub(super) fn of_this_process() -> Self {
        let directory = directory();
        Self {
            program: program(&directory),
            directory,
        }
    }
}

/// A name without a path is looked for as the shell did.
fn program(directory: &Path) -> Option<PathBuf> {
    let name = PathBuf::from(std::env::args_os().next()?);
    if name.components().count() > 1 {
        return Some(directory.join(name));
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&folders)
        .map(|folder| directory.join(folder).join(&name))
        .find(|path| path.is_file());
    found.or_else(|| std::env::current_exe().ok())
}

/// The working directory by the path that one came there by, links and all, if the shell has told
/// (POSIX, `PWD`); the system knows only which one it is.
fn directory() -> PathBuf {
    let told = std::env::var_os("PWD").map(PathBuf::from);
    let is_this = |path: &PathBuf| {
        let identity = |path: &Path| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.dev(), metadata.ino()))
        };
        path.is_absolute() && identity(path) == identity(Path::new("."))
    };
    told.filter(is_this)
        .or_else(|| std::env::current_dir().ok())
        .unwrap_or_default()
}
