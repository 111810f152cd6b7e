//! Whether every block of a PEM file (RFC 7468) stands where its readers look for it.
//!
//! What is not in a block is a comment, and a `-----BEGIN …-----` that something else has been
//! glued to is not in one. Readers pass over it, as they must, and a chain of certificates is
//! short of one. What the blocks hold is for the readers.

/// A block that nobody would read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LostBlock {
    /// Something stands before it on this line.
    #[error(
        "line {0}: a -----BEGIN …----- does not stand on a line of its own; a line break may be missing before it, or there is white space"
    )]
    Glued(usize),
    /// It has begun on this line, and has not ended where the next one begins.
    #[error(
        "line {0}: the PEM block that begins here does not end before the next one begins; its END line is missing, or a line break is"
    )]
    Unended(usize),
}

/// The text of a file, without the byte order mark that some editors put before it.
pub(crate) fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes)
}

/// How many blocks begin in a text, wherever that is.
pub(crate) fn begun(text: &[u8]) -> usize {
    let windows = text.windows(BEGIN.len());
    windows.filter(|window| *window == BEGIN).count()
}

/// Finds out whether a block would be lost. The last one may be cut short: its reader says that.
///
/// # Errors
/// [`LostBlock`], the first.
pub(crate) fn check(text: &[u8]) -> Result<(), LostBlock> {
    let mut open = None;
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let number = index + 1;
        // Some readers end a line at a lone CR, too.
        for line in line.split(|byte| *byte == b'\r') {
            let last = line.windows(BEGIN.len()).rposition(|part| part == BEGIN);
            match last {
                Some(0) => {
                    if let Some(unended) = open.replace(number) {
                        return Err(LostBlock::Unended(unended));
                    }
                }
                Some(_) => return Err(LostBlock::Glued(number)),
                None if line.trim_ascii_start().starts_with(END) => open = None,
                None => {}
            }
        }
    }
    Ok(())
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: &str = "-----BEGIN X-----\nAAAA\n-----END X-----\n";

    #[test]
    fn text_around_blocks_is_fine() {
        for text in [
            "".to_owned(),
            BLOCK.repeat(3),
            BLOCK.trim_end().to_owned(),
            BLOCK.replace('\n', "\r\n").repeat(2),
            BLOCK.replace('\n', "\r").repeat(2),
            format!(
                "Certificate:\n    Data:\n        Version: 3 (0x2)\n{BLOCK}# the next\n{BLOCK}"
            ),
            // Cut short, which its reader says.
            format!("{BLOCK}-----BEGIN X-----\nAA"),
        ] {
            assert_eq!(check(text.as_bytes()), Ok(()), "{text:?}");
        }
    }

    #[test]
    fn a_block_that_does_not_begin_a_line_is_found_with_the_line() {
        let glued = BLOCK.trim_end();
        for (text, line) in [
            (format!("{glued}{BLOCK}"), 3),
            (format!("{BLOCK} {BLOCK}"), 4),
            (format!("# mine: {BLOCK}"), 1),
            (format!("\n\t{BLOCK}"), 2),
            (format!("\u{feff}{BLOCK}"), 1),
            (format!("{BLOCK}{}", BLOCK.replace('\n', "")).repeat(2), 4),
        ] {
            let lost = check(text.as_bytes());
            let is_found =
                matches!(lost, Err(LostBlock::Glued(at) | LostBlock::Unended(at)) if at == line);
            assert!(is_found, "{lost:?} in {text:?}");
        }
    }

    #[test]
    fn a_block_that_ends_nowhere_before_the_next_is_found() {
        let on_one_line = BLOCK.replace('\n', "") + "\n";
        for text in [
            format!("\n-----BEGIN X-----\n{BLOCK}"),
            format!("\n-----BEGIN X-----\nAAAA-----END X-----\n{BLOCK}"),
            format!("\n{on_one_line}{BLOCK}"),
        ] {
            assert_eq!(
                check(text.as_bytes()),
                Err(LostBlock::Unended(2)),
                "{text:?}"
            );
        }
    }

    #[test]
    fn one_byte_order_mark_is_no_part_of_the_text() {
        assert_eq!(without_mark("\u{feff}{}".as_bytes()), b"{}");
        assert_eq!(without_mark(b"{}"), b"{}");
        assert_eq!(without_mark("\u{feff}\u{feff}".as_bytes()), BYTE_ORDER_MARK);
    }
}
