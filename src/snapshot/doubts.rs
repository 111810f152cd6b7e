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
    let path = pair.cert.value.display();
    let fault = certificate
        .validity
        .fault_at(Clock::system().numeric_date())
        .map(|fault| (&pair.cert, format!("{path}: {fault}; {peers} refuse it")));
    let exposure =
        exposure::of(&pair.key.value, "private key").map(|exposure| (&pair.key, exposure));
    for (located, doubt) in fault.into_iter().chain(exposure) {
        let doubt = Problem::warning(located.place.clone(), doubt);
        if !problems.iter().any(|known| *known == doubt) {
            problems.push(doubt);
        }
    }
}
