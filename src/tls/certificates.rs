//! Which certificate answers a name.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::Certificate;

/// Every certificate, and the names that choose among them.
///
/// An exact name wins over a wildcard, the earlier certificate over the later. What no
/// certificate names gets the first one, or none at all.
#[derive(Debug)]
pub struct Certificates {
    certificates: Vec<Certificate>,
    by_name: HashMap<String, usize>,
    unknown: Unknown,
}

/// What a name gets that no certificate has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unknown {
    First,
    Refused,
}

impl Certificates {
    /// Orders certificates by their names; the first is the default, unless unknown names are
    /// to be refused.
    pub fn new(certificates: Vec<Certificate>, refuse_unknown: bool) -> Self {
        let mut by_name = HashMap::new();
        for (index, certificate) in certificates.iter().enumerate() {
            for name in &certificate.names {
                by_name.entry(name.clone()).or_insert(index);
            }
        }
        let unknown = if refuse_unknown {
            Unknown::Refused
        } else {
            Unknown::First
        };
        Self {
            certificates,
            by_name,
            unknown,
        }
    }

    /// Whether a name that no certificate has is refused.
    pub fn refuse_unknown(&self) -> bool {
        self.unknown == Unknown::Refused
    }

    /// Every certificate, the default first.
    pub fn iter(&self) -> impl Iterator<Item = &Certificate> {
        self.certificates.iter()
    }

    /// The index of the certificate for a name (RFC 6125 §6.4: a wildcard stands for exactly the
    /// left-most label). The name is in lower case, without a final dot.
    ///
    /// A client that sends no name gets the first certificate, or it could not be served at all.
    pub fn choose(&self, name: Option<&str>) -> Option<usize> {
        let Some(name) = name else { return Some(0) };
        if let Some(index) = self.by_name.get(name) {
            return Some(*index);
        }
        if let Some((_, parent)) = name.split_once('.')
            && let Some(index) = self.by_name.get(&format!("*.{parent}"))
        {
            return Some(*index);
        }
        match self.unknown {
            Unknown::First => Some(0),
            Unknown::Refused => None,
        }
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let index = self.choose(name.as_deref())?;
        self.certificates
            .get(index)
            .map(|certificate| certificate.certified.clone())
    }
}
