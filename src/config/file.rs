//! A typed reader over the parsed file that never stops at the first problem.
//!
//! serde would. Here a key is taken, its type is expected, a mistake is noted with its place, and
//! what nobody took in the end is unknown. Which keys there are, and the bounds of their values, is
//! the vocabulary's: to ask for anything else is a mistake in the program, and panics.

use std::time::Duration;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::names::{home_of, nearest};
use super::units::{parse_duration, parse_size, spell_duration};
use super::vocabulary::{Key, Keys, Kind, ROOT};
use super::{Located, Place, Problem, Problems};

type Value<'i> = Spanned<DeValue<'i>>;

/// One table of the file, whose keys are taken one by one.
pub(super) struct Reader<'t, 'i> {
    /// How it is written: `listen`, `issuer.main`, `route[2]`.
    pub(super) path: String,
    /// Where it stands.
    pub(super) place: Place,
    entries: Vec<(&'t Spanned<DeString<'i>>, &'t Value<'i>)>,
    keys: Keys,
    taken: Vec<&'static str>,
}

/// A value and the words for it: its path for messages, its place, and what it should be.
pub(super) struct Item<'t, 'i> {
    pub(super) path: String,
    pub(super) value: &'t Value<'i>,
    kind: &'static Kind,
}

impl<'t, 'i> Reader<'t, 'i> {
    /// The root of a file.
    pub(super) fn root(table: &'t Spanned<DeTable<'i>>) -> Self {
        Self::new(
            String::new(),
            table.span(),
            table.get_ref(),
            Keys::Of(&ROOT),
        )
    }

    fn new(path: String, place: Place, table: &'t DeTable<'i>, keys: Keys) -> Self {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        Self {
            path,
            place,
            entries,
            keys,
            taken: Vec::new(),
        }
    }

    /// Takes a key of this table's vocabulary.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Item<'t, 'i>> {
        let row = self.row(key);
        self.taken.push(key);
        let index = self
            .entries
            .iter()
            .position(|(name, _)| name.get_ref() == key)?;
        let (_, value) = self.entries.remove(index);
        Some(Item {
            path: self.path_of(key),
            value,
            kind: &row.kind,
        })
    }

    fn row(&self, key: &str) -> &'static Key {
        self.keys
            .row(key)
            .unwrap_or_else(|| panic!("`{key}` of [{}] is not in the vocabulary", self.path))
    }

    /// How a key of this table is written in messages; the root has no name.
    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// Takes every key of a table whose keys are names.
    pub(super) fn take_names(self) -> Vec<(Located<String>, Item<'t, 'i>)> {
        let Keys::Named(names) = self.keys else {
            panic!("[{}] has keys of its own", self.path);
        };
        let path = &self.path;
        let named = self.entries.into_iter().map(|(key, value)| {
            let name = Located {
                value: key.get_ref().to_string(),
                place: key.span(),
            };
            let item = Item {
                path: format!("{path}.{}", name.value),
                value,
                kind: &names.value,
            };
            (name, item)
        });
        named.collect()
    }

    /// A key that must be there.
    pub(super) fn require(
        &mut self,
        key: &'static str,
        problems: &mut Problems,
    ) -> Option<Item<'t, 'i>> {
        let item = self.take(key);
        if item.is_none() {
            problems.push(
                Problem::error(
                    self.place.clone(),
                    format!("{}: `{key}` is missing", self.path),
                )
                .structural()
                .help(format!("add {key} = {}", self.row(key).value)),
            );
        }
        item
    }

    /// Notes every key that nobody took.
    pub(super) fn finish(self, problems: &mut Problems) {
        for (key, _) in self.left() {
            problems.push(self.unknown(key.get_ref(), key.span()));
        }
    }

    /// What nobody took, which is then unknown.
    pub(super) fn left(&self) -> &[(&'t Spanned<DeString<'i>>, &'t Value<'i>)] {
        for key in self.keys.names() {
            debug_assert!(
                self.taken.contains(&key),
                "`{key}` of [{}] is in the vocabulary, and nobody takes it",
                self.path
            );
        }
        &self.entries
    }

    fn unknown(&self, key: &str, place: Place) -> Problem {
        let problem = Problem::error(place, format!("{}: unknown key `{key}`", self.path));
        let known: Vec<_> = self.keys.names().collect();
        if let Some(nearest) = nearest(key, known.iter().copied()) {
            return problem.help(format!("did you mean `{nearest}`?"));
        }
        match home_of(key) {
            Some(table) => problem.help(format!("`{key}` belongs in {table}")),
            None => problem.help(format!("known here: {}", known.join(", "))),
        }
    }
}

impl<'t, 'i> Item<'t, 'i> {
    pub(super) fn place(&self) -> Place {
        self.value.span()
    }

    /// An error at this value.
    pub(super) fn problem(&self, what: impl std::fmt::Display) -> Problem {
        Problem::error(self.place(), format!("{}: {what}", self.path))
    }

    fn wrong_type(&self, expected: &str, problems: &mut Problems) {
        let found = self.value.get_ref().type_str();
        problems.push(
            self.problem(format!("expected {expected}, found {}", article(found)))
                .label(format!("expected {expected}")),
        );
    }

    pub(super) fn text(&self, problems: &mut Problems) -> Option<&'t str> {
        let text = self.value.get_ref().as_str();
        if text.is_none() {
            self.wrong_type("a string", problems);
        }
        text
    }

    /// A string with something in it.
    pub(super) fn words(&self, problems: &mut Problems) -> Option<&'t str> {
        let text = self.text(problems)?;
        if text.is_empty() {
            problems.push(self.problem("must not be empty"));
            return None;
        }
        Some(text)
    }

    pub(super) fn truth(&self, problems: &mut Problems) -> Option<bool> {
        let truth = self.value.get_ref().as_bool();
        if truth.is_none() {
            self.wrong_type("true or false", problems);
        }
        truth
    }

    /// An integer within its bounds.
    pub(super) fn number(&self, problems: &mut Problems) -> Option<u64> {
        let bounds = self.said(self.kind.numbers());
        let Some(integer) = self.value.get_ref().as_integer() else {
            self.wrong_type("an integer", problems);
            return None;
        };
        let number = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
        let number = number.filter(|number| bounds.contains(number));
        if number.is_none() {
            let (least, most) = (bounds.start(), bounds.end());
            problems.push(self.problem(format!("must be from {least} to {most}")));
        }
        number
    }

    /// One of the words of the vocabulary, and what they stand for.
    pub(super) fn choice<T: Copy>(
        &self,
        choices: &[(&'static str, T)],
        problems: &mut Problems,
    ) -> Option<T> {
        debug_assert!(
            choices
                .iter()
                .map(|(name, _)| name)
                .eq(self.said(self.kind.words())),
            "{}: the vocabulary has other words",
            self.path
        );
        let text = self.text(problems)?;
        if let Some((_, choice)) = choices.iter().find(|(name, _)| *name == text) {
            return Some(*choice);
        }
        let names = choices.iter().map(|(name, _)| *name);
        let all = names
            .clone()
            .map(|name| format!("\"{name}\""))
            .collect::<Vec<_>>()
            .join(" or ");
        let mut problem = self.problem(format!("\"{text}\" is not one of the choices"));
        problem = problem.label(format!("expected {all}"));
        if let Some(nearest) = nearest(text, names) {
            problem = problem.help(format!("did you mean \"{nearest}\"?"));
        }
        problems.push(problem);
        None
    }

    /// A duration such as `"30s"`, `"10m"`, `"1h30m"`, `"500ms"`, within its bounds.
    pub(super) fn duration(&self, problems: &mut Problems) -> Option<Duration> {
        let bounds = self.said(self.kind.durations());
        let parsed = self.value.get_ref().as_str().and_then(parse_duration);
        let Some(duration) = parsed else {
            problems.push(
                self.problem("expected a duration with its unit")
                    .label("expected a string such as \"30s\", \"10m\", \"1h30m\" or \"500ms\""),
            );
            return None;
        };
        if !bounds.contains(&duration) {
            let (least, most) = (
                spell_duration(*bounds.start()),
                spell_duration(*bounds.end()),
            );
            problems.push(self.problem(format!("must be from {least} to {most}")));
            return None;
        }
        Some(duration)
    }

    /// A size such as `"8KiB"`, `"32MiB"`, or a number of bytes.
    pub(super) fn size(&self, problems: &mut Problems) -> Option<u64> {
        let value = self.value.get_ref();
        let parsed = match value.as_integer() {
            Some(integer) => u64::from_str_radix(integer.as_str(), integer.radix()).ok(),
            None => value.as_str().and_then(parse_size),
        };
        if parsed.is_none() {
            problems.push(
                self.problem("expected a size")
                    .label("expected \"8KiB\", \"32MiB\", \"1GiB\" or a number of bytes"),
            );
        }
        parsed
    }

    /// A value or a list of such; the items of the list are numbered from 0.
    pub(super) fn one_or_many(&self) -> Vec<Item<'t, 'i>> {
        let kind = self.kind.item().unwrap_or(self.kind);
        match self.value.get_ref().as_array() {
            None => vec![Item {
                path: self.path.clone(),
                value: self.value,
                kind,
            }],
            Some(array) => array
                .iter()
                .enumerate()
                .map(|(index, value)| Item {
                    path: format!("{}[{index}]", self.path),
                    value,
                    kind,
                })
                .collect(),
        }
    }

    pub(super) fn is_list(&self) -> bool {
        self.value.get_ref().is_array()
    }

    pub(super) fn is_table(&self) -> bool {
        self.value.get_ref().is_table()
    }

    /// A table with keys of its own.
    pub(super) fn table(&self, problems: &mut Problems) -> Option<Reader<'t, 'i>> {
        match self.value.get_ref().as_table() {
            Some(table) => {
                let keys = self.said(self.kind.keys());
                Some(Reader::new(self.path.clone(), self.place(), table, keys))
            }
            None => {
                self.wrong_type("a table", problems);
                None
            }
        }
    }

    /// What the vocabulary says of this value, which is of the kind that is asked for.
    fn said<T>(&self, said: Option<T>) -> T {
        said.unwrap_or_else(|| panic!("{}: the vocabulary has another kind", self.path))
    }

    /// Whether it is this literal truth value.
    pub(super) fn is(&self, truth: bool) -> bool {
        self.value.get_ref().as_bool() == Some(truth)
    }
}

fn article(noun: &str) -> String {
    let vowel = noun.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {noun}", if vowel { "an" } else { "a" })
}
