//! The upstreams of all routes, each once.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::doubts;
use crate::config::{Config, Place, Problem, Problems, Route, UpstreamTls};
use crate::upstream::{ClientConfigs, ClientTls, ClientTlsError, Origin, Scheme, Settings, Target};

/// The target of every route, in the order of the routes. Those with the same origin and settings
/// share one, which is one of those that are `known` if it is the same. A route whose TLS cannot
/// be had is a problem, and then the list is short of it.
pub(super) fn load(
    config: &Config,
    known: &[Arc<Target>],
    problems: &mut Problems,
) -> Vec<Arc<Target>> {
    let mut known_by_origin: HashMap<&Origin, Vec<&Arc<Target>>> = HashMap::new();
    for target in known {
        known_by_origin
            .entry(target.origin())
            .or_default()
            .push(target);
    }
    let mut configs = Configs::default();
    let mut targets: HashMap<Identity<'_>, Arc<Target>> = HashMap::new();
    let mut all = Vec::with_capacity(config.routes.len());
    for route in &config.routes {
        let identity = Identity::of(route);
        if let Some(target) = targets.get(&identity) {
            all.push(target.clone());
            continue;
        }
        let Ok(tls) = configs.tls(route, problems) else {
            continue;
        };
        let known = known_by_origin
            .get(identity.origin)
            .map_or(&[][..], Vec::as_slice);
        let mut same = known.iter();
        let same = same.find(|known| known.is_connected_to(identity.settings, tls.as_ref()));
        let target = if let Some(target) = same {
            Arc::clone(target)
        } else {
            let new = Target::new(identity.origin.clone(), identity.settings.clone(), tls);
            Arc::new(match known.first() {
                Some(known) => new.knowing(known),
                None => new,
            })
        };
        targets.insert(identity, target.clone());
        all.push(target);
    }
    all
}

/// Each target once.
pub(super) fn distinct(targets: &[Arc<Target>]) -> Vec<Arc<Target>> {
    let mut distinct: Vec<Arc<Target>> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for target in targets {
        if seen.insert(Arc::as_ptr(target)) {
            distinct.push(target.clone());
        }
    }
    distinct
}

/// What makes a target what it is.
#[derive(PartialEq, Eq, Hash)]
struct Identity<'c> {
    origin: &'c Origin,
    settings: &'c Settings,
    files: Files<'c>,
}

/// The files that TLS to a target depends on.
#[derive(Default, Clone, Copy, PartialEq, Eq, Hash)]
struct Files<'c> {
    ca: Option<&'c Path>,
    identity: Option<(&'c Path, &'c Path)>,
}

impl<'c> Identity<'c> {
    fn of(route: &'c Route) -> Self {
        let origin = route.to.value.origin();
        Self {
            origin,
            settings: &route.connecting.settings,
            files: match origin.scheme {
                Scheme::Http => Files::default(),
                Scheme::Https => Files::of(&route.connecting.tls),
            },
        }
    }
}

impl<'c> Files<'c> {
    fn of(tls: &'c UpstreamTls) -> Self {
        Self {
            ca: tls.ca.as_ref().map(|ca| &*ca.value),
            identity: tls
                .identity
                .as_ref()
                .map(|pair| (&*pair.cert.value, &*pair.key.value)),
        }
    }
}

/// TLS configurations, each loaded once, for authorities are many and take their time.
#[derive(Default)]
struct Configs<'c>(HashMap<Files<'c>, Option<ClientConfigs>>);

/// There is a problem, and it has been noted.
struct Noted;

impl<'c> Configs<'c> {
    fn tls(
        &mut self,
        route: &'c Route,
        problems: &mut Problems,
    ) -> Result<Option<ClientTls>, Noted> {
        let origin = route.to.value.origin();
        if origin.scheme == Scheme::Http {
            return Ok(None);
        }
        let files = Files::of(&route.connecting.tls);
        let config = self.0.entry(files).or_insert_with(|| {
            let config = ClientConfigs::load(files.ca, files.identity)
                .map_err(|error| problems.push(problem(route, &error)))
                .ok()?;
            if let Some(pair) = &route.connecting.tls.identity
                && let Some(certificate) = config.identity()
            {
                doubts::warn_of(certificate, pair, "upstreams", problems);
            }
            Some(config)
        });
        let config = config.as_ref().ok_or(Noted)?;
        config.for_host(&origin.host).map(Some).map_err(|_| {
            let what = format!(
                "\"{}\" is no name that a certificate could have",
                origin.host
            );
            problems.push(Problem::error(route.to.place.clone(), what));
            Noted
        })
    }
}

/// The problem, at the file that is to blame.
fn problem(route: &Route, error: &ClientTlsError) -> Problem {
    let tls = &route.connecting.tls;
    let identity = tls.identity.as_ref();
    let place: Option<&Place> = match error {
        ClientTlsError::Authorities(_) | ClientTlsError::Unusable { .. } => {
            tls.ca.as_ref().map(|ca| &ca.place)
        }
        ClientTlsError::Identity(error) => identity.map(|pair| {
            if error.blames_key() {
                &pair.key.place
            } else {
                &pair.cert.place
            }
        }),
        ClientTlsError::NoSystemAuthorities | ClientTlsError::Library(_) => None,
    };
    Problem::error(place.unwrap_or(&route.to.place).clone(), error.to_string())
        .unsettled(error.is_unsettled())
}
