//! `jotgate check --against`: what a file would change of a gateway that runs.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::SocketAddr;

use super::operator::{AskError, ask};
use crate::snapshot::{Changes, Snapshot};

/// Why that cannot be told.
#[derive(Debug, thiserror::Error)]
pub(super) enum AgainstError {
    /// There is no answer.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// It is no answer that tells.
    #[error("{0} does not tell what it has in force")]
    NoContents(SocketAddr),
    /// The result cannot be told.
    #[error("cannot write")]
    Output(#[from] io::Error),
}

/// Writes what of the gateway at `address` would be different.
///
/// # Errors
/// [`AgainstError`].
pub(super) fn run(
    snapshot: &Snapshot,
    address: SocketAddr,
    out: &mut dyn Write,
) -> Result<(), AgainstError> {
    let answer = ask(address, "/contents", MOST)?;
    let running: BTreeMap<String, String> = Some(answer)
        .filter(|answer| answer.status == 200)
        .and_then(|answer| serde_json::from_slice(&answer.body).ok())
        .ok_or(AgainstError::NoContents(address))?;
    let changes = Changes::between(&running, &snapshot.contents());
    let secrets = snapshot.secrets().filter(|name| running.contains_key(name));
    let secrets: Vec<_> = secrets.collect();
    if changes.are_none() && secrets.is_empty() {
        writeln!(out, "\nagainst {address}: nothing would change")?;
    } else {
        writeln!(out, "\nagainst {address}")?;
    }
    for (sign, name) in changes.iter() {
        let when = if snapshot.fixed.contains(name) {
            ", with a restart"
        } else {
            ""
        };
        writeln!(out, "  {sign} {name}{when}")?;
    }
    for secret in secrets {
        writeln!(
            out,
            "  ? {secret}: a secret, of which nobody is told whether it is another one"
        )?;
    }
    Ok(())
}

/// Ten thousand routes several times over.
const MOST: u64 = 64 * 1024 * 1024;
