//! Everything that a request needs, built whole from the configuration and never changed after.
//!
//! There is one builder, and it collects every problem with the files that the configuration
//! names: a key that does not parse, a certificate that does not fit. It opens no socket and
//! resolves no name.

mod changes;
mod doubts;
mod handshakes;
mod inventory;
mod issuers;
mod live;
mod routes;
mod targets;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use crate::clock::{Clock, NumericDate};
use crate::config::{Config, Fixed, Input, Limits, Problems};
use crate::crypto;
use crate::observe::RouteNames;
use crate::policy::ReservedNames;
use crate::route::{Route, Table};
use crate::tls::{Acceptor, Certificates};
use crate::token::TrustedIssuer;
use crate::trust::TrustedProxies;
use crate::upstream::Target;
use crate::via::Pseudonym;

use routes::Routes;

pub use changes::Changes;
pub use live::{Current, Live, View};

/// One state of the gateway.
pub struct Snapshot {
    /// Which one it is, counted from 1.
    pub generation: u64,
    /// When it was made.
    pub since: NumericDate,
    /// Which route a request takes.
    pub routes: Arc<Table<Route>>,
    /// What these are called, and those that were before.
    pub route_names: RouteNames,
    /// Every upstream, once.
    pub targets: Arc<[Arc<Target>]>,
    /// Everybody whose tokens are believed, in the order of the file.
    pub issuers: Vec<Arc<TrustedIssuer>>,
    /// Which certificate answers a name.
    pub certificates: Arc<Certificates>,
    /// Does the handshakes.
    pub acceptor: Acceptor,
    /// The fields that no client may send.
    pub reserved: Arc<ReservedNames>,
    /// Whose word about clients is believed.
    pub trusted_proxies: TrustedProxies,
    /// Whether clients come through these alone, in connections that begin with a PROXY header.
    proxy_protocol: bool,
    /// Whether others than this machine may ask for health and metrics.
    pub admin_public: bool,
    /// The bounds.
    pub limits: Limits,
    /// Whether the log names the subject.
    pub log_subject: bool,
    /// The port that clients see.
    pub public_port: u16,
    /// The port of the first `https` with which the process was started.
    https_port: u16,
    /// Who we are in `Via`.
    pub pseudonym: Pseudonym,
    /// How long requests in flight may take once the drain has begun.
    pub drain: Duration,
    /// How long idle connections stay open then.
    pub drain_idle: Duration,
    hsts: Option<HeaderValue>,
    /// How often the addresses of upstreams are looked up, and the files.
    looks: (Duration, Duration),
    /// What the process was started with, whatever the file says now.
    pub fixed: Arc<Fixed>,
}

/// The state in force while another one is built.
#[derive(Clone, Copy)]
pub struct Earlier<'e> {
    /// The state.
    pub snapshot: &'e Snapshot,
    /// What it was built from.
    pub config: &'e Config,
    /// Whether something that this names is what it was then, to the byte.
    pub has_stayed: &'e dyn Fn(Input<'_>) -> bool,
}

impl Earlier<'_> {
    fn have_stayed<'c>(&self, mut inputs: impl Iterator<Item = Input<'c>>) -> bool {
        inputs.all(|input| (self.has_stayed)(input))
    }
}

impl Snapshot {
    /// Builds the state that a configuration asks for. Every problem with the files that it names
    /// is added to `problems`; `None` if there are errors, in the configuration or in the files.
    ///
    /// What is as it was `earlier` is that very thing and is not built again: the routes, an
    /// issuer's keys, so that the tokens which they verified stay verified; targets, so that their
    /// connections stay open; the secret of TLS tickets, so that sessions can be resumed.
    pub fn build(
        config: &Config,
        earlier: Option<Earlier<'_>>,
        problems: &mut Problems,
    ) -> Option<Self> {
        let acceptor = handshakes::load(config, earlier, problems);
        let issuers = issuers::load(&config.issuers, earlier, problems);
        let routes = Routes::load(config, earlier, problems);
        if problems.has_errors() {
            return None;
        }
        let (acceptor, routes) = (acceptor?, routes?);
        let previous = earlier.map(|earlier| earlier.snapshot);
        // The process goes on where it listens, whatever the file says now.
        let started_with = || config.listen.https_port();
        let https_port = previous.map_or_else(started_with, |previous| previous.https_port);
        Some(Self {
            generation: previous.map_or(1, |previous| previous.generation + 1),
            since: Clock::system().numeric_date(),
            routes: routes.table,
            route_names: routes.names,
            targets: routes.targets,
            reserved: routes.reserved,
            issuers,
            certificates: acceptor.certificates().clone(),
            acceptor,
            trusted_proxies: config.listen.trusted_proxies.clone(),
            proxy_protocol: config.listen.proxy_protocol,
            admin_public: config.listen.admin_public,
            limits: config.limits.clone(),
            log_subject: config.log.subject,
            public_port: config.listen.public_port.unwrap_or(https_port),
            https_port,
            // Requests that are under way through somebody else must know us when they come back.
            pseudonym: previous.map_or_else(
                || Pseudonym::new(u32::from_ne_bytes(crypto::random())),
                |previous| previous.pseudonym.clone(),
            ),
            drain: config.server.drain,
            drain_idle: config.server.drain_idle,
            hsts: config.tls.hsts.clone(),
            looks: (config.resolve, config.reload.poll),
            fixed: previous.map_or_else(
                || Arc::new(Fixed::of(config)),
                |previous| previous.fixed.clone(),
            ),
        })
    }

    /// The proxies that say who opened a connection, if that is asked of them.
    pub fn introducers(&self) -> Option<&TrustedProxies> {
        self.proxy_protocol.then_some(&self.trusted_proxies)
    }

    /// What `Strict-Transport-Security` says to a client of this host, if anything.
    ///
    /// Only for hosts that are ours for certain: ones that a route names, or any on the standard
    /// port. Never for an address (RFC 6797 §8.1.1) or for `localhost`, where it would take every
    /// other developer's server along.
    pub fn hsts_for(&self, host: &str) -> Option<&HeaderValue> {
        let is_local = || host == "localhost" || host.ends_with(".localhost");
        let is_address = || host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok();
        let is_ours = || self.public_port == 443 || self.routes.names_host(host);
        self.hsts
            .as_ref()
            .filter(|_| !is_local() && is_ours() && !is_address())
    }
}

#[cfg(test)]
impl Snapshot {
    /// One without routes, issuers and certificates.
    pub(crate) fn of_nothing() -> Self {
        let source = crate::config::Source {
            path: "nothing.toml".into(),
            text: String::new(),
        };
        let (config, _) = crate::config::parse(&source);
        Self::build(&config, None, &mut Problems::default()).unwrap()
    }
}
