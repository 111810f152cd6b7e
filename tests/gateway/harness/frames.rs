//! HTTP/2 frame by frame, as no library would write it.

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::{PATIENCE, TestGateway, tls};

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

pub const PROTOCOL_ERROR: u32 = 1;
pub const REFUSED_STREAM: u32 = 7;
pub const ENHANCE_YOUR_CALM: u32 = 11;

#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    pub fn number(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let stream = stream.to_be_bytes();
    [&length[1..], &[kind, flags], &stream, payload].concat()
}

/// A header block of literals without indexing (RFC 7541 §6.2.2), in these very bytes.
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            // An integer with a prefix of seven bits (RFC 7541 §5.1).
            match text.len().checked_sub(127) {
                None => block.push(text.len() as u8),
                Some(mut rest) => {
                    block.push(127);
                    while rest >= 128 {
                        block.push(rest as u8 | 128);
                        rest >>= 7;
                    }
                    block.push(rest as u8);
                }
            }
            block.extend(text.as_bytes());
        }
    }
    block
}

/// A good request for the public route, with more behind it.
pub fn request<'a>(method: &'a str, more: &[(&'a str, &'a str)]) -> Vec<u8> {
    let usual = [
        (":method", method),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", "/public/x"),
    ];
    block(&[&usual[..], more].concat())
}

pub async fn secured(gateway: &TestGateway) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(gateway.https()).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    tls(gateway, &[b"h2"]).connect(name, stream).await.unwrap()
}

/// A connection on which frames are written by hand.
pub struct Frames {
    writer: WriteHalf<TlsStream<TcpStream>>,
    reader: ReadHalf<TlsStream<TcpStream>>,
}

impl Frames {
    /// The preface and empty settings are sent.
    pub async fn connect(gateway: &TestGateway) -> Self {
        let (reader, writer) = split(secured(gateway).await);
        let mut frames = Self { writer, reader };
        let settings = frame(SETTINGS, 0, 0, &[]);
        assert!(frames.send(&[PREFACE, &settings].concat()).await);
        frames
    }

    /// Whether the gateway took it.
    pub async fn send(&mut self, bytes: &[u8]) -> bool {
        self.writer.write_all(bytes).await.is_ok() && self.writer.flush().await.is_ok()
    }

    pub async fn next(&mut self) -> Option<Frame> {
        next(&mut self.reader).await
    }

    /// The first frame of these kinds on this stream, or a GOAWAY.
    pub async fn first_of(&mut self, kinds: &[u8], stream: u32) -> Option<Frame> {
        while let Some(frame) = self.next().await {
            if frame.kind == GOAWAY || (frame.stream == stream && kinds.contains(&frame.kind)) {
                return Some(frame);
            }
        }
        None
    }

    /// Reads on the side, so that a flood never stops for want of a reader; what comes out is
    /// the GOAWAY, if the gateway ended it with one.
    pub fn flood(self) -> (WriteHalf<TlsStream<TcpStream>>, JoinHandle<Option<Frame>>) {
        let Self { writer, mut reader } = self;
        let goodbye = tokio::spawn(async move {
            let mut goodbye = None;
            while let Some(frame) = next(&mut reader).await {
                if frame.kind == GOAWAY {
                    goodbye = Some(frame);
                }
            }
            goodbye
        });
        (writer, goodbye)
    }
}

async fn next(reader: &mut ReadHalf<TlsStream<TcpStream>>) -> Option<Frame> {
    let mut head = [0; 9];
    timeout(PATIENCE, reader.read_exact(&mut head))
        .await
        .expect("no frame came")
        .ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; length as usize];
    reader.read_exact(&mut payload).await.ok()?;
    Some(Frame {
        kind: head[3],
        flags: head[4],
        stream: u32::from_be_bytes(head[5..].try_into().unwrap()),
        payload,
    })
}
