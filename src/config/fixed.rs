//! The settings that a process is started with and keeps until its end.

use std::collections::BTreeMap;

use super::Config;

/// Their values, by the names that the file has for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fixed(BTreeMap<&'static str, String>);

impl Fixed {
    /// Those that a configuration asks for.
    pub fn of(config: &Config) -> Self {
        let Config { listen, limits, .. } = config;
        let values = [
            ("[listen] https", format!("{:?}", listen.https)),
            ("[listen] http", format!("{:?}", listen.http)),
            ("[listen] admin", format!("{:?}", listen.admin)),
            ("[listen] side_by_side", listen.side_by_side.to_string()),
            ("[limits] connections", limits.connections.to_string()),
            ("[log] format", format!("{:?}", config.log.format)),
            (
                "[metrics] by_route",
                format!("{:?}", config.metrics.durations),
            ),
            // As it is written: who asks may have other cores than who runs.
            ("[server] workers", format!("{:?}", config.server.workers)),
            (
                "[server] token_cache",
                config.server.token_cache.to_string(),
            ),
        ];
        Self(values.into())
    }

    /// Each with its value.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_str()))
    }

    /// Whether this is the name of one.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The names of those that have another value there.
    pub fn differing(&self, other: &Self) -> Vec<&'static str> {
        let differing = self
            .0
            .iter()
            .filter(|(name, value)| other.0.get(*name) != Some(*value));
        differing.map(|(name, _)| *name).collect()
    }
}
