//! HMAC secrets.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;

const SECRET: &str = "correct horse battery staple, and more";

fn load(bytes: impl AsRef<[u8]>, encoding: SecretEncoding) -> Loaded {
    let folder = folder(&[("internal.key", bytes.as_ref())]);
    let path = folder.path().join("internal.key");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    load_secret(&path, encoding)
}

fn raw(bytes: impl AsRef<[u8]>) -> Loaded {
    load(bytes, SecretEncoding::Raw)
}

fn verifies(loaded: Loaded, secret: &[u8]) -> bool {
    crypto::install();
    let signing = jsonwebtoken::EncodingKey::from_secret(secret).unwrap();
    let signature =
        jsonwebtoken::crypto::sign(b"m", &signing, jsonwebtoken::Algorithm::HS256).unwrap();
    sound(loaded)
        .find("internal")
        .unwrap()
        .verify(crate::keys::Algorithm::HS256, b"m", &signature)
}

#[test]
fn a_secret_is_the_files_bytes_less_one_final_newline() {
    for ending in ["", "\n", "\r\n"] {
        assert!(
            verifies(raw(format!("{SECRET}{ending}")), SECRET.as_bytes()),
            "{ending:?}"
        );
    }
    for ending in [" ", "\n\n", "\r"] {
        assert!(
            !verifies(raw(format!("{SECRET}{ending}")), SECRET.as_bytes()),
            "{ending:?}"
        );
    }
}

#[test]
fn base64url_decodes_first() {
    let bytes: Vec<u8> = (200..=255).collect();
    let text = "yMnKy8zNzs_Q0dLT1NXW19jZ2tvc3d7f4OHi4-Tl5ufo6err7O3u7_Dx8vP09fb3-Pn6-_z9_v8";
    assert!(verifies(
        load(format!("{text}\n"), SecretEncoding::Base64Url),
        &bytes
    ));
    for bad in [
        text.replace('-', "+"),
        format!("{text}="),
        format!("{text} "),
    ] {
        let loaded = load(bad, SecretEncoding::Base64Url);
        assert!(
            problem(&loaded).contains("not base64url"),
            "{}",
            problem(&loaded)
        );
    }
}

#[test]
fn a_public_key_is_not_a_secret() {
    let key = pair(KeyKind::Rsa2048);
    let private = pem::encode("PRIVATE KEY", &key.private_pkcs8_der);
    for bytes in [
        public_pem(&key).into_bytes(),
        public_pem(&key).trim_end().as_bytes().to_vec(),
        key.public_spki_der.clone(),
        jwk(&key).to_string().into_bytes(),
        format!("\u{feff}{}", jwk(&key)).into_bytes(),
        private.into_bytes(),
        pem_body(&key, "").into_bytes(),
        pem_body(&key, "\n").into_bytes(),
        pem_body(&key, "").trim_end_matches('=').as_bytes().to_vec(),
        b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1VXgFy alice@laptop\n".to_vec(),
    ] {
        assert!(problem(&raw(&bytes)).contains("not a secret"));
        let wrapped = URL_SAFE_NO_PAD.encode(&bytes);
        let wrapped = load(wrapped, SecretEncoding::Base64Url);
        assert!(problem(&wrapped).contains("not a secret"));
    }
}

/// What stands between the lines that mark a PEM block, with this between its own.
fn pem_body(key: &KeyPair, between: &str) -> String {
    let pem = public_pem(key);
    let lines: Vec<&str> = pem.lines().filter(|line| !line.starts_with('-')).collect();
    lines.join(between)
}

#[test]
fn short_and_monotonous_secrets_are_refused() {
    for (bytes, why) in [
        (&b""[..], "at least 32"),
        (&SECRET.as_bytes()[..31], "at least 32"),
        (&[0; 64], "obviously weak"),
        (b"changechangechangechangechangechange", "obviously weak"),
        (
            b"0123456789abcdef0123456789abcdef0123456789abcdef",
            "obviously weak",
        ),
        (b"a-string-secret-at-least-256-bits-long", "everybody knows"),
    ] {
        assert!(problem(&raw(bytes)).contains(why));
    }
}

#[test]
fn a_secret_that_everybody_can_read_is_worth_a_warning() {
    let folder = folder(&[("internal.key", SECRET.as_bytes())]);
    let path = folder.path().join("internal.key");
    for (mode, loud) in [(0o600, false), (0o640, false), (0o644, true), (0o602, true)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let loaded = load_secret(&path, SecretEncoding::Raw);
        assert_eq!(!loaded.notices.is_empty(), loud, "{mode:o}");
        assert!(loaded.problems.is_empty());
    }
}

#[test]
fn a_folder_is_not_a_secret() {
    assert!(
        problem(&load_secret(Path::new("/tmp"), SecretEncoding::Raw)).contains("a folder where")
    );
}

#[test]
fn what_names_no_file_may_be_the_secret_itself_and_is_not_repeated() {
    let folder = folder(&[]);
    for written in [SECRET.to_owned(), SECRET.repeat(100), format!("a/{SECRET}")] {
        let loaded = load_secret(&folder.path().join(written), SecretEncoding::Raw);
        let said = format!("{:?}", loaded.problems);
        assert!(!said.contains("horse"), "{said}");
        assert!(said.contains("the file that `secret` names"), "{said}");
        assert!(said.contains("never the secret itself"), "{said}");
    }
}
