//! Tokens that a key did not verify lately.
//!
//! Repeating a forged token takes a client a few bytes, once HTTP/2 has it in its table of fields,
//! and a signature's check takes us up to some hundred microseconds for each key. That it fails is
//! a fact about a text and a key, so it stays true whatever is loaded since, and needs no check
//! again. What is remembered is small and apart from the good ones, so a flood of ever new tokens
//! can push out nothing but itself.

use std::hash::{BuildHasher, RandomState};

use super::Jws;
use crate::keys::Key;

/// The last failures, each as a keyed hash of key and token.
#[derive(Debug, Default)]
pub(super) struct Failures {
    marks: Vec<u64>,
    /// The place of the one that goes first.
    oldest: usize,
    /// At random, so that nobody can aim at the mark of another's token.
    keyed: RandomState,
}

impl Failures {
    /// Whether this key verifies the token's signature, by a look at what it did not verify before.
    pub(super) fn verifies(&mut self, key: &Key, jws: &Jws<'_>) -> bool {
        // Where nobody forges, there is nothing to look for.
        let mark = (!self.marks.is_empty()).then(|| self.mark(key, jws));
        if mark.is_some_and(|mark| self.marks.contains(&mark)) {
            return false;
        }
        let (algorithm, signed) = (jws.header().algorithm, jws.signing_input().as_bytes());
        let verifies = key.verify(algorithm, signed, jws.signature());
        if !verifies {
            let mark = mark.unwrap_or_else(|| self.mark(key, jws));
            self.remember(mark);
        }
        verifies
    }

    fn mark(&self, key: &Key, jws: &Jws<'_>) -> u64 {
        self.keyed
            .hash_one((key.digest(), jws.signing_input(), jws.signature()))
    }

    fn remember(&mut self, mark: u64) {
        if self.marks.len() < MOST_KNOWN {
            self.marks.push(mark);
        } else {
            self.marks[self.oldest] = mark;
            self.oldest = (self.oldest + 1) % MOST_KNOWN;
        }
    }
}

/// A good token that is new is taken for one of these with a probability of 2^-56.
const MOST_KNOWN: usize = 256;

#[cfg(test)]
mod tests {
    use jsonwebtoken::{EncodingKey, Header, encode};
    use serde_json::json;

    use super::*;
    use crate::crypto::{self, KeyKind, KeyPair};
    use crate::keys::KeySet;
    use crate::keys::source::{KeySource, load_public, pem};

    fn key_of(pair: &KeyPair) -> KeySet {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("k.pem");
        std::fs::write(&path, pem::encode("PUBLIC KEY", &pair.public_spki_der)).unwrap();
        load_public(&[KeySource { path, kid: None }]).set
    }

    fn token(pair: &KeyPair, subject: usize) -> String {
        crypto::install();
        let header = Header::new(jsonwebtoken::Algorithm::ES256);
        let key = EncodingKey::from_ec_der(&pair.private_pkcs8_der);
        encode(&header, &json!({ "sub": subject }), &key).unwrap()
    }

    #[test]
    fn t36_what_failed_is_not_tried_again_and_what_is_good_passes_beside_it() {
        let [ours, theirs] = [(); 2].map(|()| crypto::generate(KeyKind::P256).unwrap());
        let (set, other) = (key_of(&ours), key_of(&theirs));
        let (key, other) = (set.iter().next().unwrap(), other.iter().next().unwrap());
        let mut failures = Failures::default();
        let mut ask = |key: &Key, token: &str| {
            let before = failures.marks.clone();
            let verifies = failures.verifies(key, &Jws::parse(token).unwrap());
            let was_tried = verifies || before != failures.marks;
            (verifies, was_tried)
        };
        let forged: Vec<String> = (0..=MOST_KNOWN).map(|n| token(&theirs, n)).collect();
        assert_eq!(ask(key, &token(&ours, 0)), (true, true));
        for token in &forged {
            assert_eq!(ask(key, token), (false, true));
        }
        assert_eq!(ask(key, &forged[0]), (false, true), "it was the oldest");
        assert_eq!(ask(key, &forged[0]), (false, false));
        // By itself, it is as good as it ever was: for the key that made it.
        assert_eq!(ask(other, &forged[0]), (true, true));
        assert_eq!(ask(key, &token(&ours, 1)), (true, true));
        assert_eq!(failures.marks.len(), MOST_KNOWN);
    }
}
