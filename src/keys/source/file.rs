//! Reading files and folders without trusting them to be what they should be.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::Fault;

/// What a path leads to, links followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Folder,
}

/// Tells files from folders.
///
/// # Errors
/// There is nothing there, or a device, a pipe or a socket: to open one could wait for ever.
pub(super) fn kind(path: &Path) -> Result<Kind, Fault> {
    let metadata = fs::metadata(path).map_err(|error| unreadable(&error))?;
    if metadata.is_dir() {
        Ok(Kind::Folder)
    } else if metadata.is_file() {
        Ok(Kind::File)
    } else {
        Err(Fault::new("not a regular file"))
    }
}

/// Reads a whole file of at most [`MAX_FILE_BYTES`].
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Fault> {
    if kind(path)? == Kind::Folder {
        return Err(Fault::new("a folder where a file is expected"));
    }
    let file = File::open(path).map_err(|error| unreadable(&error))?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(&error))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(Fault::new(format!(
            "larger than {} KiB",
            MAX_FILE_BYTES / 1024
        )));
    }
    Ok(bytes)
}

/// What is in a folder.
pub(crate) struct Listing {
    /// The key files by name, so that every load sees them in the same order.
    pub(crate) files: Vec<PathBuf>,
    /// How many entries are none.
    pub(crate) ignored: usize,
}

/// Lists the key files directly in a folder.
///
/// Hidden entries are ignored: Kubernetes keeps each version of a mounted volume in one, and
/// editors their backups.
pub(crate) fn list(folder: &Path) -> Result<Listing, Fault> {
    let mut listing = Listing {
        files: Vec::new(),
        ignored: 0,
    };
    for entry in fs::read_dir(folder).map_err(|error| unreadable(&error))? {
        let path = entry.map_err(|error| unreadable(&error))?.path();
        if !is_key_file_name(&path) || path.is_dir() {
            listing.ignored += 1;
        } else if listing.files.len() == MAX_FILES {
            return Err(Fault::new(format!("holds more than {MAX_FILES} key files")));
        } else {
            listing.files.push(path);
        }
    }
    listing.files.sort();
    Ok(listing)
}

/// The problem of a folder without key files; they may have been removed to come back.
pub(super) fn no_key_files(folder: &Path) -> Fault {
    // Where `jotgate keys generate` puts its public half.
    let below = folder.join("public");
    let hint = if below.is_dir() {
        format!("did you mean {}?", below.display())
    } else {
        format!(
            "put public keys there, as *.{}; `jotgate keys generate` makes a pair",
            ENDINGS.join(" *.")
        )
    };
    Fault::new("the folder holds no key files")
        .hint(hint)
        .unsettled()
}

/// Whether an entry of a folder is called as key files are.
pub(crate) fn is_key_file_name(path: &Path) -> bool {
    let hidden = path
        .file_name()
        .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    let ending = path.extension().and_then(|ending| ending.to_str());
    !hidden
        && ending.is_some_and(|ending| ENDINGS.iter().any(|ours| ours.eq_ignore_ascii_case(ending)))
}

fn unreadable(error: &std::io::Error) -> Fault {
    let fault = Fault::new(format!("cannot be read: {error}"));
    if error.kind() == ErrorKind::NotFound {
        return fault.unsettled();
    }
    fault
}

const ENDINGS: [&str; 7] = ["pem", "crt", "cer", "pub", "jwk", "jwks", "json"];

/// A thousand JWKs of the largest size we take have room in it twice.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

const MAX_FILES: usize = 1000;
