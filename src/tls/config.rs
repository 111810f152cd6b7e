//! The TLS parameters: Mozilla's intermediate profile, which is what rustls speaks.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use rustls::version::{TLS12, TLS13};

use super::Certificates;
use crate::crypto;

/// The oldest protocol version that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MinVersion {
    /// TLS 1.2 (RFC 5246), with ephemeral keys and AEAD ciphers only.
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

/// The configuration for handshakes with clients.
///
/// HTTP/2 before HTTP/1.1 by ALPN; tickets whose keys rotate, so that resumption needs no store
/// and no key lives for ever; no early data, because a bearer request in it could be replayed
/// (RFC 8446 §8).
///
/// # Errors
/// rustls' own, if the provider lacks a version or a random source.
pub(super) fn server_config(
    certificates: Arc<Certificates>,
    min_version: MinVersion,
    tickets: Arc<dyn ProducesTickets>,
) -> Result<ServerConfig, rustls::Error> {
    let versions: &[_] = match min_version {
        MinVersion::Tls12 => &[&TLS13, &TLS12],
        MinVersion::Tls13 => &[&TLS13],
    };
    let mut config = ServerConfig::builder_with_provider(crypto::rustls_provider())
        .with_protocol_versions(versions)?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
    config.ticketer = tickets;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    // One is what a client needs; each more costs the handshake a message.
    config.send_tls13_tickets = 1;
    config.max_early_data_size = 0;
    Ok(config)
}

/// The protocols' names in ALPN (RFC 7301 §6, RFC 9113 §3.1).
pub(super) const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";
