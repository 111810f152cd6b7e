//! What is different between two snapshots, for people.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::Snapshot;
use crate::route::{Access, Route};

/// What was added, removed and changed.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Changes {
    added: Vec<String>,
    removed: Vec<String>,
    changed: Vec<String>,
}

impl Changes {
    /// From what was to what is: things by their names, each with what it is.
    pub fn between(was: &BTreeMap<String, String>, is: &BTreeMap<String, String>) -> Self {
        let mut changes = Self::default();
        for (name, what) in is {
            match was.get(name) {
                None => changes.added.push(name.clone()),
                Some(before) if before != what => changes.changed.push(name.clone()),
                Some(_) => {}
            }
        }
        let gone = was.keys().filter(|name| !is.contains_key(*name));
        changes.removed.extend(gone.cloned());
        changes
    }

    /// Whether there are none.
    pub fn are_none(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }

    /// Each, with what became of it: `+` added, `-` removed, `~` changed.
    pub fn iter(&self) -> impl Iterator<Item = (char, &str)> {
        let sorts = [
            ('+', &self.added),
            ('-', &self.removed),
            ('~', &self.changed),
        ];
        sorts
            .into_iter()
            .flat_map(|(sign, names)| names.iter().map(move |name| (sign, name.as_str())))
    }
}

/// In one line, and not a long one.
impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.are_none() {
            return f.write_str("settings");
        }
        for (number, (sign, name)) in self.iter().enumerate() {
            if number == SHOWN {
                return write!(f, ", and {} more", self.iter().count() - SHOWN);
            }
            let separator = if number == 0 { "" } else { ", " };
            write!(f, "{separator}{sign}{name}")?;
        }
        Ok(())
    }
}

const SHOWN: usize = 20;

impl Snapshot {
    /// What is different from an earlier one.
    pub fn changes_since(&self, earlier: &Self) -> Changes {
        Changes::between(&earlier.contents(), &self.contents())
    }

    /// Every route, issuer, key and certificate by its name, with all that makes it what it is.
    pub fn contents(&self) -> BTreeMap<String, String> {
        let mut contents = BTreeMap::new();
        for (shape, route) in self.routes.iter_in_order() {
            let (host, methods) = (shape.host, shape.methods);
            let what = format!("{host:?} {methods:?} {}", described(route));
            contents.insert(format!("route {}", route.name), what);
        }
        for issuer in &self.issuers {
            let name = &issuer.name;
            let what = format!("{} {:?}", issuer.iss, issuer.leeway);
            contents.insert(format!("issuer {name}"), what);
            for key in issuer.keys.iter() {
                let called = key.kid().or(key.thumbprint()).unwrap_or("-");
                // A secret has no mark that may be shown; one that is the same is the very same.
                let mark = match key.thumbprint() {
                    Some(thumbprint) => thumbprint.to_owned(),
                    None => format!("{:p}", Arc::as_ptr(key)),
                };
                let what = format!("{} {} {mark}", key.description(), key.algorithms());
                contents.insert(format!("key {called} of {name}"), what);
            }
        }
        for certificate in self.certificates.iter() {
            let digest: String = certificate.digest[..8]
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect();
            let names = certificate.names.join(" ");
            contents.insert(format!("certificate {names}"), digest);
        }
        contents
    }
}

/// All that makes a route what it is, but for its host and methods.
fn described(route: &Route) -> String {
    let access = match &route.access {
        Access::Public => "public".to_owned(),
        Access::Bearer { accepted, policy } => {
            let accepted = accepted.iter().map(|a| (&a.issuer.name, &a.audiences));
            format!("{:?} {policy:?}", accepted.collect::<Vec<_>>())
        }
    };
    let Route {
        path,
        to,
        target,
        strip_prefix,
        keep_authorization,
        own_host,
        upgrade,
        timeout,
        max_body,
        // Its name is what it goes by; the others are told by what is here.
        name: _,
        access: _,
        limits_methods: _,
    } = route;
    let flags = (strip_prefix, keep_authorization, own_host, upgrade);
    let bounds = (timeout, max_body, target.settings());
    format!(
        "{path} {access} {to:?} {} {flags:?} {bounds:?}",
        target.mark()
    )
}
