//! Listening sockets that were opened before this process began: by its predecessor, or by a
//! service manager.
//!
//! A socket that is closed takes along the connections that wait in it, even where another one
//! listens on the same address. One that is handed on does not.

use std::collections::HashSet;
use std::io;
use std::net::TcpListener;

use tracing::warn;

use crate::config::ListenAddress;

/// The sockets that nobody has taken yet.
#[derive(Debug, Default)]
pub struct Inherited(Vec<TcpListener>);

impl Inherited {
    /// These.
    pub const fn new(sockets: Vec<TcpListener>) -> Self {
        Self(sockets)
    }

    /// Takes those that listen on an address of the configuration.
    pub(super) fn take(&mut self, address: ListenAddress) -> Vec<TcpListener> {
        let listens_there = |socket: &mut TcpListener| {
            socket.local_addr().is_ok_and(|bound| match address {
                ListenAddress::Exact(exact) => bound == exact,
                ListenAddress::Any(port) => bound.ip().is_unspecified() && bound.port() == port,
            })
        };
        self.0.extract_if(.., listens_there).collect()
    }

    /// Closes those that nobody wanted.
    pub(super) fn close(self) {
        // There may be one for each worker.
        let mut told = HashSet::new();
        for socket in self.0 {
            match socket.local_addr() {
                Ok(address) if told.insert(address) => {
                    warn!(%address, "closing a socket that [listen] does not name");
                }
                Ok(_) => {}
                Err(error) => warn!(%error, "closing a socket that is none of TCP"),
            }
        }
    }
}

/// Divides an address's sockets among so many workers, so that each has one at least and nobody
/// waits in one that no worker looks at.
///
/// # Errors
/// The system's, if it has no file descriptors left.
pub(super) fn spread(
    sockets: Vec<TcpListener>,
    workers: usize,
) -> io::Result<Vec<Vec<TcpListener>>> {
    let mut spread: Vec<Vec<TcpListener>> = (0..workers).map(|_| Vec::new()).collect();
    for idle in sockets.len()..workers {
        spread[idle].push(sockets[idle % sockets.len()].try_clone()?);
    }
    for (number, socket) in sockets.into_iter().enumerate() {
        socket.set_nonblocking(true)?;
        spread[number % workers].push(socket);
    }
    Ok(spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sockets(count: usize) -> Vec<TcpListener> {
        (0..count)
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect()
    }

    #[test]
    fn every_worker_has_a_socket_and_every_socket_a_worker() {
        for (sockets_there, workers, each) in [
            (1, 1, vec![1]),
            (1, 3, vec![1, 1, 1]),
            (3, 3, vec![1, 1, 1]),
            (5, 2, vec![3, 2]),
        ] {
            let spread = spread(sockets(sockets_there), workers).unwrap();
            let counts: Vec<usize> = spread.iter().map(Vec::len).collect();
            assert_eq!(counts, each);
        }
    }

    #[test]
    fn sockets_go_by_their_address() {
        let there = sockets(2);
        let address = ListenAddress::Exact(there[1].local_addr().unwrap());
        let mut inherited = Inherited::new(there);
        assert_eq!(inherited.take(address).len(), 1);
        assert_eq!(inherited.take(address).len(), 0);
        assert_eq!(inherited.0.len(), 1);
    }
}
