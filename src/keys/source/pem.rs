//! PEM files (RFC 7468): public keys and certificates, several in one file, with text around.
//!
//! A private key is refused whatever stands beside it: a gateway that only verifies should not
//! be worth robbing.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Contents, Fault, der, undecodable};
use crate::clock::NumericDate;
use crate::keys::algorithm::AlgorithmSet;
use crate::keys::key::{Key, Origin, Place};
use crate::keys::material::Material;
use crate::pem_text;

/// One block: its label, the line it begins on, and what it holds.
pub(crate) struct Block<'a> {
    pub(crate) label: &'a str,
    pub(crate) line: usize,
    pub(crate) der: Result<Vec<u8>, Fault>,
}

/// Whether there is a PEM block in these bytes.
pub(super) fn is_pem(bytes: &[u8]) -> bool {
    bytes
        .windows(BEGIN.len())
        .any(|window| window == BEGIN.as_bytes())
}

/// Whether these bytes may be all that has been written of a file that begins with a block.
pub(super) fn has_begun(bytes: &[u8]) -> bool {
    BEGIN.as_bytes().starts_with(bytes)
}

/// Finds the blocks; lines outside of them are comments.
///
/// A block that does not end, or holds something else than base64, is returned as a fault.
pub(crate) fn blocks(bytes: &[u8]) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut lines = bytes
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .enumerate();
    while let Some((index, line)) = lines.next() {
        let Some(label) = label(line) else {
            continue;
        };
        let mut body = Vec::new();
        let end = lines.by_ref().map(|(_, line)| line).find(|line| {
            let dashes = line.starts_with(b"-----");
            if !dashes {
                body.extend_from_slice(line);
            }
            dashes
        });
        let expected = format!("{END}{label}-----");
        let der = match end {
            Some(end) if end == expected.as_bytes() => STANDARD.decode(&body).map_err(|error| {
                Fault::new(format!(
                    "the PEM block {:?} is not base64: {}",
                    cut(label),
                    undecodable(&error)
                ))
            }),
            Some(end) if !expected.as_bytes().starts_with(end) => Err(Fault::new(format!(
                "the PEM block {:?} does not end with its END line",
                cut(label)
            ))),
            // Or only the beginning of it.
            Some(_) | None => Err(Fault::new(format!(
                "the PEM block {:?} has no END line",
                cut(label)
            ))
            .hint("the file is cut short; copy it again")
            .unsettled()),
        };
        blocks.push(Block {
            label,
            line: index + 1,
            der,
        });
    }
    blocks
}

/// Writes a block.
pub(crate) fn encode(label: &str, der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let mut text = format!("{BEGIN}{label}-----\n");
    for line in base64.as_bytes().chunks(LINE_CHARS) {
        text.extend(line.iter().map(|byte| char::from(*byte)));
        text.push('\n');
    }
    text + END + label + "-----\n"
}

pub(super) fn parse(bytes: &[u8], path: &Path) -> Contents {
    let mut contents = Contents::default();
    if let Err(lost) = pem_text::check(bytes) {
        return Contents::refused(Fault::new(lost.to_string()));
    }
    let blocks = blocks(bytes);
    if blocks.len() < pem_text::begun(bytes) {
        let fault =
            Fault::new("a line that begins with -----BEGIN is no whole \"-----BEGIN …-----\"");
        let last = bytes.rsplit(|byte| *byte == b'\n').next();
        let is_cut = last.is_some_and(|line| line.starts_with(BEGIN.as_bytes()));
        return Contents::refused(if is_cut { fault.unsettled() } else { fault });
    }
    if blocks.len() > MAX_BLOCKS {
        return Contents::refused(Fault::new(format!(
            "holds more than {MAX_BLOCKS} PEM blocks"
        )));
    }
    let mut issued_by = None;
    for block in blocks {
        let place = Place::Line(block.line);
        match read(block, &mut issued_by, &mut contents.warnings) {
            Ok(Some(found)) => {
                match Key::admit(&found.material, found.allowed, Origin::new(path, place)) {
                    Ok(key) => contents.keys.push(key.expiring(found.expires)),
                    Err(unfit) => contents.faults.push((place, unfit.into())),
                }
            }
            Ok(None) => {}
            Err(fault) => contents.faults.push((place, fault)),
        }
    }
    contents
}

/// A key as a block holds it.
struct Found {
    material: Material,
    allowed: AlgorithmSet,
    /// When the certificate around it ends.
    expires: Option<NumericDate>,
}

impl From<(Material, AlgorithmSet)> for Found {
    fn from((material, allowed): (Material, AlgorithmSet)) -> Self {
        Self {
            material,
            allowed,
            expires: None,
        }
    }
}

/// Reads one block; `None` if it is sound and still not a key.
fn read(
    block: Block<'_>,
    issued_by: &mut Option<Vec<u8>>,
    warnings: &mut Vec<String>,
) -> Result<Option<Found>, Fault> {
    if block.label.ends_with(PRIVATE_KEY) {
        return Err(
            Fault::new("holds a private key; jotgate verifies with the public half").hint(
                "write the public half to a file: openssl pkey -in FILE -pubout -out PUBLIC.pem",
            ),
        );
    }
    match block.label {
        "PUBLIC KEY" => der::public_key(&block.der?).map(|key| Some(key.into())),
        "RSA PUBLIC KEY" => der::rsa_public_key(&block.der?).map(|key| Some(key.into())),
        "CERTIFICATE" => certificate(&block.der?, block.line, issued_by, warnings),
        stranger => Err(Fault::new(format!(
            "a PEM block of the unknown kind {:?}",
            cut(stranger)
        ))
        .hint("PUBLIC KEY, RSA PUBLIC KEY and CERTIFICATE are understood")),
    }
}

/// The key in a certificate, unless it is the issuer of the certificate before it: then the file
/// is a chain, and only its first certificate is the signer's.
fn certificate(
    der: &[u8],
    line: usize,
    issued_by: &mut Option<Vec<u8>>,
    warnings: &mut Vec<String>,
) -> Result<Option<Found>, Fault> {
    let certificate = der::certificate(der)?;
    let (subject, issuer) = (
        certificate.subject().as_raw(),
        certificate.issuer().as_raw(),
    );
    let is_chained = issued_by.as_deref() == Some(subject);
    // A self-signed certificate ends a chain; another copy of it would not be its issuer.
    *issued_by = (subject != issuer).then(|| issuer.to_vec());
    if is_chained {
        warnings.push(format!(
            "line {line}: the issuer of the certificate before it; its key is not used"
        ));
        return Ok(None);
    }
    if !certificate.validity().is_valid() {
        let validity = certificate.validity();
        warnings.push(format!(
            "line {line}: the certificate is valid from {} to {}; its key is used all the same",
            validity.not_before, validity.not_after
        ));
    }
    let ends = certificate.validity().not_after.timestamp();
    let found = Found::from(der::from_info(certificate.public_key())?);
    Ok(Some(Found {
        expires: Some(NumericDate::from_seconds(u64::try_from(ends).unwrap_or(0))),
        ..found
    }))
}

/// The label of a BEGIN line. One with dashes in it is none (RFC 7468 §3), but a whole block on one
/// line, which nobody should see.
fn label(line: &[u8]) -> Option<&str> {
    let label = line
        .strip_prefix(BEGIN.as_bytes())?
        .strip_suffix(b"-----")?;
    str::from_utf8(label)
        .ok()
        .filter(|label| !label.contains("--"))
}

fn cut(text: &str) -> String {
    text.chars().take(64).collect()
}

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";

/// `PRIVATE KEY`, and `RSA`, `EC`, `ENCRYPTED` or `OPENSSH` before it.
const PRIVATE_KEY: &str = "PRIVATE KEY";

/// RFC 7468 §2.
const LINE_CHARS: usize = 64;

const MAX_BLOCKS: usize = 1000;
