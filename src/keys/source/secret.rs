//! HMAC secrets: a file that holds nothing else.

use std::path::Path;

use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE_NO_PAD};
use base64::{DecodeError, Engine};

use super::{Fault, Loaded, der, file, is_openssh, pem, undecodable};
use crate::exposure;
use crate::keys::key::{Key, Origin, Place};
use crate::keys::material::Unfit;
use crate::pem_text;

/// How a secret file spells the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretEncoding {
    /// The file's bytes, less one final newline.
    Raw,
    /// base64url text without padding (RFC 4648 §5), less one final newline.
    Base64Url,
}

/// Loads the secret in a file as a set of one key.
///
/// Its `kid` is the file's name without its last ending. All problems have the source index 0.
pub fn load_secret(path: &Path, encoding: SecretEncoding) -> Loaded {
    let mut loaded = Loaded::default();
    let key = file::read(path).and_then(|bytes| {
        let secret = decode(&bytes, encoding)?;
        Key::admit_secret(&secret, Origin::new(path, Place::Whole)).map_err(|unfit| {
            // An empty file is one, too; the rest may be on its way.
            let is_cut = matches!(unfit, Unfit::SecretTooShort { .. });
            let fault = Fault::from(unfit);
            if is_cut { fault.unsettled() } else { fault }
        })
    });
    let key = match key {
        Ok(key) => key.named(
            path.file_stem()
                .and_then(|stem| stem.to_str())
                .map(str::to_owned),
        ),
        Err(fault) => {
            match path.try_exists() {
                Ok(true) => loaded.fail(0, path, fault),
                // What is no file's name may be the secret itself, and this is for the log.
                Ok(false) | Err(_) => {
                    loaded.fail(0, "the file that `secret` names", fault.hint(NAMES_A_FILE))
                }
            }
            return loaded;
        }
    };
    loaded
        .set
        .insert(key)
        .expect("an empty set has no name that could clash");
    if let Some(exposure) = exposure::of(path, "secret") {
        loaded.warn(exposure);
    }
    loaded
}

/// The secret in a file's bytes.
///
/// # Errors
/// The bytes are a key file rather than a secret: a public key taken for a secret would let
/// everybody sign. Or they are not in the encoding that was promised.
pub(crate) fn decode(bytes: &[u8], encoding: SecretEncoding) -> Result<Vec<u8>, Fault> {
    let line = bytes
        .strip_suffix(b"\n")
        .map_or(bytes, |line| line.strip_suffix(b"\r").unwrap_or(line));
    refuse_public(bytes)?;
    let secret = match encoding {
        SecretEncoding::Raw => return Ok(line.to_vec()),
        SecretEncoding::Base64Url => URL_SAFE_NO_PAD.decode(line).map_err(|error| {
            let fault = Fault::new(format!("not base64url: {}", undecodable(&error)))
                .hint("write - for +, _ for / and no =, or leave out secret_encoding to use the bytes as they are");
            match error {
                // Cut inside of the characters that make up a byte.
                DecodeError::InvalidLength(_) | DecodeError::InvalidLastSymbol { .. } => fault.unsettled(),
                DecodeError::InvalidByte(..) | DecodeError::InvalidPadding => fault,
            }
        })?,
    };
    refuse_public(&secret)?;
    Ok(secret)
}

fn refuse_public(bytes: &[u8]) -> Result<(), Fault> {
    match public_format(bytes) {
        Some(format) => Err(Fault::new(format!("{format}, not a secret"))
            .hint("public keys are configured with `keys`")),
        None => Ok(()),
    }
}

fn public_format(bytes: &[u8]) -> Option<&'static str> {
    if pem::is_pem(bytes) {
        Some("a PEM file")
    } else if is_public(bytes) {
        Some("a public key in DER")
    } else if is_json(pem_text::without_mark(bytes)) {
        Some("a JSON document")
    } else if is_openssh(bytes.trim_ascii_start()) {
        Some("an OpenSSH public key")
    } else if is_base64_of_public(bytes) {
        // As some identity providers show theirs.
        Some("the inside of a PEM file with a public key")
    } else {
        None
    }
}

fn is_public(der: &[u8]) -> bool {
    der::public_key(der).is_ok()
        || der::rsa_public_key(der).is_ok()
        || der::certificate(der).is_ok()
}

fn is_base64_of_public(text: &[u8]) -> bool {
    let text: Vec<u8> = text
        .iter()
        .filter(|byte| !byte.is_ascii_whitespace())
        .map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            byte => *byte,
        })
        .collect();
    BASE64.decode(text).is_ok_and(|der| is_public(&der))
}

const NAMES_A_FILE: &str =
    "write the name of a file that holds the secret, and never the secret itself";

/// With padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(bytes).is_ok()
}
