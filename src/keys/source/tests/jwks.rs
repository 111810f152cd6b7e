//! Keys as JWKs, alone and in sets.

use super::*;

fn set_of(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

#[test]
fn alg_fixes_one_algorithm_and_must_fit_the_key() {
    let key = jwk(&pair(KeyKind::Rsa2048));
    let loaded = sound(load_bytes(with(key.clone(), "alg", "PS384").to_string()));
    assert_eq!(
        loaded.find("key").unwrap().algorithms().to_string(),
        "PS384"
    );
    for alg in ["ES256", "EdDSA", "HS256"] {
        let text = problem(&load_bytes(with(key.clone(), "alg", alg).to_string()));
        assert!(
            text.contains(&format!("a RSA 2048 bits key cannot verify {alg}")),
            "{text}"
        );
    }
}

#[test]
fn a_symmetric_key_refuses_the_whole_file() {
    let good = jwk(&pair(KeyKind::P256));
    let oct =
        json!({"kty": "oct", "k": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", "use": "enc"});
    for text in [
        oct.to_string(),
        set_of(&[good.clone(), oct.clone()]),
        set_of(&[oct, good]),
    ] {
        let loaded = load_bytes(text);
        assert!(problem(&loaded).contains("symmetric key"));
        assert!(loaded.set.is_empty());
    }
}

#[test]
fn private_members_fail_the_load_and_are_not_repeated() {
    let key = jwk(&pair(KeyKind::P256));
    for name in ["d", "p", "q", "dp", "dq", "qi", "oth", "priv"] {
        for usage in ["sig", "enc"] {
            let text = problem(&load_bytes(
                with(with(key.clone(), name, "c2VjcmV0"), "use", usage).to_string(),
            ));
            assert!(
                text.contains("holds a private key") && !text.contains("c2VjcmV0"),
                "{text}"
            );
        }
    }
}

#[test]
fn what_is_well_formed_and_not_for_us_is_passed_over_beside_a_good_key() {
    let good = with(jwk(&pair(KeyKind::Ed25519)), "kid", "good");
    let other = jwk(&pair(KeyKind::P256));
    for (stranger, why) in [
        (with(other.clone(), "use", "enc"), "its use is \"enc\""),
        (with(other.clone(), "key_ops", json!(["sign"])), "key_ops"),
        (with(other.clone(), "key_ops", json!([])), "key_ops"),
        (
            with(other.clone(), "alg", "ECDH-ES"),
            "alg \"ECDH-ES\" is unknown",
        ),
        (
            with(other.clone(), "alg", "none"),
            "alg \"none\" is unknown",
        ),
        (
            with(other.clone(), "crv", "secp256k1"),
            "crv \"secp256k1\" is unknown",
        ),
        (
            json!({"kty": "OKP", "crv": "X25519", "x": "AA"}),
            "crv \"X25519\" is unknown",
        ),
        (json!({"kty": "AKP", "pub": "AA"}), "kty \"AKP\" is unknown"),
    ] {
        let loaded = load_bytes(set_of(&[stranger.clone(), good.clone()]));
        assert!(warning(&loaded).contains(why), "{:?}", loaded.notices);
        assert_eq!(kids(&sound(loaded)), [Some("good")]);
        let alone = problem(&load_bytes(set_of(&[stranger])));
        assert!(
            alone.contains("no key that verifies") && alone.contains(why),
            "{alone}"
        );
    }
}

#[test]
fn a_malformed_key_fails_the_load_though_others_are_good() {
    let good = with(jwk(&pair(KeyKind::Ed25519)), "kid", "good");
    let (ec, rsa) = (jwk(&pair(KeyKind::P256)), jwk(&pair(KeyKind::Rsa2048)));
    let x = ec["x"].as_str().unwrap();
    let without = |mut jwk: Value, name: &str| {
        jwk.as_object_mut().unwrap().remove(name);
        jwk
    };
    for (bad, why) in [
        (json!({}), "\"kty\" is missing"),
        (with(ec.clone(), "kty", 7), "\"kty\" is not a string"),
        (with(ec.clone(), "kty", "RSA"), "\"n\" is missing"),
        (with(ec.clone(), "kid", 7), "\"kid\" is not a string"),
        (with(ec.clone(), "kid", ""), "kid is empty"),
        (with(ec.clone(), "use", 7), "\"use\" is not a string"),
        (
            with(ec.clone(), "alg", Value::Null),
            "\"alg\" is not a string",
        ),
        (
            with(ec.clone(), "key_ops", "verify"),
            "not an array of strings",
        ),
        (with(ec.clone(), "x", format!("{x}=")), "not base64url"),
        (
            with(ec.clone(), "x", format!("+{}", &x[1..])),
            "not base64url",
        ),
        (with(ec.clone(), "x", &x[..40]), "exactly 32 bytes"),
        (with(ec.clone(), "x", ec["y"].clone()), "not on P-256"),
        (with(ec.clone(), "crv", "P-384"), "exactly 48 bytes"),
        (without(ec.clone(), "y"), "\"y\" is missing"),
        (without(ec.clone(), "crv"), "\"crv\" is missing"),
        (with(rsa.clone(), "e", "AQ"), "exponent"),
        (with(rsa.clone(), "e", "AAEAAQ"), "zero byte"),
        (with(rsa.clone(), "n", "AQAB"), "RSA key of 17 bits"),
    ] {
        let text = problem(&load_bytes(set_of(&[good.clone(), bad])));
        assert!(text.contains(why), "{text} instead of {why}");
    }
}

#[test]
fn what_is_neither_a_key_nor_a_set_is_refused() {
    let key = jwk(&pair(KeyKind::P256));
    let trailing = format!("{key}x");
    let repeated = key.to_string().replacen('{', r#"{"kty":"EC","#, 1);
    for document in [
        "[]",
        "{}",
        r#"{"keys":[]}"#,
        r#"{"keys":{}}"#,
        r#"{"keys":[1]}"#,
        "[{}]",
        r#"{"keys":null}"#,
        &trailing,
        &repeated,
        &with(key.clone(), "keys", json!([])).to_string(),
        &"[".repeat(100_000),
    ] {
        let loaded = load_bytes(document);
        assert_eq!(loaded.problems.len(), 1, "{document}");
        assert!(loaded.set.is_empty(), "{document}");
    }
}

#[test]
fn a_set_cut_short_anywhere_gives_no_key() {
    let text = set_of(&[jwk(&pair(KeyKind::P256))]);
    for end in 0..text.len() {
        let loaded = load_bytes(&text[..end]);
        assert!(
            loaded.set.is_empty() && loaded.problems.len() == 1,
            "cut at {end}"
        );
    }
}
