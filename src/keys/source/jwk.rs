//! JWKs and JWK Sets (RFC 7517): public keys in JSON.
//!
//! A key that is well formed but not for us (another kind, another use) is passed over with a
//! warning, as RFC 7517 §5 asks, so that an identity provider can publish more than we know. A
//! key that is malformed fails the load: what else in that file is wrong? A symmetric key fails
//! it, too: were it taken, everybody who can read the set could sign.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::{Contents, Fault, undecodable};
use crate::json;
use crate::keys::algorithm::{Algorithm, AlgorithmSet};
use crate::keys::key::{Key, Origin, Place};
use crate::keys::material::{Curve, Material};

type Object = Map<String, Value>;

pub(super) fn parse(bytes: &[u8], path: &Path) -> Contents {
    let document = match json::parse(bytes) {
        Ok(document) => document,
        Err(error) => {
            let fault = Fault::new(format!("not sound JSON: {error}"));
            return Contents::refused(if error.is_cut_short() {
                fault.unsettled()
            } else {
                fault
            });
        }
    };
    let jwks = match members(&document) {
        Ok(jwks) => jwks,
        Err(fault) => return Contents::refused(fault),
    };
    if jwks
        .iter()
        .any(|(_, jwk)| jwk.get("kty").and_then(Value::as_str) == Some("oct"))
    {
        return Contents::refused(
            Fault::new(
                "holds a symmetric key (kty \"oct\"), which does not belong among public keys",
            )
            .hint("a shared secret is configured with `secret`, in a file of its own"),
        );
    }
    let mut contents = Contents::default();
    for (place, jwk) in jwks {
        match judge(jwk, Origin::new(path, place)) {
            Ok(Verdict::Usable(key)) => contents.keys.push(*key),
            Ok(Verdict::NotForUs(why)) => contents.warnings.push(skipped(place, &why)),
            Err(fault) => contents.faults.push((place, fault)),
        }
    }
    if contents.keys.is_empty() && contents.faults.is_empty() {
        let reasons = std::mem::take(&mut contents.warnings).join("; ");
        contents.faults.push((
            Place::Whole,
            Fault::new(format!("holds no key that verifies tokens: {reasons}")),
        ));
    }
    contents
}

/// The JWKs of a document: the members of a JWK Set, or a single JWK.
fn members<'a>(document: &'a Value) -> Result<Vec<(Place, &'a Object)>, Fault> {
    let expected = || {
        Fault::new("neither a JWK nor a JWK Set")
            .hint("expected {\"keys\": […]} or one key with \"kty\"")
    };
    let object = document.as_object().ok_or_else(expected)?;
    let Some(keys) = object.get("keys") else {
        return if object.contains_key("kty") {
            Ok(vec![(Place::Whole, object)])
        } else {
            Err(expected())
        };
    };
    if object.contains_key("kty") {
        return Err(Fault::new("both a JWK (\"kty\") and a JWK Set (\"keys\")"));
    }
    let keys = keys
        .as_array()
        .ok_or_else(|| Fault::new("\"keys\" is not an array"))?;
    if keys.is_empty() {
        return Err(Fault::new("the JWK Set is empty"));
    }
    if keys.len() > MAX_KEYS {
        return Err(Fault::new(format!(
            "holds {} keys; at most {MAX_KEYS} are accepted",
            keys.len()
        )));
    }
    let not_objects = || Fault::new("\"keys\" holds something else than objects");
    let place = |(index, key): (usize, &'a Value)| Some((Place::Member(index), key.as_object()?));
    keys.iter()
        .enumerate()
        .map(place)
        .collect::<Option<_>>()
        .ok_or_else(not_objects)
}

enum Verdict {
    Usable(Box<Key>),
    NotForUs(String),
}

fn judge(jwk: &Object, origin: Origin) -> Result<Verdict, Fault> {
    if let Some(name) = PRIVATE_MEMBERS.iter().find(|name| jwk.contains_key(**name)) {
        return Err(Fault::new(format!("holds a private key (member {name:?}); jotgate verifies with the public half"))
            .hint("publish the key without its private members, and replace it if others could read this file"));
    }
    let kid = text(jwk, "kid")?;
    if kid.is_some_and(str::is_empty) {
        return Err(Fault::new("the kid is empty"));
    }
    if let Some(why) = unsuitable_use(jwk)? {
        return Ok(Verdict::NotForUs(why));
    }
    let allowed = match text(jwk, "alg")? {
        None => AlgorithmSet::of(&Algorithm::ALL),
        Some(name) => match Algorithm::from_name(name) {
            Some(algorithm) => AlgorithmSet::of(&[algorithm]),
            None => {
                return Ok(Verdict::NotForUs(format!(
                    "its alg {} is unknown",
                    quoted(name)
                )));
            }
        },
    };
    let material = match required_text(jwk, "kty")? {
        "RSA" => Material::Rsa {
            n: bytes(jwk, "n")?,
            e: bytes(jwk, "e")?,
        },
        "EC" => match required_text(jwk, "crv")? {
            "P-256" => elliptic(jwk, Curve::P256)?,
            "P-384" => elliptic(jwk, Curve::P384)?,
            stranger => {
                return Ok(Verdict::NotForUs(format!(
                    "its crv {} is unknown",
                    quoted(stranger)
                )));
            }
        },
        "OKP" => match required_text(jwk, "crv")? {
            "Ed25519" => Material::Ed25519 {
                x: bytes(jwk, "x")?,
            },
            stranger => {
                return Ok(Verdict::NotForUs(format!(
                    "its crv {} is unknown",
                    quoted(stranger)
                )));
            }
        },
        stranger => {
            return Ok(Verdict::NotForUs(format!(
                "its kty {} is unknown",
                quoted(stranger)
            )));
        }
    };
    let key = Key::admit(&material, allowed, origin)?;
    Ok(Verdict::Usable(Box::new(key.named(kid.map(str::to_owned)))))
}

/// Why `use` (RFC 7517 §4.2) or `key_ops` (§4.3) forbids verifying, if one does.
fn unsuitable_use(jwk: &Object) -> Result<Option<String>, Fault> {
    if let Some(other) = text(jwk, "use")?.filter(|usage| *usage != "sig") {
        return Ok(Some(format!("its use is {}, not \"sig\"", quoted(other))));
    }
    let Some(operations) = jwk.get("key_ops") else {
        return Ok(None);
    };
    let malformed = || Fault::new("\"key_ops\" is not an array of strings");
    let operations = operations.as_array().ok_or_else(malformed)?;
    let names: Vec<&str> = operations
        .iter()
        .map(Value::as_str)
        .collect::<Option<_>>()
        .ok_or_else(malformed)?;
    Ok((!names.contains(&"verify")).then(|| "its key_ops do not include \"verify\"".to_owned()))
}

fn elliptic(jwk: &Object, curve: Curve) -> Result<Material, Fault> {
    Ok(Material::Ec {
        curve,
        x: bytes(jwk, "x")?,
        y: bytes(jwk, "y")?,
    })
}

fn text<'a>(jwk: &'a Object, name: &str) -> Result<Option<&'a str>, Fault> {
    let Some(value) = jwk.get(name) else {
        return Ok(None);
    };
    value
        .as_str()
        .map(Some)
        .ok_or_else(|| Fault::new(format!("{name:?} is not a string")))
}

fn required_text<'a>(jwk: &'a Object, name: &str) -> Result<&'a str, Fault> {
    text(jwk, name)?.ok_or_else(|| Fault::new(format!("the member {name:?} is missing")))
}

/// base64url without padding and without stray bits (RFC 7515 §2), so that a key has one form.
fn bytes(jwk: &Object, name: &str) -> Result<Vec<u8>, Fault> {
    URL_SAFE_NO_PAD
        .decode(required_text(jwk, name)?)
        .map_err(|error| {
            Fault::new(format!(
                "{name:?} is not base64url: {}",
                undecodable(&error)
            ))
        })
}

fn skipped(place: Place, why: &str) -> String {
    match place {
        Place::Member(index) => format!("keys[{index}] is passed over: {why}"),
        Place::Whole | Place::Line(_) => format!("the key is passed over: {why}"),
    }
}

/// A value from the file, escaped and cut to a readable length.
fn quoted(value: &str) -> String {
    format!("{:?}", value.chars().take(64).collect::<String>())
}

/// RFC 7518 §6.2.2 and §6.3.2, RFC 8037 §2; `priv` is that of the AKP keys to come.
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "priv"];

const MAX_KEYS: usize = 1000;
