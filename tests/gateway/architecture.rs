//! Who may name whom. Read from the source, because a module's privacy cannot say it.

use std::fs;
use std::path::{Path, PathBuf};

/// A crate and the only places that may name it.
const FENCES: [(&str, &[&str], &str); 13] = [
    (
        "jsonwebtoken",
        &["keys/algorithm.rs", "cli/", "crypto.rs"],
        "JOSE rules are ours; the library signs what the command line mints",
    ),
    (
        "rustls",
        &["tls/", "upstream/tls", "crypto.rs"],
        "TLS has one place, and so will its next version",
    ),
    (
        "aws_lc_rs",
        &["crypto.rs", "crypto/"],
        "one module names the crypto backend",
    ),
    (
        "ipnet",
        &["trust.rs"],
        "who is trusted is decided in one place",
    ),
    (
        "ppp",
        &["server/proxy_header.rs"],
        "PROXY headers are read in one place",
    ),
    (
        "toml",
        &["config/"],
        "only the configuration knows how it is spelt",
    ),
    (
        "annotate_snippets",
        &["config/diagnostic.rs"],
        "problems are drawn in one place",
    ),
    (
        "rcgen",
        &["cli/demo/"],
        "certificates are made for the demo alone",
    ),
    (
        "clap_complete",
        &["cli/completions.rs"],
        "completions are made in one place",
    ),
    (
        "clap_mangen",
        &["cli/man.rs"],
        "the manual is made in one place",
    ),
    (
        "notify",
        &["control/watch.rs"],
        "word of changes comes in at one place",
    ),
    (
        "sd_notify",
        &["cli/service.rs"],
        "a service manager is spoken to in one place",
    ),
    (
        "listenfd",
        &["cli/run.rs"],
        "sockets are taken from a service manager where everything is put together",
    ),
];

/// A module and what it must not name.
const ARROWS: [(&str, &[&str], &str); 12] = [
    (
        "token/",
        &["hyper", "crate::config", "crate::proxy", "crate::route"],
        "a token is judged without HTTP, routes or files",
    ),
    (
        "keys/",
        &["hyper", "crate::config", "crate::token", "crate::proxy"],
        "keys come before tokens",
    ),
    (
        "policy/",
        &["hyper", "crate::config", "crate::proxy", "crate::upstream"],
        "a permit is made from a token alone",
    ),
    (
        "route/",
        &["hyper", "crate::config", "crate::proxy"],
        "routing is pure",
    ),
    (
        "upstream/",
        &["crate::config", "crate::proxy", "crate::token"],
        "an upstream is sent to with a permit, whatever it came from",
    ),
    (
        "control/",
        &["crate::proxy", "crate::server", "crate::cli", "hyper"],
        "what is done beside the requests knows none of them",
    ),
    (
        "config/",
        &["hyper", "std::net::Tcp", "tokio"],
        "the configuration opens no socket",
    ),
    (
        "observe/",
        &[
            "crate::config",
            "crate::proxy",
            "crate::token",
            "crate::server",
        ],
        "what happened is told, not asked",
    ),
    (
        "clock.rs",
        &["crate::"],
        "the clock depends on nothing of ours",
    ),
    (
        "proxy/",
        &["crate::config", "crate::cli", "crate::server"],
        "a request's life takes values, not files",
    ),
    (
        "tls/",
        &["crate::config", "crate::proxy"],
        "a handshake takes values, not files",
    ),
    (
        "server/",
        &["crate::cli"],
        "only the command line puts things together",
    ),
];

#[test]
fn every_vendor_stays_behind_its_fence() {
    let mut breaches = Vec::new();
    for (file, code) in sources() {
        for (vendor, homes, why) in FENCES {
            let is_home = homes.iter().any(|home| file.starts_with(home));
            if !is_home && names(&code, vendor) {
                breaches.push(format!("{file} names {vendor}: {why}"));
            }
        }
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn no_module_looks_upwards() {
    let mut breaches = Vec::new();
    for (file, code) in sources() {
        for (module, forbidden, why) in ARROWS {
            for path in forbidden
                .iter()
                .filter(|path| file.starts_with(module) && names(&code, path))
            {
                breaches.push(format!("{file} names {path}: {why}"));
            }
        }
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn forwarded_fields_are_written_in_one_place() {
    for (file, code) in sources() {
        for field in [
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
            "x-request-id",
            "FORWARDED",
        ] {
            let is_home = file.starts_with("proxy/headers") || file.starts_with("config/");
            assert!(is_home || !code.contains(field), "{file} names {field}");
        }
    }
}

/// Every file below `src/`, its path relative to it, without comments and tests.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    assert!(files.len() > 40, "the sources are somewhere else");
    files
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let name = path.strip_prefix(&root).unwrap().display().to_string();
            (name, without_comments_and_tests(&text))
        })
        .filter(|(name, _)| {
            let is_tests = name.ends_with("tests.rs") || name.contains("/tests/");
            !is_tests && !name.ends_with("vectors.rs")
        })
        .collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn without_comments_and_tests(text: &str) -> String {
    let code = text.split("#[cfg(test)]").next().unwrap();
    code.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Whether the code names a path, as a whole word at its beginning.
fn names(code: &str, path: &str) -> bool {
    code.match_indices(path).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + path.len()..].chars().next();
        let is_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        let ends = path.ends_with("::") || path.ends_with("Tcp") || !is_word(after);
        !is_word(before)
            && ends
            && (path.contains("::") || code[at + path.len()..].starts_with("::"))
    })
}
