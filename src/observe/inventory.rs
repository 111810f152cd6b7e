//! What a configuration generation consists of, as metrics: its certificates and keys. And which
//! routes and upstreams it has, for theirs.
//!
//! A reload replaces the whole set under one lock, so that a scrape sees either the old generation
//! or the new one, and a key that is gone is gone.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use super::by_name::encode;

/// The certificates and keys of one configuration generation. Times are Unix seconds.
#[derive(Debug, Default)]
pub struct Inventory {
    generation: u64,
    certificates: BTreeMap<Arc<str>, i64>,
    keys: BTreeMap<Arc<str>, i64>,
    key_expiries: BTreeMap<(Arc<str>, Arc<str>), i64>,
    routes: HashSet<Arc<str>>,
    upstreams: HashSet<Arc<str>>,
}

impl Inventory {
    /// The inventory of generation `generation`, still empty.
    pub fn new(generation: u64) -> Self {
        Self {
            generation,
            ..Self::default()
        }
    }

    /// Adds a certificate that ends at `not_after`. Of several with one name, the first to end
    /// is told.
    pub fn add_certificate(&mut self, name: &str, not_after: i64) {
        insert_earliest(&mut self.certificates, name.into(), not_after);
    }

    /// Adds one of `issuer`'s keys, with the end of the certificate it came in, if it came in one.
    pub fn add_key(&mut self, issuer: &str, kid: &str, not_after: Option<i64>) {
        *self.keys.entry(issuer.into()).or_default() += 1;
        if let Some(not_after) = not_after {
            insert_earliest(
                &mut self.key_expiries,
                (issuer.into(), kid.into()),
                not_after,
            );
        }
    }

    /// Adds a route by its name.
    pub fn add_route(&mut self, name: &str) {
        self.routes.insert(Arc::from(name));
    }

    /// Adds an upstream by its name.
    pub fn add_upstream(&mut self, name: &Arc<str>) {
        self.upstreams.insert(Arc::clone(name));
    }

    pub(super) fn take_routes(&mut self) -> HashSet<Arc<str>> {
        std::mem::take(&mut self.routes)
    }

    pub(super) fn take_upstreams(&mut self) -> HashSet<Arc<str>> {
        std::mem::take(&mut self.upstreams)
    }
}

fn insert_earliest<K: Ord>(expiries: &mut BTreeMap<K, i64>, key: K, not_after: i64) {
    expiries
        .entry(key)
        .and_modify(|earliest| *earliest = not_after.min(*earliest))
        .or_insert(not_after);
}

/// The inventory in force.
#[derive(Debug, Default)]
pub(super) struct CurrentInventory(Mutex<Inventory>);

impl CurrentInventory {
    pub(super) fn replace(&self, inventory: Inventory) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = inventory;
    }
}

impl Collector for CurrentInventory {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let inventory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        encoder
            .encode_descriptor(
                "config_generation",
                "Generation of the configuration in force.",
                None,
                MetricType::Gauge,
            )?
            .encode_gauge(&inventory.generation)?;
        encode(
            &mut encoder,
            (
                "certificate_expiry",
                "End of a certificate that clients or upstreams are shown, in Unix time",
                Some(Unit::Seconds),
            ),
            inventory
                .certificates
                .iter()
                .map(|(name, end)| ([("name", &**name)], ConstGauge::new(*end))),
        )?;
        encode(
            &mut encoder,
            ("keys", "Keys that verify tokens of an issuer", None),
            inventory
                .keys
                .iter()
                .map(|(issuer, count)| ([("issuer", &**issuer)], ConstGauge::new(*count))),
        )?;
        encode(
            &mut encoder,
            (
                "key_expiry",
                "End of a key's certificate, in Unix time",
                Some(Unit::Seconds),
            ),
            inventory.key_expiries.iter().map(|((issuer, kid), end)| {
                (
                    [("issuer", &**issuer), ("kid", &**kid)],
                    ConstGauge::new(*end),
                )
            }),
        )
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn a_new_generation_replaces_every_key_and_certificate_of_the_old() {
        let current = Arc::new(CurrentInventory::default());
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Arc::clone(&current)));

        let mut first = Inventory::new(1);
        first.add_certificate("shop.example", 2_000);
        first.add_certificate("shop.example", 1_000);
        first.add_key("main", "old", Some(500));
        current.replace(first);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        assert!(
            text.contains("certificate_expiry_seconds{name=\"shop.example\"} 1000\n"),
            "{text}"
        );
        assert!(
            text.contains("key_expiry_seconds{issuer=\"main\",kid=\"old\"} 500\n"),
            "{text}"
        );

        let mut second = Inventory::new(2);
        second.add_key("main", "new", None);
        second.add_key("main", "newer", None);
        current.replace(second);
        text.clear();
        encode(&mut text, &registry).unwrap();
        assert!(text.contains("config_generation 2\n"), "{text}");
        assert!(text.contains("keys{issuer=\"main\"} 2\n"), "{text}");
        assert!(
            !text.contains("shop.example") && !text.contains("kid="),
            "{text}"
        );
    }
}
