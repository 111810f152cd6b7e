//! What a folder of keys gives, and what is wrong with one.

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
fn the_folder_above_the_public_half_is_told_from_it() {
    let folder = folder(&[]);
    fs::create_dir(folder.path().join("public")).unwrap();
    let text = problem(&load(folder.path()));
    assert!(
        text.contains("did you mean") && text.contains("public?"),
        "{text}"
    );
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
