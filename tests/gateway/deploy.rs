//! What stands in `deploy/`: the dashboard and the alerts speak of metrics that exist.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::{H1, Start, Upstream};

/// What a gateway exports: each name that a sample may have, and the labels seen with it if there
/// was one.
type Exported = BTreeMap<String, Option<Labels>>;

/// Names of labels, and the values seen for each.
type Labels = BTreeMap<String, BTreeSet<String>>;

#[tokio::test]
async fn the_dashboard_and_the_alerts_name_metrics_that_exist() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    assert_eq!(gateway.h1().await.get("/public/x", &[]).await.status, 200);
    gateway.events(1).await;
    let metrics = H1::plain(gateway.admin()).await.get("/metrics", &[]).await;
    assert_eq!(metrics.status, 200);
    let exported = exported(&metrics.text());
    assert!(exported.len() > 20, "{exported:#?}");

    let mut complaints = Vec::new();
    for (file, queries) in [dashboards(), rules()].concat() {
        let named = uses(&queries);
        assert!(!named.is_empty(), "{file} names no metric");
        for (name, selector) in named {
            let Some(labels) = exported.get(&name) else {
                complaints.push(format!("{file}: there is no {name}"));
                continue;
            };
            let Some(labels) = labels else {
                continue;
            };
            for (label, values) in selector {
                let complaint = complaint(labels, &label, &values);
                complaints.extend(complaint.map(|what| format!("{file}: {name}: {what}")));
            }
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn the_unit_tells_systemd_what_jotgate_tells_it() {
    let unit = fs::read_to_string(root().join("deploy/systemd/jotgate.service")).unwrap();
    let all = |key: &str| -> Vec<&str> {
        let settings = unit.lines().filter_map(|line| line.split_once('='));
        settings.filter(|s| s.0 == key).map(|s| s.1).collect()
    };
    // READY, RELOADING and STOPPING, and signs of life; that jotgate says all of them is a test of
    // its own.
    assert_eq!(all("Type"), ["notify"]);
    assert_eq!(all("WatchdogSec"), ["30"]);
    // A reload looks at the files, and fails if something is wrong with them.
    let check = "/usr/bin/jotgate check --quiet --config /etc/jotgate/jotgate.toml";
    assert_eq!(all("ExecReload"), ["-/bin/kill -HUP $MAINPID", check]);
    assert_eq!(all("ExecStartPre"), [check]);
    // The drain is not cut short.
    assert_eq!(all("KillSignal"), ["SIGTERM"]);
    let seconds = |key: &str| all(key)[0].parse::<u32>().unwrap();
    assert!(
        seconds("TimeoutStopSec") > 30,
        "the default of [server] drain"
    );
}

#[test]
fn the_unit_and_the_image_set_the_allocator_alike() {
    let read = |file: &str| fs::read_to_string(root().join(file)).unwrap();
    let (unit, image) = (read("deploy/systemd/jotgate.service"), read("Dockerfile"));
    let setting = |text: &str, instruction: &str| {
        let mut lines = text.lines();
        let line = lines.find_map(|line| {
            line.strip_prefix(instruction)?
                .strip_prefix("GLIBC_TUNABLES=")
        });
        line.unwrap().to_owned()
    };
    assert_eq!(setting(&unit, "Environment="), setting(&image, "ENV "));
}

#[test]
fn what_the_image_is_built_of_and_nothing_else_is_let_into_its_build() {
    let read = |file: &str| fs::read_to_string(root().join(file)).unwrap();
    let (image, let_in) = (read("Dockerfile"), read(".dockerignore"));
    let copied: BTreeSet<&str> = image
        .lines()
        .filter_map(|line| line.strip_prefix("COPY "))
        .filter(|line| !line.starts_with("--from"))
        .flat_map(|line| line.rsplit_once(' ').unwrap().0.split(' '))
        .collect();
    for source in &copied {
        // With a star it may be missing.
        assert!(
            source.ends_with('*') || root().join(source).exists(),
            "{source}"
        );
    }
    let copied: BTreeSet<&str> = copied.iter().map(|s| s.trim_end_matches('*')).collect();
    let let_in: BTreeSet<&str> = let_in.lines().filter_map(|l| l.strip_prefix('!')).collect();
    assert_eq!(copied, let_in);
}

#[test]
fn metrics_are_read_with_the_names_that_their_samples_have() {
    let exported = exported(
        "# TYPE jotgate_a counter\n\
         jotgate_a_total{route=\"/x,y/\",reason=\"ok\"} 1\n\
         # TYPE jotgate_b_seconds histogram\n\
         jotgate_b_seconds_bucket{le=\"+Inf\"} 0\n\
         # TYPE jotgate_c info\n\
         # TYPE jotgate_d gauge\n\
         # EOF\n",
    );
    let names: Vec<&str> = exported.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "jotgate_a_total",
            "jotgate_b_seconds_bucket",
            "jotgate_b_seconds_count",
            "jotgate_b_seconds_sum",
            "jotgate_c_info",
            "jotgate_d"
        ]
    );
    assert!(exported["jotgate_d"].is_none());
    let labels = exported["jotgate_a_total"].as_ref().unwrap();
    assert!(labels["route"].contains("/x,y/") && labels["reason"].contains("ok"));
}

#[test]
fn uses_are_found_with_their_labels() {
    let found = uses(
        "sum by (route) (rate(jotgate_a_total{job=~\"$job\", reason!~\"x|y\"}[5m])) / jotgate_b > 1",
    );
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].0, "jotgate_a_total");
    assert_eq!(found[0].1[0], ("job".to_owned(), "$job".to_owned()));
    assert_eq!(found[0].1[1], ("reason".to_owned(), "x|y".to_owned()));
    assert_eq!((found[1].0.as_str(), found[1].1.len()), ("jotgate_b", 0));
}

/// What is wrong with a label in a selector, if anything.
fn complaint(labels: &Labels, label: &str, values: &str) -> Option<String> {
    if ADDED_BY_PROMETHEUS.contains(&label) {
        return None;
    }
    let Some(seen) = labels.get(label) else {
        return Some(format!("it has no label {label}"));
    };
    let plain = values
        .split('|')
        .filter(|value| value.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
    let unknown = match label {
        // The series of these begin at zero, so every value is there.
        "listener" | "result" => plain.filter(|value| !seen.contains(*value)).collect(),
        "reason" => reasons_that_are_not_documented(plain),
        _ => Vec::new(),
    };
    (!unknown.is_empty()).then(|| format!("{label} is never {unknown:?}"))
}

/// The book lists every reason, in the first column of a table.
fn reasons_that_are_not_documented<'a>(values: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let readme = fs::read_to_string(root().join("docs/src/reasons.md")).unwrap();
    values
        .filter(|value| !readme.contains(&format!("\n| `{value}` |")))
        .collect()
}

/// Reads OpenMetrics text.
fn exported(text: &str) -> Exported {
    let mut exported = Exported::new();
    for line in text.lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            let (name, kind) = family.split_once(' ').unwrap();
            let endings: &[&str] = match kind {
                "counter" => &["_total"],
                "histogram" => &["_bucket", "_sum", "_count"],
                "info" => &["_info"],
                _ => &[""],
            };
            for ending in endings {
                exported.entry(format!("{name}{ending}")).or_default();
            }
        } else if !line.starts_with('#') {
            for (name, selector) in uses(line) {
                let labels = exported.get_mut(&name).expect(line).get_or_insert_default();
                for (label, value) in selector {
                    labels.entry(label).or_default().insert(value);
                }
            }
        }
    }
    exported
}

/// Every metric that a text names, with what stands in braces behind it.
fn uses(text: &str) -> Vec<(String, Vec<(String, String)>)> {
    let mut found = Vec::new();
    for (at, prefix) in text.match_indices("jotgate_") {
        let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let rest = &text[at + prefix.len()..];
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let selector = rest[end..].strip_prefix('{').map_or(Vec::new(), selector);
        found.push((format!("{prefix}{}", &rest[..end]), selector));
    }
    found
}

/// The labels up to the closing brace, and what they are compared with. No value has a quote in it.
fn selector(text: &str) -> Vec<(String, String)> {
    let mut labels = Vec::new();
    let mut rest = text.trim_start();
    while let Some((label, after)) = rest.split_once('"') {
        if label.contains('}') {
            break;
        }
        let (value, after) = after.split_once('"').expect("a value ends");
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        labels.push((
            label.trim_matches(|c| !is_name(c)).to_owned(),
            value.to_owned(),
        ));
        rest = after;
    }
    labels
}

/// Each dashboard, and all the texts in it.
fn dashboards() -> Vec<(String, String)> {
    let read = |(file, text): (String, String)| {
        let json = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
        let mut texts = String::new();
        collect_texts(&json, &mut texts);
        (file, texts)
    };
    files("deploy/grafana", "json").map(read).collect()
}

/// The rules and their tests.
fn rules() -> Vec<(String, String)> {
    files("deploy/prometheus", "yml")
        .filter(|(file, _)| !file.ends_with("scrape.yml"))
        .collect()
}

fn collect_texts(json: &Value, texts: &mut String) {
    match json {
        Value::String(text) => {
            texts.push_str(text);
            texts.push('\n');
        }
        Value::Array(items) => items.iter().for_each(|item| collect_texts(item, texts)),
        Value::Object(members) => members
            .values()
            .for_each(|member| collect_texts(member, texts)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The files of a folder with this ending, and what is in them.
fn files(folder: &str, ending: &str) -> impl Iterator<Item = (String, String)> {
    let mut paths: Vec<PathBuf> = fs::read_dir(root().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == ending))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{folder} has no *.{ending}");
    paths.into_iter().map(|path| {
        let text = fs::read_to_string(&path).unwrap();
        (path.display().to_string(), text)
    })
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Labels that a scrape adds, and the one that tests of rules leave to it.
const ADDED_BY_PROMETHEUS: [&str; 2] = ["job", "instance"];
