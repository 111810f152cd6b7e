//! By which names keys are found.

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
fn a_name_that_no_token_may_have_is_refused_wherever_it_comes_from() {
    let key = pair(KeyKind::Ed25519);
    let pem = public_pem(&key);
    let (longest, longer) = ("k".repeat(MAX_KID_BYTES), "k".repeat(MAX_KID_BYTES + 1));
    let file = format!("{longer}.pem");
    let folder = folder(&[(file.as_str(), pem.as_bytes())]);
    for loaded in [
        load_bytes(with(jwk(&key), "kid", longer.as_str()).to_string()),
        load_as(&pem, &longer),
        load(folder.path().join(file)),
    ] {
        assert!(problem(&loaded).contains("longer than 128 bytes"));
    }
    assert_eq!(kids(&sound(load_as(&pem, &longest))), [Some(&longest[..])]);
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
