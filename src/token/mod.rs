//! Whether a token is good.
//!
//! The order is the argument: a [`Presented`] is what the request carried, byte for byte; a
//! [`Credential`] is the same in the grammar of RFC 6750; a [`VerifiedToken`] is what
//! [`Verifier::verify`] makes of that, or [`Verifier::recall`] of what it remembers, and nothing
//! else can. Nothing in here knows of HTTP beyond the `Authorization` field, of routes or
//! of files.

mod cache;
mod claims;
mod credential;
mod failures;
mod invalid;
mod issuer;
mod jws;
mod known_headers;
mod verify;

pub use claims::{Claims, ClaimsError};
pub use credential::{Credential, CredentialError, Presented, RepeatedOrMalformed};
pub use invalid::{InvalidToken, Refusal};
pub use issuer::{Acceptance, Accepted, TrustedIssuer, accepted};
pub use jws::{JoseHeader, Jws, MAX_TOKEN_BYTES};
pub use verify::{VerifiedToken, Verifier};
