//! One value of the file, read as what it is expected to be, with a problem if it is not.
//!
//! Its bounds and its choices are the vocabulary's.

use std::time::Duration;

use super::file::{Reader, Value};
use super::names::nearest;
use super::units::{parse_duration, parse_size, spell_duration};
use super::vocabulary::Kind;
use super::{Place, Problem, Problems};

/// A value and the words for it: its path for messages, its place, and what it should be.
pub(super) struct Item<'t, 'i> {
    pub(super) path: String,
    pub(super) value: &'t Value<'i>,
    pub(super) kind: &'static Kind,
    /// What it may be as a whole, where it may also be a list of the above.
    pub(super) whole: &'static Kind,
}

impl<'t, 'i> Item<'t, 'i> {
    pub(super) fn place(&self) -> Place {
        self.value.span()
    }

    /// An error at this value.
    pub(super) fn problem(&self, what: impl std::fmt::Display) -> Problem {
        Problem::error(self.place(), format!("{}: {what}", self.path))
    }

    /// The error that it is of another type than it may be of.
    pub(super) fn wrong_type(&self) -> Problem {
        let expected = self.whole.expected();
        let found = article(self.value.get_ref().type_str());
        self.problem(format!("expected {expected}, found {found}"))
            .label(format!("expected {expected}"))
    }

    pub(super) fn text(&self, problems: &mut Problems) -> Option<&'t str> {
        let text = self.value.get_ref().as_str();
        if text.is_none() {
            problems.push(self.wrong_type());
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
            problems.push(self.wrong_type());
        }
        truth
    }

    /// An integer within its bounds.
    pub(super) fn number(&self, problems: &mut Problems) -> Option<u64> {
        let bounds = self.said(self.kind.numbers());
        let Some(integer) = self.value.get_ref().as_integer() else {
            problems.push(self.wrong_type());
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
                whole: self.whole,
            }],
            Some(array) => array
                .iter()
                .enumerate()
                .map(|(index, value)| Item {
                    path: format!("{}[{index}]", self.path),
                    value,
                    kind,
                    whole: kind,
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

    /// Whether tables of this kind have a key of that name.
    pub(super) fn would_have(&self, key: &str) -> bool {
        let keys = self.kind.item().unwrap_or(self.kind).keys();
        keys.is_some_and(|keys| keys.row(key).is_some())
    }

    /// A table with keys of its own.
    pub(super) fn table(&self, problems: &mut Problems) -> Option<Reader<'t, 'i>> {
        match self.value.get_ref().as_table() {
            Some(table) => {
                let keys = self.said(self.kind.keys());
                Some(Reader::new(self.path.clone(), self.place(), table, keys))
            }
            None => {
                let problem = self.wrong_type();
                let brackets = format!("write [{}], with one bracket on each side", self.path);
                problems.push(if self.is_list() {
                    problem.help(brackets)
                } else {
                    problem
                });
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
