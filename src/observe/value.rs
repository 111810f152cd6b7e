//! How one value of an access event is written: printable ASCII, whatever it holds.

use std::fmt::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

/// What stands behind a field's name.
pub(super) enum Value<'a> {
    /// Text from the wire, and how many bytes of it are written at most.
    Untrusted(&'a str, usize),
    /// Text of the operator's or our own.
    Configured(&'a str),
    /// An instant.
    Time(SystemTime),
    /// The other end of a connection.
    Peer(SocketAddr),
    /// An address without a port.
    Address(IpAddr),
    /// A count or a code.
    Number(u64),
    /// A span of time, written in milliseconds with three decimals.
    Milliseconds(Duration),
    /// Nothing is known.
    Absent,
}

impl<'a> Value<'a> {
    pub(super) fn untrusted(text: Option<&'a str>, cap: usize) -> Self {
        text.map_or(Self::Absent, |text| Self::Untrusted(text, cap))
    }

    pub(super) fn configured(text: Option<&'a str>) -> Self {
        text.map_or(Self::Absent, Self::Configured)
    }

    /// Writes the value as JSON.
    pub(super) fn write_json(&self, out: &mut String) -> fmt::Result {
        match *self {
            Self::Untrusted(text, cap) => write_quoted(out, text, cap),
            Self::Configured(text) => write_quoted(out, text, usize::MAX),
            Self::Time(time) => write!(out, "\"{:.3}\"", timestamp(time)),
            Self::Peer(peer) => write!(out, "\"{peer}\""),
            Self::Address(address) => write!(out, "\"{address}\""),
            Self::Number(number) => write!(out, "{number}"),
            Self::Milliseconds(duration) => write_milliseconds(out, duration),
            Self::Absent => out.write_str("null"),
        }
    }

    /// Writes the value for people: as JSON does where a bare word could be misread.
    pub(super) fn write_text(&self, out: &mut String) -> fmt::Result {
        match *self {
            Self::Untrusted(text, cap) => write_bare_or_quoted(out, text, cap),
            Self::Configured(text) => write_bare_or_quoted(out, text, usize::MAX),
            Self::Time(time) => write!(out, "{:.3}", timestamp(time)),
            Self::Peer(peer) => write!(out, "{peer}"),
            Self::Address(address) => write!(out, "{address}"),
            Self::Number(_) | Self::Milliseconds(_) | Self::Absent => self.write_json(out),
        }
    }
}

/// Writes `text` as a JSON string of printable ASCII. Beyond `cap` bytes it is cut at a character's
/// edge and `...[+N]` says how many bytes are missing.
fn write_quoted(out: &mut String, text: &str, cap: usize) -> fmt::Result {
    let kept = &text[..text.floor_char_boundary(cap)];
    out.write_char('"')?;
    let mut written = 0;
    for (at, character) in kept.char_indices() {
        if is_plain(character) {
            continue;
        }
        out.write_str(&kept[written..at])?;
        written = at + character.len_utf8();
        match character {
            '"' => out.write_str("\\\"")?,
            '\\' => out.write_str("\\\\")?,
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            other => {
                // RFC 8259 §7: beyond the Basic Multilingual Plane as a pair of surrogates.
                for unit in other.encode_utf16(&mut [0; 2]) {
                    write!(out, "\\u{unit:04x}")?;
                }
            }
        }
    }
    out.write_str(&kept[written..])?;
    if kept.len() < text.len() {
        write!(out, "...[+{}]", text.len() - kept.len())?;
    }
    out.write_char('"')
}

/// Writes `text` without quotes if nobody could misread it.
fn write_bare_or_quoted(out: &mut String, text: &str, cap: usize) -> fmt::Result {
    let bare = |character| is_plain(character) && !matches!(character, ' ' | '=');
    if !text.is_empty() && text.len() <= cap && text.chars().all(bare) {
        out.write_str(text)
    } else {
        write_quoted(out, text, cap)
    }
}

/// Whether a character stands for itself inside quotes.
fn is_plain(character: char) -> bool {
    matches!(character, ' '..='~') && !matches!(character, '"' | '\\')
}

fn write_milliseconds(out: &mut String, duration: Duration) -> fmt::Result {
    let micros = duration.as_micros();
    write!(out, "{}.{:03}", micros / 1000, micros % 1000)
}

/// The time as RFC 3339 can write it. A clock before 1970 or beyond the year 9999 is wrong anyway
/// and reads as the epoch.
fn timestamp(time: SystemTime) -> Timestamp {
    match Timestamp::try_from(time) {
        Ok(timestamp) if timestamp >= Timestamp::UNIX_EPOCH => timestamp,
        Ok(_) | Err(_) => Timestamp::UNIX_EPOCH,
    }
}
