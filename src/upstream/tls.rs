//! TLS towards upstreams: whom to believe, and who we are.

mod authorities;
mod verifier;

use std::error::Error as _;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::{InvalidDnsNameError, ServerName};
use rustls::sign::SingleCertAndKey;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::crypto;
use crate::tls::{self, Certificate, CertificateError};

pub use authorities::SystemAuthorities;
use verifier::Verifier;

/// What is believed of upstreams over TLS, and what is shown to them.
#[derive(Clone)]
pub struct ClientConfigs {
    config: Arc<ClientConfig>,
    identity: Option<Arc<Certificate>>,
    /// Whom it believes, but for those whom the system believes, and what it shows.
    digest: [u8; 32],
    /// Those.
    system: Option<[u8; 32]>,
}

/// How one target is spoken to over TLS.
#[derive(Clone)]
pub struct ClientTls {
    connector: TlsConnector,
    identity: Option<Arc<Certificate>>,
    name: ServerName<'static>,
    digest: [u8; 32],
    system: Option<[u8; 32]>,
}

/// Why there is no TLS to upstreams.
#[derive(Debug, thiserror::Error)]
pub enum ClientTlsError {
    /// The file with the authorities.
    #[error(transparent)]
    Authorities(CertificateError),
    /// One of the authorities.
    #[error("{}: {reason}", path.display())]
    Unusable {
        /// The file it is in.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The certificate that is shown, or its key.
    #[error(transparent)]
    Identity(CertificateError),
    /// The system has no authorities to believe in.
    #[error("the system has no authorities that can be loaded; name some with `ca`")]
    NoSystemAuthorities,
    /// The TLS library has no use for what it is given.
    #[error("no TLS: {0}")]
    Library(String),
}

impl ClientTlsError {
    /// Whether it looks as if the files were being replaced at this moment.
    pub fn is_unsettled(&self) -> bool {
        match self {
            Self::Authorities(error) | Self::Identity(error) => error.is_unsettled(),
            // They may be on their way, as any file.
            Self::NoSystemAuthorities => true,
            Self::Unusable { .. } | Self::Library(_) => false,
        }
    }
}

impl ClientConfigs {
    /// Believes the authorities in `ca`, or those of the system; shows the certificate in
    /// `identity` (its chain and its key) to upstreams that ask for one.
    ///
    /// # Errors
    /// [`ClientTlsError`].
    pub fn load(
        ca: Option<&Path>,
        identity: Option<(&Path, &Path)>,
    ) -> Result<Self, ClientTlsError> {
        let provider = crypto::rustls_provider();
        let versions = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| ClientTlsError::Library(error.to_string()))?;
        let mut digested = Vec::new();
        let mut system = None;
        let (roots, named) = match ca {
            Some(ca) => {
                let text = tls::read(ca).map_err(ClientTlsError::Authorities)?;
                digested.extend(crypto::sha256(&text));
                authorities::in_file(ca, &text)?
            }
            None => {
                let authorities = SystemAuthorities::load();
                system = Some(authorities.digest());
                (authorities.into_roots()?, Vec::new())
            }
        };
        let identity = identity
            .map(|(cert, key)| Certificate::load(cert, key, &provider).map(Arc::new))
            .transpose()
            .map_err(ClientTlsError::Identity)?;
        let verifier = Verifier::new(roots, named, &provider);
        let verifier = verifier.map_err(|error| ClientTlsError::Library(error.to_string()))?;
        // It is the library's own, but for what the operator has named.
        let verified = versions
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match &identity {
            None => verified.with_no_client_auth(),
            Some(certificate) => {
                digested.extend(certificate.digest);
                verified.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(
                    certificate.certified().clone(),
                )))
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // Only a full handshake looks at the certificate, and it may have expired meanwhile.
        // Connections are kept, so there are not many handshakes.
        config.resumption = Resumption::disabled();
        Ok(Self {
            config: Arc::new(config),
            identity,
            digest: crypto::sha256(&digested),
            system,
        })
    }

    /// The certificate that is shown.
    pub fn identity(&self) -> Option<&Certificate> {
        self.identity.as_deref()
    }

    /// For the upstream of this name, or at this address.
    ///
    /// # Errors
    /// If it is neither.
    pub fn for_host(&self, host: &str) -> Result<ClientTls, InvalidDnsNameError> {
        Ok(ClientTls {
            connector: TlsConnector::from(self.config.clone()),
            identity: self.identity.clone(),
            name: ServerName::try_from(host.to_owned())?,
            digest: self.digest,
            system: self.system,
        })
    }
}

impl ClientTls {
    /// The certificate that is shown.
    pub(super) fn identity(&self) -> Option<&Certificate> {
        self.identity.as_deref()
    }

    /// A few digits of the digest of what it believes and shows, wherever it does.
    pub(super) fn mark(&self) -> String {
        match self.system {
            None => hex(&self.digest),
            Some(_) => format!("system {}", hex(&self.digest)),
        }
    }

    /// The same of the authorities of this system, if it believes those.
    pub(super) fn system_mark(&self) -> Option<String> {
        self.system.as_ref().map(hex)
    }

    /// Whether it believes and shows the same, under the same name.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.digest == other.digest && self.system == other.system && self.name == other.name
    }

    /// Does the handshake. The certificate must be for the target's name, whatever the client's
    /// request says of hosts.
    pub(super) async fn connect<S>(&self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.connector.connect(self.name.clone(), stream).await
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").finish_non_exhaustive()
    }
}

/// Whether the other side has ended the connection with an alert (RFC 8446 §6.2).
pub(super) fn is_alert(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref());
    let cause = cause.and_then(io::Error::get_ref);
    let cause = cause.and_then(|cause| cause.downcast_ref());
    matches!(cause, Some(rustls::Error::AlertReceived(_)))
}

fn hex(digest: &[u8; 32]) -> String {
    digest[..8].iter().map(|b| format!("{b:02x}")).collect()
}
