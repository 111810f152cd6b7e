//! The demo's folder: what a user would make by hand, made in a second.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use serde_json::json;
use time::OffsetDateTime;

use crate::cli::keys::{KeysError, write_pair};
use crate::cli::token::mint::{MintError, SigningKey, mint};
use crate::clock::Clock;
use crate::crypto::{self, GenerateError, KeyKind};

/// The ports that the demo got.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ports {
    pub(super) https: u16,
    pub(super) http: u16,
    pub(super) admin: u16,
    pub(super) upstream: u16,
}

/// The folder; a temporary one goes when this does.
pub(super) struct DemoFolder {
    path: PathBuf,
    is_temporary: bool,
}

/// Why there is no folder.
#[derive(Debug, thiserror::Error)]
pub(super) enum FolderError {
    #[error("{} is not empty; name a folder that does not exist yet", .0.display())]
    NotEmpty(PathBuf),
    #[error("cannot write {}", path.display())]
    Unwritable { path: PathBuf, source: io::Error },
    #[error("cannot make a certificate")]
    Certificate(#[from] rcgen::Error),
    #[error("cannot make a key")]
    Generate(#[from] GenerateError),
    #[error(transparent)]
    Keys(#[from] KeysError),
    #[error(transparent)]
    Token(#[from] MintError),
}

impl DemoFolder {
    /// Makes the folder and everything in it.
    pub(super) fn make(
        at: Option<&Path>,
        ports: Ports,
        clock: &Clock,
    ) -> Result<Self, FolderError> {
        let folder = match at {
            Some(path) => Self {
                path: absolute(path)?,
                is_temporary: false,
            },
            None => {
                let name = format!("jotgate-demo-{:08x}", u32::from_ne_bytes(crypto::random()));
                Self {
                    path: std::env::temp_dir().join(name),
                    is_temporary: true,
                }
            }
        };
        folder.make_empty()?;
        folder.write_certificates(clock)?;
        folder.write_keys_and_tokens(clock)?;
        folder.write("jotgate.toml", &configuration(ports), PUBLIC)?;
        Ok(folder)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) const fn is_temporary(&self) -> bool {
        self.is_temporary
    }

    pub(super) fn config(&self) -> PathBuf {
        self.path.join("jotgate.toml")
    }

    fn make_empty(&self) -> Result<(), FolderError> {
        let unwritable = |source| FolderError::Unwritable {
            path: self.path.clone(),
            source,
        };
        if let Ok(mut entries) = fs::read_dir(&self.path)
            && entries.next().is_some()
        {
            return Err(FolderError::NotEmpty(self.path.clone()));
        }
        DirBuilder::new()
            // Where the system has its temporary files, or nowhere.
            .recursive(!self.is_temporary)
            .mode(0o700)
            .create(&self.path)
            .map_err(unwritable)?;
        for name in ["certs", "tokens"] {
            fs::create_dir(self.path.join(name)).map_err(unwritable)?;
        }
        Ok(())
    }

    /// An authority of its own for this folder, and a certificate by it. The authority's key is
    /// forgotten, so nothing else will ever be signed by it.
    fn write_certificates(&self, clock: &Clock) -> Result<(), FolderError> {
        let mut authority = CertificateParams::new(Vec::new())?;
        (authority.not_before, authority.not_after) = validity(clock);
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        authority
            .distinguished_name
            .push(DnType::CommonName, "jotgate demo authority");
        let authority_key = KeyPair::generate()?;
        let authority_cert = authority.self_signed(&authority_key)?;
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let mut leaf = CertificateParams::new(names)?;
        leaf.distinguished_name
            .push(DnType::CommonName, "localhost");
        (leaf.not_before, leaf.not_after) = validity(clock);
        leaf.use_authority_key_identifier_extension = true;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let leaf_key = KeyPair::generate()?;
        let leaf = leaf.signed_by(&leaf_key, &Issuer::new(authority, authority_key))?;
        self.write("certs/ca.crt", &authority_cert.pem(), PUBLIC)?;
        self.write("certs/tls.crt", &leaf.pem(), PUBLIC)?;
        self.write("certs/tls.key", &leaf_key.serialize_pem(), PRIVATE)
    }

    fn write_keys_and_tokens(&self, clock: &Clock) -> Result<(), FolderError> {
        let pair = crypto::generate(KeyKind::Rsa2048)?;
        write_pair(&self.path.join("keys"), KID, &pair)?;
        let key = SigningKey::from_pkcs8(&pair.private_pkcs8_der)?;
        let now = clock.numeric_date().seconds();
        for (name, issued, expires) in [
            ("tokens/good.jwt", now, now + DAY),
            ("tokens/expired.jwt", now - 2 * HOUR, now - HOUR),
        ] {
            let claims = json!({
                "iss": "https://issuer.example",
                "aud": "orders",
                "sub": "alice",
                "iat": issued,
                "exp": expires,
            });
            let claims = claims.as_object().expect("it was written as an object");
            let token = mint(&key, key.default_algorithm(), Some(KID), claims)?;
            self.write(name, &token, PRIVATE)?;
        }
        Ok(())
    }

    fn write(&self, name: &str, text: &str, mode: u32) -> Result<(), FolderError> {
        let path = self.path.join(name);
        let write = |path: &Path| {
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(mode)
                .open(path)?;
            file.write_all(text.as_bytes())
        };
        write(&path).map_err(|source| FolderError::Unwritable { path, source })
    }
}

impl Drop for DemoFolder {
    fn drop(&mut self) {
        if self.is_temporary
            && let Err(error) = fs::remove_dir_all(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the folder");
        }
    }
}

/// From yesterday, for clocks that differ, for a few months.
fn validity(clock: &Clock) -> (OffsetDateTime, OffsetDateTime) {
    let now = OffsetDateTime::from(clock.now());
    let certificate_life = Duration::from_secs(CERTIFICATE_DAYS * DAY);
    (now - Duration::from_secs(DAY), now + certificate_life)
}

/// The commands are for pasting, in whatever folder the reader is then.
fn absolute(path: &Path) -> Result<PathBuf, FolderError> {
    std::path::absolute(path).map_err(|source| FolderError::Unwritable {
        path: path.into(),
        source,
    })
}

fn configuration(ports: Ports) -> String {
    let Ports {
        https,
        http,
        admin,
        upstream,
    } = ports;
    format!(
        r#"# Made by `jotgate demo`. Change it, then: jotgate check --config FILE

[listen]
https = "127.0.0.1:{https}"
http  = "127.0.0.1:{http}"           # sends browsers to https
admin = "127.0.0.1:{admin}"           # /livez, /readyz and /metrics
cert  = "certs/tls.crt"
key   = "certs/tls.key"

[tls]
hsts = false                        # a certificate for play should not be remembered

[issuer.main]                       # whose tokens are believed
iss  = "https://issuer.example"
aud  = "orders"
keys = "keys/public/"               # every key in this folder

[[route]]                           # who may go where
path = "/api/"
to   = "http://127.0.0.1:{upstream}"
auth = "main"                       # only with a token of [issuer.main]
identity = {{ X-Auth-Subject = "sub" }}

[log]
format = "text"                     # "json" for machines
"#
    )
}

/// The name of the demo's key.
const KID: &str = "demo";

/// Long enough to play, short enough for every browser.
const CERTIFICATE_DAYS: u64 = 90;

const HOUR: u64 = 60 * 60;
const DAY: u64 = 24 * HOUR;

const PUBLIC: u32 = 0o644;
const PRIVATE: u32 = 0o600;
