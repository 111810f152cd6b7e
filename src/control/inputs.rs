//! The files that a configuration consists of, and whether any of them has changed.
//!
//! A change is what changes the bytes. Times and inodes say nothing: `touch` changes them and
//! nothing else, and a link that leads elsewhere may change none of them.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::config::{CertificatePair, Config, KeyMaterial};
use crate::crypto;
use crate::keys::source;

/// Files, and folders of key files, by the paths under which the configuration knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Inputs(BTreeSet<PathBuf>);

/// All that they contain, in brief.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fingerprint([u8; 32]);

impl Inputs {
    /// The configuration file and whatever it names.
    pub(super) fn of(file: &Path, config: &Config) -> Self {
        let mut paths = vec![file];
        for issuer in &config.issuers {
            match &issuer.keys {
                KeyMaterial::Public(sources) => {
                    paths.extend(sources.iter().map(|source| &*source.value.path));
                }
                KeyMaterial::Secret { path, .. } => paths.push(&path.value),
            }
        }
        let upstreams = config.routes.iter().map(|route| &route.connecting.tls);
        let identities = upstreams.clone().flat_map(|tls| &tls.identity);
        for CertificatePair { cert, key } in config.certificates.iter().chain(identities) {
            paths.extend([&*cert.value, &*key.value]);
        }
        paths.extend(upstreams.flat_map(|tls| &tls.ca).map(|ca| &*ca.value));
        // Watches need whole paths.
        let whole = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Self(paths.into_iter().map(whole).collect())
    }

    /// These and those.
    pub(super) fn and(mut self, others: &Self) -> Self {
        self.0.extend(others.0.iter().cloned());
        self
    }

    /// The paths.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().map(PathBuf::as_path)
    }

    /// What is there now. What cannot be read is part of it, as something that cannot be read.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        let mut all = Vec::new();
        for path in &self.0 {
            add_entry(&mut all, path);
            if path.is_dir() {
                match source::list_key_files(path) {
                    Ok(listing) => listing.files.iter().for_each(|f| add_entry(&mut all, f)),
                    Err(_) => all.push(b'!'),
                }
            }
        }
        Fingerprint(crypto::sha256(&all))
    }
}

fn add_entry(all: &mut Vec<u8>, path: &Path) {
    all.extend(crypto::sha256(path.as_os_str().as_encoded_bytes()));
    match contents(path) {
        Ok(contents) => all.extend(contents),
        Err(error) => all.extend(format!("{:?}", error.kind()).bytes()),
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
        let inputs = Inputs(BTreeSet::from([file.clone()]));
        let missing = inputs.fingerprint();
        fs::write(&file, "one").unwrap();
        let one = inputs.fingerprint();
        assert_ne!(missing, one);
        fs::remove_file(&file).unwrap();
        assert_eq!(missing, inputs.fingerprint());
        fs::write(&file, "one").unwrap();
        assert_eq!(one, inputs.fingerprint());
        fs::write(&file, "two").unwrap();
        assert_ne!(one, inputs.fingerprint());
    }

    #[test]
    fn a_folder_is_its_key_files() {
        let folder = tempfile::tempdir().unwrap();
        let inputs = Inputs(BTreeSet::from([folder.path().to_owned()]));
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
        let inputs = Inputs(BTreeSet::from([pipe]));
        assert_eq!(inputs.fingerprint(), inputs.fingerprint());
    }
}
