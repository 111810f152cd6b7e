//! As much of WebSocket (RFC 6455) as a gateway needs: proof that an upstream speaks it, and where
//! one frame ends, so that a last one can be put in between.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;

use crate::crypto;

/// What an upstream is challenged with, and must answer to (RFC 6455 §4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Challenge(String);

impl Challenge {
    /// One that nobody has seen before.
    pub(super) fn new() -> Self {
        Self(STANDARD.encode(crypto::random::<16>()))
    }

    /// `Sec-WebSocket-Key`.
    pub(super) fn key(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(&self.0).ok()
    }

    /// Whether this `Sec-WebSocket-Accept` answers it.
    pub(super) fn is_met_by(&self, accept: &HeaderValue) -> bool {
        let expected = crypto::sha1(format!("{}{ACCEPT_SUFFIX}", self.0).as_bytes());
        accept.as_bytes() == STANDARD.encode(expected).as_bytes()
    }
}

/// A closing frame as a server sends it (RFC 6455 §5.5.1).
pub(super) const fn close_frame(code: u16) -> [u8; 4] {
    let [high, low] = code.to_be_bytes();
    [FINAL | CLOSE, 2, high, low]
}

/// Where in a stream of frames one is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Frames {
    header: [u8; MAX_HEADER],
    /// How much of the header has been seen; none between two frames.
    seen: usize,
    /// How much of the payload is still to come.
    payload: u64,
    /// The other side has said its last word itself.
    closed: bool,
}

impl Frames {
    /// Goes on by these bytes, but not beyond the end of the frame that one is in. Returns how
    /// many that were.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> usize {
        let mut used = 0;
        while self.payload == 0 {
            let Some(&byte) = bytes.get(used) else {
                return used;
            };
            self.header[self.seen] = byte;
            self.seen += 1;
            used += 1;
            if self.seen == self.header_length() {
                self.payload = self.payload_length();
                self.closed |= self.header[0] & OPCODE == CLOSE;
                if self.payload == 0 {
                    self.seen = 0;
                    return used;
                }
            }
        }
        let left = bytes.len() - used;
        let taken = usize::try_from(self.payload).map_or(left, |payload| payload.min(left));
        self.payload -= taken as u64;
        if self.payload == 0 {
            self.seen = 0;
        }
        used + taken
    }

    /// Whether one is between two frames, where another one has a place.
    pub(super) const fn is_between(&self) -> bool {
        self.seen == 0 && self.payload == 0
    }

    /// Whether a closing frame has gone by.
    pub(super) const fn is_closed(&self) -> bool {
        self.closed
    }

    /// RFC 6455 §5.2; not known before the second byte.
    const fn header_length(&self) -> usize {
        if self.seen < 2 {
            return MAX_HEADER;
        }
        let mask = if self.header[1] & MASKED == 0 { 0 } else { 4 };
        let extended = match self.header[1] & SHORT_LENGTH {
            SIXTEEN_BITS => 2,
            SIXTY_FOUR_BITS => 8,
            _ => 0,
        };
        2 + extended + mask
    }

    fn payload_length(&self) -> u64 {
        let extended = match self.header[1] & SHORT_LENGTH {
            SIXTEEN_BITS => &self.header[2..4],
            SIXTY_FOUR_BITS => &self.header[2..10],
            short => return short.into(),
        };
        let byte = |length, &byte: &u8| length << 8 | u64::from(byte);
        extended.iter().fold(0, byte)
    }
}

/// RFC 6455 §1.3.
const ACCEPT_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

const FINAL: u8 = 0x80;
const OPCODE: u8 = 0x0f;
const CLOSE: u8 = 0x08;
const MASKED: u8 = 0x80;
const SHORT_LENGTH: u8 = 0x7f;
const SIXTEEN_BITS: u8 = 126;
const SIXTY_FOUR_BITS: u8 = 127;
const MAX_HEADER: usize = 14;

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_challenge_of_the_rfc_is_met_by_its_answer() {
        let challenge = Challenge("dGhlIHNhbXBsZSBub25jZQ==".to_owned());
        let accept = |text| HeaderValue::from_static(text);
        assert!(challenge.is_met_by(&accept("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")));
        assert!(!challenge.is_met_by(&accept("s3pPLMBiTxaQ9kYGzzhZRbK+xOp=")));
        assert_ne!(Challenge::new(), Challenge::new());
    }

    fn frame(opcode: u8, length: usize, masked: bool) -> Vec<u8> {
        let mask = if masked { MASKED } else { 0 };
        let mut frame = vec![FINAL | opcode];
        match length {
            0..=125 => frame.push(mask | length as u8),
            126..=65_535 => {
                frame.push(mask | SIXTEEN_BITS);
                frame.extend((length as u16).to_be_bytes());
            }
            _ => {
                frame.push(mask | SIXTY_FOUR_BITS);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        if masked {
            frame.extend([1, 2, 3, 4]);
        }
        frame.resize(frame.len() + length, 0xff);
        frame
    }

    proptest! {
        #[test]
        fn frames_end_where_they_end_however_they_are_cut(
            lengths in vec(prop_oneof![0_usize..130, 120_usize..140, 65_530_usize..65_540], 1..6),
            masked in any::<bool>(),
            cuts in vec(1_usize..4_000, 1..200),
        ) {
            let mut stream = Vec::new();
            let mut ends = vec![0];
            for length in &lengths {
                stream.extend(frame(2, *length, masked));
                ends.push(stream.len());
            }
            let (mut frames, mut at) = (Frames::default(), 0);
            let mut cuts = cuts.into_iter().cycle();
            while at < stream.len() {
                let piece = &stream[at..stream.len().min(at + cuts.next().unwrap())];
                let used = frames.advance(piece);
                prop_assert!(used > 0);
                at += used;
                prop_assert_eq!(frames.is_between(), ends.contains(&at), "at {}", at);
                // Never beyond the end of a frame.
                prop_assert!(ends.iter().all(|end| *end <= at - used || *end >= at));
            }
            prop_assert!(frames.is_between() && !frames.is_closed());
            frames.advance(&close_frame(1001));
            prop_assert!(frames.is_between() && frames.is_closed());
        }
    }
}
