//! Public test vectors, if `JOTGATE_TEST_DATA` names a folder that has them.
//!
//! The payloads are not claims sets, so only keys and signatures are judged here.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::key::{Key, Origin, Place};
use super::material::Unfit;
use super::source::{KeySource, SecretEncoding, decode_secret, load_public};
use super::{Algorithm, KeySet};
use crate::crypto;

#[test]
fn wycheproof_json_web_key() {
    let Some(tests) = cases("wycheproof/json_web_key_test.json") else {
        return;
    };
    assert_eq!(tests.len(), 26);
    let wrong: Vec<u64> = tests
        .iter()
        .filter(|(case, keys)| is_accepted(keys, case) != is_valid(case))
        .map(id)
        .collect();
    assert_eq!(
        wrong, [0; 0],
        "test cases with another verdict than expected"
    );
}

/// Encoding, keys and signatures: what else makes a token malformed is judged elsewhere, and no
/// case depends on it. An empty payload, for one, is signed here as well as any other.
#[test]
fn wycheproof_json_web_signature() {
    let Some(tests) = cases("wycheproof/json_web_signature_test.json") else {
        return;
    };
    assert_eq!(tests.len(), 401);
    let wrong: Vec<u64> = tests
        .iter()
        .filter(|(case, keys)| is_accepted(keys, case) != is_valid(case))
        .map(id)
        .collect();
    assert_eq!(wrong, OTHERWISE);
}

/// 393 of the 401 get the verdict that they are labelled with. The others:
///
/// - PS384 by a key whose `alg` is PS256 (346, 350) and P-521 (347, 351) are refused on purpose;
/// - 367 and 370 are labelled invalid and are, letter for letter, the valid 357;
/// - 372 and 373 are labelled valid and have a `?` in the header or the payload.
const OTHERWISE: [u64; 8] = [346, 347, 350, 351, 367, 370, 372, 373];

/// Each case with the key that verifies it.
fn cases(file: &str) -> Option<Vec<(Value, Value)>> {
    let Some(folder) = std::env::var_os("JOTGATE_TEST_DATA").map(PathBuf::from) else {
        println!("skipped: JOTGATE_TEST_DATA does not name the folder with {file}");
        return None;
    };
    let vectors: Value =
        serde_json::from_slice(&std::fs::read(folder.join(file)).unwrap()).unwrap();
    let mut cases = Vec::new();
    for group in vectors["testGroups"].as_array().unwrap() {
        let keys = group.get("public").unwrap_or(&group["private"]);
        cases.extend(
            group["tests"]
                .as_array()
                .unwrap()
                .iter()
                .map(|case| (case.clone(), keys.clone())),
        );
    }
    Some(cases)
}

fn id((case, _): &(Value, Value)) -> u64 {
    case["tcId"].as_u64().unwrap()
}

fn is_valid(case: &Value) -> bool {
    case["result"] == "valid"
}

/// What the gateway would say of key and signature: load, find by `kid`, verify.
fn is_accepted(keys: &Value, case: &Value) -> bool {
    crypto::install();
    let Some(jws) = case["jws"].as_str() else {
        return false;
    };
    let Some((message, signature)) = jws.rsplit_once('.') else {
        return false;
    };
    let Some((encoded_header, encoded_payload)) = message.split_once('.') else {
        return false;
    };
    let (Ok(header), Ok(_)) = (
        URL_SAFE_NO_PAD.decode(encoded_header),
        URL_SAFE_NO_PAD.decode(encoded_payload),
    ) else {
        return false;
    };
    let Ok(header) = crate::json::parse(&header) else {
        return false;
    };
    let Some(algorithm) = header["alg"].as_str().and_then(Algorithm::from_name) else {
        return false;
    };
    let Some(set) = load(keys) else { return false };
    let key = match header["kid"].as_str() {
        Some(kid) => set.find(kid),
        None => set.fitting(algorithm).next(),
    };
    key.is_some_and(|key| key.verify(algorithm, message.as_bytes(), signature))
}

fn load(keys: &Value) -> Option<KeySet> {
    let list = keys["keys"]
        .as_array()
        .cloned()
        .unwrap_or_else(|| vec![keys.clone()]);
    if list.iter().all(|key| key["kty"] == "oct") {
        return load_secrets(&list);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    std::fs::write(&path, keys.to_string()).unwrap();
    let loaded = load_public(&[KeySource { path, kid: None }]);
    loaded.problems.is_empty().then_some(loaded.set)
}

/// Secrets by the rules for secret files, and by what the vectors say of them beyond that. Only
/// how random they are does not matter here: one group's is zeros.
fn load_secrets(list: &[Value]) -> Option<KeySet> {
    let mut set = KeySet::default();
    for jwk in list {
        let is_for_signing = jwk.get("use").is_none_or(|usage| usage == "sig")
            && jwk
                .get("key_ops")
                .is_none_or(|ops| ops.as_array().unwrap().contains(&json!("verify")));
        let allowed = match jwk["alg"].as_str() {
            Some(name) => [Algorithm::from_name(name)?].into_iter().collect(),
            None => Algorithm::ALL.into_iter().collect(),
        };
        let secret =
            decode_secret(jwk["k"].as_str()?.as_bytes(), SecretEncoding::Base64Url).ok()?;
        let origin = || Origin::new(Path::new("k"), Place::Whole);
        let key = match Key::admit_secret(&secret, origin()) {
            Err(Unfit::SecretWeak) => Key::admit_weak_secret(&secret, origin()),
            judged => judged,
        };
        let key = key.ok()?;
        let key = key.narrowed(allowed).filter(|_| is_for_signing)?;
        set.insert(key.named(jwk["kid"].as_str().map(str::to_owned)))
            .ok()?;
    }
    Some(set)
}
