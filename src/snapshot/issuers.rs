//! Everybody whose tokens are believed, with the keys that are in their files.

use std::sync::Arc;

use super::Earlier;
use crate::config::{self, KeyMaterial, Place, Problem, Problems};
use crate::keys::KeySet;
use crate::keys::source::{self, KeySource, Loaded, NoticeLevel};
use crate::token::TrustedIssuer;

/// The issuers in the order of the file. Those of which nothing has changed, neither what the
/// configuration says of them nor a file of theirs, are the very ones that they were; of the
/// others, their keys that are still the same. One whose keys are no good is a problem, and then
/// the list is short of it.
pub(super) fn load(
    issuers: &[config::Issuer],
    earlier: Option<Earlier<'_>>,
    problems: &mut Problems,
) -> Vec<Arc<TrustedIssuer>> {
    let issuers = issuers.iter();
    issuers
        .filter_map(
            |issuer| match earlier.and_then(|was| unchanged(issuer, was)) {
                Some(known) => Some(known.clone()),
                None => load_one(issuer, earlier, problems),
            },
        )
        .collect()
}

fn unchanged<'e>(issuer: &config::Issuer, earlier: Earlier<'e>) -> Option<&'e Arc<TrustedIssuer>> {
    let mut known = earlier.config.issuers.iter();
    let index = known.position(|known| says_the_same(known, issuer))?;
    let has_stayed = earlier.have_stayed(issuer.inputs());
    earlier.snapshot.issuers.get(index).filter(|_| has_stayed)
}

/// Whether they come to the same, wherever they stand. For whom a token must be is said by routes.
fn says_the_same(one: &config::Issuer, other: &config::Issuer) -> bool {
    let config::Issuer {
        name,
        iss,
        keys,
        algorithms,
        leeway,
        place: _,
        audiences: _,
    } = one;
    *name == other.name
        && *iss == other.iss
        && *keys == other.keys
        && *algorithms == other.algorithms
        && *leeway == other.leeway
}

fn load_one(
    issuer: &config::Issuer,
    earlier: Option<Earlier<'_>>,
    problems: &mut Problems,
) -> Option<Arc<TrustedIssuer>> {
    let (loaded, places) = match &issuer.keys {
        KeyMaterial::Public(sources) => {
            let values: Vec<KeySource> = sources.iter().map(|s| s.value.clone()).collect();
            let places: Vec<Place> = sources.iter().map(|s| s.place.clone()).collect();
            (source::load_public(&values), places)
        }
        KeyMaterial::Secret { path, encoding } => (
            source::load_secret(&path.value, *encoding),
            vec![path.place.clone()],
        ),
    };
    let mut keys = judge(issuer, loaded, &places, problems)?;
    let known = earlier.and_then(|earlier| {
        let mut known = earlier.snapshot.issuers.iter();
        known.find(|known| *known.name == *issuer.name && known.iss == issuer.iss)
    });
    if let Some(known) = known {
        keys.adopt(&known.keys);
    }
    Some(Arc::new(TrustedIssuer {
        name: issuer.name.as_str().into(),
        iss: issuer.iss.clone(),
        keys,
        leeway: issuer.leeway,
    }))
}

/// The keys, unless something is wrong with them.
fn judge(
    issuer: &config::Issuer,
    loaded: Loaded,
    places: &[Place],
    problems: &mut Problems,
) -> Option<KeySet> {
    let is_good = loaded.problems.is_empty();
    for problem in loaded.problems {
        let place = places
            .get(problem.source_index)
            .unwrap_or(&issuer.place)
            .clone();
        let shown = Problem::error(place, problem.to_string()).unsettled(problem.is_unsettled);
        problems.push(problem.hint.into_iter().fold(shown, Problem::help));
    }
    for notice in loaded.notices {
        match notice.level {
            NoticeLevel::Warn => {
                let place = places.first().unwrap_or(&issuer.place).clone();
                problems.push(Problem::warning(place, notice.text));
            }
            NoticeLevel::Debug => tracing::debug!(issuer = issuer.name, "{}", notice.text),
        }
    }
    let Some(allowed) = &issuer.algorithms else {
        return is_good.then_some(loaded.set);
    };
    match loaded.set.narrowed(allowed.value.iter().copied().collect()) {
        Ok(keys) => is_good.then_some(keys),
        Err(left_out) => {
            for key in left_out {
                problems.push(Problem::error(
                    allowed.place.clone(),
                    format!(
                        "issuer.{}: `algorithms` leaves nothing for the key in {} ({}, for {})",
                        issuer.name,
                        key.origin(),
                        key.description(),
                        key.algorithms(),
                    ),
                ));
            }
            None
        }
    }
}
