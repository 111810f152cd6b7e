//! One handshake: a stream in, a secured stream and what was agreed out.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::server::ProducesTickets;
use rustls::{AlertDescription, Error as TlsError, ServerConfig, server};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::config::{HTTP2, server_config};
use super::stream::Secure;
use super::{Certificates, MinVersion};
use crate::crypto;

/// Does handshakes with clients.
#[derive(Clone)]
pub struct Acceptor {
    config: Arc<ServerConfig>,
    certificates: Arc<Certificates>,
    min_version: MinVersion,
}

/// A stream whose handshake is done.
pub struct Established<S> {
    /// The secured stream.
    pub stream: Secure<S>,
    /// The name the client asked for, in lower case.
    pub server_name: Option<String>,
    /// What is spoken on it.
    pub protocol: Protocol,
}

/// An application protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, also for clients that know nothing of ALPN.
    Http1,
    /// HTTP/2.
    Http2,
}

/// How a handshake failed.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// It was not done in time.
    #[error("not done in time")]
    TimedOut,
    /// No version, cipher suite, group or application protocol that both sides know.
    #[error("nothing in common")]
    NothingInCommon,
    /// The client asked for a name that no certificate has.
    #[error("no certificate for the name asked for")]
    UnknownName,
    /// The client refused.
    #[error("the client refused: {0:?}")]
    Alert(AlertDescription),
    /// What came is HTTP, for which this is not the port.
    #[error("it is plain HTTP")]
    PlainHttp,
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    /// What came is not TLS, or not good TLS.
    #[error("not acceptable")]
    NotTls(#[source] io::Error),
}

impl Acceptor {
    /// For these certificates. Sessions that were begun under `tickets` can be resumed; that is
    /// safe as long as no client is asked who it is.
    ///
    /// # Errors
    /// The TLS library's, if it lacks a version or a random source.
    pub fn new(
        certificates: Arc<Certificates>,
        min_version: MinVersion,
        tickets: Option<Arc<dyn ProducesTickets>>,
    ) -> Result<Self, TlsError> {
        let tickets = tickets.map_or_else(crypto::ticketer, Ok)?;
        let config = server_config(certificates.clone(), min_version, tickets)?;
        Ok(Self {
            config: Arc::new(config),
            certificates,
            min_version,
        })
    }

    /// The oldest version it speaks.
    pub const fn min_version(&self) -> MinVersion {
        self.min_version
    }

    /// What sessions are resumed by.
    pub fn tickets(&self) -> Arc<dyn ProducesTickets> {
        self.config.ticketer.clone()
    }

    /// The certificates it chooses from.
    pub const fn certificates(&self) -> &Arc<Certificates> {
        &self.certificates
    }

    /// Does one handshake, ClientHello included, `within` this time.
    ///
    /// # Errors
    /// [`HandshakeError`].
    pub async fn accept<S>(
        &self,
        stream: S,
        within: Duration,
    ) -> Result<Established<S>, HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = timeout(within, self.handshake(stream))
            .await
            .map_err(|_| HandshakeError::TimedOut)??;
        let (_, connection) = stream.get_ref();
        let server_name = connection.server_name().map(str::to_ascii_lowercase);
        let protocol = match connection.alpn_protocol() {
            Some(HTTP2) => Protocol::Http2,
            Some(_) | None => Protocol::Http1,
        };
        Ok(Established {
            stream: Secure::new(stream),
            server_name,
            protocol,
        })
    }

    /// Reads the ClientHello first: once a handshake has begun, rustls says `access_denied` to
    /// a name without a certificate, where RFC 6066 §3 has an alert of its own.
    async fn handshake<S>(&self, stream: S) -> Result<TlsStream<S>, HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut begun = LazyConfigAcceptor::new(server::Acceptor::default(), stream)
            .await
            .map_err(classify)?;
        let name = begun
            .client_hello()
            .server_name()
            .map(str::to_ascii_lowercase);
        if self.certificates.choose(name.as_deref()).is_none() {
            // Whether it arrives or not, that was all there is to say.
            let _ = begun.io.write_all(&UNRECOGNIZED_NAME).await;
            let _ = begun.io.shutdown().await;
            return Err(HandshakeError::UnknownName);
        }
        begun
            .into_stream(self.config.clone())
            .await
            .map_err(classify)
    }
}

/// tokio-rustls hides the TLS library's error inside an `io::Error`.
fn classify(error: io::Error) -> HandshakeError {
    match error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<TlsError>())
    {
        Some(TlsError::NoApplicationProtocol | TlsError::PeerIncompatible(_)) => {
            HandshakeError::NothingInCommon
        }
        Some(TlsError::AlertReceived(alert)) => HandshakeError::Alert(*alert),
        Some(_) => HandshakeError::NotTls(error),
        None => HandshakeError::Broken(error),
    }
}

/// A fatal `unrecognized_name` (RFC 8446 §6, RFC 6066 §3), in a record that is not encrypted yet.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];
