//! Whether an upstream is who it should be: by its chain, or because it is the very certificate
//! that the operator has named.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::clock::NumericDate;
use crate::tls;

/// Believes the chains of some authorities; and of the certificates among those, each that an
/// upstream shows as its own.
///
/// What `openssl req -x509` makes is marked as an authority, and the web's PKI has no such upstreams
/// (RFC 5280 §4.2.1.9). But whoever names it means it: it needs no authority then, only to be for
/// the right host and not to have expired.
#[derive(Debug)]
pub(super) struct Verifier {
    chains: Arc<WebPkiServerVerifier>,
    named: Vec<CertificateDer<'static>>,
}

impl Verifier {
    /// Believes these `roots`, which came out of a file with these certificates.
    ///
    /// # Errors
    /// Without any.
    pub(super) fn new(
        roots: RootCertStore,
        named: Vec<CertificateDer<'static>>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, rustls::client::VerifierBuilderError> {
        let chains = WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone());
        Ok(Self {
            chains: chains.build()?,
            named,
        })
    }
}

/// Whether a certificate that was named is good for this host at this time.
fn verify_named(
    certificate: &CertificateDer<'_>,
    host: &ServerName<'_>,
    now: UnixTime,
) -> Result<ServerCertVerified, Error> {
    verify_server_name(&ParsedCertificate::try_from(certificate)?, host)?;
    let validity = tls::validity(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let now = NumericDate::from_seconds(now.as_secs());
    if now < validity.begins {
        Err(CertificateError::NotValidYet.into())
    } else if now > validity.ends {
        Err(CertificateError::Expired.into())
    } else {
        Ok(ServerCertVerified::assertion())
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        host: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let by_chain =
            self.chains
                .verify_server_cert(certificate, intermediates, host, ocsp_response, now);
        match by_chain {
            Err(_) if self.named.contains(certificate) => verify_named(certificate, host, now),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}
