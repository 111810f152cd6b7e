//! Who opened a connection that a proxy passes on, in the words of the PROXY protocol (HAProxy's
//! `proxy-protocol.txt`, versions 1 and 2).
//!
//! The header is read to the byte, for what follows belongs to TLS or HTTP; and bounded, for
//! whoever sends it has not yet proved to speak either. Its TLVs are read over.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use ppp::{v1, v2};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::observe::Introduction;
use crate::proxy::Peer;
use crate::trust::TrustedProxies;

/// Why nobody knows who opened a connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum HeaderError {
    /// Whoever connected is not one of the proxies.
    #[error("not a trusted proxy")]
    Untrusted,
    /// The header did not come in time.
    #[error("no PROXY header in time")]
    TimedOut,
    /// What came is no header, or not a good one.
    #[error("not a PROXY header")]
    Malformed,
    /// The header is longer than any that makes sense.
    #[error("the PROXY header is too long")]
    TooLong,
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[from] io::Error),
}

impl HeaderError {
    /// How it is counted.
    pub(super) const fn kind(&self) -> Introduction {
        match self {
            Self::Untrusted => Introduction::Untrusted,
            Self::TimedOut => Introduction::Timeout,
            Self::Malformed | Self::TooLong => Introduction::Malformed,
            Self::Broken(_) => Introduction::Io,
        }
    }
}

/// Reads the header that a connection from one of `proxies` begins with, `within` this time.
///
/// # Errors
/// [`HeaderError`]; then the connection is of no use.
pub(super) async fn read(
    stream: &mut TcpStream,
    proxy: SocketAddr,
    proxies: &TrustedProxies,
    within: Duration,
) -> Result<Peer, HeaderError> {
    if !proxies.contains(proxy.ip()) {
        return Err(HeaderError::Untrusted);
    }
    let source = timeout(within, read_source(stream))
        .await
        .map_err(|_| HeaderError::TimedOut)??;
    Ok(match source {
        Source::Told(address) => Peer::known(address),
        Source::Proxy => Peer::known(proxy),
        Source::Hidden => Peer::hidden_behind(proxy),
    })
}

/// Who a header says has opened the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// Whoever has this address.
    Told(SocketAddr),
    /// The proxy itself, to see whether we are alive.
    Proxy,
    /// Somebody whose address it does not know, or who has none that means anything here.
    Hidden,
}

async fn read_source(stream: &mut TcpStream) -> Result<Source, HeaderError> {
    // Both versions are at least this long.
    let mut start = [0; v2::PROTOCOL_PREFIX.len()];
    let mut length = 0;
    while length < start.len() {
        length += some(stream.read(&mut start[length..]).await?)?;
        // Who speaks something else is not waited for.
        if !begins_header(&start[..length]) {
            return Err(HeaderError::Malformed);
        }
    }
    if start == *v2::PROTOCOL_PREFIX {
        read_binary(stream).await
    } else {
        read_text(stream, &start).await
    }
}

fn begins_header(start: &[u8]) -> bool {
    let begins = |prefix: &[u8]| prefix.iter().zip(start).all(|(one, other)| one == other);
    begins(v2::PROTOCOL_PREFIX) || begins(TEXT_PREFIX)
}

/// Reads a line, of which this much has been read.
async fn read_text(stream: &mut TcpStream, start: &[u8]) -> Result<Source, HeaderError> {
    let mut line = [0; MAX_TEXT];
    line[..start.len()].copy_from_slice(start);
    let mut length = start.len();
    while length < line.len() {
        // Looked at first: what stands behind the line is not ours to take.
        let seen = some(stream.peek(&mut line[length..]).await?)?;
        let end = memchr::memchr(b'\n', &line[length..length + seen]);
        let taken = end.map_or(seen, |at| at + 1);
        stream.read_exact(&mut line[length..length + taken]).await?;
        length += taken;
        if end.is_some() {
            return text_source(&line[..length]).ok_or(HeaderError::Malformed);
        }
    }
    Err(HeaderError::TooLong)
}

/// Reads a binary header, of which the prefix has been read.
async fn read_binary(stream: &mut TcpStream) -> Result<Source, HeaderError> {
    let mut header = v2::PROTOCOL_PREFIX.to_vec();
    header.resize(FIXED, 0);
    stream
        .read_exact(&mut header[v2::PROTOCOL_PREFIX.len()..])
        .await?;
    let rest = u16::from_be_bytes([header[FIXED - 2], header[FIXED - 1]]);
    if FIXED + usize::from(rest) > MAX_BINARY {
        return Err(HeaderError::TooLong);
    }
    header.resize(FIXED + usize::from(rest), 0);
    stream.read_exact(&mut header[FIXED..]).await?;
    binary_source(&header).ok_or(HeaderError::Malformed)
}

/// What a line says, with its end and nothing behind it.
fn text_source(line: &[u8]) -> Option<Source> {
    let header = v1::Header::try_from(line).ok()?;
    if header.header.len() != line.len() {
        return None;
    }
    Some(match header.addresses {
        v1::Addresses::Tcp4(pair) => Source::Told((pair.source_address, pair.source_port).into()),
        v1::Addresses::Tcp6(pair) => Source::Told((pair.source_address, pair.source_port).into()),
        v1::Addresses::Unknown => Source::Hidden,
    })
}

/// What a whole binary header says.
fn binary_source(bytes: &[u8]) -> Option<Source> {
    let header = v2::Header::try_from(bytes).ok()?;
    let is_stream = header.protocol == v2::Protocol::Stream;
    Some(match (header.command, header.addresses) {
        (v2::Command::Local, _) => Source::Proxy,
        (v2::Command::Proxy, v2::Addresses::IPv4(pair)) if is_stream => {
            Source::Told((pair.source_address, pair.source_port).into())
        }
        (v2::Command::Proxy, v2::Addresses::IPv6(pair)) if is_stream => {
            Source::Told((pair.source_address, pair.source_port).into())
        }
        (v2::Command::Proxy, _) => Source::Hidden,
    })
}

/// So many bytes, if there are any; none is the end of the stream.
fn some(length: usize) -> io::Result<usize> {
    if length == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(length)
}

const TEXT_PREFIX: &[u8] = b"PROXY ";

/// The longest line that version 1 knows, its end included.
const MAX_TEXT: usize = 107;

/// Prefix, version, family and length of version 2.
const FIXED: usize = 16;

/// Addresses take 232 bytes at most; the rest is for TLVs, of which a certificate's may be long.
const MAX_BINARY: usize = 4096;

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    fn told(address: &str) -> Option<Source> {
        Some(Source::Told(address.parse().unwrap()))
    }

    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        let fixed = [v2::PROTOCOL_PREFIX, &[command, family], &length];
        [&fixed.concat(), rest].concat()
    }

    const PAIR_V4: [u8; 12] = [192, 0, 2, 7, 10, 0, 0, 1, 0x80, 0, 1, 187];

    #[test]
    fn a_line_names_the_source_or_that_it_is_unknown() {
        for (line, source) in [
            (
                "PROXY TCP4 192.0.2.7 10.0.0.1 32768 443\r\n",
                told("192.0.2.7:32768"),
            ),
            (
                "PROXY TCP6 2001:db8::7 ::1 1 443\r\n",
                told("[2001:db8::7]:1"),
            ),
            ("PROXY UNKNOWN\r\n", Some(Source::Hidden)),
            (
                "PROXY UNKNOWN 192.0.2.7 10.0.0.1 1 2\r\n",
                Some(Source::Hidden),
            ),
            ("PROXY TCP4 192.0.2.7 10.0.0.1 32768 443\n", None),
            ("PROXY TCP4 192.0.2.7 10.0.0.1 32768 443\r\nx", None),
            ("PROXY TCP4 192.0.2.7 10.0.0.1 32768 65536\r\n", None),
            ("PROXY TCP4 192.0.2.7 10.0.0.1 032 443\r\n", None),
            ("PROXY TCP4  192.0.2.7 10.0.0.1 32 443\r\n", None),
            ("PROXY TCP4 ::1 ::1 1 443\r\n", None),
            ("PROXY TCP6 192.0.2.7 10.0.0.1 1 443\r\n", None),
            ("PROXY UDP4 192.0.2.7 10.0.0.1 1 443\r\n", None),
            ("PROXY UNKNOWN\n", None),
            ("PROXY \r\n", None),
            ("proxy UNKNOWN\r\n", None),
        ] {
            assert_eq!(text_source(line.as_bytes()), source, "{line:?}");
        }
    }

    #[test]
    fn a_binary_header_names_the_source_only_of_a_stream() {
        let mut pair_v6 = [0; 36];
        pair_v6[..16].copy_from_slice(
            &"2001:db8::7"
                .parse::<std::net::Ipv6Addr>()
                .unwrap()
                .octets(),
        );
        pair_v6[33] = 1;
        let with_tlvs = [&PAIR_V4[..], &[4, 0, 1, 0, 1, 0, 2, b'h', b'2']].concat();
        let with_bad_tlvs = [&PAIR_V4[..], &[4, 0xff, 0xff]].concat();
        for (header, source) in [
            (binary(0x21, 0x11, &PAIR_V4), told("192.0.2.7:32768")),
            (binary(0x21, 0x11, &with_tlvs), told("192.0.2.7:32768")),
            (binary(0x21, 0x11, &with_bad_tlvs), told("192.0.2.7:32768")),
            (binary(0x21, 0x21, &pair_v6), told("[2001:db8::7]:1")),
            (binary(0x20, 0x11, &PAIR_V4), Some(Source::Proxy)),
            (binary(0x20, 0x00, &[]), Some(Source::Proxy)),
            (binary(0x21, 0x00, &[]), Some(Source::Hidden)),
            (binary(0x21, 0x12, &PAIR_V4), Some(Source::Hidden)),
            (binary(0x21, 0x31, &[b'/'; 216]), Some(Source::Hidden)),
            (binary(0x21, 0x31, &[b'/'; 215]), None),
            (binary(0x21, 0x11, &PAIR_V4[..11]), None),
            (binary(0x21, 0x41, &PAIR_V4), None),
            (binary(0x22, 0x11, &PAIR_V4), None),
            (binary(0x11, 0x11, &PAIR_V4), None),
        ] {
            assert_eq!(binary_source(&header), source, "{header:?}");
        }
    }

    /// What comes of these bytes, sent in these pieces, and what is left of them.
    async fn read_pieces(pieces: &[&[u8]]) -> (Result<Source, HeaderError>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        sender.set_nodelay(true).unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let send = async {
            for piece in pieces {
                sender.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            sender.shutdown().await.unwrap();
        };
        let (source, ()) = tokio::join!(read_source(&mut stream), send);
        let mut left = Vec::new();
        stream.read_to_end(&mut left).await.unwrap();
        (source, left)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_header_is_read_to_the_byte_however_it_is_cut(
            is_text in any::<bool>(),
            tlvs in vec(any::<u8>(), 0..300),
            behind in vec(any::<u8>(), 0..200),
            cuts in vec(1..40_usize, 0..8),
        ) {
            let header = if is_text {
                b"PROXY TCP4 192.0.2.7 10.0.0.1 32768 443\r\n".to_vec()
            } else {
                binary(0x21, 0x11, &[&PAIR_V4[..], &tlvs].concat())
            };
            let all = [header, behind.clone()].concat();
            let mut pieces = Vec::new();
            let mut rest = &all[..];
            for cut in cuts {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            pieces.push(rest);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let (source, left) = runtime.block_on(read_pieces(&pieces));
            prop_assert_eq!(source.ok(), told("192.0.2.7:32768"));
            prop_assert_eq!(left, behind);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_none_but_whole_headers_are_taken(
            prefix in 0..4,
            bytes in vec(any::<u8>(), 0..300),
            text in "[ -~]{0,100}",
        ) {
            let whole = match prefix {
                0 => bytes,
                1 => [b"PROXY ", text.as_bytes(), b"\r\n"].concat(),
                2 => [v2::PROTOCOL_PREFIX, &bytes].concat(),
                _ => binary(0x21, bytes.first().copied().unwrap_or(0x11), &bytes),
            };
            begins_header(&whole);
            if text_source(&whole).is_some() {
                prop_assert!(whole.ends_with(b"\r\n") && whole.len() <= MAX_TEXT);
            }
            if binary_source(&whole).is_some() {
                prop_assert!(whole.starts_with(v2::PROTOCOL_PREFIX));
            }
        }
    }
}
