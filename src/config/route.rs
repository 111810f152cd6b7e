//! `[[route]]`: which requests go where, and who may send them.

use std::time::Duration;

use http::Method;

use super::check::Check;
use super::confidential::may_hold_password;
use super::file::Reader;
use super::identity::identity;
use super::issuer::{Declared, texts};
use super::item::Item;
use super::names::nearest;
use super::oddities::warn;
use super::routes::check_distinct;
use super::{Access, Connecting, HostHeader, Located, Route, defaults};
use crate::route::{HostPattern, PathPattern};
use crate::upstream::{Scheme, TargetUrl};

pub(super) fn read_all(
    check: &mut Check<'_>,
    items: &[Item<'_, '_>],
    issuers: &[Declared],
    connecting: &Connecting,
) -> Vec<Route> {
    let mut routes = Vec::new();
    for item in items {
        if let Some(table) = item.table(check.problems) {
            routes.extend(read(check, table, issuers, connecting));
        }
    }
    check_distinct(check, &routes);
    // What is wrong may well be the reason for what only looks odd.
    if !routes.is_empty() && !check.problems.has_errors() {
        warn(check, &routes, issuers, connecting);
    }
    routes
}

fn read(
    check: &mut Check<'_>,
    mut table: Reader<'_, '_>,
    issuers: &[Declared],
    connecting: &Connecting,
) -> Option<Route> {
    let place = table.place.clone();
    let name = table
        .take("name")
        .map(|item| item.words(check.problems).map(str::to_owned));
    let host = table.take("host").map(|item| host(check, &item));
    let path = table.require("path", check.problems);
    let path = path.and_then(|item| path_pattern(check, &item));
    let methods = table.take("methods").map(|item| methods(check, &item));
    let to = table.require("to", check.problems);
    let to = to.and_then(|item| target(check, &item));
    let connecting = upstream(check, &mut table, to.as_ref(), connecting);
    let access = access(check, &mut table, issuers);
    let identity = identity(check, &mut table, access.as_ref());
    let strip_prefix = strip_prefix(check, &mut table, path.as_ref());
    let keep_authorization = flag(check, &mut table, "keep_authorization");
    let host_header = match table.take("host_header") {
        None => Some(HostHeader::Client),
        Some(item) => item.choice(
            &[
                ("client", HostHeader::Client),
                ("target", HostHeader::Target),
            ],
            check.problems,
        ),
    };
    let upgrade = flag(check, &mut table, "upgrade");
    let timeout = match table.take("timeout") {
        None => Some(Duration::from_secs(defaults::ROUTE_TIMEOUT_SECONDS)),
        Some(item) => item.duration(check.problems),
    };
    let max_body = table.take("max_body").map(|item| item.size(check.problems));
    table.finish(check.problems);
    let (host, path, methods) = (transpose(host)?, path?, transpose(methods)?);
    let written = transpose(name)?;
    Some(Route {
        name: written
            .unwrap_or_else(|| default_name(host.as_ref(), &path.value, methods.as_deref())),
        place,
        host,
        path,
        methods,
        to: to?,
        connecting,
        access: access?,
        identity: identity?,
        strip_prefix,
        keep_authorization,
        host_header: host_header?,
        upgrade,
        timeout: timeout?,
        max_body: transpose(max_body)?,
    })
}

/// `Some(None)` was there and wrong.
fn transpose<T>(value: Option<Option<T>>) -> Option<Option<T>> {
    match value {
        None => Some(None),
        Some(None) => None,
        Some(Some(value)) => Some(Some(value)),
    }
}

/// Host and path, and the methods if there are some: routes may share the rest.
fn default_name(
    host: Option<&HostPattern>,
    path: &PathPattern,
    methods: Option<&[Method]>,
) -> String {
    let methods = methods.map_or_else(String::new, |methods| {
        let names: Vec<&str> = methods.iter().map(Method::as_str).collect();
        format!("{} ", names.join(","))
    });
    host.map_or_else(
        || format!("{methods}{path}"),
        |host| format!("{methods}{host}{path}"),
    )
}

fn host(check: &mut Check<'_>, item: &Item<'_, '_>) -> Option<HostPattern> {
    let text = item.text(check.problems)?;
    HostPattern::parse(text)
        .map_err(|error| {
            let shown = shown(text);
            check
                .problems
                .push(item.problem(format!("\"{shown}\": {error}")))
        })
        .ok()
}

fn path_pattern(check: &mut Check<'_>, item: &Item<'_, '_>) -> Option<Located<PathPattern>> {
    let text = item.text(check.problems)?;
    PathPattern::parse(text)
        .map(|value| Located {
            value,
            place: item.place(),
        })
        .map_err(|error| {
            check
                .problems
                .push(item.problem(format!("\"{text}\": {error}")))
        })
        .ok()
}

fn target(check: &mut Check<'_>, item: &Item<'_, '_>) -> Option<Located<TargetUrl>> {
    if item.is_list() {
        let one = "a route has one upstream; of a name with several addresses all are used in turn";
        check.problems.push(item.wrong_type().help(one));
        return None;
    }
    let text = item.text(check.problems)?;
    TargetUrl::parse(text)
        .map(|value| Located {
            value,
            place: item.place(),
        })
        .map_err(|error| {
            let shown = shown(text);
            let problem = item.problem(format!("\"{shown}\": {error}"));
            check.problems.push(problem);
        })
        .ok()
}

/// What may be repeated of a text: the log of a running gateway repeats what is said of a file.
fn shown(text: &str) -> &str {
    if may_hold_password(text) { "…" } else { text }
}

/// How the upstream is connected to, as far as the route has a say of its own.
fn upstream(
    check: &mut Check<'_>,
    table: &mut Reader<'_, '_>,
    to: Option<&Located<TargetUrl>>,
    common: &Connecting,
) -> Connecting {
    let item = table.take("upstream");
    let own = check.route_upstream(item.as_ref(), common);
    let is_plain = to.is_some_and(|to| to.value.origin().scheme == Scheme::Http);
    if let Some(item) = item
        && is_plain
        && own.tls != common.tls
    {
        check.problems.push(
            item.problem("ca, cert and key are for https, and `to` is http")
                .help("write to = \"https://…\""),
        );
    }
    own
}

fn methods(check: &mut Check<'_>, item: &Item<'_, '_>) -> Option<Vec<Method>> {
    let mut methods = Vec::new();
    for item in &item.one_or_many() {
        let text = item.text(check.problems)?;
        let is_plain = text.bytes().all(|b| b.is_ascii_uppercase() || b == b'-');
        let method = Method::from_bytes(text.as_bytes())
            .ok()
            .filter(|_| is_plain);
        let reason = match method {
            Some(Method::CONNECT | Method::TRACE) => "is never forwarded",
            Some(method) if methods.contains(&method) => "is named twice",
            Some(method) => {
                methods.push(method);
                continue;
            }
            None => "is not a method; expected capital letters, such as \"GET\"",
        };
        check
            .problems
            .push(item.problem(format!("\"{text}\" {reason}")));
        return None;
    }
    if methods.is_empty() {
        check
            .problems
            .push(item.problem("must name at least one; leave it out for all"));
        return None;
    }
    if methods.contains(&Method::GET) && !methods.contains(&Method::HEAD) {
        methods.push(Method::HEAD);
    }
    Some(methods)
}

/// Who may pass has no default: a route that forgets to say so must not be an open one.
fn access(
    check: &mut Check<'_>,
    table: &mut Reader<'_, '_>,
    issuers: &[Declared],
) -> Option<Access> {
    let audiences = table.take("aud");
    let Some(item) = table.take("auth") else {
        let problem = table.missing("auth", who_may_pass(issuers));
        check.problems.push(problem);
        return None;
    };
    if item.value.get_ref().as_str().is_none() && !item.is_list() {
        let problem = item.wrong_type().help(who_may_pass(issuers));
        check.problems.push(problem);
        return None;
    }
    if item.value.get_ref().as_str() == Some("public") {
        if let Some(item) = audiences {
            check
                .problems
                .push(item.problem("a public route looks at no token"));
            return None;
        }
        return Some(Access::Public);
    }
    let items = item.one_or_many();
    if items.is_empty() {
        check
            .problems
            .push(item.problem("must name an issuer, or be \"public\""));
        return None;
    }
    let audiences = audiences.map(|item| texts(check, &item));
    let issuers = choose(check, &items, issuers);
    Some(Access::Bearer {
        issuers: issuers?,
        audiences: transpose(audiences)?,
    })
}

/// The indexes of the issuers that are named, among those that are in order.
fn choose(
    check: &mut Check<'_>,
    items: &[Item<'_, '_>],
    issuers: &[Declared],
) -> Option<Vec<usize>> {
    let mut chosen = Vec::new();
    for item in items {
        let index = find_issuer(check, item, issuers)?;
        if chosen.contains(&index) {
            check.problems.push(item.problem("is named twice"));
            return None;
        }
        chosen.push(index);
    }
    chosen
        .into_iter()
        .map(|index| index_of_valid(issuers, index))
        .collect()
}

fn who_may_pass(issuers: &[Declared]) -> String {
    let names = issuers.iter().map(|issuer| issuer.name.as_str());
    let names: Vec<_> = names
        .chain(["public"])
        .filter(|name| !name.is_empty())
        .map(|name| format!("\"{name}\""))
        .collect();
    format!("say who may pass: {}", names.join(", "))
}

fn find_issuer(check: &mut Check<'_>, item: &Item<'_, '_>, issuers: &[Declared]) -> Option<usize> {
    let name = item.text(check.problems)?;
    // One that has no name may be the one that is meant.
    let mut known = issuers.iter();
    let found = known.position(|issuer| issuer.name == name || issuer.name.is_empty());
    if found.is_none() {
        let names = issuers.iter().map(|issuer| issuer.name.as_str());
        let have = names
            .clone()
            .map(|name| format!("\"{name}\""))
            .collect::<Vec<_>>()
            .join(", ");
        let mut problem = item
            .problem(format!("there is no [issuer.{name}]"))
            .structural();
        problem = problem.label(if name == "public" {
            "\"public\" stands alone, not in a list".to_owned()
        } else if have.is_empty() {
            "no issuer is declared".to_owned()
        } else {
            format!("have: {have}")
        });
        if let Some(nearest) = nearest(name, names.chain(["public"])).filter(|near| *near != name) {
            problem = problem.help(format!("did you mean \"{nearest}\"?"));
        }
        check.problems.push(problem);
    }
    found
}

/// The index among the issuers that are in order.
fn index_of_valid(issuers: &[Declared], index: usize) -> Option<usize> {
    issuers[index].issuer.as_ref()?;
    Some(
        issuers[..index]
            .iter()
            .filter(|declared| declared.issuer.is_some())
            .count(),
    )
}

pub(super) fn flag(check: &mut Check<'_>, table: &mut Reader<'_, '_>, key: &'static str) -> bool {
    table
        .take(key)
        .and_then(|item| item.truth(check.problems))
        .unwrap_or(false)
}

fn strip_prefix(
    check: &mut Check<'_>,
    table: &mut Reader<'_, '_>,
    path: Option<&Located<PathPattern>>,
) -> bool {
    let Some(item) = table.take("strip_prefix") else {
        return false;
    };
    let strips = item.truth(check.problems).unwrap_or(false);
    if strips && path.is_some_and(|path| !path.value.is_subtree()) {
        check.problems.push(
            item.problem("an exact path has nothing behind the prefix")
                .help("end the path with / to make it a subtree"),
        );
    }
    strips
}
