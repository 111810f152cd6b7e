//! The canonical path: percent-encoded unreserved characters decoded, hexadecimal digits in upper
//! case, nothing else changed (RFC 3986 §6.2.2.1–2).
//!
//! That one form is decided on *and* forwarded, so no upstream can see another path; for a route,
//! its segments are [compared] so that both spellings of a character lead to the same one. What an
//! upstream might still read as another path (dot segments, encoded slashes, empty segments, bytes
//! that are not UTF-8) is refused, never repaired: a repaired path is a path that nobody asked for.
//! Nothing is decoded twice: `%25` stays `%25`.

use std::borrow::Cow;
use std::ops::Range;

use memchr::memchr2;

use super::ambiguity::Ambiguity;

/// The canonical form of `raw`, which is `raw` itself unless an escape had to change.
///
/// One pass, at most one allocation. The result is printable ASCII and its own canonical form.
///
/// # Errors
/// The first thing, from the left, that is refused.
pub(super) fn canonicalize(raw: &str) -> Result<Cow<'_, str>, Ambiguity> {
    let bytes = raw.as_bytes();
    if bytes.first() != Some(&b'/') {
        return Err(Ambiguity::PathNotAbsolute);
    }
    let mut canonical = Rewrite::of(raw);
    let mut segment = Segment::Empty;
    let mut at = 1;
    while let Some(&byte) = bytes.get(at) {
        let mut end = at + 1;
        match byte {
            b'/' => segment = segment.next()?,
            b'%' => {
                let character = unescape(&bytes[at..])?;
                end = at + ESCAPE_LEN * character.len_utf8();
                canonical.escape(at..end, character);
                segment = segment.with(character)?;
            }
            b'\\' => return Err(Ambiguity::Backslash),
            _ if byte.is_ascii_control() => return Err(Ambiguity::ControlCharacter),
            _ if is_allowed_raw(byte) => segment = segment.with(char::from(byte))?,
            _ => return Err(Ambiguity::PathCharacter),
        }
        at = end;
    }
    segment.end()?;
    Ok(canonical.finish())
}

/// A segment of a canonical path as it is compared with others: what may stand in a path as it is
/// or escaped (`@` and `%40`) is the same, for most upstreams take it for the same. Forwarded is
/// what the client wrote, since to some it is not.
pub(super) fn compared(segment: &str) -> Cow<'_, str> {
    let mut compared = Rewrite::of(segment);
    for (at, _) in segment.match_indices('%') {
        match escaped_byte(&segment.as_bytes()[at..]) {
            Ok(byte) if is_allowed_raw(byte) => {
                compared.replace(at..at + ESCAPE_LEN, [char::from(byte)]);
            }
            Ok(_) | Err(_) => {}
        }
    }
    compared.finish()
}

/// A canonical path without what follows a `;` in each segment, escaped or not; `None` if nothing
/// does.
///
/// # Errors
/// What is refused of any other path: a segment of nothing but parameters is an empty one.
pub(super) fn without_parameters(path: &str) -> Option<Result<String, Ambiguity>> {
    memchr2(b';', b'%', path.as_bytes())?;
    if !path.contains(';') && !path.contains(ESCAPED_SEMICOLON) {
        return None;
    }
    let segments = path.split('/').map(|segment| {
        let name = segment.split(';').next().unwrap_or_default();
        name.split(ESCAPED_SEMICOLON).next().unwrap_or_default()
    });
    let path = segments.collect::<Vec<_>>().join("/");
    Some(canonicalize(&path).map(Cow::into_owned))
}

/// The character that the escapes at the start of `bytes` stand for: one escape, or as many as
/// its UTF-8 form has bytes.
fn unescape(bytes: &[u8]) -> Result<char, Ambiguity> {
    let lead = escaped_byte(bytes)?;
    let len = match lead {
        0x00..=0x7F => 1,
        0x80..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xFF => 4,
    };
    let mut utf8 = [lead, 0, 0, 0];
    for (index, byte) in utf8[..len].iter_mut().enumerate().skip(1) {
        let rest = &bytes[index * ESCAPE_LEN..];
        if rest.first() != Some(&b'%') {
            return Err(Ambiguity::InvalidUtf8);
        }
        *byte = escaped_byte(rest)?;
    }
    // The standard library knows every overlong form, surrogate and stray continuation.
    let text = std::str::from_utf8(&utf8[..len]).map_err(|_| Ambiguity::InvalidUtf8)?;
    match text.chars().next() {
        Some('/') => Err(Ambiguity::EncodedSlash),
        Some('\\') => Err(Ambiguity::Backslash),
        Some(character) if character.is_control() => Err(Ambiguity::ControlCharacter),
        Some(character) => Ok(character),
        None => Err(Ambiguity::InvalidUtf8),
    }
}

/// The byte that the escape at the start of `bytes` stands for.
fn escaped_byte(bytes: &[u8]) -> Result<u8, Ambiguity> {
    let digit = |at: usize| {
        bytes
            .get(at)
            .and_then(|&byte| char::from(byte).to_digit(16))
    };
    match (digit(1), digit(2)) {
        (Some(high), Some(low)) => {
            u8::try_from(high * 16 + low).map_err(|_| Ambiguity::MalformedEscape)
        }
        (None, _) | (_, None) => Err(Ambiguity::MalformedEscape),
    }
}

/// What a segment is made of so far. Only dots at its start matter.
#[derive(Clone, Copy)]
enum Segment {
    Empty,
    Dot,
    DotDot,
    Name,
}

impl Segment {
    /// The segment with one more character, which may have been an escape.
    ///
    /// A `;` after the dots starts parameters, and some upstreams drop those before they walk the
    /// path; a few even when the `;` itself was escaped, so both spellings count.
    fn with(self, character: char) -> Result<Self, Ambiguity> {
        match (self, character) {
            (Self::Empty, '.') => Ok(Self::Dot),
            (Self::Dot, '.') => Ok(Self::DotDot),
            (Self::Dot | Self::DotDot, ';') => Err(Ambiguity::DotSegment),
            (Self::Empty | Self::Dot | Self::DotDot | Self::Name, _) => Ok(Self::Name),
        }
    }

    /// A slash ends this segment and begins another.
    fn next(self) -> Result<Self, Ambiguity> {
        match self {
            Self::Empty => Err(Ambiguity::EmptySegment),
            Self::Dot | Self::DotDot | Self::Name => self.end().map(|()| Self::Empty),
        }
    }

    /// This segment ends; an empty one at the path's end is its final slash.
    fn end(self) -> Result<(), Ambiguity> {
        match self {
            Self::Dot | Self::DotDot => Err(Ambiguity::DotSegment),
            Self::Empty | Self::Name => Ok(()),
        }
    }
}

/// A copy of `raw` that comes into being with the first difference.
struct Rewrite<'a> {
    raw: &'a str,
    /// How much of `raw` is in `text`, in one form or the other.
    done: usize,
    text: String,
}

impl<'a> Rewrite<'a> {
    fn of(raw: &'a str) -> Self {
        Self {
            raw,
            done: 0,
            text: String::new(),
        }
    }

    /// Writes the escapes at `range`, which stand for `character`, in their canonical form.
    fn escape(&mut self, range: Range<usize>, character: char) {
        let written = &self.raw[range.clone()];
        if is_unreserved(character) {
            self.replace(range, [character]);
        } else if written.bytes().any(|byte| byte.is_ascii_lowercase()) {
            self.replace(
                range,
                written.chars().map(|digit| digit.to_ascii_uppercase()),
            );
        }
    }

    fn replace(&mut self, range: Range<usize>, with: impl IntoIterator<Item = char>) {
        if self.done == 0 {
            self.text.reserve_exact(self.raw.len());
        }
        self.text.push_str(&self.raw[self.done..range.start]);
        self.text.extend(with);
        self.done = range.end;
    }

    fn finish(mut self) -> Cow<'a, str> {
        if self.done == 0 {
            return Cow::Borrowed(self.raw);
        }
        self.text.push_str(&self.raw[self.done..]);
        Cow::Owned(self.text)
    }
}

/// RFC 3986 §2.3.
fn is_unreserved(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '-' | '.' | '_' | '~')
}

/// `pchar` without escapes (RFC 3986 §3.3), and `[ ] |`, which browsers send unescaped.
fn is_allowed_raw(byte: u8) -> bool {
    is_unreserved(char::from(byte)) || b"!$&'()*+,;=:@[]|".contains(&byte)
}

/// `%` and two digits.
const ESCAPE_LEN: usize = 3;

/// In canonical form.
const ESCAPED_SEMICOLON: &str = "%3B";

#[cfg(test)]
mod tests;
