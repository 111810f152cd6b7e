//! What is allowed in routes, upstreams and issuers, and yet rarely meant.

use std::collections::HashMap;

use super::check::Check;
use super::issuer::Declared;
use super::{Access, Connecting, Place, Problem, Route, UpstreamTls};
use crate::policy::IdentityRule;
use crate::route::{HostPattern, Reach, Reaches};
use crate::upstream::Scheme;

/// Warns of all of it.
pub(super) fn warn(
    check: &mut Check<'_>,
    routes: &[Route],
    issuers: &[Declared],
    common: &Connecting,
) {
    warn_of_ways_around(check, routes);
    warn_of_exact_paths(check, routes);
    warn_of_foreign_wildcards(check, routes);
    warn_of_idle_tls(check, routes, &common.tls);
    warn_of_idle_issuers(check, routes, issuers);
    warn_of_mixed_subjects(check, routes);
}

/// A public route is a way around the token where its upstream gets paths from it that it gets from
/// a protected route as well. A smaller part of those was made public on purpose.
fn warn_of_ways_around(check: &mut Check<'_>, routes: &[Route]) {
    let mut protected: HashMap<(&str, u16), Reaches<&Place>> = HashMap::new();
    for route in routes.iter().filter(|route| !is_public(route)) {
        let known = protected.entry(authority(route)).or_default();
        known.insert(reach(route), &route.to.place);
    }
    for route in routes.iter().filter(|route| is_public(route)) {
        let Some(protected) = protected.get(&authority(route)) else {
            continue;
        };
        let public = reach(route);
        let is_smaller = |protected: &Reach| protected.covers(&public) && !public.covers(protected);
        let mut met = protected.meeting(&public);
        let around = met.find(|(protected, _)| !is_smaller(protected));
        if let Some((_, place)) = around {
            let what = format!(
                "route \"{}\" is public and reaches what a protected one does",
                route.name
            );
            let warning = Problem::warning(route.to.place.clone(), what);
            let warning = warning.also((*place).clone(), "protected here");
            check.problems.push(warning.help(
                "give it an upstream of its own, or a base path in `to` that is for it alone",
            ));
        }
    }
}

fn is_public(route: &Route) -> bool {
    matches!(route.access, Access::Public)
}

/// What is reached, whichever way it is spoken to.
fn authority(route: &Route) -> (&str, u16) {
    let origin = route.to.value.origin();
    (&origin.host, origin.port)
}

/// The paths that the upstream of a route gets.
fn reach(route: &Route) -> Reach {
    let base = route.to.value.base_path();
    Reach::behind(base, &route.path.value, route.strip_prefix)
}

/// `/api` where `/api/` was meant. What lies below it is then another route's or nobody's. The
/// former matters if that one is public and this one is not; the latter if nothing shows that it is
/// meant: to be public is no harm, and who names methods has one thing in mind.
fn warn_of_exact_paths(check: &mut Check<'_>, routes: &[Route]) {
    let mut subtrees: HashMap<Option<&HostPattern>, Reaches<&Route>> = HashMap::new();
    let public = routes.iter().filter(|route| is_public(route));
    let protected = routes.iter().filter(|route| !is_public(route));
    let all = public.chain(protected);
    for route in all.filter(|route| route.path.value.is_subtree()) {
        let known = subtrees.entry(route.host.as_ref()).or_default();
        known.insert(Reach::of(&route.path.value), route);
    }
    let exact = routes.iter().filter(|route| !route.path.value.is_subtree());
    for route in exact.filter(|route| !is_public(route) && !looks_like_a_file(route)) {
        let text = route.path.value.to_string();
        if text.split('/').any(|segment| is_foreign(&segment)) {
            continue;
        }
        let below = Reach::below(&route.path.value);
        let others = subtrees.get(&route.host.as_ref());
        let next = others
            .into_iter()
            .flat_map(|others| others.covering(&below))
            .min_by(|one, other| one.path.value.specificity(&other.path.value));
        let is_beside = |other: &Route| other.path.value.to_string() == format!("{text}/");
        let what = match next {
            Some(other) if is_public(other) && !is_beside(other) => format!(
                "\"{text}\" matches only itself, and what lies below it is public, by \"{}\"",
                other.path.value
            ),
            None if route.methods.is_none() => format!("\"{text}\" matches only itself"),
            Some(_) | None => continue,
        };
        let help = format!("for everything below it as well, write \"{text}/\"");
        let warning = Problem::warning(route.path.place.clone(), what).help(help);
        check.problems.push(match next {
            Some(_) => warning,
            None => warning.help("if that is meant, say which `methods` it has"),
        });
    }
}

fn looks_like_a_file(route: &Route) -> bool {
    let text = route.path.value.to_string();
    let last = text.rsplit('/').next();
    last.is_some_and(|last| last.contains('.'))
}

/// Whether other programs write wildcards so.
fn is_foreign(segment: &&str) -> bool {
    segment.starts_with(':') || segment.contains('*')
}

fn warn_of_foreign_wildcards(check: &mut Check<'_>, routes: &[Route]) {
    for route in routes {
        let text = route.path.value.to_string();
        let mut segments = text.split('/');
        let Some(segment) = segments.find(is_foreign) else {
            continue;
        };
        let name = segment.trim_start_matches(':');
        let is_name = |c: char| c.is_ascii_alphabetic() || c == '_';
        let is_name = !name.is_empty() && name.chars().all(is_name);
        let name = if is_name { name } else { "name" };
        let what = format!("\"{segment}\" is no wildcard, and matches only itself");
        let warning = Problem::warning(route.path.place.clone(), what);
        let help =
            format!("for any one segment write {{{name}}}, for all below a path end it with /");
        check.problems.push(warning.help(help));
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
    let is_https = |route: &&Route| route.to.value.origin().scheme == Scheme::Https;
    let mut secured = routes.iter().filter(is_https).peekable();
    let (what, help) = if secured.peek().is_none() {
        (
            "nothing uses this: no route is https, upstreams are spoken to in the clear",
            "write to = \"https://…\" in the routes",
        )
    } else {
        (
            "nothing uses this: every route that is https has its own",
            "leave it out, here or in the routes",
        )
    };
    let used: Vec<&UpstreamTls> = secured.map(|route| &route.connecting.tls).collect();
    let is_idle = |of: fn(&UpstreamTls) -> Option<&Place>| {
        let place = of(common)?;
        let is_used = used.iter().any(|tls| of(tls) == Some(place));
        (!is_used).then(|| place.clone())
    };
    let authorities = is_idle(|tls| Some(&tls.ca.as_ref()?.place));
    let identity = is_idle(|tls| Some(&tls.identity.as_ref()?.cert.place));
    for place in authorities.into_iter().chain(identity) {
        check
            .problems
            .push(Problem::warning(place, what).help(help));
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
