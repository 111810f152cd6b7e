//! The listening sockets: who gets which.

use std::io;
use std::net::TcpListener;

use super::inherited::{self, Inherited};
use super::{Addresses, StartError, listen};
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
        let count = config.server.workers;
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
                let bound = bind_one(*address, count, &mut inherited, &mut sockets.all)?;
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
            let bound = bind_one(*address, 1, &mut inherited, &mut sockets.all)?;
            sockets.addresses.admin.push(bound[0][0].local_addr()?);
            sockets.admin.extend(bound.into_iter().flatten());
        }
        inherited.close();
        Ok(sockets)
    }
}

/// The sockets of one address for so many workers; `all` gets another handle of each.
fn bind_one(
    address: ListenAddress,
    count: usize,
    inherited: &mut Inherited,
    all: &mut Vec<TcpListener>,
) -> Result<Vec<Vec<TcpListener>>, StartError> {
    let mut sockets = inherited.take(address);
    if sockets.is_empty() {
        sockets = listen::bind(address, count).map_err(|source| StartError::Listen {
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
