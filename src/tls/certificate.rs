//! One certificate chain with its private key, read from PEM files.

use std::fs::File;
use std::io::{self, Read};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use rustls::sign::{CertifiedKey, SigningKey};
use x509_parser::nom;
use x509_parser::prelude::{ASN1Time, FromDer, GeneralName, X509Certificate, X509Error};

use super::Validity;
use crate::clock::NumericDate;
use crate::crypto;
use crate::pem_text;

/// A chain and a key that fit each other, and what the leaf says of itself.
#[derive(Debug)]
pub struct Certificate {
    /// What rustls signs handshakes with.
    pub(super) certified: Arc<CertifiedKey>,
    /// The file of the chain.
    pub path: PathBuf,
    /// The DNS names and addresses of the leaf's subject alternative names, in lower case.
    pub names: Vec<String>,
    /// The leaf's common name, which chooses nothing.
    common_name: Option<String>,
    /// When the leaf is valid.
    pub validity: Validity,
    /// When all authorities of the chain are, if there are any beside a root.
    pub authorities: Option<Validity>,
    /// The SHA-256 of the chain and of the public half of the key, which is the leaf's.
    pub digest: [u8; 32],
}

/// Why a pair of files is no usable certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not what it should be.
    #[error("{}: {reason}", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What was expected.
        reason: String,
    },
    /// It is the private key's file that is not what it should be, or cannot be read.
    #[error(transparent)]
    Key(Box<Self>),
    /// Key and leaf do not belong together.
    #[error("the key {} does not fit the certificate {}", key.display(), cert.display())]
    Mismatch {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        cert: PathBuf,
    },
}

impl CertificateError {
    /// Whether it looks as if the files were being replaced at this moment: one of them is not
    /// there or not whole, or only one is new.
    pub fn is_unsettled(&self) -> bool {
        match self {
            Self::Unreadable { source, .. } => source.kind() == io::ErrorKind::NotFound,
            Self::Malformed { reason, .. } => {
                [CUT_SHORT, CUT_LINE, EMPTY].contains(&reason.as_str())
            }
            Self::Key(error) => error.is_unsettled(),
            Self::Mismatch { .. } => true,
        }
    }

    /// Whether the fault lies with the private key's file rather than with the chain's.
    pub const fn blames_key(&self) -> bool {
        match self {
            Self::Unreadable { .. } | Self::Malformed { .. } => false,
            Self::Key(_) | Self::Mismatch { .. } => true,
        }
    }
}

impl Certificate {
    /// What the operator knows it by: its first name, or else its common name.
    pub fn label(&self) -> &str {
        let names = self.names.iter().chain(&self.common_name);
        names.map(String::as_str).next().unwrap_or("-")
    }

    /// What rustls signs handshakes with.
    pub(crate) const fn certified(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }

    /// Reads a chain (leaf first) and its key (PKCS#8, PKCS#1 or SEC1) and fits them together.
    ///
    /// An expired certificate loads, as does one without names: whether to serve it is for the
    /// operator to see and to say.
    ///
    /// # Errors
    /// [`CertificateError`], naming the file.
    pub fn load(
        cert: &Path,
        key: &Path,
        provider: &CryptoProvider,
    ) -> Result<Self, CertificateError> {
        let text = read(cert)?;
        let chain = certificates_in(cert, &text)?;
        let leaf = chain
            .first()
            .cloned()
            .ok_or_else(|| malformed(cert, no_certificate(&text)))?;
        let signing_key =
            load_key(key, provider).map_err(|error| CertificateError::Key(Box::new(error)))?;
        let authorities = authorities(&chain)
            .map_err(|_| malformed(cert, "one of its blocks is not an X.509 certificate"))?;
        let digest = crypto::sha256(
            &chain
                .iter()
                .flat_map(|c| c.iter().copied())
                .collect::<Vec<u8>>(),
        );
        let certified = CertifiedKey::new(chain, signing_key);
        match certified.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
            Err(rustls::Error::InconsistentKeys(_)) => {
                return Err(CertificateError::Mismatch {
                    key: key.into(),
                    cert: cert.into(),
                });
            }
            Err(error) => {
                return Err(malformed(
                    cert,
                    &format!("not a usable certificate: {error}"),
                ));
            }
        }
        let (_, leaf) = X509Certificate::from_der(&leaf)
            .map_err(|_| malformed(cert, "its first block is not an X.509 certificate"))?;
        Ok(Self {
            certified: Arc::new(certified),
            path: cert.into(),
            names: names(&leaf),
            common_name: common_name(&leaf),
            validity: of(&leaf),
            authorities,
            digest,
        })
    }
}

/// The certificates in the PEM file at `path`, which holds `text`. There may be none.
///
/// # Errors
/// [`CertificateError::Malformed`]; if it is cut short, that is not settled yet.
pub(crate) fn certificates_in(
    path: &Path,
    text: &[u8],
) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    CertificateDer::pem_slice_iter(text)
        .collect::<Result<_, _>>()
        .map_err(|error| malformed(path, explain(&error, no_certificate(text))))
}

/// What to say of a PEM file that holds no certificate.
pub(crate) fn no_certificate(text: &[u8]) -> &'static str {
    if is_der(text) {
        DER_CERTIFICATE
    } else if contains(text, PRIVATE_KEY) {
        SWAPPED_CERTIFICATE
    } else {
        NO_CERTIFICATE
    }
}

fn no_key(text: &[u8]) -> &'static str {
    if is_der(text) {
        DER_KEY
    } else if contains(text, CERTIFICATE) {
        SWAPPED_KEY
    } else {
        NO_KEY
    }
}

/// ASN.1 begins so: a sequence of more than 127 bytes.
fn is_der(bytes: &[u8]) -> bool {
    matches!(bytes, [0x30, 0x81..=0x84, ..])
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn load_key(
    path: &Path,
    provider: &CryptoProvider,
) -> Result<Arc<dyn SigningKey>, CertificateError> {
    let key = read_key(path)?;
    let loaded = provider.key_provider.load_private_key(key);
    loaded.map_err(|_| {
        malformed(
            path,
            "this private key is not supported; use P-256, P-384, P-521, Ed25519, or RSA with at least 2048 bits",
        )
    })
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, CertificateError> {
    let bytes = read(path)?;
    if ENCRYPTED.into_iter().any(|says| contains(&bytes, says)) {
        return Err(malformed(
            path,
            "the private key is encrypted; decrypt it: openssl pkey -in KEY -out PLAIN",
        ));
    }
    PrivateKeyDer::from_pem_slice(&bytes)
        .map_err(|error| malformed(path, explain(&error, no_key(&bytes))))
}

/// Reads a PEM file of which no block would be lost. It must be a regular file of bounded size: a
/// FIFO would block for ever, a disk would not fit.
///
/// # Errors
/// [`CertificateError`], naming the file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let unreadable = |source| CertificateError::Unreadable {
        path: path.into(),
        source,
    };
    if !path.metadata().map_err(unreadable)?.is_file() {
        return Err(malformed(path, "not a regular file"));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(malformed(
            path,
            "larger than 1 MiB; is this the right file?",
        ));
    }
    if bytes.is_empty() {
        return Err(malformed(path, EMPTY));
    }
    let text = pem_text::without_mark(&bytes);
    pem_text::check(text).map_err(|lost| malformed(path, &lost.to_string()))?;
    Ok(text.to_vec())
}

fn explain(error: &pem::Error, if_there_is_none: &'static str) -> &'static str {
    if matches!(error, pem::Error::NoItemsFound) {
        if_there_is_none
    } else {
        broken_pem(error)
    }
}

/// What is wrong with a PEM file. Never in the library's own words: those quote the line, and that
/// may be a private key which has lost its line breaks.
const fn broken_pem(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => CUT_SHORT,
        pem::Error::IllegalSectionStart { .. } => CUT_LINE,
        pem::Error::Base64Decode(_) => "is not valid PEM: a block holds something else than base64",
        pem::Error::Io(_) | pem::Error::NoItemsFound | pem::Error::SectionTooLarge | _ => {
            "is not valid PEM"
        }
    }
}

fn malformed(path: &Path, reason: &str) -> CertificateError {
    CertificateError::Malformed {
        path: path.into(),
        reason: reason.to_owned(),
    }
}

fn names(leaf: &X509Certificate<'_>) -> Vec<String> {
    leaf.subject_alternative_name()
        .ok()
        .flatten()
        .map_or_else(Vec::new, |extension| {
            extension
                .value
                .general_names
                .iter()
                .filter_map(name)
                .collect()
        })
}

fn common_name(leaf: &X509Certificate<'_>) -> Option<String> {
    let name = leaf.subject().iter_common_name().next()?;
    name.as_str().ok().map(str::to_owned)
}

/// When a certificate is good.
pub(crate) fn validity(certificate: &CertificateDer<'_>) -> Result<Validity, nom::Err<X509Error>> {
    X509Certificate::from_der(certificate).map(|(_, certificate)| of(&certificate))
}

/// When all authorities of a chain are good, but for a root, at which nobody looks.
fn authorities(chain: &[CertificateDer<'_>]) -> Result<Option<Validity>, nom::Err<X509Error>> {
    let mut whole: Option<Validity> = None;
    for certificate in chain.iter().skip(1) {
        let (_, certificate) = X509Certificate::from_der(certificate)?;
        if certificate.subject() != certificate.issuer() {
            let own = of(&certificate);
            let all = whole.unwrap_or(own);
            whole = Some(Validity {
                begins: all.begins.max(own.begins),
                ends: all.ends.min(own.ends),
            });
        }
    }
    Ok(whole)
}

fn of(certificate: &X509Certificate<'_>) -> Validity {
    // Before 1970 is as good as 1970.
    let date = |at: ASN1Time| NumericDate::from_seconds(at.timestamp().try_into().unwrap_or(0));
    Validity {
        begins: date(certificate.validity().not_before),
        ends: date(certificate.validity().not_after),
    }
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    if let GeneralName::DNSName(name) = name {
        return Some(name.to_ascii_lowercase());
    }
    let GeneralName::IPAddress(bytes) = name else {
        return None;
    };
    let v4 = || Some(Ipv4Addr::from(<[u8; 4]>::try_from(*bytes).ok()?).to_string());
    let v6 = || {
        Some(format!(
            "[{}]",
            Ipv6Addr::from(<[u8; 16]>::try_from(*bytes).ok()?)
        ))
    };
    v4().or_else(v6)
}

const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// As PKCS#8 (RFC 5958) and OpenSSL's older formats say it.
const ENCRYPTED: [&[u8]; 2] = [b"-----BEGIN ENCRYPTED", b"Proc-Type: 4,ENCRYPTED"];
const PRIVATE_KEY: &[u8] = b"PRIVATE KEY-----";
const CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";
const CUT_SHORT: &str = "is cut short: a PEM block has no end";
const CUT_LINE: &str = "is cut short, or has lost a line break: a line that begins with -----BEGIN does not end with -----";
const EMPTY: &str = "the file is empty";
const NO_CERTIFICATE: &str = "holds no PEM certificate (expected -----BEGIN CERTIFICATE-----)";
const NO_KEY: &str = "holds no PEM private key (expected a -----BEGIN … block)";
const SWAPPED_CERTIFICATE: &str =
    "holds a private key, where a certificate is expected; are cert and key swapped?";
const SWAPPED_KEY: &str =
    "holds a certificate, where a private key is expected; are cert and key swapped?";
const DER_CERTIFICATE: &str =
    "is not PEM; if it is DER, convert it: openssl x509 -inform DER -in FILE -out PEM";
const DER_KEY: &str =
    "is not PEM; if it is DER, convert it: openssl pkey -inform DER -in FILE -out PEM";
