//! How one value of an access event is written: printable ASCII, whatever it holds.
//!
//! Every request writes nineteen of them, so nothing here goes through `fmt` that need not.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use itoa::Integer;
use jiff::Timestamp;

/// What stands behind a field's name.
pub(super) enum Value<'a> {
    /// Text from the wire, and how many bytes of it are written at most.
    Untrusted(&'a str, usize),
    /// Text of the operator's or our own.
    Configured(&'a str),
    /// Text of our own that nothing has to be done about.
    Plain(&'a str),
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
    ///
    /// Inlined, as whoever writes a field knows which kind it is.
    #[inline(always)]
    pub(super) fn write_json(&self, out: &mut String) {
        match *self {
            Self::Untrusted(text, cap) => write_quoted(out, text, cap),
            Self::Configured(text) => write_quoted(out, text, usize::MAX),
            Self::Plain(_) | Self::Peer(_) | Self::Address(_) => {
                out.push('"');
                self.write_text(out);
                out.push('"');
            }
            Self::Number(number) => write_number(out, number),
            Self::Milliseconds(duration) => write_milliseconds(out, duration),
            Self::Absent => out.push_str("null"),
        }
    }

    /// Writes the value for people: as JSON does where a bare word could be misread.
    pub(super) fn write_text(&self, out: &mut String) {
        match *self {
            Self::Untrusted(text, cap) => write_bare_or_quoted(out, text, cap),
            Self::Configured(text) => write_bare_or_quoted(out, text, usize::MAX),
            Self::Plain(text) => out.push_str(text),
            Self::Peer(peer) => write_peer(out, peer),
            Self::Address(address) => write_address(out, address),
            Self::Number(_) | Self::Milliseconds(_) | Self::Absent => self.write_json(out),
        }
    }
}

/// Times as text. Requests come in crowds, so the text of the last second is kept.
#[derive(Debug)]
pub(super) struct Dates {
    /// Seconds since 1970.
    second: u64,
    text: String,
}

impl Default for Dates {
    fn default() -> Self {
        Self {
            second: 0,
            text: second_as_text(0),
        }
    }
}

impl Dates {
    /// The time as RFC 3339 can write it, to the millisecond. A clock before 1970 or beyond the
    /// year 9999 is wrong anyway and reads as the epoch.
    pub(super) fn text(&mut self, time: SystemTime) -> &str {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let since = Some(since)
            .filter(|since| since.as_secs() <= LAST_SECOND)
            .unwrap_or_default();
        if since.as_secs() != self.second {
            self.second = since.as_secs();
            self.text = second_as_text(self.second);
        }
        self.text.truncate(UP_TO_SECONDS);
        self.text.push('.');
        write_three_digits(&mut self.text, since.subsec_millis());
        self.text.push('Z');
        &self.text
    }
}

fn second_as_text(second: u64) -> String {
    let whole = i64::try_from(second)
        .ok()
        .and_then(|second| Timestamp::from_second(second).ok())
        .unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{whole:.0}")
}

/// Writes `text` as a JSON string of printable ASCII. Beyond `cap` bytes it is cut at a character's
/// edge and `...[+N]` says how many bytes are missing.
fn write_quoted(out: &mut String, text: &str, cap: usize) {
    let kept = &text[..text.floor_char_boundary(cap)];
    out.push('"');
    if kept.bytes().all(is_plain) {
        out.push_str(kept);
    } else {
        write_escaped(out, kept);
    }
    if kept.len() < text.len() {
        out.push_str("...[+");
        write_number(out, text.len() - kept.len());
        out.push(']');
    }
    out.push('"');
}

fn write_escaped(out: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            ' '..='~' => out.push(character),
            other => {
                // RFC 8259 §7: beyond the Basic Multilingual Plane as a pair of surrogates.
                for unit in other.encode_utf16(&mut [0; 2]) {
                    out.push_str("\\u");
                    for nibble in [*unit >> 12, *unit >> 8, *unit >> 4, *unit] {
                        let digit = char::from_digit(u32::from(nibble & 15), 16);
                        out.push(digit.expect("four bits are a digit"));
                    }
                }
            }
        }
    }
}

/// Writes `text` without quotes if nobody could misread it.
fn write_bare_or_quoted(out: &mut String, text: &str, cap: usize) {
    let bare = |byte: u8| is_plain(byte) && !matches!(byte, b' ' | b'=');
    if !text.is_empty() && text.len() <= cap && text.bytes().all(bare) {
        out.push_str(text);
    } else {
        write_quoted(out, text, cap);
    }
}

/// Whether a byte is a character that stands for itself inside quotes.
const fn is_plain(byte: u8) -> bool {
    PLAIN[byte as usize]
}

/// Looked up, as nearly every text is too short for anything faster.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = b' ';
    while byte <= b'~' {
        plain[byte as usize] = !matches!(byte, b'"' | b'\\');
        byte += 1;
    }
    plain
};

fn write_peer(out: &mut String, peer: SocketAddr) {
    match peer {
        SocketAddr::V4(_) => write_address(out, peer.ip()),
        // With its scope, if it has one.
        SocketAddr::V6(peer) => return out.push_str(&peer.to_string()),
    }
    out.push(':');
    write_number(out, peer.port());
}

/// Writes an address in its usual form (RFC 5952 for IPv6).
pub(super) fn write_address(out: &mut String, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            let [first, rest @ ..] = address.octets();
            write_octet(out, first);
            for octet in rest {
                out.push('.');
                write_octet(out, octet);
            }
        }
        IpAddr::V6(address) => out.push_str(&address.to_string()),
    }
}

fn write_milliseconds(out: &mut String, duration: Duration) {
    write_number(out, duration.as_millis());
    out.push('.');
    write_three_digits(out, duration.subsec_micros() % 1000);
}

fn write_number(out: &mut String, number: impl Integer) {
    out.push_str(itoa::Buffer::new().format(number));
}

fn write_octet(out: &mut String, octet: u8) {
    if octet >= 100 {
        out.push(last_digit(u32::from(octet / 100)));
    }
    if octet >= 10 {
        out.push(last_digit(u32::from(octet / 10)));
    }
    out.push(last_digit(u32::from(octet)));
}

/// A number below 1000.
fn write_three_digits(out: &mut String, number: u32) {
    for power in [100, 10, 1] {
        out.push(last_digit(number / power));
    }
}

fn last_digit(number: u32) -> char {
    char::from(b'0' + (number % 10) as u8)
}

/// 9999-12-31T23:59:59Z.
const LAST_SECOND: u64 = 253_402_300_799;

/// The bytes of `2026-01-01T00:00:00`.
const UP_TO_SECONDS: usize = 19;
