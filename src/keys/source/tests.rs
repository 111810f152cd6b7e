//! Files and folders as operators have them, and as nobody should.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::crypto::{self, KeyKind, KeyPair};
use crate::keys::algorithm::AlgorithmSet;

/// A folder with these files.
fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

fn load(path: impl Into<PathBuf>) -> Loaded {
    load_public(&[KeySource {
        path: path.into(),
        kid: None,
    }])
}

/// Loads one file `key.EXT` with this content.
fn load_bytes(bytes: impl AsRef<[u8]>) -> Loaded {
    let folder = folder(&[("key.any", bytes.as_ref())]);
    load(folder.path().join("key.any"))
}

fn pair(kind: KeyKind) -> KeyPair {
    crypto::generate(kind).unwrap()
}

fn public_pem(pair: &KeyPair) -> String {
    pem::encode("PUBLIC KEY", &pair.public_spki_der)
}

fn jwk(pair: &KeyPair) -> Value {
    let (material, _) = der::public_key(&pair.public_spki_der).unwrap();
    serde_json::from_str(&material.canonical_jwk()).unwrap()
}

fn with(mut jwk: Value, name: &str, value: impl Into<Value>) -> Value {
    jwk[name] = value.into();
    jwk
}

#[track_caller]
fn sound(loaded: Loaded) -> KeySet {
    assert_eq!(loaded.problems, []);
    loaded.set
}

/// The text of the only problem, with its hint.
#[track_caller]
fn problem(loaded: &Loaded) -> String {
    let [problem] = &loaded.problems[..] else {
        panic!("not one problem: {:?}", loaded.problems)
    };
    format!(
        "{} [{}]",
        problem.message,
        problem.hint.as_deref().unwrap_or_default()
    )
}

#[track_caller]
fn warning(loaded: &Loaded) -> &str {
    let [notice] = &loaded.notices[..] else {
        panic!("not one notice: {:?}", loaded.notices)
    };
    assert_eq!(notice.level, NoticeLevel::Warn);
    &notice.text
}

fn kids(set: &KeySet) -> Vec<Option<&str>> {
    set.iter().map(|key| key.kid()).collect()
}

mod folders {
    use super::*;

    #[test]
    fn a_folder_gives_its_key_files_in_the_order_of_their_names() {
        let keys: Vec<String> = (0..4)
            .map(|_| public_pem(&pair(KeyKind::Ed25519)))
            .collect();
        let outside = folder(&[("real", keys[3].as_bytes())]);
        let folder = folder(&[
            ("b.PEM", keys[0].as_bytes()),
            ("a.2024.pub", keys[1].as_bytes()),
            ("c.Json", jwk(&pair(KeyKind::P256)).to_string().as_bytes()),
            (".hidden.pem", b"junk"),
            ("..2024.pem", b"junk"),
            ("README", b"junk"),
            ("old.pem.bak", b"junk"),
            ("pem", b"junk"),
        ]);
        fs::create_dir(folder.path().join("sub.pem")).unwrap();
        fs::write(folder.path().join("sub.pem/x.pem"), "junk").unwrap();
        symlink(outside.path().join("real"), folder.path().join("link.crt")).unwrap();

        let loaded = load(folder.path());
        let level = loaded.notices[0].level;
        assert_eq!((loaded.notices.len(), level), (1, NoticeLevel::Debug));
        assert!(
            loaded.notices[0].text.contains("ignores 6 entries"),
            "{}",
            loaded.notices[0].text
        );
        assert_eq!(
            kids(&sound(loaded)),
            [Some("a.2024"), Some("b"), Some("c"), Some("link")]
        );
    }

    #[test]
    fn an_empty_folder_is_a_problem_that_says_what_to_put_there() {
        for folder in [folder(&[]), folder(&[("README", b"x")])] {
            let text = problem(&load(folder.path()));
            assert!(
                text.contains("no key files")
                    && text.contains("*.pem")
                    && text.contains("keys generate"),
                "{text}"
            );
        }
    }

    #[test]
    fn every_bad_file_of_every_source_is_reported() {
        let good = public_pem(&pair(KeyKind::P256));
        let folder = folder(&[
            ("a.pem", b""),
            ("b.json", b"{}"),
            ("c.pem", good.as_bytes()),
        ]);
        symlink("nowhere", folder.path().join("d.pem")).unwrap();
        let missing = KeySource {
            path: folder.path().join("missing"),
            kid: None,
        };
        let loaded = load_public(&[
            missing,
            KeySource {
                path: folder.path().into(),
                kid: None,
            },
        ]);
        let indexes: Vec<usize> = loaded
            .problems
            .iter()
            .map(|problem| problem.source_index)
            .collect();
        assert_eq!(indexes, [0, 1, 1, 1]);
        assert!(loaded.problems[3].place.ends_with("d.pem"));
        assert_eq!(loaded.set.len(), 1);
    }

    #[test]
    fn devices_and_sockets_are_not_opened() {
        assert!(problem(&load("/dev/zero")).contains("not a regular file"));
        let folder = folder(&[]);
        let _socket = UnixListener::bind(folder.path().join("socket.pem")).unwrap();
        assert!(problem(&load(folder.path())).contains("not a regular file"));
    }

    #[test]
    fn sizes_and_numbers_are_bounded() {
        assert!(problem(&load_bytes(vec![b' '; 1024 * 1024 + 1])).contains("larger than 1024 KiB"));
        let crowd = folder(&[]);
        for index in 0..1001 {
            fs::write(crowd.path().join(format!("{index}.pem")), "").unwrap();
        }
        assert!(problem(&load(crowd.path())).contains("more than 1000 key files"));
        let keys = vec![jwk(&pair(KeyKind::Ed25519)); 1001];
        assert!(problem(&load_bytes(json!({ "keys": keys }).to_string())).contains("at most 1000"));
    }

    #[test]
    fn one_key_in_two_files_of_one_name_is_one_and_two_keys_are_refused_with_both_places() {
        let (one, other) = (pair(KeyKind::P256), pair(KeyKind::P256));
        let same = folder(&[
            ("a.pem", public_pem(&one).as_bytes()),
            ("a.jwk", jwk(&one).to_string().as_bytes()),
        ]);
        assert_eq!(sound(load(same.path())).len(), 1);
        let both = folder(&[
            ("a.pem", public_pem(&one).as_bytes()),
            ("a.jwk", jwk(&other).to_string().as_bytes()),
        ]);
        let text = problem(&load(both.path()));
        assert!(
            text.contains("a.jwk") && text.contains("a.pem, line 1"),
            "{text}"
        );
    }

    #[test]
    fn five_keys_that_fit_one_algorithm_are_worth_a_warning() {
        let keys: Vec<Value> = (0..5).map(|_| jwk(&pair(KeyKind::Ed25519))).collect();
        let loaded = load_bytes(json!({ "keys": keys }).to_string());
        assert!(
            loaded
                .notices
                .iter()
                .any(|notice| notice.text.contains("more than 4 keys fit EdDSA"))
        );
    }
}

mod names {
    use super::*;

    fn load_as(bytes: &str, kid: &str) -> Loaded {
        let folder = folder(&[("file.any", bytes.as_bytes())]);
        load_public(&[KeySource {
            path: folder.path().join("file.any"),
            kid: Some(kid.to_owned()),
        }])
    }

    #[test]
    fn a_key_is_called_as_it_says_or_as_written_or_as_its_file() {
        let key = pair(KeyKind::Ed25519);
        assert_eq!(kids(&sound(load_bytes(public_pem(&key)))), [Some("key")]);
        assert_eq!(
            kids(&sound(load_as(&public_pem(&key), "a/b"))),
            [Some("a/b")]
        );
        let own = with(jwk(&key), "kid", "own").to_string();
        assert_eq!(kids(&sound(load_bytes(&own))), [Some("own")]);
        let loaded = load_as(&own, "written");
        assert!(warning(&loaded).contains("the key names itself"));
        assert_eq!(kids(&sound(loaded)), [Some("own")]);
    }

    #[test]
    fn several_nameless_keys_of_one_file_go_by_their_thumbprints() {
        let keys = [pair(KeyKind::P256), pair(KeyKind::P256)];
        let loaded = load_bytes(format!("{}{}", public_pem(&keys[0]), public_pem(&keys[1])));
        assert!(warning(&loaded).contains("2 keys have no kid"));
        assert_eq!(kids(&sound(loaded)), [None, None]);
    }

    #[test]
    fn a_written_kid_needs_a_file_with_one_key() {
        let keys = [pair(KeyKind::P256), pair(KeyKind::P256)];
        let text = problem(&load_as(
            &format!("{}{}", public_pem(&keys[0]), public_pem(&keys[1])),
            "x",
        ));
        assert!(text.contains("a file that holds 2 keys"), "{text}");
        let folder = folder(&[("a.pem", public_pem(&keys[0]).as_bytes())]);
        let loaded = load_public(&[KeySource {
            path: folder.path().into(),
            kid: Some("x".into()),
        }]);
        assert!(problem(&loaded).contains("a kid is written for a folder"));
    }
}

mod pem_files {
    use super::*;

    #[test]
    fn every_kind_of_public_key_is_read() {
        for (kind, description, algorithms) in [
            (
                KeyKind::Rsa2048,
                "RSA 2048 bits",
                "RS256, RS384, RS512, PS256, PS384, PS512",
            ),
            (KeyKind::P256, "P-256", "ES256"),
            (KeyKind::P384, "P-384", "ES384"),
            (KeyKind::Ed25519, "Ed25519", "EdDSA"),
        ] {
            let key = pair(kind);
            let set = sound(load_bytes(public_pem(&key)));
            let loaded = set.find("key").unwrap();
            assert_eq!(
                (
                    loaded.description(),
                    loaded.algorithms().to_string().as_str()
                ),
                (description, algorithms)
            );
            let from_jwk = sound(load_bytes(jwk(&key).to_string()));
            assert_eq!(
                from_jwk.find("key").unwrap().thumbprint(),
                loaded.thumbprint()
            );
        }
    }

    #[test]
    fn pkcs1_and_text_around_and_crlf_and_copies_are_fine() {
        let key = pair(KeyKind::Rsa2048);
        let Ok((rest, info)) =
            x509_parser::prelude::SubjectPublicKeyInfo::from_der(&key.public_spki_der)
        else {
            panic!()
        };
        assert!(rest.is_empty());
        let pkcs1 = pem::encode("RSA PUBLIC KEY", &info.subject_public_key.data);
        let text = format!(
            "the \u{e9} key\n{}\nand again:\n{pkcs1}  \nbye",
            public_pem(&key)
        )
        .replace('\n', "\r\n");
        assert_eq!(kids(&sound(load_bytes(text))), [Some("key")]);
    }

    use x509_parser::prelude::FromDer;

    #[test]
    fn a_private_key_fails_the_load_whatever_stands_beside_it() {
        let key = pair(KeyKind::P256);
        for label in [
            "PRIVATE KEY",
            "RSA PRIVATE KEY",
            "EC PRIVATE KEY",
            "ENCRYPTED PRIVATE KEY",
            "OPENSSH PRIVATE KEY",
        ] {
            let private = pem::encode(label, &key.private_pkcs8_der);
            for text in [
                private.clone(),
                format!("{}{private}", public_pem(&key)),
                private[..60].to_owned(),
            ] {
                let problem = problem(&load_bytes(text));
                assert!(
                    problem.contains("holds a private key") && problem.contains("openssl pkey"),
                    "{problem}"
                );
            }
        }
    }

    #[test]
    fn a_pem_file_cut_short_anywhere_gives_no_key() {
        let text = public_pem(&pair(KeyKind::P256));
        for end in 0..text.len() - 1 {
            let loaded = load_bytes(&text[..end]);
            assert!(
                loaded.set.is_empty() && loaded.problems.len() == 1,
                "cut at {end}"
            );
        }
    }

    #[test]
    fn what_is_not_a_public_key_is_refused_with_the_reason() {
        let key = pair(KeyKind::P256);
        let block = |label: &str, der: &[u8]| pem::encode(label, der).into_bytes();
        let trailing = [&key.public_spki_der[..], &[0]].concat();
        let mismatched = public_pem(&key)
            .replace("END PUBLIC", "END RSA PUBLIC")
            .into_bytes();
        let junk = public_pem(&key).replacen('M', "!", 1).into_bytes();
        for (bytes, reason) in [
            (vec![], "empty"),
            (b" \n\t".to_vec(), "empty"),
            (b"hello".to_vec(), "neither PEM"),
            (
                key.public_spki_der.clone(),
                "openssl pkey -pubin -inform DER",
            ),
            (
                b"ssh-ed25519 AAAA me@here".to_vec(),
                "ssh-keygen -e -m PKCS8",
            ),
            (
                block("DH PARAMETERS", b"x"),
                "unknown kind \"DH PARAMETERS\"",
            ),
            (block("PUBLIC KEY", b""), "not a public key"),
            (block("PUBLIC KEY", &trailing), "not a public key"),
            (
                block("RSA PUBLIC KEY", &key.public_spki_der),
                "not an RSA public key",
            ),
            (
                block("CERTIFICATE", &key.public_spki_der),
                "not a certificate",
            ),
            (mismatched, "does not end with its END line"),
            (junk, "is not base64"),
            (b"  x -----BEGIN ".to_vec(), "no complete PEM line"),
        ] {
            let loaded = load_bytes(&bytes);
            assert!(problem(&loaded).contains(reason), "{}", problem(&loaded));
            assert!(loaded.set.is_empty());
        }
    }

    #[test]
    fn unknown_curves_and_compressed_points_are_refused_by_name() {
        let spki = pair(KeyKind::P256).public_spki_der;
        // The last byte of the curve's object identifier: 7 is P-256.
        let oid = spki
            .windows(3)
            .position(|window| window == [3, 1, 7])
            .unwrap();
        let mut other_curve = spki.clone();
        other_curve[oid + 2] = 9;
        let text = problem(&load_bytes(pem::encode("PUBLIC KEY", &other_curve)));
        assert!(text.contains("1.2.840.10045.3.1.9"), "{text}");

        let point = spki.len() - 65;
        let mut compressed = spki[..point + 33].to_vec();
        compressed[point] = 2;
        compressed[1] -= 32;
        compressed[point - 2] -= 32;
        let text = problem(&load_bytes(pem::encode("PUBLIC KEY", &compressed)));
        assert!(
            text.contains("compressed") && text.contains("-conv_form"),
            "{text}"
        );
    }

    /// The same RSA key with the algorithm identifier of RSASSA-PSS and these parameters.
    fn pss(parameters: &[u8]) -> Vec<u8> {
        let spki = pair(KeyKind::Rsa2048).public_spki_der;
        let bits = &spki[4 + 15..];
        let oid = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10];
        let algorithm = [
            &[0x30, (oid.len() + parameters.len()) as u8][..],
            &oid,
            parameters,
        ]
        .concat();
        let length = (algorithm.len() + bits.len()) as u16;
        [&[0x30, 0x82][..], &length.to_be_bytes(), &algorithm, bits].concat()
    }

    #[test]
    fn an_rsassa_pss_key_verifies_ps_and_nothing_else() {
        let algorithms = |parameters: &[u8]| {
            let loaded = load_bytes(pem::encode("PUBLIC KEY", &pss(parameters)));
            loaded
                .problems
                .is_empty()
                .then(|| loaded.set.find("key").unwrap().algorithms().to_string())
        };
        assert_eq!(algorithms(&[]).unwrap(), "PS256, PS384, PS512");
        // hash SHA-256, MGF1 with SHA-256, a salt of 32 bytes; then of 33; then SHA-1 by default.
        let sha256 = [
            0x30, 0x0d, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 5, 0,
        ];
        let mgf1 = [
            &[
                0x30, 0x1a, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 8,
            ][..],
            &sha256,
        ]
        .concat();
        let restricted = |salt| {
            let fields = [
                &[0xa0, 15][..],
                &sha256,
                &[0xa1, 28],
                &mgf1,
                &[0xa2, 3, 2, 1, salt],
            ]
            .concat();
            [&[0x30, fields.len() as u8][..], &fields].concat()
        };
        assert_eq!(algorithms(&restricted(32)).unwrap(), "PS256");
        assert_eq!(algorithms(&restricted(33)), None);
        assert_eq!(algorithms(&[0x30, 0]), None);
        assert_eq!(algorithms(&[5, 0]), None);
    }
}

mod certificates {
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
    };

    use super::*;

    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params
    }

    #[test]
    fn the_key_of_a_certificate_is_used_even_after_it_expired() {
        let key = KeyPair::generate().unwrap();
        let mut params = params("idp");
        let valid = params.clone().self_signed(&key).unwrap();
        assert_eq!(load_bytes(valid.pem()).notices, []);
        params.not_after = date_time_ymd(2001, 1, 1);
        params.not_before = date_time_ymd(2000, 1, 1);
        let loaded = load_bytes(params.self_signed(&key).unwrap().pem());
        assert!(
            warning(&loaded).contains("is valid from Jan  1"),
            "{}",
            warning(&loaded)
        );
        assert_eq!(kids(&sound(loaded)), [Some("key")]);
    }

    #[test]
    fn of_a_chain_only_the_first_certificate_is_a_key() {
        let mut ca = params("ca");
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = params("leaf").signed_by(&key, &ca).unwrap();
        let loaded = load_bytes(format!("{}{}", leaf.pem(), ca.pem()));
        assert!(warning(&loaded).contains("its key is not used"));
        let only_leaf = sound(load_bytes(leaf.pem()));
        let thumbprint = only_leaf.find("key").unwrap().thumbprint();
        assert_eq!(sound(loaded).find("key").unwrap().thumbprint(), thumbprint);
    }
}

mod jwks {
    use super::*;

    fn set_of(keys: &[Value]) -> String {
        json!({ "keys": keys }).to_string()
    }

    #[test]
    fn alg_fixes_one_algorithm_and_must_fit_the_key() {
        let key = jwk(&pair(KeyKind::Rsa2048));
        let loaded = sound(load_bytes(with(key.clone(), "alg", "PS384").to_string()));
        assert_eq!(
            loaded.find("key").unwrap().algorithms().to_string(),
            "PS384"
        );
        for alg in ["ES256", "EdDSA", "HS256"] {
            let text = problem(&load_bytes(with(key.clone(), "alg", alg).to_string()));
            assert!(
                text.contains(&format!("a RSA 2048 bits key cannot verify {alg}")),
                "{text}"
            );
        }
    }

    #[test]
    fn a_symmetric_key_refuses_the_whole_file() {
        let good = jwk(&pair(KeyKind::P256));
        let oct =
            json!({"kty": "oct", "k": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", "use": "enc"});
        for text in [
            oct.to_string(),
            set_of(&[good.clone(), oct.clone()]),
            set_of(&[oct, good]),
        ] {
            let loaded = load_bytes(text);
            assert!(problem(&loaded).contains("symmetric key"));
            assert!(loaded.set.is_empty());
        }
    }

    #[test]
    fn private_members_fail_the_load_and_are_not_repeated() {
        let key = jwk(&pair(KeyKind::P256));
        for name in ["d", "p", "q", "dp", "dq", "qi", "oth", "priv"] {
            for usage in ["sig", "enc"] {
                let text = problem(&load_bytes(
                    with(with(key.clone(), name, "c2VjcmV0"), "use", usage).to_string(),
                ));
                assert!(
                    text.contains("holds a private key") && !text.contains("c2VjcmV0"),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn what_is_well_formed_and_not_for_us_is_passed_over_beside_a_good_key() {
        let good = with(jwk(&pair(KeyKind::Ed25519)), "kid", "good");
        let other = jwk(&pair(KeyKind::P256));
        for (stranger, why) in [
            (with(other.clone(), "use", "enc"), "its use is \"enc\""),
            (with(other.clone(), "key_ops", json!(["sign"])), "key_ops"),
            (with(other.clone(), "key_ops", json!([])), "key_ops"),
            (
                with(other.clone(), "alg", "ECDH-ES"),
                "alg \"ECDH-ES\" is unknown",
            ),
            (
                with(other.clone(), "alg", "none"),
                "alg \"none\" is unknown",
            ),
            (
                with(other.clone(), "crv", "secp256k1"),
                "crv \"secp256k1\" is unknown",
            ),
            (
                json!({"kty": "OKP", "crv": "X25519", "x": "AA"}),
                "crv \"X25519\" is unknown",
            ),
            (json!({"kty": "AKP", "pub": "AA"}), "kty \"AKP\" is unknown"),
        ] {
            let loaded = load_bytes(set_of(&[stranger.clone(), good.clone()]));
            assert!(warning(&loaded).contains(why), "{:?}", loaded.notices);
            assert_eq!(kids(&sound(loaded)), [Some("good")]);
            let alone = problem(&load_bytes(set_of(&[stranger])));
            assert!(
                alone.contains("no key that verifies") && alone.contains(why),
                "{alone}"
            );
        }
    }

    #[test]
    fn a_malformed_key_fails_the_load_though_others_are_good() {
        let good = with(jwk(&pair(KeyKind::Ed25519)), "kid", "good");
        let (ec, rsa) = (jwk(&pair(KeyKind::P256)), jwk(&pair(KeyKind::Rsa2048)));
        let x = ec["x"].as_str().unwrap();
        let without = |mut jwk: Value, name: &str| {
            jwk.as_object_mut().unwrap().remove(name);
            jwk
        };
        for (bad, why) in [
            (json!({}), "\"kty\" is missing"),
            (with(ec.clone(), "kty", 7), "\"kty\" is not a string"),
            (with(ec.clone(), "kty", "RSA"), "\"n\" is missing"),
            (with(ec.clone(), "kid", 7), "\"kid\" is not a string"),
            (with(ec.clone(), "kid", ""), "kid is empty"),
            (with(ec.clone(), "use", 7), "\"use\" is not a string"),
            (
                with(ec.clone(), "alg", Value::Null),
                "\"alg\" is not a string",
            ),
            (
                with(ec.clone(), "key_ops", "verify"),
                "not an array of strings",
            ),
            (with(ec.clone(), "x", format!("{x}=")), "not base64url"),
            (
                with(ec.clone(), "x", format!("+{}", &x[1..])),
                "not base64url",
            ),
            (with(ec.clone(), "x", &x[..40]), "exactly 32 bytes"),
            (with(ec.clone(), "x", ec["y"].clone()), "not on P-256"),
            (with(ec.clone(), "crv", "P-384"), "exactly 48 bytes"),
            (without(ec.clone(), "y"), "\"y\" is missing"),
            (without(ec.clone(), "crv"), "\"crv\" is missing"),
            (with(rsa.clone(), "e", "AQ"), "exponent"),
            (with(rsa.clone(), "e", "AAEAAQ"), "zero byte"),
            (with(rsa.clone(), "n", "AQAB"), "RSA key of 17 bits"),
        ] {
            let text = problem(&load_bytes(set_of(&[good.clone(), bad])));
            assert!(text.contains(why), "{text} instead of {why}");
        }
    }

    #[test]
    fn what_is_neither_a_key_nor_a_set_is_refused() {
        let key = jwk(&pair(KeyKind::P256));
        let trailing = format!("{key}x");
        let repeated = key.to_string().replacen('{', r#"{"kty":"EC","#, 1);
        for document in [
            "[]",
            "{}",
            r#"{"keys":[]}"#,
            r#"{"keys":{}}"#,
            r#"{"keys":[1]}"#,
            "[{}]",
            r#"{"keys":null}"#,
            &trailing,
            &repeated,
            &with(key.clone(), "keys", json!([])).to_string(),
            &"[".repeat(100_000),
        ] {
            let loaded = load_bytes(document);
            assert_eq!(loaded.problems.len(), 1, "{document}");
            assert!(loaded.set.is_empty(), "{document}");
        }
    }

    #[test]
    fn a_set_cut_short_anywhere_gives_no_key() {
        let text = set_of(&[jwk(&pair(KeyKind::P256))]);
        for end in 0..text.len() {
            let loaded = load_bytes(&text[..end]);
            assert!(
                loaded.set.is_empty() && loaded.problems.len() == 1,
                "cut at {end}"
            );
        }
    }
}

mod secrets {
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
        let signing = jsonwebtoken::EncodingKey::from_secret(secret);
        let signature =
            jsonwebtoken::crypto::sign(b"m", &signing, jsonwebtoken::Algorithm::HS256).unwrap();
        sound(loaded).find("internal").unwrap().verify(
            crate::keys::Algorithm::HS256,
            b"m",
            &signature,
        )
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
            private.into_bytes(),
        ] {
            assert!(problem(&raw(bytes)).contains("not a secret"));
        }
    }

    #[test]
    fn short_and_monotonous_secrets_are_refused() {
        for (bytes, why) in [
            (&b""[..], "at least 32"),
            (&SECRET.as_bytes()[..31], "at least 32"),
            (&[0; 64], "obviously weak"),
            (b"changechangechangechangechangechange", "obviously weak"),
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
            problem(&load_secret(Path::new("/tmp"), SecretEncoding::Raw))
                .contains("a folder where")
        );
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_key_or_a_problem(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        let contents = parse(&bytes, Path::new("any"));
        prop_assert!(contents.keys.is_empty() != contents.faults.is_empty());
    }

    #[test]
    fn a_changed_byte_never_makes_a_key_that_was_not_judged(at in any::<prop::sample::Index>(), byte: u8, kind in 0..2) {
        let key = pair(KeyKind::P256);
        let text = if kind == 0 { public_pem(&key) } else { jwk(&key).to_string() };
        let mut bytes = text.clone().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let thumbprint = |bytes: &[u8]| parse(bytes, Path::new("any")).keys.first().and_then(|key| key.thumbprint().map(str::to_owned));
        // A point of P-256 with one byte changed is not a point again.
        if let Some(changed) = thumbprint(&bytes) {
            prop_assert_eq!(Some(changed), thumbprint(text.as_bytes()));
        }
    }

    #[test]
    fn pem_is_read_back(der in prop::collection::vec(any::<u8>(), 0..200), label in "[A-Z]{1,9}( [A-Z0-9]{1,9})?") {
        let text = pem::encode(&label, &der);
        let blocks = pem::blocks(text.as_bytes());
        prop_assert_eq!(blocks.len(), 1);
        prop_assert_eq!(blocks[0].label, label.as_str());
        prop_assert_eq!(blocks[0].der.as_ref().ok(), Some(&der));
    }
}

#[test]
fn the_sets_of_two_gateways_share_nothing() {
    let (one, other) = (pair(KeyKind::P256), pair(KeyKind::P256));
    let sets = [
        sound(load_bytes(public_pem(&one))),
        sound(load_bytes(public_pem(&other))),
    ];
    assert!(!sets[0].contains(sets[1].find("key").unwrap()));
    assert_eq!(sets[0].crowded(), AlgorithmSet::EMPTY);
}
