//! The inside of a token: a claims set (RFC 7519 §4), strictly typed.

use std::borrow::Cow;

use serde_json::Value;

use super::{Accepted, InvalidToken};
use crate::clock::NumericDate;
use crate::json::{Member, Members};

/// A well-formed claims set. Well-formed is not verified: whose it is, a signature has to say.
#[derive(Debug, Clone, PartialEq)]
pub struct Claims {
    members: Members,
    audiences: Box<[Box<str>]>,
    expires: NumericDate,
    not_before: Option<NumericDate>,
    issued_at: Option<NumericDate>,
}

/// Why bytes are no claims set of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimsError {
    /// Not strict JSON, no object, or a registered claim of the wrong type.
    Malformed,
    /// `iss`, `aud` or `exp` is absent.
    Missing,
}

impl Claims {
    /// Reads a claims set.
    ///
    /// `iss`, `aud` and `exp` must be there. A registered claim of the wrong type is an error,
    /// never as good as absent. A `NumericDate` is a number from 0 to the year 9999; fractions
    /// are rounded against the token.
    ///
    /// # Errors
    /// [`ClaimsError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ClaimsError> {
        let members = str::from_utf8(bytes)
            .ok()
            .and_then(|text| Members::parse(text).ok())
            .ok_or(ClaimsError::Malformed)?;
        let text = |name| match members.get(name) {
            Some(value) => value.text().ok_or(ClaimsError::Malformed).map(Some),
            None => Ok(None),
        };
        let (issuer, _id, subject) = (text("iss")?, text("jti")?, text("sub")?);
        issuer.ok_or(ClaimsError::Missing)?;
        if subject.is_some_and(|subject| subject.is_empty() || subject.len() > MAX_SUBJECT_BYTES) {
            return Err(ClaimsError::Malformed);
        }
        Ok(Self {
            audiences: audiences(members.get("aud").ok_or(ClaimsError::Missing)?)?,
            expires: date(&members, "exp", f64::floor)?.ok_or(ClaimsError::Missing)?,
            not_before: date(&members, "nbf", f64::ceil)?,
            issued_at: date(&members, "iat", f64::ceil)?,
            members,
        })
    }

    /// The issuer.
    pub fn issuer(&self) -> Cow<'_, str> {
        self.text("iss").unwrap_or_default()
    }

    /// The subject, if the token has one.
    pub fn subject(&self) -> Option<Cow<'_, str>> {
        self.text("sub")
    }

    fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        self.members.get(name)?.text()
    }

    /// Every claim, registered or not.
    pub const fn members(&self) -> &Members {
        &self.members
    }

    /// About how many bytes of memory it holds beside its own size.
    pub(super) fn heap_bytes(&self) -> usize {
        let audiences = self.audiences.iter();
        self.members.heap_bytes()
            + audiences
                .map(|one| size_of_val(one) + one.len().max(SMALLEST_PIECE))
                .sum::<usize>()
    }

    /// Checks audience and times at `now`, for one route.
    ///
    /// A token is expired when `now >= exp + leeway` (§4.1.4), not yet valid when
    /// `now + leeway < nbf` (§4.1.5); the same holds for `iat`.
    ///
    /// # Errors
    /// The first that applies of [`InvalidToken::WrongAudience`],
    /// [`Expired`](InvalidToken::Expired), [`NotYetValid`](InvalidToken::NotYetValid) and
    /// [`IssuedInTheFuture`](InvalidToken::IssuedInTheFuture).
    pub fn check(&self, accepted: Accepted<'_>, now: NumericDate) -> Result<(), InvalidToken> {
        let leeway = accepted.issuer.leeway;
        let latest = now.plus(leeway);
        if !self
            .audiences
            .iter()
            .any(|audience| accepted.audiences.iter().any(|ours| **ours == **audience))
        {
            return Err(InvalidToken::WrongAudience);
        }
        if now >= self.expires.plus(leeway) {
            return Err(InvalidToken::Expired);
        }
        if self
            .not_before
            .is_some_and(|not_before| latest < not_before)
        {
            return Err(InvalidToken::NotYetValid);
        }
        if self.issued_at.is_some_and(|issued_at| latest < issued_at) {
            return Err(InvalidToken::IssuedInTheFuture);
        }
        Ok(())
    }
}

/// `aud` is a string or an array of strings (§4.1.3); anything else is malformed, even if one
/// element would do.
fn audiences(value: Member<'_>) -> Result<Box<[Box<str>]>, ClaimsError> {
    if let Some(one) = value.text() {
        return Ok([one.into()].into());
    }
    let Some(Value::Array(many)) = value.value() else {
        return Err(ClaimsError::Malformed);
    };
    let text = |value: &Value| value.as_str().map(Box::from).ok_or(ClaimsError::Malformed);
    many.iter().map(text).collect()
}

fn date(
    members: &Members,
    name: &str,
    round: fn(f64) -> f64,
) -> Result<Option<NumericDate>, ClaimsError> {
    let Some(value) = members.get(name) else {
        return Ok(None);
    };
    let seconds = match value.whole() {
        Some(whole) => whole,
        // Within the bounds, a double holds every whole second exactly.
        None => match value.value().and_then(|value| value.as_f64()) {
            Some(float) if (0.0..=LATEST_DATE as f64).contains(&float) => round(float) as u64,
            Some(_) | None => return Err(ClaimsError::Malformed),
        },
    };
    if seconds > LATEST_DATE {
        return Err(ClaimsError::Malformed);
    }
    Ok(Some(NumericDate::from_seconds(seconds)))
}

/// 9999-12-31T23:59:59Z. A later date is a mistake or an attempt at an overflow.
const LATEST_DATE: u64 = 253_402_300_799;

/// What allocators give for less than that.
const SMALLEST_PIECE: usize = 32;

/// The longest subject.
const MAX_SUBJECT_BYTES: usize = 1024;
