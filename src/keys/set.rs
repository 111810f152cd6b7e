//! The keys of one issuer, found by name or by algorithm.
//!
//! A name (a `kid` or a thumbprint) means one key or the set does not come to be: which of two
//! keys verifies must not depend on the order of files.

use std::collections::HashMap;
use std::sync::Arc;

use super::algorithm::{Algorithm, AlgorithmSet};
use super::key::{Key, Origin};

/// Keys in the order in which they were read.
#[derive(Debug, Clone, Default)]
pub struct KeySet {
    keys: Vec<Arc<Key>>,
    /// Every `kid` and every thumbprint, to the key's index.
    by_name: HashMap<String, usize>,
}

impl KeySet {
    /// The key that a token's `kid` names: by its own `kid`, or by its thumbprint.
    ///
    /// If one public key stands under several `kid`s, its thumbprint names the first.
    pub fn find(&self, kid: &str) -> Option<&Arc<Key>> {
        self.by_name.get(kid).map(|index| &self.keys[*index])
    }

    /// The keys that verify `algorithm`, for a token without `kid`.
    ///
    /// The caller tries at most [`TRIED_WITHOUT_KID`] and refuses the token if there are more.
    pub fn fitting(&self, algorithm: Algorithm) -> impl Iterator<Item = &Arc<Key>> {
        self.keys
            .iter()
            .filter(move |key| key.algorithms().contains(algorithm))
    }

    /// Every key.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Key>> {
        self.keys.iter()
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether this very key is part of the set, not one that merely equals it.
    pub fn contains(&self, key: &Arc<Key>) -> bool {
        let is_it = |ours: &Arc<Key>| Arc::ptr_eq(ours, key);
        // Asked with every request. A few are looked through faster than a name is found.
        if self.keys.len() > FEW
            && let Some(kid) = key.kid()
            && self.find(kid).is_some_and(is_it)
        {
            return true;
        }
        self.keys.iter().any(is_it)
    }

    /// How each key is called, for messages: its `kid`, or else its thumbprint.
    pub fn kids(&self) -> impl Iterator<Item = &str> {
        self.keys
            .iter()
            .filter_map(|key| key.kid().or(key.thumbprint()))
    }

    /// Takes over the keys of an earlier set that are still the same, so that they are
    /// [contained](Self::contains) in both.
    pub fn adopt(&mut self, earlier: &Self) {
        for key in &mut self.keys {
            let name = key.kid().or(key.thumbprint());
            let known = match name {
                Some(name) => earlier.find(name),
                // A secret is alone in its set.
                None => earlier.keys.first(),
            };
            if let Some(known) = known.filter(|known| known.is_same(key)) {
                *key = known.clone();
            }
        }
    }

    /// The same keys for fewer algorithms, as an issuer's `algorithms` wants it.
    ///
    /// # Errors
    /// The keys that would be left without any.
    pub fn narrowed(&self, allowed: AlgorithmSet) -> Result<Self, Vec<Arc<Key>>> {
        let mut keys = Vec::with_capacity(self.keys.len());
        let mut left_out = Vec::new();
        for key in &self.keys {
            match key.narrowed(allowed) {
                Some(narrowed) => keys.push(Arc::new(narrowed)),
                None => left_out.push(Arc::clone(key)),
            }
        }
        if left_out.is_empty() {
            Ok(Self {
                keys,
                by_name: self.by_name.clone(),
            })
        } else {
            Err(left_out)
        }
    }

    /// The algorithms that more keys fit than are tried for a token without `kid`.
    pub fn crowded(&self) -> AlgorithmSet {
        Algorithm::ALL
            .into_iter()
            .filter(|algorithm| self.fitting(*algorithm).nth(TRIED_WITHOUT_KID).is_some())
            .collect()
    }

    /// Adds a key unless it is there already under that name.
    ///
    /// # Errors
    /// Its `kid` or its thumbprint names another key.
    pub(super) fn insert(&mut self, key: Key) -> Result<(), NameClash> {
        let names: Vec<String> = [key.kid(), key.thumbprint()]
            .into_iter()
            .flatten()
            .map(str::to_owned)
            .collect();
        for name in &names {
            if let Some(other) = self.find(name).filter(|other| clash(&key, other, name)) {
                return Err(NameClash {
                    name: name.clone(),
                    there: other.origin().clone(),
                    here: key.origin().clone(),
                });
            }
        }
        let known = names.first().and_then(|name| self.find(name));
        if known.is_some_and(|other| other.algorithms() == key.algorithms()) {
            return Ok(());
        }
        let index = self.keys.len();
        self.keys.push(Arc::new(key));
        for name in names {
            self.by_name.entry(name).or_insert(index);
        }
        Ok(())
    }
}

/// Whether `name`, which both answer to, would be ambiguous.
fn clash(key: &Key, other: &Key, name: &str) -> bool {
    let same_material = key.thumbprint().is_some() && key.thumbprint() == other.thumbprint();
    let both_called_so = key.kid() == Some(name) && other.kid() == Some(name);
    !same_material || (both_called_so && key.algorithms() != other.algorithms())
}

/// One name for two keys.
#[derive(Debug, thiserror::Error)]
#[error("the key id {name:?} stands for two different keys: {there} and {here}")]
pub(super) struct NameClash {
    name: String,
    there: Origin,
    here: Origin,
}

/// How many keys are tried for a token that does not name one; a signature check is the dearest
/// thing a stranger can make us do.
pub const TRIED_WITHOUT_KID: usize = 4;

/// So many keys are looked through one by one.
const FEW: usize = 16;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::keys::key::Place;
    use crate::keys::material::Material;

    const ALL: AlgorithmSet = AlgorithmSet::of(&Algorithm::ALL);

    fn key(seed: u8, kid: Option<&str>) -> Key {
        let material = Material::Ed25519 {
            x: vec![seed.max(2); 32],
        };
        let origin = Origin::new(Path::new("keys.json"), Place::Member(seed.into()));
        Key::admit(&material, ALL, origin)
            .unwrap()
            .named(kid.map(str::to_owned))
    }

    fn rsa(algorithms: &[Algorithm], kid: &str) -> Key {
        let material = Material::Rsa {
            n: vec![0xff; 256],
            e: vec![3],
        };
        let origin = Origin::new(Path::new("rsa.json"), Place::Whole);
        Key::admit(&material, AlgorithmSet::of(algorithms), origin)
            .unwrap()
            .named(Some(kid.to_owned()))
    }

    fn set(keys: impl IntoIterator<Item = Key>) -> KeySet {
        let mut set = KeySet::default();
        for key in keys {
            set.insert(key).unwrap();
        }
        set
    }

    #[test]
    fn a_key_is_found_by_kid_and_by_thumbprint_and_by_nothing_else() {
        let set = set([key(3, Some("a")), key(4, None)]);
        let thumbprint = key(3, None).thumbprint().unwrap().to_owned();
        assert!(Arc::ptr_eq(
            set.find("a").unwrap(),
            set.find(&thumbprint).unwrap()
        ));
        assert!(set.find(key(4, None).thumbprint().unwrap()).is_some());
        for stranger in ["", "A", "a ", "../a", key(5, None).thumbprint().unwrap()] {
            assert!(set.find(stranger).is_none(), "{stranger}");
        }
        assert_eq!(
            set.kids().collect::<Vec<_>>(),
            ["a", key(4, None).thumbprint().unwrap()]
        );
    }

    #[test]
    fn the_same_kid_and_the_same_key_are_one() {
        assert_eq!(set([key(3, Some("a")), key(3, Some("a"))]).len(), 1);
        assert_eq!(set([key(3, Some("a")), key(3, None)]).len(), 1);
        assert_eq!(set([key(3, Some("a")), key(3, Some("b"))]).len(), 2);
    }

    #[test]
    fn the_same_kid_and_another_key_are_refused_with_both_places() {
        let mut set = set([key(3, Some("a"))]);
        let text = set.insert(key(4, Some("a"))).unwrap_err().to_string();
        assert_eq!(
            text,
            r#"the key id "a" stands for two different keys: keys.json, keys[3] and keys.json, keys[4]"#
        );
        assert_eq!(set.len(), 1);
    }

    #[test]
    fn a_kid_cannot_take_another_keys_thumbprint() {
        let thumbprint = key(3, None).thumbprint().unwrap().to_owned();
        assert!(
            set([key(3, None)])
                .insert(key(4, Some(&thumbprint)))
                .is_err()
        );
        assert!(
            set([key(4, Some(&thumbprint))])
                .insert(key(3, None))
                .is_err()
        );
    }

    #[test]
    fn one_modulus_may_serve_two_algorithms_under_two_kids_but_not_under_one() {
        let mut both = set([rsa(&[Algorithm::RS256], "a"), rsa(&[Algorithm::PS256], "b")]);
        assert_eq!(both.len(), 2);
        assert_eq!(both.fitting(Algorithm::PS256).count(), 1);
        assert!(both.insert(rsa(&[Algorithm::PS256], "a")).is_err());
    }

    #[test]
    fn membership_is_identity() {
        let (one, other) = (set([key(3, Some("a"))]), set([key(3, Some("a"))]));
        assert!(one.contains(one.find("a").unwrap()));
        assert!(!one.contains(other.find("a").unwrap()));
    }

    #[test]
    fn narrowing_keeps_the_names_and_reports_who_is_left_without() {
        let keys = set([rsa(&Algorithm::ALL, "r"), key(3, Some("e"))]);
        let left_out = keys
            .narrowed(AlgorithmSet::of(&[Algorithm::RS256]))
            .unwrap_err();
        assert_eq!(
            left_out.iter().map(|key| key.kid()).collect::<Vec<_>>(),
            [Some("e")]
        );
        let narrow = keys
            .narrowed(AlgorithmSet::of(&[Algorithm::RS256, Algorithm::EdDSA]))
            .unwrap();
        assert_eq!(narrow.find("r").unwrap().algorithms().to_string(), "RS256");
        assert_eq!(narrow.len(), 2);
    }

    #[test]
    fn five_keys_of_an_algorithm_are_a_crowd() {
        assert!(set((3..7).map(|seed| key(seed, None))).crowded().is_empty());
        assert_eq!(
            set((3..8).map(|seed| key(seed, None)))
                .crowded()
                .to_string(),
            "EdDSA"
        );
    }
}
