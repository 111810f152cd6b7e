//! What a route is written as: a pattern for hosts and a pattern for paths.
//!
//! Literal parts go through the same functions as requests do, so a spelling in the file and a
//! spelling on the wire that mean the same cannot differ here. Patterns hold no regular
//! expressions: which of two is the more specific is always known, or they are refused
//! (see [`conflicts`](super::conflicts)).

use std::cmp::Ordering;
use std::fmt;

use smol_str::SmolStr;
use thiserror::Error;

use super::ambiguity::Ambiguity;
use super::host::Host;
use super::path;

/// `api.example.com`, or `*.example.com` for exactly one label; or an address.
///
/// The order is the one in which hosts are tried: exact ones, then wildcards.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPattern {
    wildcard: bool,
    /// The canonical host; of a wildcard, what follows `*.`.
    name: String,
}

impl HostPattern {
    /// Reads a host as the file spells it, in any case and with or without the final dot.
    ///
    /// # Errors
    /// What is wrong, and what to write instead.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.contains("://") {
            return Err(PatternError::HostScheme);
        }
        let (wildcard, name) = match text.strip_prefix("*.") {
            Some(parent) => (true, parent),
            None => (false, text),
        };
        if name.contains('*') {
            return Err(PatternError::HostWildcard);
        }
        if !name.is_ascii() {
            return Err(PatternError::HostNotAscii);
        }
        let host = Host::parse(name)?;
        if host.port().is_some() {
            return Err(PatternError::HostPort);
        }
        if wildcard && host.is_address() {
            return Err(PatternError::HostWildcard);
        }
        Ok(Self {
            wildcard,
            name: host.name().to_owned(),
        })
    }

    /// The host itself, or what must follow the one label of a wildcard.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn is_wildcard(&self) -> bool {
        self.wildcard
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = if self.wildcard { "*." } else { "" };
        write!(f, "{label}{}", self.name)
    }
}

/// `/a/b` for exactly that path, `/a/` for `/a` and all below it, and `{name}` in either for one
/// whole segment that is not empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PathPattern {
    text: String,
    segments: Vec<Segment>,
    subtree: bool,
}

/// One segment of a path pattern. The order is that of trying: literals first.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Segment {
    /// This text, as it is [compared](path::compared).
    Literal(SmolStr),
    /// `{name}`: any segment that is not empty.
    Any,
}

impl PathPattern {
    /// Reads a path as the file spells it; literal segments are made canonical.
    ///
    /// # Errors
    /// What is wrong, and what to write instead.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let below = text.strip_prefix('/').ok_or(Ambiguity::PathNotAbsolute)?;
        let (written, subtree) = match below.strip_suffix('/') {
            Some(written) => (written, true),
            None => (below, below.is_empty()),
        };
        let mut pattern = Self {
            text: String::new(),
            segments: Vec::new(),
            subtree,
        };
        if !below.is_empty() {
            let mut names = Vec::new();
            for segment in written.split('/') {
                pattern.push(segment, &mut names)?;
            }
        }
        if subtree {
            pattern.text.push('/');
        }
        Ok(pattern)
    }

    /// Whether all that lies below is covered too.
    pub fn is_subtree(&self) -> bool {
        self.subtree
    }

    /// Compares in the order of trying: literal before `{name}`, longer before shorter, exact
    /// before subtree; what is left is alphabetical.
    ///
    /// Patterns that are equal here, whatever their wildcards are called, match the same paths,
    /// and one that matches only paths that another matches too comes before it.
    pub fn specificity(&self, other: &Self) -> Ordering {
        let pairs = self.segments.iter().zip(&other.segments);
        pairs
            .map(|(ours, theirs)| ours.cmp(theirs))
            .find(|order| order.is_ne())
            .unwrap_or_else(|| {
                let longer_first = other.segments.len().cmp(&self.segments.len());
                longer_first.then(self.subtree.cmp(&other.subtree))
            })
    }

    /// What remains of a matched `path` behind the pattern's own segments: it starts with a
    /// slash, or it is empty.
    pub fn strip<'p>(&self, path: &'p str) -> &'p str {
        let mut slashes = path.match_indices('/').map(|(at, _)| at);
        slashes
            .nth(self.segments.len())
            .map_or("", |at| &path[at..])
    }

    pub(super) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    fn push<'t>(&mut self, written: &'t str, names: &mut Vec<&'t str>) -> Result<(), PatternError> {
        if self.segments.len() == MAX_SEGMENTS {
            return Err(PatternError::TooManySegments);
        }
        self.text.push('/');
        if written.contains(['{', '}']) {
            let name = wildcard_name(written).ok_or(PatternError::Wildcard)?;
            if names.contains(&name) {
                return Err(PatternError::RepeatedName(name.to_owned()));
            }
            names.push(name);
            self.text.push_str(written);
            self.segments.push(Segment::Any);
            return Ok(());
        }
        match written {
            "" => return Err(Ambiguity::EmptySegment.into()),
            "*" | "**" => return Err(PatternError::Star),
            _ => {}
        }
        let absolute = format!("/{written}");
        let literal = &path::canonicalize(&absolute)?[1..];
        self.text.push_str(literal);
        let compared = path::compared(literal);
        self.segments.push(Segment::Literal(compared.into()));
        Ok(())
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why a pattern is none, in words for whoever wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PatternError {
    /// The literal part is what a request could not be either.
    #[error(transparent)]
    Ambiguous(#[from] Ambiguity),
    /// `https://api.example.com`.
    #[error("a route's host has no scheme; write the name alone, as in `api.example.com`")]
    HostScheme,
    /// `api.example.com:443`.
    #[error("a route's host has no port; write the name alone")]
    HostPort,
    /// `münchen.example`.
    #[error("an international host is written as it travels, `xn--…`")]
    HostNotAscii,
    /// `*`, `a.*`, `*a.example.com`, `*.127.0.0.1`.
    #[error(
        "`*` stands only for the first label, as in `*.example.com`; leave host out for any host"
    )]
    HostWildcard,
    /// `{`, `a{b}`, `{}`, `{a...}`.
    #[error("a wildcard is one whole segment such as `{{id}}`, named with letters, digits and `_`")]
    Wildcard,
    /// `/{id}/{id}`.
    #[error("two wildcards are named `{{{0}}}`; give each a name of its own")]
    RepeatedName(String),
    /// `/api/*`.
    #[error("`*` is no wildcard in a path; `/api/` covers all below it, `{{name}}` one segment")]
    Star,
    /// More segments than anybody needs; matching recurses once for each.
    #[error("the path has more than {max} segments", max = MAX_SEGMENTS)]
    TooManySegments,
}

/// The name in `{name}`.
fn wildcard_name(segment: &str) -> Option<&str> {
    let name = segment.strip_prefix('{')?.strip_suffix('}')?;
    let valid = !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    valid.then_some(name)
}

/// Bounds the depth of the recursion that matches.
const MAX_SEGMENTS: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> HostPattern {
        HostPattern::parse(text).expect(text)
    }

    fn path(text: &str) -> PathPattern {
        PathPattern::parse(text).expect(text)
    }

    #[test]
    fn t92_a_host_pattern_is_canonical() {
        assert_eq!(host("API.Example.com.").to_string(), "api.example.com");
        assert_eq!(host("*.Example.COM.").to_string(), "*.example.com");
        assert_eq!(host("[0::1]"), host("[::1]"));
        assert_eq!(host("127.0.0.1").to_string(), "127.0.0.1");
    }

    #[test]
    fn a_host_pattern_that_is_none_says_why() {
        assert_eq!(
            HostPattern::parse("a.test:443"),
            Err(PatternError::HostPort)
        );
        for text in ["https://a.test", "http://*.a.test/x"] {
            assert_eq!(HostPattern::parse(text), Err(PatternError::HostScheme));
        }
        for text in [
            "*",
            "a.*.test",
            "*a.test",
            "*.*.test",
            "*.127.0.0.1",
            "*.[::1]",
        ] {
            assert_eq!(
                HostPattern::parse(text),
                Err(PatternError::HostWildcard),
                "{text}"
            );
        }
        for text in ["", "*.", "a/b", "u@a", "münchen.de", "a..b", "*.0.0.1"] {
            assert!(HostPattern::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn t91_a_path_pattern_means_the_same_in_every_spelling() {
        assert_eq!(path("/%61pi/%c3%a9/"), path("/api/%C3%A9/"));
        assert_eq!(path("/a%2a").to_string(), "/a%2A");
        assert_eq!(path("/%7Euser/{id}/").to_string(), "/~user/{id}/");
        assert!(path("/a%40").specificity(&path("/a@")).is_eq());
    }

    #[test]
    fn t90_only_a_final_slash_makes_a_subtree() {
        assert!(path("/").is_subtree());
        assert!(path("/api/").is_subtree());
        assert!(path("/{tenant}/").is_subtree());
        assert!(!path("/api").is_subtree());
    }

    #[test]
    fn a_path_pattern_that_is_none_says_why() {
        let refused = [
            ("", PatternError::Ambiguous(Ambiguity::PathNotAbsolute)),
            ("api/", PatternError::Ambiguous(Ambiguity::PathNotAbsolute)),
            ("//", PatternError::Ambiguous(Ambiguity::EmptySegment)),
            ("/a//b", PatternError::Ambiguous(Ambiguity::EmptySegment)),
            ("/a//", PatternError::Ambiguous(Ambiguity::EmptySegment)),
            ("/a/../b", PatternError::Ambiguous(Ambiguity::DotSegment)),
            ("/a/%2e", PatternError::Ambiguous(Ambiguity::DotSegment)),
            ("/a%2fb", PatternError::Ambiguous(Ambiguity::EncodedSlash)),
            ("/a?b", PatternError::Ambiguous(Ambiguity::PathCharacter)),
            ("/a#b", PatternError::Ambiguous(Ambiguity::PathCharacter)),
            ("/é", PatternError::Ambiguous(Ambiguity::PathCharacter)),
            ("/{a}/{a}", PatternError::RepeatedName("a".into())),
            ("/api/*", PatternError::Star),
            ("/api/**", PatternError::Star),
        ];
        for (text, error) in refused {
            assert_eq!(PathPattern::parse(text), Err(error), "{text}");
        }
        for text in [
            "/{}", "/{", "/}", "/a{b}", "/{a}b", "/{a}{b}", "/{a...}", "/{$}", "/{1a}", "/{ä}",
            "/{a-b}",
        ] {
            assert_eq!(
                PathPattern::parse(text),
                Err(PatternError::Wildcard),
                "{text}"
            );
        }
    }

    #[test]
    fn t98_a_pattern_has_at_most_a_hundred_segments() {
        assert!(PathPattern::parse(&"/a".repeat(100)).is_ok());
        assert_eq!(
            PathPattern::parse(&"/a".repeat(101)),
            Err(PatternError::TooManySegments)
        );
    }

    #[test]
    fn stripping_leaves_what_lies_below() {
        for (pattern, matched, rest) in [
            ("/", "/", "/"),
            ("/", "/a/b", "/a/b"),
            ("/api/", "/api", ""),
            ("/api/", "/api/", "/"),
            ("/api/", "/api/a/b", "/a/b"),
            ("/t/{id}/", "/t/%2A/a/", "/a/"),
        ] {
            assert_eq!(path(pattern).strip(matched), rest, "{pattern} {matched}");
        }
    }

    #[test]
    fn the_more_specific_pattern_comes_first() {
        let order = [
            "/a/b/c", "/a/b", "/a/b/", "/a/{x}/c", "/a/{x}", "/a/{x}/", "/a", "/a/", "/b/",
            "/{x}/c", "/{x}/", "/",
        ];
        for (at, earlier) in order.iter().enumerate() {
            for later in &order[at + 1..] {
                assert_eq!(
                    path(earlier).specificity(&path(later)),
                    Ordering::Less,
                    "{earlier} {later}"
                );
            }
        }
        assert_eq!(path("/{x}/a").specificity(&path("/{y}/a")), Ordering::Equal);
    }
}
