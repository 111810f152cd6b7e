//! The table of routes, and what follows from all of them: the upstreams, and the names that no
//! client may send.

use std::sync::Arc;

use super::{Earlier, Snapshot, targets};
use crate::config::{self, Config, HostHeader, Problems};
use crate::policy::{Policy, ReservedNames};
use crate::route::{Access, Route, Table};
use crate::token::Acceptance;
use crate::upstream::Target;

/// As a [`Snapshot`] has them.
pub(super) struct Routes {
    pub(super) table: Arc<Table<Arc<Route>>>,
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
        Some(Self {
            targets: targets::distinct(&targets).into(),
            table: Arc::new(table(config, targets)),
            reserved: Arc::new(reserved(config)),
        })
    }

    fn of(snapshot: &Snapshot) -> Self {
        Self {
            table: snapshot.routes.clone(),
            targets: snapshot.targets.clone(),
            reserved: snapshot.reserved.clone(),
        }
    }
}

fn table(config: &Config, targets: Vec<Arc<Target>>) -> Table<Arc<Route>> {
    Table::new(config.routes.iter().zip(targets).map(|(route, target)| {
        let built = Route {
            name: route.name.as_str().into(),
            path: route.path.value.clone(),
            access: access(route, config),
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
