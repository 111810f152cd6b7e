//! JSON without two readings (RFC 8259): a document means one thing or it is refused.
//!
//! Tokens and key sets come from strangers, and two parsers that disagree about a document are a
//! way around the one that decides. So a name may appear once in an object (RFC 7515 §4, RFC 7517
//! §4 leave the choice between refusing and taking the last; we refuse), nesting is bounded,
//! numbers fit, and nothing follows the value. What the members mean is for the callers.

mod members;

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

pub use members::{Member, Members};

/// Why a document was refused, and at which line and column.
///
/// The text can quote a member's name, never a value.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct JsonError(#[from] serde_json::Error);

impl JsonError {
    /// Whether the document ends too soon.
    pub fn is_cut_short(&self) -> bool {
        self.0.is_eof()
    }
}

/// Parses one whole JSON document.
///
/// Memory is bounded by a small multiple of the input, so callers bound the input.
///
/// # Errors
/// Malformed JSON or UTF-8, a byte order mark, a name twice in one object at any depth (compared
/// after unescaping), more than [`MAX_DEPTH`] nested arrays and objects, a number that does not
/// fit, anything but white space after the value.
pub fn parse(document: &[u8]) -> Result<Value, JsonError> {
    let mut deserializer = serde_json::Deserializer::from_slice(document);
    let value = Strict { depth: 0 }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// Checks one value that stands in an object.
fn parse_nested(value: &str) -> Result<(), JsonError> {
    let mut deserializer = serde_json::Deserializer::from_str(value);
    Strict { depth: 1 }.deserialize(&mut deserializer)?;
    Ok(deserializer.end()?)
}

/// A value below `depth` open arrays and objects.
#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            return Err(E::custom(format_args!(
                "nested deeper than {MAX_DEPTH} levels"
            )));
        }
        Ok(Self {
            depth: self.depth + 1,
        })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut array = Vec::new();
        while let Some(element) = elements.next_element_seed(inner)? {
            array.push(element);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                return Err(twice(&name));
            }
            let value = members.next_value_seed(inner)?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

/// The error for a repeated member; the name is quoted, escaped and cut to a readable length.
fn twice<E: Error>(name: &str) -> E {
    let shown: String = name.chars().take(MAX_QUOTED_CHARS).collect();
    E::custom(format_args!("member {shown:?} appears twice in one object"))
}

/// How many arrays and objects may be open at once: far more than any token or key needs, far
/// less than any stack has.
pub const MAX_DEPTH: usize = 32;

const MAX_QUOTED_CHARS: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn refusal(document: &str) -> String {
        parse(document.as_bytes()).expect_err(document).to_string()
    }

    #[test]
    fn every_kind_of_value_is_read() {
        let document = br#" {"a":[null,true,-1,18446744073709551615,0.5,"\u00e9"],"b":{}} "#;
        let expected = json!({"a": [null, true, -1, u64::MAX, 0.5, "é"], "b": {}});
        assert_eq!(parse(document).unwrap(), expected);
    }

    #[test]
    fn a_repeated_name_is_refused_at_any_depth_and_in_any_spelling() {
        for document in [
            r#"{"alg":1,"alg":1}"#,
            r#"{"alg":1,"x":2,"\u0061lg":3}"#,
            r#"{"x":[{"y":{"alg":1,"alg":2}}]}"#,
            r#"{"":1,"":2}"#,
        ] {
            assert!(
                refusal(document).contains("appears twice in one object"),
                "{document}"
            );
        }
        assert!(parse(br#"{"alg":1,"ALG":{"alg":2}}"#).is_ok());
    }

    #[test]
    fn a_repeated_name_is_named_with_its_place_but_not_its_values() {
        let text = refusal(r#"{"k":"hunter2","k":"hunter3"}"#);
        assert!(
            text.starts_with(r#"member "k" appears twice in one object at line 1 column"#),
            "{text}"
        );
        assert!(!text.contains("hunter"), "{text}");
        assert!(refusal(&format!(r#"{{"{0}":1,"{0}":2}}"#, "n".repeat(9999))).len() < 200);
    }

    #[test]
    fn nesting_ends_at_the_limit() {
        let nested = |open: &str, close: &str, levels: usize| {
            format!("{}1{}", open.repeat(levels), close.repeat(levels))
        };
        for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
            assert!(parse(nested(open, close, MAX_DEPTH).as_bytes()).is_ok());
            assert!(refusal(&nested(open, close, MAX_DEPTH + 1)).contains("nested deeper than 32"));
            assert!(parse(open.repeat(1_000_000).as_bytes()).is_err());
        }
    }

    #[test]
    fn what_is_not_one_json_document_is_refused() {
        for document in [
            "",
            " ",
            "{",
            "{}x",
            "{} {}",
            "[1,]",
            r#"{"a":1,}"#,
            "{'a':1}",
            "nan",
            "Infinity",
            "01",
            "+1",
            "1e400",
            "-1e400",
            "// c\n1",
            "\u{feff}{}",
            r#""\ud800""#,
            "\"\n\"",
        ] {
            assert!(parse(document.as_bytes()).is_err(), "{document:?}");
        }
        assert!(parse(b"\"\xff\"").is_err());
        assert!(
            parse(
                "\u{feff}1"
                    .encode_utf16()
                    .flat_map(u16::to_be_bytes)
                    .collect::<Vec<_>>()
                    .as_slice()
            )
            .is_err()
        );
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 64, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(".*", inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(value in any_value()) {
            let document = serde_json::to_vec(&value).unwrap();
            prop_assert_eq!(parse(&document).unwrap(), value);
        }

        #[test]
        fn a_cut_object_is_refused(members in prop::collection::btree_map("[a-z]*", any_value(), 0..4), at in any::<prop::sample::Index>()) {
            let document = serde_json::to_vec(&members).unwrap();
            prop_assert!(parse(&document[..at.index(document.len())]).is_err());
        }

        #[test]
        fn any_bytes_are_answered_as_serde_json_would_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(value) = parse(&bytes) {
                prop_assert_eq!(serde_json::from_slice::<Value>(&bytes).unwrap(), value);
            }
        }

        #[test]
        fn json_like_text_is_answered_as_serde_json_would_or_refused(text in r#"[\[\]{}:,"a\\u0-9eE.+ -]{0,40}"#) {
            if let Ok(value) = parse(text.as_bytes()) {
                prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
            }
        }
    }
}
