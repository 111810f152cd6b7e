//! Where an upstream's answer ends: one reading of it, or none (RFC 9112 §6.3).

use http::header::{CONTENT_LENGTH, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use http::response::Parts;
use http::{StatusCode, Version};

/// There is more than one reading.
#[derive(Debug)]
pub(super) struct Ambiguous;

/// Sees to it that there is one reading of where the answer ends, and that its fields say it once.
///
/// hyper prefers a transfer coding to a length and leaves both in the head, and it looks at no
/// length where no content follows. A coding other than chunked would reach the client undeclared.
///
/// # Errors
/// [`Ambiguous`].
pub(super) fn settle(head: &mut Parts) -> Result<(), Ambiguous> {
    let mut codings = head.headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => settle_length(&mut head.headers, head.status),
        (Some(coding), None)
            if coding.as_bytes().eq_ignore_ascii_case(b"chunked")
                && head.version != Version::HTTP_10
                && !head.headers.contains_key(CONTENT_LENGTH) =>
        {
            Ok(())
        }
        (Some(_), _) => Err(Ambiguous),
    }
}

fn settle_length(headers: &mut HeaderMap, status: StatusCode) -> Result<(), Ambiguous> {
    let mut lines = headers.get_all(CONTENT_LENGTH).iter();
    let Some(first) = lines.next() else {
        return Ok(());
    };
    let is_only_one = lines.next().is_none();
    if is_only_one && is_plain(first) && status != StatusCode::NO_CONTENT {
        return Ok(());
    }
    let mut length = None;
    for member in headers.get_all(CONTENT_LENGTH).iter().flat_map(members) {
        let stated = number(member).ok_or(Ambiguous)?;
        if *length.get_or_insert(stated) != stated {
            return Err(Ambiguous);
        }
    }
    if status == StatusCode::NO_CONTENT {
        // It must not have one (RFC 9110 §8.6), and not everybody sees past it.
        headers.remove(CONTENT_LENGTH);
    } else if let Some(length) = length {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    Ok(())
}

/// Whether it is a number that nobody could read another way.
fn is_plain(length: &HeaderValue) -> bool {
    let digits = length.as_bytes();
    (1..=MOST_DIGITS).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit)
}

fn members(line: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    line.as_bytes().split(|&byte| byte == b',')
}

/// Digits and nothing else, apart from the space around a member of a list.
fn number(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii();
    let digits = text.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(text).ok().filter(|_| digits)?;
    text.parse().ok()
}

/// As many as fit into any number of 64 bits.
const MOST_DIGITS: usize = 19;

#[cfg(test)]
mod tests {
    use http::Response;

    use super::*;

    /// What the fields are settled to; `None` if there is more than one reading.
    fn settled(status: u16, lengths: &[&str]) -> Option<Vec<String>> {
        let mut response = Response::builder().status(status);
        for length in lengths {
            response = response.header(CONTENT_LENGTH, *length);
        }
        let (mut head, ()) = response.body(()).unwrap().into_parts();
        settle(&mut head).ok()?;
        let lines = head.headers.get_all(CONTENT_LENGTH).iter();
        Some(lines.map(|line| line.to_str().unwrap().into()).collect())
    }

    #[test]
    fn t109_a_length_is_said_once_or_not_at_all() {
        for (status, lengths, expected) in [
            (200, &[][..], Some(vec![])),
            (200, &["7"], Some(vec!["7"])),
            (200, &["7, 7"], Some(vec!["7"])),
            (200, &["7", " 7 "], Some(vec!["7"])),
            (304, &["7", "7,7"], Some(vec!["7"])),
            (204, &["0"], Some(vec![])),
            (204, &["7"], Some(vec![])),
            (200, &["7", "8"], None),
            (304, &["7, 8"], None),
            (204, &["7", "8"], None),
            (200, &[""], None),
            (200, &["+7"], None),
            (200, &["7,"], None),
            (304, &["zz"], None),
            (200, &["18446744073709551616"], None),
        ] {
            let expected = expected.map(|lines| lines.into_iter().map(str::to_owned).collect());
            assert_eq!(settled(status, lengths), expected, "{status} {lengths:?}");
        }
    }
}
