//! What may stand in the place of a key and of the folders that it is in: each key takes effect once
//! it is whole, and until then the last good state goes on.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use jotgate::crypto::KeyKind;

use crate::harness::{Authority, Draft, H1, Process, Signer, Start, Steady, Upstream};
use crate::reload::{ask, comes_to, second, token, told};

/// Swaps the contents of a mounted Secret, as Kubernetes does it: a new folder, a new link to it
/// renamed over the old one.
fn swap(mount: &Path, version: usize, signer: &Signer) {
    let name = format!("..{version}");
    fs::create_dir(mount.join(&name)).unwrap();
    fs::write(mount.join(&name).join("main.pem"), signer.public_pem()).unwrap();
    symlink(&name, mount.join("..data_tmp")).unwrap();
    fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
    if version > 0 {
        fs::remove_dir_all(mount.join(format!("..{}", version - 1))).unwrap();
    }
}

#[tokio::test]
async fn p5_a_mounted_secret_may_be_swapped_again_and_again() {
    for keys in ["mount", "mount/main.pem"] {
        let upstream = Upstream::start().await;
        let start = Start::with(&upstream).issuers(&format!(
            "[issuer.main]\niss = \"https://issuer.test\"\naud = \"api\"\nkeys = \"{keys}\"\n"
        ));
        let mount = start.folder().join("mount");
        fs::create_dir(&mount).unwrap();
        swap(&mount, 0, Signer::rsa());
        symlink("..data/main.pem", mount.join("main.pem")).unwrap();
        let (gateway, steady) = Steady::beside(start, Start::start).await;
        let mut client = gateway.h1().await;
        let tokens = [Signer::rsa(), second()].map(|signer| token(signer, "main"));
        assert_eq!(ask(&mut client, &tokens[0]).await, 200);
        for version in 1..6 {
            swap(&mount, version, [Signer::rsa(), second()][version % 2]);
            comes_to(&mut client, &tokens[version % 2], 200).await;
            assert_eq!(ask(&mut client, &tokens[(version + 1) % 2]).await, 401);
        }
        steady.was_unharmed(&gateway).await;
    }
}

#[tokio::test]
async fn p5_a_key_may_come_back_with_all_the_folders_that_it_was_in() {
    let upstream = Upstream::start().await;
    let start = Start::with(&upstream);
    let folder = start.folder().to_owned();
    // A folder for the keys that is deep down, and no look but at word of a change.
    fs::create_dir_all(folder.join("a/b/c")).unwrap();
    fs::rename(folder.join("keys"), folder.join("a/b/c/keys")).unwrap();
    symlink("a/b/c/keys", folder.join("keys")).unwrap();
    let (gateway, steady) =
        Steady::beside(start.extra("[reload]\npoll = \"1h\"\n"), Start::start).await;
    let mut client = gateway.h1().await;
    let signers = [Signer::rsa(), second()];
    let tokens = signers.map(|signer| token(signer, "main"));
    for (number, taken) in ["a/b/c/keys", "a/b/c", "a/b", "a"].into_iter().enumerate() {
        println!("{taken}");
        let (now, next) = (number % 2, (number + 1) % 2);
        fs::rename(folder.join(taken), folder.join(format!("gone-{number}"))).unwrap();
        let pending = number + 1;
        let line = format!("jotgate_config_reloads_total{{outcome=\"pending\"}} {pending}");
        told(&gateway, &line).await;
        let good = ask(&mut client, &tokens[now]).await;
        assert_eq!(good, 200, "the last good state");
        fs::create_dir_all(folder.join("a/b/c/keys")).unwrap();
        signers[next].write_public(&folder.join("a/b/c/keys/main.pem"));
        comes_to(&mut client, &tokens[next], 200).await;
        assert_eq!(ask(&mut client, &tokens[now]).await, 401);
    }
    steady.was_unharmed(&gateway).await;
}

#[tokio::test]
async fn p5_a_folder_may_be_made_anew_or_moved_away_and_back_again_and_again() {
    let upstream = Upstream::start().await;
    let (gateway, steady) = Steady::beside(Start::with(&upstream), Start::start).await;
    let keys = gateway.folder().join("keys");
    let mut client = gateway.h1().await;
    let signers = [Signer::rsa(), second()];
    let tokens = signers.map(|signer| token(signer, "main"));
    for round in 0..6 {
        let now = (round + 1) % 2;
        if round < 3 {
            // The new folder may well be the old inode.
            fs::remove_dir_all(&keys).unwrap();
            fs::create_dir(&keys).unwrap();
        } else {
            let away = keys.with_extension("away");
            fs::rename(&keys, &away).unwrap();
            fs::rename(&away, &keys).unwrap();
        }
        fs::write(keys.join("main.pem"), signers[now].public_pem()).unwrap();
        comes_to(&mut client, &tokens[now], 200).await;
        // And what is in there now is watched.
        fs::write(keys.join("main.pem"), signers[1 - now].public_pem()).unwrap();
        comes_to(&mut client, &tokens[1 - now], 200).await;
        comes_to(&mut client, &tokens[now], 401).await;
    }
    steady.was_unharmed(&gateway).await;
}

#[tokio::test]
async fn p5_a_file_may_be_written_in_two_halves_far_apart() {
    let upstream = Upstream::start().await;
    let authorities = [Authority::new(), Authority::new()].map(|one| one.pem().to_owned());
    let start = Start::with(&upstream)
        .file("ca.pem", &authorities[0])
        .extra("[[route]]\npath = \"/tls/\"\nto = \"https://127.0.0.1:1\"\nauth = \"public\"\n")
        .extra("upstream = { ca = \"ca.pem\" }\n");
    let (gateway, steady) = Steady::beside(start, Start::start).await;
    let folder = gateway.folder();
    let mut client = gateway.h1().await;
    let (old, new) = (token(Signer::rsa(), "main"), token(second(), "main"));
    let ca = authorities[1].clone();
    let more = authorities.concat();
    let read = |file: &str| fs::read_to_string(folder.join(file)).unwrap();
    let config = read("jotgate.toml") + "[log]\nsubject = true\n\n";
    let key = second().public_pem();
    // The same with a remark before it is another file.
    let [cert, tls_key] =
        ["certs/tls.crt", "certs/tls.key"].map(|file| "renewed\n".to_owned() + &read(file));
    let again = "again\n".to_owned() + &cert;
    let jwks = format!("{{\"keys\": [{}]}}", Signer::new(KeyKind::Ed25519).jwk());
    let inside = |text: &str, what: &str| text.rfind(what).unwrap() + what.len() / 2;
    let halves = [
        ("keys/main.pem", &key, key.len() / 2),
        ("keys/main.pem", &key, inside(&key, "-----END")),
        ("keys/main.pem", &key, inside(&key, "KEY-----")),
        ("keys/main.pem", &key, inside(&key, "-----BEGIN PUB")),
        ("jotgate.toml", &config, inside(&config, "true")),
        ("certs/tls.crt", &cert, cert.len() / 2),
        ("certs/tls.crt", &again, inside(&again, "-----END")),
        ("certs/tls.key", &tls_key, tls_key.len() / 2),
        ("keys/more.jwks", &jwks, jwks.len() / 2),
        ("ca.pem", &ca, ca.len() / 2),
        ("ca.pem", &more, inside(&more, "-----BEGIN CERTIFICATE--")),
    ];
    let (mut pending, mut generation) = (0, 1);
    for (file, whole, half) in halves {
        println!("{file} at {half}");
        let mut before = fs::read_to_string(folder.join(file)).unwrap_or_default();
        if file == "keys/main.pem" {
            before = Signer::rsa().public_pem();
            generation += u32::from(generation > 1);
            fs::write(folder.join(file), &before).unwrap();
            comes_to(&mut client, &old, 200).await;
        }
        fs::write(folder.join(file), &whole[..half]).unwrap();
        pending += 1;
        let line = format!("jotgate_config_reloads_total{{outcome=\"pending\"}} {pending}");
        told(&gateway, &line).await;
        told(&gateway, "jotgate_config_last_reload_successful 1").await;
        let mut rest = fs::File::options()
            .append(true)
            .open(folder.join(file))
            .unwrap();
        rest.write_all(&whole.as_bytes()[half..]).unwrap();
        drop(rest);
        generation += 1;
        told(&gateway, &format!("jotgate_config_generation {generation}")).await;
        assert_ne!(&before, whole);
    }
    assert_eq!(ask(&mut client, &new).await, 200);
    let rejected = r#"jotgate_config_reloads_total{outcome="rejected"} 0"#;
    told(&gateway, rejected).await;
    steady.was_unharmed(&gateway).await;
}

#[tokio::test]
async fn p5_a_secret_that_is_empty_or_cut_short_is_waited_for() {
    let upstream = Upstream::start().await;
    let [old, new] = [7_u16, 11].map(|step| {
        (0..40_u16)
            .map(|n| b'A' + (n * step % 26) as u8)
            .collect::<Vec<u8>>()
    });
    let (gateway, steady) = Steady::beside(Start::with(&upstream)
        .issuers(
            "[issuer.main]\niss = \"https://issuer.test\"\naud = \"api\"\nsecret = \"main.key\"\n",
        )
        .file("main.key", &old), Start::start).await;
    let secret = gateway.folder().join("main.key");
    let hmac = |secret: &[u8]| {
        let draft = Draft::good().algorithm(jsonwebtoken::Algorithm::HS256);
        draft.without_header("kid").hmac(secret)
    };
    let mut client = gateway.h1().await;
    for (number, beginning) in [0, 1, 31].into_iter().enumerate() {
        fs::write(&secret, &new[..beginning]).unwrap();
        let pending = number + 1;
        let line = format!("jotgate_config_reloads_total{{outcome=\"pending\"}} {pending}");
        told(&gateway, &line).await;
        told(&gateway, "jotgate_config_last_reload_successful 1").await;
        assert_eq!(ask(&mut client, &hmac(&old)).await, 200);
    }
    fs::write(&secret, &new).unwrap();
    comes_to(&mut client, &hmac(&new), 200).await;
    assert_eq!(ask(&mut client, &hmac(&old)).await, 401);
    steady.was_unharmed(&gateway).await;
}

/// Something that stands where a file should be.
type Stand = fn(file: &Path);

/// What, and what comes of it.
const STANDS: [(&str, Stand, &str); 5] = [
    ("nothing", |_| {}, "pending"),
    (
        "an empty file",
        |file| fs::write(file, "").unwrap(),
        "pending",
    ),
    ("a folder", |file| fs::create_dir(file).unwrap(), "rejected"),
    (
        "a pipe",
        |file| {
            let made = std::process::Command::new("mkfifo").arg(file).status();
            assert!(made.unwrap().success());
        },
        "rejected",
    ),
    (
        "ten gigabytes of nothing",
        |file| fs::File::create(file).unwrap().set_len(10 << 30).unwrap(),
        "rejected",
    ),
];

#[tokio::test]
async fn p6_whatever_stands_in_the_place_of_a_file_the_last_good_one_goes_on() {
    let upstream = Upstream::start().await;
    let start = Start::with(&upstream).issuers(
        "[issuer.main]\niss = \"https://issuer.test\"\naud = \"api\"\nkeys = \"keys/main.pem\"\n",
    );
    let (gateway, steady) = Steady::beside(start, Start::start).await;
    let mut client = gateway.h1().await;
    let good = token(Signer::rsa(), "main");
    let mut outcomes = std::collections::HashMap::from([("pending", 0), ("rejected", 0)]);
    let mut mended = 0;
    let files = [
        "keys/main.pem",
        "certs/tls.crt",
        "certs/tls.key",
        "jotgate.toml",
    ];
    for (name, (what, stand, outcome)) in files
        .iter()
        .flat_map(|file| STANDS.into_iter().map(move |stand| (file, stand)))
    {
        println!("{what} for {name}");
        let file = gateway.folder().join(name);
        let away = file.with_extension("away");
        fs::rename(&file, &away).unwrap();
        stand(&file);
        // Keys may be in a folder, and may be about to come.
        let is_folder_of_keys = *name == "keys/main.pem" && file.is_dir();
        let outcome = if is_folder_of_keys {
            "pending"
        } else {
            outcome
        };
        let count = outcomes.get_mut(outcome).unwrap();
        *count += 1;
        let line = format!("jotgate_config_reloads_total{{outcome=\"{outcome}\"}} {count}");
        told(&gateway, &line).await;
        assert_eq!(ask(&mut client, &good).await, 200);
        assert_eq!(ask(&mut gateway.h1().await, &good).await, 200);
        let _ = fs::remove_file(&file).or_else(|_| fs::remove_dir(&file));
        fs::rename(&away, &file).unwrap();
        mended += 1;
        let line = format!("jotgate_config_reloads_total{{outcome=\"unchanged\"}} {mended}");
        told(&gateway, &line).await;
        told(&gateway, "jotgate_config_last_reload_successful 1").await;
    }
    fs::write(
        gateway.folder().join("keys/main.pem"),
        second().public_pem(),
    )
    .unwrap();
    comes_to(&mut client, &token(second(), "main"), 200).await;
    told(&gateway, "jotgate_config_generation 2").await;
    steady.was_unharmed(&gateway).await;
}

#[tokio::test]
async fn p6_a_folder_that_is_emptied_or_taken_away_leaves_the_last_good_keys() {
    let upstream = Upstream::start().await;
    let (gateway, steady) = Steady::beside(Start::with(&upstream), Start::start).await;
    let keys = gateway.folder().join("keys");
    let mut client = gateway.h1().await;
    let good = token(Signer::rsa(), "main");
    let empty: Stand = |keys| fs::create_dir(keys).unwrap();
    let gone: Stand = |_| {};
    for (number, stand) in [empty, gone].into_iter().enumerate() {
        fs::rename(&keys, keys.with_extension("away")).unwrap();
        stand(&keys);
        let pending = number + 1;
        let line = format!("jotgate_config_reloads_total{{outcome=\"pending\"}} {pending}");
        told(&gateway, &line).await;
        assert_eq!(ask(&mut client, &good).await, 200);
        let _ = fs::remove_dir(&keys);
        fs::rename(keys.with_extension("away"), &keys).unwrap();
        let line = format!("jotgate_config_reloads_total{{outcome=\"unchanged\"}} {pending}");
        told(&gateway, &line).await;
    }
    steady.was_unharmed(&gateway).await;
}

#[tokio::test]
async fn a_folder_that_one_comes_to_by_two_names_is_watched_for_both() {
    let upstream = Upstream::start().await;
    let start = Start::with(&upstream);
    let folder = start.folder().to_owned();
    // The key is a link into the folder of the configuration.
    fs::rename(folder.join("keys/main.pem"), folder.join("shared.pem")).unwrap();
    symlink("../shared.pem", folder.join("keys/main.pem")).unwrap();
    let (gateway, steady) =
        Steady::beside(start.extra("[reload]\npoll = \"1h\"\n"), Start::start).await;
    let mut client = gateway.h1().await;
    let (old, new) = (token(Signer::rsa(), "main"), token(second(), "main"));
    assert_eq!(ask(&mut client, &old).await, 200);
    fs::write(folder.join("shared.pem"), second().public_pem()).unwrap();
    comes_to(&mut client, &new, 200).await;
    let config = folder.join("jotgate.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("/public/", "/open/")).unwrap();
    told(&gateway, "jotgate_config_generation 3").await;
    assert_eq!(client.get("/open/x", &[]).await.status, 200);
    steady.was_unharmed(&gateway).await;
}

#[tokio::test]
async fn p5_a_folder_by_a_link_may_be_led_elsewhere_again_and_again() {
    let upstream = Upstream::start().await;
    let start = Start::with(&upstream);
    let folder = start.folder().to_owned();
    fs::rename(folder.join("keys"), folder.join("v0")).unwrap();
    fs::create_dir(folder.join("v1")).unwrap();
    second().write_public(&folder.join("v1/main.pem"));
    symlink("v0", folder.join("keys")).unwrap();
    let (gateway, steady) =
        Steady::beside(start.extra("[reload]\npoll = \"1h\"\n"), Start::start).await;
    let mut client = gateway.h1().await;
    let tokens = [Signer::rsa(), second()].map(|signer| token(signer, "main"));
    assert_eq!(ask(&mut client, &tokens[0]).await, 200);
    for version in [1, 0, 1] {
        symlink(format!("v{version}"), folder.join("next")).unwrap();
        fs::rename(folder.join("next"), folder.join("keys")).unwrap();
        comes_to(&mut client, &tokens[version], 200).await;
        assert_eq!(ask(&mut client, &tokens[1 - version]).await, 401);
    }
    // And what is in there now is watched.
    fs::write(folder.join("v1/main.pem"), Signer::rsa().public_pem()).unwrap();
    comes_to(&mut client, &tokens[0], 200).await;
    steady.was_unharmed(&gateway).await;
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn p6_what_may_not_be_read_any_more_stays_in_force() {
    let upstream = Upstream::start().await;
    let start = Start::with(&upstream);
    let folder = start.folder().to_owned();
    mode(&folder, 0o755);
    let (process, steady) = Steady::beside(start, Process::start_as_nobody).await;
    let mut client = H1::connect_to(process.https, &process.authority, Some("localhost")).await;
    let good = token(Signer::rsa(), "main");
    assert_eq!(ask(&mut client, &good).await, 200);
    for name in [
        "keys/main.pem",
        "keys",
        "certs/tls.crt",
        "certs",
        "jotgate.toml",
    ] {
        println!("{name}");
        let path = folder.join(name);
        let before = fs::metadata(&path).unwrap().permissions();
        mode(&path, 0);
        let error = process.wait_for("not applied");
        assert!(error.contains("ermission denied"), "{error}");
        assert_eq!(ask(&mut client, &good).await, 200);
        fs::set_permissions(&path, before).unwrap();
        process.wait_for("the files are as they were");
        assert_eq!(ask(&mut client, &good).await, 200);
    }
    steady.was_unharmed(&process).await;
}

#[tokio::test]
async fn p6_a_disk_that_is_full_leaves_the_last_good_key_until_there_is_room() {
    let upstream = Upstream::start().await;
    let (start, steady) = Steady::prepare(Start::with(&upstream)).await;
    let Some((process, keys)) = Process::start_with_small_disk(start, 32) else {
        return println!("skipped: this system lets nobody mount a disk of their own");
    };
    let steady = steady.begin(&process).await;
    let key = keys.join("main.pem");
    let mut client = H1::connect_to(process.https, &process.authority, Some("localhost")).await;
    let (old, new) = (token(Signer::rsa(), "main"), token(second(), "main"));
    assert_eq!(ask(&mut client, &old).await, 200);
    let ballast = keys.join("ballast");
    let full = fs::write(&ballast, vec![b'x'; 64 * 1024]).unwrap_err();
    assert_eq!(full.kind(), ErrorKind::StorageFull);
    // As an editor does: beside it first. It comes to nothing.
    let beside = keys.join("main.new");
    assert!(fs::write(&beside, second().public_pem()).is_err());
    fs::remove_file(&beside).unwrap();
    // In place: the old key is gone, and of the new one there is only the beginning.
    let padded = format!("{}\n{}", "#".repeat(8 * 1024), second().public_pem());
    let broken_off = fs::write(&key, &padded).unwrap_err();
    assert_eq!(broken_off.kind(), ErrorKind::StorageFull);
    process.wait_for("not applied, the last good configuration goes on");
    assert_eq!(ask(&mut client, &old).await, 200);
    assert_eq!(ask(&mut client, &new).await, 401);
    fs::remove_file(&ballast).unwrap();
    fs::write(&key, &padded).unwrap();
    comes_to(&mut client, &new, 200).await;
    assert_eq!(ask(&mut client, &old).await, 401);
    steady.was_unharmed(&process).await;
}
