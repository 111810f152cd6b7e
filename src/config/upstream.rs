//! `[upstream]`, and a route's own `upstream = { … }`: how upstreams are connected to.

use std::time::Duration;

use super::check::Check;
use super::file::Reader;
use super::item::Item;
use super::{CertificatePair, Connecting, UpstreamTls, defaults};
use crate::upstream::Settings;

impl Check<'_> {
    /// What holds for every route that does not say otherwise, and how often names are looked up.
    pub(super) fn upstream(&mut self, root: &mut Reader<'_, '_>) -> (Connecting, Duration) {
        let seconds = Duration::from_secs;
        let mut connecting = Connecting {
            settings: Settings {
                connect_timeout: seconds(defaults::CONNECT_TIMEOUT_SECONDS),
                keepalive: seconds(defaults::UPSTREAM_KEEPALIVE_SECONDS),
                max_age: seconds(defaults::UPSTREAM_MAX_AGE_SECONDS),
                max_connections: defaults::UPSTREAM_MAX_CONNECTIONS,
                max_waiting: defaults::UPSTREAM_MAX_WAITING,
                wait: seconds(defaults::UPSTREAM_WAIT_SECONDS),
            },
            tls: UpstreamTls::default(),
        };
        let mut resolve = seconds(defaults::RESOLVE_SECONDS);
        if let Some(mut table) = self.table(root, "upstream") {
            if let Some(item) = table.take("resolve") {
                resolve = item.duration(self.problems).unwrap_or(resolve);
            }
            connecting = self.connecting(&mut table, &connecting);
            table.finish(self.problems);
        }
        (connecting, resolve)
    }

    /// What a route says of its own, and for the rest what holds for all.
    pub(super) fn route_upstream(
        &mut self,
        item: Option<&Item<'_, '_>>,
        common: &Connecting,
    ) -> Connecting {
        let Some(mut table) = item.and_then(|item| item.table(self.problems)) else {
            return common.clone();
        };
        let own = self.connecting(&mut table, common);
        table.finish(self.problems);
        own
    }

    fn connecting(&mut self, table: &mut Reader<'_, '_>, common: &Connecting) -> Connecting {
        let mut settings = common.settings.clone();
        for (key, field) in [
            ("connect_timeout", &mut settings.connect_timeout),
            ("keepalive", &mut settings.keepalive),
            ("max_age", &mut settings.max_age),
            ("wait", &mut settings.wait),
        ] {
            if let Some(item) = table.take(key)
                && let Some(duration) = item.duration(self.problems)
            {
                *field = duration;
            }
        }
        for (key, field) in [
            ("max_connections", &mut settings.max_connections),
            ("max_waiting", &mut settings.max_waiting),
        ] {
            if let Some(item) = table.take(key)
                && let Some(number) = item.number(self.problems)
            {
                *field = usize::try_from(number).unwrap_or(usize::MAX);
            }
        }
        Connecting {
            settings,
            tls: self.upstream_tls(table, &common.tls),
        }
    }

    fn upstream_tls(&mut self, table: &mut Reader<'_, '_>, common: &UpstreamTls) -> UpstreamTls {
        let ca = table.take("ca").and_then(|item| self.file(&item));
        let (cert, key) = (table.take("cert"), table.take("key"));
        let identity = match (&cert, &key) {
            (Some(cert), Some(key)) => self
                .file(cert)
                .zip(self.file(key))
                .map(|(cert, key)| CertificatePair { cert, key }),
            (Some(alone), None) | (None, Some(alone)) => {
                self.problems.push(
                    alone
                        .problem("a certificate and its key come together")
                        .help("say both cert and key"),
                );
                None
            }
            (None, None) => None,
        };
        UpstreamTls {
            ca: ca.or_else(|| common.ca.clone()),
            identity: identity.or_else(|| common.identity.clone()),
        }
    }
}
