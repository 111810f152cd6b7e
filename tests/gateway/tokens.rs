//! Tokens that are one change away from a good one, and what each of them gets.

use std::borrow::Cow;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jotgate::clock::{Clock, NumericDate};
use jotgate::keys::source::{KeySource, load_public};
use jotgate::observe::{DurationsOf, Metrics, Readiness, RouteNames};
use jotgate::token::{Accepted, Credential, TrustedIssuer, VerifiedToken, Verifier};
use jsonwebtoken::Algorithm;
use proptest::prelude::*;

use crate::harness::{
    Draft, Kind, Signer, Start, TestGateway, Upstream, assert_refused, bearer, judge,
};

/// A name, a token and the reason that the log gives.
type Case = (&'static str, String, &'static str);

/// Refuses every case at a gateway with the default issuer, and takes the good token that each of
/// them was made from.
async fn assert_each_refused(cases: &[Case]) {
    assert_each_refused_by(|start| start, &Draft::good().signed(), cases).await;
}

async fn assert_each_refused_by(prepare: impl Fn(Start) -> Start, good: &str, cases: &[Case]) {
    let upstream = Upstream::start().await;
    let gateway = prepare(Start::with(&upstream)).start();
    assert_refused(&gateway, &upstream, cases).await;
    let answer = gateway.h1().await.get("/api/x", &[&bearer(good)]).await;
    assert_eq!(answer.status, 200, "the original is not good");
}

/// Takes every token, at a gateway with the default issuer.
async fn assert_each_accepted(cases: &[(&str, String)]) {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    assert_accepted(&gateway, &upstream, cases).await;
}

async fn assert_accepted(gateway: &TestGateway, upstream: &Upstream, cases: &[(&str, String)]) {
    let requests: Vec<_> = cases.iter().map(|(_, token)| vec![bearer(token)]).collect();
    let verdicts = judge(gateway, upstream, "/api/x", &requests).await;
    for ((name, _), verdict) in cases.iter().zip(&verdicts) {
        assert_eq!(
            (verdict.answer.status, verdict.reason()),
            (200, "ok"),
            "{name}"
        );
    }
}

/// Replaces the signature.
fn with_signature(token: &str, signature: &str) -> String {
    let (input, _) = token.rsplit_once('.').unwrap();
    format!("{input}.{signature}")
}

fn good() -> Draft {
    Draft::good()
}

// ---- B: the outside of a token ----

#[tokio::test]
async fn t15_none_is_no_algorithm() {
    let signed = |alg: &str| good().header("alg", alg).signed();
    let unsigned = |alg: &str| with_signature(&signed(alg), "");
    let stub = |alg: &str| with_signature(&signed(alg), "AA");
    assert_each_refused(&[
        ("none", signed(r#""none""#), "unknown_algorithm"),
        ("None", signed(r#""None""#), "unknown_algorithm"),
        ("NONE", signed(r#""NONE""#), "unknown_algorithm"),
        ("nOnE", signed(r#""nOnE""#), "unknown_algorithm"),
        ("empty", signed(r#""""#), "unknown_algorithm"),
        ("lower case", signed(r#""rs256""#), "unknown_algorithm"),
        ("with a space", signed(r#"" RS256""#), "unknown_algorithm"),
        (
            "with a NUL",
            signed(r#""RS256\u0000""#),
            "unknown_algorithm",
        ),
        ("null", signed("null"), "malformed_header"),
        ("a number", signed("0"), "malformed_header"),
        ("a list", signed(r#"["RS256"]"#), "malformed_header"),
        (
            "absent",
            good().without_header("alg").signed(),
            "malformed_header",
        ),
        (
            "none, no signature",
            unsigned(r#""none""#),
            "malformed_token",
        ),
        ("none, a stub", stub(r#""none""#), "unknown_algorithm"),
        (
            "RS256, no signature",
            unsigned(r#""RS256""#),
            "malformed_token",
        ),
        ("RS256, a stub", stub(r#""RS256""#), "bad_signature"),
    ])
    .await;
}

#[tokio::test]
async fn t16_a_public_key_is_no_hmac_secret() {
    let key = Signer::rsa();
    let pem = key.public_pem();
    let hs256 = |secret: &[u8]| good().algorithm(Algorithm::HS256).hmac(secret);
    let nameless = |secret: &[u8]| {
        good()
            .algorithm(Algorithm::HS256)
            .without_header("kid")
            .hmac(secret)
    };
    assert_each_refused(&[
        ("PEM", hs256(pem.as_bytes()), "algorithm_not_allowed"),
        (
            "PEM, no last newline",
            hs256(pem.trim_end().as_bytes()),
            "algorithm_not_allowed",
        ),
        (
            "DER",
            hs256(&key.pair.public_spki_der),
            "algorithm_not_allowed",
        ),
        ("modulus", hs256(key.rsa_modulus()), "algorithm_not_allowed"),
        ("empty", hs256(b""), "algorithm_not_allowed"),
        ("PEM, no kid", nameless(pem.as_bytes()), "no_fitting_key"),
        ("empty, no kid", nameless(b""), "no_fitting_key"),
        (
            "said to be RS256",
            good().signed_as(Algorithm::HS256).hmac(pem.as_bytes()),
            "bad_signature",
        ),
    ])
    .await;
}

#[tokio::test]
async fn t17_the_point_of_an_elliptic_curve_key_is_no_hmac_secret() {
    let key = Signer::p256();
    let point = &key.pair.public_spki_der[key.pair.public_spki_der.len() - 65..];
    let hs256 = |secret: &[u8]| good().algorithm(Algorithm::HS256).hmac(secret);
    assert_each_refused_by(
        |start| start.file("keys/main.pem", key.public_pem()),
        &good().algorithm(Algorithm::ES256).signed_by(key),
        &[
            ("point", hs256(point), "algorithm_not_allowed"),
            ("coordinates", hs256(&point[1..]), "algorithm_not_allowed"),
            ("x", hs256(&point[1..33]), "algorithm_not_allowed"),
            ("empty", hs256(b""), "algorithm_not_allowed"),
        ],
    )
    .await;
}

/// Whatever a token says about where its key is, nobody looks there.
#[tokio::test]
async fn t18_t19_a_token_cannot_bring_or_fetch_its_key() {
    let canary = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    canary.set_nonblocking(true).unwrap();
    let there = canary.local_addr().unwrap();
    let stranger = Signer::stranger();
    let jwk = stranger.jwk().to_string();
    let url = |scheme: &str| format!("\"{scheme}://{there}/keys\"");
    let certificate = rcgen::generate_simple_self_signed(Vec::new()).unwrap();
    let x5c = base64::engine::general_purpose::STANDARD.encode(certificate.cert.der());
    let members = [
        ("jwk", jwk),
        ("jku", url("http")),
        ("jku", url("https")),
        ("x5u", url("http")),
        ("x5c", format!("[\"{x5c}\"]")),
        ("x5t", r#""AAAA""#.to_owned()),
    ];
    let mut cases: Vec<Case> = Vec::new();
    for (name, json) in &members {
        let forged = good().header(name, json);
        cases.push((name, forged.signed_by(stranger), "bad_signature"));
        let own_kid = forged.kid(&stranger.thumbprint());
        cases.push((name, own_kid.signed_by(stranger), "unknown_kid"));
        let nameless = good().header(name, json).without_header("kid");
        cases.push((name, nameless.signed_by(stranger), "bad_signature"));
    }
    assert_each_refused(&cases).await;
    // On a token that is good without them, they are not looked at either.
    let ignored: Vec<_> = members
        .iter()
        .map(|(name, json)| (*name, good().header(name, json).signed()))
        .collect();
    assert_each_accepted(&ignored).await;
    let error = canary.accept().expect_err("somebody followed a header");
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn t20_a_kid_is_a_name_and_nothing_else() {
    let kid = |kid: &str| good().kid(kid).signed();
    let raw = |json: &str| good().header("kid", json).signed();
    assert_each_refused(&[
        ("a path", kid("../../../../dev/null"), "unknown_kid"),
        ("the key's path", kid("keys/main.pem"), "unknown_kid"),
        ("with the ending", kid("main.pem"), "unknown_kid"),
        ("another case", kid("MAIN"), "unknown_kid"),
        ("with a space", kid("main "), "unknown_kid"),
        ("empty", kid(""), "unknown_kid"),
        ("SQL", kid("' OR 1=1--"), "unknown_kid"),
        ("shell", kid("|id;$(id)`id`"), "unknown_kid"),
        ("prototype", kid("__proto__"), "unknown_kid"),
        ("NUL", kid("main\0"), "unknown_kid"),
        ("a line break", kid("main\r\nX: y"), "unknown_kid"),
        ("128 bytes", kid(&"k".repeat(128)), "unknown_kid"),
        ("129 bytes", kid(&"k".repeat(129)), "malformed_header"),
        ("6 KiB", kid(&"k".repeat(5 * 1024)), "malformed_header"),
        ("a number", raw("7"), "malformed_header"),
        ("null", raw("null"), "malformed_header"),
        ("an object", raw(r#"{"main":1}"#), "malformed_header"),
        ("a list", raw(r#"["main"]"#), "malformed_header"),
    ])
    .await;
}

#[tokio::test]
async fn t20_an_invented_kid_is_one_short_field_in_the_log() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    let kid = "a\"\n{\"reason\":\"ok\"}\u{1b}[2J\u{202e}";
    assert_refused(
        &gateway,
        &upstream,
        &[("kid", good().kid(kid).signed(), "unknown_kid")],
    )
    .await;
    let text = gateway.log_text();
    assert_eq!(text.lines().count(), 1);
    assert!(
        text.trim_end().bytes().all(|b| (b' '..=b'~').contains(&b)),
        "{text}"
    );
    assert_eq!(gateway.event().await["kid"], kid);
}

#[tokio::test]
async fn t23_a_name_that_stands_twice_has_no_value() {
    let (earlier, later) = (0, super::harness::now() + 600);
    let exp = |first: u64, second: u64| {
        good()
            .claim("exp", &first.to_string())
            .claim_again("exp", &second.to_string())
            .signed()
    };
    assert_each_refused(&[
        (
            "alg",
            good().header_again("alg", r#""none""#).signed(),
            "malformed_header",
        ),
        (
            "alg, the other order",
            good()
                .header("alg", r#""HS256""#)
                .header_again("alg", r#""RS256""#)
                .signed(),
            "malformed_header",
        ),
        (
            "alg, equal",
            good().header_again("alg", r#""RS256""#).signed(),
            "malformed_header",
        ),
        (
            "alg, escaped",
            good().header_again(r"\u0061lg", r#""RS256""#).signed(),
            "malformed_header",
        ),
        (
            "kid",
            good().header_again("kid", r#""main""#).signed(),
            "malformed_header",
        ),
        (
            "deep in the header",
            good().header("x", r#"{"a":[{"b":1,"b":1}]}"#).signed(),
            "malformed_header",
        ),
        (
            "sub",
            good().claim_again("sub", r#""admin""#).signed(),
            "malformed_claims",
        ),
        (
            "sub, the other order",
            good()
                .claim("sub", r#""admin""#)
                .claim_again("sub", r#""alice""#)
                .signed(),
            "malformed_claims",
        ),
        ("exp", exp(earlier, later), "malformed_claims"),
        (
            "exp, the other order",
            exp(later, earlier),
            "malformed_claims",
        ),
        (
            "iss",
            good().claim_again("iss", r#""x""#).signed(),
            "malformed_claims",
        ),
        (
            "aud",
            good().claim_again("aud", r#""x""#).signed(),
            "malformed_claims",
        ),
        (
            "deep in the claims",
            good().claim("x", r#"{"a":{"b":1,"b":2}}"#).signed(),
            "malformed_claims",
        ),
    ])
    .await;
}

#[tokio::test]
async fn t24_t25_t35_extensions_of_the_header_are_refused() {
    let with = |name: &str, json: &str| good().header(name, json).signed();
    assert_each_refused(&[
        ("crit", with("crit", r#"["x"]"#), "unsupported_extension"),
        ("crit, empty", with("crit", "[]"), "unsupported_extension"),
        (
            "crit, no list",
            with("crit", r#""b64""#),
            "unsupported_extension",
        ),
        ("crit, null", with("crit", "null"), "unsupported_extension"),
        (
            "crit with what we know",
            with("crit", r#"["alg"]"#),
            "unsupported_extension",
        ),
        (
            "b64",
            good()
                .header("crit", r#"["b64"]"#)
                .header("b64", "false")
                .signed(),
            "unsupported_extension",
        ),
        (
            "b64 unannounced",
            with("b64", "false"),
            "unsupported_extension",
        ),
        ("b64, true", with("b64", "true"), "unsupported_extension"),
        (
            "crit twice",
            good()
                .header("crit", r#"["x"]"#)
                .header_again("crit", "[]")
                .signed(),
            "malformed_header",
        ),
        ("zip", with("zip", r#""DEF""#), "unsupported_extension"),
        ("enc", with("enc", r#""A128GCM""#), "unsupported_extension"),
        ("nested", with("cty", r#""JWT""#), "nested_token"),
        (
            "nested, other spellings",
            with("cty", r#""application/jwt""#),
            "nested_token",
        ),
        ("cty, a number", with("cty", "1"), "malformed_header"),
        ("typ, a number", with("typ", "1"), "malformed_header"),
    ])
    .await;
}

#[tokio::test]
async fn t25_an_encrypted_token_is_no_signed_one() {
    let five = |alg: &str| {
        let header = format!(r#"{{"alg":"{alg}","enc":"A128GCM","p2c":2147483647,"zip":"DEF"}}"#);
        format!("{}.a2V5.aXY.Y2lwaGVy.dGFn", URL_SAFE_NO_PAD.encode(header))
    };
    let three = |alg: &str| {
        good()
            .header("alg", &format!("\"{alg}\""))
            .header("p2c", "2147483647")
            .signed()
    };
    assert_each_refused(&[
        ("dir", five("dir"), "malformed_token"),
        ("PBES2", five("PBES2-HS256+A128KW"), "malformed_token"),
        ("RSA-OAEP", five("RSA-OAEP"), "malformed_token"),
        ("RS256 in five parts", five("RS256"), "malformed_token"),
        ("dir in three parts", three("dir"), "unknown_algorithm"),
        (
            "PBES2 in three parts",
            three("PBES2-HS512+A256KW"),
            "unknown_algorithm",
        ),
        (
            "A128KW in three parts",
            three("A128KW"),
            "unknown_algorithm",
        ),
    ])
    .await;
}

#[tokio::test]
async fn t27_a_token_has_three_parts_and_none_of_them_is_empty() {
    let token = good().signed();
    let parts: Vec<&str> = token.split('.').collect();
    let join = |parts: &[&str]| parts.join(".");
    let [header, payload, signature] = parts[..] else {
        panic!("{token}")
    };
    assert_each_refused(&[
        ("no dot", parts.concat(), "malformed_token"),
        ("one dot", join(&[header, payload]), "malformed_token"),
        ("a dot at the end", format!("{token}."), "malformed_token"),
        ("a dot in front", format!(".{token}"), "malformed_token"),
        (
            "four dots",
            join(&[header, payload, signature, signature, ""]),
            "malformed_token",
        ),
        ("only dots", "..".to_owned(), "malformed_token"),
        ("one lonely dot", ".".to_owned(), "malformed_token"),
        ("8,000 dots", ".".repeat(8_000), "malformed_token"),
        ("10,000 dots", ".".repeat(10_000), "token_too_long"),
        (
            "empty header",
            join(&["", payload, signature]),
            "malformed_token",
        ),
        (
            "empty payload",
            join(&[header, "", signature]),
            "malformed_token",
        ),
        (
            "empty signature",
            join(&[header, payload, ""]),
            "malformed_token",
        ),
        (
            "double dot",
            join(&[header, "", payload, signature]),
            "malformed_token",
        ),
        (
            "parts swapped",
            join(&[payload, header, signature]),
            "malformed_header",
        ),
        (
            "a word",
            "opaque-refresh-token".to_owned(),
            "malformed_token",
        ),
    ])
    .await;
}

#[tokio::test]
async fn t28_every_part_is_strict_base64url() {
    // The end of the part is changed by hand: `+`, `/` and `~` pass the grammar of the field.
    let token = good().signed();
    let parts: Vec<&str> = token.split('.').collect();
    let change = |index: usize, f: &dyn Fn(&str) -> String| {
        let mut parts: Vec<String> = parts.iter().map(|&part| part.to_owned()).collect();
        parts[index] = f(&parts[index]);
        parts.join(".")
    };
    let plus = |part: &str| format!("{}+", &part[..part.len() - 1]);
    let slash = |part: &str| format!("/{}", &part[1..]);
    let tilde = |part: &str| format!("{part}~");
    let longer = |part: &str| format!("{part}AAAAA");
    // A signature of 256 bytes ends with a character of which four bits mean nothing.
    let stray = |part: &str| {
        let (rest, last) = part.split_at(part.len() - 1);
        format!("{rest}{}", char::from(last.as_bytes()[0] + 1))
    };
    assert!(parts[2].ends_with(['A', 'Q', 'g', 'w']));
    assert_each_refused(&[
        ("+ in the header", change(0, &plus), "malformed_token"),
        ("/ in the header", change(0, &slash), "malformed_token"),
        ("~ in the header", change(0, &tilde), "malformed_token"),
        ("+ in the payload", change(1, &plus), "malformed_token"),
        ("/ in the payload", change(1, &slash), "malformed_token"),
        ("~ in the payload", change(1, &tilde), "malformed_token"),
        ("+ in the signature", change(2, &plus), "bad_signature"),
        ("/ in the signature", change(2, &slash), "bad_signature"),
        ("~ in the signature", change(2, &tilde), "bad_signature"),
        (
            "= behind the signature",
            format!("{token}="),
            "bad_signature",
        ),
        (
            "== behind the signature",
            format!("{token}=="),
            "bad_signature",
        ),
        (
            "stray bits in the signature",
            change(2, &stray),
            "bad_signature",
        ),
        ("a longer signature", change(2, &longer), "bad_signature"),
        (
            "a shorter signature",
            token[..token.len() - 2].to_owned(),
            "bad_signature",
        ),
    ])
    .await;
}

#[tokio::test]
async fn t28_stray_bits_in_header_and_payload_are_refused() {
    // `x` is chosen so that each part ends with a character that has bits to spare.
    let stray = |part: &str| {
        let (rest, last) = part.split_at(part.len() - 1);
        format!("{rest}{}", char::from(last.as_bytes()[0] + 1))
    };
    let spare = |draft: &dyn Fn(&str) -> Draft, index: usize| {
        (0..3)
            .map(|fill| draft(&format!("\"{}\"", "x".repeat(fill))).signed())
            .find(|token| token.split('.').nth(index).unwrap().len() % 4 != 0)
            .unwrap()
    };
    let header = spare(&|x| good().header("x", x), 0);
    let payload = spare(&|x| good().claim("x", x), 1);
    let change = |token: &str, index: usize| {
        let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
        parts[index] = stray(&parts[index]);
        parts.join(".")
    };
    assert_each_refused(&[
        ("header", change(&header, 0), "malformed_token"),
        ("payload", change(&payload, 1), "malformed_token"),
    ])
    .await;
    assert_each_accepted(&[("header", header), ("payload", payload)]).await;
}

#[tokio::test]
async fn t29_header_and_payload_are_json_objects_with_one_reading() {
    let header = good().header_text();
    let claims = good().claims_text();
    let utf16 =
        |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
    let strangers = |text: &str| -> Vec<(&'static str, Vec<u8>)> {
        vec![
            ("a list", b"[]".to_vec()),
            ("a number", b"1".to_vec()),
            ("a string", br#""x""#.to_vec()),
            ("null", b"null".to_vec()),
            ("nothing", b" ".to_vec()),
            ("in a list", format!("[{text}]").into_bytes()),
            ("UTF-16", utf16(text)),
            ("a byte order mark", format!("\u{feff}{text}").into_bytes()),
            (
                "not UTF-8",
                [&text.as_bytes()[..text.len() - 1], b",\"x\":\"\xff\"}"].concat(),
            ),
            (
                "half a surrogate",
                text.replacen('{', r#"{"x":"\ud800","#, 1).into_bytes(),
            ),
            ("cut short", text.as_bytes()[..text.len() - 1].to_vec()),
            ("more behind it", format!("{text}{text}").into_bytes()),
            ("a comma too many", text.replacen('}', ",}", 1).into_bytes()),
            ("a comment", text.replacen('{', "{/**/", 1).into_bytes()),
            ("single quotes", text.replace('"', "'").into_bytes()),
            ("NaN", text.replacen('{', r#"{"x":NaN,"#, 1).into_bytes()),
            (
                "a raw control character",
                text.replacen('{', "{\"x\":\"\n\",", 1).into_bytes(),
            ),
            (
                "1,000 levels",
                text.replacen(
                    '{',
                    &format!(r#"{{"x":{}{},"#, "[".repeat(1000), "]".repeat(1000)),
                    1,
                )
                .into_bytes(),
            ),
            ("1,000 open levels", "{\"a\":".repeat(1000).into_bytes()),
        ]
    };
    let mut cases: Vec<Case> = Vec::new();
    for (name, bytes) in strangers(&header) {
        cases.push((name, good().with_header_bytes(&bytes), "malformed_header"));
    }
    for (name, bytes) in strangers(&claims) {
        cases.push((name, good().with_payload_bytes(&bytes), "malformed_claims"));
    }
    assert_each_refused(&cases).await;
}

#[tokio::test]
async fn t30_an_ecdsa_signature_is_two_numbers_in_range() {
    let key = Signer::p256();
    let draft = good().algorithm(Algorithm::ES256);
    let token = draft.signed_by(key);
    let signature = URL_SAFE_NO_PAD
        .decode(token.rsplit_once('.').unwrap().1)
        .unwrap();
    let (r, s) = signature.split_at(32);
    let zero = [0; 32];
    let with =
        |r: &[u8], s: &[u8]| with_signature(&token, &URL_SAFE_NO_PAD.encode([r, s].concat()));
    let p384 = draft.clone().kid("p384");
    let cases = [
        ("r = s = 0", with(&zero, &zero), "bad_signature"),
        ("r = 0", with(&zero, s), "bad_signature"),
        ("s = 0", with(r, &zero), "bad_signature"),
        ("r = n", with(&P256_ORDER, s), "bad_signature"),
        ("s = n", with(r, &P256_ORDER), "bad_signature"),
        ("r = s = n", with(&P256_ORDER, &P256_ORDER), "bad_signature"),
        ("all ones", with(&[0xff; 32], &[0xff; 32]), "bad_signature"),
        ("swapped", with(s, r), "bad_signature"),
        ("DER", with(&ecdsa_der(r, s), &[]), "bad_signature"),
        ("63 bytes", with(r, &s[..31]), "bad_signature"),
        ("65 bytes", with(r, &[s, &[0]].concat()), "bad_signature"),
        (
            "65 bytes, a zero in front",
            with(&[&[0], r].concat(), s),
            "bad_signature",
        ),
        (
            "96 bytes",
            with(&[&zero[..16], r].concat(), &[&zero[..16], s].concat()),
            "bad_signature",
        ),
        ("one byte", with(&[0], &[]), "bad_signature"),
        (
            "a P-384 key",
            with_signature(&p384.signed_by(key), "AA"),
            "algorithm_not_allowed",
        ),
        (
            "a P-384 key under its own name",
            p384.signed_by(key),
            "algorithm_not_allowed",
        ),
        (
            "ES384 by a P-256 key",
            good().algorithm(Algorithm::ES384).signed_by(Signer::p384()),
            "algorithm_not_allowed",
        ),
    ];
    assert_each_refused_by(
        |start| {
            start
                .file("keys/main.pem", key.public_pem())
                .file("keys/p384.pem", Signer::p384().public_pem())
        },
        &token,
        &cases,
    )
    .await;
}

/// SEC 2 §2.4.2.
const P256_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6,
    0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// `SEQUENCE { INTEGER r, INTEGER s }`.
fn ecdsa_der(r: &[u8], s: &[u8]) -> Vec<u8> {
    let integer = |number: &[u8]| {
        let sign: &[u8] = if number[0] < 0x80 { &[] } else { &[0] };
        let bytes = [sign, number].concat();
        [&[2, bytes.len() as u8][..], &bytes].concat()
    };
    let body = [integer(r), integer(s)].concat();
    [&[0x30, body.len() as u8][..], &body].concat()
}

#[tokio::test]
async fn t31_t35_an_rsa_key_verifies_what_the_issuer_allows_and_nothing_else() {
    let issuer = r#"
        [issuer.main]
        iss = "https://issuer.test"
        aud = "api"
        keys = "keys/"
        algorithms = ["RS256"]
    "#;
    let said = |algorithm| good().algorithm(algorithm).signed();
    let meant = |algorithm| good().signed_as(algorithm).signed();
    let nameless = |algorithm| good().algorithm(algorithm).without_header("kid").signed();
    let token = good().signed();
    let with = |bytes: &[u8]| with_signature(&token, &URL_SAFE_NO_PAD.encode(bytes));
    assert_each_refused_by(
        |start| start.issuers(issuer),
        &token,
        &[
            ("RS384", said(Algorithm::RS384), "algorithm_not_allowed"),
            ("RS512", said(Algorithm::RS512), "algorithm_not_allowed"),
            ("PS256", said(Algorithm::PS256), "algorithm_not_allowed"),
            (
                "PS256, no kid",
                nameless(Algorithm::PS256),
                "no_fitting_key",
            ),
            (
                "RS384 called RS256",
                meant(Algorithm::RS384),
                "bad_signature",
            ),
            (
                "RS512 called RS256",
                meant(Algorithm::RS512),
                "bad_signature",
            ),
            (
                "PS256 called RS256",
                meant(Algorithm::PS256),
                "bad_signature",
            ),
            ("zero", with(&[0; 256]), "bad_signature"),
            (
                "one",
                with(&[&[0; 255][..], &[1]].concat()),
                "bad_signature",
            ),
            (
                "the modulus",
                with(Signer::rsa().rsa_modulus()),
                "bad_signature",
            ),
            ("255 bytes", with(&[1; 255]), "bad_signature"),
            (
                "257 bytes",
                with(&[&[0][..], &[1; 256]].concat()),
                "bad_signature",
            ),
            (
                "of another token",
                {
                    let other = good().claim("sub", r#""bob""#).signed();
                    with_signature(&token, other.rsplit_once('.').unwrap().1)
                },
                "bad_signature",
            ),
            (
                "another key",
                good().signed_by(Signer::stranger()),
                "bad_signature",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn t32_an_ed25519_signature_is_canonical() {
    let key = Signer::ed25519();
    let token = good().algorithm(Algorithm::EdDSA).signed_by(key);
    let signature = URL_SAFE_NO_PAD
        .decode(token.rsplit_once('.').unwrap().1)
        .unwrap();
    let (r, s) = signature.split_at(32);
    let with =
        |r: &[u8], s: &[u8]| with_signature(&token, &URL_SAFE_NO_PAD.encode([r, s].concat()));
    let mut identity = [0; 32];
    identity[0] = 1;
    let said = |name: &str| {
        good()
            .algorithm(Algorithm::EdDSA)
            .header("alg", name)
            .signed_by(key)
    };
    assert_each_refused_by(
        |start| start.file("keys/main.pem", key.public_pem()),
        &token,
        &[
            ("S + L", with(r, &plus_ed25519_order(s)), "bad_signature"),
            ("S = 0, R = 0", with(&[0; 32], &[0; 32]), "bad_signature"),
            (
                "S = 0, R of small order",
                with(&identity, &[0; 32]),
                "bad_signature",
            ),
            ("all ones", with(&[0xff; 32], &[0xff; 32]), "bad_signature"),
            ("63 bytes", with(r, &s[..31]), "bad_signature"),
            ("65 bytes", with(r, &[s, &[0]].concat()), "bad_signature"),
            // RFC 9864 gives EdDSA a second name; it is not in the list of ours.
            ("Ed25519", said(r#""Ed25519""#), "unknown_algorithm"),
            ("Ed448", said(r#""Ed448""#), "unknown_algorithm"),
            ("eddsa", said(r#""eddsa""#), "unknown_algorithm"),
        ],
    )
    .await;
}

/// The same number modulo the order L of the base point (RFC 8032 §5.1), little-endian.
fn plus_ed25519_order(s: &[u8]) -> Vec<u8> {
    let order = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut carry = 0;
    s.iter()
        .zip(order)
        .map(|(s, l)| {
            let sum = u16::from(*s) + l + carry;
            carry = sum >> 8;
            sum as u8
        })
        .collect()
}

#[tokio::test]
async fn t36_a_flood_of_bad_tokens_evicts_no_good_one() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    let good = good().signed();
    let mut client = gateway.h1().await;
    assert_eq!(client.get("/api/x", &[&bearer(&good)]).await.status, 200);
    const FLOOD: usize = 10_000;
    const AT_ONCE: usize = 50;
    for batch in 0..FLOOD / AT_ONCE {
        let mut requests = String::new();
        for index in 0..AT_ONCE {
            let number = (batch * AT_ONCE + index) as u64;
            let signature = URL_SAFE_NO_PAD.encode([&[0; 248][..], &number.to_be_bytes()].concat());
            requests += &format!(
                "GET /api/x HTTP/1.1\r\nHost: localhost\r\n{}\r\n\r\n",
                bearer(&with_signature(&good, &signature))
            );
        }
        client.send(requests).await;
        for _ in 0..AT_ONCE {
            assert_eq!(client.answer().await.status, 401);
        }
    }
    assert_eq!(client.get("/api/x", &[&bearer(&good)]).await.status, 200);
    assert_eq!(upstream.received().len(), 2);
    // The good token was still there: all were misses but the last.
    assert_eq!(lookups(&gateway, "hit").await, 1);
    assert_eq!(lookups(&gateway, "miss").await, FLOOD as u64 + 1);
}

/// How often the cache had a token or not, as the metrics say.
async fn lookups(gateway: &TestGateway, result: &str) -> u64 {
    let stream = tokio::net::TcpStream::connect(gateway.admin())
        .await
        .unwrap();
    let metrics = crate::harness::H1::over(stream).get("/metrics", &[]).await;
    assert_eq!(metrics.status, 200);
    let label = format!("result=\"{result}\"");
    let text = metrics.text();
    let line = text
        .lines()
        .find(|line| line.starts_with("jotgate_token") && line.contains(&label))
        .unwrap_or_else(|| panic!("{text}"));
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

// ---- C: the inside of a token ----

/// What time it is for the gateways below, whose leeway is 30 seconds.
const NOW: u64 = 1_900_000_000;

fn at(now: u64) -> Clock {
    Clock::from_fn(move || UNIX_EPOCH + Duration::from_secs(now))
}

fn draft() -> Draft {
    Draft::at(NOW)
}

/// A claim of the good token is this instead.
fn claim(name: &str, json: &str) -> String {
    draft().claim(name, json).signed()
}

async fn assert_claims_refused(cases: &[Case]) {
    assert_each_refused_by(|start| start.clock(at(NOW)), &draft().signed(), cases).await;
}

async fn assert_claims_accepted(cases: &[(&str, String)]) {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).clock(at(NOW)).start();
    assert_accepted(&gateway, &upstream, cases).await;
}

#[tokio::test]
async fn t37_t38_t40_t41_times_are_exact_to_the_second() {
    let seconds = |name: &str, offset: i64| claim(name, &(NOW as i64 + offset).to_string());
    assert_claims_refused(&[
        (
            "no exp",
            draft().without_claim("exp").signed(),
            "missing_claim",
        ),
        ("exp, 31 s ago", seconds("exp", -31), "expired"),
        ("exp, 30 s ago", seconds("exp", -30), "expired"),
        (
            "exp, 29.5 s ago, rounded down",
            claim("exp", &format!("{}.5", NOW - 30)),
            "expired",
        ),
        ("exp, in 1970", claim("exp", "0"), "expired"),
        ("nbf, in 31 s", seconds("nbf", 31), "not_yet_valid"),
        (
            "nbf, in 30.5 s, rounded up",
            claim("nbf", &format!("{}.5", NOW + 30)),
            "not_yet_valid",
        ),
        ("iat, in 31 s", seconds("iat", 31), "issued_in_the_future"),
        (
            "iat, in an hour",
            seconds("iat", 3600),
            "issued_in_the_future",
        ),
    ])
    .await;
    assert_claims_accepted(&[
        ("exp, 29 s ago", seconds("exp", -29)),
        ("exp, in 1 s", seconds("exp", 1)),
        ("nbf, in 30 s", seconds("nbf", 30)),
        ("nbf, in 29 s", seconds("nbf", 29)),
        ("nbf, in 1970", claim("nbf", "0")),
        ("iat, in 30 s", seconds("iat", 30)),
        ("no iat", draft().without_claim("iat").signed()),
    ])
    .await;
}

#[tokio::test]
async fn t39_t40_a_time_is_a_number_from_1970_to_9999() {
    let mut cases: Vec<Case> = Vec::new();
    for name in ["exp", "nbf", "iat"] {
        for json in [
            r#""9999999999""#,
            r#""""#,
            "null",
            "true",
            "[]",
            "[9999999999]",
            "{}",
            "-1",
            "-0.5",
            "1e400",
            "1e300",
            "253402300800",
            "9223372036854775808",
            "18446744073709551615",
            "18446744073709551616",
        ] {
            cases.push((name, claim(name, json), "malformed_claims"));
        }
    }
    assert_claims_refused(&cases).await;
    assert_claims_accepted(&[
        ("far away", claim("exp", "10000000000")),
        ("a fraction", claim("exp", "4102444800.5")),
        ("an exponent", claim("exp", "4.1024448e9")),
        ("the year 9999", claim("exp", "253402300799")),
    ])
    .await;
}

#[tokio::test]
async fn t42_the_issuer_is_compared_as_a_string() {
    assert_claims_refused(&[
        (
            "absent",
            draft().without_claim("iss").signed(),
            "missing_claim",
        ),
        (
            "a slash more",
            claim("iss", r#""https://issuer.test/""#),
            "unknown_issuer",
        ),
        (
            "another case",
            claim("iss", r#""https://Issuer.test""#),
            "unknown_issuer",
        ),
        (
            "the scheme in capitals",
            claim("iss", r#""HTTPS://issuer.test""#),
            "unknown_issuer",
        ),
        (
            "http",
            claim("iss", r#""http://issuer.test""#),
            "unknown_issuer",
        ),
        (
            "the port",
            claim("iss", r#""https://issuer.test:443""#),
            "unknown_issuer",
        ),
        (
            "a longer host",
            claim("iss", r#""https://issuer.test.evil""#),
            "unknown_issuer",
        ),
        (
            "user information",
            claim("iss", r#""https://issuer.test@evil""#),
            "unknown_issuer",
        ),
        (
            "a space",
            claim("iss", r#""https://issuer.test ""#),
            "unknown_issuer",
        ),
        (
            "a NUL",
            claim("iss", r#""https://issuer.test\u0000""#),
            "unknown_issuer",
        ),
        (
            "a homoglyph",
            claim("iss", r#""https://іssuer.test""#),
            "unknown_issuer",
        ),
        (
            "our name for it",
            claim("iss", r#""main""#),
            "unknown_issuer",
        ),
        ("empty", claim("iss", r#""""#), "unknown_issuer"),
        (
            "a list",
            claim("iss", r#"["https://issuer.test","x"]"#),
            "malformed_claims",
        ),
        ("null", claim("iss", "null"), "malformed_claims"),
        ("a number", claim("iss", "1"), "malformed_claims"),
    ])
    .await;
    assert_claims_accepted(&[("escaped", claim("iss", r#""https:\/\/issuer\u002etest""#))]).await;
}

#[tokio::test]
async fn t44_t45_one_audience_of_the_token_is_ours() {
    assert_claims_refused(&[
        (
            "absent",
            draft().without_claim("aud").signed(),
            "missing_claim",
        ),
        ("none", claim("aud", "[]"), "wrong_audience"),
        ("empty", claim("aud", r#""""#), "wrong_audience"),
        ("a longer one", claim("aud", r#""api2""#), "wrong_audience"),
        ("a shorter one", claim("aud", r#""ap""#), "wrong_audience"),
        ("another case", claim("aud", r#""API""#), "wrong_audience"),
        ("a space", claim("aud", r#""api ""#), "wrong_audience"),
        (
            "several in one",
            claim("aud", r#""x api""#),
            "wrong_audience",
        ),
        ("others", claim("aud", r#"["x","y"]"#), "wrong_audience"),
        (
            "the issuer",
            claim("aud", r#""https://issuer.test""#),
            "wrong_audience",
        ),
        (
            "a number beside it",
            claim("aud", r#"[1,"api"]"#),
            "malformed_claims",
        ),
        (
            "null beside it",
            claim("aud", r#"["api",null]"#),
            "malformed_claims",
        ),
        (
            "an object",
            claim("aud", r#"{"a":"api"}"#),
            "malformed_claims",
        ),
        (
            "a list in a list",
            claim("aud", r#"[["api"]]"#),
            "malformed_claims",
        ),
        ("null", claim("aud", "null"), "malformed_claims"),
        ("true", claim("aud", "true"), "malformed_claims"),
    ])
    .await;
    assert_claims_accepted(&[
        ("one", claim("aud", r#""api""#)),
        ("one in a list", claim("aud", r#"["api"]"#)),
        ("one of two", claim("aud", r#"["x","api"]"#)),
    ])
    .await;
}

#[tokio::test]
async fn t46_a_token_for_another_routes_audience_is_refused() {
    let upstream = Upstream::start().await;
    let to = upstream.url();
    let gateway = Start::routes(&format!(
        r#"
        [[route]]
        path = "/api/"
        to = "{to}"
        auth = "main"
        [[route]]
        path = "/orders/"
        to = "{to}"
        auth = "main"
        aud = ["orders", "orders-v2"]
        "#
    ))
    .start();
    let mut client = gateway.h1().await;
    for (aud, path, status) in [
        ("api", "/api/x", 200),
        ("orders", "/orders/x", 200),
        ("orders-v2", "/orders/x", 200),
        // The route's audience stands instead of the issuer's, not beside it; a verified token
        // of the one is not good for the other because it is in the cache.
        ("api", "/orders/x", 401),
        ("orders", "/api/x", 401),
    ] {
        let token = good().claim("aud", &format!("\"{aud}\"")).signed();
        let answer = client.get(path, &[&bearer(&token)]).await;
        assert_eq!(answer.status, status, "{aud} at {path}");
        // And the same again, from the cache or not.
        let answer = client.get(path, &[&bearer(&token)]).await;
        assert_eq!(answer.status, status, "{aud} at {path}, again");
    }
    assert_eq!(upstream.received().len(), 6);
}

#[tokio::test]
async fn t46_one_token_for_one_route_is_not_good_at_another_after_it_was_cached() {
    let upstream = Upstream::start().await;
    let to = upstream.url();
    let route = |path: &str, aud: &str| {
        format!("[[route]]\npath = \"{path}\"\nto = \"{to}\"\nauth = \"main\"\naud = \"{aud}\"\n")
    };
    let gateway = Start::routes(&(route("/a/", "a") + &route("/b/", "b"))).start();
    let token = good().claim("aud", r#""a""#).signed();
    let mut client = gateway.h1().await;
    let statuses = async |client: &mut crate::harness::H1, path: &str| {
        client.get(path, &[&bearer(&token)]).await.status
    };
    assert_eq!(statuses(&mut client, "/a/x").await, 200);
    assert_eq!(statuses(&mut client, "/b/x").await, 401);
    assert_eq!(statuses(&mut client, "/a/x").await, 200);
    assert_eq!(gateway.events(3).await[1]["reason"], "wrong_audience");
}

#[tokio::test]
async fn t48_a_subject_is_a_short_string_that_is_not_empty() {
    assert_claims_refused(&[
        (
            "absent",
            draft().without_claim("sub").signed(),
            "claim_unusable",
        ),
        ("empty", claim("sub", r#""""#), "malformed_claims"),
        ("a number", claim("sub", "7"), "malformed_claims"),
        ("null", claim("sub", "null"), "malformed_claims"),
        ("a list", claim("sub", r#"["alice"]"#), "malformed_claims"),
        (
            "an object",
            claim("sub", r#"{"a":"alice"}"#),
            "malformed_claims",
        ),
        ("true", claim("sub", "true"), "malformed_claims"),
        (
            "1 KiB and a byte",
            claim("sub", &format!("\"{}\"", "a".repeat(1025))),
            "malformed_claims",
        ),
        (
            "10 KiB",
            claim("sub", &format!("\"{}\"", "a".repeat(10 * 1024))),
            "token_too_long",
        ),
        ("jti, a number", claim("jti", "7"), "malformed_claims"),
    ])
    .await;
    assert_claims_accepted(&[("1 KiB", claim("sub", &format!("\"{}\"", "a".repeat(1024))))]).await;
}

#[tokio::test]
async fn t51_tokens_of_our_issuer_for_other_purposes_are_refused() {
    let old = draft().without_claim("exp").claim(
        "events",
        r#"{"http://schemas.openid.net/event/backchannel-logout":{}}"#,
    );
    let logout = old.clone().header("typ", r#""logout+jwt""#);
    let typ = |typ: &str| draft().header("typ", &format!("\"{typ}\"")).signed();
    assert_claims_refused(&[
        (
            "an ID token",
            claim("aud", r#""client-id""#),
            "wrong_audience",
        ),
        (
            "a refresh token",
            "8xLOxBtZp8-opaque_refresh~token".to_owned(),
            "malformed_token",
        ),
        ("a logout token", logout.signed(), "other_purpose"),
        ("one of old", old.signed(), "missing_claim"),
        ("one for us", typ("application/LOGOUT+jwt"), "other_purpose"),
        ("a security event", typ("secevent+jwt"), "other_purpose"),
        ("a proof of possession", typ("dpop+jwt"), "other_purpose"),
    ])
    .await;
}

// ---- The cache ----

/// A clock that the test sets.
fn hand_clock() -> (Arc<AtomicU64>, Clock) {
    let hand = Arc::new(AtomicU64::new(NOW));
    let clock = Clock::from_fn({
        let hand = hand.clone();
        move || UNIX_EPOCH + Duration::from_secs(hand.load(Ordering::SeqCst))
    });
    (hand, clock)
}

#[tokio::test]
async fn t52_a_token_that_was_verified_before_expires_all_the_same() {
    let upstream = Upstream::start().await;
    let (hand, clock) = hand_clock();
    let gateway = Start::with(&upstream).clock(clock).start();
    let token = draft()
        .claim("exp", &(NOW + 60).to_string())
        .claim("nbf", &NOW.to_string())
        .signed();
    let mut client = gateway.h1().await;
    let steps = [
        (0, 200, "ok"),
        (60 + 29, 200, "ok"),
        (60 + 30, 401, "expired"),
        (60 + 3600, 401, "expired"),
        // The clock was wrong and is set back: the token is good again, until it is too early.
        (30, 200, "ok"),
        (-30, 200, "ok"),
        (-31, 401, "not_yet_valid"),
    ];
    for (offset, status, _) in steps {
        hand.store(NOW.saturating_add_signed(offset), Ordering::SeqCst);
        let answer = client.get("/api/x", &[&bearer(&token)]).await;
        assert_eq!(answer.status, status, "at {offset}");
        if status == 401 {
            Kind::InvalidToken.check(&answer, "cached");
        }
    }
    // Events are in the order of their times.
    let mut steps = steps;
    steps.sort_by_key(|(offset, ..)| *offset);
    let events = gateway.events(steps.len()).await;
    for ((offset, _, reason), event) in steps.iter().zip(events) {
        assert_eq!(event["reason"], *reason, "at {offset}");
        assert_eq!(
            (&event["issuer"], &event["kid"]),
            (&"main".into(), &"main".into())
        );
    }
    // All of it was decided from the cache, otherwise nothing was tested here.
    assert_eq!(lookups(&gateway, "miss").await, 1);
}

#[tokio::test]
async fn t53_the_cache_knows_whole_tokens_only() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    let token = good().signed();
    let (input, signature) = token.rsplit_once('.').unwrap();
    let forged = Draft::good().signed_by(Signer::stranger());
    let last = if signature.starts_with('A') { 'B' } else { 'A' };
    let changed = format!("{input}.{last}{}", &signature[1..]);
    let tokens = [
        &token,
        &with_signature(&token, forged.rsplit_once('.').unwrap().1),
        &changed,
        &with_signature(&token, &signature[..signature.len() - 4]),
        &format!("{token}="),
        &token,
    ];
    let requests: Vec<_> = tokens.iter().map(|token| vec![bearer(token)]).collect();
    let verdicts = judge(&gateway, &upstream, "/api/x", &requests).await;
    let reasons: Vec<_> = verdicts.iter().map(|verdict| verdict.reason()).collect();
    let bad = "bad_signature";
    assert_eq!(reasons, ["ok", bad, bad, bad, bad, "ok"]);
    assert_eq!(lookups(&gateway, "hit").await, 1);
}

#[tokio::test]
async fn a_flipped_bit_is_refused_by_the_whole_gateway_too() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    let token = good().signed();
    let part_ends: Vec<_> = token.match_indices('.').map(|(at, _)| at).collect();
    let (first, second) = (part_ends[0], part_ends[1]);
    let mut requests = vec![vec![bearer(&token)]];
    for byte in [
        0,
        first / 2,
        first - 1,
        first + 1,
        second - 1,
        second + 1,
        token.len() - 1,
    ] {
        for bit in 0..3 {
            let mut flipped = token.clone().into_bytes();
            flipped[byte] ^= 1 << bit;
            requests.push(vec![bearer(&String::from_utf8(flipped).unwrap())]);
        }
    }
    requests.push(vec![bearer(&token)]);
    let verdicts = judge(&gateway, &upstream, "/api/x", &requests).await;
    let last = verdicts.len() - 1;
    for (index, verdict) in verdicts.iter().enumerate() {
        let is_original = index == 0 || index == last;
        assert_eq!(
            verdict.forwarded.is_some(),
            is_original,
            "{:?}",
            requests[index]
        );
        assert_eq!(verdict.answer.status == 200, is_original);
    }
}

// ---- Properties, at the verifier itself ----

/// A verifier, and an issuer that trusts the keys of these signers.
struct Bench {
    verifier: Verifier,
    issuer: TrustedIssuer,
}

impl Bench {
    fn trusting(signers: &[&Signer]) -> Self {
        jotgate::crypto::install();
        let folder = tempfile::tempdir().unwrap();
        for (index, signer) in signers.iter().enumerate() {
            signer.write_public(&folder.path().join(format!("{index}.pem")));
        }
        let loaded = load_public(&[KeySource {
            path: folder.path().to_owned(),
            kid: None,
        }]);
        assert_eq!(loaded.problems, []);
        Self {
            verifier: Verifier::new(
                Arc::new(Metrics::new(
                    &Readiness::starting(),
                    RouteNames::default(),
                    DurationsOf::All,
                )),
                1024 * 1024,
            ),
            issuer: TrustedIssuer {
                name: "main".into(),
                iss: "https://issuer.test".to_owned(),
                keys: loaded.set,
                leeway: Duration::from_secs(30),
            },
        }
    }

    /// `None` if the bytes are no credential or no good token.
    fn verify(&mut self, token: &[u8], now: u64) -> Option<VerifiedToken> {
        let field = [b"Bearer ", token].concat();
        let credential = Credential::parse(&field).ok()?;
        let now = NumericDate::from_seconds(now);
        let accepted = Accepted {
            issuer: &self.issuer,
            audiences: &["api".to_owned()],
        };
        let accepted = std::iter::once(accepted);
        self.verifier.verify(credential, accepted, now).ok()
    }
}

/// The families of keys, each with a token that does not name its key.
fn families() -> Vec<(&'static Signer, Algorithm)> {
    vec![
        (Signer::rsa(), Algorithm::RS256),
        (Signer::p256(), Algorithm::ES256),
        (Signer::ed25519(), Algorithm::EdDSA),
    ]
}

#[test]
fn any_flipped_bit_of_a_good_token_is_refused() {
    for (signer, algorithm) in families() {
        let mut bench = Bench::trusting(&[signer]);
        let token = draft()
            .algorithm(algorithm)
            .without_header("kid")
            .signed_by(signer)
            .into_bytes();
        // The cache knows the good one.
        assert!(bench.verify(&token, NOW).is_some());
        for bit in 0..token.len() * 8 {
            let mut flipped = token.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(
                bench.verify(&flipped, NOW).is_none(),
                "{algorithm:?}, bit {} of byte {}: {}",
                bit % 8,
                bit / 8,
                String::from_utf8_lossy(&flipped)
            );
        }
        assert!(bench.verify(&token, NOW).is_some());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_flipped_bit_of_any_good_token_is_refused(
        subject in "[ -~&&[^\"\\\\]]{1,60}",
        family in 0_usize..3,
        bits in prop::collection::vec(any::<prop::sample::Index>(), 1..4),
    ) {
        let (signer, algorithm) = families()[family];
        let mut bench = Bench::trusting(&[signer]);
        let token = draft()
            .algorithm(algorithm)
            .without_header("kid")
            .claim("sub", &format!("\"{subject}\""))
            .signed_by(signer)
            .into_bytes();
        let mut flipped = token.clone();
        for bit in &bits {
            let bit = bit.index(token.len() * 8);
            flipped[bit / 8] ^= 1 << (bit % 8);
        }
        let subject_of = |token: VerifiedToken| token.claims().subject().map(Cow::into_owned);
        prop_assert_eq!(bench.verify(&token, NOW).and_then(subject_of), Some(subject));
        // Two flips of one bit are none.
        prop_assert_eq!(bench.verify(&flipped, NOW).is_some(), flipped == token);
    }

    #[test]
    fn time_changes_the_verdict_only_where_the_leeway_ends(
        lifetime in 0_u64..600,
        delay in 0_u64..600,
        offset in -1_000_i64..1_000,
        cached: bool,
    ) {
        let mut bench = Bench::trusting(&[Signer::ed25519()]);
        let (starts, ends) = (NOW + delay, NOW + delay + lifetime);
        let token = draft()
            .algorithm(Algorithm::EdDSA)
            .without_header("kid")
            .claim("nbf", &starts.to_string())
            .claim("exp", &ends.to_string())
            .signed_by(Signer::ed25519())
            .into_bytes();
        if cached {
            prop_assert!(bench.verify(&token, starts).is_some());
        }
        let now = NOW.saturating_add_signed(offset);
        // `iat` is NOW.
        let expected = (starts.max(NOW)..ends + 60).contains(&(now + 30));
        prop_assert_eq!(bench.verify(&token, now).is_some(), expected);
    }
}
