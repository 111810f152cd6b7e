//! What changes on disk takes effect without a restart, and what is wrong there does not.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jotgate::crypto::KeyKind;
use tokio::time::timeout;

use crate::harness::{
    Authority, Draft, H1, PATIENCE, Process, Signer, Stage, Start, Steady, TestGateway, Upstream,
    generation, now,
};

/// The status of one request with this token on a connection that has been open all along.
pub(crate) async fn ask(client: &mut H1, token: &str) -> u16 {
    let authorization = format!("Authorization: Bearer {token}");
    client.get("/api/x", &[&authorization]).await.status
}

pub(crate) fn token(signer: &Signer, kid: &str) -> String {
    Draft::good().kid(kid).signed_by(signer)
}

/// Asks until the answer is this one; fails if that takes more than it may. A second is promised,
/// and machines that are busy get a few more.
pub(crate) async fn comes_to(client: &mut H1, token: &str, status: u16) {
    let begun = Instant::now();
    loop {
        let got = ask(client, token).await;
        if got == status {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{got} for ever, not {status}");
    }
}

/// Waits for the metrics to say this.
pub(crate) async fn told(gateway: &TestGateway, line: &str) {
    let mut operator = H1::plain(gateway.admin()).await;
    let begun = Instant::now();
    loop {
        let text = operator.get("/metrics", &[]).await.text();
        if text.contains(&format!("\n{line}\n")) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "no {line} in {text}");
    }
}

/// Another key pair than the one there is at the start.
pub(crate) fn second() -> &'static Signer {
    Signer::stranger()
}

#[tokio::test]
async fn p1_a_key_that_is_added_is_good_and_one_that_is_removed_is_not() {
    let upstream = Upstream::start().await;
    let (gateway, steady) = Steady::beside(Start::with(&upstream), Start::start).await;
    let keys = gateway.folder().join("keys");
    let mut client = gateway.h1().await;
    let (old, new) = (token(Signer::rsa(), "main"), token(second(), "second"));
    assert_eq!(ask(&mut client, &old).await, 200);
    assert_eq!(ask(&mut client, &new).await, 401);

    second().write_public(&keys.join("second.pem"));
    comes_to(&mut client, &new, 200).await;
    assert_eq!(ask(&mut client, &old).await, 200);

    // T54: remembered, and gone with its key.
    fs::remove_file(keys.join("main.pem")).unwrap();
    comes_to(&mut client, &old, 401).await;
    assert_eq!(ask(&mut client, &new).await, 200);
    told(&gateway, "jotgate_config_generation 3").await;
    told(&gateway, "jotgate_config_last_reload_successful 1").await;
    told(
        &gateway,
        r#"jotgate_config_reloads_total{outcome="applied"} 2"#,
    )
    .await;
    steady.was_unharmed(&gateway).await;
}

/// The chapter "Reloading" tells what to do then.
#[tokio::test]
async fn a_key_that_is_removed_is_good_until_a_state_without_it_can_be_applied() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    let keys = gateway.folder().join("keys");
    let mut client = gateway.h1().await;
    let (old, new) = (token(Signer::rsa(), "main"), token(second(), "second"));
    let pending = r#"jotgate_config_reloads_total{outcome="pending"}"#;
    // It is the last one of its issuer.
    fs::remove_file(keys.join("main.pem")).unwrap();
    told(&gateway, &format!("{pending} 1")).await;
    told(&gateway, "jotgate_config_last_reload_successful 1").await;
    assert_eq!(ask(&mut client, &old).await, 200);
    second().write_public(&keys.join("second.pem"));
    comes_to(&mut client, &old, 401).await;
    assert_eq!(ask(&mut client, &new).await, 200);
    // Something else is wrong.
    Signer::rsa().write_public(&keys.join("main.pem"));
    comes_to(&mut client, &old, 200).await;
    fs::write(keys.join("other.pem"), "nonsense").unwrap();
    told(&gateway, "jotgate_config_last_reload_successful 0").await;
    fs::remove_file(keys.join("second.pem")).unwrap();
    let rejected = r#"jotgate_config_reloads_total{outcome="rejected"} 2"#;
    told(&gateway, rejected).await;
    assert_eq!(ask(&mut client, &new).await, 200);
    fs::remove_file(keys.join("other.pem")).unwrap();
    comes_to(&mut client, &new, 401).await;
}

#[tokio::test]
async fn a_route_that_is_added_is_there_and_one_that_is_removed_is_not() {
    let upstream = Upstream::start().await;
    let (gateway, steady) = Steady::beside(Start::with(&upstream), Start::start).await;
    let mut client = gateway.h1().await;
    assert_eq!(client.get("/more/x", &[]).await.status, 404);
    let file = gateway.folder().join("jotgate.toml");
    let text = fs::read_to_string(&file).unwrap();
    let more = format!(
        "{text}\n[[route]]\npath = \"/more/\"\nto = \"{}\"\nauth = \"public\"\n",
        upstream.url()
    );
    fs::write(&file, more).unwrap();
    told(&gateway, "jotgate_config_generation 2").await;
    assert_eq!(client.get("/more/x", &[]).await.status, 200);
    assert_eq!(client.get("/public/x", &[]).await.status, 200);
    // Same upstream, same connection.
    assert_eq!(upstream.connections(), 1);
    fs::write(&file, text).unwrap();
    told(&gateway, "jotgate_config_generation 3").await;
    assert_eq!(client.get("/more/x", &[]).await.status, 404);
    assert_eq!(client.get("/public/x", &[]).await.status, 200);
    assert_eq!(upstream.connections(), 1);
    let generations: Vec<u64> = gateway
        .events(5)
        .await
        .iter()
        .map(|event| event["generation"].as_u64().unwrap())
        .collect();
    assert_eq!(generations, [1, 2, 2, 3, 3]);
    steady.was_unharmed(&gateway).await;
}

#[tokio::test]
async fn p4_whatever_is_wrong_the_last_good_state_goes_on_and_what_is_mended_is_taken() {
    let upstream = Upstream::start().await;
    let (gateway, steady) = Steady::beside(Start::with(&upstream), Start::start).await;
    let folder = gateway.folder().to_owned();
    let config = fs::read_to_string(folder.join("jotgate.toml")).unwrap();
    let mut client = gateway.h1().await;
    let good = token(Signer::rsa(), "main");
    let mut rejected = 0;
    let broken: [(&str, &str, Vec<u8>); 6] = [
        ("no TOML", "jotgate.toml", b"[listen\nhttps =\n".to_vec()),
        ("no routes", "jotgate.toml", b"[listen]\n".to_vec()),
        (
            "an unknown issuer",
            "jotgate.toml",
            config
                .replacen("auth = \"main\"", "auth = \"nobody\"", 1)
                .into(),
        ),
        ("no key", "keys/main.pem", b"nonsense".to_vec()),
        (
            "a private key",
            "keys/main.pem",
            Signer::rsa().private_pem().into(),
        ),
        ("no certificate", "certs/tls.crt", b"nonsense".to_vec()),
    ];
    for (what, file, bytes) in broken {
        println!("{what}");
        let before = fs::read(folder.join(file)).unwrap();
        fs::write(folder.join(file), bytes).unwrap();
        rejected += 1;
        told(
            &gateway,
            &format!(r#"jotgate_config_reloads_total{{outcome="rejected"}} {rejected}"#),
        )
        .await;
        told(&gateway, "jotgate_config_last_reload_successful 0").await;
        told(&gateway, "jotgate_config_generation 1").await;
        assert_eq!(ask(&mut client, &good).await, 200);
        assert_eq!(ask(&mut gateway.h1().await, &good).await, 200);
        fs::write(folder.join(file), before).unwrap();
        told(&gateway, "jotgate_config_last_reload_successful 1").await;
        told(&gateway, "jotgate_config_generation 1").await;
    }
    second().write_public(&folder.join("keys/second.pem"));
    comes_to(&mut client, &token(second(), "second"), 200).await;
    steady.was_unharmed(&gateway).await;
}

#[tokio::test]
async fn p8_a_certificate_waits_for_its_key() {
    let upstream = Upstream::start().await;
    let (gateway, steady) = Steady::beside(Start::with(&upstream), Start::start).await;
    let certs = gateway.folder().join("certs");
    let other = Authority::new();
    let (cert, key) = other.leaf(&["localhost"]);
    let connects_with = async |authority: &str| {
        H1::try_connect_to(gateway.https(), authority, Some("localhost")).await
    };
    let mut before = connects_with(gateway.authority()).await.unwrap();

    fs::write(certs.join("tls.crt"), cert).unwrap();
    told(
        &gateway,
        r#"jotgate_config_reloads_total{outcome="pending"} 1"#,
    )
    .await;
    // Not wrong, not yet.
    told(&gateway, "jotgate_config_last_reload_successful 1").await;
    assert!(connects_with(gateway.authority()).await.is_some());
    assert!(connects_with(other.pem()).await.is_none());

    fs::write(certs.join("tls.key"), key).unwrap();
    told(&gateway, "jotgate_config_generation 2").await;
    assert!(connects_with(other.pem()).await.is_some());
    assert!(connects_with(gateway.authority()).await.is_none());
    assert_eq!(before.get("/public/x", &[]).await.status, 200);
    steady.was_unharmed(&gateway).await;
}

#[tokio::test]
async fn what_was_renewed_is_told_with_its_end_and_when_it_came() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    let mut operator = H1::plain(gateway.admin()).await;
    let mut metric = async |name: &str| {
        let text = operator.get("/metrics", &[]).await.text();
        let (_, after) = text.split_once(&format!("\n{name} ")).unwrap();
        after.lines().next().unwrap().parse::<u64>().unwrap()
    };
    let end = "jotgate_certificate_expiry_seconds{name=\"localhost\"}";
    let came = "jotgate_config_last_reload_success_timestamp_seconds";
    let begun = metric(came).await;
    let rejected = "nonsense";
    let certs = gateway.folder().join("certs");
    let (cert, key) = Authority::new().leaf_until(&["localhost"], 2100);
    // A certificate is a key file, too, and has an end.
    let (signer, _) = Authority::new().leaf_until(&["issuer"], 2101);
    fs::write(certs.join("tls.crt"), rejected).unwrap();
    told(&gateway, "jotgate_config_last_reload_successful 0").await;
    assert_eq!(metric(came).await, begun);
    // Times are told in seconds, and this is to be another one.
    while now() <= begun {
        tokio::task::yield_now().await;
    }
    fs::write(certs.join("tls.key"), key).unwrap();
    fs::write(certs.join("tls.crt"), cert).unwrap();
    fs::write(gateway.folder().join("keys/2101.crt"), signer).unwrap();
    told(&gateway, "jotgate_config_generation 2").await;
    assert_eq!(metric(end).await, 4_102_444_800);
    let key_end = "jotgate_key_expiry_seconds{issuer=\"main\",kid=\"2101\"}";
    assert_eq!(metric(key_end).await, 4_133_980_800);
    assert!((begun + 1..=now()).contains(&metric(came).await));
}

#[tokio::test]
async fn what_changes_nothing_is_no_reload() {
    let upstream = Upstream::start().await;
    let (gateway, steady) = Steady::beside(Start::with(&upstream), Start::start).await;
    let key = gateway.folder().join("keys/main.pem");
    let bytes = fs::read(&key).unwrap();
    for _ in 0..20 {
        fs::write(&key, &bytes).unwrap();
    }
    for file in [
        "keys/main.pem",
        "jotgate.toml",
        "certs/tls.crt",
        "certs/tls.key",
    ] {
        let file = fs::File::options()
            .append(true)
            .open(gateway.folder().join(file));
        file.unwrap()
            .set_modified(std::time::SystemTime::now())
            .unwrap();
    }
    fs::write(gateway.folder().join("keys/README"), "x").unwrap();
    // Something that does, so that there is an end to wait for.
    gateway.control.reload().await;
    told(
        &gateway,
        r#"jotgate_config_reloads_total{outcome="unchanged"} 1"#,
    )
    .await;
    told(&gateway, "jotgate_config_generation 1").await;
    told(
        &gateway,
        r#"jotgate_config_reloads_total{outcome="applied"} 0"#,
    )
    .await;
    steady.was_unharmed(&gateway).await;
}

#[tokio::test]
async fn p7_many_changes_at_once_are_few_reloads() {
    let upstream = Upstream::start().await;
    let (gateway, steady) = Steady::beside(Start::with(&upstream), Start::start).await;
    let keys = gateway.folder().join("keys");
    let last = Signer::new(KeyKind::Ed25519);
    let begun = Instant::now();
    for number in 0..100 {
        second().write_public(&keys.join("second.pem"));
        fs::rename(
            keys.join("second.pem"),
            keys.join(format!("key-{number}.pem")),
        )
        .unwrap();
    }
    last.write_public(&keys.join("last.pem"));
    let mut client = gateway.h1().await;
    let good = Draft::good()
        .algorithm(jsonwebtoken::Algorithm::EdDSA)
        .kid("last")
        .signed_by(&last);
    comes_to(&mut client, &good, 200).await;
    let most = 2 + begun.elapsed().as_millis() / 200;
    let reloads = generation(&mut H1::plain(gateway.admin()).await).await - 1;
    assert!(
        u128::from(reloads) <= most,
        "{reloads} reloads, at most {most}"
    );
    steady.was_unharmed(&gateway).await;
}

#[tokio::test]
async fn what_waits_for_a_restart_is_named_and_everything_else_is_applied() {
    let upstream = Upstream::start().await;
    let start = Start::with(&upstream).extra("[server]\nworkers = 1\n");
    let (process, steady) = Steady::beside(start, |start| Process::start(start, "info")).await;
    let written = process.written();
    let (_, http) = written.split_once("listener=\"http\" address=").unwrap();
    let http = http.lines().next().unwrap().parse().unwrap();
    let file = process.folder().join("jotgate.toml");
    let text = fs::read_to_string(&file).unwrap();
    let text = text
        .replace("workers = 1", "workers = 3")
        .replacen("https = \"127.0.0.1:0\"", "https = \"127.0.0.1:1\"", 1)
        .replace("path = \"/public/\"", "path = \"/open/\"");
    fs::write(&file, text).unwrap();
    let applied = process.wait_for("configuration applied");
    assert!(applied.contains("generation=2"), "{applied}");
    assert!(
        applied.contains("+route /open/, -route /public/"),
        "{applied}"
    );
    let restart = process.wait_for("need a restart");
    assert!(
        restart.contains("[listen] https, [server] workers"),
        "{restart}"
    );
    let mut plain = H1::plain(http).await;
    let answer = plain.get("/open/x", &[]).await;
    assert_eq!(
        answer.one("location").unwrap(),
        "https://localhost:0/open/x"
    );
    let connect = H1::connect_to(process.https, &process.authority, Some("localhost"));
    assert_eq!(connect.await.get("/open/x", &[]).await.status, 200);
    steady.was_unharmed(&process).await;
}

#[tokio::test]
async fn used_up_watches_are_told_once_and_changes_are_found_all_the_same() {
    let upstream = Upstream::start().await;
    let start = Start::with(&upstream).extra("[reload]\npoll = \"1s\"\n");
    let Some(process) = Process::start_with_few_watches(start, 3) else {
        return;
    };
    let file = process.folder().join("jotgate.toml");
    let text = fs::read_to_string(&file).unwrap();
    for (number, path) in [(2, "/second/"), (3, "/third/")] {
        fs::write(&file, text.replace("/public/", path)).unwrap();
        let applied = process.wait_for("configuration applied");
        assert!(
            applied.contains(&format!("generation={number}")),
            "{applied}"
        );
    }
    let written = process.written();
    assert_eq!(written.matches("max_user_watches").count(), 1, "{written}");
}

#[tokio::test]
async fn a_reload_that_fails_says_what_is_wrong_and_where() {
    let upstream = Upstream::start().await;
    let (process, steady) = Steady::beside(Start::with(&upstream), |start| {
        Process::start(start, "info")
    })
    .await;
    let key = process.folder().join("keys/main.pem");
    let bytes = fs::read(&key).unwrap();
    fs::write(&key, "nonsense").unwrap();
    let error = process.wait_for("ERROR");
    for part in ["generation=1", "jotgate.toml:", "main.pem", "neither PEM"] {
        assert!(error.contains(part), "no {part} in {error}");
    }
    fs::write(&key, &bytes[..bytes.len() / 2]).unwrap();
    let waits = process.wait_for("waiting for files");
    assert!(waits.contains("no END line"), "{waits}");
    fs::write(&key, bytes).unwrap();
    process.wait_for("the files are as they were");
    steady.was_unharmed(&process).await;
}

#[tokio::test]
async fn what_is_wrong_is_tried_again_now_and_then_and_said_once() {
    let upstream = Upstream::start().await;
    let start = Start::with(&upstream).extra("[reload]\npoll = \"1s\"\n");
    let process = Process::start(start, "info");
    fs::write(process.folder().join("keys/main.pem"), "nonsense").unwrap();
    process.wait_for("not applied");
    let mut operator = H1::plain(process.admin).await;
    let tried_again = async {
        let rejected = "jotgate_config_reloads_total{outcome=\"rejected\"} 3\n";
        while !operator
            .get("/metrics", &[])
            .await
            .text()
            .contains(rejected)
        {}
    };
    timeout(PATIENCE, tried_again).await.expect("nobody tries");
    fs::write(
        process.folder().join("keys/main.pem"),
        second().public_pem(),
    )
    .unwrap();
    process.wait_for("configuration applied");
    assert_eq!(process.end().matches("not applied").count(), 1);
}

#[tokio::test]
async fn a_hangup_is_a_wish_to_look_and_no_end() {
    let upstream = Upstream::start().await;
    let (process, steady) = Steady::beside(Start::with(&upstream), |start| {
        Process::start(start, "info")
    })
    .await;
    process.signal("HUP");
    process.wait_for("nothing has changed");
    let connect = H1::connect_to(process.https, &process.authority, Some("localhost"));
    assert_eq!(connect.await.get("/public/x", &[]).await.status, 200);
    steady.was_unharmed(&process).await;
}

/// The key's file by another name: of what is written there nobody has word.
fn unwatched(folder: &Path) -> PathBuf {
    let elsewhere = folder.join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::hard_link(folder.join("keys/main.pem"), elsewhere.join("x")).unwrap();
    elsewhere.join("x")
}

#[tokio::test]
async fn what_the_file_system_does_not_tell_is_found_out_in_time() {
    let upstream = Upstream::start().await;
    let start = Start::with(&upstream).extra("[reload]\npoll = \"1s\"\n");
    let key = unwatched(start.folder());
    let (gateway, steady) = Steady::beside(start, Start::start).await;
    let mut client = gateway.h1().await;
    let (old, new) = (token(Signer::rsa(), "main"), token(second(), "main"));
    assert_eq!(ask(&mut client, &old).await, 200);
    fs::write(&key, second().public_pem()).unwrap();
    comes_to(&mut client, &new, 200).await;
    steady.was_unharmed(&gateway).await;
}

#[tokio::test]
async fn what_the_file_system_does_not_tell_is_found_by_a_hangup() {
    let upstream = Upstream::start().await;
    let start = Start::with(&upstream).extra("[reload]\npoll = \"1h\"\n");
    let key = unwatched(start.folder());
    let (process, steady) = Steady::beside(start, |start| Process::start(start, "info")).await;
    let mut client = H1::connect_to(process.https, &process.authority, Some("localhost")).await;
    let (old, new) = (token(Signer::rsa(), "main"), token(second(), "main"));
    assert_eq!(ask(&mut client, &old).await, 200);
    fs::write(&key, second().public_pem()).unwrap();
    process.signal("HUP");
    process.wait_for("configuration applied");
    assert_eq!(ask(&mut client, &new).await, 200);
    assert_eq!(ask(&mut client, &old).await, 401);
    steady.was_unharmed(&process).await;
}

#[tokio::test]
async fn p2_a_request_in_flight_ends_on_the_route_that_it_came_by() {
    let upstream = Stage::open().await;
    let (gateway, steady) = Steady::beside(Start::to(&upstream.url()), Start::start).await;
    let mut client = gateway.h1().await;
    client
        .send("GET /public/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let mut line = upstream.enter().await;
    line.head_text().await;
    let file = gateway.folder().join("jotgate.toml");
    let text = fs::read_to_string(&file).unwrap();
    let elsewhere = text.replace(&upstream.url(), "http://127.0.0.1:9");
    fs::write(&file, elsewhere).unwrap();
    told(&gateway, "jotgate_config_generation 2").await;
    line.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        .await;
    assert_eq!(client.answer().await.text(), "ok");
    assert_eq!(gateway.event().await["generation"], 1);
    // Nobody will need the connection again.
    assert!(line.is_closed().await);
    assert_eq!(client.get("/public/x", &[]).await.status, 502);
    steady.was_unharmed(&gateway).await;
}

#[tokio::test]
async fn p8_what_is_waited_for_is_an_error_after_half_a_minute() {
    let upstream = Upstream::start().await;
    let process = Process::start(Start::with(&upstream), "info");
    let (cert, _) = Authority::new().leaf(&["localhost"]);
    let before = fs::read(process.folder().join("certs/tls.crt")).unwrap();
    fs::write(process.folder().join("certs/tls.crt"), cert).unwrap();
    let waits = process.wait_for("waiting for files");
    let begun = Instant::now();
    assert!(waits.contains("does not fit the certificate"), "{waits}");
    let good = "\njotgate_config_last_reload_successful ";
    let metrics = async || {
        H1::plain(process.admin)
            .await
            .get("/metrics", &[])
            .await
            .text()
    };
    assert!(metrics().await.contains(&format!("{good}1\n")));
    let error = process.wait_longer_for("ERROR", Duration::from_secs(30));
    assert!(error.contains("does not fit the certificate"), "{error}");
    assert!(
        begun.elapsed() >= Duration::from_secs(29),
        "{:?}",
        begun.elapsed()
    );
    // It is counted as soon as it has been said.
    let counted = async { while !metrics().await.contains(&format!("{good}0\n")) {} };
    timeout(PATIENCE, counted).await.expect("no metric of it");
    fs::write(process.folder().join("certs/tls.crt"), before).unwrap();
    process.wait_for("the files are as they were");
}
