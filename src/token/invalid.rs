//! Why a token is refused. The log gets the reason; the client never does.

use std::sync::Arc;

use super::ClaimsError;

/// Why a token is `invalid_token` (RFC 6750 §3.1).
///
/// About in the order of the checks. The same token always gets the same reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InvalidToken {
    /// Longer than [`MAX_TOKEN_BYTES`](super::MAX_TOKEN_BYTES).
    TooLong,
    /// Not three non-empty base64url parts.
    MalformedToken,
    /// The JOSE header is not strict JSON, or a member of it has the wrong type.
    MalformedHeader,
    /// `alg` is not one of ours; `none` is not.
    UnknownAlgorithm,
    /// `crit`, `b64`, `zip` or `enc`: extensions that change what the signature covers.
    UnsupportedExtension,
    /// `cty: JWT`: a token inside a token.
    NestedToken,
    /// A `typ` that says that it is for something else than access (RFC 8725 §3.11).
    OtherPurpose,
    /// The claims set is not strict JSON, or a registered claim has the wrong type.
    MalformedClaims,
    /// No `iss`, `aud` or `exp`.
    MissingClaim,
    /// An `iss` that this route does not trust.
    UnknownIssuer,
    /// None of the audiences is ours.
    WrongAudience,
    /// `exp` has passed.
    Expired,
    /// `nbf` has not come yet.
    NotYetValid,
    /// `iat` lies in the future.
    IssuedInTheFuture,
    /// No key of the issuer has this `kid`.
    UnknownKid,
    /// The key that `kid` names is not for this `alg`.
    AlgorithmNotAllowed,
    /// Without `kid`: no key of the issuer is for this `alg`.
    NoFittingKey,
    /// Without `kid`: more keys fit than are tried.
    TooManyKeys,
    /// The signature does not verify.
    BadSignature,
    /// A claim that must be forwarded is missing or cannot be a field value.
    ClaimUnusable,
}

impl InvalidToken {
    /// The stable name in logs and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::TooLong => "token_too_long",
            Self::MalformedToken => "malformed_token",
            Self::MalformedHeader => "malformed_header",
            Self::UnknownAlgorithm => "unknown_algorithm",
            Self::UnsupportedExtension => "unsupported_extension",
            Self::NestedToken => "nested_token",
            Self::OtherPurpose => "other_purpose",
            Self::MalformedClaims => "malformed_claims",
            Self::MissingClaim => "missing_claim",
            Self::UnknownIssuer => "unknown_issuer",
            Self::WrongAudience => "wrong_audience",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::IssuedInTheFuture => "issued_in_the_future",
            Self::UnknownKid => "unknown_kid",
            Self::AlgorithmNotAllowed => "algorithm_not_allowed",
            Self::NoFittingKey => "no_fitting_key",
            Self::TooManyKeys => "too_many_keys",
            Self::BadSignature => "bad_signature",
            Self::ClaimUnusable => "claim_unusable",
        }
    }
}

impl From<ClaimsError> for InvalidToken {
    fn from(error: ClaimsError) -> Self {
        match error {
            ClaimsError::Malformed => Self::MalformedClaims,
            ClaimsError::Missing => Self::MissingClaim,
        }
    }
}

/// A refused token: the reason, and what the log may say beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: InvalidToken,
    /// The trusted issuer that the token claims to come from, if it got that far.
    pub issuer: Option<Arc<str>>,
    /// The `kid` it carries; unverified, at most [`MAX_KID_BYTES`](crate::keys::MAX_KID_BYTES).
    pub kid: Option<Arc<str>>,
}

impl From<InvalidToken> for Refusal {
    fn from(reason: InvalidToken) -> Self {
        Self {
            reason,
            issuer: None,
            kid: None,
        }
    }
}
