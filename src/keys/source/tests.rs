//! Files and folders as operators have them, and as nobody should.

mod certificates;
mod folders;
mod jwks;
mod names;
mod pem_files;
mod secrets;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::crypto::{self, KeyKind, KeyPair};
use crate::keys::algorithm::AlgorithmSet;

/// A folder with these files.
fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

fn load(path: impl Into<PathBuf>) -> Loaded {
    load_public(&[KeySource {
        path: path.into(),
        kid: None,
    }])
}

/// Loads one file `key.EXT` with this content.
fn load_bytes(bytes: impl AsRef<[u8]>) -> Loaded {
    let folder = folder(&[("key.any", bytes.as_ref())]);
    load(folder.path().join("key.any"))
}

fn pair(kind: KeyKind) -> KeyPair {
    crypto::generate(kind).unwrap()
}

fn public_pem(pair: &KeyPair) -> String {
    pem::encode("PUBLIC KEY", &pair.public_spki_der)
}

fn jwk(pair: &KeyPair) -> Value {
    let (material, _) = der::public_key(&pair.public_spki_der).unwrap();
    serde_json::from_str(&material.canonical_jwk()).unwrap()
}

fn with(mut jwk: Value, name: &str, value: impl Into<Value>) -> Value {
    jwk[name] = value.into();
    jwk
}

#[track_caller]
fn sound(loaded: Loaded) -> KeySet {
    assert_eq!(loaded.problems, []);
    loaded.set
}

/// The text of the only problem, with its hint.
#[track_caller]
fn problem(loaded: &Loaded) -> String {
    let [problem] = &loaded.problems[..] else {
        panic!("not one problem: {:?}", loaded.problems)
    };
    format!(
        "{} [{}]",
        problem.message,
        problem.hint.as_deref().unwrap_or_default()
    )
}

#[track_caller]
fn warning(loaded: &Loaded) -> &str {
    let [notice] = &loaded.notices[..] else {
        panic!("not one notice: {:?}", loaded.notices)
    };
    assert_eq!(notice.level, NoticeLevel::Warn);
    &notice.text
}

fn kids(set: &KeySet) -> Vec<Option<&str>> {
    set.iter().map(|key| key.kid()).collect()
}

proptest! {
    #[test]
    fn any_bytes_are_a_key_or_a_problem(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        let contents = parse(&bytes, Path::new("any"));
        prop_assert!(contents.keys.is_empty() != contents.faults.is_empty());
    }

    #[test]
    fn a_changed_byte_never_makes_a_key_that_was_not_judged(at in any::<prop::sample::Index>(), byte: u8, kind in 0..2) {
        let key = pair(KeyKind::P256);
        let text = if kind == 0 { public_pem(&key) } else { jwk(&key).to_string() };
        let mut bytes = text.clone().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let thumbprint = |bytes: &[u8]| parse(bytes, Path::new("any")).keys.first().and_then(|key| key.thumbprint().map(str::to_owned));
        // A point of P-256 with one byte changed is not a point again.
        if let Some(changed) = thumbprint(&bytes) {
            prop_assert_eq!(Some(changed), thumbprint(text.as_bytes()));
        }
    }

    #[test]
    fn pem_is_read_back(der in prop::collection::vec(any::<u8>(), 0..200), label in "[A-Z]{1,9}( [A-Z0-9]{1,9})?") {
        let text = pem::encode(&label, &der);
        let blocks = pem::blocks(text.as_bytes());
        prop_assert_eq!(blocks.len(), 1);
        prop_assert_eq!(blocks[0].label, label.as_str());
        prop_assert_eq!(blocks[0].der.as_ref().ok(), Some(&der));
    }
}

#[test]
fn the_sets_of_two_gateways_share_nothing() {
    let (one, other) = (pair(KeyKind::P256), pair(KeyKind::P256));
    let sets = [
        sound(load_bytes(public_pem(&one))),
        sound(load_bytes(public_pem(&other))),
    ];
    assert!(!sets[0].contains(sets[1].find("key").unwrap()));
    assert_eq!(sets[0].crowded(), AlgorithmSet::EMPTY);
}
