//! `identity = { … }`: which claims are forwarded, and as which headers.

use http::HeaderName;

use super::check::Check;
use super::file::Reader;
use super::issuer::texts;
use super::item::Item;
use super::route::flag;
use super::vocabulary::ROUTE;
use super::{Access, Located, Problem, defaults};
use crate::policy::{ClaimPath, Encoding, IdentityRule, Presence};

/// The claims that a route forwards, and as which headers.
pub(super) fn identity(
    check: &mut Check<'_>,
    table: &mut Reader<'_, '_>,
    access: Option<&Access>,
) -> Option<Vec<IdentityRule>> {
    let is_public = matches!(access, Some(Access::Public));
    let Some(item) = table.take("identity") else {
        return Some(if is_public {
            Vec::new()
        } else {
            vec![default_identity()]
        });
    };
    if is_public {
        check
            .problems
            .push(item.problem("a public route has no identity to forward"));
        return None;
    }
    let headers = item.table(check.problems)?;
    let mut rules: Vec<IdentityRule> = Vec::new();
    for (name, item) in headers.take_names() {
        let header = identity_header(check, &name)?;
        // One that the route must have is missed there.
        let row = ROUTE.key(&name.value);
        if row.is_some_and(|row| !row.is_required()) {
            let what = format!("{}: forwarded as the header `{}`", item.path, name.value);
            check
                .problems
                .push(Problem::warning(name.place.clone(), what).help(strayed(&name.value)));
        }
        if rules.iter().any(|rule| *rule.header() == header) {
            check.problems.push(Problem::error(
                name.place,
                format!("{}: the header is named twice", item.path),
            ));
            return None;
        }
        rules.push(identity_rule(check, header, &item)?);
    }
    Some(rules)
}

fn default_identity() -> IdentityRule {
    let subject = ClaimPath::single("sub".to_owned());
    let header = HeaderName::from_static(defaults::IDENTITY_HEADER);
    IdentityRule::new(header, subject, Presence::Required, Encoding::Plain)
}

fn identity_header(check: &mut Check<'_>, name: &Located<String>) -> Option<HeaderName> {
    let text = name.value.to_ascii_lowercase();
    let is_plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let header = HeaderName::from_bytes(text.as_bytes())
        .ok()
        .filter(|_| is_plain);
    let reason = match &header {
        None => "a header's name has letters, digits and - only",
        Some(_) if text.starts_with("x-forwarded-") || NOT_IDENTITY.contains(&text.as_str()) => {
            "this header has a meaning of its own and cannot carry an identity"
        }
        Some(_) => return header,
    };
    let what = format!("identity.{}: {reason}", name.value);
    let problem = Problem::error(name.place.clone(), what);
    check.problems.push(match ROUTE.key(&name.value) {
        Some(_) => problem.help(strayed(&name.value)),
        None => problem,
    });
    None
}

/// What is written below `[route.identity]` belongs to that and not to the route.
fn strayed(key: &str) -> String {
    format!("if it is the route's own `{key}`, write it above [route.identity]")
}

fn identity_rule(
    check: &mut Check<'_>,
    header: HeaderName,
    item: &Item<'_, '_>,
) -> Option<IdentityRule> {
    if !item.is_table() {
        let claim = claim_path(check, item)?;
        return Some(IdentityRule::new(
            header,
            claim,
            Presence::Required,
            Encoding::Plain,
        ));
    }
    let mut table = item.table(check.problems)?;
    let claim = table.require("claim", check.problems);
    let claim = claim.and_then(|item| claim_path(check, &item));
    let is_optional = flag(check, &mut table, "optional");
    let encoding = match table.take("encode") {
        None => Some(Encoding::Plain),
        Some(item) => item.choice(&[("percent", Encoding::Percent)], check.problems),
    };
    table.finish(check.problems);
    let presence = if is_optional {
        Presence::Optional
    } else {
        Presence::Required
    };
    Some(IdentityRule::new(header, claim?, presence, encoding?))
}

fn claim_path(check: &mut Check<'_>, item: &Item<'_, '_>) -> Option<ClaimPath> {
    let path = ClaimPath::new(texts(check, item)?);
    if path.is_none() {
        check.problems.push(item.problem("must name a claim"));
    }
    path
}

/// Fields that frame, route or authenticate a message, or that are written anew on the way.
const NOT_IDENTITY: [&str; 38] = [
    "accept-encoding",
    "authorization",
    "cache-control",
    "client-ip",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "max-forwards",
    "origin",
    "proxy",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "referer",
    "te",
    "trailer",
    "transfer-encoding",
    "true-client-ip",
    "upgrade",
    "user-agent",
    "via",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-forwarded",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-real-ip",
    "x-request-id",
];
