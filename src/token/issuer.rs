//! Our record of somebody whose tokens we believe.

use std::sync::Arc;
use std::time::Duration;

use crate::keys::KeySet;

/// One issuer: its name for us, its name for itself, and its keys.
#[derive(Debug)]
pub struct TrustedIssuer {
    /// What routes and the log call it.
    pub name: Arc<str>,
    /// The exact `iss` of its tokens (RFC 7519 §4.1.1: compared as a string).
    pub iss: String,
    /// The keys that verify its tokens, each with the algorithms it is for.
    pub keys: KeySet,
    /// How far its clock and ours may differ.
    pub leeway: Duration,
}

/// An issuer as one route accepts it: the same keys, the route's own audiences.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// Who signs.
    pub issuer: Arc<TrustedIssuer>,
    /// A token must be for at least one of these (RFC 7519 §4.1.3).
    pub audiences: Arc<[String]>,
}
