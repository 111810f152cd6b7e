//! Listening sockets.
//!
//! On Linux every worker has its own socket on the same address (`SO_REUSEPORT`), so the kernel
//! spreads connections and no two workers wake for one. Elsewhere they share one socket. The
//! accept loop cannot tell.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use crate::config::ListenAddress;

/// Who may listen on an address beside us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Company {
    /// Nobody.
    None,
    /// Another gateway of the same user.
    Another,
}

/// Whether the kernel hands connections that wait for one socket to another on the same address
/// when the first one closes. Without it they are reset.
pub(super) fn connections_migrate() -> bool {
    let setting = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_migrate_req");
    setting.is_ok_and(|setting| setting.trim() == "1")
}

/// Binds one address `count` times over.
///
/// Port 0 is any free port, the same for all. An address that somebody else listens on is an
/// error without [`Company`], even where `SO_REUSEPORT` would allow to share it.
///
/// # Errors
/// The system's, for the first socket that fails.
pub(super) fn bind(
    address: ListenAddress,
    count: usize,
    company: Company,
) -> io::Result<Vec<TcpListener>> {
    let reuse = if cfg!(target_os = "linux") {
        Reuse::Port
    } else {
        Reuse::No
    };
    let first = match address {
        ListenAddress::Exact(address) => bind_first(address, reuse, company)?,
        ListenAddress::Any(port) => bind_any(port, reuse, company)?,
    };
    let bound = first.local_addr()?;
    let mut listeners = vec![first];
    while listeners.len() < count {
        listeners.push(match reuse {
            Reuse::Port => bind_one(bound, reuse)?,
            Reuse::No => listeners[0].try_clone()?,
        });
    }
    Ok(listeners)
}

/// Every interface: IPv6 with IPv4 mapped into it, or IPv4 where there is no IPv6.
fn bind_any(port: u16, reuse: Reuse, company: Company) -> io::Result<TcpListener> {
    let on = |every: IpAddr| bind_first(SocketAddr::new(every, port), reuse, company);
    match on(Ipv6Addr::UNSPECIFIED.into()) {
        Err(error) if is_without_ipv6(&error) => on(Ipv4Addr::UNSPECIFIED.into()),
        bound => bound,
    }
}

/// A kernel without IPv6 knows no such family, or has no such address.
fn is_without_ipv6(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(ADDRESS_FAMILY_NOT_SUPPORTED)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reuse {
    Port,
    No,
}

/// With `SO_REUSEPORT` a second gateway on the same port would start, and silently get half of
/// the connections. So the address is tried without it first, unless that is what is wanted.
fn bind_first(address: SocketAddr, reuse: Reuse, company: Company) -> io::Result<TcpListener> {
    if reuse == Reuse::Port && company == Company::None && address.port() != 0 {
        drop(bind_one(address, Reuse::No)?);
    }
    bind_one(address, reuse)
}

fn bind_one(address: SocketAddr, reuse: Reuse) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        socket.set_only_v6(false)?;
    }
    // Connections of an earlier run that linger in TIME_WAIT do not keep us from starting.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    #[cfg(target_os = "linux")]
    if reuse == Reuse::Port {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// `EAFNOSUPPORT` on Linux.
const ADDRESS_FAMILY_NOT_SUPPORTED: i32 = 97;

/// Connections that the kernel completes before we accept them. It cuts this to `somaxconn`.
pub(super) const BACKLOG: i32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    const ANY_FREE: ListenAddress =
        ListenAddress::Exact(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0));

    #[test]
    fn every_worker_gets_a_socket_on_the_same_port() {
        let listeners = bind(ANY_FREE, 3, Company::None).unwrap();
        let addresses: Vec<_> = listeners.iter().map(|l| l.local_addr().unwrap()).collect();
        assert_eq!(addresses.len(), 3);
        assert!(
            addresses.iter().all(|address| *address == addresses[0]),
            "{addresses:?}"
        );
    }

    #[test]
    fn t148_a_port_in_use_is_an_error_even_if_its_owner_would_share() {
        let ours = bind(ANY_FREE, 1, Company::None).unwrap();
        let taken = ListenAddress::Exact(ours[0].local_addr().unwrap());
        let refused = bind(taken, 1, Company::None).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn with_company_wanted_a_port_in_use_is_shared() {
        let first = bind(ANY_FREE, 1, Company::Another).unwrap();
        let address = first[0].local_addr().unwrap();
        let second = bind(ListenAddress::Exact(address), 2, Company::Another).unwrap();
        assert!(second.iter().all(|s| s.local_addr().unwrap() == address));
    }
}
