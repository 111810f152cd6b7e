//! Tests of `metrics`.

use std::collections::HashSet;
use std::thread;
use std::time::Duration;

use super::*;
use crate::observe::AccessEvent;
use crate::observe::event::tests::{event, id};

fn metrics() -> Metrics {
    metrics_of(&RouteNames::default())
}

fn metrics_of(names: &RouteNames) -> Metrics {
    Metrics::new(&Readiness::starting(), names.clone(), DurationsOf::All)
}

/// A request to the route of this name.
fn to(names: &RouteNames, route: &str) -> AccessEvent {
    AccessEvent {
        route: Some(names.name(route)),
        ..event()
    }
}

/// Checks the grammar of OpenMetrics 1.0 as far as we use it, and returns the samples.
fn samples(text: &str) -> Vec<(String, f64)> {
    let mut samples = Vec::new();
    let mut families = HashSet::new();
    let mut series = HashSet::new();
    let mut family = String::new();
    let body = text.strip_suffix("# EOF\n").expect("the end is marked");
    for line in body.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let [kind, name, text] = comment.splitn(3, ' ').collect::<Vec<_>>()[..] else {
                panic!("{line}");
            };
            assert!(
                ["HELP", "TYPE", "UNIT"].contains(&kind) && !text.is_empty(),
                "{line}"
            );
            if kind == "HELP" {
                assert!(families.insert(name.to_owned()), "a family twice: {line}");
                assert!(text.ends_with('.'), "{line}");
                family = name.to_owned();
            }
            assert_eq!(name, family, "{line}");
            continue;
        }
        assert!(
            line.starts_with("jotgate_") && line.starts_with(&family),
            "{line}"
        );
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        assert!(series.insert(name.to_owned()), "a series twice: {line}");
        if let Some((_, labels)) = name.split_once('{') {
            let labels = labels.strip_suffix("\"}").expect("labels end");
            for label in labels.split("\",") {
                let (key, value) = label.split_once("=\"").expect("a label");
                assert!(key.bytes().all(|byte| byte.is_ascii_lowercase()), "{line}");
                assert!(!value.contains(['"', '\n']), "{line}");
            }
        }
        samples.push((name.to_owned(), value.parse().expect("a number")));
    }
    samples
}

fn value(metrics: &Metrics, series: &str) -> f64 {
    let samples = samples(&metrics.encode());
    let found = samples.iter().find(|(name, _)| name == series);
    found
        .unwrap_or_else(|| panic!("no {series} in {samples:#?}"))
        .1
}

#[test]
fn every_row_is_well_formed_and_known_labels_start_at_zero() {
    let names = RouteNames::default();
    let metrics = metrics_of(&names);
    metrics.count_request(&to(&names, "orders"));
    let mut inventory = Inventory::new(7);
    inventory.add_route("orders");
    inventory.add_certificate("api.example.com", 1_800_000_000);
    inventory.add_key("main", "2026-01", Some(1_800_000_000));
    metrics.publish(inventory);
    for (series, expected) in [
        (
            "jotgate_requests_total{route=\"orders\",status=\"200\",reason=\"ok\"}",
            1.0,
        ),
        ("jotgate_request_duration_seconds_count", 1.0),
        ("jotgate_request_duration_seconds_sum", 0.012345),
        ("jotgate_request_duration_seconds_bucket{le=\"0.01\"}", 0.0),
        ("jotgate_request_duration_seconds_bucket{le=\"0.025\"}", 1.0),
        ("jotgate_request_duration_seconds_bucket{le=\"+Inf\"}", 1.0),
        (
            "jotgate_upstream_duration_seconds_bucket{le=\"0.0005\"}",
            1.0,
        ),
        ("jotgate_connections_open{listener=\"https\"}", 0.0),
        ("jotgate_connections_total{listener=\"admin\"}", 0.0),
        (
            "jotgate_tls_handshakes_total{result=\"no_common_protocol\"}",
            0.0,
        ),
        ("jotgate_token_cache_total{result=\"hit\"}", 0.0),
        ("jotgate_access_log_dropped_total", 0.0),
        ("jotgate_messages_dropped_total", 0.0),
        ("jotgate_ready", 0.0),
        ("jotgate_config_generation", 7.0),
        ("jotgate_keys{issuer=\"main\"}", 1.0),
        (
            "jotgate_certificate_expiry_seconds{name=\"api.example.com\"}",
            1.8e9,
        ),
        (
            "jotgate_key_expiry_seconds{issuer=\"main\",kid=\"2026-01\"}",
            1.8e9,
        ),
    ] {
        assert_eq!(value(&metrics, series), expected, "{series}");
    }
    let build = format!(
        "jotgate_build_info{{version=\"{}\"}}",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(value(&metrics, &build), 1.0);
}

#[test]
fn each_count_goes_to_its_own_series() {
    let metrics = metrics();
    metrics.count_handshake(Handshake::Timeout);
    metrics.count_token_lookup(TokenLookup::Miss);
    assert_eq!(
        value(&metrics, "jotgate_tls_handshakes_total{result=\"timeout\"}"),
        1.0
    );
    assert_eq!(
        value(&metrics, "jotgate_tls_handshakes_total{result=\"ok\"}"),
        0.0
    );
    assert_eq!(
        value(&metrics, "jotgate_token_cache_total{result=\"miss\"}"),
        1.0
    );
    assert_eq!(
        value(&metrics, "jotgate_token_cache_total{result=\"hit\"}"),
        0.0
    );
}

#[test]
fn a_connection_is_open_as_long_as_its_guard() {
    let metrics = metrics();
    let open = "jotgate_connections_open{listener=\"https\"}";
    let guards = [Listener::Https, Listener::Https, Listener::Http]
        .map(|listener| metrics.open_connection(listener));
    assert_eq!(value(&metrics, open), 2.0);
    drop(guards);
    assert_eq!(value(&metrics, open), 0.0);
    assert_eq!(
        value(&metrics, "jotgate_connections_total{listener=\"https\"}"),
        2.0
    );
}

#[test]
fn t152_what_clients_invent_never_becomes_a_series() {
    let names = RouteNames::default();
    let metrics = metrics_of(&names);
    let strange = |number: u32| AccessEvent {
        path: format!("/{number}").as_str().into(),
        host: Some(format!("{number}.example").as_str().into()),
        method: format!("M{number}").parse().unwrap(),
        request_id: id(&number.to_string()),
        kid: Some(number.to_string().into()),
        subject: Some(number.to_string().into()),
        ..to(&names, "orders")
    };
    metrics.count_request(&strange(0));
    let before = samples(&metrics.encode()).len();
    for number in 1..10_000 {
        metrics.count_request(&strange(number));
    }
    assert_eq!(samples(&metrics.encode()).len(), before);
    let series = "jotgate_requests_total{route=\"orders\",status=\"200\",reason=\"ok\"}";
    assert_eq!(value(&metrics, series), 10_000.0);
}

#[test]
fn workers_share_their_counters() {
    let names = RouteNames::default();
    let metrics = metrics_of(&names);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for number in 0..1_000 {
                    let (status, reason) = [(200, "ok"), (401, "expired")][number % 2];
                    let route = (number % 4 != 3).then(|| names.name("orders"));
                    let duration = Duration::from_millis(1);
                    let upstream = None;
                    metrics.count_request(&AccessEvent {
                        status,
                        reason,
                        route,
                        duration,
                        upstream,
                        ..event()
                    });
                }
            });
        }
    });
    for (labels, expected) in [
        ("route=\"orders\",status=\"200\",reason=\"ok\"", 2_000.0),
        (
            "route=\"orders\",status=\"401\",reason=\"expired\"",
            1_000.0,
        ),
        ("route=\"-\",status=\"401\",reason=\"expired\"", 1_000.0),
    ] {
        assert_eq!(
            value(&metrics, &format!("jotgate_requests_total{{{labels}}}")),
            expected
        );
    }
    assert_eq!(
        value(&metrics, "jotgate_request_duration_seconds_count"),
        4_000.0
    );
    assert_eq!(value(&metrics, "jotgate_request_duration_seconds_sum"), 4.0);
    assert_eq!(
        value(&metrics, "jotgate_upstream_duration_seconds_count"),
        0.0
    );
}

#[test]
fn a_configured_name_with_quotes_stays_one_label() {
    let names = RouteNames::default();
    let metrics = metrics_of(&names);
    metrics.count_request(&to(&names, "a\"\n\\"));
    assert!(
        metrics
            .encode()
            .contains(r#"{route="a\"\n\\",status="200",reason="ok"} 1"#)
    );
}

#[test]
fn durations_are_told_by_route_only_if_asked() {
    for (whose, line) in [
        (
            DurationsOf::All,
            "jotgate_request_duration_seconds_count 1\n",
        ),
        (
            DurationsOf::EachRoute,
            "jotgate_request_duration_seconds_count{route=\"orders\"} 1\n",
        ),
    ] {
        let names = RouteNames::default();
        let metrics = Metrics::new(&Readiness::starting(), names.clone(), whose);
        metrics.count_request(&to(&names, "orders"));
        let text = metrics.encode();
        assert!(text.contains(line), "{whose:?} {text}");
    }
}

#[test]
fn what_connections_do_is_counted_while_they_do_it() {
    let metrics = metrics();
    let value = |metrics: &Metrics, number| {
        let line = format!("jotgate_connections_in_state{{state=\"parked\"}} {number}\n");
        assert!(metrics.encode().contains(&line), "{}", metrics.encode());
    };
    let parked = metrics.enter(ConnectionState::Parked);
    value(&metrics, 1);
    drop(parked);
    value(&metrics, 0);
}
