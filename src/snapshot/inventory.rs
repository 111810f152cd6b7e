//! What a snapshot consists of, for the operator.

use std::collections::HashSet;
use std::fmt::Write;

use super::Snapshot;
use crate::clock::NumericDate;
use crate::observe::Inventory;
use crate::tls::Certificate;

impl Snapshot {
    /// What it consists of, as metrics.
    pub fn inventory(&self) -> Inventory {
        let mut inventory = Inventory::new(self.generation);
        for (_, route) in self.routes.iter_in_order() {
            inventory.add_route(route.name.as_str());
        }
        for target in self.targets.iter() {
            inventory.add_upstream(target.name());
        }
        let shown = self.shown_to_upstreams().into_iter();
        for certificate in self.certificates.iter().chain(shown) {
            let end = certificate.validity.ends.seconds().cast_signed();
            inventory.add_certificate(certificate.label(), end);
        }
        for issuer in &self.issuers {
            for key in issuer.keys.iter() {
                inventory.add_key(
                    &issuer.name,
                    key.kid().or(key.thumbprint()).unwrap_or("-"),
                    key.expires().map(|at| at.seconds().cast_signed()),
                );
            }
        }
        inventory
    }

    /// Its generation and what it is made of, in lines for people.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        let since = date(self.since);
        let counts = format!(
            "{} and {}",
            counted(self.routes.iter_in_order().count(), "route"),
            counted(self.targets.len(), "upstream")
        );
        // Writing to a string does not fail.
        let _ = writeln!(text, "generation {} since {since}", self.generation);
        let _ = writeln!(text, "{counts}");
        for issuer in &self.issuers {
            let keys = counted(issuer.keys.len(), "key");
            let kids: Vec<_> = issuer.keys.kids().collect();
            let _ = writeln!(text, "issuer {}: {keys} {}", issuer.name, kids.join(" "));
        }
        for certificate in self.certificates.iter() {
            let names = certificate.names.join(" ");
            let expires = date(certificate.validity.ends);
            let _ = writeln!(text, "certificate until {expires}: {names}");
        }
        for certificate in self.shown_to_upstreams() {
            let (expires, name) = (date(certificate.validity.ends), certificate.label());
            let _ = writeln!(text, "certificate for upstreams until {expires}: {name}");
        }
        text
    }

    /// The certificates that upstreams are shown, each once.
    pub fn shown_to_upstreams(&self) -> Vec<&Certificate> {
        let mut seen = HashSet::new();
        let shown = self.targets.iter().filter_map(|target| target.identity());
        shown.filter(|one| seen.insert(one.digest)).collect()
    }
}

fn counted(count: usize, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        count => format!("{count} {noun}s"),
    }
}

/// As RFC 3339 has it.
fn date(date: NumericDate) -> String {
    let seconds = date.seconds().cast_signed();
    jiff::Timestamp::from_second(seconds).map_or_else(|_| "-".to_owned(), |at| at.to_string())
}
