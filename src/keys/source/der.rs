//! Public keys in DER: `SubjectPublicKeyInfo` (RFC 5280 §4.1.2.7), PKCS#1 (RFC 8017 §A.1.1) and
//! certificates.
//!
//! Certificates are containers here: their signatures, names and uses are not checked, because
//! the operator vouches for the file.

use x509_parser::asn1_rs::{Any, Oid};
use x509_parser::certificate::X509Certificate;
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_NIST_HASH_SHA256,
    OID_NIST_HASH_SHA384, OID_NIST_HASH_SHA512, OID_PKCS1_RSAENCRYPTION, OID_PKCS1_RSASSAPSS,
    OID_SIG_ED25519,
};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::RSAPublicKey;
use x509_parser::signature_algorithm::RsaSsaPssParams;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::Fault;
use crate::keys::algorithm::{Algorithm, AlgorithmSet};
use crate::keys::material::{Curve, Material, RSA_PSS_ALGORITHMS};

/// A public key and what its encoding allows it to do.
pub(super) type PublicKey = (Material, AlgorithmSet);

/// Reads a `SubjectPublicKeyInfo` and nothing after it.
pub(super) fn public_key(der: &[u8]) -> Result<PublicKey, Fault> {
    match SubjectPublicKeyInfo::from_der(der) {
        Ok(([], info)) => from_info(&info),
        Ok(_) | Err(_) => Err(Fault::new("not a public key in DER (SubjectPublicKeyInfo)")),
    }
}

/// Reads an `RSAPublicKey` and nothing after it.
pub(super) fn rsa_public_key(der: &[u8]) -> Result<PublicKey, Fault> {
    Ok((rsa(der)?, ANY))
}

/// Reads a certificate and nothing after it.
pub(super) fn certificate(der: &[u8]) -> Result<X509Certificate<'_>, Fault> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) | Err(_) => Err(Fault::new("not a certificate in DER")),
    }
}

/// The key of a certificate, or of a public key.
pub(super) fn from_info(info: &SubjectPublicKeyInfo<'_>) -> Result<PublicKey, Fault> {
    let (oid, parameters) = (
        &info.algorithm.algorithm,
        info.algorithm.parameters.as_ref(),
    );
    let bits = &info.subject_public_key;
    if bits.unused_bits != 0 {
        return Err(Fault::new("the public key does not end on a whole byte"));
    }
    if *oid == OID_PKCS1_RSAENCRYPTION {
        Ok((rsa(&bits.data)?, ANY))
    } else if *oid == OID_PKCS1_RSASSAPSS {
        Ok((
            rsa(&bits.data)?,
            parameters.map_or(Ok(RSA_PSS_ALGORITHMS), pss_algorithm)?,
        ))
    } else if *oid == OID_KEY_TYPE_EC_PUBLIC_KEY {
        Ok((elliptic(parameters, &bits.data)?, ANY))
    } else if *oid == OID_SIG_ED25519 {
        Ok((
            Material::Ed25519 {
                x: bits.data.to_vec(),
            },
            ANY,
        ))
    } else {
        Err(Fault::new(format!(
            "a public key of an unknown kind (object identifier {oid})"
        ))
        .hint(KINDS))
    }
}

fn rsa(der: &[u8]) -> Result<Material, Fault> {
    let malformed = || Fault::new("not an RSA public key in DER (PKCS#1)");
    let ([], key) = RSAPublicKey::from_der(der).map_err(|_| malformed())? else {
        return Err(malformed());
    };
    // DER writes a positive number whose first bit is set behind one zero byte (X.690 §8.3).
    let positive = |number: &[u8]| match number {
        [0, rest @ ..] if rest.first().is_some_and(|byte| *byte >= 0x80) => Some(rest.to_vec()),
        [first, ..] if *first < 0x80 => Some(number.to_vec()),
        _ => None,
    };
    match (positive(key.modulus), positive(key.exponent)) {
        (Some(n), Some(e)) => Ok(Material::Rsa { n, e }),
        _ => Err(Fault::new("the RSA modulus or exponent is negative")),
    }
}

fn elliptic(parameters: Option<&Any<'_>>, point: &[u8]) -> Result<Material, Fault> {
    let curve = match parameters.and_then(|any| any.as_oid().ok()) {
        Some(oid) if oid == OID_EC_P256 => Curve::P256,
        Some(oid) if oid == OID_NIST_EC_P384 => Curve::P384,
        Some(oid) => {
            return Err(Fault::new(format!(
                "an elliptic curve that is not supported (object identifier {oid})"
            ))
            .hint(KINDS));
        }
        None => {
            return Err(
                Fault::new("an elliptic curve key that does not name its curve").hint(KINDS),
            );
        }
    };
    match point {
        [4, coordinates @ ..] if coordinates.len() == 2 * curve.coordinate_bytes() => {
            let (x, y) = coordinates.split_at(curve.coordinate_bytes());
            Ok(Material::Ec {
                curve,
                x: x.to_vec(),
                y: y.to_vec(),
            })
        }
        [2 | 3, ..] => Err(
            Fault::new("the point of the elliptic curve key is compressed")
                .hint("convert it: openssl ec -pubin -conv_form uncompressed -in FILE"),
        ),
        _ => Err(Fault::new(
            "the point of the elliptic curve key is malformed",
        )),
    }
}

/// The one algorithm that RSASSA-PSS parameters leave: same hash twice, a salt as long as the
/// hash (RFC 7518 §3.5, RFC 4055 §3.1; the salt length in a key is the shortest allowed).
fn pss_algorithm(parameters: &Any<'_>) -> Result<AlgorithmSet, Fault> {
    let unsupported = || {
        Fault::new("RSASSA-PSS parameters that fit none of PS256, PS384 and PS512")
            .hint("make the key without parameters")
    };
    let parameters = RsaSsaPssParams::try_from(parameters).map_err(|_| unsupported())?;
    let mask = parameters.mask_gen_algorithm().map_err(|_| unsupported())?;
    let hash = parameters.hash_algorithm_oid();
    PSS_HASHES
        .iter()
        .find(|(oid, salt_bytes, _)| {
            hash == oid
                && mask.hash == *oid
                && parameters.salt_length() <= *salt_bytes
                && parameters.trailer_field() == 1
        })
        .map(|(.., algorithm)| AlgorithmSet::of(&[*algorithm]))
        .ok_or_else(unsupported)
}

const PSS_HASHES: [(Oid<'static>, u32, Algorithm); 3] = [
    (OID_NIST_HASH_SHA256, 32, Algorithm::PS256),
    (OID_NIST_HASH_SHA384, 48, Algorithm::PS384),
    (OID_NIST_HASH_SHA512, 64, Algorithm::PS512),
];

/// An encoding that narrows nothing.
const ANY: AlgorithmSet = AlgorithmSet::of(&Algorithm::ALL);

const KINDS: &str = "RSA, P-256, P-384 and Ed25519 keys verify tokens";
