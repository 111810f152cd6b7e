//! What is different between two snapshots, for people.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::Snapshot;
use crate::config::Limits;
use crate::keys::Key;
use crate::policy::Policy;
use crate::route::{Access, Route, Shape};
use crate::token::{self, TrustedIssuer};
use crate::upstream::{Settings, TargetUrl};

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
            return f.write_str("none of a route, a key, a certificate or a setting");
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
    /// What is different from an earlier one of the same process.
    pub fn changes_since(&self, earlier: &Self) -> Changes {
        // A secret has no mark that may be shown; one that is the same is the very same.
        let mark = |secret: &Arc<Key>| format!("{:p}", Arc::as_ptr(secret));
        // To describe a route takes longer than to build it, and few change at a time.
        let mut unchanged = HashSet::new();
        let are_the_same = Arc::ptr_eq(&self.routes, &earlier.routes);
        if !are_the_same {
            let before: HashMap<&str, _> = earlier.named_routes().collect();
            let now = self.named_routes();
            let same = now.filter(|(name, now)| before.get(name).is_some_and(|was| was == now));
            unchanged.extend(same.map(|(name, _)| name));
        }
        let described = |snapshot: &Self| {
            let routes = snapshot.named_routes();
            let changed = routes
                .take_while(|_| !are_the_same)
                .filter(|(name, _)| !unchanged.contains(name));
            let mut contents = snapshot.contents_with(changed, mark);
            // Whoever asks from elsewhere has others.
            let system = snapshot
                .targets
                .iter()
                .find_map(|target| target.system_mark());
            contents.extend(system.map(|system| (SYSTEM.to_owned(), system)));
            contents
        };
        Changes::between(&described(earlier), &described(self))
    }

    fn named_routes(&self) -> impl Iterator<Item = (&str, Facts<'_>)> {
        let routes = self.routes.iter_in_order();
        routes.map(|(shape, route)| (route.name.as_str(), Facts::of(shape, route, &self.issuers)))
    }

    /// Every route, issuer, key, certificate and group of settings by its name, with all that
    /// makes it what it is. Two secrets cannot be told apart.
    pub fn contents(&self) -> BTreeMap<String, String> {
        self.contents_with(self.named_routes(), |_| String::new())
    }

    /// The names of what has no mark there.
    pub fn secrets(&self) -> impl Iterator<Item = String> {
        self.issuers.iter().flat_map(|issuer| {
            let secrets = issuer.keys.iter().filter(|key| key.thumbprint().is_none());
            secrets.map(|secret| name_of(secret, &issuer.name))
        })
    }

    fn contents_with<'a>(
        &'a self,
        routes: impl Iterator<Item = (&'a str, Facts<'a>)>,
        secret: impl Fn(&Arc<Key>) -> String,
    ) -> BTreeMap<String, String> {
        let mut contents = BTreeMap::new();
        let mut add = |name: String, what: String| contents.insert(name, what);
        for (name, facts) in routes {
            add(format!("route {name}"), format!("{facts:?}"));
        }
        for issuer in &self.issuers {
            let name = &issuer.name;
            let what = format!("{} {:?}", issuer.iss, issuer.leeway);
            add(format!("issuer {name}"), what);
            for key in issuer.keys.iter() {
                let mark = key
                    .thumbprint()
                    .map_or_else(|| secret(key), ToOwned::to_owned);
                let what = format!("{} {} {mark}", key.description(), key.algorithms());
                add(name_of(key, name), what);
            }
        }
        let mut named = HashMap::new();
        for (index, certificate) in self.certificates.iter().enumerate() {
            // There may be one of each kind of key for the same names.
            let names = certificate.names.join(" ");
            let mut name = format!("certificate {names}");
            let same = named.entry(names).or_insert(0);
            *same += 1;
            if *same > 1 {
                name = format!("{name} ({same})");
            }
            // It is the one for names that no certificate has.
            let place = if index == 0 { "default" } else { "" };
            add(name, format!("{} {place}", hex(&certificate.digest)));
        }
        // How many connections there may be is one of those that stay as they are.
        let limits = Limits {
            connections: 0,
            ..self.limits.clone()
        };
        add("[limits]".to_owned(), format!("{limits:?}"));
        let listen = (&self.trusted_proxies, self.proxy_protocol, self.public_port);
        add("[listen]".to_owned(), format!("{listen:?}"));
        let refuse_unknown = self.certificates.refuse_unknown();
        let tls = (&self.hsts, self.acceptor.min_version(), refuse_unknown);
        add("[tls]".to_owned(), format!("{tls:?}"));
        add("[log]".to_owned(), format!("{:?}", self.log_subject));
        let server = (self.drain, self.drain_idle);
        add("[server]".to_owned(), format!("{server:?}"));
        let (resolve, poll) = self.looks;
        add("[upstream] resolve".to_owned(), format!("{resolve:?}"));
        add("[reload] poll".to_owned(), format!("{poll:?}"));
        for (name, value) in self.fixed.iter() {
            add(name.to_owned(), value.to_owned());
        }
        contents
    }
}

/// What upstreams with `https` and without `ca` are checked with.
const SYSTEM: &str = "authorities of the system";

fn name_of(key: &Key, issuer: &str) -> String {
    let called = key.kid().or(key.thumbprint()).unwrap_or("-");
    format!("key {called} of {issuer}")
}

fn hex(digest: &[u8]) -> String {
    digest[..8].iter().map(|b| format!("{b:02x}")).collect()
}

/// All that makes a route what it is, but for its name. The keys are told by themselves.
#[derive(Debug, PartialEq)]
struct Facts<'a> {
    shape: Shape<'a>,
    /// Whose tokens, and for whom.
    accepted: Vec<(&'a str, &'a [String])>,
    /// `None` where everybody may pass.
    policy: Option<&'a Policy>,
    to: &'a TargetUrl,
    connecting: &'a Settings,
    tls: String,
    strip_prefix: bool,
    keep_authorization: bool,
    own_host: bool,
    upgrade: bool,
    timeout: Duration,
    max_body: Option<u64>,
}

impl<'a> Facts<'a> {
    fn of(shape: Shape<'a>, route: &'a Route, issuers: &'a [Arc<TrustedIssuer>]) -> Self {
        let Route {
            to,
            target,
            access,
            strip_prefix,
            keep_authorization,
            own_host,
            upgrade,
            timeout,
            max_body,
            // Its name is what it goes by; the other is told by its shape.
            name: _,
            limits_methods: _,
        } = route;
        let (accepted, policy) = match &**access {
            Access::Public => (Vec::new(), None),
            Access::Bearer { accepted, policy } => {
                let accepted = token::accepted(accepted, issuers);
                let named = accepted.map(|a| (&*a.issuer.name, a.audiences));
                (named.collect(), Some(policy))
            }
        };
        Self {
            shape,
            accepted,
            policy,
            to,
            connecting: target.settings(),
            tls: target.mark(),
            strip_prefix: strip_prefix.is_some(),
            keep_authorization: *keep_authorization,
            own_host: *own_host,
            upgrade: *upgrade,
            timeout: *timeout,
            max_body: *max_body,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Config, Problems, Source};
    use crate::crypto;
    use crate::snapshot::Earlier;

    const ISSUERS: &str = r#"
[issuer.one]
iss = "https://one.example"
aud = "api"
secret = "secret"
[issuer.two]
iss = "https://two.example"
aud = "api"
secret = "secret"
"#;

    const ROUTES: &str = r#"
[[route]]
name = "still"
path = "/still/"
to = "http://127.0.0.1:3000"
auth = ["one", "two"]
[[route]]
name = "it"
host = "a.example"
methods = ["GET"]
path = "/a/"
to = "http://127.0.0.1:3000"
auth = "one"
aud = "x"
identity = { X-Auth-Subject = "sub" }
upstream = { max_connections = 20 }
strip_prefix = false
keep_authorization = false
host_header = "client"
upgrade = false
timeout = "60s"
max_body = "10MiB"
"#;

    /// What a file would make of the routes above if this in it were that.
    fn changes(from: &str, to: &str) -> Changes {
        let folder = tempfile::tempdir().unwrap();
        let secret: [u8; 48] = crypto::random();
        std::fs::write(folder.path().join("secret"), secret).unwrap();
        let path = folder.path().join("jotgate.toml");
        let parse = |text| {
            let path = path.clone();
            config::parse(&Source { path, text }).0
        };
        let snapshot = |config: &Config, earlier: Option<Earlier<'_>>| {
            let mut problems = Problems::default();
            let built = Snapshot::build(config, earlier, &mut problems);
            built.unwrap_or_else(|| panic!("{problems:?}"))
        };
        assert!(ROUTES.contains(from), "{from}");
        let config = parse([ISSUERS, ROUTES].concat());
        let before = snapshot(&config, None);
        let earlier = Earlier {
            snapshot: &before,
            config: &config,
            has_stayed: &|_| true,
        };
        let config = parse([ISSUERS, &ROUTES.replacen(from, to, 1)].concat());
        snapshot(&config, Some(earlier)).changes_since(&before)
    }

    #[test]
    fn whatever_is_different_in_a_route_is_a_change_of_it() {
        for (from, to) in [
            ("a.example", "b.example"),
            (r#"["GET"]"#, r#"["POST"]"#),
            (r#"path = "/a/""#, r#"path = "/b/""#),
            (
                "to = \"http://127.0.0.1:3000\"\nauth = \"one\"",
                "to = \"http://127.0.0.1:3000/base\"\nauth = \"one\"",
            ),
            ("auth = \"one\"", "auth = \"two\""),
            ("aud = \"x\"", "aud = \"y\""),
            ("\"sub\"", "\"email\""),
            ("max_connections = 20", "max_connections = 21"),
            ("strip_prefix = false", "strip_prefix = true"),
            ("keep_authorization = false", "keep_authorization = true"),
            ("host_header = \"client\"", "host_header = \"target\""),
            ("upgrade = false", "upgrade = true"),
            ("timeout = \"60s\"", "timeout = \"61s\""),
            ("max_body = \"10MiB\"", ""),
        ] {
            let changes = changes(from, to);
            assert_eq!(changes.to_string(), "~route it", "{from} to {to}");
        }
    }

    #[test]
    fn a_route_that_comes_or_goes_is_named() {
        assert!(changes("\"it\"", "\"it\"").are_none());
        let renamed = changes("\"it\"", "\"other\"");
        assert_eq!(renamed.to_string(), "+route other, -route it");
    }
}
