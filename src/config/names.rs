//! Every name that the file knows, and the nearest one to a name that it does not.

/// The nearest of some names, if it is near enough to have been meant.
pub(super) fn nearest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    known
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| {
            let is_longer_form = candidate.len() >= 3 && name.starts_with(candidate);
            is_longer_form || *distance <= candidate.len().max(name.len()) / 3
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The table that a key belongs in.
pub(super) fn home_of(key: &str) -> Option<&'static str> {
    KEYS.iter()
        .find(|(_, keys)| keys.contains(&key))
        .map(|(table, _)| *table)
}

/// Every key, by the table it belongs in: to tell where a misplaced one should stand.
const KEYS: [(&str, &[&str]); 9] = [
    (
        "[listen]",
        &[
            "https",
            "http",
            "admin",
            "admin_public",
            "public_port",
            "trusted_proxies",
        ],
    ),
    ("[tls]", &["min_version", "hsts", "unknown_sni"]),
    (
        "[issuer.NAME]",
        &[
            "iss",
            "aud",
            "keys",
            "algorithms",
            "leeway",
            "secret",
            "secret_encoding",
        ],
    ),
    (
        "[[route]]",
        &[
            "name",
            "host",
            "path",
            "methods",
            "to",
            "upstream",
            "auth",
            "identity",
            "strip_prefix",
            "keep_authorization",
            "host_header",
            "upgrade",
            "timeout",
            "max_body",
        ],
    ),
    (
        "[limits]",
        &[
            "connections",
            "streams",
            "handshake_timeout",
            "header_timeout",
            "idle_timeout",
            "body_timeout",
            "tunnel_idle_timeout",
            "max_stream_age",
        ],
    ),
    (
        "[upstream]",
        &[
            "resolve",
            "connect_timeout",
            "keepalive",
            "max_age",
            "max_connections",
            "max_waiting",
            "wait",
            "ca",
        ],
    ),
    ("[log]", &["format", "subject"]),
    ("[server]", &["workers", "drain", "drain_idle"]),
    ("[listen], [[certificate]] or [upstream]", &["cert", "key"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_near_name_is_suggested() {
        assert_eq!(
            nearest("methdos", ["methods", "path"].into_iter()),
            Some("methods")
        );
        assert_eq!(nearest("zzz", ["methods", "path"].into_iter()), None);
    }
}
