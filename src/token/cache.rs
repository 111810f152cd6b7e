//! Tokens that were verified before. One cache for each worker, so nothing is shared or locked.
//!
//! Only verified tokens enter, so no flood of bad ones can push a good one out. The key is the
//! whole token, compared in full and found by a hash that is random for each process. A hit
//! proves that this very text was once signed by that very key, and nothing else: times,
//! audience and whether the key is still trusted are the verifier's to check, each time anew.

use std::rc::Rc;
use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::unsync::Cache;

use super::Claims;
use crate::keys::Key;

/// The bounded cache of verified tokens.
pub(super) struct TokenCache {
    entries: Cache<Box<str>, Rc<Entry>, ByBytes>,
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
        self.entries.get(token).cloned()
    }

    pub(super) fn insert(&mut self, token: &str, entry: Rc<Entry>) {
        self.entries.insert(token.into(), entry);
    }

    pub(super) fn forget(&mut self, token: &str) {
        self.entries.remove(token);
    }
}

/// Weighs an entry by about the memory it holds.
#[derive(Clone)]
struct ByBytes;

impl Weighter<Box<str>, Rc<Entry>> for ByBytes {
    fn weight(&self, token: &Box<str>, _: &Rc<Entry>) -> u64 {
        // The claims are decoded from about three quarters of the token, and as a tree of JSON
        // values they take a few times their text.
        (ENTRY_BYTES + 4 * token.len()) as u64
    }
}

/// The upper bound of one worker's cache.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// How many tokens of about 800 bytes fit into that; what the cache is laid out for.
const TYPICAL_TOKENS: usize = 4096;

/// What an entry holds beside its text: map nodes, reference counts, registered claims.
const ENTRY_BYTES: usize = 512;
