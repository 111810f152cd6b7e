//! The metrics table: every series the gateway exports, and the only way to change one.
//!
//! Labels are enums and configured names; nothing from the wire becomes one, so the number of
//! series is set by the configuration and not by clients. A request touches atomics alone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::inventory::{CurrentInventory, Inventory};
use super::reload::ReloadMetrics;
use super::requests::RequestTable;
use super::upstream::{UpstreamMetrics, UpstreamTable};
use super::{
    AccessEvent, ConnectionState, DurationsOf, Handshake, Introduction, Listener, Readiness,
    RouteNames, TokenLookup, messages, panics,
};

/// Every metric of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: RequestTable,
    connections_open: Family<OneLabel, Gauge>,
    connections_limit: Gauge,
    connection_states: Family<OneLabel, Gauge>,
    connections: Family<OneLabel, Counter>,
    turned_away: Family<OneLabel, Counter>,
    proxy_headers: Family<OneLabel, Counter>,
    tls_handshakes: Family<OneLabel, Counter>,
    token_hits: Counter,
    token_misses: Counter,
    pub(super) access_log_dropped: Counter,
    failed_upgrades: Counter,
    upstreams: UpstreamTable,
    reloads: Arc<ReloadMetrics>,
    inventory: Arc<CurrentInventory>,
}

impl Metrics {
    /// The table with everything at zero but what was counted under the `names` of routes, and
    /// `readiness` as one of its rows.
    pub fn new(readiness: &Readiness, names: RouteNames, whose: DurationsOf) -> Self {
        let token_cache = Family::<OneLabel, Counter>::default();
        let token_lookups = |label| token_cache.get_or_create_owned(&[("result", label)]);
        let mut metrics = Self {
            registry: Registry::with_prefix("jotgate"),
            requests: RequestTable::new(names, whose),
            connections_open: Family::default(),
            connections_limit: Gauge::default(),
            connection_states: Family::default(),
            connections: Family::default(),
            turned_away: Family::default(),
            proxy_headers: Family::default(),
            tls_handshakes: Family::default(),
            token_hits: token_lookups("hit"),
            token_misses: token_lookups("miss"),
            access_log_dropped: Counter::default(),
            failed_upgrades: Counter::default(),
            upstreams: UpstreamTable::default(),
            reloads: Arc::default(),
            inventory: Arc::default(),
        };
        metrics.start_at_zero();
        metrics.register(readiness.clone(), token_cache);
        metrics
    }

    /// The whole table as OpenMetrics 1.0 text.
    pub fn encode(&self) -> String {
        let mut out = String::new();
        text::encode(&mut out, &self.registry).expect("a String takes whatever is written to it");
        out
    }

    /// Counts a request by its route, status and reason; what else its event holds is for the log.
    pub fn count_request(&self, event: &AccessEvent) {
        self.requests.record(event);
    }

    /// Counts a connection as open for as long as the guard lives.
    pub fn open_connection(&self, listener: Listener) -> OpenConnection {
        let label = [("listener", listener.label())];
        self.connections.get_or_create(&label).inc();
        OpenConnection::counted_by(&self.connections_open.get_or_create_owned(&label))
    }

    /// Tells for how many connections from clients there is room.
    pub fn limit_connections(&self, most: usize) {
        self.connections_limit
            .set(i64::try_from(most).unwrap_or(i64::MAX));
    }

    /// Counts a connection as being in this state for as long as the guard lives.
    pub fn enter(&self, state: ConnectionState) -> OpenConnection {
        let label = [("state", state.label())];
        OpenConnection::counted_by(&self.connection_states.get_or_create_owned(&label))
    }

    /// Counts a connection that was closed at once because its address has too many.
    pub fn count_turned_away(&self, listener: Listener) {
        let label = [("listener", listener.label())];
        self.turned_away.get_or_create(&label).inc();
    }

    /// Counts how a proxy said who opened a connection.
    pub fn count_introduction(&self, introduction: Introduction) {
        self.proxy_headers
            .get_or_create(&[("result", introduction.label())])
            .inc();
    }

    /// Counts how a TLS handshake ended.
    pub fn count_handshake(&self, handshake: Handshake) {
        self.tls_handshakes
            .get_or_create(&[("result", handshake.label())])
            .inc();
    }

    /// Counts a look into the cache of verified tokens.
    pub fn count_token_lookup(&self, lookup: TokenLookup) {
        match lookup {
            TokenLookup::Hit => self.token_hits.inc(),
            TokenLookup::Miss => self.token_misses.inc(),
        };
    }

    /// Counts an upgrade that came to nothing.
    pub fn count_failed_upgrade(&self) {
        self.failed_upgrades.inc();
    }

    /// How many upgrades came to nothing.
    pub fn failed_upgrades(&self) -> u64 {
        self.failed_upgrades.get()
    }

    /// The counters of the upstream of this name.
    pub fn upstream(&self, name: &str) -> UpstreamMetrics {
        self.upstreams.upstream(name)
    }

    /// Counts how long a request waited for a connection to its upstream.
    pub fn observe_upstream_wait(&self, waited: Duration) {
        self.upstreams.wait.observe(waited);
    }

    /// Counts a request that was sent on a second connection, the first having gone.
    pub fn count_upstream_retry(&self) {
        self.upstreams.retries.inc();
    }

    /// The counters of reloads.
    pub fn reloads(&self) -> &ReloadMetrics {
        &self.reloads
    }

    /// Replaces what is told about certificates, keys and the configuration in force. What routes
    /// and upstreams have met that are not part of it any more is told for ten minutes more.
    pub fn publish(&self, mut inventory: Inventory) {
        let now = Instant::now();
        self.requests.publish(inventory.take_routes(), now);
        self.upstreams.publish(inventory.take_upstreams(), now);
        self.inventory.replace(inventory);
    }

    /// Removes what was told for long enough after it had gone. To be called now and then.
    pub fn tidy(&self) {
        let now = Instant::now();
        self.requests.tidy(now);
        self.upstreams.tidy(now);
    }

    /// Creates the series whose labels are known, so that their first increase is seen as one.
    fn start_at_zero(&self) {
        for listener in Listener::ALL {
            let label = [("listener", listener.label())];
            drop(self.connections.get_or_create(&label));
            drop(self.turned_away.get_or_create(&label));
            drop(self.connections_open.get_or_create(&label));
        }
        for state in ConnectionState::ALL {
            let label = [("state", state.label())];
            drop(self.connection_states.get_or_create(&label));
        }
        for introduction in Introduction::ALL {
            drop(
                self.proxy_headers
                    .get_or_create(&[("result", introduction.label())]),
            );
        }
        for handshake in Handshake::ALL {
            drop(
                self.tls_handshakes
                    .get_or_create(&[("result", handshake.label())]),
            );
        }
    }

    /// Puts every row under its name. Counters get `_total` when they are written, help texts
    /// their full stop.
    fn register(&mut self, readiness: Readiness, token_cache: Family<OneLabel, Counter>) {
        let table = &mut self.registry;
        self.requests.register(table);
        table.register(
            "connections_open",
            "Open connections",
            self.connections_open.clone(),
        );
        table.register(
            "connections_limit",
            "Connections to https and http that have room",
            self.connections_limit.clone(),
        );
        table.register(
            "connections_in_state",
            "Open connections that do something else than answering requests",
            self.connection_states.clone(),
        );
        table.register(
            "connections",
            "Connections accepted",
            self.connections.clone(),
        );
        table.register(
            "connections_turned_away",
            "Connections closed at once because their address has too many",
            self.turned_away.clone(),
        );
        table.register(
            "proxy_headers",
            "PROXY headers asked for",
            self.proxy_headers.clone(),
        );
        table.register(
            "tls_handshakes",
            "TLS handshakes ended",
            self.tls_handshakes.clone(),
        );
        table.register(
            "token_cache",
            "Lookups in the cache of verified tokens",
            token_cache,
        );
        table.register(
            "access_log_dropped",
            "Access log lines lost to a slow or broken reader",
            self.access_log_dropped.clone(),
        );
        table.register(
            "messages_dropped",
            "Messages lost to a slow or broken reader",
            messages::dropped(),
        );
        table.register("panics", "Panics in this process", panics::counted());
        table.register(
            "failed_upgrades",
            "Upgrades to a process that did not get ready",
            self.failed_upgrades.clone(),
        );
        self.upstreams.register(table);
        self.reloads.register(table);
        table.register("ready", "Whether new requests are welcome", readiness);
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        table.register("build", "The running program", Info::new(version));
        table.register_collector(Box::new(Arc::clone(&self.inventory)));
    }
}

/// Keeps a connection counted as open until it is dropped.
#[derive(Debug)]
#[must_use]
pub struct OpenConnection(Gauge);

impl OpenConnection {
    pub(super) fn counted_by(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A single label with values from an enum.
type OneLabel = [(&'static str, &'static str); 1];

#[cfg(test)]
mod tests;
