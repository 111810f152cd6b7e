//! What a configuration names and does not hold itself: files, folders, what the system believes.

use std::path::Path;

use super::{CertificatePair, Config, Issuer, KeyMaterial, Route};
use crate::upstream::Scheme;

/// Something that is read to build what the configuration asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Input<'c> {
    /// A file, or a folder of key files.
    Path(&'c Path),
    /// The authorities that the system believes in.
    SystemAuthorities,
}

impl Config {
    /// Everything that it names.
    pub fn inputs(&self) -> impl Iterator<Item = Input<'_>> {
        let issuers = self.issuers.iter().flat_map(Issuer::inputs);
        self.certificate_inputs()
            .chain(issuers)
            .chain(self.upstream_inputs())
    }

    /// Those of the certificates that are shown to clients.
    pub fn certificate_inputs(&self) -> impl Iterator<Item = Input<'_>> {
        self.certificates.iter().flat_map(CertificatePair::inputs)
    }

    /// Those of connections to upstreams.
    pub fn upstream_inputs(&self) -> impl Iterator<Item = Input<'_>> {
        self.routes.iter().flat_map(Route::inputs)
    }
}

impl Issuer {
    /// Those of its keys.
    pub fn inputs(&self) -> impl Iterator<Item = Input<'_>> {
        let (sources, secret) = match &self.keys {
            KeyMaterial::Public(sources) => (&sources[..], None),
            KeyMaterial::Secret { path, .. } => (&[][..], Some(&path.value)),
        };
        let sources = sources.iter().map(|source| &source.value.path);
        sources.chain(secret).map(|path| Input::Path(path))
    }
}

impl CertificatePair {
    fn inputs(&self) -> impl Iterator<Item = Input<'_>> {
        [&self.cert, &self.key]
            .map(|file| Input::Path(&file.value))
            .into_iter()
    }
}

impl Route {
    fn inputs(&self) -> impl Iterator<Item = Input<'_>> {
        let tls = &self.connecting.tls;
        let is_secured = self.to.value.origin().scheme == Scheme::Https;
        let authorities = match &tls.ca {
            Some(ca) => Some(Input::Path(&ca.value)),
            None => is_secured.then_some(Input::SystemAuthorities),
        };
        let identity = tls.identity.iter().flat_map(CertificatePair::inputs);
        identity.chain(authorities)
    }
}
