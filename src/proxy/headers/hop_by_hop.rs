//! Fields of one connection, which are not of the message: what a message has of them, and how
//! they are taken out (RFC 9110 §7.6.1).

use std::collections::HashSet;

use http::header::{self, HeaderMap, HeaderName};
use smallvec::SmallVec;

pub(super) fn is_hop_by_hop(name: &str) -> bool {
    HOP_BY_HOP.contains(&name)
}

/// What one look through all names has found, so that nothing is looked for that is not there.
#[derive(Default)]
pub(super) struct Met {
    /// What has to go in any case.
    doomed: SmallVec<[HeaderName; FEW]>,
    connection: bool,
    pub(super) te: bool,
    pub(super) trailer: bool,
    pub(super) cookie: bool,
}

impl Met {
    /// What is hop-by-hop has to go, and what is `forbidden`.
    pub(super) fn among(headers: &HeaderMap, forbidden: impl Fn(&HeaderName) -> bool) -> Self {
        let mut met = Self::default();
        for name in headers.keys() {
            if is_hop_by_hop(name.as_str()) {
                met.connection |= name == header::CONNECTION;
                met.te |= name == header::TE;
                met.trailer |= name == header::TRAILER;
                met.doomed.push(name.clone());
            } else if forbidden(name) {
                met.doomed.push(name.clone());
            } else {
                met.cookie |= name == header::COOKIE;
            }
        }
        met
    }

    /// The names that `Connection` nominates: a set, for there can be thousands.
    pub(super) fn nominated(&self, headers: &HeaderMap) -> HashSet<HeaderName> {
        if self.connection {
            nominated(headers)
        } else {
            HashSet::new()
        }
    }

    pub(super) fn remove_from(&self, headers: &mut HeaderMap, nominated: &HashSet<HeaderName>) {
        for name in self.doomed.iter().chain(nominated) {
            headers.remove(name);
        }
    }
}

/// Every field name that any `Connection` line nominates (RFC 9110 §7.6.1): every line, for a
/// second one may name what the first did not.
///
/// Names that the message cannot do without are not removed by it: Host and the framing are
/// written anew in any case. And the credential is not the client's to take away: where upstreams
/// get it, a request without one would be another's.
fn nominated(headers: &HeaderMap) -> HashSet<HeaderName> {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|line| line.as_bytes().split(|&b| b == b','))
        .map(<[u8]>::trim_ascii)
        // What nearly every line says: the one names no field, the others go in any case.
        .filter(|option| {
            !USUAL_OPTIONS
                .iter()
                .any(|usual| option.eq_ignore_ascii_case(usual))
        })
        .filter_map(|option| HeaderName::from_bytes(option).ok())
        .filter(|name| {
            !matches!(
                name.as_str(),
                "host" | "content-length" | "content-type" | "authorization"
            )
        })
        .collect()
}

pub(super) fn remove_where(headers: &mut HeaderMap, mut doomed: impl FnMut(&HeaderName) -> bool) {
    let names: SmallVec<[HeaderName; FEW]> = headers
        .keys()
        .filter(|name| doomed(name))
        .cloned()
        .collect();
    for name in names {
        headers.remove(name);
    }
}

/// Options of `Connection` that need no look at the fields.
const USUAL_OPTIONS: [&[u8]; 4] = [b"keep-alive", b"close", b"upgrade", b"te"];

/// As many fields as most messages have to lose.
const FEW: usize = 8;

/// Fields of one connection, not of the message (RFC 9110 §7.6.1, RFC 9112 §9, RFC 7540 §3.2.1).
const HOP_BY_HOP: [&str; 10] = [
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
