//! The listening sockets: who gets which.

use std::io;
use std::net::TcpListener;

use super::inherited::{self, Inherited};
use super::listen::{self, Company};
use super::{Addresses, StartError};
use crate::config::{Config, ListenAddress};
use crate::observe::Listener;

/// The sockets of each worker, and the operator's.
pub(super) struct Sockets {
    pub(super) workers: Vec<Vec<(Listener, TcpListener)>>,
    pub(super) admin: Vec<TcpListener>,
    pub(super) addresses: Addresses,
    /// Another handle of each of them.
    pub(super) all: Vec<TcpListener>,
}

impl Sockets {
    /// Listens where the configuration says, with the sockets that are there already or new ones.
    ///
    /// # Errors
    /// [`StartError`]; then nothing is left listening.
    pub(super) fn bind(config: &Config, mut inherited: Inherited) -> Result<Self, StartError> {
        let company = company(config.listen.side_by_side, listen::connections_migrate())?;
        let count = config.server.worker_count();
        let mut sockets = Self {
            workers: (0..count).map(|_| Vec::new()).collect(),
            admin: Vec::new(),
            addresses: Addresses::default(),
            all: Vec::new(),
        };
        let clients = [
            (Listener::Https, &config.listen.https),
            (Listener::Http, &config.listen.http),
        ];
        for (listener, addresses) in clients {
            for address in addresses {
                let bound = bind_one(*address, count, company, &mut inherited, &mut sockets.all)?;
                let there = bound[0][0].local_addr()?;
                match listener {
                    Listener::Https => sockets.addresses.https.push(there),
                    Listener::Http | Listener::Admin => sockets.addresses.http.push(there),
                }
                for (worker, bound) in sockets.workers.iter_mut().zip(bound) {
                    worker.extend(bound.into_iter().map(|socket| (listener, socket)));
                }
            }
        }
        for address in &config.listen.admin {
            // Each has its own: who asks for health wants to hear of one.
            let alone = Company::None;
            let bound = bind_one(*address, 1, alone, &mut inherited, &mut sockets.all)?;
            sockets.addresses.admin.push(bound[0][0].local_addr()?);
            sockets.admin.extend(bound.into_iter().flatten());
        }
        inherited.close();
        Ok(sockets)
    }
}

/// Who may listen beside us: somebody only where that costs no connection.
fn company(is_wanted: bool, connections_migrate: bool) -> Result<Company, StartError> {
    match (is_wanted, connections_migrate) {
        (false, _) => Ok(Company::None),
        (true, true) => Ok(Company::Another),
        (true, false) => Err(StartError::SideBySide),
    }
}

/// The sockets of one address for so many workers; `all` gets another handle of each.
fn bind_one(
    address: ListenAddress,
    count: usize,
    company: Company,
    inherited: &mut Inherited,
    all: &mut Vec<TcpListener>,
) -> Result<Vec<Vec<TcpListener>>, StartError> {
    let mut sockets = inherited.take(address);
    if sockets.is_empty() {
        sockets = listen::bind(address, count, company).map_err(|source| StartError::Listen {
            address: address.to_string(),
            source,
        })?;
    }
    for socket in &sockets {
        all.push(socket.try_clone()?);
    }
    Ok(inherited::spread(sockets, count)?)
}

/// What to do about it.
pub(super) fn hint(error: &io::Error) -> &'static str {
    let hints = [
        (
            io::ErrorKind::AddrInUse,
            " (another process listens there: ss -ltnp)",
        ),
        (
            io::ErrorKind::AddrNotAvailable,
            " (no interface here has this address)",
        ),
        (
            io::ErrorKind::PermissionDenied,
            " (ports below 1024 need root or CAP_NET_BIND_SERVICE)",
        ),
    ];
    let found = hints.iter().find(|(kind, _)| *kind == error.kind());
    found.map_or("", |(_, hint)| hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_share_an_address_only_where_that_costs_no_connection() {
        assert_eq!(company(false, false).unwrap(), Company::None);
        assert_eq!(company(false, true).unwrap(), Company::None);
        assert_eq!(company(true, true).unwrap(), Company::Another);
        let refused = company(true, false).unwrap_err().to_string();
        assert!(
            refused.contains("sysctl -w net.ipv4.tcp_migrate_req=1"),
            "{refused}"
        );
    }
}
