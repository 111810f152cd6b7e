//! The routing table: host first, then the most specific path, then its methods.
//!
//! A table is built once and only read from then on. Finding a route allocates nothing, unless
//! the path has escapes. What it costs depends on the path and not on how many routes there are,
//! unless somebody writes routes that mix literals and wildcards on many levels; then the routes of
//! that one host are the bound.

use std::cmp::Ordering;
use std::num::NonZeroU32;
use std::ops::Range;

use http::{HeaderValue, Method};
use rustc_hash::FxHashMap;

use super::conflict::{self, Shape};
use super::pattern::{HostPattern, PathPattern};
use super::trie::Trie;

/// Routes, and for each of them a `T`.
#[derive(Debug)]
pub struct Table<T> {
    /// In the order of trying, so that the routes of an [`Endpoint`] are neighbours.
    routes: Vec<Route<T>>,
    /// What those are written as, in the same order: nothing that a request has to look at.
    written: Vec<Written>,
    exact: Hosts,
    /// By what follows the first label.
    wildcard: Hosts,
    any: Trie<Endpoint>,
}

/// The paths of each host.
type Hosts = FxHashMap<Box<str>, Trie<Endpoint>>;

/// What a host, a path and a method lead to.
#[derive(Debug, PartialEq, Eq)]
pub enum Lookup<'t, T> {
    /// The one route.
    Found(&'t T),
    /// No route has this host and path: 404.
    NoRoute,
    /// The most specific path has routes, but none for this method: 405.
    MethodNotAllowed {
        /// The methods it has routes for, as the value of `Allow` (RFC 9110 §10.2.1).
        allow: HeaderValue,
    },
}

#[derive(Debug)]
struct Route<T> {
    methods: Option<Box<[Method]>>,
    value: T,
}

#[derive(Debug)]
struct Written {
    host: Option<HostPattern>,
    path: PathPattern,
}

/// The routes that share a host and a path pattern: where they begin, and how many they are.
/// Small, as it lies beside the path's last segment.
#[derive(Debug)]
struct Endpoint {
    first: u32,
    count: NonZeroU32,
}

impl<T> Table<T> {
    /// A table of `routes`: host, path, methods (`None` is all; `GET` does not imply `HEAD` here)
    /// and what they lead to.
    ///
    /// The routes have no [`conflicts`](conflict::conflicts); the configuration has seen to that.
    pub fn new(
        routes: impl IntoIterator<Item = (Option<HostPattern>, PathPattern, Option<Vec<Method>>, T)>,
    ) -> Self {
        let mut routes: Vec<(Written, Route<T>)> = routes
            .into_iter()
            .map(|(host, path, methods, value)| {
                let methods = methods.map(Vec::into_boxed_slice);
                (Written { host, path }, Route { methods, value })
            })
            .collect();
        routes.sort_by(|(one, _), (other, _)| one.order_of_trying(other));
        let (written, routes): (Vec<Written>, Vec<Route<T>>) = routes.into_iter().unzip();
        let mut table = Self {
            routes,
            written: Vec::new(),
            exact: Hosts::default(),
            wildcard: Hosts::default(),
            any: Trie::default(),
        };
        let mut first = 0;
        for same in written.chunk_by(|one, other| one.order_of_trying(other).is_eq()) {
            let count = u32::try_from(same.len()).ok().and_then(NonZeroU32::new);
            let count = count.expect("a chunk is not empty, and a file of 2³² routes is too large");
            let Written { host, path } = &same[0];
            *table.paths_of(host.as_ref()).slot(path) = Some(Endpoint { first, count });
            first += count.get();
        }
        table.written = written;
        debug_assert!(table.has_no_conflicts(), "conflicts are refused at load");
        table
    }

    /// The route for a canonical `host` (no port) and a canonical `path`.
    ///
    /// A host that some route names, or else one whose wildcard some route names, sees only
    /// those routes. If no method fits, no less specific path is tried instead.
    pub fn find(&self, host: &str, path: &str, method: &Method) -> Lookup<'_, T> {
        let paths = self.named(host).unwrap_or(&self.any);
        let Some(endpoint) = paths.find(path) else {
            return Lookup::NoRoute;
        };
        let routes = &self.routes[endpoint.range()];
        match routes.iter().find(|route| route.takes(method)) {
            Some(route) => Lookup::Found(&route.value),
            None => Lookup::MethodNotAllowed {
                allow: allow(routes),
            },
        }
    }

    /// Whether some route names the canonical `host`, itself or by a wildcard.
    pub fn names_host(&self, host: &str) -> bool {
        self.named(host).is_some()
    }

    /// All routes in the order in which they are tried: exact hosts, wildcards, no host; for each
    /// of them by [`PathPattern::specificity`].
    pub fn iter_in_order(&self) -> impl Iterator<Item = (Shape<'_>, &T)> {
        let values = self.routes.iter().map(|route| &route.value);
        self.shapes().zip(values)
    }

    fn shapes(&self) -> impl Iterator<Item = Shape<'_>> {
        let all = self.written.iter().zip(&self.routes);
        all.map(|(Written { host, path }, route)| Shape {
            host: host.as_ref(),
            path,
            methods: route.methods.as_deref(),
        })
    }

    /// The paths of the routes that name `host`.
    fn named(&self, host: &str) -> Option<&Trie<Endpoint>> {
        self.exact.get(host).or_else(|| {
            // Nearly nobody has any.
            if self.wildcard.is_empty() {
                return None;
            }
            let (_, parent) = host.split_once('.')?;
            self.wildcard.get(parent)
        })
    }

    fn paths_of(&mut self, host: Option<&HostPattern>) -> &mut Trie<Endpoint> {
        match host {
            None => &mut self.any,
            Some(host) if host.is_wildcard() => {
                self.wildcard.entry(host.name().into()).or_default()
            }
            Some(host) => self.exact.entry(host.name().into()).or_default(),
        }
    }

    fn has_no_conflicts(&self) -> bool {
        let shapes: Vec<Shape<'_>> = self.shapes().collect();
        conflict::conflicts(&shapes).is_empty()
    }
}

impl Written {
    /// `Less` if this route is tried before `other`, `Equal` if both have the same host and paths.
    fn order_of_trying(&self, other: &Self) -> Ordering {
        let no_host_last = self.host.is_none().cmp(&other.host.is_none());
        no_host_last
            .then_with(|| self.host.cmp(&other.host))
            .then_with(|| self.path.specificity(&other.path))
    }
}

impl Endpoint {
    const fn range(&self) -> Range<usize> {
        let first = self.first as usize;
        first..first + self.count.get() as usize
    }
}

impl<T> Route<T> {
    fn takes(&self, method: &Method) -> bool {
        self.methods
            .as_ref()
            .is_none_or(|methods| methods.contains(method))
    }
}

/// The value of `Allow` for routes of the same host and path.
fn allow<T>(routes: &[Route<T>]) -> HeaderValue {
    let methods = routes.iter().filter_map(|route| route.methods.as_deref());
    let names: Vec<&str> = methods.flatten().map(Method::as_str).collect();
    HeaderValue::try_from(names.join(", ")).expect("a method is a token, and so fit for a field")
}

#[cfg(test)]
mod tests {
    use super::*;

    type Line = (Option<&'static str>, &'static str, Option<Vec<Method>>);

    fn table(routes: &[Line]) -> Table<usize> {
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

    #[test]
    fn t92_the_host_decides_first() {
        let table = table(&[
            (None, "/", None),
            (Some("a.test"), "/x", None),
            (Some("*.test"), "/y", None),
            (Some("127.0.0.1"), "/z", None),
        ]);
        let find = |host, path| table.find(host, path, &Method::GET);
        assert_eq!(find("a.test", "/x"), Lookup::Found(&1));
        assert_eq!(
            find("a.test", "/y"),
            Lookup::NoRoute,
            "an exact host sees no wildcard's routes"
        );
        assert_eq!(
            find("a.test", "/"),
            Lookup::NoRoute,
            "nor those without a host"
        );
        assert_eq!(find("b.test", "/y"), Lookup::Found(&2));
        assert_eq!(find("b.test", "/x"), Lookup::NoRoute);
        for other in ["test", "a.b.test", "a.test.b", "[::1]", "localhost"] {
            assert_eq!(find(other, "/y"), Lookup::Found(&0), "{other}");
            assert!(!table.names_host(other), "{other}");
        }
        for named in ["a.test", "b.test", "127.0.0.1"] {
            assert!(table.names_host(named), "{named}");
        }
    }

    #[test]
    fn t92_a_hundred_and_one_hosts_decide_as_one_does() {
        let names: Vec<String> = (0..=100).map(|n| format!("h{n}.test")).collect();
        let routes = names.iter().map(|name| {
            let host = HostPattern::parse(&name.to_uppercase()).unwrap();
            (
                Some(host),
                PathPattern::parse("/api/").unwrap(),
                None,
                name.clone(),
            )
        });
        let table = Table::new(routes);
        for name in &names {
            assert_eq!(
                table.find(name, "/api/s", &Method::GET),
                Lookup::Found(name)
            );
        }
        assert_eq!(
            table.find("h101.test", "/api/s", &Method::GET),
            Lookup::NoRoute
        );
    }

    #[test]
    fn t96_a_method_that_does_not_fit_gets_no_broader_path() {
        let table = table(&[
            (None, "/", None),
            (None, "/api/", Some(vec![Method::GET, Method::HEAD])),
            (None, "/api/", Some(vec![Method::POST])),
        ]);
        assert_eq!(table.find("a", "/api/s", &Method::GET), Lookup::Found(&1));
        assert_eq!(table.find("a", "/api/s", &Method::POST), Lookup::Found(&2));
        for method in [Method::DELETE, Method::OPTIONS] {
            let Lookup::MethodNotAllowed { allow } = table.find("a", "/api/s", &method) else {
                panic!("{method}");
            };
            assert_eq!(allow, "GET, HEAD, POST");
        }
        assert_eq!(
            table.find("a", "/other", &Method::DELETE),
            Lookup::Found(&0)
        );
    }

    #[test]
    fn t95_the_asterisk_has_no_route() {
        assert_eq!(
            table(&[(None, "/", None)]).find("a", "*", &Method::OPTIONS),
            Lookup::NoRoute
        );
    }

    #[test]
    fn t97_an_empty_table_has_no_route_of_its_own() {
        assert_eq!(
            table(&[]).find("a", "/healthz", &Method::GET),
            Lookup::NoRoute
        );
    }

    #[test]
    fn routes_are_told_in_the_order_of_trying() {
        let table = table(&[
            (None, "/", None),
            (Some("*.b.test"), "/", None),
            (None, "/a/", None),
            (Some("a.test"), "/a/", None),
            (Some("*.a.test"), "/", None),
            (Some("a.test"), "/a", None),
        ]);
        let told: Vec<String> = table
            .iter_in_order()
            .map(|(shape, _)| {
                format!(
                    "{}{}",
                    shape.host.map(ToString::to_string).unwrap_or_default(),
                    shape.path
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                "a.test/a",
                "a.test/a/",
                "*.a.test/",
                "*.b.test/",
                "/a/",
                "/"
            ]
        );
    }

    #[test]
    fn ten_thousand_routes_are_found_each() {
        let table = Table::new((0..10_000).map(|n| {
            (
                None,
                PathPattern::parse(&format!("/team-{n}/{{id}}/")).unwrap(),
                None,
                n,
            )
        }));
        for n in 0..10_000 {
            let path = format!("/team-{n}/7/items");
            assert_eq!(table.find("a", &path, &Method::GET), Lookup::Found(&n));
        }
    }
}
