//! Clients that say exactly what a test wants said.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::TestGateway;
use super::gateway::PATIENCE;

/// A parsed answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    /// In order, names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// The only value of a field.
    pub fn one(&self, name: &str) -> Option<&str> {
        let mut values = self
            .headers
            .iter()
            .filter(|(n, _)| n == name)
            .map(|(_, v)| v.as_str());
        let first = values.next();
        assert_eq!(values.next(), None, "{name} came twice");
        first
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// The client's side of TLS.
pub fn tls(gateway: &TestGateway, alpn: &[&[u8]]) -> TlsConnector {
    connector(gateway.authority(), alpn)
}

/// The client's side of TLS, trusting this authority.
pub fn connector(authority: &str, alpn: &[&[u8]]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap())
        .unwrap();
    let mut config = ClientConfig::builder_with_provider(jotgate::crypto::rustls_provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

/// A raw HTTP/1.1 connection.
pub struct H1<S = TlsStream<TcpStream>> {
    pub stream: S,
    buffer: Vec<u8>,
}

impl H1 {
    /// Over TLS, asking for this name.
    pub async fn connect(gateway: &TestGateway, name: Option<&str>) -> Self {
        Self::connect_to(gateway.https(), gateway.authority(), name).await
    }

    /// Over TLS to this address, trusting this authority.
    pub async fn connect_to(address: SocketAddr, authority: &str, name: Option<&str>) -> Self {
        let connected = Self::try_connect_to(address, authority, name).await;
        connected.expect("no handshake")
    }

    /// The same, unless one of the two does not want to.
    pub async fn try_connect_to(
        address: SocketAddr,
        authority: &str,
        name: Option<&str>,
    ) -> Option<Self> {
        let stream = TcpStream::connect(address).await.unwrap();
        let name = match name {
            Some(name) => ServerName::try_from(name.to_owned()).unwrap(),
            // An address is never sent as SNI.
            None => ServerName::try_from("127.0.0.1".to_owned()).unwrap(),
        };
        let handshake = connector(authority, &[b"http/1.1"]).connect(name, stream);
        let stream = timeout(PATIENCE, handshake).await.expect("no end of it");
        stream.ok().map(Self::over)
    }
}

impl H1<TcpStream> {
    /// Without TLS.
    pub async fn plain(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> H1<S> {
    pub const fn over(stream: S) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Sends a GET with these header lines and reads the answer.
    pub async fn get(&mut self, target: &str, headers: &[&str]) -> Answer {
        self.request("GET", target, headers).await
    }

    /// Sends a request without a body and reads the answer.
    pub async fn request(&mut self, method: &str, target: &str, headers: &[&str]) -> Answer {
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n");
        for line in headers {
            head.push_str(line);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        self.send(head).await;
        if method == "HEAD" {
            self.head_answer().await
        } else {
            self.answer().await
        }
    }

    /// Reads one answer.
    pub async fn answer(&mut self) -> Answer {
        let mut answer = self.head_answer().await;
        let length = answer
            .one("content-length")
            .map(|length| length.parse::<usize>().unwrap());
        if answer.one("transfer-encoding").is_some() {
            loop {
                let chunk = self.chunk().await;
                if chunk.is_empty() {
                    break;
                }
                answer.body.extend(chunk);
            }
        } else if let Some(length) = length {
            self.fill_to(length).await;
            answer.body = self.buffer.drain(..length).collect();
        } else if !matches!(answer.status, 204 | 304 | 100..=199) {
            answer.body = self.rest().await;
        }
        answer
    }

    /// Reads one answer; `None` if it breaks off.
    pub async fn try_answer(&mut self) -> Option<Answer> {
        loop {
            let text = String::from_utf8_lossy(&self.buffer).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let answer = Self::parse(head);
                let is_whole = match answer.one("content-length") {
                    Some(length) => body.len() >= length.parse().unwrap(),
                    None => body.ends_with("0\r\n\r\n"),
                };
                if is_whole {
                    return Some(self.answer().await);
                }
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    /// Reads one chunk of a chunked body; the last one is empty.
    pub async fn chunk(&mut self) -> Vec<u8> {
        let end = self.fill_until(b"\r\n").await;
        let size = str::from_utf8(&self.buffer[..end - 2]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        self.buffer.drain(..end);
        self.fill_to(size + 2).await;
        let chunk = self.buffer.drain(..size).collect();
        self.buffer.drain(..2);
        chunk
    }

    /// Reads an answer's head alone.
    pub async fn head_answer(&mut self) -> Answer {
        let head = self.head_text().await;
        Self::parse(&head)
    }

    /// Reads an answer's head, if there is one before the other side closes.
    pub async fn try_head_answer(&mut self) -> Option<Answer> {
        if self.buffer.is_empty() && !self.fill().await {
            return None;
        }
        Some(self.head_answer().await)
    }

    fn parse(head: &str) -> Answer {
        let mut lines = head.trim_end().split("\r\n");
        let status = lines
            .next()
            .unwrap()
            .split(' ')
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();
        let headers = lines
            .map(|line| line.split_once(':').unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Answer {
            status,
            headers,
            body: Vec::new(),
        }
    }

    /// Reads a head, whatever it says, as text: what an upstream gets to see.
    pub async fn head_text(&mut self) -> String {
        let end = self.fill_until(b"\r\n\r\n").await;
        String::from_utf8(self.buffer.drain(..end).collect()).unwrap()
    }

    /// Reads exactly this many bytes.
    pub async fn bytes(&mut self, length: usize) -> Vec<u8> {
        self.fill_to(length).await;
        self.buffer.drain(..length).collect()
    }

    /// Everything until the other side closes.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.fill().await {}
        std::mem::take(&mut self.buffer)
    }

    /// Whether the other side has closed, with nothing more to say.
    pub async fn is_closed(&mut self) -> bool {
        self.buffer.is_empty() && !self.fill().await
    }

    async fn fill_until(&mut self, end: &[u8]) -> usize {
        loop {
            if let Some(at) = self
                .buffer
                .windows(end.len())
                .position(|window| window == end)
            {
                return at + end.len();
            }
            let text = String::from_utf8_lossy(&self.buffer).into_owned();
            assert!(
                self.fill().await,
                "closed in the middle of an answer: {text:?}"
            );
        }
    }

    async fn fill_to(&mut self, length: usize) {
        while self.buffer.len() < length {
            assert!(self.fill().await, "closed in the middle of a body");
        }
    }

    /// `false` at the end of the stream, however it came.
    async fn fill(&mut self) -> bool {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.buffer));
        matches!(read.await.expect("nothing came"), Ok(length) if length > 0)
    }
}

/// A new HTTP/2 connection.
pub async fn h2_client(gateway: &TestGateway) -> http2::SendRequest<Full<Bytes>> {
    h2_connect_to(gateway.https(), gateway.authority()).await
}

/// A new HTTP/2 connection to this address, trusting this authority.
pub async fn h2_connect_to(
    address: SocketAddr,
    authority: &str,
) -> http2::SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connect = connector(authority, &[b"h2"]).connect(name, stream);
    let stream = TokioIo::new(connect.await.unwrap());
    let (sender, connection) = http2::handshake(TokioExecutor::new(), stream)
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

/// A new HTTP/2 connection for a test that decides about every frame of its streams.
pub async fn h2_streams(gateway: &TestGateway) -> h2::client::SendRequest<Bytes> {
    let stream = TcpStream::connect(gateway.https()).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = tls(gateway, &[b"h2"]).connect(name, stream).await.unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    sender.ready().await.unwrap()
}
