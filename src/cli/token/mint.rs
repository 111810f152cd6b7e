//! `jotgate token mint`: signs a token, for development and tests.
//!
//! It signs what it is told, bad tokens too: an expired one, one without a subject. That is what
//! makes it useful for trying out a gateway, and no issuer.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Span, SpanRelativeTo};
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Map, Value};

use crate::clock::{Clock, NumericDate};
use crate::crypto::{self, PrivateKeyFamily};
use crate::json;
use crate::keys::Algorithm;
use crate::keys::source::{SecretEncoding, decode_secret, pem, read_file};
use crate::pem_text;

/// `jotgate token mint`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct MintArgs {
    /// The private key to sign with: PKCS#8 in PEM, as `jotgate keys generate` writes it
    #[arg(
        long,
        value_name = "PRIVATE.pem",
        required_unless_present = "secret",
        conflicts_with = "secret"
    )]
    key: Option<PathBuf>,

    /// The file with the HMAC secret to sign with, instead of a private key
    #[arg(long, value_name = "FILE")]
    secret: Option<PathBuf>,

    /// How that file spells the secret, as secret_encoding in the configuration
    #[arg(long, value_name = "ENCODING", value_enum, default_value_t = SpeltAs::Raw, requires = "secret")]
    secret_encoding: SpeltAs,

    /// The algorithm. Default: RS256, ES256, ES384 or EdDSA, as the key is; HS256 for a secret
    #[arg(long, value_parser = parse_algorithm)]
    alg: Option<Algorithm>,

    /// The name of the key in the token. Default: the file's name without its last ending
    #[arg(long, conflicts_with = "no_kid")]
    kid: Option<String>,

    /// Leave the name of the key out
    #[arg(long)]
    no_kid: bool,

    /// The claim iss: who signs; the configuration's `iss`
    #[arg(long)]
    iss: Option<String>,

    /// The claim aud: whom the token is for. May be repeated
    #[arg(long)]
    aud: Vec<String>,

    /// The claim sub: whom the token speaks of
    #[arg(long)]
    sub: Option<String>,

    /// When it expires, from now on: 90s, 5m, 1h30m, 2d. May be negative, to make an expired one
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "1h",
        allow_hyphen_values = true,
        value_parser = parse_duration
    )]
    expires_in: SignedDuration,

    /// When it becomes valid, from now on; may be negative. Default: no nbf claim
    #[arg(
        long,
        value_name = "DURATION",
        allow_hyphen_values = true,
        value_parser = parse_duration
    )]
    not_before: Option<SignedDuration>,

    /// A further claim. The value is JSON, or else text as it stands. May be repeated
    #[arg(long = "claim", value_name = "NAME=VALUE", value_parser = parse_claim)]
    claims: Vec<(String, Value)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum SpeltAs {
    Raw,
    Base64url,
}

impl From<SpeltAs> for SecretEncoding {
    fn from(spelt: SpeltAs) -> Self {
        match spelt {
            SpeltAs::Raw => Self::Raw,
            SpeltAs::Base64url => Self::Base64Url,
        }
    }
}

/// Why no token was made.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// The key file is not what it should be.
    #[error("{}: {reason}", path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The bytes are no private key that signs tokens.
    #[error("not an RSA, P-256, P-384 or Ed25519 private key in PKCS#8")]
    NotAPrivateKey,
    /// There are no bytes of a secret.
    #[error("empty; an HMAC takes a secret at least as long as its hash")]
    EmptySecret,
    /// The key is of another family.
    #[error("a key for {default} cannot sign {wanted}")]
    Algorithm {
        /// What was asked for.
        wanted: Algorithm,
        /// What the key signs unless told otherwise.
        default: Algorithm,
    },
    /// The instant is before 1970 or absurdly late.
    #[error("{claim} would be an instant that a token cannot state")]
    Time {
        /// `exp` or `nbf`.
        claim: &'static str,
    },
    /// The same claim was asked for twice.
    #[error("the claim {0:?} is given twice")]
    ClaimTwice(String),
    /// The crypto library refused.
    #[error("the token could not be signed")]
    Signing(#[source] jsonwebtoken::errors::Error),
    /// The token could not be written.
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
}

impl MintArgs {
    /// Signs the token and writes it to `out`, alone on its line.
    ///
    /// # Errors
    /// [`MintError`].
    pub fn run(&self, clock: &Clock, out: &mut dyn Write) -> Result<(), MintError> {
        let (key, path) = self.signing_key()?;
        let algorithm = self.alg.unwrap_or(key.default_algorithm());
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let kid = self.kid.as_deref().or(stem).filter(|_| !self.no_kid);
        let token = mint(&key, algorithm, kid, &self.claims_at(clock.numeric_date())?)?;
        writeln!(out, "{token}").map_err(MintError::Output)?;
        if io::stderr().is_terminal() {
            // A courtesy; whether it can be written does not matter.
            let _ = writeln!(
                io::stderr(),
                "this is a development token: whoever has it is its subject until it expires"
            );
        }
        Ok(())
    }

    fn signing_key(&self) -> Result<(SigningKey, &Path), MintError> {
        match (&self.key, &self.secret) {
            (Some(path), _) => Ok((SigningKey::from_pem_file(path)?, path)),
            (None, Some(path)) => {
                let secret = read_file(path)
                    .and_then(|bytes| decode_secret(&bytes, self.secret_encoding.into()));
                let secret = secret.map_err(|fault| key_file(path, fault.message))?;
                let key = SigningKey::from_secret(&secret)
                    .map_err(|error| key_file(path, error.to_string()))?;
                Ok((key, path))
            }
            (None, None) => unreachable!("clap requires one of --key and --secret"),
        }
    }

    fn claims_at(&self, now: NumericDate) -> Result<Map<String, Value>, MintError> {
        let mut claims = Map::new();
        claims.extend(self.iss.clone().map(|iss| ("iss".to_owned(), iss.into())));
        claims.extend(self.sub.clone().map(|sub| ("sub".to_owned(), sub.into())));
        match &self.aud[..] {
            [] => {}
            [aud] => claims.extend([("aud".to_owned(), aud.clone().into())]),
            several => claims.extend([("aud".to_owned(), several.into())]),
        }
        claims.insert("iat".to_owned(), now.seconds().into());
        claims.insert(
            "exp".to_owned(),
            shifted(now, self.expires_in, "exp")?.into(),
        );
        if let Some(not_before) = self.not_before {
            claims.insert("nbf".to_owned(), shifted(now, not_before, "nbf")?.into());
        }
        for (name, value) in &self.claims {
            if claims.insert(name.clone(), value.clone()).is_some() {
                return Err(MintError::ClaimTwice(name.clone()));
            }
        }
        Ok(claims)
    }
}

/// A private key or a secret that signs tokens.
#[derive(Debug)]
pub struct SigningKey {
    default_algorithm: Algorithm,
    encoding: EncodingKey,
}

impl SigningKey {
    /// Reads an unencrypted PKCS#8 private key in DER.
    ///
    /// # Errors
    /// [`MintError::NotAPrivateKey`].
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, MintError> {
        let (default_algorithm, encoding) =
            match crypto::private_key_family(der).ok_or(MintError::NotAPrivateKey)? {
                PrivateKeyFamily::P256 => (Algorithm::ES256, EncodingKey::from_ec_der(der)),
                PrivateKeyFamily::P384 => (Algorithm::ES384, EncodingKey::from_ec_der(der)),
                PrivateKeyFamily::Ed25519 => (Algorithm::EdDSA, EncodingKey::from_ed_der(der)),
                // Only by way of PEM does the library take the RSA key out of its PKCS#8 wrapping.
                PrivateKeyFamily::Rsa => {
                    let pem = pem::encode("PRIVATE KEY", der);
                    (
                        Algorithm::RS256,
                        EncodingKey::from_rsa_pem(pem.as_bytes())
                            .map_err(|_| MintError::NotAPrivateKey)?,
                    )
                }
            };
        Ok(Self {
            default_algorithm,
            encoding,
        })
    }

    /// Takes an HMAC secret as it is.
    ///
    /// # Errors
    /// [`MintError::EmptySecret`].
    pub fn from_secret(secret: &[u8]) -> Result<Self, MintError> {
        Ok(Self {
            default_algorithm: Algorithm::HS256,
            encoding: EncodingKey::from_secret(secret).map_err(|_| MintError::EmptySecret)?,
        })
    }

    /// What it signs unless told otherwise.
    pub fn default_algorithm(&self) -> Algorithm {
        self.default_algorithm
    }

    fn from_pem_file(path: &Path) -> Result<Self, MintError> {
        let bytes = read_file(path).map_err(|fault| key_file(path, fault.message))?;
        let block = match <[_; 1]>::try_from(pem::blocks(pem_text::without_mark(&bytes))) {
            Ok([block]) => block,
            Err(_) => {
                return Err(key_file(
                    path,
                    "not a PEM file with exactly one key".to_owned(),
                ));
            }
        };
        match block.label {
            "PRIVATE KEY" => {
                let der = block.der.map_err(|fault| key_file(path, fault.message))?;
                Self::from_pkcs8(&der).map_err(|error| key_file(path, error.to_string()))
            }
            "RSA PRIVATE KEY" | "EC PRIVATE KEY" | "ENCRYPTED PRIVATE KEY" => Err(key_file(
                path,
                "not in plain PKCS#8; convert it: openssl pkcs8 -topk8 -nocrypt -in FILE -out PRIVATE.pem".to_owned(),
            )),
            "PUBLIC KEY" => Err(key_file(path, "the public half; the private half signs".to_owned())),
            other => Err(key_file(path, format!("holds {other:?}, not a private key in PKCS#8"))),
        }
    }
}

/// Signs a token with these claims and nothing added to them.
///
/// # Errors
/// [`MintError::Algorithm`] if the key cannot sign `algorithm`.
pub fn mint(
    key: &SigningKey,
    algorithm: Algorithm,
    kid: Option<&str>,
    claims: &Map<String, Value>,
) -> Result<String, MintError> {
    crypto::install();
    let mut header = Header::new(algorithm.into());
    header.kid = kid.map(str::to_owned);
    let wrong_family = || MintError::Algorithm {
        wanted: algorithm,
        default: key.default_algorithm,
    };
    if key.encoding.family() != header.alg.family()
        || is_other_curve(algorithm, key.default_algorithm)
    {
        return Err(wrong_family());
    }
    jsonwebtoken::encode(&header, claims, &key.encoding).map_err(MintError::Signing)
}

/// The families of the library do not tell curves apart.
fn is_other_curve(wanted: Algorithm, default: Algorithm) -> bool {
    matches!(
        (wanted, default),
        (Algorithm::ES256, Algorithm::ES384) | (Algorithm::ES384, Algorithm::ES256)
    )
}

fn key_file(path: &Path, reason: String) -> MintError {
    MintError::KeyFile {
        path: path.to_owned(),
        reason,
    }
}

fn shifted(now: NumericDate, by: SignedDuration, claim: &'static str) -> Result<u64, MintError> {
    now.seconds()
        .checked_add_signed(by.as_secs())
        .ok_or(MintError::Time { claim })
}

fn parse_algorithm(name: &str) -> Result<Algorithm, String> {
    Algorithm::from_name(name).ok_or_else(|| {
        format!(
            "one of {} (in exactly this spelling)",
            Algorithm::ALL.map(Algorithm::name).join(", ")
        )
    })
}

/// A day is one of 24 hours.
fn parse_duration(text: &str) -> Result<SignedDuration, String> {
    text.parse::<Span>()
        .and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()))
        .map_err(|_| "expected a duration such as 90s, 5m, 1h30m or 2d".to_owned())
}

fn parse_claim(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    if name.is_empty() {
        return Err("the name is empty".to_owned());
    }
    if let Some((_, option)) = RESERVED.iter().find(|(claim, _)| *claim == name) {
        return Err(format!("{name} {option}"));
    }
    let value = json::parse(value.as_bytes()).unwrap_or_else(|_| Value::String(value.to_owned()));
    Ok((name.to_owned(), value))
}

/// Claims with an option of their own, so that the options mean what they say.
const RESERVED: [(&str, &str); 6] = [
    ("iss", "is set with --iss"),
    ("aud", "is set with --aud"),
    ("sub", "is set with --sub"),
    ("exp", "is set with --expires-in"),
    ("nbf", "is set with --not-before"),
    ("iat", "is always the present"),
];

const EXAMPLES: &str = "\
The token alone goes to standard output, so that it can be used in place:
  curl -H \"Authorization: Bearer $(jotgate token mint --key keys/private/dev.pem \\
      --iss https://issuer.example --aud orders --sub alice)\" https://localhost:8443/

Claims of one's own; a value is JSON if it can be, or else text:
  jotgate token mint … --claim scope='read write' --claim admin=true --claim 'roles=[\"a\",\"b\"]'

One that expired five minutes ago, to see it refused:
  jotgate token mint … --expires-in -5m

With an HMAC secret:
  jotgate token mint --secret secrets/internal.key --iss internal --aud orders --sub batch";

#[cfg(test)]
mod tests;
