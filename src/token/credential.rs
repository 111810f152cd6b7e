//! Where a token may come from: exactly one `Authorization: Bearer` field (RFC 6750 §2.1).
//!
//! The query and the body are never looked at (§2.3 advises against the one and a gateway cannot
//! buffer the other). Two credentials are a refusal, not a choice.

use http::HeaderMap;
use http::header::AUTHORIZATION;

/// What a request carried behind `Bearer`: one field's rest, whatever it is.
#[derive(Clone, Copy)]
pub struct Presented<'a>(&'a [u8]);

/// A bearer token as the request carried it: well-formed `b64token` text, and nothing more.
#[derive(Clone, Copy)]
pub struct Credential<'a>(&'a str);

/// Why a request carries no credential that can be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialError {
    /// No `Authorization`, or one of another scheme: the bare challenge (RFC 6750 §3.1).
    Missing,
    /// A `Bearer` that breaks the grammar, or more than one field: `invalid_request`.
    Malformed(RepeatedOrMalformed),
}

/// How a credential is malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepeatedOrMalformed {
    /// More than one `Authorization` field line.
    Repeated,
    /// Not `"Bearer" 1*SP b64token`.
    Malformed,
}

impl<'a> Presented<'a> {
    /// Takes what is presented as a bearer token out of a request's fields.
    ///
    /// The scheme is matched without regard to case and followed by one or more spaces
    /// (RFC 9110 §11.4).
    ///
    /// # Errors
    /// [`CredentialError`]: the two cases ask for different challenges.
    pub fn from_headers(headers: &'a HeaderMap) -> Result<Self, CredentialError> {
        let mut fields = headers.get_all(AUTHORIZATION).iter();
        let field = fields.next().ok_or(CredentialError::Missing)?;
        if fields.next().is_some() {
            return Err(CredentialError::Malformed(RepeatedOrMalformed::Repeated));
        }
        Self::parse(field.as_bytes())
    }

    /// Reads one field value.
    ///
    /// # Errors
    /// As [`from_headers`](Self::from_headers).
    pub fn parse(field: &'a [u8]) -> Result<Self, CredentialError> {
        let end = field
            .iter()
            .position(|&b| !is_tchar(b))
            .unwrap_or(field.len());
        let (scheme, rest) = field.split_at(end);
        if !scheme.eq_ignore_ascii_case(b"bearer") {
            return Err(CredentialError::Missing);
        }
        // Spaces only: a tab is no separator here (RFC 9110 §11.4).
        let spaces = rest.iter().position(|&b| b != b' ').unwrap_or(rest.len());
        if spaces == 0 {
            return Err(CredentialError::Malformed(RepeatedOrMalformed::Malformed));
        }
        Ok(Self(&rest[spaces..]))
    }

    /// Byte for byte.
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The token, if it is `b64token` to the field's very end (RFC 6750 §2.1).
    ///
    /// # Errors
    /// [`CredentialError::Malformed`] if not.
    pub fn credential(self) -> Result<Credential<'a>, CredentialError> {
        let malformed = CredentialError::Malformed(RepeatedOrMalformed::Malformed);
        if !is_b64token(self.0) {
            return Err(malformed);
        }
        // A `b64token` is ASCII, so this conversion cannot fail.
        str::from_utf8(self.0)
            .map(Credential)
            .map_err(|_| malformed)
    }
}

impl<'a> Credential<'a> {
    /// Reads one field value.
    ///
    /// # Errors
    /// [`CredentialError`].
    pub fn parse(field: &'a [u8]) -> Result<Self, CredentialError> {
        Presented::parse(field)?.credential()
    }

    /// The token's text.
    pub const fn as_str(self) -> &'a str {
        self.0
    }
}

impl std::fmt::Debug for Presented<'_> {
    /// A secret: its length is all that is shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Presented({} bytes)", self.0.len())
    }
}

impl std::fmt::Debug for Credential<'_> {
    /// A credential is a secret: its length is all that is shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credential({} bytes)", self.0.len())
    }
}

/// `b64token = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="`.
fn is_b64token(bytes: &[u8]) -> bool {
    let padding = bytes.iter().rev().take_while(|&&b| b == b'=').count();
    let body = &bytes[..bytes.len() - padding];
    // To the end whatever comes, and with few comparisons: so sixteen bytes are looked at at once.
    !body.is_empty() && body.iter().fold(true, |all, &b| all & is_token_byte(b))
}

/// `ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/"`.
fn is_token_byte(b: u8) -> bool {
    let is_letter = (b | 0x20).wrapping_sub(b'a') < 26;
    let is_from_plus_to_nine = b.wrapping_sub(b'+') < 15;
    is_letter | (is_from_plus_to_nine & (b != b',')) | (b == b'_') | (b == b'~')
}

/// `tchar` of RFC 9110 §5.6.2.
fn is_tchar(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn outcome(field: &str) -> Result<&str, CredentialError> {
        Credential::parse(field.as_bytes()).map(Credential::as_str)
    }

    const MALFORMED: CredentialError = CredentialError::Malformed(RepeatedOrMalformed::Malformed);

    #[test]
    fn t02_another_scheme_is_no_credential() {
        for field in [
            "Basic dTpw",
            "Digest username=x",
            "DPoP a.b.c",
            "BearerG",
            "",
            " Bearer a",
        ] {
            assert_eq!(outcome(field), Err(CredentialError::Missing), "{field:?}");
        }
    }

    #[test]
    fn t03_a_bearer_without_a_token_is_malformed() {
        for field in [
            "Bearer",
            "Bearer ",
            "Bearer   ",
            "Bearer\ta.b.c",
            "Bearer =",
            "Bearer  \ta",
        ] {
            assert_eq!(outcome(field), Err(MALFORMED), "{field:?}");
        }
    }

    #[test]
    fn t04_the_scheme_ignores_case_and_takes_several_spaces() {
        for field in ["bearer a.b.c", "BEARER a.b.c", "BeArEr    a.b.c"] {
            assert_eq!(outcome(field), Ok("a.b.c"), "{field:?}");
        }
    }

    #[test]
    fn t05_nothing_may_follow_the_token() {
        for field in [
            "Bearer a.b.c .d",
            "Bearer a.b.c,",
            "Bearer a.b.c extra",
            "Bearer a.b.c ",
        ] {
            assert_eq!(outcome(field), Err(MALFORMED), "{field:?}");
        }
    }

    #[test]
    fn t09_bytes_outside_the_grammar_are_malformed() {
        for field in [
            "Bearer a\0b",
            "Bearer a%65b",
            "Bearer a\"b",
            "Bearer {a}",
            "Bearer é",
            "Bearer a=b",
        ] {
            assert_eq!(outcome(field), Err(MALFORMED), "{field:?}");
        }
    }

    #[test]
    fn t06_two_fields_are_refused_even_when_equal() {
        let mut headers = HeaderMap::new();
        for _ in 0..2 {
            headers.append(
                AUTHORIZATION,
                http::HeaderValue::from_static("Bearer a.b.c"),
            );
        }
        let repeated = CredentialError::Malformed(RepeatedOrMalformed::Repeated);
        assert_eq!(
            Presented::from_headers(&headers).map(Presented::as_bytes),
            Err(repeated)
        );
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_exactly_the_grammar(field in "(?i:bearer|basic)?[ \t]{0,3}[a-zA-Z0-9._~+/=, -]{0,12}") {
            let by_hand = field
                .get(..6)
                .filter(|scheme| scheme.eq_ignore_ascii_case("bearer"))
                .map(|_| &field[6..])
                .filter(|rest| rest.starts_with(' '))
                .map(|rest| rest.trim_start_matches(' '))
                .filter(|token| {
                    let body = token.trim_end_matches('=');
                    !body.is_empty() && body.chars().all(|c| c.is_ascii_alphanumeric() || "-._~+/".contains(c))
                });
            prop_assert_eq!(outcome(&field).ok(), by_hand);
        }

        #[test]
        fn no_bytes_panic(field in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Credential::parse(&field).map(Credential::as_str);
        }
    }
}
