//! One verification key: parsed, judged and ready before any token arrives.
//!
//! Every source reduces its format to a [`Material`], and [`Key::admit`] is the only door from
//! there to a [`Key`]. So the rules of admission (sizes, points, algorithms) are stated once and
//! a bad key is a load error, not a stream of refused tokens.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::algorithm::{Algorithm, AlgorithmSet};
use super::material::{Material, Unfit, Verifiers};
use super::weak;
use crate::base64url::BASE64URL;
use crate::clock::NumericDate;
use crate::crypto::{self, Sha2, VerificationKey};

/// A key that verifies signatures with the algorithms it owns and no others.
#[derive(Clone)]
pub struct Key {
    kid: Option<Arc<str>>,
    thumbprint: Option<String>,
    algorithms: AlgorithmSet,
    description: String,
    origin: Origin,
    expires: Option<NumericDate>,
    /// Parsed once; that is a seventh of what a signature costs.
    verifiers: Verifiers,
    /// The SHA-256 of what it is made of; of a secret too, and so never to be shown.
    digest: [u8; 32],
}

impl Key {
    /// The name that tokens select it by (RFC 7515 §4.1.4).
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The same, for those who keep it: it costs no copy.
    pub fn shared_kid(&self) -> Option<Arc<str>> {
        self.kid.clone()
    }

    /// The SHA-256 thumbprint (RFC 7638, RFC 8037 §2) in base64url.
    ///
    /// A secret has none: its thumbprint would let everybody who reads it test guesses.
    pub fn thumbprint(&self) -> Option<&str> {
        self.thumbprint.as_deref()
    }

    /// The algorithms it verifies; never empty.
    pub fn algorithms(&self) -> AlgorithmSet {
        self.algorithms
    }

    /// What it is, for people: `RSA 2048 bits`, `P-256`, `Ed25519`, `HMAC 256 bits`.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// When the certificate that it came in ends. It is for the operator to see: tokens have
    /// dates of their own.
    pub fn expires(&self) -> Option<NumericDate> {
        self.expires
    }

    /// Where it was read.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Whether `signature` (the third part of a JWS, base64url) is this key's over `message`.
    ///
    /// False, too, for an algorithm that is not in [`algorithms`](Self::algorithms).
    #[must_use]
    pub fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &str) -> bool {
        let verifier = self.verifiers.iter().find(|(own, _)| *own == algorithm);
        let Some((_, key)) = verifier.filter(|_| self.algorithms.contains(algorithm)) else {
            return false;
        };
        let mut room = [0; LONGEST_SIGNATURE];
        decode_signature(signature, &mut room)
            .is_some_and(|signature| key.verifies(message, signature))
    }

    /// Judges a public key.
    ///
    /// `allowed` narrows what its family can do, as a JWK's `alg` does (RFC 7517 §4.4).
    ///
    /// # Errors
    /// [`Unfit`], when it is malformed, weak, or left without an algorithm.
    pub(super) fn admit(
        material: &Material,
        allowed: AlgorithmSet,
        origin: Origin,
    ) -> Result<Self, Unfit> {
        let description = material.description();
        let algorithms = material.algorithms().intersect(allowed);
        if algorithms.is_empty() {
            return Err(Unfit::Algorithm {
                wanted: allowed,
                description,
            });
        }
        let verifiers = material.check(algorithms)?;
        let digest = crypto::sha256(material.canonical_jwk().as_bytes());
        Ok(Self {
            kid: None,
            thumbprint: Some(URL_SAFE_NO_PAD.encode(digest)),
            algorithms,
            description,
            origin,
            expires: None,
            verifiers,
            digest,
        })
    }

    /// Judges an HMAC secret: it fits the algorithms whose hash is not longer (RFC 7518 §3.2).
    ///
    /// # Errors
    /// [`Unfit::SecretTooShort`], [`Unfit::SecretWeak`], [`Unfit::SecretPublished`].
    pub(super) fn admit_secret(secret: &[u8], origin: Origin) -> Result<Self, Unfit> {
        let key = Self::of_secret(secret, origin)?;
        if weak::is_monotonous(secret) {
            return Err(Unfit::SecretWeak);
        }
        if weak::is_published(secret) {
            return Err(Unfit::SecretPublished);
        }
        Ok(key)
    }

    /// Judges a secret by its length alone: public test vectors have one of zeros.
    #[cfg(test)]
    pub(super) fn admit_weak_secret(secret: &[u8], origin: Origin) -> Result<Self, Unfit> {
        Self::of_secret(secret, origin)
    }

    fn of_secret(secret: &[u8], origin: Origin) -> Result<Self, Unfit> {
        let verifiers: Verifiers = [
            (Algorithm::HS256, Sha2::Sha256, 32),
            (Algorithm::HS384, Sha2::Sha384, 48),
            (Algorithm::HS512, Sha2::Sha512, 64),
        ]
        .into_iter()
        .filter(|(_, _, hash_bytes)| secret.len() >= *hash_bytes)
        .map(|(algorithm, hash, _)| (algorithm, VerificationKey::hmac(secret, hash)))
        .collect();
        let algorithms: AlgorithmSet = verifiers.iter().map(|(algorithm, _)| *algorithm).collect();
        if algorithms.is_empty() {
            return Err(Unfit::SecretTooShort {
                bytes: secret.len(),
            });
        }
        Ok(Self {
            kid: None,
            thumbprint: None,
            algorithms,
            description: format!("HMAC {} bits", secret.len() * 8),
            origin,
            expires: None,
            verifiers,
            digest: crypto::sha256(secret),
        })
    }

    /// Whether it is the same key under the same name for the same algorithms, read from the same
    /// place.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.digest == other.digest
            && self.kid == other.kid
            && self.algorithms == other.algorithms
            && self.expires == other.expires
            && self.origin == other.origin
    }

    /// Distinguishes it from all other keys; of a secret it is a hash, and for nobody to see.
    pub(crate) fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The same key out of a certificate that ends then.
    pub(super) fn expiring(mut self, expires: Option<NumericDate>) -> Self {
        self.expires = expires;
        self
    }

    /// The same key under the name `kid`.
    pub(super) fn named(mut self, kid: Option<String>) -> Self {
        self.kid = kid.map(Arc::from);
        self
    }

    /// The same key for fewer algorithms; `None` if none is left.
    pub(super) fn narrowed(&self, allowed: AlgorithmSet) -> Option<Self> {
        let algorithms = self.algorithms.intersect(allowed);
        (!algorithms.is_empty()).then(|| Self {
            algorithms,
            ..self.clone()
        })
    }
}

/// Names and kinds; never a byte of the key.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("kid", &self.kid)
            .field("thumbprint", &self.thumbprint)
            .field("description", &self.description)
            .field("algorithms", &self.algorithms)
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

/// Where a key was read: `keys/idp.jwks, keys[2]`, `keys/all.pem, line 12`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    file: PathBuf,
    place: Place,
}

impl Origin {
    pub(super) fn new(file: &Path, place: Place) -> Self {
        Self {
            file: file.to_owned(),
            place,
        }
    }

    /// The file.
    pub fn file(&self) -> &Path {
        &self.file
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        match self.place {
            Place::Whole => write!(f, "{file}"),
            Place::Line(line) => write!(f, "{file}, line {line}"),
            Place::Member(index) => write!(f, "{file}, keys[{index}]"),
        }
    }
}

/// Which part of a file is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Whole,
    /// The PEM block that begins on this line, counted from one.
    Line(usize),
    /// The element of a JWK Set's `keys`, counted from zero.
    Member(usize),
}

/// The bytes of a signature; `None` if it is no base64url or longer than any.
fn decode_signature<'r>(text: &str, room: &'r mut [u8; LONGEST_SIGNATURE]) -> Option<&'r [u8]> {
    let length = BASE64URL.decode_slice(text, room).ok()?;
    Some(&room[..length])
}

/// That of an RSA key of 8192 bits, and what the decoder wants to have left of its last group.
const LONGEST_SIGNATURE: usize = 1024 + 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(material: &Material) -> Result<Key, Unfit> {
        Key::admit(
            material,
            AlgorithmSet::of(&Algorithm::ALL),
            Origin::new(Path::new("k"), Place::Whole),
        )
    }

    fn secret(bytes: &[u8]) -> Result<Key, Unfit> {
        Key::admit_secret(bytes, Origin::new(Path::new("k"), Place::Whole))
    }

    fn rsa(n: &[u8], e: &[u8]) -> Result<Key, Unfit> {
        admit(&Material::Rsa {
            n: n.to_vec(),
            e: e.to_vec(),
        })
    }

    #[test]
    fn the_thumbprint_is_that_of_the_example_in_rfc_7638() {
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        let key = rsa(&URL_SAFE_NO_PAD.decode(n).unwrap(), &[1, 0, 1]).unwrap();
        assert_eq!(
            key.thumbprint(),
            Some("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs")
        );
        assert_eq!(key.description(), "RSA 2048 bits");
        assert_eq!(
            key.algorithms().to_string(),
            "RS256, RS384, RS512, PS256, PS384, PS512"
        );
    }

    #[test]
    fn the_thumbprint_is_that_of_the_example_in_rfc_8037() {
        let x = URL_SAFE_NO_PAD
            .decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
            .unwrap();
        let key = admit(&Material::Ed25519 { x }).unwrap();
        assert_eq!(
            key.thumbprint(),
            Some("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k")
        );
    }

    #[test]
    fn a_secret_fits_the_algorithms_whose_hash_is_not_longer() {
        let bytes: Vec<u8> = (0..64).collect();
        for (length, algorithms) in [
            (32, "HS256"),
            (47, "HS256"),
            (48, "HS256, HS384"),
            (64, "HS256, HS384, HS512"),
        ] {
            assert_eq!(
                secret(&bytes[..length]).unwrap().algorithms().to_string(),
                algorithms
            );
        }
        for length in [0, 1, 31] {
            assert_eq!(
                secret(&bytes[..length]).unwrap_err(),
                Unfit::SecretTooShort { bytes: length }
            );
        }
        assert_eq!(secret(&[b'a'; 64]).unwrap_err(), Unfit::SecretWeak);
    }

    #[test]
    fn a_secret_is_neither_printed_nor_hashed_for_print() {
        let key = secret(b"an example secret that is long enough").unwrap();
        assert_eq!(key.thumbprint(), None);
        assert!(!format!("{key:?}").contains("example"));
    }

    #[test]
    fn the_longest_signature_fits() {
        let decoded_length = |bytes: usize| {
            let text = URL_SAFE_NO_PAD.encode(vec![7; bytes]);
            decode_signature(&text, &mut [0; LONGEST_SIGNATURE]).map(<[u8]>::len)
        };
        assert_eq!(decoded_length(8192 / 8), Some(1024));
        assert_eq!(decoded_length(2 * 1024), None);
        assert_eq!(decode_signature("=", &mut [0; LONGEST_SIGNATURE]), None);
    }

    #[test]
    fn an_algorithm_outside_the_set_fails_closed() {
        crypto::install();
        let bytes: Vec<u8> = (0..64).collect();
        let signing = jsonwebtoken::EncodingKey::from_secret(&bytes).unwrap();
        let signature = |algorithm| jsonwebtoken::crypto::sign(b"m", &signing, algorithm).unwrap();
        let key = secret(&bytes).unwrap();
        let narrow = key.narrowed(AlgorithmSet::of(&[Algorithm::HS512])).unwrap();

        assert!(key.verify(
            Algorithm::HS256,
            b"m",
            &signature(jsonwebtoken::Algorithm::HS256)
        ));
        assert!(!narrow.verify(
            Algorithm::HS256,
            b"m",
            &signature(jsonwebtoken::Algorithm::HS256)
        ));
        assert!(narrow.verify(
            Algorithm::HS512,
            b"m",
            &signature(jsonwebtoken::Algorithm::HS512)
        ));
        assert!(!key.verify(
            Algorithm::RS256,
            b"m",
            &signature(jsonwebtoken::Algorithm::HS256)
        ));
        assert!(!key.verify(Algorithm::HS256, b"m", ""));
        assert!(!key.verify(Algorithm::HS256, b"m", "not base64url="));
        assert!(
            key.narrowed(AlgorithmSet::of(&[Algorithm::PS256]))
                .is_none()
        );
    }
}
