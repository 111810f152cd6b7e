//! Tokens of every make, good and bad, signed with keys made at run time.

use std::path::Path;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jotgate::crypto::{self, KeyKind, KeyPair};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

/// A key pair that signs, whatever it is asked to.
pub struct Signer {
    pub pair: KeyPair,
    kind: KeyKind,
}

impl Signer {
    pub fn new(kind: KeyKind) -> Self {
        Self {
            pair: crypto::generate(kind).unwrap(),
            kind,
        }
    }

    /// One RSA key for the whole run: making one takes a while.
    pub fn rsa() -> &'static Self {
        static KEY: OnceLock<Signer> = OnceLock::new();
        KEY.get_or_init(|| Self::new(KeyKind::Rsa2048))
    }

    /// Another RSA key, which nobody trusts.
    pub fn stranger() -> &'static Self {
        static KEY: OnceLock<Signer> = OnceLock::new();
        KEY.get_or_init(|| Self::new(KeyKind::Rsa2048))
    }

    pub fn p256() -> &'static Self {
        static KEY: OnceLock<Signer> = OnceLock::new();
        KEY.get_or_init(|| Self::new(KeyKind::P256))
    }

    pub fn ed25519() -> &'static Self {
        static KEY: OnceLock<Signer> = OnceLock::new();
        KEY.get_or_init(|| Self::new(KeyKind::Ed25519))
    }

    pub fn p384() -> &'static Self {
        static KEY: OnceLock<Signer> = OnceLock::new();
        KEY.get_or_init(|| Self::new(KeyKind::P384))
    }

    /// The public half as a JWK, with nothing in it that could be left out.
    pub fn jwk(&self) -> Value {
        let spki = &self.pair.public_spki_der;
        let last = |bytes: usize| &spki[spki.len() - bytes..];
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self.kind {
            KeyKind::P256 => {
                let (x, y) = last(64).split_at(32);
                json!({"kty": "EC", "crv": "P-256", "x": text(x), "y": text(y)})
            }
            KeyKind::P384 => {
                let (x, y) = last(96).split_at(48);
                json!({"kty": "EC", "crv": "P-384", "x": text(x), "y": text(y)})
            }
            KeyKind::Ed25519 => json!({"kty": "OKP", "crv": "Ed25519", "x": text(last(32))}),
            KeyKind::Rsa2048 | KeyKind::Rsa3072 | KeyKind::Rsa4096 => {
                json!({"kty": "RSA", "n": text(self.rsa_modulus()), "e": "AQAB"})
            }
        }
    }

    /// The modulus of an RSA key, whose exponent is 65537.
    pub fn rsa_modulus(&self) -> &[u8] {
        let bytes = match self.kind {
            KeyKind::Rsa2048 => 256,
            KeyKind::Rsa3072 => 384,
            KeyKind::Rsa4096 => 512,
            KeyKind::P256 | KeyKind::P384 | KeyKind::Ed25519 => panic!("no RSA key"),
        };
        let spki = &self.pair.public_spki_der;
        let end = spki.len() - [2, 3, 1, 0, 1].len();
        &spki[end - bytes..end]
    }

    /// The RFC 7638 thumbprint.
    pub fn thumbprint(&self) -> String {
        // The names in a JSON object of serde_json's are in order already.
        URL_SAFE_NO_PAD.encode(crypto::sha256(self.jwk().to_string().as_bytes()))
    }

    /// The public half as PEM.
    pub fn public_pem(&self) -> String {
        pem("PUBLIC KEY", &self.pair.public_spki_der)
    }

    /// The private half as PEM.
    pub fn private_pem(&self) -> String {
        pem("PRIVATE KEY", &self.pair.private_pkcs8_der)
    }

    pub fn write_public(&self, path: &Path) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, self.public_pem()).unwrap();
    }

    /// The signature over any bytes.
    pub fn sign(&self, message: &[u8], algorithm: Algorithm) -> String {
        crypto::install();
        let key = match self.kind {
            KeyKind::P256 | KeyKind::P384 => EncodingKey::from_ec_der(&self.pair.private_pkcs8_der),
            KeyKind::Ed25519 => EncodingKey::from_ed_der(&self.pair.private_pkcs8_der),
            KeyKind::Rsa2048 | KeyKind::Rsa3072 | KeyKind::Rsa4096 => {
                EncodingKey::from_rsa_pem(self.private_pem().as_bytes()).unwrap()
            }
        };
        jsonwebtoken::crypto::sign(message, &key, algorithm).unwrap()
    }

    /// A token with exactly this header and these claims, as text.
    pub fn token_of(&self, header: &str, claims: &str, algorithm: Algorithm) -> String {
        let input = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(claims)
        );
        let signature = self.sign(input.as_bytes(), algorithm);
        format!("{input}.{signature}")
    }

    /// An RS256 token with `kid: main` and these claims.
    pub fn token(&self, claims: &Value) -> String {
        let header = json!({"alg": "RS256", "kid": "main", "typ": "JWT"});
        self.token_of(&header.to_string(), &claims.to_string(), Algorithm::RS256)
    }

    /// A good token for `alice`.
    pub fn good(&self) -> String {
        self.token(&claims())
    }
}

/// Good claims for `alice`.
pub fn claims() -> Value {
    json!({
        "iss": "https://issuer.test",
        "aud": "api",
        "sub": "alice",
        "iat": now(),
        "exp": now() + 600,
    })
}

/// The present, in seconds.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|c| str::from_utf8(c).unwrap())
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}
