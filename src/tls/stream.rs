//! A secured stream, which holds the more of what is written, the more is written at once.
//!
//! What TLS has made of it waits for the client to take it. For one that takes nothing, that should
//! be little; where a lot is handed over at once, because it flows, it goes to the kernel in fewer
//! and larger writes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use crate::socket::Taking;

/// A stream whose handshake is done.
pub struct Secure<S>(TlsStream<S>);

impl<S> Secure<S> {
    pub(super) const fn new(stream: TlsStream<S>) -> Self {
        Self(stream)
    }

    /// For so much to be written at once, in bytes.
    fn make_room_for(&mut self, length: usize) {
        let holds = if length < LARGE_BYTES {
            USUAL_BYTES
        } else {
            FLOWING_BYTES
        };
        let (_, connection) = self.0.get_mut();
        connection.set_buffer_limit(Some(holds));
    }
}

impl<S: Taking> Taking for Secure<S> {
    fn taken(&self) -> u64 {
        self.0.get_ref().0.taken()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Secure<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Secure<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.make_room_for(buf.len());
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.make_room_for(bufs.iter().map(|buf| buf.len()).sum());
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// What TLS holds of an answer that the client does not take: two records.
const USUAL_BYTES: usize = 32 * 1024;

/// The same of one that is handed over in large pieces.
const FLOWING_BYTES: usize = 128 * 1024;

/// What is large: more than what hyper gathers of those that are not (as much as the largest head
/// may have, 64 KiB, and one of 32 KiB), and less than one that is.
const LARGE_BYTES: usize = 112 * 1024;

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Waker;

    use rcgen::{CertifiedKey, generate_simple_self_signed};
    use rustls::pki_types::{PrivateKeyDer, ServerName};
    use rustls::{ClientConfig, RootCertStore, ServerConfig};
    use tokio::io::{DuplexStream, duplex};
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;

    /// Both ends of a stream on which little is under way at once.
    async fn stream() -> (Secure<DuplexStream>, impl AsyncRead) {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let server = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key);
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        let client = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let (near, far) = duplex(4096);
        let name = ServerName::try_from("localhost").unwrap();
        let (near, far) = tokio::join!(
            TlsAcceptor::from(Arc::new(server.unwrap())).accept(near),
            TlsConnector::from(Arc::new(client)).connect(name, far),
        );
        (Secure::new(near.unwrap()), far.unwrap())
    }

    /// What it takes of writes of this size from one who does not read.
    async fn taken_in(piece: usize) -> usize {
        let (mut near, _far) = stream().await;
        let cx = &mut Context::from_waker(Waker::noop());
        let (buffer, mut taken) = (vec![7; piece], 0);
        while let Poll::Ready(length) = Pin::new(&mut near).poll_write(cx, &buffer) {
            taken += length.unwrap();
        }
        taken
    }

    #[tokio::test]
    async fn p16_it_holds_little_of_small_pieces_and_more_of_large_ones() {
        let (small, large) = (taken_in(16 * 1024).await, taken_in(256 * 1024).await);
        let on_the_way = 8 * 1024;
        assert!(small <= USUAL_BYTES + on_the_way, "{small}");
        assert!(large >= FLOWING_BYTES, "{large}");
        assert!(large <= FLOWING_BYTES + on_the_way, "{large}");
    }
}
