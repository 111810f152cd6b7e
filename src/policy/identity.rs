//! Which claim becomes which header, and how its value is written there.

use std::borrow::Cow;

use http::{HeaderName, HeaderValue};
use serde_json::Value;

use crate::json::Members;

/// One identity header: where its value comes from and how it is written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdentityRule {
    header: HeaderName,
    claim: ClaimPath,
    presence: Presence,
    encoding: Encoding,
}

/// The way to a claim: one top-level name, dots and slashes included, or a walk into objects.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClaimPath(Vec<String>);

/// Whether a token may lack the claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Presence {
    /// Without it the token is refused.
    Required,
    /// Without it the header is left out.
    Optional,
}

/// How a value is written that is more than visible ASCII.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Not at all: such a value cannot be forwarded.
    Plain,
    /// Percent-encoded as UTF-8 (RFC 3986 §2.1), `%` included, so that it can be undone.
    Percent,
}

/// A claim that is missing, or that cannot be a field value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimUnusable;

impl ClaimPath {
    /// A path through these names; `None` without any.
    pub fn new(names: Vec<String>) -> Option<Self> {
        (!names.is_empty()).then_some(Self(names))
    }

    /// A top-level claim.
    pub fn single(name: String) -> Self {
        Self(vec![name])
    }

    /// A string that stands on top, as nearly all do: nothing has to be taken apart for it.
    fn find_text<'c>(&self, claims: &'c Members) -> Option<Cow<'c, str>> {
        match &*self.0 {
            [name] => claims.get(name)?.text(),
            _ => None,
        }
    }

    fn find(&self, claims: &Members) -> Option<Value> {
        let (first, rest) = self.0.split_first()?;
        rest.iter()
            .try_fold(claims.get(first)?.value()?, |value, name| match value {
                Value::Object(mut members) => members.remove(name),
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::String(_)
                | Value::Array(_) => None,
            })
    }
}

impl IdentityRule {
    /// A rule.
    pub const fn new(
        header: HeaderName,
        claim: ClaimPath,
        presence: Presence,
        encoding: Encoding,
    ) -> Self {
        Self {
            header,
            claim,
            presence,
            encoding,
        }
    }

    /// The header.
    pub const fn header(&self) -> &HeaderName {
        &self.header
    }

    /// Whether this top-level claim is what it forwards.
    pub fn forwards(&self, claim: &str) -> bool {
        *self.claim.0 == [claim]
    }

    /// The header's value for these claims; `None` if the header is to be left out.
    ///
    /// Strings as they are, integers and booleans as JSON writes them, lists of strings joined
    /// by commas. Fractions, objects, empty strings and empty lists count as missing.
    ///
    /// # Errors
    /// [`ClaimUnusable`] for a required claim.
    pub fn value(&self, claims: &Members) -> Result<Option<HeaderValue>, ClaimUnusable> {
        let written = match self.claim.find_text(claims) {
            Some(text) => self.encoding.write_text(&text),
            None => self
                .claim
                .find(claims)
                .and_then(|value| self.encoding.write(&value)),
        };
        match (written, self.presence) {
            (Some(value), _) => Ok(Some(value)),
            (None, Presence::Optional) => Ok(None),
            (None, Presence::Required) => Err(ClaimUnusable),
        }
    }
}

impl Encoding {
    fn write_text(self, text: &str) -> Option<HeaderValue> {
        let written = self.text(text, Place::Alone)?;
        let fits = written.len() <= MAX_VALUE_BYTES;
        fits.then(|| HeaderValue::from_str(&written).ok())?
    }

    fn write(self, value: &Value) -> Option<HeaderValue> {
        let text = match value {
            Value::String(text) => return self.write_text(text),
            Value::Bool(truth) => truth.to_string(),
            Value::Number(number) if !number.is_f64() => number.to_string(),
            Value::Array(items) => self.list(items)?,
            Value::Number(_) | Value::Null | Value::Object(_) => return None,
        };
        if text.len() > MAX_VALUE_BYTES {
            return None;
        }
        HeaderValue::from_str(&text).ok()
    }

    fn list(self, items: &[Value]) -> Option<String> {
        let texts = items
            .iter()
            .map(|item| self.text(item.as_str()?, Place::InList));
        let items: Vec<Cow<'_, str>> = texts.collect::<Option<_>>()?;
        (!items.is_empty()).then(|| items.join(","))
    }

    fn text(self, text: &str, place: Place) -> Option<Cow<'_, str>> {
        if text.is_empty() || text.len() > MAX_VALUE_BYTES {
            return None;
        }
        match self {
            Self::Plain => is_plain(text, place).then_some(Cow::Borrowed(text)),
            Self::Percent => Some(percent_encode(text, place).into()),
        }
    }
}

/// Where a text stands; in a list, a comma would be taken for the end of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Alone,
    InList,
}

/// Visible ASCII with spaces inside: what every upstream reads in the same way.
fn is_plain(text: &str, place: Place) -> bool {
    text.bytes()
        .all(|b| matches!(b, b' '..=b'~') && (place == Place::Alone || b != b','))
        && !text.starts_with(' ')
        && !text.ends_with(' ')
}

fn percent_encode(text: &str, place: Place) -> String {
    let last = text.len() - 1;
    let mut out = String::with_capacity(text.len());
    for (index, b) in text.bytes().enumerate() {
        let stands = match b {
            b'%' => false,
            b' ' => index != 0 && index != last,
            b',' => place == Place::Alone,
            b => b.is_ascii_graphic(),
        };
        if stands {
            out.push(char::from(b));
        } else {
            out.push('%');
            out.push(hex_digit(b >> 4));
            out.push(hex_digit(b & 15));
        }
    }
    out
}

fn hex_digit(value: u8) -> char {
    char::from(b"0123456789ABCDEF"[usize::from(value & 15)])
}

/// More than any name, mail address or list of roles that a header is good for.
const MAX_VALUE_BYTES: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn rule(claim: &[&str], presence: Presence, encoding: Encoding) -> IdentityRule {
        let path = ClaimPath::new(claim.iter().map(|&name| name.to_owned()).collect()).unwrap();
        IdentityRule::new(HeaderName::from_static("x-claim"), path, presence, encoding)
    }

    fn members(claims: &Value) -> Members {
        Members::parse(&claims.to_string()).unwrap()
    }

    fn plain(value: Value) -> Result<Option<HeaderValue>, ClaimUnusable> {
        let claims = json!({ "c": value });
        rule(&["c"], Presence::Required, Encoding::Plain).value(&members(&claims))
    }

    #[test]
    fn forwardable_values_are_written_as_they_are() {
        for (value, written) in [
            (json!("alice"), "alice"),
            (json!("Alice B"), "Alice B"),
            (json!(7), "7"),
            (json!(-7), "-7"),
            (json!(true), "true"),
            (json!(["a", "b"]), "a,b"),
            (json!("a,b"), "a,b"),
        ] {
            assert_eq!(
                plain(value.clone()),
                Ok(Some(HeaderValue::from_static(written))),
                "{value}"
            );
        }
    }

    #[test]
    fn t49_t50_t77_what_cannot_be_a_field_value_is_unusable() {
        for value in [
            json!(""),
            json!(null),
            json!(1.5),
            json!({}),
            json!([]),
            json!(["a,b"]),
            json!(["a", 1]),
            json!([""]),
            json!("é"),
            json!(" a"),
            json!("a "),
            json!("a\r\nX-Role: admin"),
            json!("a\0"),
            json!("\u{7f}"),
            json!("x".repeat(MAX_VALUE_BYTES + 1)),
        ] {
            assert_eq!(plain(value.clone()), Err(ClaimUnusable), "{value:.60}");
        }
    }

    #[test]
    fn t77_an_optional_claim_is_left_out_when_missing_or_unusable() {
        let rule = rule(&["c"], Presence::Optional, Encoding::Plain);
        for claims in [json!({}), json!({"c": "é"}), json!({"c": 1.5})] {
            assert_eq!(rule.value(&members(&claims)), Ok(None), "{claims}");
        }
    }

    #[test]
    fn a_path_walks_into_objects_and_a_single_name_does_not() {
        let claims = json!({"a": {"b": "deep"}, "a.b": "flat"});
        let claims = members(&claims);
        let deep = rule(&["a", "b"], Presence::Required, Encoding::Plain).value(&claims);
        let flat = rule(&["a.b"], Presence::Required, Encoding::Plain).value(&claims);
        assert_eq!(deep, Ok(Some(HeaderValue::from_static("deep"))));
        assert_eq!(flat, Ok(Some(HeaderValue::from_static("flat"))));
    }

    fn decode(text: &str) -> Vec<u8> {
        let mut bytes = text.bytes();
        let mut out = Vec::new();
        while let Some(b) = bytes.next() {
            out.push(if b == b'%' {
                let hex = [bytes.next().unwrap(), bytes.next().unwrap()];
                u8::from_str_radix(str::from_utf8(&hex).unwrap(), 16).unwrap()
            } else {
                b
            });
        }
        out
    }

    proptest! {
        #[test]
        fn f15_percent_encoding_can_always_be_undone(text in "\\PC{1,40}|[ -~]{1,20}") {
            for place in [Place::Alone, Place::InList] {
                let encoded = percent_encode(&text, place);
                prop_assert!(is_plain(&encoded, place));
                prop_assert_eq!(decode(&encoded), text.as_bytes());
            }
        }
    }
}
