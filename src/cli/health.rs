//! `jotgate health`: asks a running gateway whether it is ready, for the checks of containers.
//!
//! It is run every few seconds, so it is light, and it must not fail for another reason than the
//! gateway's: no key and no certificate is read, and what is wrong elsewhere in the file is left
//! to `jotgate check`. With an address, it reads no file at all: a gateway goes on with the last good
//! one, and a probe that fails for a bad file would have it killed in every replica at once.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::ConfigArgs;
use super::operator::{AskError, ask};
use crate::config::{self, ListenAddress, Source, SourceError};

/// Asks a running gateway whether it is ready, for the health checks of containers.
#[derive(Debug, clap::Args)]
pub(super) struct HealthArgs {
    #[command(flatten)]
    config: ConfigArgs,

    /// Asks at this address of `admin`, whatever the file says by now
    #[arg(long, value_name = "ADDRESS", conflicts_with = "config")]
    address: Option<SocketAddr>,
}

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
    /// There is no answer.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The gateway starts or drains, or it is not a gateway.
    #[error("{address} is not ready: it answered {status}")]
    NotReady {
        /// Where.
        address: SocketAddr,
        /// The answer.
        status: u16,
    },
}

/// Asks a gateway whether new requests are welcome.
///
/// # Errors
/// [`Unhealthy`], after two seconds at the latest.
pub(super) fn run(args: &HealthArgs) -> Result<(), Unhealthy> {
    let address = match args.address {
        Some(address) => address,
        None => address(&args.config.config)?,
    };
    readyz(address).map(drop)
}

/// What the gateway at this address of `admin` says of itself, as far as that fits in [`MOST`]
/// bytes.
///
/// # Errors
/// [`Unhealthy`], after two seconds at the latest.
pub(super) fn readyz(address: SocketAddr) -> Result<String, Unhealthy> {
    let answer = ask(address, "/readyz", MOST)?;
    match answer.status {
        200 => Ok(String::from_utf8_lossy(&answer.body).into_owned()),
        status => Err(Unhealthy::NotReady { address, status }),
    }
}

/// The first admin address; one that means every interface is asked on loopback.
pub(super) fn address(path: &Path) -> Result<SocketAddr, Unhealthy> {
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

/// More than there is before what a gateway tells of its keys.
const MOST: u64 = 4096;

pub(super) const EXAMPLES: &str = "\
Exit code 0 if new requests are welcome, and otherwise 1 with the reason on stderr. Probes should
name the address: a gateway goes on when its file is broken, and then the file cannot tell.

Examples:
  In a Dockerfile:
    HEALTHCHECK --interval=10s --timeout=3s \\
      CMD [\"jotgate\", \"health\", \"--address\", \"127.0.0.1:9901\"]

  In a pod of Kubernetes, where `admin` is on loopback:
    readinessProbe:
      exec:
        command: [jotgate, health, --address, \"127.0.0.1:9901\"]
      timeoutSeconds: 3";
