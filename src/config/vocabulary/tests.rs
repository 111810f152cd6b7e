//! The vocabulary, the parser and the documents tell the same.

use std::path::Path;

use toml::de::DeTable;

use super::*;
use crate::config::file::Reader;
use crate::config::{Config, Problems, Source, parse};

#[test]
fn every_row_is_a_sentence_about_a_key_of_its_own() {
    for (head, table) in tables().chain([("the root".to_owned(), &ROOT)]) {
        for (index, key) in table.keys.iter().enumerate() {
            assert!(key.doc.ends_with('.'), "{head} {}: {}", key.name, key.doc);
            let mut earlier = table.keys[..index].iter();
            assert!(earlier.all(|other| other.name != key.name), "{}", key.name);
        }
        assert!(table.one_of.iter().all(|key| table.key(key).is_some()));
    }
}

#[test]
fn the_parser_takes_every_key_with_the_value_of_its_row() {
    for (head, key) in keys() {
        let text = file_with(&head, key, key.value);
        let (_, problems) = read(&text);
        assert!(!problems.has_errors(), "{problems:#?}\n{text}");
    }
}

#[test]
fn the_parser_takes_every_key_of_the_tables_inside_of_values() {
    let mut found = 0;
    for (head, key) in keys() {
        for value in inline_tables(&key.kind) {
            let text = file_with(&head, key, &value);
            let (_, problems) = read(&text);
            assert!(!problems.has_errors(), "{problems:#?}\n{text}");
            found += 1;
        }
    }
    assert!(found >= 2, "keys and identity have such tables");
}

#[test]
fn a_default_is_what_holds_without_the_key() {
    for (head, key) in keys().filter(|(_, key)| key.presence == Presence::Default) {
        let with = file_with(&head, key, key.value);
        let line = format!("{} = {}\n", key.name, key.value);
        assert!(with.contains(&line), "{line} {with}");
        let without = with.replacen(&line, "", 1);
        assert_eq!(meaning(&with), meaning(&without), "{head} {line}");
    }
}

#[test]
fn the_parser_misses_every_required_key() {
    for (head, key) in keys().filter(|(_, key)| key.presence == Presence::Required) {
        let with = file_with(&head, key, key.value);
        let start = with.find(&head.replace("NAME", "main")).unwrap();
        let line = format!("{} = {}\n", key.name, key.value);
        let without = with[start..].replacen(&line, "", 1);
        let (_, problems) = read(&format!("{}{without}", &with[..start]));
        let is_missed = problems.iter().any(|problem| {
            problem
                .message
                .contains(&format!("`{}` is missing", key.name))
        });
        assert!(is_missed, "{head} {}: {problems:#?}", key.name);
    }
}

#[test]
fn no_table_takes_a_key_that_it_does_not_have() {
    for (head, table) in tables() {
        let first = &table.keys[0];
        let text = file_with(&head, first, first.value);
        let head = head.replace("NAME", "main");
        let text = text.replacen(&head, &format!("{head}\nzzz = 1"), 1);
        let (_, problems) = read(&text);
        let is_told = problems
            .iter()
            .any(|problem| problem.message.contains("unknown key `zzz`"));
        assert!(is_told, "{head}: {problems:#?}");
    }
}

#[test]
#[should_panic(expected = "`zzz` of [] is not in the vocabulary")]
fn a_key_without_a_row_cannot_be_taken() {
    let table = DeTable::parse("").unwrap();
    Reader::root(&table).take("zzz");
}

#[test]
#[should_panic(expected = "is in the vocabulary, and nobody takes it")]
fn a_row_that_nobody_takes_is_noticed() {
    let table = DeTable::parse("").unwrap();
    Reader::root(&table).finish(&mut Problems::default());
}

#[test]
fn every_key_stands_in_the_reference_with_its_default() {
    let reference = include_str!("../../../docs/src/configuration.md");
    for (head, table) in tables() {
        let section = reference.split(&format!("### `{head}`\n")).nth(1);
        let section = section.unwrap_or_else(|| panic!("the reference has no section {head}"));
        let section = section.split("\n##").next().unwrap();
        for key in table.keys {
            let row = section
                .lines()
                .find(|line| line.starts_with(&format!("| `{}` |", key.name)));
            let row = row.unwrap_or_else(|| panic!("{head} has no row for `{}`", key.name));
            let default = format!("`{}`", key.value);
            assert!(
                key.presence != Presence::Default || row.contains(&default),
                "no {default} in {row}"
            );
        }
    }
}

#[test]
fn every_key_stands_in_the_commented_file() {
    let mut written = Vec::new();
    let mut head = String::new();
    for line in include_str!("../../../config/jotgate.toml").lines() {
        let line = line.strip_prefix("# ").unwrap_or(line);
        if line.starts_with('[') {
            let is_issuer = line.starts_with("[issuer.");
            head = if is_issuer { "[issuer.NAME]" } else { line }.to_owned();
        } else if let Some((key, _)) = line.split_once('=') {
            written.push((head.clone(), key.trim_end()));
        }
    }
    for (head, key) in keys() {
        let key = key.name;
        assert!(
            written.contains(&(head.clone(), key)),
            "{head} has no `{key}`"
        );
    }
}

fn keys() -> impl Iterator<Item = (String, &'static Key)> {
    tables().flat_map(|(head, table)| table.keys.iter().map(move |key| (head.clone(), key)))
}

/// The least file that has every table, and this key in one of them.
fn file_with(head: &str, key: &Key, value: &str) -> String {
    // An issuer has one of both, and some keys are for one of them only.
    let material = if key.name.starts_with("secret") {
        "secret"
    } else {
        "keys"
    };
    let mut text = String::new();
    for (each, table) in tables() {
        text.push_str(&format!("{}\n", each.replace("NAME", "main")));
        for row in table.keys {
            let is_needed = row.presence == Presence::Required
                || row.name == material
                // A certificate and its key come together.
                || (head == each && ["cert", "key"] == sorted([row.name, key.name]));
            if each == head && row.name == key.name {
                text.push_str(&format!("{} = {value}\n", key.name));
            } else if row.name == "to" && key.name == "upstream" {
                text.push_str("to = \"https://127.0.0.1:3000\"\n");
            } else if is_needed {
                text.push_str(&format!("{} = {}\n", row.name, row.value));
            }
        }
    }
    text
}

fn sorted(mut names: [&str; 2]) -> [&str; 2] {
    names.sort_unstable();
    names
}

/// The tables that may stand in a value, each with all of its keys.
fn inline_tables(kind: &'static Kind) -> Vec<String> {
    match kind {
        Kind::Table(table) => {
            let keys = table.keys.iter();
            let keys: Vec<_> = keys
                .map(|key| format!("{} = {}", key.name, key.value))
                .collect();
            vec![format!("{{ {} }}", keys.join(", "))]
        }
        Kind::Named(names) => inline_tables(&names.value)
            .into_iter()
            .map(|table| format!("{{ a-name = {table} }}"))
            .collect(),
        Kind::OneOrMany(item) | Kind::Many(item) => inline_tables(item),
        Kind::AnyOf(kinds) => kinds.iter().flat_map(inline_tables).collect(),
        Kind::Truth
        | Kind::Number(_)
        | Kind::Duration(_)
        | Kind::Size
        | Kind::Choice(_)
        | Kind::Text
        | Kind::Like(_)
        | Kind::Path
        | Kind::Only(_) => Vec::new(),
    }
}

fn read(text: &str) -> (Config, Problems) {
    parse(&Source {
        path: Path::new("jotgate.toml").into(),
        text: text.to_owned(),
    })
}

/// Everything that a file means, without the places where it says so.
fn meaning(text: &str) -> String {
    let config = format!("{:?}", read(text).0);
    let is_digit = |c: char| c.is_ascii_digit();
    let parts: Vec<_> = config
        .split("..")
        .map(|part| part.trim_matches(is_digit))
        .collect();
    parts.join("..")
}
