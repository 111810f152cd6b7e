//! TLS in front of an upstream.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{HandshakeKind, RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::Authority;

/// Takes TLS off what is meant for an upstream. Its tasks end with it.
pub struct TlsFront {
    pub address: SocketAddr,
    handshakes: Arc<AtomicU64>,
    resumed: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl TlsFront {
    /// With a certificate of this authority for these names; clients must show one by `clients`,
    /// if there is somebody to ask for.
    pub async fn start(
        upstream: SocketAddr,
        authority: &Authority,
        names: &[&str],
        clients: Option<&Authority>,
    ) -> Self {
        Self::showing(upstream, authority.leaf(names), clients).await
    }

    /// With this certificate and its key.
    pub async fn showing(
        upstream: SocketAddr,
        pair: (String, String),
        clients: Option<&Authority>,
    ) -> Self {
        let provider = jotgate::crypto::rustls_provider();
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(clients) => {
                let mut roots = RootCertStore::empty();
                roots.add(der(clients.pem())).unwrap();
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build();
                builder.with_client_cert_verifier(verifier.unwrap())
            }
        };
        let (cert, key) = pair;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let config = builder.with_single_cert(vec![der(&cert)], key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let handshakes = Arc::new(AtomicU64::new(0));
        let resumed = Arc::new(AtomicU64::new(0));
        let counters = (handshakes.clone(), resumed.clone());
        let task = tokio::spawn(async move {
            let mut tasks = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, (all, resumed)) = (acceptor.clone(), counters.clone());
                tasks.spawn(async move {
                    let Ok(mut secured) = acceptor.accept(stream).await else {
                        return;
                    };
                    all.fetch_add(1, Ordering::Relaxed);
                    if secured.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed) {
                        resumed.fetch_add(1, Ordering::Relaxed);
                    }
                    let mut plain = TcpStream::connect(upstream).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut secured, &mut plain).await;
                });
            }
        });
        Self {
            address,
            handshakes,
            resumed,
            task,
        }
    }

    /// How many of them went on with an earlier one.
    pub fn resumed(&self) -> u64 {
        self.resumed.load(Ordering::Relaxed)
    }

    /// How many handshakes have been completed.
    pub fn handshakes(&self) -> u64 {
        self.handshakes.load(Ordering::Relaxed)
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}
