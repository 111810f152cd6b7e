//! Tokens that were verified before. One cache for each worker, so nothing is shared or locked.
//!
//! Only verified tokens enter, so no flood of bad ones can push a good one out. The key is the
//! whole token, compared in full. It is found by a hash of its last bytes, which are of its
//! signature and so differ from token to token as nothing else in it does; the hash is keyed, at
//! random for each process. A hit proves that this very text was once signed by that very key, and nothing else: times,
//! audience and whether the key is still trusted are the verifier's to check, each time anew.

use std::hash::{Hash, Hasher};
use std::rc::Rc;
use std::sync::Arc;

use quick_cache::unsync::Cache;
use quick_cache::{Equivalent, Weighter};

use super::Claims;
use crate::keys::Key;

/// The bounded cache of verified tokens.
pub(super) struct TokenCache {
    entries: Cache<Known, Rc<Entry>, ByBytes>,
}

/// What a verification proved.
pub(super) struct Entry {
    /// The trusted issuer's name.
    pub(super) issuer: Arc<str>,
    /// The key that verified the signature.
    pub(super) key: Arc<Key>,
    /// What was signed.
    pub(super) claims: Claims,
}

impl TokenCache {
    /// One that holds so many bytes at most.
    pub(super) fn new(bytes: usize) -> Self {
        Self {
            entries: Cache::with_weighter(bytes / TYPICAL_BYTES, bytes as u64, ByBytes),
        }
    }

    pub(super) fn get(&self, token: &[u8]) -> Option<Rc<Entry>> {
        self.entries.get(&Sought(token)).cloned()
    }

    pub(super) fn insert(&mut self, token: &[u8], entry: Rc<Entry>) {
        self.entries.insert(Known(token.into()), entry);
    }

    pub(super) fn forget(&mut self, token: &[u8]) {
        self.entries.remove(&Sought(token));
    }
}

/// A token that is in the cache.
#[derive(PartialEq, Eq)]
struct Known(Box<[u8]>);

/// A token that may be.
struct Sought<'t>(&'t [u8]);

impl Hash for Known {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Sought(&self.0).hash(state);
    }
}

impl Hash for Sought<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let beginning = self.0.len().saturating_sub(HASHED_BYTES);
        state.write(&self.0[beginning..]);
    }
}

impl Equivalent<Known> for Sought<'_> {
    fn equivalent(&self, known: &Known) -> bool {
        self.0 == &*known.0
    }
}

/// Weighs an entry by about the memory it holds.
#[derive(Clone)]
struct ByBytes;

impl Weighter<Known, Rc<Entry>> for ByBytes {
    fn weight(&self, token: &Known, entry: &Rc<Entry>) -> u64 {
        (ENTRY_BYTES + token.0.len() + entry.claims.heap_bytes()) as u64
    }
}

/// The last 192 bits of a signature: two that share them would be news.
const HASHED_BYTES: usize = 32;

/// What a token of the usual 800 bytes takes; what the cache is laid out for.
const TYPICAL_BYTES: usize = 1536;

/// What an entry holds beside its texts: the cache's own record of it, the fixed parts of the
/// claims, and what the allocator adds to each of seven pieces of memory.
const ENTRY_BYTES: usize = 384;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::source::{KeySource, load_public};

    fn entry(subject: &str) -> Rc<Entry> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("k.pem");
        let pair = crate::crypto::generate(crate::crypto::KeyKind::P256).unwrap();
        let der = base64::Engine::encode(
            &base64::engine::general_purpose::STANDARD,
            &pair.public_spki_der,
        );
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{der}\n-----END PUBLIC KEY-----\n");
        std::fs::write(&path, pem).unwrap();
        let keys = load_public(&[KeySource { path, kid: None }]).set;
        let claims = format!(r#"{{"iss":"i","aud":"a","exp":9,"sub":"{subject}"}}"#);
        let key = keys.fitting(crate::keys::Algorithm::ES256).next().unwrap();
        Rc::new(Entry {
            issuer: "main".into(),
            key: key.clone(),
            claims: Claims::parse(claims.as_bytes()).unwrap(),
        })
    }

    #[test]
    fn it_holds_as_many_bytes_as_it_may_and_no_more() {
        let entry = entry("alice");
        let token = |number: usize| format!("{number:0>700}").into_bytes();
        let each = ByBytes.weight(&Known(token(0).into()), &entry) as usize;
        let mut cache = TokenCache::new(each * 100);
        for number in 0..1_000 {
            cache.insert(&token(number), entry.clone());
        }
        let held = (0..1_000).filter(|number| cache.get(&token(*number)).is_some());
        assert!((90..=100).contains(&held.count()));
    }

    #[test]
    fn one_of_no_bytes_remembers_nothing() {
        let mut cache = TokenCache::new(0);
        cache.insert(b"a.b.c", entry("alice"));
        assert!(cache.get(b"a.b.c").is_none());
    }

    #[test]
    fn tokens_that_end_alike_are_told_apart() {
        let mut cache = TokenCache::new(1 << 20);
        let tail = "s".repeat(2 * HASHED_BYTES);
        cache.insert(format!("alice.{tail}").as_bytes(), entry("alice"));
        cache.insert(format!("bob.{tail}").as_bytes(), entry("bob"));
        for name in ["alice", "bob"] {
            let found = cache.get(format!("{name}.{tail}").as_bytes()).unwrap();
            assert_eq!(found.claims.subject().as_deref(), Some(name));
        }
        assert!(cache.get(format!("eve.{tail}").as_bytes()).is_none());
        assert!(cache.get(b"short").is_none());
    }
}
