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
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fingerprint {
    paths: BTreeMap<PathBuf, Seen>,
    system_authorities: Option<Digest>,
}

/// What was there. It is the same if its contents are.
#[derive(Debug, Clone)]
struct Seen {
    contents: Digest,
    /// When the files were last touched, and which they were.
    touched: Digest,
}

impl PartialEq for Seen {
    fn eq(&self, other: &Self) -> bool {
        self.contents == other.contents
    }
}

impl Eq for Seen {}

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
        let paths = self.paths.iter();
        let paths = paths.map(|path| (path.clone(), Seen::of(path)));
        Fingerprint {
            paths: paths.collect(),
            system_authorities: self
                .system_authorities
                .then(|| SystemAuthorities::load().digest()),
        }
    }
}

impl Fingerprint {
    /// What of this somebody has touched since that one was taken, even to leave it as it was.
    pub(super) fn touched_since(&self, earlier: &Self) -> BTreeSet<PathBuf> {
        let touched = self.paths.iter().filter(|(path, seen)| {
            let before = earlier.paths.get(*path);
            before.is_none_or(|before| before != *seen || before.touched != seen.touched)
        });
        touched.map(|(path, _)| path.clone()).collect()
    }

    /// The same without these, of which nothing is known then: it is the same as none of them all.
    pub(super) fn without(mut self, paths: &BTreeSet<PathBuf>) -> Self {
        self.paths.retain(|path, _| !paths.contains(path));
        self
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

impl Seen {
    /// Of a file, or of a folder's key files.
    fn of(path: &Path) -> Self {
        let (mut contents, mut touched) = (Vec::new(), Vec::new());
        let mut add = |path: &Path| {
            add_entry(&mut contents, path);
            add_stamp(&mut touched, path);
        };
        add(path);
        if path.is_dir() {
            match source::list_key_files(path) {
                Ok(listing) => listing.files.iter().for_each(|file| add(file)),
                Err(_) => contents.push(b'!'),
            }
        }
        Self {
            contents: crypto::sha256(&contents),
            touched: crypto::sha256(&touched),
        }
    }
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
        assert!(inputs.fingerprint().touched_since(&one).is_empty());
        fs::remove_file(&file).unwrap();
        assert_eq!(missing, inputs.fingerprint());
        // Another file in its place, while the first one is still there.
        fs::write(folder.path().join("b"), "one").unwrap();
        fs::hard_link(folder.path().join("b"), &file).unwrap();
        assert_eq!(one, inputs.fingerprint());
        let touched = inputs.fingerprint().touched_since(&one);
        assert_eq!(touched, BTreeSet::from([file.clone()]));
        assert_ne!(one.clone().without(&touched), one);
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
