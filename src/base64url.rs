//! base64url as tokens spell it (RFC 7515 §2), for what comes with requests.
//!
//! What is read once, keys and the like, has no need of it.

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod engine {
    use std::sync::LazyLock;

    use base64::engine::Simd;
    use base64::engine::general_purpose::NO_PAD;

    /// No padding and no stray bits in the last character, many characters at a time.
    pub(crate) static BASE64URL: LazyLock<Simd> = LazyLock::new(|| Simd::url_safe(NO_PAD));
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod engine {
    pub(crate) use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
}

pub(crate) use engine::BASE64URL;

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn t28_many_characters_at_a_time_are_read_as_strictly_as_one(
            good in "[A-Za-z0-9_-]{0,300}",
            bad in "[A-Z=+/.\u{0}é]?",
            at in any::<prop::sample::Index>(),
        ) {
            let mut text = good;
            text.insert_str(at.index(text.len() + 1), &bad);
            prop_assert_eq!(BASE64URL.decode(&text), URL_SAFE_NO_PAD.decode(&text));
        }
    }
}
