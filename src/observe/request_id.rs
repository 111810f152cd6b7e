//! What a request is called: in the log, in its answer, and upstream.

use http::HeaderValue;

/// The name of one request: 1 to 128 bytes of letters, digits and `._~+/=:-`.
///
/// With no other bytes in it, it can stand in a log line, in JSON and in a header as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// Takes a field's value for a name, if it is one. Nothing is copied.
    pub fn from_field(value: HeaderValue) -> Option<Self> {
        let bytes = value.as_bytes();
        let is_one = (1..=MAX_LENGTH).contains(&bytes.len())
            && bytes.iter().all(|&byte| FIT[usize::from(byte)]);
        is_one.then_some(Self(value))
    }

    /// As a field's value.
    pub const fn field(&self) -> &HeaderValue {
        &self.0
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        // It is ASCII throughout.
        self.0.to_str().unwrap_or_default()
    }
}

/// The bytes that a name may have.
const FIT: [bool; 256] = {
    let mut fit = [false; 256];
    let mut byte = b'!';
    while byte <= b'~' {
        fit[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(byte, b'.' | b'_' | b'~' | b'+' | b'/' | b'=' | b':' | b'-');
        byte += 1;
    }
    fit
};

/// Four times as long as ours, and longer than those of the usual proxies.
pub(super) const MAX_LENGTH: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_stand_everywhere_is_a_name() {
        let id = |text: &str| RequestId::from_field(HeaderValue::from_bytes(text.as_bytes()).ok()?);
        let longest = "a".repeat(128);
        for good in [
            "a",
            "0af7651916cd43dd8448eb211c80319c",
            "Root=1-67:a/b+c.d_e~f==",
            &longest,
        ] {
            assert_eq!(id(good).unwrap().as_str(), good);
        }
        let too_long = "a".repeat(129);
        for bad in [
            "", " ", "a b", "a,b", "a\"", "a;b", "{a}", "a\\", "é", "a\t", &too_long,
        ] {
            assert_eq!(id(bad), None, "{bad:?}");
        }
    }
}
