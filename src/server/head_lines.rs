//! How the lines of an HTTP/1 head end, seen byte by byte as they come.
//!
//! hyper takes a bare LF for the end of a line, which RFC 9112 §2.2 allows. Two programs on one
//! path that do not agree about it can be made to see different fields, so here such a head is
//! refused; and since hyper does not tell, its bytes are looked at on their way in. Where the head
//! ends is all that is found out beside that: what it says is hyper's to read.

use memchr::memchr_iter;

/// What is known of a head that has not ended yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct HeadLines {
    /// The last byte.
    last: u8,
    /// How many bytes the line has so far, its CR included.
    line: usize,
    /// Whether a line with something in it has been seen. Empty lines before the request line
    /// are skipped (RFC 9112 §2.2).
    begun: bool,
    /// Whether a line ended with LF alone.
    bare: bool,
    /// Whether a line began with a zero.
    zero: bool,
}

/// How the lines of a whole head ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineEnds {
    /// All of them with CRLF.
    Crlf,
    /// At least one with LF alone.
    Bare,
}

impl HeadLines {
    /// Looks at further bytes. If the head ends among them: after how many, and how its lines
    /// ended.
    pub(super) fn see(&mut self, bytes: &[u8]) -> Option<(usize, LineEnds)> {
        let mut start = 0;
        for end in memchr_iter(b'\n', bytes) {
            let before = if end > start {
                bytes[end - 1]
            } else {
                self.last
            };
            let length = self.line + (end - start);
            self.zero |= self.line == 0 && bytes[start] == b'0';
            let has_cr = length > 0 && before == b'\r';
            self.bare |= !has_cr;
            if length == usize::from(has_cr) && self.begun {
                let ends = if self.bare {
                    LineEnds::Bare
                } else {
                    LineEnds::Crlf
                };
                return Some((end + 1, ends));
            }
            self.begun |= length > usize::from(has_cr);
            self.line = 0;
            start = end + 1;
        }
        self.zero |= self.line == 0 && bytes.get(start) == Some(&b'0');
        self.line += bytes.len() - start;
        self.last = bytes.last().copied().unwrap_or(self.last);
        None
    }

    /// Whether a line began with a zero, as that of a last chunk does.
    pub(super) fn has_zero(&self) -> bool {
        self.zero
    }

    /// Whether anything but empty lines has been seen.
    pub(super) fn have_begun(&self) -> bool {
        self.begun || self.line > usize::from(self.last == b'\r')
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_head_ends_with_its_first_empty_line() {
        use LineEnds::{Bare, Crlf};
        for (text, end) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\nrest", Some((27, Crlf))),
            ("\r\n\r\nGET / HTTP/1.1\r\n\r\n", Some((22, Crlf))),
            ("GET / HTTP/1.1\n\nrest", Some((16, Bare))),
            ("GET / HTTP/1.1\nHost: a\r\n\r\n", Some((26, Bare))),
            ("GET / HTTP/1.1\r\nHost: a\n\r\n", Some((26, Bare))),
            ("GET / HTTP/1.1\r\nHost: a\r\n\n", Some((26, Bare))),
            ("\nGET / HTTP/1.1\r\n\r\n", Some((19, Bare))),
            ("GET / HTTP/1.1\r\nHost: a\r\n", None),
            ("GET / HTTP/1.1\r\nX: \r\r\n", None),
            ("", None),
        ] {
            assert_eq!(HeadLines::default().see(text.as_bytes()), end, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_the_bytes_are_cut(
            text in "[\r\na]{0,24}",
            cuts in proptest::collection::vec(1_usize..5, 24),
        ) {
            let whole = HeadLines::default().see(text.as_bytes());
            let (mut lines, mut seen, mut found) = (HeadLines::default(), 0, None);
            for cut in cuts {
                let piece = &text.as_bytes()[seen..text.len().min(seen + cut)];
                if let Some((end, ends)) = lines.see(piece) {
                    found = Some((seen + end, ends));
                    break;
                }
                seen += piece.len();
            }
            prop_assert_eq!(found, whole);
        }
    }
}
