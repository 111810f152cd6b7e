//! Whom to believe about upstreams: authorities out of a file, or those of the system.

use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use tracing::warn;

use super::ClientTlsError;
use crate::crypto;
use crate::tls;

/// The authorities that the system believes in at this moment: those of `SSL_CERT_FILE` and
/// `SSL_CERT_DIR`, or else those of the places where its kind keeps them.
pub struct SystemAuthorities {
    /// In an order that says nothing of how folders are read.
    certificates: Vec<CertificateDer<'static>>,
    errors: Vec<rustls_native_certs::Error>,
}

impl SystemAuthorities {
    /// Reads them.
    pub fn load() -> Self {
        let mut found = rustls_native_certs::load_native_certs();
        found
            .certs
            .sort_unstable_by(|one, other| one.as_ref().cmp(other.as_ref()));
        found.certs.dedup();
        Self {
            certificates: found.certs,
            errors: found.errors,
        }
    }

    /// The SHA-256 of all of them.
    pub fn digest(&self) -> [u8; 32] {
        let each = self.certificates.iter();
        let digests: Vec<u8> = each.flat_map(|one| crypto::sha256(one)).collect();
        crypto::sha256(&digests)
    }

    /// Those that can be used. The others are none of ours to mend, so they are left out.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn into_roots(self) -> Result<RootCertStore, ClientTlsError> {
        for error in self.errors {
            warn!("authorities of the system: {error}");
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(self.certificates);
        if roots.is_empty() {
            return Err(ClientTlsError::NoSystemAuthorities);
        }
        Ok(roots)
    }
}

/// Those in the PEM file at `path`, which holds `text`: as roots, and as they are.
///
/// # Errors
/// One of them cannot be used, or there is none.
pub(super) fn in_file(
    path: &Path,
    text: &[u8],
) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), ClientTlsError> {
    let unusable = |reason: String| ClientTlsError::Unusable {
        path: path.into(),
        reason,
    };
    let mut roots = RootCertStore::empty();
    let certificates = tls::certificates_in(path, text).map_err(ClientTlsError::Authorities)?;
    for certificate in &certificates {
        roots
            .add(certificate.clone())
            .map_err(|error| unusable(format!("not a usable authority: {error}")))?;
    }
    if roots.is_empty() {
        return Err(unusable(tls::no_certificate(text).to_owned()));
    }
    Ok((roots, certificates))
}
