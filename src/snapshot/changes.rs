//! What is different between two snapshots, for people.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use super::Snapshot;
use crate::keys::Key;
use crate::route::{Access, Route, Shape};

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
            return f.write_str("none of a route, a key or a certificate");
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
    /// What is different from an earlier one of the same process, which may be `of_same_file`, as
    /// when a key has changed.
    pub fn changes_since(&self, earlier: &Self, of_same_file: bool) -> Changes {
        // A secret has no mark that may be shown; one that is the same is the very same.
        let mark = |secret: &Arc<Key>| format!("{:p}", Arc::as_ptr(secret));
        let were = earlier.routes.iter_in_order();
        let are = self.routes.iter_in_order();
        let (were, are): (Vec<_>, Vec<_>) = if of_same_file {
            // A route can differ by no more than the files that its upstream is known by.
            let pairs = were.zip(are);
            let changed = pairs.filter(|(was, is)| !Arc::ptr_eq(&was.1.target, &is.1.target));
            changed.unzip()
        } else {
            (were.collect(), are.collect())
        };
        Changes::between(
            &earlier.contents_with(were, mark),
            &self.contents_with(are, mark),
        )
    }

    /// Every route, issuer, key, certificate and group of settings by its name, with all that
    /// makes it what it is. Two secrets cannot be told apart.
    pub fn contents(&self) -> BTreeMap<String, String> {
        self.contents_with(self.routes.iter_in_order(), |_| String::new())
    }

    fn contents_with<'a>(
        &'a self,
        routes: impl IntoIterator<Item = (Shape<'a>, &'a Arc<Route>)>,
        secret: impl Fn(&Arc<Key>) -> String,
    ) -> BTreeMap<String, String> {
        let mut contents = BTreeMap::new();
        let mut add = |name: String, what: String| contents.insert(name, what);
        for (shape, route) in routes {
            let (host, methods) = (shape.host, shape.methods);
            let what = format!("{host:?} {methods:?} {}", described(route));
            add(format!("route {}", route.name), what);
        }
        for issuer in &self.issuers {
            let name = &issuer.name;
            let what = format!("{} {:?}", issuer.iss, issuer.leeway);
            add(format!("issuer {name}"), what);
            for key in issuer.keys.iter() {
                let called = key.kid().or(key.thumbprint()).unwrap_or("-");
                let mark = key
                    .thumbprint()
                    .map_or_else(|| secret(key), ToOwned::to_owned);
                let what = format!("{} {} {mark}", key.description(), key.algorithms());
                add(format!("key {called} of {name}"), what);
            }
        }
        let mut named = HashMap::new();
        for certificate in self.certificates.iter() {
            // There may be one of each kind of key for the same names.
            let names = certificate.names.join(" ");
            let mut name = format!("certificate {names}");
            let same = named.entry(names).or_insert(0);
            *same += 1;
            if *same > 1 {
                name = format!("{name} ({same})");
            }
            add(name, hex(&certificate.digest));
        }
        add("[limits]".to_owned(), format!("{:?}", self.limits));
        let listen = (&self.trusted_proxies, self.proxy_protocol, self.public_port);
        add("[listen]".to_owned(), format!("{listen:?}"));
        let tls = (&self.hsts, self.acceptor.min_version());
        add("[tls]".to_owned(), format!("{tls:?}"));
        add("[log]".to_owned(), format!("{:?}", self.log_subject));
        let server = (self.drain, self.drain_idle);
        add("[server]".to_owned(), format!("{server:?}"));
        contents
    }
}

fn hex(digest: &[u8]) -> String {
    digest[..8].iter().map(|b| format!("{b:02x}")).collect()
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
