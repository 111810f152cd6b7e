//! Everything that a request needs, built whole from the configuration and never changed after.
//!
//! There is one builder, and it collects every problem with the files that the configuration
//! names: a key that does not parse, a certificate that does not fit. It opens no socket and
//! resolves no name.

mod targets;

use std::net::Ipv4Addr;
use std::sync::Arc;

use http::HeaderValue;

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

/// One state of the gateway.
pub struct Snapshot {
    /// Which one it is, counted from 1.
    pub generation: u64,
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
    /// Our name in `Via`, which tells us our own requests when they come back.
    pub pseudonym: String,
    hsts: Option<HeaderValue>,
}

impl Snapshot {
    /// Builds the state that a configuration asks for. Every problem with the files that it names
    /// is added to `problems`; `None` if there are errors, in the configuration or in the files.
    pub fn build(config: &Config, problems: &mut Problems) -> Option<Self> {
        let certificates = load_certificates(config, problems);
        let issuers: Vec<_> = config
            .issuers
            .iter()
            .map(|issuer| load_issuer(issuer, problems))
            .collect();
        let targets = targets::load(config, problems);
        if problems.has_errors() {
            return None;
        }
        let issuers: Vec<Arc<TrustedIssuer>> = issuers.into_iter().flatten().collect();
        let refuse_unknown = config.tls.unknown_sni == UnknownSni::Refuse;
        let certificates = Arc::new(Certificates::new(certificates, refuse_unknown));
        let acceptor = Acceptor::new(certificates.clone(), config.tls.min_version)
            .map_err(|error| problems.push(Problem::of_root(format!("no TLS: {error}"))))
            .ok()?;
        Some(Self {
            generation: 1,
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
            pseudonym: format!("jotgate-{:08x}", u32::from_ne_bytes(crypto::random())),
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
                problems.push(Problem::error(place.clone(), error.to_string()));
            }
        }
    }
    certificates
}

fn load_issuer(issuer: &config::Issuer, problems: &mut Problems) -> Option<Arc<TrustedIssuer>> {
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
    let keys = judge(issuer, loaded, &places, problems)?;
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
        let shown = Problem::error(place, problem.to_string());
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
