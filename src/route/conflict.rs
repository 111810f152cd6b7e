//! Which routes could both win, so that the configuration can refuse them with both places.
//!
//! As in Go's ServeMux (1.22), two path patterns may overlap if one matches only paths that the
//! other matches too: then it is the more specific one. If neither is, no order of the file
//! decides instead.

use std::collections::HashMap;
use std::fmt;

use http::Method;

use super::pattern::{HostPattern, PathPattern, Segment};
use super::trie::{Rivalry, Trie};

/// What of a route decides which requests are its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape<'a> {
    /// The host it is for; `None` is any host that has no routes of its own.
    pub host: Option<&'a HostPattern>,
    /// The paths it is for.
    pub path: &'a PathPattern,
    /// The methods it is for; `None` is all.
    pub methods: Option<&'a [Method]>,
}

/// How two routes are in each other's way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conflict {
    /// Both match `example`, and neither path is the more specific one.
    Overlap {
        /// A path that both match.
        example: String,
    },
    /// Both are for the same paths and for this method.
    SameMethod(Method),
    /// Both are for the same paths and for every method.
    EveryMethod,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overlap { example } => {
                write!(
                    f,
                    "both match `{example}`, and neither is the more specific one"
                )
            }
            Self::SameMethod(method) => write!(f, "both are for {method} on the same paths"),
            Self::EveryMethod => f.write_str("both are for every method on the same paths"),
        }
    }
}

/// The pairs of `routes` that could both win for some request, by their indexes, earlier first.
///
/// Each route is named at most once as the later one, with the first that it is in conflict with.
pub fn conflicts(routes: &[Shape<'_>]) -> Vec<(usize, usize, Conflict)> {
    let mut hosts: HashMap<Option<&HostPattern>, Trie<Vec<usize>>> = HashMap::new();
    let mut first_rival: Vec<Option<(usize, Rivalry)>> = vec![None; routes.len()];
    for newcomer in least_specific_first(routes) {
        let route = &routes[newcomer];
        let trie = hosts.entry(route.host).or_default();
        trie.rivals(route.path, |known, rivalry| {
            for &known in known {
                if rivalry == Rivalry::Overlap || shared(&routes[known], route).is_some() {
                    let (earlier, later) = (known.min(newcomer), known.max(newcomer));
                    let first = &mut first_rival[later];
                    if first.is_none_or(|(first, _)| earlier < first) {
                        *first = Some((earlier, rivalry));
                    }
                }
            }
        });
        trie.slot(route.path).get_or_insert_default().push(newcomer);
    }
    let pairs = first_rival.into_iter().enumerate();
    pairs
        .filter_map(|(later, rival)| {
            let (earlier, rivalry) = rival?;
            let (one, other) = (&routes[earlier], &routes[later]);
            let conflict = match rivalry {
                Rivalry::Overlap => Conflict::Overlap {
                    example: common_path(one.path, other.path),
                },
                Rivalry::SamePaths => shared(one, other)?,
            };
            Some((earlier, later, conflict))
        })
        .collect()
}

/// The indexes of `routes`, wildcards before literals: a wildcard has to look at every literal
/// that is there already, a literal only at itself and the wildcard.
fn least_specific_first(routes: &[Shape<'_>]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..routes.len()).collect();
    order.sort_by(|&one, &other| routes[other].path.specificity(routes[one].path));
    order
}

/// What two routes for the same paths share of their methods.
fn shared(one: &Shape<'_>, other: &Shape<'_>) -> Option<Conflict> {
    match (one.methods, other.methods) {
        (None, None) => Some(Conflict::EveryMethod),
        (Some(methods), None) | (None, Some(methods)) => {
            methods.first().cloned().map(Conflict::SameMethod)
        }
        (Some(ours), Some(theirs)) => ours
            .iter()
            .find(|method| theirs.contains(method))
            .cloned()
            .map(Conflict::SameMethod),
    }
}

/// A path that both patterns match, given that there is one.
fn common_path(one: &PathPattern, other: &PathPattern) -> String {
    let (one, other) = (one.segments(), other.segments());
    let literal = |segments: &[Segment], at: usize| match segments.get(at) {
        Some(Segment::Literal(text)) => Some(text.to_string()),
        Some(Segment::Any) | None => None,
    };
    (0..one.len().max(other.len()))
        .map(|at| {
            let segment = literal(one, at).or_else(|| literal(other, at));
            format!("/{}", segment.as_deref().unwrap_or("x"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn between(one: &str, other: &str) -> Option<String> {
        let (one, other) = (
            PathPattern::parse(one).unwrap(),
            PathPattern::parse(other).unwrap(),
        );
        let shapes = [&one, &other].map(|path| Shape {
            host: None,
            path,
            methods: None,
        });
        let found = |shapes: &[Shape<'_>]| conflicts(shapes).pop().map(|(_, _, conflict)| conflict);
        let forth = found(&shapes);
        assert_eq!(
            forth,
            found(&[shapes[1], shapes[0]]),
            "the order does not matter"
        );
        forth.map(|conflict| conflict.to_string())
    }

    #[test]
    fn a_more_specific_pattern_is_no_conflict() {
        for (one, other) in [
            ("/", "/a"),
            ("/a", "/a/"),
            ("/a/b", "/a/{x}"),
            ("/a/{x}", "/a/"),
            ("/{x}/", "/a/"),
            ("/{x}/b", "/a/b"),
            ("/{x}/{y}", "/a/{y}"),
            ("/{x}/", "/{x}/{y}/"),
            ("/a/{x}/c", "/b/{x}/c"),
            ("/a/{x}/c", "/{x}/b/d"),
            ("/{x}", "/a/b"),
        ] {
            assert_eq!(between(one, other), None, "{one} {other}");
        }
    }

    #[test]
    fn an_overlap_is_told_by_an_example() {
        for (one, other, example) in [
            ("/a/{x}", "/{x}/b", "/a/b"),
            ("/a/{x}/", "/{x}/b", "/a/b"),
            ("/a/", "/{x}", "/a"),
            ("/a/", "/{x}/b", "/a/b"),
            ("/a/", "/{x}/{y}/", "/a/x"),
            ("/a/{x}/c/", "/{x}/b/{z}/{w}/e", "/a/b/c/x/e"),
        ] {
            let told = format!("both match `{example}`, and neither is the more specific one");
            assert_eq!(between(one, other), Some(told), "{one} {other}");
        }
    }

    #[test]
    fn the_same_paths_need_disjoint_methods() {
        assert_eq!(
            between("/a", "/a").unwrap(),
            "both are for every method on the same paths"
        );
        assert_eq!(
            between("/{x}/a/", "/{y}/a/").unwrap(),
            "both are for every method on the same paths"
        );
        let path = PathPattern::parse("/a").unwrap();
        let shape = |methods| Shape {
            host: None,
            path: &path,
            methods,
        };
        let (read, write, post) = (
            [Method::GET, Method::HEAD],
            [Method::PUT, Method::POST],
            [Method::POST],
        );
        assert_eq!(conflicts(&[shape(Some(&read)), shape(Some(&write))]), []);
        assert_eq!(
            conflicts(&[shape(Some(&read)), shape(Some(&write)), shape(Some(&post))]),
            [(1, 2, Conflict::SameMethod(Method::POST))]
        );
        assert_eq!(
            conflicts(&[shape(Some(&read)), shape(None)]),
            [(0, 1, Conflict::SameMethod(Method::GET))]
        );
    }

    #[test]
    fn hosts_do_not_meet() {
        let path = PathPattern::parse("/").unwrap();
        let hosts = ["a.test", "*.test", "b.test"].map(|host| HostPattern::parse(host).unwrap());
        let mut shapes: Vec<Shape<'_>> = hosts
            .iter()
            .map(|host| Shape {
                host: Some(host),
                path: &path,
                methods: None,
            })
            .collect();
        shapes.push(Shape {
            host: None,
            ..shapes[0]
        });
        assert_eq!(conflicts(&shapes), []);
        shapes.push(shapes[1]);
        assert_eq!(conflicts(&shapes), [(1, 4, Conflict::EveryMethod)]);
    }

    #[test]
    fn ten_thousand_routes_are_not_compared_in_pairs() {
        let literal = (0..8_000).map(|n| format!("/team-{n}/a/"));
        let wild = (0..2_000).map(|n| format!("/{{team}}/b{n}/{{id}}"));
        let paths: Vec<PathPattern> = literal
            .chain(wild)
            .map(|path| PathPattern::parse(&path).unwrap())
            .collect();
        let shapes: Vec<Shape<'_>> = paths
            .iter()
            .map(|path| Shape {
                host: None,
                path,
                methods: None,
            })
            .collect();
        let begun = Instant::now();
        assert_eq!(conflicts(&shapes), []);
        // Far from what it takes (tens of milliseconds), and far below what fifty million pairs do.
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "{:?}",
            begun.elapsed()
        );
    }
}
