//! What handshakes with clients are done with: the certificates and the settings of TLS.

use std::sync::Arc;

use super::{Earlier, doubts};
use crate::config::{CertificatePair, Config, Problem, Problems, UnknownSni};
use crate::crypto;
use crate::tls::{Acceptor, Certificate, Certificates};

/// What does the handshakes; if neither a file nor a setting for it has changed, the very one that
/// it was. Otherwise it knows what sessions are resumed by, at least. `None` if there are problems.
pub(super) fn load(
    config: &Config,
    earlier: Option<Earlier<'_>>,
    problems: &mut Problems,
) -> Option<Acceptor> {
    let unchanged = earlier.filter(|earlier| {
        earlier.config.certificates == config.certificates
            && earlier.config.tls == config.tls
            && earlier.have_stayed(config.certificate_inputs())
    });
    if let Some(earlier) = unchanged {
        return Some(earlier.snapshot.acceptor.clone());
    }
    let certificates = certificates(config, problems);
    if problems.has_errors() {
        return None;
    }
    let refuse_unknown = config.tls.unknown_sni == UnknownSni::Refuse;
    let certificates = Arc::new(Certificates::new(certificates, refuse_unknown));
    let tickets = earlier.map(|earlier| earlier.snapshot.acceptor.tickets());
    Acceptor::new(certificates, config.tls.min_version, tickets)
        .map_err(|error| problems.push(Problem::of_root(format!("no TLS: {error}"))))
        .ok()
}

fn certificates(config: &Config, problems: &mut Problems) -> Vec<Certificate> {
    let provider = crypto::rustls_provider();
    let mut certificates = Vec::new();
    for pair in &config.certificates {
        let CertificatePair { cert, key } = pair;
        match Certificate::load(&cert.value, &key.value, &provider) {
            Ok(certificate) => {
                doubts::warn_of(&certificate, pair, "clients", problems);
                if certificate.names.is_empty() {
                    let path = cert.value.display();
                    let what = format!(
                        "{path}: has no name and no address among its subject alternative names; no name chooses it, and clients refuse it"
                    );
                    problems.push(Problem::warning(cert.place.clone(), what));
                }
                certificates.push(certificate);
            }
            Err(error) => {
                let blames_key = error.blames_key();
                let place = if blames_key { &key.place } else { &cert.place };
                let problem = Problem::error(place.clone(), error.to_string());
                problems.push(problem.unsettled(error.is_unsettled()));
            }
        }
    }
    certificates
}
