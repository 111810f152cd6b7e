//! The whole file: tables in, [`Config`] out, with every problem noted on the way.
//!
//! What is valid is kept even when something else is not, so that the files it names can be
//! checked in the same run. Such a partial configuration is for looking at, never for serving.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use memchr::memchr_iter;
use toml::de::DeTable;

use super::file::Reader;
use super::item::Item;
use super::names::{home_of, nearest};
use super::vocabulary::{ROOT, tables};
use super::{
    CertificatePair, Config, Located, Place, Problem, Problems, Source, confidential, issuer, route,
};

/// Reads a configuration.
///
/// The configuration is whole if and only if the problems have no errors; otherwise it holds what
/// was valid.
pub fn parse(source: &Source) -> (Config, Problems) {
    let (table, errors) = DeTable::parse_recoverable(&source.text);
    let places: Vec<Place> = errors.iter().filter_map(toml::de::Error::span).collect();
    let confidential = confidential::places(table.get_ref(), &source.text, &places);
    let mut problems = Problems::hiding(confidential);
    let line_ends: Vec<usize> = memchr_iter(b'\n', source.text.as_bytes()).collect();
    let line_of = |place: &Place| line_ends.partition_point(|end| *end < place.start);
    // What ends in the middle of a line may be the first half of what is being written.
    let is_mid_line = !source.text.trim_end_matches([' ', '\t']).ends_with('\n');
    let whole = source.text.trim_end().len();
    let mut unreadable = HashSet::new();
    for error in &errors {
        let place = error.span().unwrap_or(0..0);
        // What the parser finds further on in a line is what the first mistake has made of it.
        if !unreadable.insert(line_of(&place)) {
            continue;
        }
        let problem = Problem::error(place, format!("not valid TOML: {}", error.message()));
        problems.push(problem.unsettled(is_mid_line));
    }
    let mut after_syntax = Problems::default();
    let mut check = Check {
        folder: source.path.parent().unwrap_or(Path::new("")),
        problems: &mut after_syntax,
    };
    let config = check.root(Reader::root(&table));
    for problem in after_syntax {
        let line = problem.place.as_ref().map(line_of);
        let is_on_line = line.is_some_and(|line| unreadable.contains(&line));
        // It may be no more than the echo of a syntax error: something on the same line, or
        // something that seems to be missing or out of place.
        let is_echo = is_on_line || (problem.is_structural && !errors.is_empty());
        if !is_echo {
            let is_at_end = problem
                .place
                .as_ref()
                .is_none_or(|place| place.end >= whole);
            let is_cut = is_mid_line && (problem.is_structural || is_at_end);
            problems.push(problem.unsettled(is_cut));
        }
    }
    (config, problems)
}

/// The state of a check: where relative paths start, and what was wrong so far.
pub(super) struct Check<'c> {
    pub(super) folder: &'c Path,
    pub(super) problems: &'c mut Problems,
}

impl Check<'_> {
    fn root(&mut self, mut root: Reader<'_, '_>) -> Config {
        let mut certificates = Vec::new();
        let listen = self.listen(&mut root, &mut certificates);
        for item in self.tables(&mut root, "certificate") {
            if let Some(mut table) = item.table(self.problems) {
                certificates.extend(self.certificate(&mut table));
                table.finish(self.problems);
            }
        }
        let tls = self.tls(&mut root);
        let issuers = issuer::read_all(self, root.take("issuer"));
        let (connecting, resolve) = self.upstream(&mut root);
        let tables = self.tables(&mut root, "route");
        if tables.is_empty() && !root.holds(|key| key == "route") && !root.misspells("route") {
            self.problems.push(
                Problem::of_root("there is no [[route]]: every request would be 404")
                    .structural()
                    .help("add [[route]] with path, to and auth"),
            );
        }
        let routes = route::read_all(self, &tables, &issuers, &connecting);
        let config = Config {
            listen,
            certificates,
            tls,
            resolve,
            limits: self.limits(&mut root),
            log: self.log(&mut root),
            metrics: self.metrics(&mut root),
            server: self.server(&mut root),
            reload: self.reload(&mut root),
            issuers: issuers
                .into_iter()
                .filter_map(|declared| declared.issuer)
                .collect(),
            routes,
        };
        self.finish_root(root);
        config
    }

    /// No key stands at the root: TOML would put one that is written at the end into the last
    /// table, so none is ever expected there.
    fn finish_root(&mut self, root: Reader<'_, '_>) {
        for (key, value) in root.left() {
            let name = key.get_ref();
            let is_table = value.get_ref().is_table();
            let what = match value.get_ref().as_array() {
                Some(_) => format!("unknown table [[{name}]]"),
                None if is_table => format!("unknown table [{name}]"),
                None => format!("`{name}` stands outside any table"),
            };
            let meant = nearest(name, ROOT.names()).and_then(|name| ROOT.key(name)?.as_table());
            let help = match (home_of(name), meant) {
                (Some(home), _) if !is_table => format!("`{name}` belongs in {home}"),
                (_, Some((head, _))) => format!("did you mean {head}?"),
                _ => {
                    let heads: Vec<_> = tables().map(|(head, _)| head).collect();
                    format!("tables are: {}", heads.join(", "))
                }
            };
            self.problems
                .push(Problem::error(key.span(), what).structural().help(help));
        }
    }

    /// The items of `[[name]]`.
    fn tables<'t, 'i>(
        &mut self,
        root: &mut Reader<'t, 'i>,
        name: &'static str,
    ) -> Vec<Item<'t, 'i>> {
        let Some(item) = root.take(name) else {
            return Vec::new();
        };
        if !item.is_list() {
            self.problems.push(
                item.problem("expected a list of tables")
                    .structural()
                    .label(format!("write [[{name}]], with two brackets, before each")),
            );
            // What it holds is looked at as well, if it is one table where a list should be.
            let table = item.value.get_ref().as_table();
            let is_one =
                |table: &DeTable<'_>| table.keys().any(|key| item.would_have(key.get_ref()));
            if !table.is_some_and(is_one) {
                return Vec::new();
            }
        }
        let mut items = item.one_or_many();
        for (index, item) in items.iter_mut().enumerate() {
            item.path = format!("{name}[{index}]");
        }
        items
    }

    pub(super) fn table<'t, 'i>(
        &mut self,
        root: &mut Reader<'t, 'i>,
        name: &'static str,
    ) -> Option<Reader<'t, 'i>> {
        let mut table = root.take(name)?.table(self.problems)?;
        table.path = name.to_owned();
        Some(table)
    }

    pub(super) fn certificate(&mut self, table: &mut Reader<'_, '_>) -> Option<CertificatePair> {
        let cert = table.require("cert", self.problems);
        let key = table.require("key", self.problems);
        Some(CertificatePair {
            cert: self.file(&cert?)?,
            key: self.file(&key?)?,
        })
    }

    /// A path, joined to the file's folder.
    pub(super) fn file(&mut self, item: &Item<'_, '_>) -> Option<Located<PathBuf>> {
        let text = item.words(self.problems)?;
        if confidential::is_contents(text) {
            let problem = item.problem("the name of a file is expected, not what stands in it");
            self.problems
                .push(problem.help("write that to a file, and the name of the file here"));
            return None;
        }
        Some(Located {
            value: self.folder.join(text),
            place: item.place(),
        })
    }
}
