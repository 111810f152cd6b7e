//! Keys as the library holds them to verify with, parsed once.

use std::fmt;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters,
    RsaPublicKeyComponents,
};

/// A hash function of the SHA-2 family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sha2 {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// How RSA signatures are padded (RFC 8017 §8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RsaPadding {
    /// RSASSA-PKCS1-v1_5.
    Pkcs1,
    /// RSASSA-PSS, with a salt as long as the hash.
    Pss,
}

/// A key for one signature algorithm.
#[derive(Clone)]
pub struct VerificationKey(Kind);

#[derive(Clone)]
enum Kind {
    Public(ParsedPublicKey),
    Secret(Box<hmac::Key>),
}

/// Never a byte of the key.
impl fmt::Debug for VerificationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Public(_) => "VerificationKey::Public",
            Kind::Secret(_) => "VerificationKey::Secret",
        })
    }
}

impl VerificationKey {
    /// An RSA key: big-endian numbers without leading zeros. `None` if the library cannot verify
    /// with it.
    pub fn rsa(modulus: &[u8], exponent: &[u8], padding: RsaPadding, hash: Sha2) -> Option<Self> {
        let parameters: &'static RsaParameters = match (padding, hash) {
            (RsaPadding::Pkcs1, Sha2::Sha256) => &RSA_PKCS1_2048_8192_SHA256,
            (RsaPadding::Pkcs1, Sha2::Sha384) => &RSA_PKCS1_2048_8192_SHA384,
            (RsaPadding::Pkcs1, Sha2::Sha512) => &RSA_PKCS1_2048_8192_SHA512,
            (RsaPadding::Pss, Sha2::Sha256) => &RSA_PSS_2048_8192_SHA256,
            (RsaPadding::Pss, Sha2::Sha384) => &RSA_PSS_2048_8192_SHA384,
            (RsaPadding::Pss, Sha2::Sha512) => &RSA_PSS_2048_8192_SHA512,
        };
        let key = RsaPublicKeyComponents {
            n: modulus,
            e: exponent,
        };
        let parsed = key.to_parsed_public_key(parameters).ok()?;
        Some(Self(Kind::Public(parsed)))
    }

    /// ECDSA with SHA-256; `None` if this SEC 1 encoding is no point of P-256 other than infinity.
    pub fn p256(point: &[u8]) -> Option<Self> {
        let parsed = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).ok()?;
        Some(Self(Kind::Public(parsed)))
    }

    /// ECDSA with SHA-384; `None` if this SEC 1 encoding is no point of P-384 other than infinity.
    pub fn p384(point: &[u8]) -> Option<Self> {
        let parsed = ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point).ok()?;
        Some(Self(Kind::Public(parsed)))
    }

    /// Ed25519 (RFC 8032 §5.1); `None` if this encoding is no point.
    pub fn ed25519(point: &[u8; 32]) -> Option<Self> {
        let parsed = ParsedPublicKey::new(&ED25519, point).ok()?;
        Some(Self(Kind::Public(parsed)))
    }

    /// HMAC (RFC 2104).
    pub fn hmac(secret: &[u8], hash: Sha2) -> Self {
        let algorithm = match hash {
            Sha2::Sha256 => hmac::HMAC_SHA256,
            Sha2::Sha384 => hmac::HMAC_SHA384,
            Sha2::Sha512 => hmac::HMAC_SHA512,
        };
        Self(Kind::Secret(Box::new(hmac::Key::new(algorithm, secret))))
    }

    /// Whether the signature is this key's over the message. That of a MAC is compared in constant
    /// time; ECDSA's is the two numbers of RFC 7518 §3.4.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.0 {
            Kind::Public(key) => key.verify_sig(message, signature).is_ok(),
            Kind::Secret(key) => hmac::verify(key, message, signature).is_ok(),
        }
    }
}
