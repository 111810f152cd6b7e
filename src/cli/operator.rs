//! Questions to a running gateway, on its admin listener.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    /// It did not answer in time.
    #[error("{0} did not answer within {TIMEOUT:?}")]
    TimedOut(SocketAddr),
    /// There is no connection, or it broke.
    #[error("cannot ask {address}")]
    Unreachable {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The answer is not one of HTTP/1.1.
    #[error("{0} does not answer as a gateway does")]
    NotHttp(SocketAddr),
}

/// An answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

/// Asks for a path, and reads no more than so many bytes of the answer.
///
/// # Errors
/// [`AskError`], after [`TIMEOUT`] at the latest.
pub(super) fn ask(address: SocketAddr, path: &str, most: u64) -> Result<Answer, AskError> {
    let failed = |source: io::Error| {
        // The first is what a read says whose time is over, on Unix.
        if matches!(
            source.kind(),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
        ) {
            AskError::TimedOut(address)
        } else {
            AskError::Unreachable { address, source }
        }
    };
    let answer = exchange(address, path, most).map_err(failed)?;
    let status = status(&answer).ok_or(AskError::NotHttp(address))?;
    let head = answer.windows(4).position(|end| end == b"\r\n\r\n");
    let body = head.map_or_else(Vec::new, |end| answer[end + 4..].to_vec());
    Ok(Answer { status, body })
}

fn exchange(address: SocketAddr, path: &str, most: u64) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + TIMEOUT;
    let mut stream = TcpStream::connect_timeout(&address, left(deadline)?)?;
    stream.set_write_timeout(Some(left(deadline)?))?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut buffer = [0; 16 * 1024];
    while (answer.len() as u64) < most {
        stream.set_read_timeout(Some(left(deadline)?))?;
        match stream.read(&mut buffer)? {
            0 => break,
            read => answer.extend_from_slice(&buffer[..read]),
        }
    }
    Ok(answer)
}

/// The time until then.
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(left)
}

/// The status code of `HTTP/1.1 200 OK` (RFC 9112 §4).
fn status(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|byte| *byte == b'\n').next()?;
    let line = std::str::from_utf8(line).ok()?;
    let (version, rest) = line.split_once(' ')?;
    let code = rest.split_whitespace().next()?;
    let is_http = version == "HTTP/1.1" && code.len() == 3;
    code.parse().ok().filter(|_| is_http)
}

/// For everything together: a check's own timeout is commonly 3 s or more.
const TIMEOUT: Duration = Duration::from_secs(2);
