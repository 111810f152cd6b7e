//! One upstream as the whole process knows it: its addresses, its limits, who waits for it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use super::slots::Slots;
use super::tls::ClientTls;
use super::url::Origin;
use crate::crypto;
use crate::tls::Certificate;

/// How an upstream is connected to. Durations and counts are for each target.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Settings {
    /// For a connection: TCP, TLS, and waiting for a name that was never resolved yet.
    pub connect_timeout: Duration,
    /// How long a connection is kept without a request.
    pub keepalive: Duration,
    /// How old a connection may become, give or take a tenth.
    pub max_age: Duration,
    /// Connections at once, of all workers together.
    pub max_connections: usize,
    /// Requests that may wait for one, of all workers together.
    pub max_waiting: usize,
    /// How long they may wait.
    pub wait: Duration,
}

/// Where requests go. Routes with the same origin and settings share one, and with it the
/// connections.
#[derive(Debug)]
pub struct Target {
    origin: Origin,
    name: Arc<str>,
    settings: Settings,
    tls: Option<ClientTls>,
    resolution: watch::Sender<Resolution>,
    slots: Slots,
    /// How many new connections were wanted, counted from anywhere.
    turns: AtomicUsize,
    /// No request will ask for it any more, but for those that have already.
    is_retired: AtomicBool,
}

/// What is known of a target's addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// Nothing yet.
    Pending,
    /// These, at least one.
    Known(Arc<[SocketAddr]>),
    /// The name has never been resolved; there was at least one try.
    Failed,
}

impl Target {
    /// One that nobody has connected to. `tls` must be there for an `https` origin.
    pub fn new(origin: Origin, settings: Settings, tls: Option<ClientTls>) -> Self {
        let address: Option<IpAddr> = origin.host.parse().ok();
        let resolution = address.map_or(Resolution::Pending, |address| {
            Resolution::Known([SocketAddr::new(address, origin.port)].into())
        });
        Self {
            name: origin.to_string().into(),
            slots: Slots::new(settings.max_connections, settings.max_waiting),
            // Or of many gateways, all would begin with the same address.
            turns: AtomicUsize::new(usize::from_ne_bytes(crypto::random())),
            is_retired: AtomicBool::new(false),
            resolution: watch::Sender::new(resolution),
            origin,
            settings,
            tls,
        }
    }

    /// What is connected to.
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Its name in logs and metrics.
    pub const fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// How it is connected to.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether it is connected to in just this way.
    pub fn is_connected_to(&self, settings: &Settings, tls: Option<&ClientTls>) -> bool {
        self.settings == *settings
            && match (&self.tls, tls) {
                (None, None) => true,
                (Some(ours), Some(tls)) => ours.is_same(tls),
                (None, Some(_)) | (Some(_), None) => false,
            }
    }

    /// The same, knowing already what another one with that host knows of its addresses.
    #[must_use]
    pub fn knowing(self, other: &Self) -> Self {
        if self.is_named() {
            self.resolution
                .send_replace(other.resolution.borrow().clone());
        }
        self
    }

    /// Notes that no route leads to it any more.
    pub fn retire(&self) {
        self.is_retired.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_retired(&self) -> bool {
        self.is_retired.load(Ordering::Relaxed)
    }

    /// What tells its TLS from others: whom it believes, what it shows.
    pub fn mark(&self) -> String {
        let tls = self.tls.as_ref();
        tls.map_or_else(|| "plain".to_owned(), ClientTls::mark)
    }

    /// What tells the authorities of the system from others, if it believes those.
    pub fn system_mark(&self) -> Option<String> {
        self.tls.as_ref().and_then(ClientTls::system_mark)
    }

    /// The certificate that it is shown if it asks for one.
    pub fn identity(&self) -> Option<&Certificate> {
        self.tls.as_ref().and_then(ClientTls::identity)
    }

    /// Whether its host is a name, whose addresses somebody has to find out.
    pub fn is_named(&self) -> bool {
        self.origin.host.parse::<IpAddr>().is_err()
    }

    /// Notes what a look-up of its name came to. `None` is a failure, after which the addresses
    /// that were good before stay good. Returns what is known now if that has changed.
    pub fn resolved(&self, addresses: Option<Vec<SocketAddr>>) -> Option<Resolution> {
        let mut changed = None;
        self.resolution.send_if_modified(|known| {
            let new = match addresses {
                Some(mut addresses) if !addresses.is_empty() => {
                    addresses.sort_unstable();
                    addresses.dedup();
                    Resolution::Known(addresses.into())
                }
                _ if matches!(known, Resolution::Known(_)) => return false,
                _ => Resolution::Failed,
            };
            if new == *known {
                return false;
            }
            changed = Some(new.clone());
            *known = new;
            true
        });
        changed
    }

    pub(super) const fn tls(&self) -> Option<&ClientTls> {
        self.tls.as_ref()
    }

    /// The addresses, now and as they change.
    pub(super) fn addresses(&self) -> watch::Receiver<Resolution> {
        self.resolution.subscribe()
    }

    /// The number of the next new connection, which tells the address to begin with.
    pub(super) fn next_turn(&self) -> usize {
        self.turns.fetch_add(1, Ordering::Relaxed)
    }

    /// What a connection takes as long as it lives.
    pub(super) const fn slots(&self) -> &Slots {
        &self.slots
    }
}
