//! Public keys as their algorithms define them, and whether they are good enough.
//!
//! Every source reduces its format to a [`Material`]. The rules for sizes, points and exponents
//! are stated here, once.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::algorithm::{Algorithm, AlgorithmSet};
use super::weak;
use crate::crypto::{RsaPadding, Sha2, VerificationKey};

/// A key for each algorithm that it verifies.
pub(super) type Verifiers = Arc<[(Algorithm, VerificationKey)]>;

/// A public key in the terms of RFC 7518 §6 and RFC 8037 §2, not yet judged.
pub(super) enum Material {
    /// Both big-endian.
    Rsa { n: Vec<u8>, e: Vec<u8> },
    /// Affine coordinates, big-endian and of the curve's full length.
    Ec {
        curve: Curve,
        x: Vec<u8>,
        y: Vec<u8>,
    },
    /// The encoded point.
    Ed25519 { x: Vec<u8> },
}

/// A curve for ECDSA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
}

impl Curve {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
        }
    }

    /// How many bytes a coordinate has.
    pub(super) const fn coordinate_bytes(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
        }
    }
}

impl Material {
    /// What such a key can do when nothing narrows it.
    pub(super) fn algorithms(&self) -> AlgorithmSet {
        match self {
            Self::Rsa { .. } => RSA_ALGORITHMS,
            Self::Ec {
                curve: Curve::P256, ..
            } => AlgorithmSet::of(&[Algorithm::ES256]),
            Self::Ec {
                curve: Curve::P384, ..
            } => AlgorithmSet::of(&[Algorithm::ES384]),
            Self::Ed25519 { .. } => AlgorithmSet::of(&[Algorithm::EdDSA]),
        }
    }

    pub(super) fn description(&self) -> String {
        match self {
            Self::Rsa { n, .. } => format!("RSA {} bits", bits(n)),
            Self::Ec { curve, .. } => curve.name().to_owned(),
            Self::Ed25519 { .. } => "Ed25519".to_owned(),
        }
    }

    /// Whether it is a key at all, and a strong one; if so, ready to verify these algorithms, as
    /// far as it can.
    pub(super) fn check(&self, wanted: AlgorithmSet) -> Result<Verifiers, Unfit> {
        let verifiers = match self {
            Self::Rsa { n, e } => check_rsa(n, e, wanted)?,
            Self::Ec { curve, x, y } => vec![check_ec(*curve, x, y)?],
            Self::Ed25519 { x } => vec![(Algorithm::EdDSA, check_ed25519(x)?)],
        };
        Ok(verifiers.into())
    }

    /// The JSON that is hashed for the thumbprint: required members only, in lexical order,
    /// without white space (RFC 7638 §3.2).
    pub(super) fn canonical_jwk(&self) -> String {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::Rsa { n, e } => format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, text(e), text(n)),
            Self::Ec { curve, x, y } => {
                format!(
                    r#"{{"crv":"{}","kty":"EC","x":"{}","y":"{}"}}"#,
                    curve.name(),
                    text(x),
                    text(y)
                )
            }
            Self::Ed25519 { x } => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, text(x)),
        }
    }
}

fn check_rsa(
    n: &[u8],
    e: &[u8],
    wanted: AlgorithmSet,
) -> Result<Vec<(Algorithm, VerificationKey)>, Unfit> {
    if [n, e]
        .iter()
        .any(|number| number.first().is_none_or(|byte| *byte == 0))
    {
        return Err(Unfit::RsaLeadingZero);
    }
    if !RSA_BITS.contains(&bits(n)) {
        return Err(Unfit::RsaSize { bits: bits(n) });
    }
    if is_even(n) {
        return Err(Unfit::RsaModulusEven);
    }
    if is_even(e) || e == [1] || bits(e) > RSA_EXPONENT_MAX_BITS {
        return Err(Unfit::RsaExponent);
    }
    if weak::is_roca(n) {
        return Err(Unfit::Roca);
    }
    RSA_SCHEMES
        .into_iter()
        .filter(|(algorithm, ..)| wanted.contains(*algorithm))
        .map(|(algorithm, padding, hash)| {
            let key = VerificationKey::rsa(n, e, padding, hash).ok_or(Unfit::RsaUnusable)?;
            Ok((algorithm, key))
        })
        .collect()
}

fn check_ec(curve: Curve, x: &[u8], y: &[u8]) -> Result<(Algorithm, VerificationKey), Unfit> {
    let bytes = curve.coordinate_bytes();
    if x.len() != bytes || y.len() != bytes {
        return Err(Unfit::Coordinates {
            curve: curve.name(),
            bytes,
        });
    }
    // SEC 1 §2.3.3: 4 says that both coordinates follow.
    let point = [&[4], x, y].concat();
    let (algorithm, key) = match curve {
        Curve::P256 => (Algorithm::ES256, VerificationKey::p256(&point)),
        Curve::P384 => (Algorithm::ES384, VerificationKey::p384(&point)),
    };
    let key = key.ok_or(Unfit::OffCurve {
        curve: curve.name(),
    })?;
    Ok((algorithm, key))
}

fn check_ed25519(x: &[u8]) -> Result<VerificationKey, Unfit> {
    let Ok(encoded) = <&[u8; 32]>::try_from(x) else {
        return Err(Unfit::Ed25519Length { bytes: x.len() });
    };
    if weak::has_small_order(encoded) {
        return Err(Unfit::Ed25519SmallOrder);
    }
    VerificationKey::ed25519(encoded).ok_or(Unfit::Ed25519NoPoint)
}

/// The length of a big-endian number without leading zeros.
fn bits(number: &[u8]) -> usize {
    number
        .first()
        .map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
}

fn is_even(number: &[u8]) -> bool {
    number.last().is_none_or(|byte| byte.is_multiple_of(2))
}

/// Why a key that could be read is not accepted.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum Unfit {
    #[error("an RSA key of {bits} bits; from 2048 to 8192 are accepted")]
    RsaSize { bits: usize },
    #[error("the RSA modulus or exponent is empty or begins with a zero byte (RFC 7518 section 2)")]
    RsaLeadingZero,
    #[error("the RSA modulus is even")]
    RsaModulusEven,
    #[error("the RSA exponent must be odd, at least 3 and of at most 33 bits")]
    RsaExponent,
    #[error(
        "the RSA key bears the mark of ROCA (CVE-2017-15361): its private half can be computed"
    )]
    Roca,
    #[error("not a usable RSA key")]
    RsaUnusable,
    #[error("each coordinate of a {curve} key has exactly {bytes} bytes")]
    Coordinates { curve: &'static str, bytes: usize },
    #[error("the point is not on {curve}")]
    OffCurve { curve: &'static str },
    #[error("an Ed25519 key has 32 bytes, not {bytes}")]
    Ed25519Length { bytes: usize },
    #[error("the Ed25519 key is not a point of the curve")]
    Ed25519NoPoint,
    #[error("the Ed25519 key is a point of small order: everybody can sign for it")]
    Ed25519SmallOrder,
    #[error("a {description} key cannot verify {wanted}")]
    Algorithm {
        wanted: AlgorithmSet,
        description: String,
    },
    #[error("a secret of {bytes} bytes; at least 32 are needed")]
    SecretTooShort { bytes: usize },
    #[error(
        "the secret is obviously weak: it has fewer than {} distinct bytes, or repeats itself",
        weak::FEWEST_DISTINCT_BYTES
    )]
    SecretWeak,
    #[error("the secret is an example that everybody knows")]
    SecretPublished,
}

/// What RSASSA-PSS keys are for.
pub(super) const RSA_PSS_ALGORITHMS: AlgorithmSet =
    AlgorithmSet::of(&[Algorithm::PS256, Algorithm::PS384, Algorithm::PS512]);

const RSA_ALGORITHMS: AlgorithmSet = AlgorithmSet::of(&[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
]);

/// What RSA keys verify, and how.
const RSA_SCHEMES: [(Algorithm, RsaPadding, Sha2); 6] = [
    (Algorithm::RS256, RsaPadding::Pkcs1, Sha2::Sha256),
    (Algorithm::RS384, RsaPadding::Pkcs1, Sha2::Sha384),
    (Algorithm::RS512, RsaPadding::Pkcs1, Sha2::Sha512),
    (Algorithm::PS256, RsaPadding::Pss, Sha2::Sha256),
    (Algorithm::PS384, RsaPadding::Pss, Sha2::Sha384),
    (Algorithm::PS512, RsaPadding::Pss, Sha2::Sha512),
];

/// Below, the key is too weak (RFC 7518 §3.3); above, verifying is a burden to us.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// The crypto library takes no larger exponent.
const RSA_EXPONENT_MAX_BITS: usize = 33;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(material: &Material) -> Result<Verifiers, Unfit> {
        material.check(material.algorithms())
    }

    fn rsa(n: &[u8], e: &[u8]) -> Result<Verifiers, Unfit> {
        check(&Material::Rsa {
            n: n.to_vec(),
            e: e.to_vec(),
        })
    }

    /// An odd number of that many bits that is nobody's modulus.
    fn odd(bits: usize) -> Vec<u8> {
        let mut number: Vec<u8> = (0..=255)
            .cycle()
            .map(|byte: u8| byte ^ 0x5a)
            .take(bits.div_ceil(8))
            .collect();
        number[0] = 1 << ((bits - 1) % 8);
        *number.last_mut().unwrap() |= 1;
        number
    }

    #[test]
    fn rsa_keys_have_from_2048_to_8192_bits() {
        for bits in [2048, 2049, 8192] {
            assert!(rsa(&odd(bits), &[1, 0, 1]).is_ok(), "{bits}");
        }
        for bits in [8, 1024, 2047, 8193, 16_384] {
            assert_eq!(
                rsa(&odd(bits), &[1, 0, 1]).unwrap_err(),
                Unfit::RsaSize { bits }
            );
        }
    }

    #[test]
    fn an_rsa_exponent_is_odd_and_neither_one_nor_huge() {
        assert!(rsa(&odd(2048), &[3]).is_ok());
        for e in [
            &[1][..],
            &[2],
            &[1, 0, 0],
            &[2, 0, 0, 0, 1, 1],
            &[0xff; 256],
        ] {
            assert_eq!(rsa(&odd(2048), e).unwrap_err(), Unfit::RsaExponent, "{e:?}");
        }
    }

    #[test]
    fn rsa_numbers_are_minimal_and_the_modulus_odd() {
        let mut even = odd(2048);
        *even.last_mut().unwrap() ^= 1;
        assert_eq!(rsa(&even, &[1, 0, 1]).unwrap_err(), Unfit::RsaModulusEven);
        let padded = [&[0][..], &odd(2048)].concat();
        for (n, e) in [
            (&padded[..], &[1, 0, 1][..]),
            (&odd(2048), &[0, 3]),
            (&[], &[3]),
            (&odd(2048), &[]),
        ] {
            assert_eq!(rsa(n, e).unwrap_err(), Unfit::RsaLeadingZero);
        }
    }

    #[test]
    fn a_point_off_the_curve_or_of_another_length_is_refused() {
        for (curve, bytes) in [(Curve::P256, 32), (Curve::P384, 48)] {
            let point = |x: usize, y: usize| {
                check(&Material::Ec {
                    curve,
                    x: vec![1; x],
                    y: vec![1; y],
                })
                .unwrap_err()
            };
            assert_eq!(
                point(bytes, bytes),
                Unfit::OffCurve {
                    curve: curve.name()
                }
            );
            for (x, y) in [
                (0, 0),
                (bytes - 1, bytes),
                (bytes, bytes + 1),
                (bytes - 1, bytes + 1),
            ] {
                assert_eq!(
                    point(x, y),
                    Unfit::Coordinates {
                        curve: curve.name(),
                        bytes
                    }
                );
            }
        }
    }

    #[test]
    fn a_small_order_point_would_let_everybody_sign_and_is_refused() {
        let mut identity = [0; 32];
        identity[0] = 1;
        let forged = [identity, [0; 32]].concat();
        let blind = VerificationKey::ed25519(&identity).unwrap();
        assert!(blind.verifies(b"anything", &forged));

        for sign in [0, 0x80] {
            let mut x = identity.to_vec();
            x[31] |= sign;
            assert_eq!(
                check(&Material::Ed25519 { x }).unwrap_err(),
                Unfit::Ed25519SmallOrder
            );
        }
        assert_eq!(
            check(&Material::Ed25519 { x: vec![7; 31] }).unwrap_err(),
            Unfit::Ed25519Length { bytes: 31 }
        );
    }
}
