//! Sets of paths: which ones a route takes, and which ones an upstream gets from it.
//!
//! They decide nothing about a request. What is said of routes to whoever has written them rests on
//! them.

use std::cmp::Ordering;

use super::path;
use super::pattern::{PathPattern, Segment};

/// A set of paths, by their segments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    segments: Vec<Segment>,
    /// Whether all that lies below is part of it.
    is_subtree: bool,
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
