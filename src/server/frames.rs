//! Where the frames of HTTP/2 begin, seen byte by byte as they come.
//!
//! h2 counts what small DATA frames take beside what is in them, from when they come until they are
//! read, and ends a connection that has too many of them. It takes all that has come at once, and
//! nobody can read it before it is done. So it is given a few frames at a time; then those who read
//! them have their turn, and all other connections.

/// The frames of one connection.
#[derive(Debug)]
pub(super) struct Frames {
    /// What comes before the next frame's head: the preface, or a payload.
    before_head: usize,
    /// How many bytes of a head have come.
    head: usize,
    /// Its length field, as far as that has come.
    length: usize,
    /// How many frames may still begin in this turn.
    left: usize,
}

impl Frames {
    /// Of a connection that begins with its preface (RFC 9113 §3.4).
    pub(super) fn after_preface() -> Self {
        Self {
            before_head: PREFACE_BYTES,
            head: 0,
            length: 0,
            left: AT_ONCE,
        }
    }

    /// A new turn begins.
    pub(super) fn begin_turn(&mut self) {
        self.left = AT_ONCE;
    }

    /// Whether no more is to be read in this turn.
    pub(super) fn turn_is_over(&self) -> bool {
        self.left == 0
    }

    /// Looks at further bytes: how many of them belong to this turn.
    pub(super) fn see(&mut self, bytes: &[u8]) -> usize {
        let mut seen = 0;
        loop {
            let skipped = self.before_head.min(bytes.len() - seen);
            self.before_head -= skipped;
            seen += skipped;
            if seen == bytes.len() || (self.head == 0 && self.left == 0) {
                return seen;
            }
            let byte = bytes[seen];
            if self.head < LENGTH_BYTES {
                self.length = self.length << 8 | usize::from(byte);
            }
            self.head += 1;
            seen += 1;
            if self.head == HEAD_BYTES {
                self.before_head = std::mem::take(&mut self.length);
                self.head = 0;
                self.left -= 1;
            }
        }
    }
}

const PREFACE_BYTES: usize = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len();

/// A frame's head begins with the length of its payload (RFC 9113 §4.1).
const HEAD_BYTES: usize = 9;
const LENGTH_BYTES: usize = 3;

/// However small its window, h2 takes a hundred frames of one byte from a connection.
const AT_ONCE: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection's bytes with frames of these lengths.
    fn with_frames(lengths: impl IntoIterator<Item = usize>) -> Vec<u8> {
        let mut bytes = vec![b'p'; PREFACE_BYTES];
        for length in lengths {
            bytes.extend(&(length as u32).to_be_bytes()[1..]);
            bytes.extend([0; HEAD_BYTES - LENGTH_BYTES]);
            bytes.extend(vec![0xff; length]);
        }
        bytes
    }

    #[test]
    fn a_turn_is_over_before_the_frame_that_is_one_too_many_wherever_reads_end() {
        let lengths = (0..AT_ONCE + 7).map(|number| [0, 1, 40, 300, 70_000][number % 5]);
        let first = with_frames(lengths.clone().take(AT_ONCE)).len();
        let bytes = with_frames(lengths);
        for read in [1, 2, 7, 1_000, bytes.len()] {
            let (mut frames, mut seen) = (Frames::after_preface(), 0);
            for part in bytes.chunks(read) {
                let in_turn = frames.see(part);
                seen += in_turn;
                if in_turn < part.len() {
                    break;
                }
            }
            assert_eq!((seen, frames.turn_is_over()), (first, true), "{read}");
            frames.begin_turn();
            assert_eq!(frames.see(&bytes[first..]), bytes.len() - first, "{read}");
            assert!(!frames.turn_is_over(), "{read}");
        }
    }
}
