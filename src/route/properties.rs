//! Properties of conflicts and the table together, against a matcher that looks at every route.

use std::collections::BTreeSet;

use http::Method;
use proptest::prelude::*;
use proptest::sample::select;

use super::path;
use super::{Conflict, HostPattern, Lookup, PathPattern, Shape, Table, conflicts};

type Written = (Option<&'static str>, &'static str, Option<Vec<Method>>);

fn table(routes: &[Written]) -> Table<usize> {
    Table::new(
        routes
            .iter()
            .enumerate()
            .map(|(index, (host, path, methods))| {
                let host = host.map(|host| HostPattern::parse(host).unwrap());
                (
                    host,
                    PathPattern::parse(path).unwrap(),
                    methods.clone(),
                    index,
                )
            }),
    )
}

/// Every path of up to three segments over `a`, `b` and `z`, with and without a final slash.
/// No pattern below names `z`, so patterns that differ differ somewhere in here.
fn universe() -> Vec<String> {
    let mut paths = vec![String::new()];
    let mut longest = paths.clone();
    for _ in 0..3 {
        longest = longest
            .iter()
            .flat_map(|path| ["a", "b", "z"].map(|segment| format!("{path}/{segment}")))
            .collect();
        paths.extend(longest.iter().cloned());
    }
    let with_slash: Vec<String> = paths.iter().map(|path| format!("{path}/")).collect();
    paths.retain(|path| !path.is_empty());
    paths.extend(with_slash);
    paths
}

/// The paths of the universe that a pattern matches, told from its text alone.
fn matched(pattern: &str) -> BTreeSet<String> {
    let wanted: Vec<&str> = pattern
        .trim_matches('/')
        .split('/')
        .filter(|segment| !segment.is_empty())
        .collect();
    let matches = |path: &String| {
        let given: Vec<&str> = path[1..].split('/').collect();
        let head = wanted.iter().zip(&given).all(|(wanted, given)| {
            wanted == given || (wanted.starts_with('{') && !given.is_empty())
        });
        let long_enough = given.len() >= wanted.len();
        head && long_enough && (pattern.ends_with('/') || given.len() == wanted.len())
    };
    universe().into_iter().filter(matches).collect()
}

fn naive_conflict(one: &Written, other: &Written) -> bool {
    let (ours, theirs) = (matched(one.1), matched(other.1));
    let methods = match (&one.2, &other.2) {
        (Some(ours), Some(theirs)) => ours.iter().any(|method| theirs.contains(method)),
        (None, _) | (_, None) => true,
    };
    one.0 == other.0
        && if ours == theirs {
            methods
        } else {
            !ours.is_disjoint(&theirs) && !ours.is_subset(&theirs) && !theirs.is_subset(&ours)
        }
}

/// Looks at every route: those of the host, of them the one with the fewest paths.
fn naive_find(
    routes: &[Written],
    host: &str,
    path: &str,
    method: &Method,
) -> Option<Result<usize, BTreeSet<String>>> {
    let parent = host
        .split_once('.')
        .map(|(_, parent)| format!("*.{parent}"));
    let choice = [Some(host), parent.as_deref(), None]
        .into_iter()
        .find(|choice| choice.is_none() || routes.iter().any(|route| route.0 == *choice))?;
    let matching = |route: &&Written| route.0 == choice && matched(route.1).contains(path);
    let best = routes
        .iter()
        .filter(matching)
        .map(|route| matched(route.1))
        .min_by_key(BTreeSet::len)?;
    let same = || {
        routes
            .iter()
            .enumerate()
            .filter(|(_, route)| route.0 == choice && matched(route.1) == best)
    };
    let fits = |route: &Written| {
        route
            .2
            .as_ref()
            .is_none_or(|methods| methods.contains(method))
    };
    Some(match same().find(|(_, route)| fits(route)) {
        Some((index, _)) => Ok(index),
        None => Err(same()
            .flat_map(|(_, route)| route.2.clone().unwrap())
            .map(|method| method.to_string())
            .collect()),
    })
}

fn written() -> impl Strategy<Value = Written> {
    let hosts = [None, Some("a.test"), Some("*.test"), Some("b.test")];
    let paths = "/ /a /a/ /b/ /{x} /{z} /{y}/ /a/b /a/b/ /b/a /a/{x} /a/{y}/ /{x}/b /{x}/b/ /{x}/{y} \
                 /{x}/{y}/ /b/{x} /a/{x}/b /{x}/b/a /a/b/{x} /{x}/{y}/b /a/{x}/{y}/";
    let paths: Vec<&str> = paths.split_whitespace().collect();
    let methods = [
        None,
        Some(vec![Method::GET]),
        Some(vec![Method::POST, Method::PUT]),
    ];
    (
        select(hosts.to_vec()),
        select(paths),
        select(methods.to_vec()),
    )
}

fn found_conflicts(routes: &[Written]) -> Vec<(usize, usize, Conflict)> {
    let parsed: Vec<(Option<HostPattern>, PathPattern)> = routes
        .iter()
        .map(|route| {
            (
                route.0.map(|host| HostPattern::parse(host).unwrap()),
                PathPattern::parse(route.1).unwrap(),
            )
        })
        .collect();
    let shapes: Vec<Shape<'_>> = parsed
        .iter()
        .zip(routes)
        .map(|((host, path), route)| Shape {
            host: host.as_ref(),
            path,
            methods: route.2.as_deref(),
        })
        .collect();
    conflicts(&shapes)
}

/// Other spellings of `/api/s` and of what lies around it.
fn rewritings() -> impl Strategy<Value = String> {
    let letter = |plain: char| {
        let code = u32::from(plain);
        select(vec![
            plain.to_string(),
            format!("%{code:02x}"),
            format!("%{code:02X}"),
        ])
    };
    let between = "/ / / // /./ /public/../ /%2e%2E/ /.%2e/ /..;/ /;/../ /..%2f /%2F /\\ %5c/";
    let between = select(between.split_whitespace().collect::<Vec<_>>());
    let word = (
        "api".chars().map(letter).collect::<Vec<_>>(),
        "s".chars().map(letter).collect::<Vec<_>>(),
    );
    (between.clone(), between, word).prop_map(|(first, second, (api, s))| {
        format!("{first}{}{second}{}", api.concat(), s.concat())
    })
}

proptest! {
    #[test]
    fn f8_conflicts_are_those_of_the_naive_matcher(
        routes in prop::collection::vec(written(), 0..7),
    ) {
        let found = found_conflicts(&routes).into_iter().map(|(earlier, later, _)| (earlier, later));
        let first_rival = |later: usize| {
            (0..later).find(|&earlier| naive_conflict(&routes[earlier], &routes[later]))
        };
        let naive = (0..routes.len()).filter_map(|later| Some((first_rival(later)?, later)));
        let (found, naive): (Vec<_>, Vec<_>) = (found.collect(), naive.collect());
        prop_assert_eq!(found, naive);
    }

    #[test]
    fn f8_the_table_finds_what_the_naive_matcher_finds(
        wanted in prop::collection::vec(written(), 0..12),
        host in select(vec!["a.test", "b.test", "z.test", "y.z.test", "other"]),
        paths in prop::collection::vec(select(universe()), 12),
        method in select(vec![Method::GET, Method::POST, Method::DELETE]),
    ) {
        let mut routes: Vec<Written> = Vec::new();
        for route in wanted {
            routes.push(route);
            if !found_conflicts(&routes).is_empty() {
                routes.pop();
            }
        }
        let table = table(&routes);
        for path in paths {
            let found = match table.find(host, &path, &method) {
                Lookup::Found(index) => Some(Ok(*index)),
                Lookup::NoRoute => None,
                Lookup::MethodNotAllowed { allow } => {
                    Some(Err(allow.to_str().unwrap().split(", ").map(str::to_owned).collect()))
                }
            };
            prop_assert_eq!(found, naive_find(&routes, host, &path, &method), "{}", path);
        }
    }

    #[test]
    fn f8_a_protected_subtree_stays_protected(target in rewritings()) {
        let table = Table::new(["/", "/public/", "/api/"].map(|text| {
            (None, PathPattern::parse(text).unwrap(), None, text)
        }));
        if let Ok(canonical) = path::canonicalize(&target) {
            prop_assert_eq!(table.find("a", &canonical, &Method::GET), Lookup::Found(&"/api/"), "{}", target);
        }
    }
}
