//! The nearest name to one that the file does not know, and where a misplaced one belongs.

use super::vocabulary;

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
