//! Every configuration that is shown to users loads, with fresh keys in the places it names.

use std::fs;
use std::path::{Path, PathBuf};

use jotgate::cli::run;
use jotgate::config::{self, KeyMaterial, Source};
use jotgate::crypto::{self, KeyKind};

use crate::docs::documents;
use crate::harness::{Authority, Signer, write_certificate};

#[test]
fn every_file_in_config_loads() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let mut files: Vec<PathBuf> = [root.clone(), root.join("examples")]
        .iter()
        .flat_map(|folder| fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    files.sort();
    assert!(files.len() >= 4, "{files:?}");
    for file in files {
        loads(
            &fs::read_to_string(&file).unwrap(),
            &file.display().to_string(),
        );
    }
}

#[test]
fn every_configuration_in_the_documents_loads() {
    let mut shown = 0;
    for (path, text) in documents() {
        for (number, block) in toml_blocks(&text).filter_map(whole).enumerate() {
            loads(&block, &format!("{}, {number}: {block}", path.display()));
            shown += 1;
        }
    }
    assert!(shown >= 10, "the documents show {shown} configurations");
}

fn toml_blocks(text: &str) -> impl Iterator<Item = &str> {
    text.split("```toml\n")
        .skip(1)
        .map(|block| block.split("```").next().unwrap())
}

/// A block that is a whole configuration, or that only lacks where to listen.
fn whole(block: &str) -> Option<String> {
    if !block.contains("[[route]]") {
        None
    } else if block.contains("[listen]") {
        Some(block.to_owned())
    } else if block.contains("[issuer.") {
        Some(format!("{LISTEN}\n{block}"))
    } else {
        None
    }
}

const LISTEN: &str = r#"
[listen]
https = "127.0.0.1:8443"
cert = "certs/tls.crt"
key = "certs/tls.key"
"#;

/// Loads a configuration in a folder of its own, where everything that it names is made.
fn loads(text: &str, name: &str) {
    crypto::install();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jotgate.toml");
    fs::write(&path, text).unwrap();
    let (config, problems) = config::parse(&Source::read(&path).unwrap());
    assert!(!problems.has_errors(), "{name}: {problems:#?}");
    for pair in &config.certificates {
        write_certificate(&["localhost"], &pair.cert.value, &pair.key.value);
    }
    for route in &config.routes {
        let tls = &route.connecting.tls;
        if let Some(pair) = &tls.identity {
            write_certificate(&["gateway.internal"], &pair.cert.value, &pair.key.value);
        }
        if let Some(ca) = &tls.ca {
            fs::create_dir_all(ca.value.parent().unwrap()).unwrap();
            fs::write(&ca.value, Authority::new().pem()).unwrap();
        }
    }
    for issuer in &config.issuers {
        match &issuer.keys {
            KeyMaterial::Public(sources) => {
                for source in sources {
                    let algorithms = issuer.algorithms.as_ref();
                    let algorithms = algorithms.map(|located| &*located.value);
                    make_keys(&source.value.path, algorithms);
                }
            }
            KeyMaterial::Secret { path, .. } => {
                fs::create_dir_all(path.value.parent().unwrap()).unwrap();
                fs::write(
                    &path.value,
                    "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_",
                )
                .unwrap();
            }
        }
    }
    if let Err(error) = run::load(&path) {
        panic!("{name}: {error}");
    }
}

fn make_keys(path: &Path, algorithms: Option<&[jotgate::keys::Algorithm]>) {
    let wants_ec = algorithms.is_some_and(|all| all.iter().any(|a| a.name() == "ES256"));
    let signer = if wants_ec {
        Signer::new(KeyKind::P256)
    } else {
        Signer::new(KeyKind::Rsa2048)
    };
    if path.extension().is_some() {
        signer.write_public(path);
    } else {
        signer.write_public(&path.join("one.pem"));
    }
}
