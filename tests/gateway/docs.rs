//! The README and the book: their links lead somewhere, every chapter has its place, and the list
//! of reasons is that of the code.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The README and every chapter of the book, with their text.
pub fn documents() -> Vec<(PathBuf, String)> {
    let mut paths = files_in("docs/src", "md");
    paths.push(root().join("README.md"));
    paths
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            (path, text)
        })
        .collect()
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let mut followed = 0;
    for (path, text) in documents() {
        for target in links(&text).into_iter().filter(|target| is_ours(target)) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let leads_to = match file {
                "" => path.clone(),
                file => path.parent().unwrap().join(file),
            };
            let place = format!("{}: {target}", path.display());
            assert!(leads_to.exists(), "{place}: there is no such file");
            if !anchor.is_empty() {
                let text = fs::read_to_string(&leads_to).unwrap();
                let is_heading = anchors(&text).iter().any(|heading| heading == anchor);
                assert!(is_heading, "{place}: there is no such heading");
            }
            followed += 1;
        }
    }
    assert!(followed >= 100, "only {followed} links were found");
}

#[test]
fn chapters_link_to_chapters_only() {
    // The book is read without the repository around it.
    for (path, text) in chapters() {
        for target in links(&text).into_iter().filter(|target| is_ours(target)) {
            assert!(!target.contains('/'), "{}: {target}", path.display());
        }
    }
}

#[test]
fn every_heading_of_a_document_has_an_anchor_of_its_own() {
    for (path, text) in documents() {
        let anchors = anchors(&text);
        let distinct: BTreeSet<_> = anchors.iter().collect();
        assert_eq!(distinct.len(), anchors.len(), "{}", path.display());
    }
}

#[test]
fn every_chapter_stands_in_the_summary_once() {
    let summary = fs::read_to_string(root().join("docs/src/SUMMARY.md")).unwrap();
    let mut listed: Vec<String> = links(&summary).into_iter().map(str::to_owned).collect();
    let mut there: Vec<String> = chapters()
        .iter()
        .map(|(path, _)| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    listed.sort();
    there.sort();
    assert_eq!(listed, there);
}

#[test]
fn every_reason_has_a_row_and_every_row_is_a_reason() {
    let chapter = fs::read_to_string(root().join("docs/src/reasons.md")).unwrap();
    let rows: Vec<&str> = chapter.lines().filter_map(first_cell).collect();
    let explained: BTreeSet<&str> = rows.iter().copied().collect();
    assert_eq!(explained.len(), rows.len(), "a reason has two rows");

    let reasons = reasons();
    let reasons: BTreeSet<&str> = reasons.iter().map(String::as_str).collect();
    assert!(reasons.len() >= 60, "only {} were found", reasons.len());
    let without_row: Vec<_> = reasons.difference(&explained).collect();
    assert!(without_row.is_empty(), "without a row: {without_row:?}");
    let unknown: Vec<_> = explained.difference(&reasons).collect();
    assert!(unknown.is_empty(), "not in the code: {unknown:?}");
}

/// The chapters alone: neither the README nor the summary.
fn chapters() -> Vec<(PathBuf, String)> {
    documents()
        .into_iter()
        .filter(|(path, _)| !path.ends_with("README.md") && !path.ends_with("SUMMARY.md"))
        .collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files_in(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(root().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    files
}

/// The lines outside of blocks of code, which may stand indented in a list.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

/// What stands in the round brackets of `[text](target)`.
fn links(text: &str) -> Vec<&str> {
    prose(text)
        .flat_map(|line| line.split("](").skip(1))
        .filter_map(|rest| rest.split(')').next())
        .collect()
}

fn is_ours(target: &str) -> bool {
    !target.starts_with("http://") && !target.starts_with("https://")
}

/// The anchors of the headings, as mdBook and code hosts make them.
fn anchors(text: &str) -> Vec<String> {
    prose(text)
        .filter(|line| line.starts_with('#'))
        .filter_map(|line| line.trim_start_matches('#').strip_prefix(' '))
        .map(anchor)
        .collect()
}

fn anchor(heading: &str) -> String {
    heading
        .trim()
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            '-' | '_' => Some(c),
            c if c.is_alphanumeric() => Some(c.to_ascii_lowercase()),
            _ => None,
        })
        .collect()
}

/// The name in a row such as "| `no_route` | 404 | …".
fn first_cell(line: &str) -> Option<&str> {
    line.strip_prefix("| `")?.split('`').next()
}

/// Every reason that the code can give, by its source.
fn reasons() -> BTreeSet<String> {
    let mut reasons = BTreeSet::new();
    for file in [
        "src/proxy/rejection.rs",
        "src/proxy/tunnel.rs",
        "src/route/ambiguity.rs",
        "src/route/head.rs",
        "src/token/invalid.rs",
    ] {
        let source = source(file);
        let found = labels(&source);
        assert!(!found.is_empty(), "{file} has no labels");
        reasons.extend(found.into_iter().map(str::to_owned));
    }
    let exchange = source("src/proxy/exchange.rs");
    reasons.extend(text_constants(&exchange).map(str::to_owned));
    let http1 = source("src/server/http1.rs");
    reasons.extend(unreadable(&http1).map(str::to_owned));
    reasons
}

fn source(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap()
}

/// The literals in the bodies of `fn label`.
fn labels(source: &str) -> Vec<&str> {
    source
        .split("fn label(")
        .skip(1)
        .filter_map(|rest| rest.split("\n    }\n").next())
        .flat_map(|body| body.split('"').skip(1).step_by(2))
        .collect()
}

/// The values of constants such as `const OK: &str = "ok";`.
fn text_constants(source: &str) -> impl Iterator<Item = &str> {
    source
        .lines()
        .filter(|line| line.starts_with("const "))
        .filter_map(|line| line.split_once(": &str = \""))
        .filter_map(|(_, value)| value.strip_suffix("\";"))
}

/// The reasons of heads that the parser could not read.
fn unreadable(source: &str) -> impl Iterator<Item = &str> {
    source
        .split(".unreadable(")
        .skip(1)
        .filter_map(|call| call.split('"').nth(1))
}
