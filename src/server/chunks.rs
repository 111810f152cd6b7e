//! Where a chunked body may end, seen in the bytes as they come.
//!
//! Only hyper finds its end, but the head that follows has to be seen from its first byte on. Both
//! end with an empty line, and so may much in between, as trailer fields are read leniently. But the
//! last chunk's line begins with a zero, so empty lines before the first of those are text.

use super::head_lines::{HeadLines, LineEnds};

/// What is known of a chunked body, and of the head behind it.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    /// Of the lines since the last empty one.
    lines: HeadLines,
    /// Whether the last chunk may have come, so that each empty line may be the end.
    may_be_last: bool,
    /// How the lines before that one ended.
    ended: Option<LineEnds>,
}

impl Chunks {
    /// Looks at further bytes: after how many the body, or the head behind it, may end.
    pub(super) fn see(&mut self, bytes: &[u8]) -> usize {
        let mut seen = 0;
        while let Some((length, ends)) = self.lines.see(&bytes[seen..]) {
            seen += length;
            self.may_be_last |= self.lines.has_zero();
            (self.lines, self.ended) = (HeadLines::default(), Some(ends));
            if self.may_be_last {
                return seen;
            }
        }
        bytes.len()
    }

    /// Whether something other than empty lines has come since the last one.
    pub(super) fn have_begun(&self) -> bool {
        self.lines.have_begun()
    }

    /// How the lines before the last empty one ended.
    pub(super) fn ends(&self) -> Option<LineEnds> {
        self.ended
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paragraphs_are_no_end() {
        let text = "1f\r\nOne.\n\nTwo.\r\n\r\nThree.\n\n\nFour.\r\n";
        let end = "0\r\n\r\n";
        let head = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let all = [text, end, head, "rest"].concat();
        let mut chunks = Chunks::default();
        let first = chunks.see(all.as_bytes());
        assert_eq!(first, text.len() + end.len());
        let second = chunks.see(&all.as_bytes()[first..]);
        assert_eq!(second, head.len());
        assert_eq!(chunks.ends(), Some(LineEnds::Crlf));
    }

    proptest! {
        #[test]
        fn the_end_and_the_head_behind_it_are_seen_however_the_bytes_are_cut(
            chunks in prop::collection::vec("[\r\n0a]{1,12}", 0..5),
            trailers in "(a: b\r\n|a: b\n\nx: y\r\n){0,3}",
            cuts in prop::collection::vec(1_usize..9, 200),
        ) {
            let coded = chunks.iter().map(|data| format!("{:x}\r\n{data}\r\n", data.len()));
            let body = coded.collect::<String>() + "0\r\n" + &trailers + "\r\n";
            let all = body.clone() + "GET / HTTP/1.1\r\n\r\n";
            let (mut seen, mut ends, mut chunks) = (0, Vec::new(), Chunks::default());
            for cut in cuts {
                let piece = &all.as_bytes()[seen..all.len().min(seen + cut)];
                let length = chunks.see(piece);
                if length > 0 && !chunks.have_begun() && all[..seen + length].ends_with('\n') {
                    ends.push(seen + length);
                }
                seen += length;
            }
            prop_assert!(ends.contains(&body.len()));
            prop_assert!(ends.contains(&all.len()));
        }
    }
}
