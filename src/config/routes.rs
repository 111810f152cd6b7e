//! All routes together: names, conflicts, and what looks odd.

use std::collections::{HashMap, HashSet};

use super::check::Check;
use super::issuer::Declared;
use super::{Access, Connecting, Place, Problem, Route, UpstreamTls};
use crate::policy::IdentityRule;
use crate::route::{HostPattern, Shape, conflicts};
use crate::upstream::Scheme;

/// Routes have names of their own.
pub(super) fn check_names(check: &mut Check<'_>, routes: &[Route]) {
    let mut seen: HashMap<&str, &Route> = HashMap::new();
    for route in routes {
        if let Some(other) = seen.insert(&route.name, route) {
            check.problems.push(
                Problem::error(
                    route.place.clone(),
                    format!("two routes are named \"{}\"", route.name),
                )
                .also(other.place.clone(), "the other one")
                .help("give one of them another name = \"…\""),
            );
        }
    }
}

/// No two routes could both win.
pub(super) fn check_conflicts(check: &mut Check<'_>, routes: &[Route]) {
    let shapes: Vec<Shape<'_>> = routes
        .iter()
        .map(|route| Shape {
            host: route.host.as_ref(),
            path: &route.path.value,
            methods: route.methods.as_deref(),
        })
        .collect();
    for (earlier, later, conflict) in conflicts(&shapes) {
        check.problems.push(
            Problem::error(
                routes[later].path.place.clone(),
                format!(
                    "\"{}\" and \"{}\": {conflict}",
                    routes[earlier].name, routes[later].name
                ),
            )
            .label("this one")
            .also(routes[earlier].path.place.clone(), "and this one"),
        );
    }
}

/// What is allowed and yet rarely meant.
pub(super) fn warn(
    check: &mut Check<'_>,
    routes: &[Route],
    issuers: &[Declared],
    common: &Connecting,
) {
    let authority = |route: &Route| {
        let origin = route.to.value.origin();
        (origin.host.clone(), origin.port)
    };
    let is_public = |route: &Route| matches!(route.access, Access::Public);
    let mut protected: HashMap<(String, u16), Place> = HashMap::new();
    for route in routes.iter().filter(|route| !is_public(route)) {
        protected
            .entry(authority(route))
            .or_insert_with(|| route.to.place.clone());
    }
    for route in routes.iter().filter(|route| is_public(route)) {
        if let Some(place) = protected.get(&authority(route)) {
            check.problems.push(
                Problem::warning(
                    route.to.place.clone(),
                    format!(
                        "route \"{}\" is public and reaches the upstream of a protected one",
                        route.name
                    ),
                )
                .also(place.clone(), "protected here"),
            );
        }
    }
    warn_of_exact_paths(check, routes);
    warn_of_idle_tls(check, routes, &common.tls);
    warn_of_idle_issuers(check, routes, issuers);
    warn_of_mixed_subjects(check, routes);
}

/// `/api` where `/api/` was meant.
fn warn_of_exact_paths(check: &mut Check<'_>, routes: &[Route]) {
    let paths: HashSet<(Option<&HostPattern>, String)> = routes
        .iter()
        .map(|route| (route.host.as_ref(), route.path.value.to_string()))
        .collect();
    for route in routes.iter().filter(|route| !route.path.value.is_subtree()) {
        let text = route.path.value.to_string();
        let is_file = text
            .rsplit('/')
            .next()
            .is_some_and(|last| last.contains('.'));
        let subtree = format!("{text}/");
        if !is_file && !paths.contains(&(route.host.as_ref(), subtree.clone())) {
            check.problems.push(
                Problem::warning(
                    route.path.place.clone(),
                    format!("\"{text}\" matches only itself"),
                )
                .help(format!(
                    "for everything below it as well, write \"{subtree}\""
                )),
            );
        }
    }
}

/// A subject is unique for its issuer alone (RFC 7519 §4.1.2): `alice` of the one would pass for
/// `alice` of the other.
fn warn_of_mixed_subjects(check: &mut Check<'_>, routes: &[Route]) {
    for route in routes {
        let Access::Bearer { issuers, .. } = &route.access else {
            continue;
        };
        let tells = |rule: &IdentityRule| rule.forwards("iss");
        let can_tell = route.keep_authorization || route.identity.iter().any(tells);
        if issuers.len() > 1 && !route.identity.is_empty() && !can_tell {
            let text = format!(
                "route \"{}\" takes tokens of {} issuers, and its upstream cannot tell whose",
                route.name,
                issuers.len()
            );
            let help = "the same \"sub\" of two issuers are two people; forward \"iss\" as well: \
                        identity = { X-Auth-Subject = \"sub\", X-Auth-Issuer = \"iss\" }";
            let warning = Problem::warning(route.place.clone(), text);
            check.problems.push(warning.help(help));
        }
    }
}

/// Whoever says how upstreams are to be trusted believes that they are.
fn warn_of_idle_tls(check: &mut Check<'_>, routes: &[Route], common: &UpstreamTls) {
    let of_identity = common.identity.as_ref().map(|identity| &identity.cert);
    let is_https = |route: &Route| route.to.value.origin().scheme == Scheme::Https;
    if let Some(file) = common.ca.as_ref().or(of_identity)
        && !routes.iter().any(is_https)
    {
        check.problems.push(
            Problem::warning(
                file.place.clone(),
                "no route is https: upstreams are spoken to in the clear",
            )
            .help("write to = \"https://…\" in the routes"),
        );
    }
}

fn warn_of_idle_issuers(check: &mut Check<'_>, routes: &[Route], issuers: &[Declared]) {
    let uses = |index: usize| {
        routes.iter().any(|route| match &route.access {
            Access::Public => false,
            Access::Bearer { issuers, .. } => issuers.contains(&index),
        })
    };
    for (index, issuer) in issuers
        .iter()
        .filter_map(|declared| declared.issuer.as_ref())
        .enumerate()
    {
        if !uses(index) {
            check.problems.push(Problem::warning(
                issuer.place.clone(),
                format!("no route uses [issuer.{}]", issuer.name),
            ));
        }
    }
}
