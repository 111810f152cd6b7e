//! `[issuer.NAME]`: whose tokens are believed.

use std::path::PathBuf;
use std::time::Duration;

use super::check::Check;
use super::file::Reader;
use super::item::Item;
use super::names::{NOTHING_IS_FETCHED, is_for_fetching};
use super::vocabulary::RESERVED_ISSUERS;
use super::{Issuer, KeyMaterial, Located, Place, Problem, defaults};
use crate::keys::Algorithm;
use crate::keys::source::{KeySource, SecretEncoding};

/// An issuer that was declared, whether or not its table is in order, so that a route that names
/// it is not blamed for it.
pub(super) struct Declared {
    pub(super) name: String,
    pub(super) issuer: Option<Issuer>,
}

pub(super) fn read_all(check: &mut Check<'_>, item: Option<Item<'_, '_>>) -> Vec<Declared> {
    let Some(item) = item else { return Vec::new() };
    let Some(table) = item.table(check.problems) else {
        return Vec::new();
    };
    let place = table.place.clone();
    let names = table.take_names().into_iter();
    let (nameless, named): (Vec<_>, Vec<_>) =
        names.partition(|(name, item)| !item.is_table() && item.would_have(&name.value));
    let mut declared: Vec<Declared> = Vec::new();
    if !nameless.is_empty() {
        let what = "[issuer] needs a name, by which routes say who may pass";
        let problem = Problem::error(place, what).structural();
        check.problems.push(problem.help("write [issuer.main]"));
    }
    for (name, item) in named {
        check_name(check, &name);
        let issuer = item
            .table(check.problems)
            .and_then(|table| read(check, name.value.clone(), name.place, table));
        if let Some(issuer) = &issuer {
            check_unique(check, issuer, &declared);
        }
        declared.push(Declared {
            name: name.value,
            issuer,
        });
    }
    // Behind all others: a route that names none of them is not blamed for this one.
    if !nameless.is_empty() {
        declared.push(Declared {
            name: String::new(),
            issuer: None,
        });
    }
    declared
}

fn check_name(check: &mut Check<'_>, name: &Located<String>) {
    let text = &name.value;
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if RESERVED_ISSUERS.contains(&text.as_str()) {
        check.problems.push(
            Problem::error(
                name.place.clone(),
                format!("[issuer.{text}]: the name is reserved"),
            )
            .help("call it by what it is, such as [issuer.main]"),
        );
    } else if text.is_empty() || !text.bytes().all(is_plain) {
        check.problems.push(Problem::error(
            name.place.clone(),
            format!("[issuer.{text}]: a name has letters, digits, - and _ only"),
        ));
    }
}

/// A token must have one issuer, not a choice of them.
fn check_unique(check: &mut Check<'_>, issuer: &Issuer, declared: &[Declared]) {
    let same = declared
        .iter()
        .filter_map(|d| d.issuer.as_ref())
        .find(|d| d.iss == issuer.iss);
    if let Some(other) = same {
        check.problems.push(
            Problem::error(
                issuer.place.clone(),
                format!(
                    "issuer.{} and issuer.{} have the same iss",
                    issuer.name, other.name
                ),
            )
            .also(other.place.clone(), "the other one")
            .help("put all the keys of one iss into one [issuer] table"),
        );
    }
}

fn read(
    check: &mut Check<'_>,
    name: String,
    place: Place,
    mut table: Reader<'_, '_>,
) -> Option<Issuer> {
    let iss = table
        .require("iss", check.problems)
        .and_then(|item| item.words(check.problems).map(str::to_owned));
    let audiences = table
        .require("aud", check.problems)
        .and_then(|item| texts(check, &item));
    let keys = keys(check, &mut table);
    let algorithms = match table.take("algorithms") {
        None => Some(None),
        Some(item) => algorithms(check, &item, keys.as_ref()).map(|value| {
            let place = item.place();
            Some(Located { value, place })
        }),
    };
    let leeway = match table.take("leeway") {
        None => Some(Duration::from_secs(defaults::LEEWAY_SECONDS)),
        Some(item) => {
            let leeway = item.duration(check.problems);
            if leeway.is_some_and(|leeway| leeway.subsec_millis() != 0) {
                check
                    .problems
                    .push(item.problem("tokens count in whole seconds"));
            }
            leeway
        }
    };
    table.finish(check.problems);
    Some(Issuer {
        name,
        place,
        iss: iss?,
        audiences: audiences?,
        keys: keys?,
        algorithms: algorithms?,
        leeway: leeway?,
    })
}

/// One text or a list of them, at least one.
pub(super) fn texts(check: &mut Check<'_>, item: &Item<'_, '_>) -> Option<Vec<String>> {
    let items = item.one_or_many();
    if items.is_empty() {
        check.problems.push(item.problem("must name at least one"));
        return None;
    }
    items
        .iter()
        .map(|item| item.words(check.problems).map(str::to_owned))
        .collect()
}

fn keys(check: &mut Check<'_>, table: &mut Reader<'_, '_>) -> Option<KeyMaterial> {
    let keys = table.take("keys");
    let secret = table.take("secret");
    let encoding = table.take("secret_encoding");
    match (keys, secret) {
        (Some(keys), None) => {
            if let Some(item) = encoding {
                check.problems.push(item.problem("is for `secret` only"));
            }
            let sources: Option<Vec<_>> = keys
                .one_or_many()
                .iter()
                .map(|item| key_path(check, item))
                .collect();
            let sources = sources?;
            if sources.is_empty() {
                check
                    .problems
                    .push(keys.problem("must name at least one file or folder"));
                return None;
            }
            Some(KeyMaterial::Public(sources))
        }
        (None, Some(secret)) => {
            let choices = [
                ("raw", SecretEncoding::Raw),
                ("base64url", SecretEncoding::Base64Url),
            ];
            let encoding = match encoding {
                None => Some(SecretEncoding::Raw),
                Some(item) => item.choice(&choices, check.problems),
            };
            Some(KeyMaterial::Secret {
                path: check.file(&secret)?,
                encoding: encoding?,
            })
        }
        (Some(_), Some(secret)) => {
            check.problems.push(
                secret
                    .problem("an issuer has either keys or a secret")
                    .help("make two [issuer] tables of it"),
            );
            None
        }
        (None, None) => {
            miss_keys(check, table);
            None
        }
    }
}

/// Says that there are neither keys nor a secret, unless a key that is unknown shows what was meant.
fn miss_keys(check: &mut Check<'_>, table: &Reader<'_, '_>) {
    let is_told =
        table.holds(is_for_fetching) || table.misspells("keys") || table.misspells("secret");
    if !is_told {
        check.problems.push(
            Problem::error(table.place.clone(), format!("{}: no keys", table.path))
                .structural()
                .help("add keys = \"keys/\" (a folder or file of public keys)")
                .help("or secret = \"secrets/NAME.key\" for HMAC"),
        );
    }
}

fn key_path(check: &mut Check<'_>, item: &Item<'_, '_>) -> Option<Located<KeySource>> {
    let (path, kid) = if item.is_table() {
        let mut table = item.table(check.problems)?;
        let file =
            table.require_by_name("file", &["path", "folder", "pem", "jwks"], check.problems);
        let kid = table
            .take("kid")
            .map(|item| item.words(check.problems).map(str::to_owned));
        table.finish(check.problems);
        let kid = match kid {
            None => None,
            Some(kid) => Some(kid?),
        };
        (key_file(check, &file?)?, kid)
    } else {
        (key_file(check, item)?, None)
    };
    Some(Located {
        value: KeySource { path, kid },
        place: item.place(),
    })
}

/// A file or folder of keys, and never a URL of them.
fn key_file(check: &mut Check<'_>, item: &Item<'_, '_>) -> Option<PathBuf> {
    if item.words(check.problems)?.contains("://") {
        let problem = item.problem("a URL, where the name of a file or folder is expected");
        let problem = NOTHING_IS_FETCHED.into_iter().fold(problem, Problem::help);
        check.problems.push(problem);
        return None;
    }
    Some(check.file(item)?.value)
}

fn algorithms(
    check: &mut Check<'_>,
    item: &Item<'_, '_>,
    keys: Option<&KeyMaterial>,
) -> Option<Vec<Algorithm>> {
    let choices: Vec<(&'static str, Algorithm)> = Algorithm::ALL
        .iter()
        .map(|algorithm| (algorithm.name(), *algorithm))
        .collect();
    let items = item.one_or_many();
    if items.is_empty() {
        check.problems.push(item.problem("must name at least one"));
        return None;
    }
    let mut algorithms = Vec::new();
    for item in items {
        if item.value.get_ref().as_str().is_some_and(is_for_p521) {
            check.problems.push(
                item.problem("this algorithm is for keys on P-521, which are not supported")
                    .help("EC keys are on P-256 (\"ES256\") or P-384 (\"ES384\")"),
            );
            return None;
        }
        let algorithm = item.choice(&choices, check.problems)?;
        let fits = match keys {
            Some(KeyMaterial::Public(_)) => !algorithm.is_hmac(),
            Some(KeyMaterial::Secret { .. }) => algorithm.is_hmac(),
            None => true,
        };
        if !fits {
            check.problems.push(
                item.problem(format!(
                    "{} does not fit this issuer's keys",
                    algorithm.name()
                ))
                .help("public keys are for RS, PS, ES and EdDSA; a secret is for HS"),
            );
            return None;
        }
        algorithms.push(algorithm);
    }
    Some(algorithms)
}

fn is_for_p521(name: &str) -> bool {
    name.eq_ignore_ascii_case("ES512")
}
