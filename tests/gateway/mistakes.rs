//! What the command says of mistakes whose cause stands in another file, or must not be repeated.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::command::{BROKEN, jotgate, text};
use crate::harness::write_certificate;

#[test]
fn a_secret_or_a_password_in_the_file_is_never_repeated() {
    let folder = tempfile::tempdir().unwrap();
    for (from, to) in [
        (
            "keys = \"keys/\"",
            "secret = \"Sup3rS3cret-Sup3rS3cret-Sup3rS3cret\"",
        ),
        (
            "http://127.0.0.1:3000",
            "http://user:Sup3rS3cret@127.0.0.1:3000",
        ),
    ] {
        assert!(BROKEN.contains(from), "{from}");
        let config = BROKEN.replace(from, to);
        fs::write(folder.path().join("jotgate.toml"), config).unwrap();
        let shown = text(&jotgate(folder.path(), &["check"]).stderr);
        assert!(!shown.contains("S3cret"), "{shown}");
        let is_told = shown.contains("the file that `secret` names: cannot be read")
            || shown.contains("a user or password has no place in it");
        assert!(is_told, "{shown}");
    }
}

#[test]
fn algorithms_that_leave_a_key_nothing_are_shown_where_they_stand() {
    let folder = tempfile::tempdir().unwrap();
    let made = jotgate(folder.path(), &["keys", "generate", "--out", "keys"]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let narrowed = "keys = \"keys/public\"\nalgorithms = [\"RS256\"]";
    let config = BROKEN.replace("keys = \"keys/\"", narrowed);
    fs::write(folder.path().join("jotgate.toml"), config).unwrap();
    let shown = text(&jotgate(folder.path(), &["check"]).stderr);
    let told = shown.split("`algorithms` leaves nothing").nth(1);
    let place = told.and_then(|told| told.lines().nth(3)).unwrap_or(&shown);
    assert!(place.ends_with("algorithms = [\"RS256\"]"), "{shown}");
}

#[test]
fn an_iss_that_is_almost_the_same_is_shown_beside_the_issuers() {
    let folder = tempfile::tempdir().unwrap();
    let made = jotgate(
        folder.path(),
        &["keys", "generate", "--out", "keys", "--kid", "k"],
    );
    assert!(made.status.success(), "{}", text(&made.stderr));
    let config = BROKEN.replace("\"keys/\"", "\"keys/public/\"");
    let config = config.replace("\"acme\"", "\"acme-eu\"");
    let config = config.replace("0.0.0.0:9901", "127.0.0.1:9901");
    let config = config.replace("leeway = \"3s\"", "");
    let config = format!("{config}\nauth = \"public\"\n");
    fs::write(folder.path().join("jotgate.toml"), config).unwrap();
    fs::create_dir(folder.path().join("certs")).unwrap();
    let at = |name| folder.path().join(name);
    write_certificate(&["localhost"], &at("certs/tls.crt"), &at("certs/tls.key"));
    for (iss, is_alike) in [
        ("https://issuer.example/", true),
        ("https://Issuer.example", true),
        ("https://other.example", false),
    ] {
        let mint = [
            "token",
            "mint",
            "--key",
            "keys/private/k.pem",
            "--sub",
            "a",
            "--aud",
            "orders",
        ];
        let minted = jotgate(folder.path(), &[&mint[..], &["--iss", iss]].concat());
        let token = text(&minted.stdout);
        let inspect = ["token", "inspect", "--config", "jotgate.toml", token.trim()];
        let output = jotgate(folder.path(), &inspect);
        let shown = text(&output.stdout);
        assert!(
            shown.contains("none has this iss"),
            "{shown}{}",
            text(&output.stderr)
        );
        let theirs = "\"https://issuer.example\" what [issuer.acme-eu] has";
        let both = shown.contains(theirs) && shown.contains(&format!("{iss:?} is what the token"));
        assert_eq!(both, is_alike, "{shown}");
    }
}

#[test]
fn a_certificate_and_a_key_that_are_no_such_are_told_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("certs")).unwrap();
    let at = |name| folder.path().join(name);
    let (cert, key) = (at("certs/tls.crt"), at("certs/tls.key"));
    let told = |expected: &str| {
        let shown = text(&jotgate(folder.path(), &["check"]).stderr);
        assert!(shown.contains(expected), "no {expected} in\n{shown}");
    };
    fs::write(at("jotgate.toml"), BROKEN).unwrap();
    write_certificate(&["localhost"], &key, &cert);
    told("holds a private key, where a certificate is expected; are cert and key swapped?");
    write_certificate(&["localhost"], &cert, &at("unused"));
    fs::copy(&cert, &key).unwrap();
    told("holds a certificate, where a private key is expected; are cert and key swapped?");
    let der = |file: &Path| {
        let pem = fs::read_to_string(file).unwrap();
        let base64: String = pem
            .lines()
            .filter(|line| !line.starts_with("-----"))
            .collect();
        STANDARD.decode(base64).unwrap()
    };
    fs::write(&key, der(&at("unused"))).unwrap();
    told("if it is DER, convert it: openssl pkey -inform DER");
    fs::write(&cert, der(&cert)).unwrap();
    told("if it is DER, convert it: openssl x509 -inform DER");
}
