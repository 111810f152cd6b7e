//! `jotgate health`: asks a running gateway whether it is ready, for the checks of containers.
//!
//! It is run every few seconds, so it is light, and it must not fail for another reason than the
//! gateway's: no key and no certificate is read, and what is wrong elsewhere in the file is left
//! to `jotgate check`.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::config::{self, ListenAddress, Source, SourceError};

/// Why the gateway does not count as healthy.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unhealthy {
    /// The file cannot be read.
    #[error(transparent)]
    Unreadable(#[from] SourceError),
    /// The file names no address to ask.
    #[error(
        "{}: no address to ask; add admin = \"127.0.0.1:9901\" to [listen], and see what \
         jotgate check says",
        .0.display()
    )]
    NoAddress(PathBuf),
    /// Which port it is, only the gateway knows.
    #[error("{}: [listen] admin has port 0, any free one; write the one to ask", .0.display())]
    AnyPort(PathBuf),
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
    /// The gateway starts or drains, or it is not a gateway.
    #[error("{address} is not ready: it answered {status}")]
    NotReady {
        /// Where.
        address: SocketAddr,
        /// The answer.
        status: u16,
    },
}

/// Asks the gateway of a configuration whether new requests are welcome.
///
/// # Errors
/// [`Unhealthy`], after [`TIMEOUT`] at the latest.
pub(super) fn run(path: &Path) -> Result<(), Unhealthy> {
    readyz(path).map(drop)
}

/// What the gateway of a configuration says of itself, as far as that fits in [`MOST`] bytes.
///
/// # Errors
/// [`Unhealthy`], after [`TIMEOUT`] at the latest.
pub(super) fn readyz(path: &Path) -> Result<String, Unhealthy> {
    let address = address(path)?;
    let failed = |source: io::Error| {
        // The first is what a read says whose time is over, on Unix.
        if matches!(
            source.kind(),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
        ) {
            Unhealthy::TimedOut(address)
        } else {
            Unhealthy::Unreachable { address, source }
        }
    };
    let answer = ask(address, Instant::now() + TIMEOUT).map_err(failed)?;
    match status(&answer) {
        None => Err(Unhealthy::NotHttp(address)),
        Some(200) => Ok(String::from_utf8_lossy(&answer).into_owned()),
        Some(status) => Err(Unhealthy::NotReady { address, status }),
    }
}

/// The first admin address; one that means every interface is asked on loopback.
fn address(path: &Path) -> Result<SocketAddr, Unhealthy> {
    let source = Source::read(path)?;
    let (config, _) = config::parse(&source);
    let listen = config.listen.admin.first().copied();
    let address = match listen.ok_or_else(|| Unhealthy::NoAddress(path.into()))? {
        ListenAddress::Any(port) => SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        ListenAddress::Exact(address) => SocketAddr::new(reachable(address.ip()), address.port()),
    };
    if address.port() == 0 {
        return Err(Unhealthy::AnyPort(path.into()));
    }
    Ok(address)
}

fn reachable(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        IpAddr::V4(_) | IpAddr::V6(_) => ip,
    }
}

/// The answer, or its first [`MOST`] bytes.
fn ask(address: SocketAddr, deadline: Instant) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, left(deadline)?)?;
    stream.set_write_timeout(Some(left(deadline)?))?;
    let request = format!("GET /readyz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut buffer = [0; MOST];
    while answer.len() < MOST {
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

/// More than there is before what a gateway tells of its keys.
const MOST: usize = 4096;

pub(super) const EXAMPLES: &str = "\
Exit code 0 if new requests are welcome, and otherwise 1 with the reason on stderr.

Examples:
  In a Dockerfile:
    HEALTHCHECK --interval=10s --timeout=3s \\
      CMD [\"jotgate\", \"health\", \"--config\", \"/etc/jotgate/jotgate.toml\"]

  In a pod of Kubernetes, where `admin` is on loopback:
    readinessProbe:
      exec:
        command: [jotgate, health, --config, /etc/jotgate/jotgate.toml]
      timeoutSeconds: 3";
