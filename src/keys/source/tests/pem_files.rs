//! Keys in PEM.

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
        (
            b"  x -----BEGIN ".to_vec(),
            "does not stand on a line of its own",
        ),
        (b"-----BEGIN PUBLIC".to_vec(), "is no whole"),
    ] {
        let loaded = load_bytes(&bytes);
        assert!(problem(&loaded).contains(reason), "{}", problem(&loaded));
        assert!(loaded.set.is_empty());
    }
}

#[test]
fn a_key_that_is_glued_to_something_is_not_passed_over() {
    let [one, other] = [KeyKind::P256, KeyKind::Ed25519].map(|kind| public_pem(&pair(kind)));
    let on_one_line = other.replace('\n', "");
    for (text, reason) in [
        (format!("{}{other}", one.trim_end()), "line 4: a -----BEGIN"),
        (format!("{one}the next: {other}"), "line 5: a -----BEGIN"),
        (format!("{one}\n\t{other}"), "line 6: a -----BEGIN"),
        (format!("{on_one_line}\n{one}"), "line 1: the PEM block"),
        (format!("{one}{on_one_line}"), "is no whole"),
        (format!("{one}# by CR\r{other}"), "is no whole"),
    ] {
        let loaded = load_bytes(&text);
        assert!(problem(&loaded).contains(reason), "{}", problem(&loaded));
        assert!(loaded.set.is_empty(), "{text}");
    }
}

#[test]
fn a_byte_order_mark_before_pem_and_json_is_skipped() {
    let key = pair(KeyKind::P256);
    for text in [public_pem(&key), jwk(&key).to_string()] {
        let set = sound(load_bytes(format!("\u{feff}{text}")));
        assert_eq!(kids(&set), [Some("key")]);
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
