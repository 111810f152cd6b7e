//! `jotgate token inspect --config`: which issuer and key a token meets, and what comes of it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::inspect::Report;
use crate::cli::run::{LoadError, load};
use crate::clock::NumericDate;
use crate::keys::{Algorithm, Key};
use crate::observe::{DurationsOf, Metrics, Readiness, RouteNames};
use crate::token::{Accepted, Credential, TrustedIssuer, Verifier};

/// What a configuration makes of a token.
pub(super) struct Verdict {
    issuer: Option<Arc<TrustedIssuer>>,
    /// What the token says instead, and whose it would be but for that.
    alike: Option<(String, Arc<TrustedIssuer>)>,
    keys: Vec<Arc<Key>>,
    outcome: Result<(), &'static str>,
}

impl Verdict {
    /// Shows the token to every issuer of a configuration, by the code that the gateway runs.
    /// A route's own `aud` is not known here: the issuer's is what counts.
    pub(super) fn new(
        config: &Path,
        token: &str,
        report: &Report,
        now: NumericDate,
    ) -> Result<Self, Box<LoadError>> {
        let loaded = load(config)?;
        let trusted = &loaded.snapshot.issuers;
        let configured = trusted.iter().zip(&loaded.file.config.issuers);
        let accepted = configured.map(|(issuer, configured)| Accepted {
            issuer,
            audiences: &configured.audiences,
        });
        let member =
            |part: &Option<Value>, name: &str| Some(part.as_ref()?.get(name)?.as_str()?.to_owned());
        let iss = member(&report.claims, "iss");
        let mut known = trusted.iter();
        let issuer = known.find(|issuer| Some(&issuer.iss) == iss.as_ref());
        let issuer = issuer.cloned();
        let alike = iss.filter(|_| issuer.is_none()).and_then(|iss| {
            let mut known = trusted.iter();
            let issuer = known.find(|issuer| is_alike(&issuer.iss, &iss))?.clone();
            Some((iss, issuer))
        });
        let keys = issuer.as_ref().map_or_else(Vec::new, |issuer| {
            let algorithm = member(&report.header, "alg");
            candidates(
                issuer,
                algorithm.as_deref(),
                member(&report.header, "kid").as_deref(),
            )
        });
        Ok(Self {
            issuer,
            alike,
            keys,
            outcome: verify(token, accepted, now),
        })
    }

    /// Whether the configuration accepts the token.
    pub(super) const fn is_good(&self) -> bool {
        self.outcome.is_ok()
    }
}

/// Whether two differ in what is easily overlooked.
fn is_alike(one: &str, other: &str) -> bool {
    let bare = |iss: &str| iss.trim().trim_end_matches('/').to_lowercase();
    bare(one) == bare(other)
}

fn candidates(issuer: &TrustedIssuer, alg: Option<&str>, kid: Option<&str>) -> Vec<Arc<Key>> {
    match (kid, alg.and_then(Algorithm::from_name)) {
        (Some(kid), _) => issuer.keys.find(kid).cloned().into_iter().collect(),
        (None, Some(algorithm)) => issuer.keys.fitting(algorithm).cloned().collect(),
        (None, None) => Vec::new(),
    }
}

fn verify<'s>(
    token: &str,
    accepted: impl Iterator<Item = Accepted<'s>> + Clone,
    now: NumericDate,
) -> Result<(), &'static str> {
    let field = format!("Bearer {token}");
    let credential = Credential::parse(field.as_bytes()).map_err(|_| "malformed_credential")?;
    let metrics = Arc::new(Metrics::new(
        &Readiness::starting(),
        RouteNames::default(),
        DurationsOf::All,
    ));
    Verifier::new(metrics, 0)
        .verify(credential, accepted, now)
        .map(drop)
        .map_err(|refusal| refusal.reason.label())
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nnow checked by this configuration")?;
        match &self.issuer {
            Some(issuer) => writeln!(f, "  issuer   {} ({})", issuer.name, issuer.iss)?,
            None => writeln!(f, "  issuer   none has this iss")?,
        }
        if let Some((iss, issuer)) = &self.alike {
            let (name, theirs) = (&issuer.name, &issuer.iss);
            writeln!(f, "           {iss:?} is what the token has, and")?;
            writeln!(
                f,
                "           {theirs:?} what [issuer.{name}] has: they must be the same"
            )?;
        }
        for key in &self.keys {
            let name = key.kid().or(key.thumbprint()).unwrap_or("-");
            let (description, origin) = (key.description(), key.origin());
            writeln!(
                f,
                "  key      {name}: {description}, {} ({origin})",
                key.algorithms()
            )?;
        }
        if self.keys.is_empty() {
            writeln!(f, "  key      none fits")?;
        }
        match self.outcome {
            Ok(()) => writeln!(
                f,
                "  verdict  good, signature included; a route may ask for more: its own aud, \
                 claims to forward"
            ),
            Err(reason) => writeln!(f, "  verdict  refused: {reason}"),
        }
    }
}
