//! The names that only we may write.

use http::HeaderName;

/// The names that carry an identity on any route, and so are taken from clients on every route.
#[derive(Debug, Clone, Default)]
pub struct ReservedNames(Vec<HeaderName>);

impl FromIterator<HeaderName> for ReservedNames {
    /// These names, and the default one besides: an upstream that trusts `X-Auth-Subject` on one
    /// route will not think twice about it on another.
    fn from_iter<I: IntoIterator<Item = HeaderName>>(names: I) -> Self {
        let default = HeaderName::from_static("x-auth-subject");
        let mut names: Vec<HeaderName> = names.into_iter().chain([default]).collect();
        names.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        names.dedup();
        Self(names)
    }
}

impl ReservedNames {
    /// Whether a name is one of them.
    pub fn contains(&self, name: &HeaderName) -> bool {
        // There are a few, so this beats a hash.
        let place = |ours: &HeaderName| ours.as_str().cmp(name.as_str());
        self.0.binary_search_by(place).is_ok()
    }
}
