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

/// That a route accepts an issuer's tokens, and for which audiences. Which keys the issuer has at
/// the moment is not the route's to say, so a route stays what it is when they change.
#[derive(Debug, Clone)]
pub struct Acceptance {
    /// The place of the issuer among all [trusted](accepted) ones.
    pub issuer: usize,
    /// A token must be for at least one of these (RFC 7519 §4.1.3).
    pub audiences: Arc<[String]>,
}

/// An issuer as one route accepts it: the issuer's keys, the route's audiences.
#[derive(Debug, Clone, Copy)]
pub struct Accepted<'s> {
    /// Who signs.
    pub issuer: &'s TrustedIssuer,
    /// A token must be for at least one of these.
    pub audiences: &'s [String],
}

/// What a route accepts, out of all issuers that are trusted. An issuer that is none of them is
/// nobody's.
pub fn accepted<'s>(
    acceptances: &'s [Acceptance],
    trusted: &'s [Arc<TrustedIssuer>],
) -> impl Iterator<Item = Accepted<'s>> + Clone {
    acceptances.iter().filter_map(|acceptance| {
        Some(Accepted {
            issuer: trusted.get(acceptance.issuer)?,
            audiences: &acceptance.audiences,
        })
    })
}
