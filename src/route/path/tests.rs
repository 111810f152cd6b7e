//! Tests of `path`.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

fn canonical(raw: &str) -> String {
    canonicalize(raw).unwrap().into_owned()
}

fn refusal(raw: &str) -> Ambiguity {
    canonicalize(raw).expect_err(raw)
}

#[test]
fn a_canonical_path_is_borrowed() {
    for raw in [
        "/",
        "/a",
        "/a/",
        "/a/b.c;d=e/~f-_!$&'()*+,=:@",
        "/a[]|b",
        "/%2A%C3%A9%25",
        "/...",
        "/.a",
        "/..a/b",
    ] {
        assert!(
            matches!(canonicalize(raw), Ok(Cow::Borrowed(same)) if same == raw),
            "{raw}"
        );
    }
}

#[test]
fn t91_what_may_stand_escaped_or_not_is_compared_as_if_it_did_not() {
    for (segment, same) in [
        ("a", "a"),
        ("%40all", "@all"),
        ("a%3Bb%3D%21%7C", "a;b=!|"),
        ("%5B%5D", "[]"),
        ("%2540%20%C3%A9%3F", "%2540%20%C3%A9%3F"),
        ("%25%40", "%25@"),
    ] {
        assert_eq!(compared(segment), same, "{segment}");
        assert_eq!(compared(same), same, "{same}");
    }
}

#[test]
fn t81_dot_segments_are_refused() {
    for raw in [
        "/public/../api/s",
        "/public/./../api/s",
        "/public/..",
        "/public/.",
        "/.",
        "/..",
        "/../",
        "/./a",
    ] {
        assert_eq!(refusal(raw), Ambiguity::DotSegment, "{raw}");
    }
}

#[test]
fn t82_encoded_dot_segments_are_refused() {
    for raw in [
        "/public/%2e%2e/api/s",
        "/public/.%2E/api/s",
        "/public/%2e./api/s",
        "/public/%2E/api",
        "/%2e%2E",
    ] {
        assert_eq!(refusal(raw), Ambiguity::DotSegment, "{raw}");
    }
}

#[test]
fn t83_encoded_slashes_and_backslashes_are_refused() {
    assert_eq!(refusal("/public/..%2fapi/s"), Ambiguity::EncodedSlash);
    assert_eq!(refusal("/public/..%2Fapi/s"), Ambiguity::EncodedSlash);
    assert_eq!(refusal("/public/..%5capi"), Ambiguity::Backslash);
    assert_eq!(refusal("/public/a%5Capi"), Ambiguity::Backslash);
    assert_eq!(refusal("/public/..\\api"), Ambiguity::Backslash);
}

#[test]
fn t83_a_double_encoding_stays_as_it_is() {
    assert_eq!(
        canonical("/public/%252e%252e%252f"),
        "/public/%252e%252e%252f"
    );
    assert_eq!(canonical("/%2561"), "/%2561");
}

#[test]
fn t84_unreserved_characters_are_decoded() {
    assert_eq!(canonical("/%61pi/s"), "/api/s");
    assert_eq!(canonical("/a%70i/s"), "/api/s");
    assert_eq!(canonical("/%41%7e%2D%5f%2E%39x"), "/A~-_.9x");
    assert_eq!(canonical("/%c3%a9/%2a%3b"), "/%C3%A9/%2A%3B");
}

#[test]
fn t85_empty_segments_are_refused() {
    for raw in [
        "//api/s",
        "/public//../api/s",
        "/api//s",
        "///",
        "//",
        "/a//",
    ] {
        assert_eq!(refusal(raw), Ambiguity::EmptySegment, "{raw}");
    }
}

#[test]
fn t86_parameters_do_not_hide_a_dot_segment() {
    for raw in [
        "/public/..;/api/s",
        "/public/.;x=y/s",
        "/..;",
        "/%2e.;a/b",
        "/public/..%3b/api",
        "/public/..%3Ba",
    ] {
        assert_eq!(refusal(raw), Ambiguity::DotSegment, "{raw}");
    }
    assert_eq!(canonical("/api;x=y/s"), "/api;x=y/s");
    assert_eq!(canonical("/api;../s"), "/api;../s");
}

#[test]
fn t89_what_is_no_path_is_refused() {
    let refused = [
        ("/a%00", Ambiguity::ControlCharacter),
        ("/a%0d%0ab", Ambiguity::ControlCharacter),
        ("/a%1F", Ambiguity::ControlCharacter),
        ("/a%7f", Ambiguity::ControlCharacter),
        ("/a%C2%85", Ambiguity::ControlCharacter),
        ("/a\tb", Ambiguity::ControlCharacter),
        ("/a\u{7f}", Ambiguity::ControlCharacter),
        ("/%c0%ae", Ambiguity::InvalidUtf8),
        ("/%e0%80%af", Ambiguity::InvalidUtf8),
        ("/%ed%a0%80", Ambiguity::InvalidUtf8),
        ("/%f4%90%80%80", Ambiguity::InvalidUtf8),
        ("/%80", Ambiguity::InvalidUtf8),
        ("/%ff%ff%ff%ff", Ambiguity::InvalidUtf8),
        ("/%c3a9", Ambiguity::InvalidUtf8),
        ("/%c3", Ambiguity::InvalidUtf8),
        ("/%e2%82/%ac", Ambiguity::InvalidUtf8),
        ("/%c3%", Ambiguity::MalformedEscape),
        ("/%zz", Ambiguity::MalformedEscape),
        ("/%", Ambiguity::MalformedEscape),
        ("/%6", Ambiguity::MalformedEscape),
        ("/%+6", Ambiguity::MalformedEscape),
        ("/%é", Ambiguity::MalformedEscape),
        ("/é", Ambiguity::PathCharacter),
        ("/\u{80}", Ambiguity::PathCharacter),
        ("", Ambiguity::PathNotAbsolute),
        ("*", Ambiguity::PathNotAbsolute),
        ("a/b", Ambiguity::PathNotAbsolute),
    ];
    for (raw, reason) in refused {
        assert_eq!(refusal(raw), reason, "{raw}");
    }
    for raw in [' ', '"', '#', '<', '>', '?', '^', '`', '{', '}'] {
        assert_eq!(
            refusal(&format!("/a{raw}")),
            Ambiguity::PathCharacter,
            "{raw}"
        );
    }
}

#[test]
fn t90_letters_keep_their_case() {
    assert_eq!(canonical("/API/%53"), "/API/S");
}

#[test]
fn t98_long_paths_take_one_pass() {
    let segments = "/a".repeat(10_000);
    assert_eq!(canonical(&segments), segments);
    assert_eq!(
        canonical(&format!("/{}", "%61".repeat(21_000))),
        format!("/{}", "a".repeat(21_000))
    );
    assert_eq!(refusal(&"/a/../".repeat(1_000)), Ambiguity::DotSegment);
    assert_eq!(canonical(&format!("/{}", ".".repeat(65_535))).len(), 65_536);
}

/// The same rules told another way: by the segment, over decoded bytes, with look-ups in text.
fn reference(raw: &str) -> Option<String> {
    let mut segments: Vec<&str> = raw.split('/').collect();
    if segments.len() < 2 || !segments.remove(0).is_empty() {
        return None;
    }
    let last = segments.len() - 1;
    let mut canonical = String::new();
    for (index, segment) in segments.into_iter().enumerate() {
        let mut decoded = Vec::new();
        canonical.push('/');
        let mut rest = segment;
        while let Some(first) = rest.chars().next() {
            let escape = rest.strip_prefix('%');
            let byte = match escape {
                Some(digits) => {
                    let digits = digits.get(..2)?;
                    digits
                        .chars()
                        .all(|digit| digit.is_ascii_hexdigit())
                        .then_some(())?;
                    u8::from_str_radix(digits, 16).ok()?
                }
                None => u8::try_from(first).ok()?,
            };
            let unreserved = byte.is_ascii_alphanumeric() || "-._~".contains(char::from(byte));
            match escape {
                _ if unreserved => canonical.push(char::from(byte)),
                Some(_) if byte == b'/' || byte == b'\\' => return None,
                Some(_) => canonical.push_str(&format!("%{byte:02X}")),
                None if "!$&'()*+,;=:@[]|".contains(first) => canonical.push(first),
                None => return None,
            }
            decoded.push(byte);
            rest = &rest[if escape.is_some() { 3 } else { 1 }..];
        }
        let decoded = String::from_utf8(decoded).ok()?;
        let name = decoded.split(';').next()?;
        let empty = decoded.is_empty() && index != last;
        if empty || name == "." || name == ".." || decoded.contains(char::is_control) {
            return None;
        }
    }
    Some(canonical)
}

fn paths() -> impl Strategy<Value = String> {
    let pieces = [
        "/",
        "/",
        "/",
        "a",
        "B",
        ".",
        ".",
        "%2e",
        "%2E",
        "%2f",
        "%5C",
        "%61",
        "%7E",
        "%c3%a9",
        "%C3",
        "%a9",
        "%e2%82%ac",
        "%c0%ae",
        ";",
        "%3b",
        "%25",
        "%",
        "%z",
        "[",
        "|",
        "\\",
        " ",
        "é",
        "%00",
        "%7f",
        "%c2%85",
        "?",
    ];
    let built = prop::collection::vec(select(pieces.to_vec()), 0..14)
        .prop_map(|parts| format!("/{}", parts.concat()));
    prop_oneof![8 => built, 1 => "/[ -~]{0,20}", 1 => any::<String>()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn f7_canonicalization_agrees_with_the_reference(raw in paths()) {
        prop_assert_eq!(canonicalize(&raw).ok().map(Cow::into_owned), reference(&raw));
    }

    #[test]
    fn f7_a_canonical_path_is_its_own_canonical_form(raw in paths()) {
        if let Ok(once) = canonicalize(&raw) {
            prop_assert!(matches!(canonicalize(&once), Ok(Cow::Borrowed(_))));
        }
    }

    #[test]
    fn f7_nothing_ambiguous_survives(raw in paths()) {
        if let Ok(canonical) = canonicalize(&raw) {
            prop_assert!(canonical.bytes().all(|byte| byte.is_ascii_graphic()));
            for never in ["//", "\\", "%2F", "%2f", "%5C", "%5c", "%00", "%2E", "%2e", "/../", "/./"] {
                prop_assert!(!canonical.contains(never), "{} in {}", never, canonical);
            }
            prop_assert!(!canonical.ends_with("/..") && !canonical.ends_with("/."));
        }
    }
}
