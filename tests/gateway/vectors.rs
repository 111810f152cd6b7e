//! Public examples of signed tokens, if `JOTGATE_TEST_DATA` names a folder that has them.
//!
//! Their payloads are not claims sets, so they are judged where the outside of a token ends:
//! taken apart, its key chosen, its signature checked.

use std::path::PathBuf;

use jotgate::keys::source::{KeySource, Loaded, SecretEncoding, load_public, load_secret};
use jotgate::token::Jws;
use serde_json::Value;

use crate::harness::{Kind, Start, Upstream, judge};

/// One example of the JOSE cookbook (RFC 7520, RFC 8037).
fn example(file: &str) -> Option<Value> {
    let Some(folder) = std::env::var_os("JOTGATE_TEST_DATA").map(PathBuf::from) else {
        println!("skipped: JOTGATE_TEST_DATA does not name the folder with {file}");
        return None;
    };
    let text = std::fs::read(folder.join("cookbook").join(file)).unwrap();
    Some(serde_json::from_slice(&text).unwrap())
}

/// The key of an example, from a file such as an operator would have: the public half, or the
/// secret.
fn load(key: &Value) -> Loaded {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("example.json");
    if key["kty"] == "oct" {
        std::fs::write(&path, key["k"].as_str().unwrap()).unwrap();
        return load_secret(&path, SecretEncoding::Base64Url);
    }
    let mut public = key.clone();
    for private in ["d", "p", "q", "dp", "dq", "qi"] {
        public.as_object_mut().unwrap().remove(private);
    }
    std::fs::write(&path, public.to_string()).unwrap();
    load_public(&[KeySource { path, kid: None }])
}

/// Whether a compact serialization is good for this key.
fn is_good(token: &str, loaded: &Loaded) -> bool {
    jotgate::crypto::install();
    let Ok(jws) = Jws::parse(token) else {
        return false;
    };
    let algorithm = jws.header().algorithm;
    let Some(key) = loaded.set.fitting(algorithm).next() else {
        return false;
    };
    jws.payload(&mut Vec::new()).is_ok()
        && key.verify(algorithm, jws.signing_input().as_bytes(), jws.signature())
}

#[test]
fn the_examples_of_signatures_verify_with_their_keys_and_no_other_payload() {
    for file in [
        "jws/4_1.rsa_v15_signature.json",
        "jws/4_2.rsa-pss_signature.json",
        "jws/4_4.hmac-sha2_integrity_protection.json",
        "curve25519/jws.json",
    ] {
        let Some(example) = example(file) else { return };
        let loaded = load(&example["input"]["key"]);
        assert_eq!(loaded.problems, [], "{file}");
        if let Some(kid) = example["input"]["key"]["kid"].as_str()
            && example["input"]["key"]["kty"] != "oct"
        {
            assert!(loaded.set.find(kid).is_some(), "{file}");
        }
        let token = example["output"]["compact"].as_str().unwrap();
        assert!(is_good(token, &loaded), "{file}");
        let mut room = Vec::new();
        assert_eq!(
            Jws::parse(token).unwrap().payload(&mut room).unwrap(),
            example["input"]["payload"].as_str().unwrap().as_bytes()
        );
        let (header, rest) = token.split_once('.').unwrap();
        let (_, signature) = rest.split_once('.').unwrap();
        assert!(
            !is_good(&format!("{header}.e30.{signature}"), &loaded),
            "{file}"
        );
    }
}

#[test]
fn the_example_on_p521_is_refused_for_its_algorithm_and_for_its_key() {
    let Some(example) = example("jws/4_3.ecdsa_signature.json") else {
        return;
    };
    let loaded = load(&example["input"]["key"]);
    assert!(loaded.set.is_empty());
    assert!(
        loaded.problems[0].message.contains("P-521"),
        "{:?}",
        loaded.problems
    );
    assert!(Jws::parse(example["output"]["compact"].as_str().unwrap()).is_err());
}

/// Content that is detached, headers that are not protected, several signatures: none of them is
/// the compact serialization, and a token is nothing else.
#[tokio::test]
async fn the_examples_that_are_no_compact_serialization_are_refused() {
    let mut requests = Vec::new();
    for file in [
        "jws/4_5.signature_with_detached_content.json",
        "jws/4_6.protecting_specific_header_fields.json",
        "jws/4_7.protecting_content_only.json",
        "jws/4_8.multiple_signatures.json",
    ] {
        let Some(example) = example(file) else { return };
        for form in ["compact", "json", "json_flat"] {
            let Some(output) = example["output"].get(form) else {
                continue;
            };
            let token = output
                .as_str()
                .map_or_else(|| output.to_string(), str::to_owned);
            assert!(Jws::parse(&token).is_err(), "{file}, {form}");
            requests.push(vec![format!("Authorization: Bearer {token}")]);
        }
    }
    assert_eq!(
        requests.len(),
        8,
        "one compact, four general and three flattened forms"
    );
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    for verdict in judge(&gateway, &upstream, "/api/x", &requests).await {
        let kind = if verdict.reason() == "malformed_token" {
            Kind::InvalidToken
        } else {
            Kind::InvalidRequest
        };
        kind.check(&verdict.answer, verdict.reason());
    }
    assert_eq!(upstream.connections(), 0);
}
