//! The files that a configuration consists of, and whether any of them has changed.
//!
//! A change is what changes the bytes. Times and inodes say nothing: `touch` changes them and
//! nothing else, and a link that leads elsewhere may change none of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::config::{Config, Input};
use crate::crypto;
use crate::keys::source;
use crate::upstream::SystemAuthorities;

/// What is to be read: files and folders of key files, by whole paths, as watches need them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Inputs {
    paths: BTreeSet<PathBuf>,
    /// And the authorities that the system believes in.
    system_authorities: bool,
}

/// All that they contain, in brief. Two are the same if that is.
#[derive(Debug, Clone)]
pub(super) struct Fingerprint {
    paths: BTreeMap<PathBuf, Digest>,
    system_authorities: Option<Digest>,
    /// When the files were last touched, and which they were.
    touched: Digest,
}

impl PartialEq for Fingerprint {
    fn eq(&self, other: &Self) -> bool {
        self.paths == other.paths && self.agrees_about_the_system(other)
    }
}

type Digest = [u8; 32];

impl Inputs {
    /// The configuration file and whatever it names.
    pub(super) fn of(file: &Path, config: &Config) -> Self {
        let mut inputs = Self::only(file);
        // Thousands of routes may name the same.
        for input in config.inputs().collect::<BTreeSet<_>>() {
            match input {
                Input::Path(path) => {
                    inputs.paths.insert(whole(path));
                }
                Input::SystemAuthorities => inputs.system_authorities = true,
            }
        }
        inputs
    }

    fn only(path: &Path) -> Self {
        Self {
            paths: BTreeSet::from([whole(path)]),
            system_authorities: false,
        }
    }

    /// These and those.
    pub(super) fn and(mut self, others: &Self) -> Self {
        self.paths.extend(others.paths.iter().cloned());
        self.system_authorities |= others.system_authorities;
        self
    }

    /// The paths.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.paths.iter().map(PathBuf::as_path)
    }

    /// What is there now. What cannot be read is part of it, as something that cannot be read.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        let mut touched = Vec::new();
        let paths = self.paths.iter();
        let paths = paths.map(|path| (path.clone(), digest(path, &mut touched)));
        Fingerprint {
            paths: paths.collect(),
            touched: crypto::sha256(&touched),
            system_authorities: self
                .system_authorities
                .then(|| SystemAuthorities::load().digest()),
        }
    }
}

impl Fingerprint {
    /// Whether nobody has touched anything between that one and this, even to leave it as it was.
    pub(super) fn is_untouched_since(&self, earlier: &Self) -> bool {
        self == earlier && self.touched == earlier.touched
    }

    /// Whether there is no difference as far as the authorities of the system go.
    pub(super) fn agrees_about_the_system(&self, other: &Self) -> bool {
        self.system_authorities == other.system_authorities
    }

    /// Whether it is of this, too, and there is no difference.
    pub(super) fn agrees(&self, other: &Self, input: Input<'_>) -> bool {
        match input {
            Input::Path(path) => {
                let path = whole(path);
                let ours = self.paths.get(&path);
                ours.is_some() && ours == other.paths.get(&path)
            }
            Input::SystemAuthorities => {
                self.system_authorities.is_some()
                    && self.system_authorities == other.system_authorities
            }
        }
    }
}

fn whole(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Of a file, or of a folder's key files; and notes when they were touched.
fn digest(path: &Path, touched: &mut Vec<u8>) -> Digest {
    let mut all = Vec::new();
    let mut add_entry = |all: &mut Vec<u8>, path: &Path| {
        add_entry(all, path);
        add_stamp(touched, path);
    };
    add_entry(&mut all, path);
    if path.is_dir() {
        match source::list_key_files(path) {
            Ok(listing) => listing.files.iter().for_each(|f| add_entry(&mut all, f)),
            Err(_) => all.push(b'!'),
        }
    }
    crypto::sha256(&all)
}

fn add_entry(all: &mut Vec<u8>, path: &Path) {
    all.extend(crypto::sha256(path.as_os_str().as_encoded_bytes()));
    match contents(path) {
        Ok(contents) => all.extend(contents),
        Err(error) => all.extend(format!("{:?}", error.kind()).bytes()),
    }
}

/// The time of the last change of a file and which one it is: no two contents of one path have both
/// in common.
fn add_stamp(touched: &mut Vec<u8>, path: &Path) {
    if let Ok(metadata) = fs::metadata(path) {
        touched.extend(metadata.ino().to_ne_bytes());
        touched.extend(metadata.ctime().to_ne_bytes());
        touched.extend(metadata.ctime_nsec().to_ne_bytes());
    }
}

/// The digest of a regular file's bytes, no more of them than anybody would use.
fn contents(path: &Path) -> io::Result<[u8; 32]> {
    // Opening a pipe would wait for its other end.
    if !fs::metadata(path)?.is_file() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MAX_FILE_BYTES)
        .read_to_end(&mut bytes)?;
    Ok(crypto::sha256(&bytes))
}

/// More than any of them may have.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024 + 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_count_and_times_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        let inputs = Inputs::only(&file);
        let missing = inputs.fingerprint();
        fs::write(&file, "one").unwrap();
        let one = inputs.fingerprint();
        assert_ne!(missing, one);
        assert!(inputs.fingerprint().is_untouched_since(&one));
        fs::remove_file(&file).unwrap();
        assert_eq!(missing, inputs.fingerprint());
        // Another file in its place, while the first one is still there.
        fs::write(folder.path().join("b"), "one").unwrap();
        fs::hard_link(folder.path().join("b"), &file).unwrap();
        assert_eq!(one, inputs.fingerprint());
        assert!(!inputs.fingerprint().is_untouched_since(&one));
        fs::write(&file, "two").unwrap();
        assert_ne!(one, inputs.fingerprint());
    }

    #[test]
    fn a_folder_is_its_key_files() {
        let folder = tempfile::tempdir().unwrap();
        let inputs = Inputs::only(folder.path());
        let empty = inputs.fingerprint();
        fs::write(folder.path().join("README"), "x").unwrap();
        fs::write(folder.path().join(".hidden.pem"), "x").unwrap();
        assert_eq!(empty, inputs.fingerprint());
        fs::write(folder.path().join("key.pem"), "x").unwrap();
        assert_ne!(empty, inputs.fingerprint());
    }

    #[test]
    fn a_pipe_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        let inputs = Inputs::only(&pipe);
        assert_eq!(inputs.fingerprint(), inputs.fingerprint());
    }
}
