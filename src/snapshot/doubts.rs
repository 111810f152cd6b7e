//! What the operator should know of a certificate that loads all the same.

use crate::clock::Clock;
use crate::config::{CertificatePair, Problem, Problems};
use crate::exposure;
use crate::tls::Certificate;

/// Warns of what is wrong with a certificate that `peers` are shown: it is not good at this time,
/// or its key is not kept secret. Once, if several routes show it.
pub(super) fn warn_of(
    certificate: &Certificate,
    pair: &CertificatePair,
    peers: &str,
    problems: &mut Problems,
) {
    let (path, now) = (pair.cert.value.display(), Clock::system().numeric_date());
    let of_leaf = certificate.validity.fault_at(now);
    let of_leaf = of_leaf.map(|fault| format!("{path}: {fault}; {peers} refuse it"));
    let of_chain = certificate.authorities.and_then(|all| all.fault_at(now));
    // They may know another way to an authority that they believe.
    let of_chain =
        of_chain.map(|fault| format!("{path}: an authority in it: {fault}; {peers} may refuse it"));
    let faults = of_leaf.into_iter().chain(of_chain);
    let faults = faults.map(|fault| (&pair.cert, fault));
    let exposure =
        exposure::of(&pair.key.value, "private key").map(|exposure| (&pair.key, exposure));
    for (located, doubt) in faults.chain(exposure) {
        let doubt = Problem::warning(located.place.clone(), doubt);
        if !problems.iter().any(|known| *known == doubt) {
            problems.push(doubt);
        }
    }
}
