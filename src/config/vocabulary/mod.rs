//! Every table and key of the file: what a value looks like, what holds without it, what it means.
//!
//! The one list. A [`Reader`](super::file::Reader) takes no key that is not in it, and does not
//! finish before it has taken every key of its table; bounds, suggestions and the JSON Schema come
//! from it as well. A new key is a row here and the line that takes it where its table is read.
//! Tests notice if either is forgotten, or the reference in `docs/src/configuration.md`, or the
//! commented file in `config/`.

mod access;
mod gateway;
#[cfg(test)]
mod tests;
mod upstream;

use std::ops::RangeInclusive;
use std::time::Duration;

pub(super) use access::{RESERVED_ISSUERS, ROUTE};
pub(super) use gateway::ROOT;

/// A table, and every key that may stand in it.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) keys: &'static [Key],
    /// Keys of which exactly one must be there; empty where there are none such.
    pub(super) one_of: &'static [&'static str],
}

/// One key.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) presence: Presence,
    /// As TOML: the default, or an example where there is none.
    pub(super) value: &'static str,
    /// A sentence about what it is for.
    pub(super) doc: &'static str,
}

/// What holds where a key is not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// The file is refused.
    Required,
    /// The value of the row, as if it were written.
    Default,
    /// What these words say.
    Optional(&'static str),
}

/// What a value looks like.
#[derive(Debug)]
pub(super) enum Kind {
    /// `true` or `false`.
    Truth,
    /// An integer within these bounds.
    Number(RangeInclusive<u64>),
    /// `"1h30m"`, within these bounds.
    Duration(RangeInclusive<Duration>),
    /// `"8KiB"`, or a number of bytes.
    Size,
    /// One of a few words.
    Choice(&'static [&'static str]),
    /// Any text with something in it.
    Text,
    /// Text in which this regular expression finds something. It is for editors, and may let pass
    /// what the parser of the value does not.
    Like(&'static str),
    /// A file or folder.
    Path,
    /// Only this value, as TOML: the key is there for a later version.
    Only(&'static str),
    /// A value, or a list of at least one.
    OneOrMany(&'static Kind),
    /// A list.
    Many(&'static Kind),
    /// A value of any of these kinds.
    AnyOf(&'static [Kind]),
    /// A table.
    Table(&'static Table),
    /// A table whose keys are names that the operator chooses.
    Named(&'static Names),
}

/// A table whose keys are names that the operator chooses.
#[derive(Debug)]
pub(super) struct Names {
    /// How messages write a name.
    pub(super) placeholder: &'static str,
    /// A regular expression for names, for editors.
    pub(super) pattern: &'static str,
    /// Names that mean something else.
    pub(super) reserved: &'static [&'static str],
    /// What stands behind each name.
    pub(super) value: Kind,
}

/// The keys that a table may have.
#[derive(Debug, Clone, Copy)]
pub(super) enum Keys {
    /// These.
    Of(&'static Table),
    /// Names that the operator chooses.
    Named(&'static Names),
}

impl Table {
    const fn new(keys: &'static [Key]) -> Self {
        Self { keys, one_of: &[] }
    }

    const fn with_one_of(keys: &'static [Key], one_of: &'static [&'static str]) -> Self {
        Self { keys, one_of }
    }

    /// The row of a key.
    pub(super) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The names of its keys.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.keys.iter().map(|key| key.name)
    }
}

/// A key without which the file is refused.
const fn required(name: &'static str, kind: Kind, example: &'static str, doc: &'static str) -> Key {
    Key {
        name,
        kind,
        presence: Presence::Required,
        value: example,
        doc,
    }
}

/// A key with a default.
const fn default(name: &'static str, kind: Kind, value: &'static str, doc: &'static str) -> Key {
    Key {
        name,
        kind,
        presence: Presence::Default,
        value,
        doc,
    }
}

/// A key without which something holds that no value could say.
const fn optional(
    name: &'static str,
    kind: Kind,
    without: &'static str,
    example: &'static str,
    doc: &'static str,
) -> Key {
    Key {
        name,
        kind,
        presence: Presence::Optional(without),
        value: example,
        doc,
    }
}

impl Kind {
    /// The bounds of an integer.
    pub(super) fn numbers(&'static self) -> Option<&'static RangeInclusive<u64>> {
        self.find(|kind| {
            if let Self::Number(bounds) = kind {
                Some(bounds)
            } else {
                None
            }
        })
    }

    /// The bounds of a duration.
    pub(super) fn durations(&'static self) -> Option<&'static RangeInclusive<Duration>> {
        self.find(|kind| {
            if let Self::Duration(bounds) = kind {
                Some(bounds)
            } else {
                None
            }
        })
    }

    /// The words to choose among.
    pub(super) fn words(&'static self) -> Option<&'static [&'static str]> {
        self.find(|kind| {
            if let Self::Choice(words) = kind {
                Some(*words)
            } else {
                None
            }
        })
    }

    /// What the items of a list are.
    pub(super) fn item(&'static self) -> Option<&'static Self> {
        self.find(|kind| {
            if let Self::OneOrMany(item) | Self::Many(item) = kind {
                Some(*item)
            } else {
                None
            }
        })
    }

    /// The keys of a table.
    pub(super) fn keys(&'static self) -> Option<Keys> {
        self.find(|kind| {
            if let Self::Table(table) = kind {
                return Some(Keys::Of(table));
            }
            if let Self::Named(names) = kind {
                Some(Keys::Named(names))
            } else {
                None
            }
        })
    }

    /// What to write, in words.
    pub(super) fn expected(&self) -> String {
        match self {
            Self::Truth => "true or false".to_owned(),
            Self::Number(_) => "an integer".to_owned(),
            Self::Duration(_) | Self::Choice(_) | Self::Text | Self::Like(_) | Self::Path => {
                "a string".to_owned()
            }
            Self::Size => "a size".to_owned(),
            Self::Only(value) => (*value).to_owned(),
            Self::OneOrMany(item) => {
                format!("{} or {}", item.expected(), Self::Many(item).expected())
            }
            Self::Many(item) => match &*item.expected() {
                "a string" => "a list of strings".to_owned(),
                "a table" => "a list of tables".to_owned(),
                _ => "a list of these".to_owned(),
            },
            Self::AnyOf(kinds) => {
                let each: Vec<_> = kinds.iter().map(Self::expected).collect();
                each.join(" or ")
            }
            Self::Table(_) | Self::Named(_) => "a table".to_owned(),
        }
    }

    /// What is found first among the kinds that a value may choose from.
    fn find<T>(&'static self, found: impl FnMut(&'static Self) -> Option<T>) -> Option<T> {
        let kinds = if let Self::AnyOf(kinds) = self {
            *kinds
        } else {
            std::slice::from_ref(self)
        };
        kinds.iter().find_map(found)
    }
}

impl Keys {
    /// The row of a key.
    pub(super) fn row(self, name: &str) -> Option<&'static Key> {
        match self {
            Self::Of(table) => table.key(name),
            Self::Named(_) => None,
        }
    }

    /// The names of the keys that the program knows.
    pub(super) fn names(self) -> impl Iterator<Item = &'static str> {
        let table = match self {
            Self::Of(table) => Some(table),
            Self::Named(_) => None,
        };
        table.into_iter().flat_map(Table::names)
    }
}

/// The tables of the root and what stands in them, as people write their heads: `[listen]`,
/// `[[route]]`, `[issuer.NAME]`.
pub(super) fn tables() -> impl Iterator<Item = (String, &'static Table)> {
    ROOT.keys.iter().filter_map(Key::as_table)
}

impl Key {
    /// Whether the file is refused without it.
    pub(super) fn is_required(&self) -> bool {
        self.presence == Presence::Required
    }

    /// A table of the root: how people write its head, and what stands in it.
    pub(super) fn as_table(&self) -> Option<(String, &'static Table)> {
        let name = self.name;
        if let Kind::Table(table) = self.kind {
            return Some((format!("[{name}]"), table));
        }
        if let Kind::Many(Kind::Table(table)) = self.kind {
            return Some((format!("[[{name}]]"), *table));
        }
        if let Kind::Named(names) = &self.kind
            && let Kind::Table(table) = names.value
        {
            return Some((format!("[{name}.{}]", names.placeholder), table));
        }
        None
    }
}
