//! Whether this token may do this, and who the upstream is told is asking.
//!
//! The only maker of a [`Permit`], and a request cannot be sent upstream without one.

mod identity;
mod reserved;

use http::{HeaderName, HeaderValue};

pub use identity::{ClaimPath, ClaimUnusable, Encoding, IdentityRule, Presence};
pub use reserved::ReservedNames;

use crate::token::VerifiedToken;

/// What a route demands of a verified token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// The claims to forward, and as which header.
    pub identity: Vec<IdentityRule>,
}

/// Leave to reach an upstream, and what it is told about the caller.
#[must_use]
#[derive(Debug)]
pub struct Permit {
    identity: Vec<(HeaderName, HeaderValue)>,
}

impl Permit {
    /// Leave for anybody, on a route that asks nobody.
    pub const fn public() -> Self {
        Self {
            identity: Vec::new(),
        }
    }

    /// The identity headers that the upstream gets; none the second time.
    pub fn take_identity(&mut self) -> Vec<(HeaderName, HeaderValue)> {
        std::mem::take(&mut self.identity)
    }
}

/// Turns a verified token into a permit.
///
/// # Errors
/// [`ClaimUnusable`] if a claim that must be forwarded is missing or cannot be a field value: a
/// subject that the upstream would not see is a refusal, never a silent absence.
pub fn authorize(policy: &Policy, token: &VerifiedToken) -> Result<Permit, ClaimUnusable> {
    let mut identity = Vec::with_capacity(policy.identity.len());
    for rule in &policy.identity {
        if let Some(value) = rule.value(token.claims().members())? {
            identity.push((rule.header().clone(), value));
        }
    }
    Ok(Permit { identity })
}
