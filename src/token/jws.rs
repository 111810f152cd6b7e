//! The outside of a token: JWS compact serialization (RFC 7515 §7.1), strictly.
//!
//! Everything that is checked here costs less than a signature and is checked before one.

use std::sync::Arc;

use base64::Engine as _;
use serde_json::{Map, Value};

use super::InvalidToken;
use crate::base64url::BASE64URL;
use crate::json;
use crate::keys::{Algorithm, MAX_KID_BYTES};

/// The longest token that is looked at. Anything longer does not fit the usual header limits of
/// upstreams either.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// A token taken apart, nothing of it verified.
#[derive(Debug)]
pub struct Jws<'a> {
    header: JoseHeader,
    header_text: &'a str,
    /// `BASE64URL(header) || '.' || BASE64URL(payload)`, the bytes that are signed.
    signing_input: &'a str,
    payload: &'a str,
    signature: &'a str,
}

/// What we use of the JOSE header; `jwk`, `jku`, `x5u`, `x5c` and `x5t` are never looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoseHeader {
    /// Which algorithm the token says it is signed with. The key decides whether that stands.
    pub algorithm: Algorithm,
    /// Which key it says it is signed with.
    pub kid: Option<Arc<str>>,
}

impl<'a> Jws<'a> {
    /// Takes a compact serialization apart and reads its header.
    ///
    /// # Errors
    /// The first of [`InvalidToken::TooLong`], [`MalformedToken`](InvalidToken::MalformedToken)
    /// and those of the header.
    pub fn parse(token: &'a str) -> Result<Self, InvalidToken> {
        Self::parse_with(token, JoseHeader::decode)
    }

    /// The same, with somebody else to read the header's base64url text.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub(super) fn parse_with(
        token: &'a str,
        read_header: impl FnOnce(&str) -> Result<JoseHeader, InvalidToken>,
    ) -> Result<Self, InvalidToken> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(InvalidToken::TooLong);
        }
        let (header, rest) = token.split_once('.').ok_or(InvalidToken::MalformedToken)?;
        let (payload, signature) = rest.split_once('.').ok_or(InvalidToken::MalformedToken)?;
        if header.is_empty()
            || payload.is_empty()
            || signature.is_empty()
            || signature.contains('.')
        {
            return Err(InvalidToken::MalformedToken);
        }
        Ok(Self {
            header: read_header(header)?,
            header_text: header,
            signing_input: &token[..header.len() + 1 + payload.len()],
            payload,
            signature,
        })
    }

    /// The header.
    pub const fn header(&self) -> &JoseHeader {
        &self.header
    }

    /// The header as base64url text.
    pub(super) const fn header_text(&self) -> &'a str {
        self.header_text
    }

    /// The bytes that the signature covers.
    pub const fn signing_input(&self) -> &'a str {
        self.signing_input
    }

    /// The signature as base64url text.
    pub const fn signature(&self) -> &'a str {
        self.signature
    }

    /// The payload's bytes, put into `room`.
    ///
    /// # Errors
    /// [`InvalidToken::MalformedToken`] if it is not base64url.
    pub fn payload<'r>(&self, room: &'r mut Vec<u8>) -> Result<&'r [u8], InvalidToken> {
        room.clear();
        decode(self.payload, room)?;
        Ok(room)
    }
}

impl JoseHeader {
    /// Reads the first part of a token.
    ///
    /// # Errors
    /// Those of [`Jws::parse`] that are about the header.
    pub(super) fn decode(text: &str) -> Result<Self, InvalidToken> {
        let mut bytes = Vec::new();
        decode(text, &mut bytes)?;
        Self::parse(&bytes)
    }

    fn parse(bytes: &[u8]) -> Result<Self, InvalidToken> {
        let Ok(Value::Object(members)) = json::parse(bytes) else {
            return Err(InvalidToken::MalformedHeader);
        };
        let text = |name| optional_text(&members, name);
        let algorithm = text("alg")?.ok_or(InvalidToken::MalformedHeader)?;
        let algorithm = Algorithm::from_name(algorithm).ok_or(InvalidToken::UnknownAlgorithm)?;
        // RFC 7515 §4.1.11: a critical extension that we do not understand is a refusal, and we
        // understand none. `b64`, `zip` and `enc` would change what was signed even unannounced.
        if ["crit", "b64", "zip", "enc"]
            .iter()
            .any(|name| members.contains_key(*name))
        {
            return Err(InvalidToken::UnsupportedExtension);
        }
        // RFC 7519 §5.2: the payload would be another token, not claims.
        if text("cty")?.is_some_and(|cty| {
            cty.eq_ignore_ascii_case("JWT") || cty.eq_ignore_ascii_case("application/jwt")
        }) {
            return Err(InvalidToken::NestedToken);
        }
        if text("typ")?.is_some_and(is_for_another_purpose) {
            return Err(InvalidToken::OtherPurpose);
        }
        let kid = text("kid")?;
        if kid.is_some_and(|kid| kid.len() > MAX_KID_BYTES) {
            return Err(InvalidToken::MalformedHeader);
        }
        Ok(Self {
            algorithm,
            kid: kid.map(Arc::from),
        })
    }
}

/// Whether this `typ` (RFC 7515 §4.1.9) is one that tokens of the same issuer have, or of its
/// clients, that give access to nothing: those for a logout, a security event, a proof of
/// possession, an answer about a token and a request for one.
fn is_for_another_purpose(typ: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    matches!(
        typ.strip_prefix("application/").unwrap_or(&typ),
        "logout+jwt"
            | "secevent+jwt"
            | "dpop+jwt"
            | "token-introspection+jwt"
            | "oauth-authz-req+jwt"
    )
}

fn optional_text<'m>(
    members: &'m Map<String, Value>,
    name: &str,
) -> Result<Option<&'m str>, InvalidToken> {
    members
        .get(name)
        .map(|value| value.as_str().ok_or(InvalidToken::MalformedHeader))
        .transpose()
}

/// Appends what base64url text means, strictly.
fn decode(part: &str, bytes: &mut Vec<u8>) -> Result<(), InvalidToken> {
    BASE64URL
        .decode_vec(part, bytes)
        .map_err(|_| InvalidToken::MalformedToken)
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    fn reason(header: &str) -> Result<JoseHeader, InvalidToken> {
        let token = format!("{}.e30.c2ln", URL_SAFE_NO_PAD.encode(header));
        Jws::parse(&token).map(|jws| jws.header)
    }

    #[test]
    fn a_plain_header_is_read() {
        let header = reason(r#"{"alg":"RS256","kid":"2026","typ":"JWT"}"#).unwrap();
        assert_eq!(
            header,
            JoseHeader {
                algorithm: Algorithm::RS256,
                kid: Some("2026".into())
            }
        );
    }

    #[test]
    fn t15_none_cannot_be_expressed() {
        for alg in ["none", "None", "NONE", "nOnE", "", "rs256", "ES512", "dir"] {
            let header = format!(r#"{{"alg":"{alg}"}}"#);
            assert_eq!(
                reason(&header),
                Err(InvalidToken::UnknownAlgorithm),
                "{alg}"
            );
        }
        for header in [
            r#"{"alg":null}"#,
            r#"{"alg":0}"#,
            r#"{"alg":[]}"#,
            r#"{"typ":"JWT"}"#,
        ] {
            assert_eq!(
                reason(header),
                Err(InvalidToken::MalformedHeader),
                "{header}"
            );
        }
    }

    #[test]
    fn t20_a_kid_is_a_short_string() {
        let long = format!(
            r#"{{"alg":"RS256","kid":"{}"}}"#,
            "k".repeat(MAX_KID_BYTES + 1)
        );
        for header in [
            r#"{"alg":"RS256","kid":7}"#,
            r#"{"alg":"RS256","kid":{}}"#,
            long.as_str(),
        ] {
            assert_eq!(
                reason(header),
                Err(InvalidToken::MalformedHeader),
                "{header}"
            );
        }
    }

    #[test]
    fn t23_a_repeated_member_is_refused() {
        for header in [
            r#"{"alg":"RS256","alg":"HS256"}"#,
            r#"{"alg":"RS256","x":{"a":1,"a":2}}"#,
        ] {
            assert_eq!(
                reason(header),
                Err(InvalidToken::MalformedHeader),
                "{header}"
            );
        }
    }

    #[test]
    fn t24_t25_extensions_are_refused() {
        for member in [
            r#""crit":["x"]"#,
            r#""crit":[]"#,
            r#""b64":false"#,
            r#""zip":"DEF""#,
            r#""enc":"A128GCM""#,
        ] {
            let header = format!(r#"{{"alg":"RS256",{member}}}"#);
            assert_eq!(
                reason(&header),
                Err(InvalidToken::UnsupportedExtension),
                "{member}"
            );
        }
    }

    #[test]
    fn t35_a_nested_token_is_refused() {
        for cty in ["JWT", "jwt", "application/jwt"] {
            let header = format!(r#"{{"alg":"RS256","cty":"{cty}"}}"#);
            assert_eq!(reason(&header), Err(InvalidToken::NestedToken), "{cty}");
        }
    }

    #[test]
    fn t27_a_token_has_exactly_two_dots_between_three_parts() {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256"}"#);
        let dots = ".".repeat(4_000);
        for token in [
            "",
            ".",
            "..",
            "...",
            &dots,
            &header,
            &format!("{header}."),
            &format!("{header}.e30"),
            &format!("{header}.e30."),
            &format!("{header}..c2ln"),
            &format!(".{header}.c2ln"),
            &format!("{header}.e30.c2ln."),
            &format!("{header}.e30.c2ln.x"),
            &format!("{header}.e30.c2ln.x.y"),
        ] {
            assert_eq!(
                Jws::parse(token).map(|_| ()),
                Err(InvalidToken::MalformedToken),
                "{token:.40}"
            );
        }
    }

    #[test]
    fn t28_the_header_is_strict_base64url() {
        for token in [
            "eyJhbGciOiJSUzI1NiJ9=.e30.c2ln",
            "eyJh+GciOiJSUzI1NiJ9.e30.c2ln",
            "eyJhbGciOiJSUzI1NiK.e30.c2ln",
        ] {
            assert_eq!(
                Jws::parse(token).map(|_| ()),
                Err(InvalidToken::MalformedToken),
                "{token}"
            );
        }
    }

    #[test]
    fn t08_an_oversized_token_is_refused_by_its_length_alone() {
        let token = ".".repeat(MAX_TOKEN_BYTES + 1);
        assert_eq!(Jws::parse(&token).map(|_| ()), Err(InvalidToken::TooLong));
    }
}
