//! The path patterns of one host, as a tree of segments.
//!
//! [`Trie::find`] tries a literal before `{name}` and what is deeper before what is above it. For
//! patterns without [rivals](Trie::rivals) the first that matches is the most specific one: any
//! two that match the same path contain one another.

use memchr::memchr;
use rustc_hash::FxHashMap;
use smol_str::SmolStr;

use super::path;
use super::pattern::{PathPattern, Segment};

/// Path patterns and a value for each, seen from a position between two segments; to begin with,
/// from above the first.
///
/// What follows a segment lies in the table beside it: of ten thousand routes none is in the
/// processor's cache when it is asked for, and every step aside is a wait for the memory.
#[derive(Debug)]
pub(super) struct Trie<V> {
    literals: FxHashMap<SmolStr, Trie<V>>,
    any: Option<Box<Trie<V>>>,
    /// The value of the pattern that ends here.
    exact: Option<V>,
    /// The value of the pattern that ends here and covers all below.
    subtree: Option<V>,
}

/// How two patterns meet that neither decides against the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rivalry {
    /// Both match the same paths.
    SamePaths,
    /// Both match some path, and each matches one that the other does not.
    Overlap,
}

/// What the segments so far say: which of two patterns leaves out a path that the other matches.
#[derive(Debug, Clone, Copy, Default)]
struct Narrower {
    ours: bool,
    theirs: bool,
}

impl<V> Trie<V> {
    /// The value of the most specific pattern that matches the canonical `path`.
    ///
    /// Allocates only where a segment has escapes. A node is visited at most once, and only nodes
    /// whose segments match.
    pub(super) fn find(&self, path: &str) -> Option<&V> {
        let has_escapes = memchr(b'%', path.as_bytes()).is_some();
        self.find_below(Some(path.strip_prefix('/')?), has_escapes)
    }

    /// The value's place for `pattern`, whatever its wildcards are called.
    pub(super) fn slot(&mut self, pattern: &PathPattern) -> &mut Option<V> {
        let node = pattern
            .segments()
            .iter()
            .fold(self, |node, segment| match segment {
                Segment::Literal(text) => node.literals.entry(text.clone()).or_default(),
                Segment::Any => node.any.get_or_insert_default(),
            });
        if pattern.is_subtree() {
            &mut node.subtree
        } else {
            &mut node.exact
        }
    }

    /// Calls `meet` with the value of every pattern that neither is more specific than `pattern`
    /// nor less, though both match some path.
    pub(super) fn rivals<'t>(
        &'t self,
        pattern: &PathPattern,
        mut meet: impl FnMut(&'t V, Rivalry),
    ) {
        let mut walk = Walk {
            subtree: pattern.is_subtree(),
            meet: &mut meet,
        };
        walk.go(self, pattern.segments(), Narrower::default());
    }

    /// `rest` is what follows the slash behind this node, or `None` if the path ends here.
    fn find_below(&self, rest: Option<&str>, has_escapes: bool) -> Option<&V> {
        let Some(rest) = rest else {
            return self.exact.as_ref().or(self.subtree.as_ref());
        };
        let (segment, rest) = match rest.split_once('/') {
            Some((segment, rest)) => (segment, Some(rest)),
            None => (rest, None),
        };
        let literal = if has_escapes {
            self.literals.get(&*path::compared(segment))
        } else {
            self.literals.get(segment)
        };
        let any = self.any.as_ref().filter(|_| !segment.is_empty());
        literal
            .and_then(|below| below.find_below(rest, has_escapes))
            .or_else(|| any.and_then(|below| below.find_below(rest, has_escapes)))
            .or(self.subtree.as_ref())
    }
}

impl<V> Default for Trie<V> {
    fn default() -> Self {
        Self {
            literals: FxHashMap::default(),
            any: None,
            exact: None,
            subtree: None,
        }
    }
}

/// One pattern ("ours") on its way through the patterns of a trie ("theirs").
struct Walk<'t, 'm, V> {
    /// Whether ours covers all below its end.
    subtree: bool,
    meet: &'m mut dyn FnMut(&'t V, Rivalry),
}

impl<'t, V> Walk<'t, '_, V> {
    /// Goes on from here with the rest of our segments.
    fn go(&mut self, node: &'t Trie<V>, rest: &[Segment], narrower: Narrower) {
        let Some((segment, rest)) = rest.split_first() else {
            return self.end(node, narrower);
        };
        // Their subtree ends before ours does, so ours is the narrower by its length.
        let longer = Narrower {
            ours: true,
            ..narrower
        };
        self.judge(node.subtree.as_ref(), longer);
        match segment {
            Segment::Literal(text) => {
                if let Some(below) = node.literals.get(text) {
                    self.go(below, rest, narrower);
                }
                if let Some(below) = &node.any {
                    self.go(
                        below,
                        rest,
                        Narrower {
                            ours: true,
                            ..narrower
                        },
                    );
                }
            }
            Segment::Any => {
                let theirs = Narrower {
                    theirs: true,
                    ..narrower
                };
                for below in node.literals.values() {
                    self.go(below, rest, theirs);
                }
                if let Some(below) = &node.any {
                    self.go(below, rest, narrower);
                }
            }
        }
    }

    /// Ours ends here.
    fn end(&mut self, node: &'t Trie<V>, narrower: Narrower) {
        let ours = narrower.ours || !self.subtree;
        let theirs = narrower.theirs || self.subtree;
        self.judge(node.exact.as_ref(), Narrower { theirs, ..narrower });
        self.judge(node.subtree.as_ref(), Narrower { ours, ..narrower });
        // All below is theirs by length; it matters only where ours is the narrower by a literal.
        if self.subtree && narrower.ours {
            self.all_below(node);
        }
    }

    fn all_below(&mut self, node: &'t Trie<V>) {
        for below in node.literals.values().chain(node.any.as_deref()) {
            for value in below.exact.iter().chain(&below.subtree) {
                (self.meet)(value, Rivalry::Overlap);
            }
            self.all_below(below);
        }
    }

    fn judge(&mut self, value: Option<&'t V>, narrower: Narrower) {
        let Some(value) = value else { return };
        match (narrower.ours, narrower.theirs) {
            (true, true) => (self.meet)(value, Rivalry::Overlap),
            (false, false) => (self.meet)(value, Rivalry::SamePaths),
            (true, false) | (false, true) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trie(patterns: &[&'static str]) -> Trie<&'static str> {
        let mut trie = Trie::default();
        for pattern in patterns {
            *trie.slot(&PathPattern::parse(pattern).unwrap()) = Some(*pattern);
        }
        trie
    }

    #[test]
    fn the_most_specific_pattern_is_found() {
        let trie = trie(&[
            "/",
            "/a/",
            "/a",
            "/a/{x}/c",
            "/a/b/",
            "/{x}/y",
            "/a/b/{z}/d",
        ]);
        for (path, pattern) in [
            ("/", "/"),
            ("/z/z", "/"),
            ("/a", "/a"),
            ("/a/", "/a/"),
            ("/a/q", "/a/"),
            ("/a/q/c", "/a/{x}/c"),
            ("/a/b", "/a/b/"),
            ("/a/b/", "/a/b/"),
            ("/a/b/q/d", "/a/b/{z}/d"),
            ("/a/b//d", "/a/b/"),
            ("/q/y", "/{x}/y"),
        ] {
            assert_eq!(trie.find(path), Some(&pattern), "{path}");
        }
    }

    #[test]
    fn t90_a_subtree_ends_on_a_segment_boundary() {
        let trie = trie(&["/api/", "/public"]);
        assert_eq!(trie.find("/api"), Some(&"/api/"));
        for path in [
            "/apifoo",
            "/API",
            "/Api/s",
            "/public/",
            "/public/x",
            "/",
            "*",
            "",
        ] {
            assert_eq!(trie.find(path), None, "{path}");
        }
    }

    #[test]
    fn a_wildcard_is_one_segment_that_is_not_empty() {
        let trie = trie(&["/a/{x}", "/t/{x}/"]);
        assert_eq!(trie.find("/a/b"), Some(&"/a/{x}"));
        assert_eq!(trie.find("/t/b"), Some(&"/t/{x}/"));
        for path in ["/a", "/a/", "/a/b/", "/a/b/c", "/t", "/t/"] {
            assert_eq!(trie.find(path), None, "{path}");
        }
    }

    #[test]
    fn t98_a_long_path_costs_no_more_than_the_longest_pattern() {
        let trie = trie(&["/a/a/a/b", "/{x}/{y}/{z}/c", "/"]);
        assert_eq!(trie.find(&"/a".repeat(32_000)), Some(&"/"));
    }
}
