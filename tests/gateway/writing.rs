//! Files that somebody is at: what is being written is waited for, and what never comes to rest
//! holds up nothing else.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jotgate::crypto::KeyKind;
use jsonwebtoken::Algorithm;

use crate::harness::{Authority, Draft, H1, Process, Signer, Start, Steady, Upstream};
use crate::reload::{ask, comes_to, second, token, told};

/// Each is cut where what has been written so far is good by itself.
#[tokio::test]
async fn p5_what_somebody_is_still_writing_is_waited_for() {
    let upstream = Upstream::start().await;
    let secret = |first: u8| -> Vec<u8> { (first..first + 60).collect() };
    let start = Start::with(&upstream)
        .extra("[issuer.internal]\niss = \"internal\"\naud = \"api\"\nsecret = \"hmac.key\"\n")
        .file("hmac.key", secret(33));
    let (gateway, steady) = Steady::beside(start, Start::start).await;
    let folder = gateway.folder();
    let read = |file: &str| fs::read_to_string(folder.join(file)).unwrap();
    let mut client = gateway.h1().await;
    let unnamed = |signer| Draft::good().without_header("kid").signed_by(signer);
    let [old, new] = [Signer::rsa(), second()].map(unnamed);

    let config = read("jotgate.toml");
    let [with, without] = [true, false].map(|is| format!("[log]\nsubject = {is}\n{config}"));
    // Without the last route; and in the middle of a table.
    let (route, inside) = (
        with.rfind("[[route]]").unwrap(),
        without.rfind("aud =").unwrap(),
    );
    let bundle = second().public_pem() + &Signer::rsa().public_pem();
    let (leaf, key) = Authority::new().leaf(&["localhost"]);
    fs::write(folder.join("certs/tls.key"), key).unwrap();
    told(
        &gateway,
        r#"jotgate_config_reloads_total{outcome="pending"} 1"#,
    )
    .await;
    let chain = leaf + Authority::new().pem();
    let halves = [
        (
            "certs/tls.crt",
            chain.clone().into_bytes(),
            chain.rfind("-----BEGIN").unwrap(),
        ),
        (
            "keys/main.pem",
            bundle.clone().into_bytes(),
            bundle.rfind("-----BEGIN").unwrap(),
        ),
        ("hmac.key", secret(40), 45),
        ("jotgate.toml", with.into_bytes(), route),
        ("jotgate.toml", without.into_bytes(), inside),
    ];
    let (mut pending, mut generation) = (1, 1);
    for (file, whole, half) in halves {
        println!("{file} at {half}");
        let mut writer = File::create(folder.join(file)).unwrap();
        writer.write_all(&whole[..half]).unwrap();
        pending += 1;
        let line = format!("jotgate_config_reloads_total{{outcome=\"pending\"}} {pending}");
        told(&gateway, &line).await;
        told(&gateway, "jotgate_config_last_reload_successful 1").await;
        told(&gateway, &format!("jotgate_config_generation {generation}")).await;
        writer.write_all(&whole[half..]).unwrap();
        drop(writer);
        generation += 1;
        told(&gateway, &format!("jotgate_config_generation {generation}")).await;
    }
    assert_eq!(ask(&mut client, &old).await, 200);
    assert_eq!(ask(&mut client, &new).await, 200);
    let rejected = r#"jotgate_config_reloads_total{outcome="rejected"} 0"#;
    told(&gateway, rejected).await;
    steady.was_unharmed(&gateway).await;
}

#[tokio::test]
async fn p5_what_is_never_closed_is_taken_once_nothing_has_come_for_half_a_minute() {
    let upstream = Upstream::start().await;
    let process = Process::start(Start::with(&upstream), "info");
    // From then on it is watched who writes.
    process.signal("HUP");
    process.wait_for("nothing has changed");
    let begun = Instant::now();
    let mut writer = File::create(process.folder().join("keys/main.pem")).unwrap();
    writer.write_all(second().public_pem().as_bytes()).unwrap();
    let waits = process.wait_for("waiting for files");
    assert!(waits.contains("is being written"), "{waits}");
    process.wait_longer_for("configuration applied", Duration::from_secs(30));
    assert!(begun.elapsed() >= Duration::from_secs(30));
    assert!(!process.written().contains("ERROR"));
    drop(writer);
}

#[tokio::test]
async fn p5_a_key_may_be_written_to_by_another_name() {
    let upstream = Upstream::start().await;
    let start = Start::with(&upstream).extra("[reload]\npoll = \"1h\"\n");
    let other = start.folder().join("elsewhere");
    fs::hard_link(start.folder().join("keys/main.pem"), &other).unwrap();
    let (gateway, steady) = Steady::beside(start, Start::start).await;
    let mut client = gateway.h1().await;
    let tokens = [Signer::rsa(), second()].map(|signer| token(signer, "main"));
    assert_eq!(ask(&mut client, &tokens[0]).await, 200);
    for (signer, now) in [(second(), 1), (Signer::rsa(), 0)] {
        fs::write(&other, signer.public_pem()).unwrap();
        comes_to(&mut client, &tokens[now], 200).await;
        assert_eq!(ask(&mut client, &tokens[1 - now]).await, 401);
    }
    steady.was_unharmed(&gateway).await;
}

#[tokio::test]
async fn p1_a_key_may_be_taken_away_while_another_file_never_comes_to_rest() {
    let upstream = Upstream::start().await;
    let to = upstream.url();
    let start = Start::routes(&format!(
        "[[route]]\npath = \"/api/\"\nto = \"{to}\"\nauth = [\"main\", \"restless\"]\n"
    ))
        .extra("[issuer.restless]\niss = \"https://restless.test\"\naud = \"api\"\nkeys = \"restless.pem\"\n")
        .file("restless.pem", second().public_pem());
    second().write_public(&start.folder().join("keys/second.pem"));
    // To read so many takes longer than the other file ever rests.
    for number in 0..500 {
        let file = start.folder().join(format!("keys/{number}.pem"));
        Signer::new(KeyKind::Ed25519).write_public(&file);
    }
    let (gateway, steady) = Steady::beside(start, Start::start).await;
    let folder = gateway.folder().to_owned();
    let mut client = gateway.h1().await;
    let (stays, goes) = (token(Signer::rsa(), "main"), token(second(), "second"));
    assert_eq!(ask(&mut client, &goes).await, 200);
    let is_over = Arc::new(AtomicBool::new(false));
    let restless = std::thread::spawn({
        let (is_over, folder) = (is_over.clone(), folder.clone());
        move || {
            let key = Signer::new(KeyKind::Ed25519).public_pem();
            for number in 0.. {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                // Each time another one.
                fs::write(folder.join("next"), format!("{number}\n{key}")).unwrap();
                fs::rename(folder.join("next"), folder.join("restless.pem")).unwrap();
            }
        }
    });
    fs::remove_file(folder.join("keys/second.pem")).unwrap();
    comes_to(&mut client, &goes, 401).await;
    assert_eq!(ask(&mut client, &stays).await, 200);
    assert!(!restless.is_finished());
    is_over.store(true, Ordering::Relaxed);
    restless.join().unwrap();
    // In the end it is the last one that counts.
    let last = Signer::new(KeyKind::Ed25519);
    last.write_public(&folder.join("restless.pem"));
    let draft = Draft::good()
        .claim("iss", "\"https://restless.test\"")
        .algorithm(Algorithm::EdDSA);
    let good = draft.kid("restless").signed_by(&last);
    comes_to(&mut client, &good, 200).await;
    steady.was_unharmed(&gateway).await;
}

/// What the path of the configuration leads to from the working directory, in two versions.
fn versions(folder: &Path) {
    for (version, signer) in [("v0", Signer::rsa()), ("v1", second())] {
        let version = folder.join(version);
        fs::create_dir_all(version.join("certs")).unwrap();
        for file in [
            "jotgate.toml",
            "certs/tls.crt",
            "certs/tls.key",
            "steady.pem",
        ] {
            fs::copy(folder.join(file), version.join(file)).unwrap();
        }
        signer.write_public(&version.join("keys/main.pem"));
    }
}

#[tokio::test]
async fn p5_the_working_directory_may_be_led_elsewhere_or_be_replaced() {
    let upstream = Upstream::start().await;
    for is_link in [true, false] {
        let start = Start::with(&upstream).extra("[reload]\npoll = \"1h\"\n");
        let (start, steady) = Steady::prepare(start).await;
        let folder = start.folder().to_owned();
        start.write();
        versions(&folder);
        let work = folder.join("work");
        if is_link {
            symlink("v0", &work).unwrap();
        } else {
            fs::rename(folder.join("v0"), &work).unwrap();
        }
        let process = Process::start_in(start, &work);
        let steady = steady.begin(&process).await;
        let connect = H1::connect_to(process.https, &process.authority, Some("localhost"));
        let mut client = connect.await;
        let [old, new] = [Signer::rsa(), second()].map(|signer| token(signer, "main"));
        assert_eq!(ask(&mut client, &old).await, 200);
        if is_link {
            symlink("v1", folder.join("next")).unwrap();
            fs::rename(folder.join("next"), &work).unwrap();
        } else {
            fs::rename(&work, folder.join("gone")).unwrap();
            fs::rename(folder.join("v1"), &work).unwrap();
        }
        comes_to(&mut client, &new, 200).await;
        assert_eq!(ask(&mut client, &old).await, 401);
        // And what is in there now is watched.
        Signer::rsa().write_public(&work.join("keys/main.pem"));
        comes_to(&mut client, &old, 200).await;
        steady.was_unharmed(&process).await;
    }
}
