//! Sets of paths: which ones a route takes, and which ones an upstream gets from it.
//!
//! They decide nothing about a request. What is said of routes to whoever has written them rests on
//! them.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::path;
use super::pattern::{PathPattern, Segment};

/// A set of paths, by their segments.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reach {
    segments: Vec<Segment>,
    /// Whether all that lies below is part of it.
    is_subtree: bool,
}

/// Many sets of paths with something known of each, found without a look at all of them.
#[derive(Debug)]
pub struct Reaches<T> {
    /// Those without wildcards; what lies below one comes next to it.
    plain: BTreeMap<Reach, T>,
    wild: Vec<(Reach, T)>,
}

impl<T> Default for Reaches<T> {
    fn default() -> Self {
        Self {
            plain: BTreeMap::new(),
            wild: Vec::new(),
        }
    }
}

impl<T> Reaches<T> {
    /// Adds one, unless it is known.
    pub fn insert(&mut self, reach: Reach, known: T) {
        if reach.has_wildcard() {
            self.wild.push((reach, known));
        } else {
            self.plain.entry(reach).or_insert(known);
        }
    }

    /// All that have a path in common with this one, but for some that cover it.
    pub fn meeting<'r>(&'r self, reach: &'r Reach) -> impl Iterator<Item = (&'r Reach, &'r T)> {
        let is_wild = reach.has_wildcard();
        let segments = if is_wild { &[][..] } else { &reach.segments };
        let first = Reach {
            segments: segments.to_vec(),
            is_subtree: false,
        };
        let plain = self.plain.range(first..);
        let plain = plain.take_while(move |(known, _)| known.segments.starts_with(segments));
        let wild = self.wild.iter().map(|(reach, known)| (reach, known));
        plain.chain(wild).filter(|(known, _)| reach.meets(known))
    }

    /// All subtrees that cover this one.
    pub fn covering<'r>(&'r self, reach: &'r Reach) -> impl Iterator<Item = &'r T> {
        let plain = (0..=reach.segments.len()).filter_map(|length| {
            let wider = Reach {
                segments: reach.segments[..length].to_vec(),
                is_subtree: true,
            };
            self.plain.get(&wider)
        });
        let wild = self.wild.iter();
        let wild = wild.filter(|(known, _)| known.covers(reach));
        plain.chain(wild.map(|(_, known)| known))
    }
}

impl Reach {
    /// The paths that a pattern matches.
    pub fn of(pattern: &PathPattern) -> Self {
        Self {
            segments: pattern.segments().to_vec(),
            is_subtree: pattern.is_subtree(),
        }
    }

    /// What lies below the paths that a pattern matches.
    pub fn below(pattern: &PathPattern) -> Self {
        let mut reach = Self::of(pattern);
        reach.segments.push(Segment::Any);
        reach.is_subtree = true;
        reach
    }

    /// What an upstream gets of the paths that a pattern matches: behind `base`, which is empty or
    /// begins with a slash, and without the pattern itself if that is stripped. Letters have no
    /// case: to some upstreams they have none.
    pub fn behind(base: &str, pattern: &PathPattern, is_stripped: bool) -> Self {
        let base = base.split('/').skip(1).map(|segment| {
            let absolute = format!("/{segment}");
            let canonical = path::canonicalize(&absolute);
            let canonical = canonical.as_deref().map_or(segment, |path| &path[1..]);
            Segment::Literal(path::compared(canonical).into())
        });
        let own = if is_stripped {
            &[][..]
        } else {
            pattern.segments()
        };
        Self {
            segments: base.chain(own.iter().cloned()).map(lower_case).collect(),
            is_subtree: pattern.is_subtree(),
        }
    }

    fn has_wildcard(&self) -> bool {
        self.segments.contains(&Segment::Any)
    }

    /// Whether all of the other's paths are among these.
    pub fn covers(&self, other: &Self) -> bool {
        let mut pairs = self.segments.iter().zip(&other.segments);
        let is_long_enough = match self.segments.len().cmp(&other.segments.len()) {
            Ordering::Less => self.is_subtree,
            Ordering::Equal => self.is_subtree || !other.is_subtree,
            Ordering::Greater => false,
        };
        is_long_enough && pairs.all(|(ours, theirs)| *ours == Segment::Any || ours == theirs)
    }

    /// Whether there is a path that is among both.
    pub fn meets(&self, other: &Self) -> bool {
        let mut pairs = self.segments.iter().zip(&other.segments);
        let is_deep_enough = match self.segments.len().cmp(&other.segments.len()) {
            Ordering::Less => self.is_subtree,
            Ordering::Equal => true,
            Ordering::Greater => other.is_subtree,
        };
        let is_any = |segment: &Segment| *segment == Segment::Any;
        is_deep_enough
            && pairs.all(|(ours, theirs)| is_any(ours) || is_any(theirs) || ours == theirs)
    }
}

fn lower_case(segment: Segment) -> Segment {
    match segment {
        Segment::Literal(text) => Segment::Literal(text.to_lowercase().into()),
        Segment::Any => Segment::Any,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(text: &str) -> Reach {
        Reach::of(&PathPattern::parse(text).expect(text))
    }

    #[test]
    fn a_subtree_covers_what_lies_below_it_and_an_exact_path_itself() {
        for (wide, narrow) in [
            ("/", "/"),
            ("/", "/a"),
            ("/a/", "/a"),
            ("/a/", "/a/b/"),
            ("/a", "/a"),
            ("/{x}/", "/a/b"),
            ("/{x}/", "/{y}/b/"),
        ] {
            assert!(reach(wide).covers(&reach(narrow)), "{wide} {narrow}");
            assert!(reach(wide).meets(&reach(narrow)), "{wide} {narrow}");
            assert!(reach(narrow).meets(&reach(wide)), "{wide} {narrow}");
        }
        for (one, other) in [
            ("/a", "/a/"),
            ("/a/b/", "/a/"),
            ("/a/", "/{x}/"),
            ("/a", "/b"),
        ] {
            assert!(!reach(one).covers(&reach(other)), "{one} {other}");
        }
    }

    #[test]
    fn two_that_have_no_path_in_common_do_not_meet() {
        for (one, other) in [
            ("/a/", "/b/"),
            ("/a", "/a/b"),
            ("/a/b/", "/{x}/c/"),
            ("/ab/", "/a/"),
        ] {
            assert!(!reach(one).meets(&reach(other)), "{one} {other}");
            assert!(!reach(other).meets(&reach(one)), "{one} {other}");
        }
        assert!(reach("/{x}/b/").meets(&reach("/a/{y}/")));
    }

    #[test]
    fn of_many_those_that_matter_are_found() {
        let all = [
            "/", "/a/", "/a", "/a/b/", "/a/b/c", "/ab/", "/{x}/b/", "/{x}/z/",
        ];
        let mut reaches = Reaches::default();
        for text in all {
            reaches.insert(reach(text), text);
        }
        for text in ["/", "/a/", "/a", "/a/b", "/a/b/", "/{y}/", "/q/b/"] {
            let asked = reach(text);
            let met: Vec<_> = reaches.meeting(&asked).map(|(_, known)| *known).collect();
            let covering: Vec<_> = reaches.covering(&asked).copied().collect();
            for other in all {
                let known = reach(other);
                let is_wanted =
                    asked.meets(&known) && (asked.covers(&known) || !known.covers(&asked));
                assert!(
                    !is_wanted || met.contains(&other),
                    "{text}: {other} of {met:?}"
                );
                assert!(
                    asked.meets(&known) || !met.contains(&other),
                    "{text}: {other}"
                );
                let does_cover = known.covers(&asked) && known.is_subtree;
                assert_eq!(covering.contains(&other), does_cover, "{text}: {other}");
            }
        }
    }

    #[test]
    fn an_upstream_gets_its_base_path_and_what_is_not_stripped() {
        let pattern = PathPattern::parse("/Api/").unwrap();
        for (base, is_stripped, expected) in [
            ("", false, "/api/"),
            ("", true, "/"),
            ("/v%32", false, "/v2/api/"),
            ("/V2", true, "/v2/"),
        ] {
            assert_eq!(
                Reach::behind(base, &pattern, is_stripped),
                reach(expected),
                "{base}"
            );
        }
    }
}
