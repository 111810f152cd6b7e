//! `[tls]`, `[limits]`, `[log]`, `[reload]` and `[server]`: each key has a default.

use std::time::Duration;

use http::HeaderValue;

use super::check::Check;
use super::file::Reader;
use super::item::Item;
use super::{Limits, Log, Metrics, Reload, Server, Tls, UnknownSni, defaults};
use crate::observe::{DurationsOf, LogFormat};
use crate::tls::MinVersion;

impl Check<'_> {
    pub(super) fn tls(&mut self, root: &mut Reader<'_, '_>) -> Tls {
        let mut tls = Tls {
            min_version: MinVersion::Tls12,
            hsts: Some(HeaderValue::from_static(defaults::HSTS)),
            unknown_sni: UnknownSni::Default,
        };
        let Some(mut table) = self.table(root, "tls") else {
            return tls;
        };
        if let Some(item) = table.take("min_version") {
            let choices = [("1.2", MinVersion::Tls12), ("1.3", MinVersion::Tls13)];
            tls.min_version = item
                .choice(&choices, self.problems)
                .unwrap_or(tls.min_version);
        }
        if let Some(item) = table.take("hsts") {
            tls.hsts = self.hsts(&item);
        }
        if let Some(item) = table.take("unknown_sni") {
            let choices = [
                ("default", UnknownSni::Default),
                ("refuse", UnknownSni::Refuse),
            ];
            tls.unknown_sni = item
                .choice(&choices, self.problems)
                .unwrap_or(tls.unknown_sni);
        }
        table.finish(self.problems);
        tls
    }

    fn hsts(&mut self, item: &Item<'_, '_>) -> Option<HeaderValue> {
        if item.is(false) {
            return None;
        }
        let Some(text) = item.value.get_ref().as_str() else {
            let help = "write \"max-age=SECONDS\"; without the key it is a year";
            self.problems.push(item.wrong_type().help(help));
            return None;
        };
        let value = HeaderValue::from_str(text).ok().filter(|_| {
            text.split(';').any(|directive| {
                let directive = directive.trim().to_ascii_lowercase();
                directive
                    .strip_prefix("max-age=")
                    .is_some_and(|age| age.parse::<u64>().is_ok())
            })
        });
        if value.is_none() {
            self.problems.push(
                item.problem("not a Strict-Transport-Security value")
                    .label("expected \"max-age=SECONDS\", or false for none"),
            );
        }
        value
    }

    pub(super) fn limits(&mut self, root: &mut Reader<'_, '_>) -> Limits {
        let seconds = Duration::from_secs;
        let mut limits = Limits {
            connections: defaults::CONNECTIONS,
            connections_per_address: defaults::CONNECTIONS_PER_ADDRESS,
            streams: u32::try_from(defaults::STREAMS).unwrap_or(u32::MAX),
            header_bytes: defaults::HEADER_BYTES,
            header_fields: defaults::HEADER_FIELDS,
            handshake_timeout: seconds(defaults::HANDSHAKE_TIMEOUT_SECONDS),
            header_timeout: seconds(defaults::HEADER_TIMEOUT_SECONDS),
            idle_timeout: seconds(defaults::IDLE_TIMEOUT_SECONDS),
            body_timeout: seconds(defaults::BODY_TIMEOUT_SECONDS),
            tunnel_idle_timeout: seconds(defaults::TUNNEL_IDLE_TIMEOUT_SECONDS),
            max_stream_age: seconds(defaults::MAX_STREAM_AGE_SECONDS),
        };
        let Some(mut table) = self.table(root, "limits") else {
            return limits;
        };
        for (key, field) in [
            ("connections", &mut limits.connections),
            (
                "connections_per_address",
                &mut limits.connections_per_address,
            ),
            ("header_fields", &mut limits.header_fields),
        ] {
            if let Some(item) = table.take(key)
                && let Some(number) = item.number(self.problems)
            {
                *field = usize::try_from(number).unwrap_or(usize::MAX);
            }
        }
        if let Some(item) = table.take("header_bytes")
            && let Some(bytes) = item.size(self.problems)
        {
            limits.header_bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
            if !HEADER_BYTES.contains(&bytes) {
                let least_and_most = "must be from \"4KiB\" to \"64KiB\"";
                self.problems.push(item.problem(least_and_most));
            }
        }
        if let Some(item) = table.take("streams")
            && let Some(number) = item.number(self.problems)
        {
            limits.streams = u32::try_from(number).unwrap_or(u32::MAX);
        }
        for (key, field) in [
            ("handshake_timeout", &mut limits.handshake_timeout),
            ("header_timeout", &mut limits.header_timeout),
            ("idle_timeout", &mut limits.idle_timeout),
            ("body_timeout", &mut limits.body_timeout),
            ("tunnel_idle_timeout", &mut limits.tunnel_idle_timeout),
            ("max_stream_age", &mut limits.max_stream_age),
        ] {
            if let Some(item) = table.take(key)
                && let Some(duration) = item.duration(self.problems)
            {
                *field = duration;
            }
        }
        table.finish(self.problems);
        limits
    }

    pub(super) fn log(&mut self, root: &mut Reader<'_, '_>) -> Log {
        let mut log = Log {
            format: LogFormat::Json,
            subject: false,
        };
        let Some(mut table) = self.table(root, "log") else {
            return log;
        };
        if let Some(item) = table.take("format") {
            let choices = [("json", LogFormat::Json), ("text", LogFormat::Text)];
            log.format = item.choice(&choices, self.problems).unwrap_or(log.format);
        }
        if let Some(item) = table.take("subject") {
            log.subject = item.truth(self.problems).unwrap_or(log.subject);
        }
        table.finish(self.problems);
        log
    }

    pub(super) fn metrics(&mut self, root: &mut Reader<'_, '_>) -> Metrics {
        let mut metrics = Metrics {
            durations: DurationsOf::All,
        };
        if let Some(mut table) = self.table(root, "metrics") {
            if let Some(item) = table.take("by_route")
                && item.truth(self.problems) == Some(true)
            {
                metrics.durations = DurationsOf::EachRoute;
            }
            table.finish(self.problems);
        }
        metrics
    }

    pub(super) fn reload(&mut self, root: &mut Reader<'_, '_>) -> Reload {
        let mut reload = Reload {
            poll: Duration::from_secs(defaults::RELOAD_POLL_SECONDS),
        };
        if let Some(mut table) = self.table(root, "reload") {
            if let Some(item) = table.take("poll")
                && let Some(duration) = item.duration(self.problems)
            {
                reload.poll = duration;
            }
            table.finish(self.problems);
        }
        reload
    }

    pub(super) fn server(&mut self, root: &mut Reader<'_, '_>) -> Server {
        let mut server = Server {
            workers: None,
            token_cache: defaults::TOKEN_CACHE_BYTES,
            drain: Duration::from_secs(defaults::DRAIN_SECONDS),
            drain_idle: Duration::from_secs(defaults::DRAIN_IDLE_SECONDS),
        };
        let Some(mut table) = self.table(root, "server") else {
            return server;
        };
        if let Some(item) = table.take("workers")
            && let Some(number) = item.number(self.problems)
        {
            server.workers = Some(usize::try_from(number).unwrap_or(1));
        }
        if let Some(item) = table.take("token_cache") {
            server.token_cache = self.token_cache(&item);
        }
        for (key, field) in [
            ("drain", &mut server.drain),
            ("drain_idle", &mut server.drain_idle),
        ] {
            if let Some(item) = table.take(key)
                && let Some(duration) = item.duration(self.problems)
            {
                *field = duration;
            }
        }
        table.finish(self.problems);
        server
    }

    fn token_cache(&mut self, item: &Item<'_, '_>) -> usize {
        if item.value.get_ref().as_str() == Some("off") {
            return 0;
        }
        let Some(bytes) = item.size(self.problems) else {
            return 0;
        };
        if !TOKEN_CACHE_BYTES.contains(&bytes) {
            let bounds = "must be from \"1MiB\" to \"64GiB\", or \"off\"";
            self.problems.push(item.problem(bounds));
        }
        usize::try_from(bytes).unwrap_or(0)
    }
}

/// Less is not worth a cache; more is a mistake in the unit.
const TOKEN_CACHE_BYTES: std::ops::RangeInclusive<u64> = 1 << 20..=64 << 30;

/// What a head may be allowed: a token has to fit, and hyper's buffer is as large as the largest.
const HEADER_BYTES: std::ops::RangeInclusive<u64> = 4 * 1024..=64 * 1024;
