//! The one crypto library of the process: AWS-LC, for TLS and for tokens alike.
//!
//! This is the only module that names it. It decides nothing: which keys and algorithms are good
//! enough is settled in [`crate::keys`] and [`crate::tls`].

mod verification;

use std::sync::Arc;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RsaKeyPair,
};
use rustls::crypto::CryptoProvider;
use rustls::server::ProducesTickets;

pub use verification::{RsaPadding, Sha2, VerificationKey};

/// Makes AWS-LC the library by which `jsonwebtoken` signs (`token mint`, the demo). TLS and verifying
/// ask it directly. Harmless when called again.
pub fn install() {
    // The error says that a provider is there already, and none but this one is compiled in.
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
}

/// The provider for every TLS configuration, always passed explicitly.
pub fn rustls_provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// What encrypts session tickets: keys that rotate and are forgotten.
///
/// # Errors
/// Without a source of randomness.
pub fn ticketer() -> Result<Arc<dyn ProducesTickets>, rustls::Error> {
    rustls::crypto::aws_lc_rs::Ticketer::new()
}

/// Random bytes that nobody can guess.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("AWS-LC's generator aborts rather than fails");
    bytes
}

/// SHA-256 (FIPS 180-4).
pub fn sha256(message: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, message).as_ref());
    hash
}

/// SHA-1, for the one protocol that asks for it and proves nothing by it (RFC 6455 §10.8).
pub fn sha1(message: &[u8]) -> [u8; 20] {
    let mut hash = [0; 20];
    hash.copy_from_slice(digest(&SHA1_FOR_LEGACY_USE_ONLY, message).as_ref());
    hash
}

/// The kinds of key pairs that [`generate`] makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// RSA with a modulus of 2048 bits.
    Rsa2048,
    /// RSA with a modulus of 3072 bits.
    Rsa3072,
    /// RSA with a modulus of 4096 bits; takes seconds.
    Rsa4096,
    /// ECDSA on P-256.
    P256,
    /// ECDSA on P-384.
    P384,
    /// Ed25519.
    Ed25519,
}

/// A fresh key pair. It has no `Debug`, so that the private half is not printed by accident.
pub struct KeyPair {
    /// The private half: unencrypted PKCS#8 version 1 (RFC 5208), DER.
    pub private_pkcs8_der: Vec<u8>,
    /// The public half: `SubjectPublicKeyInfo` (RFC 5280 §4.1.2.7), DER.
    pub public_spki_der: Vec<u8>,
}

/// The crypto library could not make a key: it has no randomness, or a self-test failed.
#[derive(Debug, thiserror::Error)]
#[error("the crypto library could not make a key pair")]
pub struct GenerateError(#[from] Unspecified);

/// Makes a key pair from the operating system's randomness.
///
/// # Errors
/// [`GenerateError`], in practice never.
pub fn generate(kind: KeyKind) -> Result<KeyPair, GenerateError> {
    use aws_lc_rs::rsa::KeySize;
    Ok(match kind {
        KeyKind::Rsa2048 => generate_rsa(KeySize::Rsa2048)?,
        KeyKind::Rsa3072 => generate_rsa(KeySize::Rsa3072)?,
        KeyKind::Rsa4096 => generate_rsa(KeySize::Rsa4096)?,
        KeyKind::P256 => generate_ec(&ECDSA_P256_SHA256_FIXED_SIGNING)?,
        KeyKind::P384 => generate_ec(&ECDSA_P384_SHA384_FIXED_SIGNING)?,
        KeyKind::Ed25519 => {
            let pair = Ed25519KeyPair::generate()?;
            KeyPair {
                private_pkcs8_der: pair.to_pkcs8v1()?.as_ref().to_vec(),
                public_spki_der: spki(pair.public_key())?,
            }
        }
    })
}

/// What a private key signs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrivateKeyFamily {
    /// RSA from 2048 to 8192 bits.
    Rsa,
    /// ECDSA on P-256.
    P256,
    /// ECDSA on P-384.
    P384,
    /// Ed25519.
    Ed25519,
}

/// The family of an unencrypted PKCS#8 private key, `None` if it is none that this program uses.
pub fn private_key_family(pkcs8_der: &[u8]) -> Option<PrivateKeyFamily> {
    if EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8_der).is_ok() {
        Some(PrivateKeyFamily::P256)
    } else if EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, pkcs8_der).is_ok() {
        Some(PrivateKeyFamily::P384)
    } else if Ed25519KeyPair::from_pkcs8(pkcs8_der).is_ok() {
        Some(PrivateKeyFamily::Ed25519)
    } else if RsaKeyPair::from_pkcs8(pkcs8_der).is_ok() {
        Some(PrivateKeyFamily::Rsa)
    } else {
        None
    }
}

fn generate_rsa(size: aws_lc_rs::rsa::KeySize) -> Result<KeyPair, Unspecified> {
    let pair = RsaKeyPair::generate(size)?;
    let private: Pkcs8V1Der<'_> = pair.as_der()?;
    Ok(KeyPair {
        private_pkcs8_der: private.as_ref().to_vec(),
        public_spki_der: spki(pair.public_key())?,
    })
}

fn generate_ec(algorithm: &'static EcdsaSigningAlgorithm) -> Result<KeyPair, Unspecified> {
    let pair = EcdsaKeyPair::generate(algorithm)?;
    Ok(KeyPair {
        private_pkcs8_der: pair.to_pkcs8v1()?.as_ref().to_vec(),
        public_spki_der: spki(pair.public_key())?,
    })
}

fn spki(public: &impl AsDer<PublicKeyX509Der<'static>>) -> Result<Vec<u8>, Unspecified> {
    Ok(public.as_der()?.as_ref().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installing_twice_is_harmless() {
        install();
        install();
    }

    #[test]
    fn sha256_is_the_one_of_fips_180_4() {
        let hash: String = sha256(b"abc")
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(
            hash,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn a_generated_private_key_is_recognised() {
        for (kind, family) in [
            (KeyKind::Rsa2048, PrivateKeyFamily::Rsa),
            (KeyKind::P256, PrivateKeyFamily::P256),
            (KeyKind::P384, PrivateKeyFamily::P384),
            (KeyKind::Ed25519, PrivateKeyFamily::Ed25519),
        ] {
            let pair = generate(kind).unwrap();
            assert_eq!(private_key_family(&pair.private_pkcs8_der), Some(family));
            assert_eq!(private_key_family(&pair.public_spki_der), None);
            assert_ne!(
                generate(kind).unwrap().public_spki_der,
                pair.public_spki_der
            );
        }
        assert_eq!(private_key_family(b""), None);
    }

    #[test]
    fn infinity_and_strangers_are_not_points() {
        for not_a_point in [&[0][..], &[], &[4; 65], &[4; 97]] {
            assert!(VerificationKey::p256(not_a_point).is_none());
            assert!(VerificationKey::p384(not_a_point).is_none());
        }
    }
}
