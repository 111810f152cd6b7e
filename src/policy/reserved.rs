//! The names that only we may write.

use std::collections::HashSet;

use http::HeaderName;

/// The names that carry an identity on any route, and so are taken from clients on every route.
#[derive(Debug, Clone, Default)]
pub struct ReservedNames(HashSet<HeaderName>);

impl FromIterator<HeaderName> for ReservedNames {
    /// These names, and the default one besides: an upstream that trusts `X-Auth-Subject` on one
    /// route will not think twice about it on another.
    fn from_iter<I: IntoIterator<Item = HeaderName>>(names: I) -> Self {
        let default = HeaderName::from_static("x-auth-subject");
        Self(names.into_iter().chain([default]).collect())
    }
}

impl ReservedNames {
    /// Whether a name is one of them.
    pub fn contains(&self, name: &HeaderName) -> bool {
        self.0.contains(name)
    }
}
