//! TLS towards clients: which certificate answers which name, and how handshakes are done.

mod certificate;
mod certificates;
mod config;
mod handshake;
mod stream;
mod validity;

pub use certificate::{Certificate, CertificateError};
pub(crate) use certificate::{certificates_in, no_certificate, read, validity};
pub use certificates::Certificates;
pub use config::MinVersion;
pub use handshake::{Acceptor, Established, HandshakeError, Protocol};
pub use stream::Secure;
pub use validity::Validity;
