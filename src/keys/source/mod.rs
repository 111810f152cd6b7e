//! Where keys are read: files and folders, and what they contain.
//!
//! A file is judged by its bytes, not by its ending: PEM, or JSON with a JWK or a JWK Set. All
//! problems of all sources are collected, so that one look at them is enough. Nothing here
//! panics, hangs or grows without bound, whatever is in the files; nothing prints a key.

mod der;
mod file;
mod jwk;
pub(crate) mod pem;
mod secret;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use base64::DecodeError;

use super::MAX_KID_BYTES;
use super::key::{Key, Origin, Place};
use super::material::Unfit;
use super::set::{KeySet, TRIED_WITHOUT_KID};
use crate::pem_text;

pub(crate) use file::{is_key_file_name, list as list_key_files, read as read_file};
pub(crate) use secret::decode as decode_secret;
pub use secret::{SecretEncoding, load_secret};

/// A file or a folder of public keys, as the configuration names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySource {
    /// The file or folder.
    pub path: PathBuf,
    /// The `kid` for the file's only key, unless that key names itself.
    pub kid: Option<String>,
}

/// What loading came to. The set is to be used only if there are no problems.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The keys that could be loaded.
    pub set: KeySet,
    /// What the operator should know although it stops nothing.
    pub notices: Vec<Notice>,
    /// Why the keys are not good.
    pub problems: Vec<KeyProblem>,
}

/// Something worth a line in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// How loud.
    pub level: NoticeLevel,
    /// The file or folder and what about it.
    pub text: String,
}

/// How loud a [`Notice`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoticeLevel {
    /// For somebody who wonders why a file has no effect.
    Debug,
    /// For the operator, soon.
    Warn,
}

/// Why a source cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct KeyProblem {
    /// The index of the source that it is about.
    pub source_index: usize,
    /// The file, or the part of it, or the folder.
    pub place: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// Whether it looks as if the file was being written at this moment.
    pub is_unsettled: bool,
}

/// Loads the public keys of every source.
pub fn load_public(sources: &[KeySource]) -> Loaded {
    let mut loaded = Loaded::default();
    for (index, source) in sources.iter().enumerate() {
        loaded.load_source(index, source);
    }
    let crowded = loaded.set.crowded();
    if !crowded.is_empty() {
        loaded.warn(format!(
            "more than {TRIED_WITHOUT_KID} keys fit {crowded}: a token with such an algorithm must name its key with kid"
        ));
    }
    loaded
}

impl Loaded {
    fn load_source(&mut self, index: usize, source: &KeySource) {
        let path = &source.path;
        match file::kind(path) {
            Ok(file::Kind::File) => self.load_file(index, path, source.kid.as_deref()),
            Ok(file::Kind::Folder) if source.kid.is_some() => {
                self.fail(
                    index,
                    path,
                    Fault::new("a kid is written for a folder")
                        .hint("name the one file that it is for"),
                );
            }
            Ok(file::Kind::Folder) => self.load_folder(index, path),
            Err(fault) => self.fail(index, path, fault),
        }
    }

    fn load_folder(&mut self, index: usize, folder: &Path) {
        let listing = match file::list(folder) {
            Ok(listing) => listing,
            Err(fault) => return self.fail(index, folder, fault),
        };
        if listing.ignored > 0 {
            let text = format!(
                "{}: ignores {} entries that are hidden or not key files",
                folder.display(),
                listing.ignored
            );
            self.notices.push(Notice {
                level: NoticeLevel::Debug,
                text,
            });
        }
        if listing.files.is_empty() {
            return self.fail(index, folder, file::no_key_files(folder));
        }
        for file in listing.files {
            self.load_file(index, &file, None);
        }
    }

    fn load_file(&mut self, index: usize, path: &Path, written_kid: Option<&str>) {
        let contents = match file::read(path) {
            Ok(bytes) => parse(&bytes, path),
            Err(fault) => return self.fail(index, path, fault),
        };
        for text in contents.warnings {
            self.warn(format!("{}: {text}", path.display()));
        }
        let sound = contents.faults.is_empty();
        for (place, fault) in contents.faults {
            self.fail(index, Origin::new(path, place), fault);
        }
        match name(contents.keys, written_kid, path) {
            Ok((keys, warning)) => {
                if let Some(text) = warning.filter(|_| sound) {
                    self.warn(format!("{}: {text}", path.display()));
                }
                for key in keys {
                    if key.kid().is_some_and(|kid| kid.len() > MAX_KID_BYTES) {
                        self.fail(index, key.origin().clone(), kid_too_long());
                        continue;
                    }
                    if let Err(clash) = self.set.insert(key) {
                        self.fail(
                            index,
                            path,
                            Fault::new(clash.to_string()).hint("give one of them another kid"),
                        );
                    }
                }
            }
            Err(fault) => self.fail(index, path, fault),
        }
    }

    fn warn(&mut self, text: String) {
        self.notices.push(Notice {
            level: NoticeLevel::Warn,
            text,
        });
    }

    fn fail(&mut self, source_index: usize, place: impl IntoPlace, fault: Fault) {
        let place = place.into_place();
        self.problems.push(KeyProblem {
            source_index,
            place,
            message: fault.message,
            hint: fault.hint,
            is_unsettled: fault.is_unsettled,
        });
    }
}

fn kid_too_long() -> Fault {
    Fault::new(format!("the kid is longer than {MAX_KID_BYTES} bytes"))
        .hint("a token that names the key so is refused unread; give the key a shorter name")
}

/// Something a problem can be about.
trait IntoPlace {
    fn into_place(self) -> String;
}

impl IntoPlace for &Path {
    fn into_place(self) -> String {
        self.display().to_string()
    }
}

impl IntoPlace for &str {
    fn into_place(self) -> String {
        self.to_owned()
    }
}

impl IntoPlace for &PathBuf {
    fn into_place(self) -> String {
        self.display().to_string()
    }
}

impl IntoPlace for Origin {
    fn into_place(self) -> String {
        self.to_string()
    }
}

/// What is wrong with a file, a part of it or a folder, and what to do.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    /// Whether it looks as if the file was being written at this moment.
    is_unsettled: bool,
}

impl Fault {
    fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
            is_unsettled: false,
        }
    }

    /// As one that will be over once the file is written.
    fn unsettled(self) -> Self {
        Self {
            is_unsettled: true,
            ..self
        }
    }

    fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }
}

impl From<Unfit> for Fault {
    fn from(unfit: Unfit) -> Self {
        Self::new(unfit.to_string())
    }
}

/// Why text is not base64, without the offending character: it could be part of a secret.
pub(crate) fn undecodable(error: &DecodeError) -> String {
    match error {
        DecodeError::InvalidByte(offset, _) => {
            format!("the character at offset {offset} is not in its alphabet")
        }
        DecodeError::InvalidLength(length) => format!("{length} characters cannot be whole bytes"),
        DecodeError::InvalidLastSymbol { offset, .. } => {
            format!("the character at offset {offset} has stray bits")
        }
        DecodeError::InvalidPadding => "the padding is wrong".to_owned(),
    }
}

/// What one file came to. The keys have the names that they give themselves, if any.
#[derive(Default)]
struct Contents {
    keys: Vec<Key>,
    warnings: Vec<String>,
    faults: Vec<(Place, Fault)>,
}

impl Contents {
    fn refused(fault: Fault) -> Self {
        Self {
            faults: vec![(Place::Whole, fault)],
            ..Self::default()
        }
    }
}

fn parse(bytes: &[u8], path: &Path) -> Contents {
    let bytes = pem_text::without_mark(bytes);
    let start = bytes.trim_ascii_start();
    if start.is_empty() {
        Contents::refused(Fault::new("the file is empty").unsettled())
    } else if start.starts_with(b"{") || start.starts_with(b"[") {
        jwk::parse(bytes, path)
    } else if pem::is_pem(bytes) {
        pem::parse(bytes, path)
    } else if pem::has_begun(start) {
        Contents::refused(stranger(start).unsettled())
    } else {
        Contents::refused(stranger(start))
    }
}

/// Says what a file is that is neither PEM nor JSON, if that can be told.
fn stranger(start: &[u8]) -> Fault {
    if is_openssh(start) {
        Fault::new("an OpenSSH public key").hint("convert it: ssh-keygen -e -m PKCS8 -f FILE")
    } else if start.starts_with(&[0x30]) {
        Fault::new("neither PEM nor JSON; it could be DER")
            .hint("convert it: openssl pkey -pubin -inform DER -in FILE, or openssl x509 -inform DER -in FILE")
    } else {
        Fault::new("neither PEM (\"-----BEGIN PUBLIC KEY-----\") nor JSON with a JWK or a JWK Set")
    }
}

fn is_openssh(start: &[u8]) -> bool {
    start.starts_with(b"ssh-") || start.starts_with(b"ecdsa-sha2-")
}

/// Gives a file's keys their names: the key's own, else the written one, else the file's name
/// without its last ending. Several nameless keys of one file cannot share that: they go by
/// their thumbprints.
fn name(
    keys: Vec<Key>,
    written: Option<&str>,
    path: &Path,
) -> Result<(Vec<Key>, Option<String>), Fault> {
    let distinct = |keys: &mut dyn Iterator<Item = &Key>| {
        keys.filter_map(Key::thumbprint)
            .collect::<HashSet<_>>()
            .len()
    };
    let all = distinct(&mut keys.iter());
    let nameless = distinct(&mut keys.iter().filter(|key| key.kid().is_none()));
    if written.is_some() && all > 1 {
        return Err(
            Fault::new(format!("a kid is written for a file that holds {all} keys"))
                .hint("put each key into a file of its own, or leave out the kid"),
        );
    }
    let warning = if nameless > 1 {
        Some(format!(
            "{nameless} keys have no kid: tokens select them by thumbprint, or not at all"
        ))
    } else if written.is_some() && nameless == 0 && all > 0 {
        Some("the kid written beside it is not used: the key names itself".to_owned())
    } else {
        None
    };
    let given = written
        .or_else(|| path.file_stem().and_then(|stem| stem.to_str()))
        .filter(|_| nameless == 1);
    let named = keys.into_iter().map(|key| {
        let kid = key.kid().or(given).map(str::to_owned);
        key.named(kid)
    });
    Ok((named.collect(), warning))
}

#[cfg(test)]
mod tests;
