//! Tests of `inspect`.

use proptest::prelude::*;
use serde_json::json;

use super::*;

const NOW: u64 = 1_800_000_000;

fn now() -> NumericDate {
    NumericDate::from_seconds(NOW)
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn token(header: &str, claims: &str) -> String {
    format!("{}.{}.{}", encode(header), encode(claims), encode([7; 64]))
}

fn good_claims() -> Value {
    json!({"iss": "i", "aud": ["a"], "sub": "s", "iat": NOW - 300, "exp": NOW + 7500})
}

const GOOD_HEADER: &str = r#"{"alg":"ES256","kid":"k"}"#;

#[track_caller]
fn assert_warns(token: &str, why: &str) {
    let report = Report::new(token, now());
    assert!(
        report.warnings.iter().any(|warning| warning.contains(why)),
        "{:?} lacks {why:?}",
        report.warnings
    );
}

fn run(argument: Option<&str>, mut input: &[u8]) -> Result<String, String> {
    let args = InspectArgs {
        token: argument.map(str::to_owned),
        config: None,
    };
    args.token(&mut input).map_err(|error| error.to_string())
}

#[test]
fn what_the_gateway_refuses_whoever_signed_it_is_told_with_its_reason() {
    let long = format!(r#"{{"alg":"ES256","kid":"{}"}}"#, "k".repeat(200));
    for (header, exp, reason) in [
        (
            r#"{"alg":"ES256","kid":"k","typ":7}"#,
            NOW + 60,
            "malformed_header",
        ),
        (
            r#"{"alg":"ES256","kid":"k","cty":"JWT"}"#,
            NOW + 60,
            "nested_token",
        ),
        (
            r#"{"alg":"ES256","kid":"k","typ":"logout+jwt"}"#,
            NOW + 60,
            "other_purpose",
        ),
        (&long, NOW + 60, "malformed_header"),
        (GOOD_HEADER, NOW * 1000, "malformed_claims"),
    ] {
        let mut claims = good_claims();
        claims["exp"] = json!(exp);
        assert_warns(&token(header, &claims.to_string()), reason);
    }
}

#[test]
fn a_good_token_is_shown_with_its_times_and_without_warnings() {
    let report = Report::new(&token(GOOD_HEADER, &good_claims().to_string()), now());
    assert_eq!(report.warnings, [""; 0]);
    let text = report.to_string();
    assert!(text.starts_with("NOT VERIFIED"), "{text}");
    for line in [
        "  \"alg\": \"ES256\",",
        "  iat  2027-01-15T07:55:00Z  5m ago",
        "  exp  2027-01-15T10:05:00Z  in 2h 5m",
        "signature: 64 bytes, not checked so far",
    ] {
        assert!(
            text.lines().any(|shown| shown == line),
            "{text} lacks {line}"
        );
    }
}

#[test]
fn an_expired_token_says_since_when() {
    let mut claims = good_claims();
    claims["exp"] = (NOW - 300).into();
    let report = Report::new(&token(GOOD_HEADER, &claims.to_string()), now());
    assert!(report.to_string().contains("expired 5m ago"), "{report}");
}

#[test]
fn what_looks_wrong_in_the_header_is_named() {
    let claims = good_claims().to_string();
    for (header, why) in [
        (r#"{"alg":"none"}"#, "not signed at all"),
        (r#"{"alg":"nOnE"}"#, "not signed at all"),
        (r#"{"alg":7}"#, "alg 7 is not one"),
        (r#"{"alg":"ES512"}"#, "alg \"ES512\" is not one"),
        ("{}", "alg is missing"),
        (r#"{"alg":"ES256"}"#, "kid is missing"),
        (r#"{"alg":"ES256","kid":7}"#, "kid is not a string"),
        (r#"{"alg":"ES256","crit":["x"]}"#, "crit asks"),
        (r#"{"alg":"ES256","jku":"http://x"}"#, "jku offers a key"),
        (r#"{"alg":"ES256","alg":"none"}"#, "appears twice"),
        ("[]", "must be a JSON object"),
        ("{", "the header would be refused: EOF"),
    ] {
        assert_warns(&token(header, &claims), why);
    }
}

#[test]
fn what_looks_wrong_in_the_claims_is_named() {
    for (name, value, why) in [
        ("exp", json!(null), "exp is not a time"),
        ("exp", json!("1"), "exp is not a time"),
        ("nbf", json!(NOW + 60), "not valid yet: from nbf on in 1m"),
        ("nbf", json!([]), "nbf is not a time"),
        ("iat", json!(NOW + 86_400), "made in the future: in 1d"),
        ("sub", json!(""), "sub is not a string"),
        ("iss", json!(["i"]), "iss is not a string"),
        ("aud", json!([]), "aud is neither"),
        ("aud", json!([1]), "aud is neither"),
    ] {
        let mut claims = good_claims();
        claims[name] = value;
        assert_warns(&token(GOOD_HEADER, &claims.to_string()), why);
    }
    for name in ["exp", "iss", "sub", "aud"] {
        let mut claims = good_claims();
        claims.as_object_mut().unwrap().remove(name);
        assert_warns(
            &token(GOOD_HEADER, &claims.to_string()),
            &format!("{name} is missing"),
        );
    }
}

#[test]
fn a_token_in_pieces_shows_what_is_left() {
    let good = token(GOOD_HEADER, &good_claims().to_string());
    assert_warns("a.b", "2 parts");
    assert_warns("a.b.c.d.e", "encrypted");
    assert_warns(r#"{"payload":"x"}"#, "compact form only");
    assert_warns(
        &good.replacen('J', "+", 1),
        "the header is not base64url: the character at offset",
    );
    assert_warns(&good[..good.len() - 86], "the signature is empty");
    assert_warns(
        &format!("{good}{}", "A".repeat(8192)),
        "the gateway reads at most 8192",
    );
    let report = Report::new(&good[..good.len() - 90], now());
    assert_eq!(report.header.unwrap()["alg"], "ES256");
}

#[test]
fn nothing_in_a_token_steers_the_terminal() {
    let claims =
        json!({"sub": "\u{1b}[2J\u{7f}\u{9b}\u{202e}\u{200b}", "\u{85}": "x\u{0}\r"}).to_string();
    let text = Report::new(&token("{\"alg\":\"\u{9d}\"}", &claims), now()).to_string();
    assert!(
        text.chars()
            .all(|c| c == '\n' || !(c.is_control() || is_invisible(c))),
        "{text:?}"
    );
    assert!(
        text.contains("\\u202e") && text.contains("\\u001b"),
        "{text}"
    );
}

#[test]
fn a_token_comes_from_the_argument_or_from_standard_input() {
    assert_eq!(run(Some("a.b.c"), b"x").unwrap(), "a.b.c");
    assert_eq!(run(Some("-"), b"a.b.c\n").unwrap(), "a.b.c");
    assert_eq!(
        run(None, b" Authorization: bearer  a.b.c \r\n").unwrap(),
        "a.b.c"
    );
    assert_eq!(run(Some("Bearer a.b.c"), b"").unwrap(), "a.b.c");
    assert!(run(None, b" \n").unwrap_err().contains("there is no token"));
    assert!(
        run(Some("Bearer "), b"").is_ok(),
        "without its space it is a word like any other"
    );
    assert!(run(None, b"\xff\xfe").is_ok());
}

proptest! {
    #[test]
    fn any_text_is_described(text in ".{0,200}") {
        prop_assert!(Report::new(&text, now()).to_string().starts_with("NOT VERIFIED"));
    }

    #[test]
    fn any_json_is_described(header in r#"\{("(alg|exp|kid)":[-0-9e."tru{}\[\]]{1,9},?){0,3}\}"#, at in any::<f64>()) {
        let claims = json!({"exp": at, "nbf": -at, "iat": at.trunc()}).to_string();
        prop_assert!(!Report::new(&token(&header, &claims), now()).to_string().is_empty());
    }
}
