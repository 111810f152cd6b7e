//! Everything that a request needs, built whole from the configuration and never changed after.
//!
//! There is one builder, and it collects every problem with the files that the configuration
//! names: a key that does not parse, a certificate that does not fit. It opens no socket and
//! resolves no name.

mod changes;
mod inventory;
mod live;
mod targets;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use crate::clock::{Clock, NumericDate};
use crate::config::{
    self, CertificatePair, Config, HostHeader, KeyMaterial, Limits, Place, Problem, Problems,
    UnknownSni,
};
use crate::crypto;
use crate::keys::KeySet;
use crate::keys::source::{self, KeySource, Loaded, NoticeLevel};
use crate::policy::{Policy, ReservedNames};
use crate::route::{Access, Route, Table};
use crate::tls::{Acceptor, Certificate, Certificates};
use crate::token::{Accepted, TrustedIssuer};
use crate::trust::TrustedProxies;
use crate::upstream::Target;
use crate::via::Pseudonym;

pub use changes::Changes;
pub use live::{Current, Live, View};

/// One state of the gateway.
pub struct Snapshot {
    /// Which one it is, counted from 1.
    pub generation: u64,
    /// When it was made.
    pub since: NumericDate,
    /// Which route a request takes.
    pub routes: Table<Arc<Route>>,
    /// Every upstream, once.
    pub targets: Vec<Arc<Target>>,
    /// Everybody whose tokens are believed, in the order of the file.
    pub issuers: Vec<Arc<TrustedIssuer>>,
    /// Which certificate answers a name.
    pub certificates: Arc<Certificates>,
    /// Does the handshakes.
    pub acceptor: Acceptor,
    /// The fields that no client may send.
    pub reserved: ReservedNames,
    /// Whose word about clients is believed.
    pub trusted_proxies: TrustedProxies,
    /// Whether clients come through these alone, in connections that begin with a PROXY header.
    proxy_protocol: bool,
    /// The bounds.
    pub limits: Limits,
    /// Whether the log names the subject.
    pub log_subject: bool,
    /// The port that clients see.
    pub public_port: u16,
    /// Who we are in `Via`.
    pub pseudonym: Pseudonym,
    /// How long requests in flight may take once the drain has begun.
    pub drain: Duration,
    /// How long idle connections stay open then.
    pub drain_idle: Duration,
    hsts: Option<HeaderValue>,
}

impl Snapshot {
    /// Builds the state that a configuration asks for. Every problem with the files that it names
    /// is added to `problems`; `None` if there are errors, in the configuration or in the files.
    ///
    /// What is as it was in the `previous` state is that very thing: keys, so that the tokens
    /// which they verified stay verified; targets, so that their connections stay open; the
    /// secret of TLS tickets, so that sessions can be resumed.
    pub fn build(
        config: &Config,
        previous: Option<&Self>,
        problems: &mut Problems,
    ) -> Option<Self> {
        let certificates = load_certificates(config, problems);
        let issuers: Vec<_> = config
            .issuers
            .iter()
            .map(|issuer| load_issuer(issuer, previous, problems))
            .collect();
        let known = previous.map_or(&[][..], |previous| &previous.targets);
        let targets = targets::load(config, known, problems);
        if problems.has_errors() {
            return None;
        }
        let issuers: Vec<Arc<TrustedIssuer>> = issuers.into_iter().flatten().collect();
        let refuse_unknown = config.tls.unknown_sni == UnknownSni::Refuse;
        let certificates = Arc::new(Certificates::new(certificates, refuse_unknown));
        let tickets = previous.map(|previous| previous.acceptor.tickets());
        let acceptor = Acceptor::new(certificates.clone(), config.tls.min_version, tickets)
            .map_err(|error| problems.push(Problem::of_root(format!("no TLS: {error}"))))
            .ok()?;
        Some(Self {
            generation: previous.map_or(1, |previous| previous.generation + 1),
            since: Clock::system().numeric_date(),
            targets: targets::distinct(&targets),
            routes: routes(config, &issuers, targets),
            reserved: reserved(config),
            issuers,
            certificates,
            acceptor,
            trusted_proxies: config.listen.trusted_proxies.clone(),
            proxy_protocol: config.listen.proxy_protocol,
            limits: config.limits.clone(),
            log_subject: config.log.subject,
            public_port: config.listen.public_port,
            // Requests that are under way through somebody else must know us when they come back.
            pseudonym: previous.map_or_else(
                || Pseudonym::new(u32::from_ne_bytes(crypto::random())),
                |previous| previous.pseudonym.clone(),
            ),
            drain: config.server.drain,
            drain_idle: config.server.drain_idle,
            hsts: config.tls.hsts.clone(),
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
        let is_address = host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok();
        let is_local = host == "localhost" || host.ends_with(".localhost");
        let is_ours = self.public_port == 443 || self.routes.names_host(host);
        self.hsts
            .as_ref()
            .filter(|_| is_ours && !is_address && !is_local)
    }
}

fn load_certificates(config: &Config, problems: &mut Problems) -> Vec<Certificate> {
    let provider = crypto::rustls_provider();
    let mut certificates = Vec::new();
    for CertificatePair { cert, key } in &config.certificates {
        match Certificate::load(&cert.value, &key.value, &provider) {
            Ok(certificate) => certificates.push(certificate),
            Err(error) => {
                let blames_key = error.blames_key(&key.value);
                let place = if blames_key { &key.place } else { &cert.place };
                let problem = Problem::error(place.clone(), error.to_string());
                problems.push(problem.unsettled(error.is_unsettled()));
            }
        }
    }
    certificates
}

fn load_issuer(
    issuer: &config::Issuer,
    previous: Option<&Snapshot>,
    problems: &mut Problems,
) -> Option<Arc<TrustedIssuer>> {
    let (loaded, places) = match &issuer.keys {
        KeyMaterial::Public(sources) => {
            let values: Vec<KeySource> = sources.iter().map(|s| s.value.clone()).collect();
            let places: Vec<Place> = sources.iter().map(|s| s.place.clone()).collect();
            (source::load_public(&values), places)
        }
        KeyMaterial::Secret { path, encoding } => (
            source::load_secret(&path.value, *encoding),
            vec![path.place.clone()],
        ),
    };
    let mut keys = judge(issuer, loaded, &places, problems)?;
    let known = previous.and_then(|previous| {
        let mut known = previous.issuers.iter();
        known.find(|known| *known.name == *issuer.name && known.iss == issuer.iss)
    });
    if let Some(known) = known {
        keys.adopt(&known.keys);
    }
    Some(Arc::new(TrustedIssuer {
        name: issuer.name.as_str().into(),
        iss: issuer.iss.clone(),
        keys,
        leeway: issuer.leeway,
    }))
}

/// The keys, unless something is wrong with them.
fn judge(
    issuer: &config::Issuer,
    loaded: Loaded,
    places: &[Place],
    problems: &mut Problems,
) -> Option<KeySet> {
    let is_good = loaded.problems.is_empty();
    for problem in loaded.problems {
        let place = places
            .get(problem.source_index)
            .unwrap_or(&issuer.place)
            .clone();
        let shown = Problem::error(place, problem.to_string()).unsettled(problem.is_unsettled);
        problems.push(problem.hint.into_iter().fold(shown, Problem::help));
    }
    for notice in loaded.notices {
        match notice.level {
            NoticeLevel::Warn => {
                let place = places.first().unwrap_or(&issuer.place).clone();
                problems.push(Problem::warning(place, notice.text));
            }
            NoticeLevel::Debug => tracing::debug!(issuer = issuer.name, "{}", notice.text),
        }
    }
    let Some(allowed) = &issuer.algorithms else {
        return is_good.then_some(loaded.set);
    };
    match loaded.set.narrowed(allowed.iter().copied().collect()) {
        Ok(keys) => is_good.then_some(keys),
        Err(left_out) => {
            for key in left_out {
                problems.push(Problem::error(
                    issuer.place.clone(),
                    format!(
                        "issuer.{}: `algorithms` leaves nothing for the key in {} ({}, for {})",
                        issuer.name,
                        key.origin(),
                        key.description(),
                        key.algorithms(),
                    ),
                ));
            }
            None
        }
    }
}

fn routes(
    config: &Config,
    issuers: &[Arc<TrustedIssuer>],
    targets: Vec<Arc<Target>>,
) -> Table<Arc<Route>> {
    Table::new(config.routes.iter().zip(targets).map(|(route, target)| {
        let built = Route {
            name: route.name.as_str().into(),
            path: route.path.value.clone(),
            access: access(route, config, issuers),
            to: route.to.value.clone(),
            target,
            strip_prefix: route.strip_prefix,
            keep_authorization: route.keep_authorization,
            own_host: route.host_header == HostHeader::Target,
            limits_methods: route.methods.is_some(),
            upgrade: route.upgrade,
            timeout: route.timeout,
            max_body: route.max_body,
        };
        (
            route.host.clone(),
            route.path.value.clone(),
            route.methods.clone(),
            Arc::new(built),
        )
    }))
}

fn access(route: &config::Route, config: &Config, issuers: &[Arc<TrustedIssuer>]) -> Access {
    match &route.access {
        config::Access::Public => Access::Public,
        config::Access::Bearer {
            issuers: chosen,
            audiences,
        } => Access::Bearer {
            accepted: chosen
                .iter()
                .map(|&index| Accepted {
                    issuer: issuers[index].clone(),
                    audiences: audiences
                        .as_ref()
                        .unwrap_or(&config.issuers[index].audiences)
                        .as_slice()
                        .into(),
                })
                .collect(),
            policy: Policy {
                identity: route.identity.clone(),
            },
        },
    }
}

fn reserved(config: &Config) -> ReservedNames {
    let rules = config.routes.iter().flat_map(|route| &route.identity);
    rules.map(|rule| rule.header().clone()).collect()
}

#[cfg(test)]
impl Snapshot {
    /// One without routes, issuers and certificates.
    pub(crate) fn of_nothing() -> Self {
        let source = config::Source {
            path: "nothing.toml".into(),
            text: String::new(),
        };
        let (config, _) = config::parse(&source);
        Self::build(&config, None, &mut Problems::default()).unwrap()
    }
}
