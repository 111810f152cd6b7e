//! `[listen]`: the addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::check::Check;
use super::file::Reader;
use super::item::Item;
use super::{CertificatePair, Listen, ListenAddress, Place, Problem, Severity};
use crate::trust::{Network, NetworkError, TrustedProxies};

impl Check<'_> {
    pub(super) fn listen(
        &mut self,
        root: &mut Reader<'_, '_>,
        certificates: &mut Vec<CertificatePair>,
    ) -> Listen {
        let mut listen = Listen {
            https: Vec::new(),
            http: Vec::new(),
            admin: Vec::new(),
            admin_public: false,
            public_port: None,
            trusted_proxies: TrustedProxies::default(),
            proxy_protocol: false,
            side_by_side: false,
        };
        let Some(item) = root.take("listen") else {
            if !root.misspells("listen") {
                self.problems.push(
                    Problem::of_root("there is no [listen] table")
                        .structural()
                        .help("add [listen] with https, cert and key"),
                );
            }
            return listen;
        };
        let Some(mut table) = item.table(self.problems) else {
            return listen;
        };
        let mut taken = Vec::new();
        if let Some(item) = table.require("https", self.problems) {
            listen.https = self.addresses(&item, &mut taken);
        }
        if let Some(item) = table.take("http") {
            listen.http = self.addresses(&item, &mut taken);
        }
        if let Some(item) = table.take("admin_public") {
            listen.admin_public = item.truth(self.problems) == Some(true);
        }
        if let Some(item) = table.take("admin") {
            listen.admin = self.addresses(&item, &mut taken);
            if !listen.admin_public && listen.admin.iter().any(|address| !is_private(*address)) {
                self.problems.push(
                    item.problem("health and metrics would be on a public address")
                        .help("listen on 127.0.0.1 or [::1], or say admin_public = true"),
                );
            }
        }
        listen.public_port = self.public_port(&mut table);
        self.proxies(&mut table, &mut listen);
        if let Some(item) = table.take("side_by_side") {
            listen.side_by_side = item.truth(self.problems) == Some(true);
        }
        certificates.extend(self.certificate(&mut table));
        table.finish(self.problems);
        listen
    }

    fn public_port(&mut self, table: &mut Reader<'_, '_>) -> Option<u16> {
        table
            .take("public_port")
            .and_then(|item| item.number(self.problems))
            .and_then(|port| u16::try_from(port).ok())
    }

    fn proxies(&mut self, table: &mut Reader<'_, '_>, listen: &mut Listen) {
        let named = table.take("trusted_proxies");
        if let Some(item) = &named {
            listen.trusted_proxies = self.networks(item);
        }
        let Some(item) = table.take("proxy_protocol") else {
            return;
        };
        listen.proxy_protocol = item.truth(self.problems) == Some(true);
        let names_nobody = named.is_none_or(|item| item.one_or_many().is_empty());
        if listen.proxy_protocol && names_nobody {
            self.problems.push(
                item.problem("nobody could connect: there is no trusted proxy")
                    .help("name the proxies that send the header in trusted_proxies"),
            );
        }
    }

    fn networks(&mut self, item: &Item<'_, '_>) -> TrustedProxies {
        let items = item.one_or_many();
        items.iter().filter_map(|item| self.network(item)).collect()
    }

    fn network(&mut self, item: &Item<'_, '_>) -> Option<Network> {
        let text = item.text(self.problems)?;
        match text.parse::<Network>() {
            Ok(network) => {
                if network.is_everybody() {
                    self.problems.push(Problem::warning(
                        item.place(),
                        format!("{}: every client can say that it is another", item.path),
                    ));
                }
                Some(network)
            }
            Err(error) => {
                let problem = item.problem(format!("\"{text}\" {error}"));
                self.problems.push(match error {
                    NetworkError::Malformed => problem
                        .label("expected \"10.0.0.0/8\", \"2001:db8::/32\" or a single address"),
                    NetworkError::NotTheFirst(meant) => {
                        problem.help(format!("did you mean \"{meant}\"?"))
                    }
                });
                None
            }
        }
    }

    /// An address, and how it is written.
    fn address<'t>(&mut self, item: &Item<'t, '_>) -> Option<(&'t str, ListenAddress)> {
        if let Some(port) = item.value.get_ref().as_integer() {
            let help = format!(
                "for this port of every interface write \":{}\"",
                port.as_str()
            );
            self.problems.push(item.wrong_type().help(help));
            return None;
        }
        let text = item.text(self.problems)?;
        let address = parse_address(text);
        if address.is_none() {
            let expected =
                "expected \"127.0.0.1:8443\", \"[::1]:8443\" or \":443\" for every interface";
            let problem = item.problem(format!("\"{text}\" is not an address"));
            self.problems.push(problem.label(expected));
        }
        Some((text, address?))
    }

    fn addresses(
        &mut self,
        item: &Item<'_, '_>,
        taken: &mut Vec<(ListenAddress, Place)>,
    ) -> Vec<ListenAddress> {
        let mut addresses = Vec::new();
        let items = item.one_or_many();
        if items.is_empty() {
            self.problems
                .push(item.problem("must name at least one address"));
        }
        for item in items {
            let Some((text, address)) = self.address(&item) else {
                continue;
            };
            let other = taken.iter().find(|(other, _)| overlap(*other, address));
            let problem = other.map(|(other, place)| {
                let problem = if is_for_certain(*other, address) {
                    item.problem(format!("\"{text}\" is taken twice"))
                } else {
                    let text =
                        format!("\"{text}\" overlaps another address, and seldom can both be had");
                    Problem::warning(item.place(), text)
                };
                problem
                    .also(place.clone(), "here")
                    .help("\":443\" alone is port 443 of every interface, IPv6 and IPv4")
            });
            if problem
                .as_ref()
                .is_none_or(|p| p.severity == Severity::Warning)
            {
                taken.push((address, item.place()));
                addresses.push(address);
            }
            problem
                .into_iter()
                .for_each(|problem| self.problems.push(problem));
        }
        addresses
    }
}

impl Listen {
    /// The port of the first `https`.
    pub fn https_port(&self) -> u16 {
        self.https.first().map_or(443, |address| address.port())
    }
}

impl ListenAddress {
    /// The port; 0 is any free one.
    pub const fn port(self) -> u16 {
        match self {
            Self::Any(port) => port,
            Self::Exact(address) => address.port(),
        }
    }
}

impl std::fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Any(port) => write!(f, ":{port}"),
            Self::Exact(address) => address.fmt(f),
        }
    }
}

fn parse_address(text: &str) -> Option<ListenAddress> {
    match text.strip_prefix(':') {
        Some(port) => port.parse().ok().map(ListenAddress::Any),
        None => text.parse::<SocketAddr>().ok().map(ListenAddress::Exact),
    }
}

/// Whether two addresses cannot both be listened on; port 0 is never the same twice.
fn overlap(one: ListenAddress, other: ListenAddress) -> bool {
    one.port() == other.port()
        && one.port() != 0
        && (one == other || includes(one, other) || includes(other, one))
}

/// Whether two that overlap are so whoever opens them. A service manager may have opened one for
/// IPv6 alone, and beside another gateway the kernel allows both.
fn is_for_certain(one: ListenAddress, other: ListenAddress) -> bool {
    let is_every = |address| matches!(address, ListenAddress::Any(_));
    one == other || is_every(one) || is_every(other)
}

/// Whether listening on one address is listening on the other, too, as far as their hosts go.
fn includes(one: ListenAddress, other: ListenAddress) -> bool {
    let ListenAddress::Exact(one) = one else {
        return true;
    };
    // Those of IPv4 come to it as well.
    let is_every = one.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let is_every_v4 = one.ip() == IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let is_v4 = |address: SocketAddr| address.ip().to_canonical().is_ipv4();
    is_every || (is_every_v4 && matches!(other, ListenAddress::Exact(other) if is_v4(other)))
}

/// Whether only this machine reaches an address.
fn is_private(address: ListenAddress) -> bool {
    match address {
        ListenAddress::Any(_) => false,
        ListenAddress::Exact(address) => address.ip().to_canonical().is_loopback(),
    }
}
