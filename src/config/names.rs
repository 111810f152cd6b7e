//! The nearest name to one that the file does not know, and where a misplaced one belongs.

use super::vocabulary;

/// The nearest of some names, if it is near enough to have been meant; letters of another case are
/// near.
pub(super) fn nearest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let name = name.to_lowercase();
    known
        .map(|candidate| {
            let lower = candidate.to_lowercase();
            (strsim::damerau_levenshtein(&name, &lower), candidate, lower)
        })
        .filter(|(distance, candidate, lower)| {
            let is_longer_form = candidate.len() >= 3 && name.starts_with(lower);
            is_longer_form || *distance <= candidate.len().max(name.len()) / 3
        })
        .min_by_key(|(distance, ..)| *distance)
        .map(|(_, candidate, _)| candidate)
}

/// Whether gateways that fetch their keys have such a key in their files.
pub(super) fn is_for_fetching(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let is_address = key.ends_with("url") || key.ends_with("uri") || key.ends_with("endpoint");
    key.contains("jwks") || (is_address && key.contains("key")) || key.contains("discovery")
}

/// What to do instead.
pub(super) const NOTHING_IS_FETCHED: [&str; 2] = [
    "keys are read from files, and nothing is fetched: write keys = \"keys/\", and let a timer \
     fetch them into that folder",
    "\"Keeping keys fresh\", in the chapter \"Identity providers\" (docs/src/identity-providers.md), \
     has one",
];

/// The table that a key belongs in, or the tables that it may stand in.
pub(super) fn home_of(key: &str) -> Option<String> {
    let homes: Vec<String> = vocabulary::tables()
        .filter(|(_, table)| table.key(key).is_some())
        .map(|(head, _)| head)
        .collect();
    (!homes.is_empty()).then(|| homes.join(" or "))
}

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
        assert_eq!(
            nearest("rs384", ["RS256", "RS384"].into_iter()),
            Some("RS384")
        );
    }

    #[test]
    fn a_key_for_fetching_is_none_of_ours() {
        for key in [
            "jwks",
            "jwks_uri",
            "JWKS_URL",
            "keys_url",
            "jwksUri",
            "discovery_url",
        ] {
            assert!(is_for_fetching(key), "{key}");
        }
        for (_, table) in vocabulary::tables() {
            assert!(!table.names().any(is_for_fetching));
        }
    }

    #[test]
    fn a_key_belongs_in_every_table_that_has_it() {
        for (key, homes) in [
            ("leeway", Some("[issuer.NAME]")),
            ("aud", Some("[issuer.NAME] or [[route]]")),
            ("cert", Some("[listen] or [[certificate]] or [upstream]")),
            ("zzz", None),
        ] {
            assert_eq!(home_of(key).as_deref(), homes, "{key}");
        }
    }
}
