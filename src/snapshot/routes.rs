//! The table of routes, and what follows from all of them: the upstreams, and the names that no
//! client may send.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Earlier, Snapshot, targets};
use crate::config::{self, Config, HostHeader, Problems};
use crate::observe::RouteNames;
use crate::policy::{IdentityRule, Policy, ReservedNames};
use crate::route::{Access, Route, Table};
use crate::token::Acceptance;
use crate::upstream::{Target, TargetUrl};

/// As a [`Snapshot`] has them.
pub(super) struct Routes {
    pub(super) table: Arc<Table<Route>>,
    pub(super) names: RouteNames,
    pub(super) targets: Arc<[Arc<Target>]>,
    pub(super) reserved: Arc<ReservedNames>,
}

impl Routes {
    /// Builds them. If neither the configuration has changed nor anything that connections to
    /// upstreams need, they are the very ones that they were. `None` if there are problems.
    pub(super) fn load(
        config: &Config,
        earlier: Option<Earlier<'_>>,
        problems: &mut Problems,
    ) -> Option<Self> {
        let unchanged = earlier.filter(|earlier| {
            std::ptr::eq(earlier.config, config) && earlier.have_stayed(config.upstream_inputs())
        });
        if let Some(earlier) = unchanged {
            return Some(Self::of(earlier.snapshot));
        }
        let known = earlier.map_or(&[][..], |earlier| &earlier.snapshot.targets);
        let targets = targets::load(config, known, problems);
        if problems.has_errors() {
            return None;
        }
        let names = earlier.map_or_else(RouteNames::default, |earlier| {
            earlier.snapshot.route_names.clone()
        });
        Some(Self {
            targets: targets::distinct(&targets).into(),
            table: Arc::new(table(config, targets, &names)),
            names,
            reserved: Arc::new(reserved(config)),
        })
    }

    fn of(snapshot: &Snapshot) -> Self {
        Self {
            table: snapshot.routes.clone(),
            names: snapshot.route_names.clone(),
            targets: snapshot.targets.clone(),
            reserved: snapshot.reserved.clone(),
        }
    }
}

fn table(config: &Config, targets: Vec<Arc<Target>>, names: &RouteNames) -> Table<Route> {
    let mut shared = Shared::default();
    Table::new(config.routes.iter().zip(targets).map(|(route, target)| {
        let path = &route.path.value;
        let built = Route {
            name: names.name(&route.name),
            access: shared.access(route, config),
            to: shared.url(&route.to.value),
            target,
            strip_prefix: route.strip_prefix.then(|| Box::new(path.clone())),
            keep_authorization: route.keep_authorization,
            own_host: route.host_header == HostHeader::Target,
            limits_methods: route.methods.is_some(),
            upgrade: route.upgrade,
            timeout: route.timeout,
            max_body: route.max_body,
        };
        (
            route.host.clone(),
            path.clone(),
            route.methods.clone(),
            built,
        )
    }))
}

/// What routes have in common, each once.
#[derive(Default)]
struct Shared<'c> {
    accesses: HashMap<(&'c config::Access, &'c [IdentityRule]), Arc<Access>>,
    urls: HashMap<&'c TargetUrl, Arc<TargetUrl>>,
}

impl<'c> Shared<'c> {
    fn access(&mut self, route: &'c config::Route, config: &Config) -> Arc<Access> {
        let known = self.accesses.entry((&route.access, &route.identity));
        let access = known.or_insert_with(|| Arc::new(access(route, config)));
        Arc::clone(access)
    }

    fn url(&mut self, url: &'c TargetUrl) -> Arc<TargetUrl> {
        let known = self.urls.entry(url);
        Arc::clone(known.or_insert_with(|| Arc::new(url.clone())))
    }
}

fn access(route: &config::Route, config: &Config) -> Access {
    match &route.access {
        config::Access::Public => Access::Public,
        config::Access::Bearer {
            issuers: chosen,
            audiences,
        } => Access::Bearer {
            accepted: chosen
                .iter()
                .map(|&issuer| Acceptance {
                    issuer,
                    audiences: audiences
                        .as_ref()
                        .unwrap_or(&config.issuers[issuer].audiences)
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
