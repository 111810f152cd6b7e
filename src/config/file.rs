//! A typed reader over the parsed file that never stops at the first problem.
//!
//! serde would. Here a key is taken, its type is expected, a mistake is noted with its place, and
//! what nobody took in the end is unknown. Which keys there are, and the bounds of their values, is
//! the vocabulary's: to ask for anything else is a mistake in the program, and panics.

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::item::Item;
use super::names::{NOTHING_IS_FETCHED, home_of, is_for_fetching, nearest};
use super::vocabulary::{Key, Keys, ROOT};
use super::{Located, Place, Problem, Problems};

pub(super) type Value<'i> = Spanned<DeValue<'i>>;

/// One table of the file, whose keys are taken one by one.
pub(super) struct Reader<'t, 'i> {
    /// How it is written: `listen`, `issuer.main`, `route[2]`.
    pub(super) path: String,
    /// Where it stands.
    pub(super) place: Place,
    table: &'t DeTable<'i>,
    entries: Vec<(&'t Spanned<DeString<'i>>, &'t Value<'i>)>,
    keys: Keys,
    taken: Vec<&'static str>,
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

    pub(super) fn new(path: String, place: Place, table: &'t DeTable<'i>, keys: Keys) -> Self {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        Self {
            path,
            place,
            table,
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
            whole: &row.kind,
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
                whole: &names.value,
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
            let example = format!("add {key} = {}", self.row(key).value);
            problems.push(self.missing(key, example));
        }
        item
    }

    /// A key that must be there and that people call by another name.
    pub(super) fn require_by_name(
        &mut self,
        key: &'static str,
        misnomers: &[&str],
        problems: &mut Problems,
    ) -> Option<Item<'t, 'i>> {
        let misnamed = |(name, _): &(&Spanned<DeString<'_>>, _)| {
            misnomers.contains(&name.get_ref().as_ref()) && !self.holds(|written| written == key)
        };
        if let Some(index) = self.entries.iter().position(misnamed) {
            let (name, _) = self.entries.remove(index);
            let what = format!("{}: unknown key `{}`", self.path, name.get_ref());
            problems.push(Problem::error(name.span(), what).help(format!("did you mean `{key}`?")));
            return self.take(key);
        }
        self.require(key, problems)
    }

    /// The problem that a key is not there, and what to do about it, unless it stands in a table
    /// inside of this one: there it ends up where it is written below the head of that.
    pub(super) fn missing(&self, key: &str, otherwise: String) -> Problem {
        let what = format!("{}: `{key}` is missing", self.path);
        let problem = Problem::error(self.place.clone(), what).structural();
        let inside = self.table.iter().find_map(|(name, value)| {
            let mut keys = value.get_ref().as_table()?.iter();
            let (stray, _) = keys.find(|(stray, _)| stray.get_ref() == key)?;
            Some((name.get_ref(), stray.span()))
        });
        let Some((name, place)) = inside else {
            return problem.help(otherwise);
        };
        let table = self.path.split('[').next().unwrap_or_default();
        let head = format!("[{table}.{name}]");
        problem
            .also(place, format!("stands inside {head}"))
            .help(format!(
                "`{key}` stands inside {head}; write it above that head"
            ))
    }

    /// Whether there is a key of which this holds, taken or not.
    pub(super) fn holds(&self, is_so: impl Fn(&str) -> bool) -> bool {
        self.table.keys().any(|key| is_so(key.get_ref()))
    }

    /// Whether a key that is unknown seems to be meant for this one.
    pub(super) fn misspells(&self, key: &str) -> bool {
        self.holds(|written| {
            self.keys.row(written).is_none() && nearest(written, self.keys.names()) == Some(key)
        })
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
        if is_for_fetching(key) {
            return NOTHING_IS_FETCHED.into_iter().fold(problem, Problem::help);
        }
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
