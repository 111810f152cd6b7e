//! `jotgate keys`: makes key pairs.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::tz::TimeZone;

use crate::clock::Clock;
use crate::crypto::{self, GenerateError, KeyKind, KeyPair};
use crate::keys::source::pem;

/// `jotgate keys`.
#[derive(Debug, clap::Args)]
pub struct KeysCommand {
    #[command(subcommand)]
    action: KeysAction,
}

#[derive(Debug, clap::Subcommand)]
enum KeysAction {
    /// Make a key pair: the private half signs tokens, the public half verifies them
    Generate(GenerateArgs),
}

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
struct GenerateArgs {
    /// The folder for private/KID.pem and public/KID.pem; nothing in it is overwritten
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,

    /// The kind of key. P-256 (ES256) is the default: every JWT library knows it, the tokens
    /// are short and signing is fast. RSA (RS256) verifies fastest and suits old libraries
    #[arg(long, value_enum, default_value_t = KeyAlgorithm::P256)]
    algorithm: KeyAlgorithm,

    /// The name of the key: the file's name, and kid in the tokens. Default: the date and the
    /// beginning of the key's fingerprint
    #[arg(long, value_parser = parse_kid)]
    kid: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum KeyAlgorithm {
    #[value(name = "rsa-2048")]
    Rsa2048,
    #[value(name = "rsa-3072")]
    Rsa3072,
    #[value(name = "rsa-4096")]
    Rsa4096,
    #[value(name = "p-256")]
    P256,
    #[value(name = "p-384")]
    P384,
    #[value(name = "ed25519")]
    Ed25519,
}

impl From<KeyAlgorithm> for KeyKind {
    fn from(algorithm: KeyAlgorithm) -> Self {
        match algorithm {
            KeyAlgorithm::Rsa2048 => Self::Rsa2048,
            KeyAlgorithm::Rsa3072 => Self::Rsa3072,
            KeyAlgorithm::Rsa4096 => Self::Rsa4096,
            KeyAlgorithm::P256 => Self::P256,
            KeyAlgorithm::P384 => Self::P384,
            KeyAlgorithm::Ed25519 => Self::Ed25519,
        }
    }
}

/// Why no key pair was made. Then there are no files of it either.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// A file of that name is there.
    #[error("{} exists already; choose another --kid or --out", .0.display())]
    Exists(PathBuf),
    /// The file system refused.
    #[error("cannot write {}", path.display())]
    Write {
        /// What could not be written.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The crypto library refused.
    #[error(transparent)]
    Generate(#[from] GenerateError),
    /// The result could not be reported.
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
}

impl KeysCommand {
    /// Runs the command and reports to `out`.
    ///
    /// # Errors
    /// [`KeysError`].
    pub fn run(&self, clock: &Clock, out: &mut dyn Write) -> Result<(), KeysError> {
        match &self.action {
            KeysAction::Generate(args) => generate(args, clock, out),
        }
    }
}

fn generate(args: &GenerateArgs, clock: &Clock, out: &mut dyn Write) -> Result<(), KeysError> {
    if args.algorithm == KeyAlgorithm::Rsa4096 && io::stderr().is_terminal() {
        // Only for the impatient; whether it can be written does not matter.
        let _ = writeln!(
            io::stderr(),
            "making an RSA key of 4096 bits; this can take some seconds"
        );
    }
    let pair = crypto::generate(args.algorithm.into())?;
    let kid = args
        .kid
        .clone()
        .unwrap_or_else(|| default_kid(clock, &pair));
    let written = write_pair(&args.out, &kid, &pair)?;
    report(&written, &kid, out).map_err(|error| {
        // Whoever has not heard of it tries again, and should not find it there.
        for half in [&written.private, &written.public] {
            let _ = fs::remove_file(half);
        }
        KeysError::Output(error)
    })
}

/// Writes a key pair as `private/KID.pem` (PKCS#8, for its owner only) and `public/KID.pem`
/// below `folder`: both files or none.
///
/// # Errors
/// [`KeysError::Exists`], [`KeysError::Write`].
pub fn write_pair(folder: &Path, kid: &str, pair: &KeyPair) -> Result<WrittenPair, KeysError> {
    let file = format!("{kid}.pem");
    let written = WrittenPair {
        private: folder.join("private").join(&file),
        public: folder.join("public").join(&file),
    };
    // This one first: the folder of both is made like it, so that others get to the public half.
    make_folder(&folder.join("public"), 0o755)?;
    make_folder(&folder.join("private"), 0o700)?;
    // Looked at first, so that the common mistake leaves no trace; `create_new` makes it safe.
    if let Some(existing) = [&written.private, &written.public]
        .into_iter()
        .find(|path| path.symlink_metadata().is_ok())
    {
        return Err(KeysError::Exists(existing.clone()));
    }
    write_new(
        &written.private,
        0o600,
        &pem::encode("PRIVATE KEY", &pair.private_pkcs8_der),
    )?;
    write_new(
        &written.public,
        0o644,
        &pem::encode("PUBLIC KEY", &pair.public_spki_der),
    )
    .inspect_err(|_| {
        // The first failure is the one to tell of.
        let _ = fs::remove_file(&written.private);
    })?;
    Ok(written)
}

/// The files of a key pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenPair {
    /// The private half: PKCS#8 in PEM.
    pub private: PathBuf,
    /// The public half: `SubjectPublicKeyInfo` in PEM.
    pub public: PathBuf,
}

fn make_folder(path: &Path, mode: u32) -> Result<(), KeysError> {
    let made = DirBuilder::new().recursive(true).mode(mode).create(path);
    made.map_err(|source| KeysError::Write {
        path: path.to_owned(),
        source,
    })
}

/// Writes a file that did not exist, or leaves none behind.
fn write_new(path: &Path, mode: u32, text: &str) -> Result<(), KeysError> {
    let failed = |source: io::Error| {
        let path = path.to_owned();
        if source.kind() == io::ErrorKind::AlreadyExists {
            KeysError::Exists(path)
        } else {
            KeysError::Write { path, source }
        }
    };
    let mut file: File = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .map_err(failed)?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(|error| {
            let _ = fs::remove_file(path);
            failed(error)
        })
}

fn report(written: &WrittenPair, kid: &str, out: &mut dyn Write) -> io::Result<()> {
    let (private, public) = (written.private.display(), written.public.display());
    let folder = written.public.parent().unwrap_or(&written.public).display();
    writeln!(out, "key id:   {kid}")?;
    writeln!(
        out,
        "private:  {private}   signs tokens; only for the issuer, never for the gateway"
    )?;
    writeln!(out, "public:   {public}   verifies them")?;
    writeln!(out)?;
    writeln!(
        out,
        "next: let the gateway verify with it, in jotgate.toml:"
    )?;
    writeln!(out, "  [issuer.main]")?;
    writeln!(out, "  keys = \"{folder}/\"")?;
    writeln!(out, "and sign a token to try it:")?;
    writeln!(
        out,
        "  jotgate token mint --key {private} --iss ISSUER --aud AUDIENCE --sub SUBJECT"
    )
}

/// The date and the beginning of the fingerprint: readable, sortable, and unique.
fn default_kid(clock: &Clock, pair: &KeyPair) -> String {
    let fingerprint = URL_SAFE_NO_PAD.encode(crypto::sha256(&pair.public_spki_der));
    let readable: String = fingerprint
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(8)
        .collect();
    // The default is for a clock outside of the years that people write; the rest is unique.
    let now = jiff::Timestamp::try_from(clock.now()).unwrap_or_default();
    format!("{}-{readable}", TimeZone::UTC.to_datetime(now).date())
}

/// A kid that is a sound file name everywhere, too.
fn parse_kid(kid: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if kid.is_empty() || kid.len() > MAX_KID_CHARS {
        Err(format!("must have from 1 to {MAX_KID_CHARS} characters"))
    } else if !kid.chars().all(is_plain) {
        Err("is a file name, too: letters, digits, \"-\", \"_\" and \".\" only".to_owned())
    } else if kid.starts_with(['.', '-']) {
        Err("must not begin with \".\" (a hidden file) or \"-\" (an option)".to_owned())
    } else {
        Ok(kid.to_owned())
    }
}

const MAX_KID_CHARS: usize = 100;

const EXAMPLES: &str = "\
Examples:
  A key pair in the folder keys/:
    jotgate keys generate --out keys

  The next one, for a rotation. Let the gateway load both public halves, then sign with the
  new private half, then remove the old public half when the last old token has expired:
    jotgate keys generate --out keys --kid 2027-01

  RSA, for a library that knows nothing else:
    jotgate keys generate --out keys --algorithm rsa-3072";

#[cfg(test)]
mod tests;
