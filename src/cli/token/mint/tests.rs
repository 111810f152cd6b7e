//! Tests of `mint`.

use std::time::{Duration, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Parser;
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::crypto::KeyKind;
use crate::keys::source::{KeySource, load_public, load_secret};

#[derive(Parser)]
struct Program {
    #[command(flatten)]
    args: MintArgs,
}

const NOW: u64 = 1_800_000_000;
const SECRET: &str = "correct horse battery staple, and more\n";

/// A folder with `private.pem`, `public.pem` and `internal.key`.
fn keys(kind: KeyKind) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let pair = crypto::generate(kind).unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write(
        "private.pem",
        &pem::encode("PRIVATE KEY", &pair.private_pkcs8_der),
    );
    write(
        "public.pem",
        &pem::encode("PUBLIC KEY", &pair.public_spki_der),
    );
    write("internal.key", SECRET);
    folder
}

fn run(folder: &TempDir, args: &str) -> Result<String, String> {
    let args = args
        .split('|')
        .filter(|arg| !arg.is_empty())
        .map(|arg| arg.replace('@', folder.path().to_str().unwrap()));
    let program = Program::try_parse_from(["mint".to_owned()].into_iter().chain(args))
        .map_err(|error| error.to_string())?;
    let clock = Clock::from_fn(|| UNIX_EPOCH + Duration::from_secs(NOW));
    let mut out = Vec::new();
    program
        .args
        .run(&clock, &mut out)
        .map_err(|error| error.to_string())?;
    Ok(String::from_utf8(out).unwrap())
}

fn part(token: &str, index: usize) -> Value {
    serde_json::from_slice(
        &URL_SAFE_NO_PAD
            .decode(token.trim().split('.').nth(index).unwrap())
            .unwrap(),
    )
    .unwrap()
}

#[test]
fn every_kind_of_key_signs_what_its_public_half_verifies() {
    for (kind, algorithms) in [
        (
            KeyKind::Rsa2048,
            &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"][..],
        ),
        (KeyKind::P256, &["ES256"]),
        (KeyKind::P384, &["ES384"]),
        (KeyKind::Ed25519, &["EdDSA"]),
    ] {
        let folder = keys(kind);
        let set = load_public(&[KeySource {
            path: folder.path().join("public.pem"),
            kid: Some("private".into()),
        }])
        .set;
        let default = part(&run(&folder, "--key|@/private.pem").unwrap(), 0);
        assert_eq!(
            default,
            json!({"typ": "JWT", "alg": algorithms[0], "kid": "private"})
        );
        for algorithm in algorithms {
            let token = run(&folder, &format!("--key|@/private.pem|--alg|{algorithm}")).unwrap();
            let (message, signature) = token.trim().rsplit_once('.').unwrap();
            let algorithm = Algorithm::from_name(algorithm).unwrap();
            assert!(
                set.find("private")
                    .unwrap()
                    .verify(algorithm, message.as_bytes(), signature),
                "{algorithm}"
            );
            assert!(
                !set.find("private")
                    .unwrap()
                    .verify(algorithm, b"other", signature),
                "{algorithm}"
            );
        }
        for wrong in Algorithm::ALL
            .into_iter()
            .filter(|algorithm| !algorithms.contains(&algorithm.name()))
        {
            let error = run(&folder, &format!("--key|@/private.pem|--alg|{wrong}")).unwrap_err();
            assert_eq!(
                error,
                format!("a key for {} cannot sign {wrong}", algorithms[0])
            );
        }
    }
}

#[test]
fn a_secret_signs_what_it_verifies() {
    let folder = keys(KeyKind::Ed25519);
    let token = run(&folder, "--secret|@/internal.key").unwrap();
    let set = load_secret(&folder.path().join("internal.key"), SecretEncoding::Raw).set;
    let (message, signature) = token.trim().rsplit_once('.').unwrap();
    assert!(
        set.find("internal")
            .unwrap()
            .verify(Algorithm::HS256, message.as_bytes(), signature)
    );
}

#[test]
fn an_empty_secret_signs_nothing() {
    let folder = keys(KeyKind::P256);
    std::fs::write(folder.path().join("internal.key"), "\n").unwrap();
    let refused = run(&folder, "--secret|@/internal.key|--iss|me|--sub|a").unwrap_err();
    assert!(refused.contains("internal.key: empty"), "{refused}");
}

#[test]
fn the_claims_are_those_that_were_asked_for() {
    let folder = keys(KeyKind::Ed25519);
    let claims = |args: &str| {
        part(
            &run(&folder, &format!("--key|@/private.pem|{args}")).unwrap(),
            1,
        )
    };
    assert_eq!(claims(""), json!({"iat": NOW, "exp": NOW + 3600}));
    assert_eq!(claims("--expires-in|-5m")["exp"], NOW - 300);
    assert_eq!(claims("--expires-in|1d12h")["exp"], NOW + 36 * 3600);
    assert_eq!(
        claims(
            "--iss|me|--aud|a|--sub|s|--expires-in|1h30m|--not-before=-10s|--claim|n=1|--claim|t=1x|--claim|e=|--claim|q=\"1\""
        ),
        json!({"iss": "me", "aud": "a", "sub": "s", "iat": NOW, "nbf": NOW - 10, "exp": NOW + 5400,
               "n": 1, "t": "1x", "e": "", "q": "1"})
    );
    assert_eq!(
        claims("--aud|a|--aud|b|--claim|o={\"a\":[1]}")["aud"],
        json!(["a", "b"])
    );
    assert_eq!(claims("--claim|o={\"a\":[1]}")["o"], json!({"a": [1]}));
}

#[test]
fn the_kid_is_the_files_name_unless_told_otherwise() {
    let folder = keys(KeyKind::Ed25519);
    let kid = |args: &str| {
        part(
            &run(&folder, &format!("--key|@/private.pem|{args}")).unwrap(),
            0,
        )["kid"]
            .clone()
    };
    assert_eq!(kid("--kid|a/b"), "a/b");
    assert_eq!(kid("--no-kid"), Value::Null);
}

#[test]
fn a_byte_order_mark_before_a_private_key_is_skipped() {
    let folder = keys(KeyKind::P256);
    let key = std::fs::read_to_string(folder.path().join("private.pem")).unwrap();
    std::fs::write(folder.path().join("marked.pem"), format!("\u{feff}{key}")).unwrap();
    run(&folder, "--key|@/marked.pem").unwrap();
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let folder = keys(KeyKind::P256);
    std::fs::write(
        folder.path().join("sec1.pem"),
        pem::encode("EC PRIVATE KEY", b"x"),
    )
    .unwrap();
    std::fs::write(
        folder.path().join("junk.pem"),
        pem::encode("PRIVATE KEY", b"x"),
    )
    .unwrap();
    for (args, why) in [
        ("", "--key"),
        (
            "--key|@/private.pem|--secret|@/internal.key",
            "cannot be used with",
        ),
        (
            "--key|@/private.pem|--kid|a|--no-kid",
            "cannot be used with",
        ),
        ("--key|@/private.pem|--alg|es256", "exactly this spelling"),
        ("--key|@/private.pem|--alg|none", "exactly this spelling"),
        ("--key|@/private.pem|--claim|exp=1", "--expires-in"),
        ("--key|@/private.pem|--claim|sub=x", "--sub"),
        ("--key|@/private.pem|--claim|=x", "name is empty"),
        ("--key|@/private.pem|--claim|x", "NAME=VALUE"),
        ("--key|@/private.pem|--claim|x=1|--claim|x=2", "given twice"),
        (
            "--key|@/private.pem|--expires-in|soon",
            "expected a duration such as",
        ),
        (
            "--key|@/private.pem|--expires-in|1mo",
            "expected a duration such as",
        ),
        ("--key|@/private.pem|--expires-in|-1000000h", "exp would be"),
        ("--key|@/public.pem", "the private half signs"),
        ("--key|@/internal.key", "exactly one key"),
        ("--key|@/sec1.pem", "openssl pkcs8 -topk8"),
        ("--key|@/junk.pem", "not an RSA, P-256"),
        ("--key|@/missing.pem", "missing.pem: cannot be read"),
        ("--secret|@/public.pem", "not a secret"),
    ] {
        let error = run(&folder, args).unwrap_err();
        assert!(error.contains(why), "{args}: {error}");
    }
}
