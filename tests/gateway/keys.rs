//! Which keys are taken from files, and which of them a token is verified with.

use jotgate::cli::run;
use jotgate::crypto::KeyKind;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use crate::harness::{Draft, Signer, Start, TestGateway, Upstream, Verdict, bearer, judge};

/// Judges each token on `/api/x` of a gateway that this changes.
async fn verdicts(prepare: impl Fn(Start) -> Start, tokens: &[String]) -> Vec<Verdict> {
    let upstream = Upstream::start().await;
    let gateway = prepare(Start::with(&upstream)).start();
    judge_tokens(&gateway, &upstream, "/api/x", tokens).await
}

async fn judge_tokens(
    gateway: &TestGateway,
    upstream: &Upstream,
    path: &str,
    tokens: &[String],
) -> Vec<Verdict> {
    let requests: Vec<_> = tokens.iter().map(|token| vec![bearer(token)]).collect();
    judge(gateway, upstream, path, &requests).await
}

/// The reason of each verdict, `ok` only where the upstream was reached.
fn reasons(verdicts: &[Verdict]) -> Vec<&str> {
    verdicts
        .iter()
        .map(|verdict| {
            let passed = verdict.answer.status == 200 && verdict.forwarded.is_some();
            assert_eq!(verdict.reason() == "ok", passed, "{verdict:?}");
            verdict.reason()
        })
        .collect()
}

fn good() -> Draft {
    Draft::good()
}

fn es256() -> Draft {
    good().algorithm(Algorithm::ES256)
}

const MAIN: &str = r#"
    [issuer.main]
    iss = "https://issuer.test"
    aud = "api"
"#;

/// `[issuer.main]` with this line beside `iss` and `aud`.
fn issuer(line: &str) -> String {
    format!("{MAIN}\n{line}\n")
}

// ---- Choosing ----

#[tokio::test]
async fn every_algorithm_is_verified_from_the_token_to_the_upstream() {
    let upstream = Upstream::start().await;
    let to = upstream.url();
    let secret: Vec<u8> = (0..64).collect();
    let gateway = Start::routes(&format!(
        "[[route]]\npath = \"/api/\"\nto = \"{to}\"\nauth = [\"main\", \"internal\"]\n"
    ))
    .issuers(&format!(
        "{}\n[issuer.internal]\niss = \"internal\"\naud = \"api\"\nsecret = \"internal.key\"\n",
        issuer("keys = \"keys/\"")
    ))
    .file("internal.key", &secret)
    .file("keys/p256.pem", Signer::p256().public_pem())
    .file("keys/p384.pem", Signer::p384().public_pem())
    .file("keys/ed.pem", Signer::ed25519().public_pem())
    .start();
    let mut tokens = Vec::new();
    for (algorithm, kid, signer) in [
        (Algorithm::RS256, "main", Signer::rsa()),
        (Algorithm::RS384, "main", Signer::rsa()),
        (Algorithm::RS512, "main", Signer::rsa()),
        (Algorithm::PS256, "main", Signer::rsa()),
        (Algorithm::PS384, "main", Signer::rsa()),
        (Algorithm::PS512, "main", Signer::rsa()),
        (Algorithm::ES256, "p256", Signer::p256()),
        (Algorithm::ES384, "p384", Signer::p384()),
        (Algorithm::EdDSA, "ed", Signer::ed25519()),
    ] {
        let draft = good().algorithm(algorithm);
        tokens.push((
            algorithm,
            "main",
            kid,
            draft.clone().kid(kid).signed_by(signer),
        ));
        tokens.push((
            algorithm,
            "main",
            kid,
            draft.without_header("kid").signed_by(signer),
        ));
    }
    for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
        let draft = good().claim("iss", r#""internal""#).algorithm(algorithm);
        let named = draft.clone().kid("internal").hmac(&secret);
        tokens.push((algorithm, "internal", "internal", named));
        let nameless = draft.without_header("kid").hmac(&secret);
        tokens.push((algorithm, "internal", "internal", nameless));
    }
    let texts: Vec<String> = tokens.iter().map(|(.., token)| token.clone()).collect();
    let verdicts = judge_tokens(&gateway, &upstream, "/api/x", &texts).await;
    for ((algorithm, issuer, kid, _), verdict) in tokens.iter().zip(&verdicts) {
        assert_eq!(verdict.reason(), "ok", "{algorithm:?}");
        assert_eq!(verdict.event["issuer"], *issuer, "{algorithm:?}");
        assert_eq!(verdict.event["kid"], *kid, "{algorithm:?}");
        let forwarded = verdict.forwarded.as_ref().unwrap();
        assert_eq!(
            forwarded.one("x-auth-subject"),
            Some("alice"),
            "{algorithm:?}"
        );
    }
}

#[tokio::test]
async fn kid_selects_the_key_and_no_other_is_tried() {
    let (one, other) = (Signer::p256(), Signer::new(KeyKind::P256));
    let cases = [
        ("a", one, "ok"),
        ("b", &other, "ok"),
        ("a", &other, "bad_signature"),
        ("b", one, "bad_signature"),
        ("c", one, "unknown_kid"),
    ];
    let tokens: Vec<_> = cases
        .iter()
        .map(|(kid, signer, _)| es256().kid(kid).signed_by(signer))
        .collect();
    let verdicts = verdicts(
        |start| {
            start
                .file("keys/a.pem", one.public_pem())
                .file("keys/b.pem", other.public_pem())
        },
        &tokens,
    )
    .await;
    assert_eq!(reasons(&verdicts), cases.map(|(.., reason)| reason));
    for ((kid, ..), verdict) in cases.iter().zip(&verdicts) {
        assert_eq!(verdict.event["kid"], *kid);
    }
}

#[tokio::test]
async fn a_key_is_named_by_itself_or_the_configuration_or_its_file_and_always_by_its_thumbprint() {
    let fresh = || Signer::new(KeyKind::P256);
    let (by_file, by_table, by_jwk, in_bundle) = (fresh(), fresh(), fresh(), fresh());
    let mut jwk = by_jwk.jwk();
    jwk["kid"] = "own/kid+1".into();
    let bundle = format!("{}{}", in_bundle.public_pem(), fresh().public_pem());
    let keys = r#"keys = ["keys/2026.v1.pem", { file = "idp.pem", kid = "a/b" }, "idp.json", "bundle.pem"]"#;
    let cases = [
        (&by_file, "2026.v1".to_owned(), "ok"),
        (&by_file, "2026".to_owned(), "unknown_kid"),
        (&by_file, by_file.thumbprint(), "ok"),
        (&by_table, "a/b".to_owned(), "ok"),
        (&by_table, "idp".to_owned(), "unknown_kid"),
        (&by_table, by_table.thumbprint(), "ok"),
        (&by_jwk, "own/kid+1".to_owned(), "ok"),
        (&by_jwk, by_jwk.thumbprint(), "ok"),
        // Two keys in one file without a name of their own: the file's cannot be both.
        (&in_bundle, "bundle".to_owned(), "unknown_kid"),
        (&in_bundle, in_bundle.thumbprint(), "ok"),
        // A thumbprint is a name like any other: it does not replace the signature.
        (&by_file, by_jwk.thumbprint(), "bad_signature"),
    ];
    let tokens: Vec<_> = cases
        .iter()
        .map(|(signer, kid, _)| es256().kid(kid).signed_by(signer))
        .collect();
    let verdicts = verdicts(
        |start| {
            start
                .issuers(&issuer(keys))
                .file("keys/2026.v1.pem", by_file.public_pem())
                .file("idp.pem", by_table.public_pem())
                .file("idp.json", jwk.to_string())
                .file("bundle.pem", &bundle)
        },
        &tokens,
    )
    .await;
    assert_eq!(
        reasons(&verdicts),
        cases.iter().map(|(.., reason)| *reason).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn t21_without_kid_up_to_four_fitting_keys_are_tried() {
    let signers: Vec<Signer> = (0..5).map(|_| Signer::new(KeyKind::P256)).collect();
    for count in 1..=5 {
        let trusted = &signers[..count];
        let write = |start: Start| {
            let keys = |start: Start, (index, signer): (usize, &Signer)| {
                start.file(&format!("keys/{index}.pem"), signer.public_pem())
            };
            trusted.iter().enumerate().fold(start, keys)
        };
        let mut tokens: Vec<_> = trusted
            .iter()
            .map(|signer| es256().without_header("kid").signed_by(signer))
            .collect();
        // RSA keys are none of the four, and their own tokens need no name beside five others.
        tokens.push(good().without_header("kid").signed());
        tokens.push(es256().without_header("kid").signed_by(Signer::p256()));
        tokens.push(es256().kid("0").signed_by(&signers[0]));
        let verdicts = verdicts(write, &tokens).await;
        let (nameless, stranger) = if count <= 4 {
            ("ok", "bad_signature")
        } else {
            ("too_many_keys", "too_many_keys")
        };
        let mut expected = vec![nameless; count];
        expected.extend(["ok", stranger, "ok"]);
        assert_eq!(reasons(&verdicts), expected, "{count} keys");

        let loaded = run::load(&write(offline()).write()).unwrap_or_else(|e| panic!("{e}"));
        let warns = loaded
            .problems
            .iter()
            .any(|problem| problem.message.contains("more than 4 keys fit ES256"));
        assert_eq!(warns, count > 4, "{count} keys");
    }
}

// ---- Several issuers ----

/// Two issuers with keys of the same name, `one` and `other`, and a route for each and for both.
fn two_issuers(to: &str, other: &Signer) -> Start {
    let route = |path: &str, auth: &str| {
        format!("[[route]]\npath = \"{path}\"\nto = \"{to}\"\nauth = {auth}\n")
    };
    let issuer = |name: &str| {
        format!(
            "[issuer.{name}]\niss = \"https://{name}.test\"\naud = \"api\"\nkeys = \"{name}/\"\n"
        )
    };
    Start::routes(
        &[
            route("/one/", r#""one""#),
            route("/other/", r#""other""#),
            route("/both/", r#"["one", "other"]"#),
        ]
        .concat(),
    )
    .issuers(&(issuer("one") + &issuer("other")))
    .file("one/shared.pem", Signer::p256().public_pem())
    .file("one/a.pem", Signer::ed25519().public_pem())
    .file("other/shared.pem", other.public_pem())
    .file("other/b.pem", Signer::p384().public_pem())
}

#[tokio::test]
async fn t22_t43_the_keys_of_one_issuer_are_worth_nothing_for_another() {
    let other = Signer::new(KeyKind::P256);
    let of = |name: &str| es256().claim("iss", &format!("\"https://{name}.test\""));
    let shared = |name: &str, signer: &Signer| of(name).kid("shared").signed_by(signer);
    let es384 = of("one").algorithm(Algorithm::ES384);
    let cases = [
        ("its own key", shared("one", Signer::p256()), "ok", "one"),
        ("its own key", shared("other", &other), "ok", "other"),
        // The same kid in both: the claimed issuer's key decides.
        (
            "the other's key",
            shared("one", &other),
            "bad_signature",
            "one",
        ),
        (
            "the one's key",
            shared("other", Signer::p256()),
            "bad_signature",
            "other",
        ),
        (
            "the other's kid",
            es384.clone().kid("b").signed_by(Signer::p384()),
            "unknown_kid",
            "one",
        ),
        (
            "the other's thumbprint",
            es384
                .clone()
                .kid(&Signer::p384().thumbprint())
                .signed_by(Signer::p384()),
            "unknown_kid",
            "one",
        ),
        (
            "no kid",
            es384.without_header("kid").signed_by(Signer::p384()),
            "no_fitting_key",
            "one",
        ),
        (
            "no kid, the same algorithm",
            of("one").without_header("kid").signed_by(&other),
            "bad_signature",
            "one",
        ),
    ];
    let upstream = Upstream::start().await;
    let gateway = two_issuers(&upstream.url(), &other).start();
    let tokens: Vec<_> = cases.iter().map(|(_, token, ..)| token.clone()).collect();
    let verdicts = judge_tokens(&gateway, &upstream, "/both/x", &tokens).await;
    for ((name, _, reason, issuer), verdict) in cases.iter().zip(&verdicts) {
        assert_eq!(
            (verdict.reason(), &verdict.event["issuer"]),
            (*reason, &(*issuer).into()),
            "{name}"
        );
        assert_eq!(verdict.forwarded.is_some(), *reason == "ok", "{name}");
    }
}

#[tokio::test]
async fn t43_a_route_believes_its_own_issuers_only() {
    let other = Signer::new(KeyKind::P256);
    let token = |name: &str, signer: &Signer| {
        es256()
            .claim("iss", &format!("\"https://{name}.test\""))
            .kid("shared")
            .signed_by(signer)
    };
    let (of_one, of_other) = (token("one", Signer::p256()), token("other", &other));
    let upstream = Upstream::start().await;
    let gateway = two_issuers(&upstream.url(), &other).start();
    let mut client = gateway.h1().await;
    // Both are in the cache from the first two on.
    let steps = [
        ("/both/x", &of_one, 200),
        ("/both/x", &of_other, 200),
        ("/one/x", &of_one, 200),
        ("/other/x", &of_other, 200),
        ("/one/x", &of_other, 401),
        ("/other/x", &of_one, 401),
    ];
    for (path, token, status) in steps {
        let answer = client.get(path, &[&bearer(token)]).await;
        assert_eq!(answer.status, status, "{path}");
    }
    for event in &gateway.events(steps.len()).await[4..] {
        assert_eq!(event["reason"], "unknown_issuer");
        assert!(event["issuer"].is_null(), "{event}");
    }
    assert_eq!(upstream.received().len(), 4);
}

#[tokio::test]
async fn an_issuer_with_a_secret_takes_hmac_only_and_no_longer_hash_than_the_secret() {
    // 48 bytes: enough for HS384, not for HS512.
    let secret: Vec<u8> = (100..148).collect();
    let hs = |algorithm| good().algorithm(algorithm).kid("internal");
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream)
        .issuers(&issuer(
            "secret = \"secrets/internal.key\"\nsecret_encoding = \"base64url\"",
        ))
        // The bytes 100 to 147, with a final newline.
        .file(
            "secrets/internal.key",
            "ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1-f4CBgoOEhYaHiImKi4yNjo-QkZKT\n",
        )
        .start();
    let nameless = hs(Algorithm::HS512).without_header("kid");
    let encoded = b"ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1-f4CBgoOEhYaHiImKi4yNjo-QkZKT";
    let cases = [
        (hs(Algorithm::HS256).hmac(&secret), "ok"),
        (hs(Algorithm::HS384).hmac(&secret), "ok"),
        (hs(Algorithm::HS512).hmac(&secret), "algorithm_not_allowed"),
        (nameless.hmac(&secret), "no_fitting_key"),
        (hs(Algorithm::HS256).hmac(encoded), "bad_signature"),
        (hs(Algorithm::HS256).hmac(b""), "bad_signature"),
        (hs(Algorithm::HS256).hmac(&secret[..47]), "bad_signature"),
        (
            hs(Algorithm::HS384)
                .header("alg", r#""HS256""#)
                .hmac(&secret),
            "bad_signature",
        ),
        (good().kid("internal").signed(), "algorithm_not_allowed"),
        (good().without_header("kid").signed(), "no_fitting_key"),
        (good().signed(), "unknown_kid"),
    ];
    let tokens: Vec<_> = cases.iter().map(|(token, _)| token.clone()).collect();
    let verdicts = judge_tokens(&gateway, &upstream, "/api/x", &tokens).await;
    assert_eq!(reasons(&verdicts), cases.map(|(_, reason)| reason));
}

#[tokio::test]
async fn the_alg_of_a_jwk_fixes_one_algorithm() {
    let mut jwk = Signer::rsa().jwk();
    jwk["alg"] = "PS384".into();
    let draft = |algorithm| good().algorithm(algorithm);
    let cases = [
        (draft(Algorithm::PS384).signed(), "ok"),
        (draft(Algorithm::PS256).signed(), "algorithm_not_allowed"),
        (draft(Algorithm::RS384).signed(), "algorithm_not_allowed"),
        (
            draft(Algorithm::RS384).without_header("kid").signed(),
            "no_fitting_key",
        ),
        (
            draft(Algorithm::PS384).signed_as(Algorithm::PS256).signed(),
            "bad_signature",
        ),
    ];
    let tokens: Vec<_> = cases.iter().map(|(token, _)| token.clone()).collect();
    let verdicts = verdicts(
        |start| {
            start
                .issuers(&issuer(r#"keys = "main.jwk""#))
                .file("main.jwk", jwk.to_string())
        },
        &tokens,
    )
    .await;
    assert_eq!(reasons(&verdicts), cases.map(|(_, reason)| reason));
}

#[tokio::test]
async fn t33_t60_a_key_that_is_not_for_us_verifies_nothing_beside_one_that_is() {
    let mut main = Signer::rsa().jwk();
    main["kid"] = "main".into();
    let key = Signer::p256();
    let stranger = |name: &str, value: Value| {
        let mut jwk = key.jwk();
        jwk["kid"] = "other".into();
        jwk[name] = value;
        jwk
    };
    for (jwk, why) in [
        (stranger("use", json!("enc")), "its use is \"enc\""),
        (
            stranger("key_ops", json!(["encrypt"])),
            "key_ops do not include",
        ),
        (
            stranger("key_ops", json!(["sign"])),
            "key_ops do not include",
        ),
        (stranger("key_ops", json!([])), "key_ops do not include"),
        (
            stranger("alg", json!("ML-DSA-44")),
            "alg \"ML-DSA-44\" is unknown",
        ),
        (stranger("alg", json!("none")), "alg \"none\" is unknown"),
        (
            stranger("crv", json!("secp256k1")),
            "crv \"secp256k1\" is unknown",
        ),
        (stranger("kty", json!("AKP")), "kty \"AKP\" is unknown"),
    ] {
        let set = json!({"keys": [jwk, main]}).to_string();
        let write = |start: Start| {
            start
                .issuers(&issuer(r#"keys = "idp.jwks""#))
                .file("idp.jwks", &set)
        };
        let loaded = run::load(&write(offline()).write()).unwrap_or_else(|e| panic!("{why}: {e}"));
        let warnings: Vec<_> = loaded.problems.iter().map(|p| p.message.as_str()).collect();
        assert!(
            warnings.len() == 1 && warnings[0].contains(why),
            "{warnings:?}"
        );
        let tokens = [
            good().signed(),
            es256().kid("other").signed_by(key),
            es256().kid(&key.thumbprint()).signed_by(key),
            es256().without_header("kid").signed_by(key),
        ];
        assert_eq!(
            reasons(&verdicts(write, &tokens).await),
            ["ok", "unknown_kid", "unknown_kid", "no_fitting_key"],
            "{why}"
        );
    }
}

#[tokio::test]
async fn t63_a_pem_file_may_hold_text_certificates_and_windows_line_ends() {
    let key = Signer::p256();
    let pem = key.public_pem();
    let certificate = {
        let pair = rcgen::KeyPair::try_from(key.pair.private_pkcs8_der.as_slice()).unwrap();
        rcgen::CertificateParams::new(Vec::new())
            .unwrap()
            .self_signed(&pair)
            .unwrap()
            .pem()
    };
    let pkcs1 = {
        // What the public key's BIT STRING holds, behind its count of unused bits.
        let spki = &Signer::rsa().pair.public_spki_der;
        pem_block("RSA PUBLIC KEY", &spki[spki.len() - 270..])
    };
    for (name, file, token) in [
        ("plain", pem.clone(), es256().signed_by(key)),
        (
            "Windows line ends",
            pem.replace('\n', "\r\n"),
            es256().signed_by(key),
        ),
        (
            "no last newline",
            pem.trim_end().to_owned(),
            es256().signed_by(key),
        ),
        (
            "text around",
            format!("Key of 2026:\n\n{pem}\nEnd.\n"),
            es256().signed_by(key),
        ),
        (
            "a byte order mark and a line",
            format!("\u{feff}\n{pem}"),
            es256().signed_by(key),
        ),
        (
            "the key twice",
            format!("{pem}{pem}"),
            es256().signed_by(key),
        ),
        ("a certificate", certificate.clone(), es256().signed_by(key)),
        (
            "key and certificate",
            format!("{pem}{certificate}"),
            es256().signed_by(key),
        ),
        ("PKCS#1", pkcs1, good().signed()),
    ] {
        let verdicts = verdicts(|start| start.file("keys/main.pem", &file), &[token]).await;
        assert_eq!(reasons(&verdicts), ["ok"], "{name}");
    }
}

// ---- Refusing to load ----

/// A configuration whose upstream nobody will ask.
fn offline() -> Start {
    Start::routes("[[route]]\npath = \"/api/\"\nto = \"http://127.0.0.1:1\"\nauth = \"main\"\n")
}

/// Why a configuration cannot be used.
fn load_error(start: Start) -> String {
    match run::load(&start.write()) {
        Ok(_) => panic!("it was loaded"),
        Err(error) => error.to_string(),
    }
}

fn pem_block(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<_> = text
        .as_bytes()
        .chunks(64)
        .map(|line| str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

/// A JWK Set of a good key and another.
fn beside_a_good_key(jwk: &Value) -> String {
    let mut good = Signer::ed25519().jwk();
    good["kid"] = "good".into();
    json!({"keys": [good, jwk]}).to_string()
}

fn with(mut jwk: Value, name: &str, value: impl Into<Value>) -> Value {
    jwk[name] = value.into();
    jwk
}

fn base64url(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

/// An RSA key of so many bits, which only has to look like one.
fn rsa(n: &[u8], e: &[u8]) -> Value {
    json!({"kty": "RSA", "n": base64url(n), "e": base64url(e)})
}

#[test]
fn t55_t56_t57_t59_t62_a_bad_key_refuses_the_set_it_stands_in() {
    let (ec, ed, key) = (Signer::p256().jwk(), Signer::ed25519().jwk(), Signer::rsa());
    let n = key.rsa_modulus();
    let oct = json!({"kty": "oct", "k": base64url(&(0..32).collect::<Vec<_>>()), "kid": "h"});
    let even = [&n[..255], &[n[255] & 0xfe]].concat();
    for (why, jwk, text) in [
        ("T55 oct", oct.clone(), "symmetric key"),
        (
            "T55 oct for encryption",
            with(oct, "use", "enc"),
            "symmetric key",
        ),
        (
            "T56 the same kid",
            with(ec.clone(), "kid", "good"),
            "two different keys",
        ),
        (
            "T57 1024 bits",
            rsa(&[0xff; 128], &[1, 0, 1]),
            "RSA key of 1024 bits",
        ),
        (
            "T57 2047 bits",
            rsa(&[&[0x7f], &n[1..]].concat(), &[1, 0, 1]),
            "RSA key of 2047 bits",
        ),
        (
            "T57 16384 bits",
            rsa(&[0xff; 2048], &[1, 0, 1]),
            "RSA key of 16384 bits",
        ),
        ("T57 e = 1", rsa(n, &[1]), "exponent"),
        ("T57 e = 2", rsa(n, &[2]), "exponent"),
        ("T57 e = 65536", rsa(n, &[1, 0, 0]), "exponent"),
        ("T57 e of 2048 bits", rsa(n, n), "exponent"),
        ("T57 an even modulus", rsa(&even, &[1, 0, 1]), "even"),
        ("T57 ROCA", rsa(&roca_modulus(), &[1, 0, 1]), "ROCA"),
        (
            "T59 off the curve",
            with(ec.clone(), "x", ec["y"].clone()),
            "not on P-256",
        ),
        (
            "T59 the origin",
            with(
                with(ec.clone(), "x", base64url(&[0; 32])),
                "y",
                base64url(&[0; 32]),
            ),
            "not on P-256",
        ),
        (
            "T59 31 bytes",
            with(ec.clone(), "x", base64url(&[1; 31])),
            "exactly 32 bytes",
        ),
        (
            "T59 33 bytes",
            with(ec.clone(), "y", base64url(&[1; 33])),
            "exactly 32 bytes",
        ),
        (
            "T59 the wrong curve",
            with(ec.clone(), "crv", "P-384"),
            "exactly 48 bytes",
        ),
        (
            "T59 an alg of another curve",
            with(ec.clone(), "alg", "ES384"),
            "cannot verify ES384",
        ),
        (
            "T59 an alg of another kty",
            with(ec.clone(), "alg", "RS256"),
            "cannot verify RS256",
        ),
        (
            "T59 an HMAC alg",
            with(ec.clone(), "alg", "HS256"),
            "cannot verify HS256",
        ),
        (
            "T59 another kty",
            with(ec.clone(), "kty", "RSA"),
            "\"n\" is missing",
        ),
        (
            "T59 a short Ed25519 key",
            with(ed.clone(), "x", base64url(&[9; 31])),
            "32 bytes, not 31",
        ),
        (
            "T59 small order",
            with(ed, "x", base64url(&[0; 32])),
            "small order",
        ),
        (
            "T62 a private key",
            with(ec, "d", "c2VjcmV0"),
            "private key",
        ),
    ] {
        let set = beside_a_good_key(&jwk);
        let start = offline()
            .issuers(&issuer(r#"keys = "idp.jwks""#))
            .file("idp.jwks", set);
        let error = load_error(start);
        assert!(
            error.contains(text) && error.contains("idp.jwks"),
            "{why}: {error}"
        );
        assert!(!error.contains("c2VjcmV0"), "{why}: {error}");
    }
}

/// 65537^255: a power of 65537, of 2048 bits or more, as the flawed generator made them.
fn roca_modulus() -> Vec<u8> {
    // Little-endian digits of 16 bits; 65537 = 2^16 + 1.
    let mut digits = vec![1_u32];
    while digits.len() < 128 || digits[127] < 0x8000 {
        let mut carry = 0;
        let mut next = Vec::new();
        for index in 0..=digits.len() {
            let here = digits.get(index).copied().unwrap_or(0);
            let below = if index > 0 { digits[index - 1] } else { 0 };
            let sum = here + below + carry;
            next.push(sum & 0xffff);
            carry = sum >> 16;
        }
        while next.last() == Some(&0) {
            next.pop();
        }
        digits = next;
    }
    let bytes: Vec<u8> = digits
        .iter()
        .rev()
        .flat_map(|digit| (*digit as u16).to_be_bytes())
        .collect();
    let first = bytes.iter().position(|byte| *byte != 0).unwrap();
    bytes[first..].to_vec()
}

#[test]
fn t58_a_short_or_weak_secret_is_refused() {
    let key = Signer::rsa();
    for (why, secret, text) in [
        ("empty", Vec::new(), "at least 32"),
        ("a newline", b"\n".to_vec(), "at least 32"),
        ("31 bytes", (0..31).collect(), "at least 32"),
        (
            "31 bytes and a newline",
            (100..131).chain([b'\n']).collect(),
            "at least 32",
        ),
        ("zeros", vec![0; 64], "obviously weak"),
        ("a pattern", b"secret".repeat(12), "obviously weak"),
        (
            "a public key",
            key.public_pem().into_bytes(),
            "not a secret",
        ),
        (
            "a public key in DER",
            key.pair.public_spki_der.clone(),
            "not a secret",
        ),
        ("a JWK", key.jwk().to_string().into_bytes(), "not a secret"),
    ] {
        let error = load_error(
            offline()
                .issuers(&issuer(r#"secret = "internal.key""#))
                .file("internal.key", &secret),
        );
        assert!(
            error.contains(text) && error.contains("internal.key"),
            "{why}: {error}"
        );
    }
}

#[test]
fn t61_what_is_no_key_set_is_refused_whole() {
    let key = with(Signer::p256().jwk(), "kid", "k").to_string();
    let set = format!(r#"{{"keys":[{key}]}}"#);
    let crowd: Vec<Value> = (0..1001).map(|_| json!({"kty": "AKP"})).collect();
    let mut files: Vec<(String, String)> = [
        ("an empty file", ""),
        ("white space", " \n\t "),
        ("no keys", r#"{"keys":[]}"#),
        ("a list", "[]"),
        ("an object", "{}"),
        ("keys is no list", r#"{"keys":{}}"#),
        ("null", r#"{"keys":null}"#),
        ("no object", r#"{"keys":[1]}"#),
        ("something else", "hello"),
    ]
    .map(|(why, text)| (why.to_owned(), text.to_owned()))
    .to_vec();
    files.push(("trailing garbage".to_owned(), format!("{set}x")));
    files.push(("a second document".to_owned(), format!("{set}{set}")));
    files.push((
        "a name twice".to_owned(),
        set.replacen('{', r#"{"keys":[],"#, 1),
    ));
    files.push(("deep nesting".to_owned(), "[".repeat(100_000)));
    files.push((
        "too many keys".to_owned(),
        json!({ "keys": crowd }).to_string(),
    ));
    files.push((
        "10 MB".to_owned(),
        format!("{set}{}", " ".repeat(10_000_000)),
    ));
    files.extend((0..set.len()).map(|end| (format!("cut at {end}"), set[..end].to_owned())));
    for (why, file) in files {
        let error = load_error(
            offline()
                .issuers(&issuer(r#"keys = "idp.jwks""#))
                .file("idp.jwks", file),
        );
        assert!(error.contains("idp.jwks"), "{why}: {error}");
    }
    // The whole of it is fine, so the cuts were what was wrong.
    let start = offline().issuers(&issuer(r#"keys = "idp.jwks""#));
    assert!(run::load(&start.file("idp.jwks", set).write()).is_ok());
}

#[test]
fn t62_t63_a_private_key_is_refused_and_not_repeated() {
    let pair = &Signer::p256().pair;
    let private = Signer::p256().private_pem();
    let secret_line = private.lines().nth(1).unwrap().to_owned();
    let public = Signer::p256().public_pem();
    for (why, file) in [
        ("PKCS#8", private.clone()),
        ("behind a public key", format!("{public}{private}")),
        (
            "PKCS#1",
            pem_block("RSA PRIVATE KEY", &pair.private_pkcs8_der),
        ),
        (
            "SEC 1",
            pem_block("EC PRIVATE KEY", &pair.private_pkcs8_der),
        ),
        (
            "encrypted",
            pem_block("ENCRYPTED PRIVATE KEY", &pair.private_pkcs8_der),
        ),
        (
            "OpenSSH",
            pem_block("OPENSSH PRIVATE KEY", &pair.private_pkcs8_der),
        ),
    ] {
        let error = load_error(offline().file("keys/main.pem", file));
        assert!(
            error.contains("private key") && error.contains("main.pem"),
            "{why}: {error}"
        );
        assert!(!error.contains(&secret_line), "{why}: {error}");
    }
}

#[test]
fn t63_a_pem_file_that_is_not_understood_is_refused() {
    let pem = Signer::p256().public_pem();
    let compressed = {
        let mut spki = Signer::p256().pair.public_spki_der.clone();
        let at = spki.len() - 65;
        spki.truncate(at + 33);
        spki[at] = 2;
        // Both lengths: of the outer sequence, and of the bit string.
        spki[1] -= 32;
        let bits = at - 2;
        spki[bits] -= 32;
        pem_block("PUBLIC KEY", &spki)
    };
    for (why, file, text) in [
        ("cut short", pem[..pem.len() / 2].to_owned(), "no END line"),
        (
            "another END",
            pem.replace("END PUBLIC", "END RSA PUBLIC"),
            "END line",
        ),
        ("junk inside", pem.replacen("MF", "M!", 1), "not base64"),
        (
            "a second, broken block",
            format!("{pem}{}", pem_block("PUBLIC KEY", b"junk")),
            "not a public key",
        ),
        (
            "parameters beside",
            format!("{}{pem}", pem_block("EC PARAMETERS", &[6, 0])),
            "EC PARAMETERS",
        ),
        ("a compressed point", compressed, "compressed"),
        (
            "OpenSSH",
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA me@here\n".to_owned(),
            "OpenSSH",
        ),
    ] {
        let error = load_error(offline().file("keys/main.pem", file));
        assert!(
            error.contains(text) && error.contains("main.pem"),
            "{why}: {error}"
        );
    }
    let der = offline().file("keys/main.pem", &Signer::p256().pair.public_spki_der);
    assert!(load_error(der).contains("DER"));
}

#[test]
fn every_bad_key_is_named_in_one_go() {
    let error = load_error(
        offline()
            .file("keys/a.pem", "")
            .file("keys/b.json", "{}")
            .file("keys/c.pem", Signer::p256().private_pem()),
    );
    for file in ["a.pem", "b.json", "c.pem"] {
        assert!(error.contains(file), "{file}: {error}");
    }
}

#[test]
fn algorithms_that_leave_a_key_useless_are_refused() {
    let start = offline()
        .issuers(&issuer("keys = \"keys/\"\nalgorithms = [\"RS256\"]"))
        .file("keys/ec.pem", Signer::p256().public_pem());
    let error = load_error(start);
    assert!(
        error.contains("leaves nothing") && error.contains("ec.pem"),
        "{error}"
    );
}
