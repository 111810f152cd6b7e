//! An object read in place: its text, and where each member stands in it.
//!
//! It is as strict as [`parse`](super::parse), and takes a tenth of the room and of the pieces of
//! memory that a tree of values does.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::ops::Range;

use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{JsonError, parse_nested, twice};

/// The members of one JSON object, at most 64 KiB long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Members {
    /// The document, and behind it the names that are spelt with escapes, without them.
    text: Box<str>,
    places: Vec<Place>,
}

/// Where a member's name and its value stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    name: Span,
    value: Span,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    start: u16,
    end: u16,
}

impl Members {
    /// Reads one whole document, which must be an object.
    ///
    /// # Errors
    /// As [`parse`](super::parse); also what is no object, or too long.
    pub fn parse(document: &str) -> Result<Self, JsonError> {
        let mut deserializer = serde_json::Deserializer::from_str(document);
        let found = deserializer.deserialize_map(Reader { document })?;
        deserializer.end()?;
        Ok(found)
    }

    /// A member's value.
    pub fn get(&self, name: &str) -> Option<Member<'_>> {
        let place = self
            .places
            .iter()
            .find(|place| self.at(place.name) == name)?;
        Some(Member(self.at(place.value)))
    }

    /// About how many bytes of memory it holds beside its own size.
    pub fn heap_bytes(&self) -> usize {
        self.text.len() + self.places.capacity() * size_of::<Place>()
    }

    fn at(&self, span: Span) -> &str {
        &self.text[span.range()]
    }
}

/// The value of a member, as JSON that was read once already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member<'m>(&'m str);

impl<'m> Member<'m> {
    /// The text of a string. It is copied only if it is spelt with escapes.
    pub fn text(self) -> Option<Cow<'m, str>> {
        let inner = self.0.strip_prefix('"')?.strip_suffix('"')?;
        if inner.contains('\\') {
            return serde_json::from_str(self.0).ok().map(Cow::Owned);
        }
        Some(Cow::Borrowed(inner))
    }

    /// A whole number that is not negative and is spelt with digits alone.
    pub fn whole(self) -> Option<u64> {
        self.0.parse().ok()
    }

    /// Whatever it is.
    pub fn value(self) -> Option<Value> {
        // It was read once already, so this cannot fail.
        serde_json::from_str(self.0).ok()
    }
}

/// Reads the object that is the whole document.
struct Reader<'d> {
    document: &'d str,
}

impl<'d> Visitor<'d> for Reader<'d> {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'d>>(self, mut members: A) -> Result<Members, A::Error> {
        let mut names = Names::of(self.document);
        let mut places = Vec::with_capacity(USUAL_MEMBERS);
        while let Some(name) = members.next_key::<CowStr<'d>>()? {
            let value: &'d RawValue = members.next_value()?;
            check(value.get()).map_err(A::Error::custom)?;
            places.push(Place {
                name: names.add(name.0, &places)?,
                value: span_in(self.document, value.get())?,
            });
        }
        Ok(Members {
            text: [self.document, &names.unescaped].concat().into(),
            places,
        })
    }
}

impl Span {
    const fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// Where a part of the document stands in it.
fn span_in<E: Error>(document: &str, part: &str) -> Result<Span, E> {
    let start = part.as_ptr().addr() - document.as_ptr().addr();
    span(start..start + part.len())
}

fn span<E: Error>(range: Range<usize>) -> Result<Span, E> {
    match (u16::try_from(range.start), u16::try_from(range.end)) {
        (Ok(start), Ok(end)) => Ok(Span { start, end }),
        _ => Err(E::custom("longer than 64 KiB")),
    }
}

/// A value's syntax has been looked at; this is about what it means. Strings without escapes,
/// literals, and whole numbers that fit whatever their digits mean what they say.
fn check(value: &str) -> Result<(), JsonError> {
    let is_digits = || value.bytes().all(|b| b.is_ascii_digit());
    match value.as_bytes().first() {
        Some(b'"') if !value.contains('\\') => Ok(()),
        Some(b't' | b'f' | b'n') => Ok(()),
        Some(b'0'..=b'9') if value.len() <= DIGITS_THAT_FIT && is_digits() => Ok(()),
        _ => parse_nested(value),
    }
}

/// The names of an object. Tokens have a handful; a hostile document has a thousand.
struct Names<'d> {
    document: &'d str,
    /// Those that are spelt with escapes, without them.
    unescaped: String,
    /// All, once they are many.
    many: HashSet<String>,
}

impl<'d> Names<'d> {
    fn of(document: &'d str) -> Self {
        Self {
            document,
            unescaped: String::new(),
            many: HashSet::new(),
        }
    }

    fn at(&self, span: Span) -> &str {
        let Range { start, end } = span.range();
        let length = self.document.len();
        if start < length {
            &self.document[start..end]
        } else {
            &self.unescaped[start - length..end - length]
        }
    }

    /// Where one more name is to be found, beside those of the members before it.
    fn add<E: Error>(&mut self, name: Cow<'d, str>, before: &[Place]) -> Result<Span, E> {
        let is_new = if before.len() < FEW {
            !before.iter().any(|place| self.at(place.name) == name)
        } else {
            if self.many.is_empty() {
                let names = before.iter().map(|place| self.at(place.name).to_owned());
                self.many = names.collect();
            }
            self.many.insert(name.clone().into_owned())
        };
        if !is_new {
            return Err(twice(&name));
        }
        match name {
            Cow::Borrowed(name) => span_in(self.document, name),
            Cow::Owned(name) => {
                let start = self.document.len() + self.unescaped.len();
                self.unescaped.push_str(&name);
                span(start..start + name.len())
            }
        }
    }
}

/// A name, borrowed from the document unless it is spelt with escapes.
#[derive(serde::Deserialize)]
#[serde(transparent)]
struct CowStr<'d>(#[serde(borrow)] Cow<'d, str>);

/// Whatever digits: the largest number has one more.
const DIGITS_THAT_FIT: usize = 19;

/// So many are searched one by one.
const FEW: usize = 32;

/// As many as most tokens have.
const USUAL_MEMBERS: usize = 12;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::json;

    fn text<'m>(members: &'m Members, name: &str) -> Option<Cow<'m, str>> {
        members.get(name)?.text()
    }

    fn value(members: &Members, name: &str) -> Option<Value> {
        members.get(name)?.value()
    }

    #[test]
    fn members_are_found_whatever_their_spelling() {
        let members =
            Members::parse(r#" { "a" : "x" , "\u0062":"\u0079\n", "c":[1, {"d":null}], "":0 } "#)
                .unwrap();
        assert_eq!(text(&members, "a"), Some(Cow::Borrowed("x")));
        assert_eq!(text(&members, "b").as_deref(), Some("y\n"));
        assert_eq!(value(&members, "c"), Some(json!([1, {"d": null}])));
        assert_eq!(value(&members, ""), Some(json!(0)));
        assert_eq!((text(&members, "c"), text(&members, "d")), (None, None));
        assert_eq!(members.get("d"), None);
    }

    #[test]
    fn a_name_twice_is_refused_in_a_small_object_and_in_a_large_one() {
        for others in [0, 2 * FEW] {
            let filler: String = (0..others).map(|n| format!(r#""n{n}":{n},"#)).collect();
            for (one, other) in [("k", "k"), ("k", "\\u006b"), ("\\u006b", "k")] {
                let document = format!(r#"{{"{one}":1,{filler}"{other}":2}}"#);
                let error = Members::parse(&document).unwrap_err().to_string();
                assert!(error.contains("appears twice"), "{error}");
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(1 << 16));
        assert!(Members::parse(&long).is_err());
        for no_object in ["", "[]", "null", "1", r#""a""#, "{}x", "{} {}"] {
            assert!(Members::parse(no_object).is_err(), "{no_object}");
        }
    }

    /// Documents that are objects or nearly so.
    fn document() -> impl Strategy<Value = String> {
        let value = r#"(null|true|-?[0-9]{1,3}|1e400|"[ab\\nu0-9d]{0,6}"|\[[0-9,]{0,4}\]|\{"a":1,"[ab]":2\})"#;
        prop::collection::vec((r#"[abc]|\\u006[1-3]"#, value), 0..4).prop_map(|members| {
            let text = |(name, value): &(String, String)| format!(r#""{name}":{value}"#);
            format!(
                "{{{}}}",
                members.iter().map(text).collect::<Vec<_>>().join(",")
            )
        })
    }

    proptest! {
        #[test]
        fn it_is_as_strict_as_the_tree_and_says_the_same(document in document()) {
            let tree = json::parse(document.as_bytes());
            let members = Members::parse(&document);
            prop_assert_eq!(tree.is_ok(), members.is_ok(), "{} {:?} {:?}", document, tree, members);
            if let (Ok(Value::Object(tree)), Ok(members)) = (tree, members) {
                prop_assert_eq!(tree.len(), members.places.len());
                for (name, value) in &tree {
                    let member = members.get(name).unwrap();
                    let text = member.text();
                    prop_assert_eq!(text.as_deref(), value.as_str());
                    prop_assert_eq!(member.whole(), value.as_u64());
                    prop_assert_eq!(member.value(), Some(value.clone()));
                }
            }
        }

        #[test]
        fn nesting_ends_where_it_does_in_the_tree(levels in 28_usize..36) {
            let document = format!(r#"{{"a":{}1{}}}"#, "[".repeat(levels), "]".repeat(levels));
            prop_assert_eq!(
                Members::parse(&document).is_ok(),
                json::parse(document.as_bytes()).is_ok()
            );
        }
    }
}
