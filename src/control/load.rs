//! From a path to something that can be served. There is one way, for the start and for every
//! reload.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::inputs::{Fingerprint, Inputs};
use crate::config::{self, Config, Input, Problems, Source, SourceError};
use crate::snapshot::{Earlier, Snapshot};

/// A configuration with everything that it names loaded, and nothing bound yet.
#[derive(Clone)]
pub struct Loaded {
    /// The configuration.
    pub file: Arc<ConfigFile>,
    /// What was built from it.
    pub snapshot: Arc<Snapshot>,
    /// Warnings; there are no errors.
    pub problems: Problems,
    /// What it was loaded from.
    pub(super) inputs: Inputs,
    /// What that contained, as far as it was the same before and after.
    pub(super) fingerprint: Fingerprint,
    /// What was not.
    pub(super) restless: BTreeSet<PathBuf>,
}

/// A configuration file, read.
#[derive(Debug)]
pub struct ConfigFile {
    /// The file itself.
    pub source: Source,
    /// What it says.
    pub config: Config,
    /// What is wrong with that, whatever the files are that it names.
    problems: Problems,
}

/// What is there before anything is read.
pub(super) struct Previous<'a> {
    /// What is in force.
    pub(super) file: &'a Arc<ConfigFile>,
    /// What was built from it.
    pub(super) snapshot: &'a Snapshot,
    /// What the files contained then.
    pub(super) fingerprint: &'a Fingerprint,
    /// What has just been seen in these files.
    pub(super) seen: (&'a Inputs, &'a Fingerprint),
}

/// Why there is nothing to serve.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error(transparent)]
    Unreadable(#[from] SourceError),
    /// The file, or what it names, has errors.
    #[error("{}", problems.render(&file.source, false))]
    Problems {
        /// All of them.
        problems: Problems,
        /// The file they are in, and what could be read of it.
        file: Arc<ConfigFile>,
    },
    /// This file, or what is in this folder, changes while it is read.
    #[error("{} changes again and again while it is read", .0.display())]
    Unsteady(PathBuf),
    /// Somebody writes to a file and has not closed it yet.
    #[error("{} is being written: somebody has it open", .0.display())]
    BeingWritten(PathBuf),
}

impl LoadError {
    /// Whether it looks as if files were being written or replaced at this moment.
    pub(super) fn is_unsettled(&self) -> bool {
        match self {
            Self::Unreadable(SourceError::Unreadable { source, .. }) => {
                source.kind() == io::ErrorKind::NotFound
            }
            Self::Unreadable(SourceError::NotText { .. }) => false,
            Self::Problems { problems, file, .. } => {
                file.source.text.is_empty() || problems.are_unsettled()
            }
            Self::Unsteady(_) | Self::BeingWritten(_) => true,
        }
    }

    /// What must change for it to be mended: what was read, and what is in force.
    pub(super) fn inputs(&self, applied: &Inputs) -> Inputs {
        match self {
            Self::Problems { file, .. } => Inputs::of(&file.source.path, &file.config).and(applied),
            Self::Unreadable(_) | Self::Unsteady(_) | Self::BeingWritten(_) => applied.clone(),
        }
    }
}

/// Reads a configuration and everything that it names, and binds nothing.
///
/// Relative paths are relative to the file; the file's own to the working directory.
///
/// # Errors
/// [`LoadError`], with every problem there is.
pub fn load(path: &Path) -> Result<Loaded, LoadError> {
    load_after(path, None)
}

/// The same, after something else. What is as it was before is taken over from it.
pub(super) fn load_after(
    path: &Path,
    previous: Option<&Previous<'_>>,
) -> Result<Loaded, LoadError> {
    let mut seen = previous.map(|previous| previous.seen);
    let mut reading = 1;
    loop {
        let file = ConfigFile::read(path, previous.map(|previous| previous.file))?;
        let inputs = Inputs::of(path, &file.config);
        let fingerprint = match seen.take() {
            Some((seen, fingerprint)) if *seen == inputs => fingerprint.clone(),
            Some(_) | None => inputs.fingerprint(),
        };
        let mut problems = file.problems.clone();
        let has_stayed = |input: Input<'_>| {
            previous.is_some_and(|was| fingerprint.agrees(was.fingerprint, input))
        };
        let earlier = previous.map(|previous| Earlier {
            snapshot: previous.snapshot,
            config: &previous.file.config,
            has_stayed: &has_stayed,
        });
        let snapshot = Snapshot::build(&file.config, earlier, &mut problems);
        // What was built is what the fingerprint is of, or it would pass for that for ever.
        let after = inputs.fingerprint();
        let restless = after.touched_since(&fingerprint);
        let is_whole = after.agrees_about_the_system(&fingerprint)
            && Source::read(path)?.text == file.source.text;
        // Where there is no end to it, what was read of a key counts until the next look. One must
        // be able to take another key away.
        let is_last = reading == READINGS;
        let snapshot = match snapshot {
            None if restless.is_empty() && is_whole => {
                return Err(LoadError::Problems { problems, file });
            }
            Some(snapshot) if is_whole && (restless.is_empty() || is_last) => snapshot,
            Some(_) | None if is_last => {
                let restless = restless.into_iter().next();
                let restless = restless.unwrap_or_else(|| path.to_owned());
                return Err(LoadError::Unsteady(restless));
            }
            Some(_) | None => {
                reading += 1;
                continue;
            }
        };
        return Ok(Loaded {
            file,
            snapshot: Arc::new(snapshot),
            problems,
            inputs,
            fingerprint: fingerprint.without(&restless),
            restless,
        });
    }
}

impl ConfigFile {
    /// Reads one, which may be as it was before.
    fn read(path: &Path, previous: Option<&Arc<Self>>) -> Result<Arc<Self>, SourceError> {
        let source = Source::read(path)?;
        if let Some(previous) = previous.filter(|previous| previous.source == source) {
            return Ok(previous.clone());
        }
        let (config, problems) = config::parse(&source);
        Ok(Arc::new(Self {
            source,
            config,
            problems,
        }))
    }
}

/// How often files are read that change meanwhile.
const READINGS: usize = 3;

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::crypto::{self, KeyKind};
    use crate::keys::source::pem;

    /// A folder with a certificate, two issuers and a route that takes the tokens of either.
    fn folder() -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        let authority = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        write(&folder, "tls.crt", &authority.cert.pem());
        write(&folder, "tls.key", &authority.signing_key.serialize_pem());
        for issuer in ["one", "two"] {
            fs::create_dir(folder.path().join(issuer)).unwrap();
            write(&folder, &format!("{issuer}/first.pem"), &public_key());
        }
        let text = r#"
[listen]
https = "127.0.0.1:0"
cert = "tls.crt"
key = "tls.key"
[issuer.one]
iss = "https://one.example"
aud = "api"
keys = "one"
[issuer.two]
iss = "https://two.example"
aud = "api"
keys = "two"
[[route]]
path = "/"
to = "http://127.0.0.1:3000"
auth = ["one", "two"]
identity = { X-Auth-Subject = "sub" }
"#;
        write(&folder, "jotgate.toml", text);
        folder
    }

    fn write(folder: &TempDir, name: &str, text: &str) {
        fs::write(folder.path().join(name), text).unwrap();
    }

    fn public_key() -> String {
        let pair = crypto::generate(KeyKind::Ed25519).unwrap();
        pem::encode("PUBLIC KEY", &pair.public_spki_der)
    }

    fn load_from(folder: &TempDir, before: Option<&Loaded>) -> Loaded {
        let path = folder.path().join("jotgate.toml");
        let seen = before.map(|before| (&before.inputs, before.inputs.fingerprint()));
        let previous = before
            .zip(seen.as_ref())
            .map(|(before, (inputs, fingerprint))| Previous {
                file: &before.file,
                snapshot: &before.snapshot,
                fingerprint: &before.fingerprint,
                seen: (inputs, fingerprint),
            });
        load_after(&path, previous.as_ref()).unwrap_or_else(|error| panic!("{error}"))
    }

    /// What of a state is the very thing that it was, by name.
    fn kept(before: &Loaded, after: &Loaded) -> Vec<&'static str> {
        let (before, after) = (&before.snapshot, &after.snapshot);
        let issuer = |index: usize| Arc::ptr_eq(&before.issuers[index], &after.issuers[index]);
        let certificates = Arc::ptr_eq(&before.certificates, &after.certificates);
        let parts = [
            ("one", issuer(0)),
            ("two", issuer(1)),
            ("certificates", certificates),
            ("routes", Arc::ptr_eq(&before.routes, &after.routes)),
            ("target", Arc::ptr_eq(&before.targets[0], &after.targets[0])),
        ];
        let kept = parts.into_iter().filter(|(_, is_kept)| *is_kept);
        kept.map(|(part, _)| part).collect()
    }

    #[test]
    fn a_change_of_one_key_builds_that_issuers_keys_and_nothing_else() {
        let folder = folder();
        let before = load_from(&folder, None);
        write(&folder, "one/second.pem", &public_key());
        let after = load_from(&folder, Some(&before));
        assert_eq!(
            kept(&before, &after),
            ["two", "certificates", "routes", "target"]
        );
        assert_eq!(after.snapshot.issuers[0].keys.len(), 2);
        // The key that has stayed is the one by which tokens are remembered.
        let first = before.snapshot.issuers[0].keys.iter().next().unwrap();
        assert!(after.snapshot.issuers[0].keys.contains(first));

        fs::remove_file(folder.path().join("two/first.pem")).unwrap();
        write(&folder, "two/third.pem", &public_key());
        let last = load_from(&folder, Some(&after));
        assert_eq!(
            kept(&after, &last),
            ["one", "certificates", "routes", "target"]
        );
        assert_eq!(
            last.snapshot.issuers[1].keys.kids().collect::<Vec<_>>(),
            ["third"]
        );
    }

    #[test]
    fn a_route_goes_on_to_believe_its_own_issuer_when_they_stand_in_another_order() {
        let folder = folder();
        let text = fs::read_to_string(folder.path().join("jotgate.toml")).unwrap();
        let text = text.replace(r#"auth = ["one", "two"]"#, r#"auth = "one""#);
        write(&folder, "jotgate.toml", &text);
        let before = load_from(&folder, None);
        let (one, two) = (
            text.find("[issuer.one]").unwrap(),
            text.find("[issuer.two]").unwrap(),
        );
        let route = text.find("[[route]]").unwrap();
        let parts = [
            &text[..one],
            &text[two..route],
            &text[one..two],
            &text[route..],
        ];
        write(&folder, "jotgate.toml", &parts.concat());
        let after = load_from(&folder, Some(&before));
        let believed = |loaded: &Loaded| {
            let snapshot = &loaded.snapshot;
            let (_, route) = snapshot.routes.iter_in_order().next().unwrap();
            let crate::route::Access::Bearer { accepted, .. } = &*route.access else {
                panic!("it is public");
            };
            let accepted = crate::token::accepted(accepted, &snapshot.issuers);
            accepted
                .map(|accepted| accepted.issuer.name.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            (believed(&before), believed(&after)),
            (vec!["one".to_owned()], vec!["one".to_owned()])
        );
        let (before, after) = (&before.snapshot.issuers, &after.snapshot.issuers);
        assert!(Arc::ptr_eq(&before[0], &after[1]) && Arc::ptr_eq(&before[1], &after[0]));
    }

    #[test]
    fn a_renewed_certificate_leaves_keys_and_routes_alone() {
        let folder = folder();
        let before = load_from(&folder, None);
        let renewed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        write(&folder, "tls.crt", &renewed.cert.pem());
        write(&folder, "tls.key", &renewed.signing_key.serialize_pem());
        let after = load_from(&folder, Some(&before));
        assert_eq!(kept(&before, &after), ["one", "two", "routes", "target"]);
    }

    #[test]
    fn a_changed_file_builds_the_routes_and_what_it_says_differently() {
        let folder = folder();
        let before = load_from(&folder, None);
        let text = before.file.source.text.as_str();
        let more =
            "[[route]]\npath = \"/more/\"\nto = \"http://127.0.0.1:3000\"\nauth = \"public\"\n";
        write(&folder, "jotgate.toml", &[text, more].concat());
        let routes = load_from(&folder, Some(&before));
        assert_eq!(
            kept(&before, &routes),
            ["one", "two", "certificates", "target"]
        );

        let other = text.replace("https://one.example", "https://other.example");
        write(&folder, "jotgate.toml", &other);
        let issuer = load_from(&folder, Some(&routes));
        assert_eq!(kept(&routes, &issuer), ["two", "certificates", "target"]);
        assert_eq!(issuer.snapshot.issuers[0].iss, "https://other.example");

        let tls = [other.as_str(), "[tls]\nmin_version = \"1.3\"\n"].concat();
        write(&folder, "jotgate.toml", &tls);
        let tls = load_from(&folder, Some(&issuer));
        assert_eq!(kept(&issuer, &tls), ["one", "two", "target"]);
    }
}
