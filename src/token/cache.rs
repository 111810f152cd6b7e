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
    pub(super) fn new() -> Self {
        Self {
            entries: Cache::with_weighter(TYPICAL_TOKENS, MAX_BYTES, ByBytes),
        }
    }

    pub(super) fn get(&self, token: &str) -> Option<Rc<Entry>> {
        self.entries.get(&Sought(token)).cloned()
    }

    pub(super) fn insert(&mut self, token: &str, entry: Rc<Entry>) {
        self.entries.insert(Known(token.into()), entry);
    }

    pub(super) fn forget(&mut self, token: &str) {
        self.entries.remove(&Sought(token));
    }
}

/// A token that is in the cache.
#[derive(PartialEq, Eq)]
struct Known(Box<str>);

/// A token that may be.
struct Sought<'t>(&'t str);

impl Hash for Known {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Sought(&self.0).hash(state);
    }
}

impl Hash for Sought<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let bytes = self.0.as_bytes();
        state.write(&bytes[bytes.len().saturating_sub(HASHED_BYTES)..]);
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
    fn weight(&self, token: &Known, _: &Rc<Entry>) -> u64 {
        // The claims are decoded from about three quarters of the token, and as a tree of JSON
        // values they take a few times their text.
        (ENTRY_BYTES + 4 * token.0.len()) as u64
    }
}

/// The last 192 bits of a signature: two that share them would be news.
const HASHED_BYTES: usize = 32;

/// The upper bound of one worker's cache.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// How many tokens of about 800 bytes fit into that; what the cache is laid out for.
const TYPICAL_TOKENS: usize = 4096;

/// What an entry holds beside its text: map nodes, reference counts, registered claims.
const ENTRY_BYTES: usize = 512;
