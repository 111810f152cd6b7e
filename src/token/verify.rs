//! Credential in, verified token out; or what was one before, byte for byte. There is no other way.
//!
//! The checks stand in the order of their cost: an oversized, foreign or expired token never
//! reaches a signature, and all that an attacker can make us do without a key is to parse 8 KiB.
//! The claims that are checked are the ones that are signed: they are parsed once, from the very
//! bytes that the signature covers.

use std::rc::Rc;
use std::sync::Arc;

use tracing::debug;

use super::cache::{Entry, TokenCache};
use super::failures::Failures;
use super::known_headers::KnownHeaders;
use super::{Accepted, Claims, Credential, InvalidToken, Jws, MAX_TOKEN_BYTES, Presented, Refusal};
use crate::clock::NumericDate;
use crate::keys::{Key, TRIED_WITHOUT_KID};
use crate::observe::{Metrics, TokenLookup};

/// Proof that a token is good for a route at this moment: signed by a key of an issuer that the
/// route accepts, for an audience of the route's, and in time.
#[must_use]
#[derive(Clone)]
pub struct VerifiedToken(Rc<Entry>);

impl VerifiedToken {
    /// The trusted issuer's name in the configuration.
    pub fn issuer(&self) -> &Arc<str> {
        &self.0.issuer
    }

    /// The key that verified it.
    pub fn key(&self) -> &Arc<Key> {
        &self.0.key
    }

    /// What it says.
    pub fn claims(&self) -> &Claims {
        &self.0.claims
    }
}

/// One worker's verifier: the checks and the cache of what passed them.
pub struct Verifier {
    cache: TokenCache,
    headers: KnownHeaders,
    failures: Failures,
    /// Room for a payload while it is looked at.
    room: Vec<u8>,
    metrics: Arc<Metrics>,
}

impl Verifier {
    /// A verifier that has seen nothing yet. It remembers verified tokens in so many bytes, none
    /// of them in 0, and counts how often that spares a signature.
    pub fn new(metrics: Arc<Metrics>, cache_bytes: usize) -> Self {
        Self {
            cache: TokenCache::new(cache_bytes),
            headers: KnownHeaders::default(),
            failures: Failures::default(),
            room: Vec::new(),
            metrics,
        }
    }

    /// Judges a token that was verified before, for a route that accepts these issuers, at `now`.
    /// `None` for one that was not, or not by a key that is still trusted.
    ///
    /// What is remembered was well-formed, so nothing of it has to be read again.
    ///
    /// # Errors
    /// The [`InvalidToken`] that it has become, with what the log may say of it.
    pub fn recall<'s>(
        &mut self,
        presented: Presented<'_>,
        mut accepted: impl Iterator<Item = Accepted<'s>>,
        now: NumericDate,
    ) -> Option<Result<VerifiedToken, Refusal>> {
        let token = presented.as_bytes();
        // None so long was ever verified, and to look for it means to hash it all.
        if token.len() > MAX_TOKEN_BYTES {
            return None;
        }
        let entry = self.cache.get(token)?;
        let accepted = accepted.find(|a| a.issuer.name == entry.issuer)?;
        // A key that was replaced since takes its tokens along.
        if !accepted.issuer.keys.contains(&entry.key) {
            self.cache.forget(token);
            return None;
        }
        self.metrics.count_token_lookup(TokenLookup::Hit);
        if let Err(reason) = entry.claims.check(accepted, now) {
            return Some(Err(Refusal {
                reason,
                issuer: Some(entry.issuer.clone()),
                kid: entry.key.shared_kid(),
            }));
        }
        Some(Ok(VerifiedToken(entry)))
    }

    /// Verifies a credential for a route that accepts these issuers, at `now`, and remembers it.
    ///
    /// # Errors
    /// The first [`InvalidToken`] that is met, with what the log may say of it.
    pub fn verify<'s>(
        &mut self,
        credential: Credential<'_>,
        mut accepted: impl Iterator<Item = Accepted<'s>>,
        now: NumericDate,
    ) -> Result<VerifiedToken, Refusal> {
        self.metrics.count_token_lookup(TokenLookup::Miss);
        let token = credential.as_str();
        let issued_by = |iss: &str| accepted.find(|accepted| accepted.issuer.iss == iss);
        let entry = Rc::new(self.verify_anew(token, issued_by, now)?);
        self.cache.insert(token.as_bytes(), entry.clone());
        Ok(VerifiedToken(entry))
    }

    fn verify_anew<'s>(
        &mut self,
        token: &str,
        issued_by: impl FnOnce(&str) -> Option<Accepted<'s>>,
        now: NumericDate,
    ) -> Result<Entry, Refusal> {
        let jws = Jws::parse_with(token, |header| self.headers.read(header))?;
        let refuse = |reason, issuer: Option<Accepted<'_>>| Refusal {
            reason,
            issuer: issuer.map(|accepted| accepted.issuer.name.clone()),
            kid: jws.header().kid.clone(),
        };
        let payload = jws
            .payload(&mut self.room)
            .map_err(|reason| refuse(reason, None))?;
        let claims = Claims::parse(payload).map_err(|error| refuse(error.into(), None))?;
        let Some(accepted) = issued_by(&claims.issuer()) else {
            return Err(refuse(InvalidToken::UnknownIssuer, None));
        };
        claims
            .check(accepted, now)
            .map_err(|reason| refuse(reason, Some(accepted)))?;
        let key = verifying_key(&jws, accepted, &mut self.failures)
            .map_err(|reason| refuse(reason, Some(accepted)))?;
        self.headers.remember(&jws);
        Ok(Entry {
            issuer: accepted.issuer.name.clone(),
            key: key.clone(),
            claims,
        })
    }
}

/// The issuer's key that verifies the signature.
///
/// `kid` only ever selects among the issuer's own keys, and `alg` only among what the selected
/// key is for. Without `kid` (RFC 7515 §4.1.4 leaves it optional) the fitting keys are tried, as
/// long as they are few.
fn verifying_key<'k>(
    jws: &Jws<'_>,
    accepted: Accepted<'k>,
    failures: &mut Failures,
) -> Result<&'k Arc<Key>, InvalidToken> {
    let keys = &accepted.issuer.keys;
    let algorithm = jws.header().algorithm;
    let mut verifies = |key: &Key| failures.verifies(key, jws);
    if let Some(kid) = &jws.header().kid {
        let Some(key) = keys.find(kid) else {
            debug!(
                issuer = %accepted.issuer.name,
                ?kid,
                loaded = ?keys.kids().take(MOST_SHOWN).collect::<Vec<_>>(),
                of = keys.len(),
                "unknown kid"
            );
            return Err(InvalidToken::UnknownKid);
        };
        if !key.algorithms().contains(algorithm) {
            return Err(InvalidToken::AlgorithmNotAllowed);
        }
        return if verifies(key) {
            Ok(key)
        } else {
            Err(InvalidToken::BadSignature)
        };
    }
    match keys.fitting(algorithm).take(TRIED_WITHOUT_KID + 1).count() {
        0 => Err(InvalidToken::NoFittingKey),
        1..=TRIED_WITHOUT_KID => keys
            .fitting(algorithm)
            .find(|key| verifies(key))
            .ok_or(InvalidToken::BadSignature),
        _ => Err(InvalidToken::TooManyKeys),
    }
}

/// So many names say enough about what is loaded; anybody can ask for this line again and again.
const MOST_SHOWN: usize = 10;
