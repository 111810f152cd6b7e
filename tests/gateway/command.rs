//! The command itself, as a user types it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rcgen::CertificateParams;

use crate::harness::{Authority, Process, Start, Upstream, write_certificate};

pub fn jotgate(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_jotgate"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("JOTGATE_LOG")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub const BROKEN: &str = r#"
[listen]
https = "127.0.0.1:8443"
admin = "0.0.0.0:9901"
cert  = "certs/tls.crt"
key   = "certs/tls.key"
leeway = "3s"

[issuer.acme-eu]
iss  = "https://issuer.example"
aud  = "orders"
keys = "keys/"

[[route]]
path = "/api/"
to   = "http://127.0.0.1:3000"
auth = "acme"

[[route]]
path = "/open/"
to   = "http://127.0.0.1:3001"
"#;

#[test]
fn t148_check_shows_every_problem_at_once_with_its_line_and_exits_2() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("jotgate.toml"), BROKEN).unwrap();
    let output = jotgate(folder.path(), &["check"]);
    let shown = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{shown}");
    for expected in [
        "jotgate.toml:4:9",
        "health and metrics would be on a public address",
        "`leeway` belongs in [issuer.NAME]",
        "route[0].auth: there is no [issuer.acme]",
        "have: \"acme-eu\"",
        "route[1]: `auth` is missing",
        "\"acme-eu\", \"public\"",
        // What the file names is looked at in the same run.
        "certs/tls.crt",
        "keys",
    ] {
        assert!(shown.contains(expected), "no {expected:?} in\n{shown}");
    }
    assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
}

#[test]
fn t149_a_route_that_does_not_say_who_may_pass_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("jotgate.toml"), BROKEN).unwrap();
    for spelling in [
        "",
        "aut = \"public\"",
        "auth = \"\"",
        "auth = \"Public\"",
        "auth = []",
        "auth = false",
    ] {
        let config = BROKEN.replace(
            "to   = \"http://127.0.0.1:3001\"",
            &format!("to   = \"http://127.0.0.1:3001\"\n{spelling}"),
        );
        fs::write(folder.path().join("jotgate.toml"), config).unwrap();
        let shown = text(&jotgate(folder.path(), &["check"]).stderr);
        assert!(shown.contains("route[1]"), "{spelling}: {shown}");
    }
}

#[tokio::test]
async fn check_tells_what_a_good_file_means_and_listens_on_nothing() {
    let upstream = Upstream::start().await;
    let start = Start::with(&upstream);
    start.write();
    let output = jotgate(start.folder(), &["check"]);
    let shown = text(&output.stdout);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{shown}{}",
        text(&output.stderr)
    );
    for expected in [
        "*/public/ -> ",
        ", public",
        "*/api/ -> ",
        "token of main",
        "forwards x-auth-subject",
        "key main: RSA 2048 bits, RS256, RS384, RS512, PS256, PS384, PS512",
        "localhost api.test 127.0.0.1, valid until",
    ] {
        assert!(shown.contains(expected), "no {expected:?} in\n{shown}");
    }
    assert_eq!(upstream.connections(), 0);
    let output = jotgate(start.folder(), &["check", "--quiet"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
}

/// A leaf of each kind that loads although no client accepts it, and one without an end.
fn doubtful() -> Start {
    let start = Start::to("http://127.0.0.1:1");
    let authority = Authority::new();
    let mut endless = CertificateParams::new(vec!["endless.test".to_owned()]).unwrap();
    endless.not_after = rcgen::date_time_ymd(9999, 12, 31) + Duration::from_secs(86_399);
    let leaves = [
        ("early", authority.leaf_between(&["early.test"], 4000, 4096)),
        ("late", authority.leaf_between(&["late.test"], 2020, 2021)),
        ("nameless", authority.leaf(&[])),
        ("endless", authority.sign(endless)),
    ];
    leaves
        .into_iter()
        .fold(start, |start, (name, (cert, key))| {
            let paths = [format!("{name}.crt"), format!("{name}.key")];
            let table = format!(
                "[[certificate]]\ncert = \"{}\"\nkey = \"{}\"\n",
                paths[0], paths[1]
            );
            start
                .file(&paths[0], cert)
                .file(&paths[1], key)
                .extra(&table)
        })
}

#[test]
fn t127_check_warns_of_certificates_that_no_client_accepts() {
    let start = doubtful();
    start.write();
    for arguments in [&["check"][..], &["check", "--quiet"]] {
        let output = jotgate(start.folder(), arguments);
        let shown = text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{shown}");
        for expected in [
            "early.crt: not valid before 4000-01-01T00:00:00Z; clients refuse it",
            "late.crt: EXPIRED on 2021-01-01; clients refuse it",
            "nameless.crt: has no name and no address",
            "cert = \"nameless.crt\"",
        ] {
            assert!(shown.contains(expected), "no {expected:?} in\n{shown}");
        }
    }
    let shown = text(&jotgate(start.folder(), &["check"]).stdout);
    for expected in [
        "early.crt: early.test, not valid before 4000-01-01T00:00:00Z\n",
        "late.crt: late.test, EXPIRED on 2021-01-01\n",
        "nameless.crt: no names, valid until 4096-01-01",
        "endless.crt: endless.test, valid without an end\n",
    ] {
        assert!(shown.contains(expected), "no {expected:?} in\n{shown}");
    }
}

#[tokio::test]
async fn t127_run_warns_of_certificates_that_no_client_accepts_at_the_start_and_when_they_change() {
    let upstream = Upstream::start().await;
    let authority = Authority::new();
    let (cert, key) = authority.leaf_between(&["localhost"], 4000, 4096);
    let start = Start::with(&upstream)
        .file("certs/tls.crt", cert)
        .file("certs/tls.key", key);
    let process = Process::start(start, "info");
    let told = process.written();
    let expected = "certs/tls.crt: not valid before 4000-01-01T00:00:00Z";
    assert!(told.contains(expected), "{told}");
    let (cert, key) = authority.leaf_between(&["localhost"], 2020, 2021);
    let certs = process.folder().join("certs");
    fs::write(certs.join("tls.crt"), cert).unwrap();
    fs::write(certs.join("tls.key"), key).unwrap();
    let line = process.wait_for("certs/tls.crt: EXPIRED on 2021-01-01");
    assert!(line.contains("jotgate.toml:"), "{line}");
}

#[test]
fn run_refuses_a_broken_file_with_the_same_words() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("jotgate.toml"), BROKEN).unwrap();
    let check = jotgate(folder.path(), &["check"]);
    let run = jotgate(folder.path(), &["run"]);
    assert_eq!(run.status.code(), Some(2));
    assert_eq!(text(&run.stderr), text(&check.stderr));
}

#[test]
fn a_missing_file_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let output = jotgate(folder.path(), &["run", "--config", "absent.toml"]);
    assert_eq!(output.status.code(), Some(2));
    let shown = text(&output.stderr);
    assert!(
        shown.contains("cannot read absent.toml: No such file"),
        "{shown}"
    );
    assert!(shown.contains("jotgate demo"), "{shown}");
}

#[test]
fn keys_and_tokens_made_by_the_command_fit_together() {
    let folder = tempfile::tempdir().unwrap();
    let made = jotgate(
        folder.path(),
        &["keys", "generate", "--out", ".", "--kid", "k1"],
    );
    assert!(made.status.success(), "{}", text(&made.stderr));
    let again = jotgate(
        folder.path(),
        &["keys", "generate", "--out", ".", "--kid", "k1"],
    );
    assert_eq!(again.status.code(), Some(2), "it must never overwrite");
    let minted = jotgate(
        folder.path(),
        &[
            "token",
            "mint",
            "--key",
            "private/k1.pem",
            "--iss",
            "me",
            "--aud",
            "orders",
            "--sub",
            "alice",
        ],
    );
    let token = text(&minted.stdout).trim().to_owned();
    assert_eq!(token.split('.').count(), 3, "{}", text(&minted.stderr));
    let inspected = text(&jotgate(folder.path(), &["token", "inspect", &token]).stdout);
    for expected in ["k1", "alice", "orders", "ES256"] {
        assert!(
            inspected.contains(expected),
            "no {expected} in\n{inspected}"
        );
    }
    assert!(
        inspected.to_lowercase().contains("not verified"),
        "{inspected}"
    );
    // With a configuration, it tells which issuer and key the token would meet.
    let config = r#"
        [listen]
        https = "127.0.0.1:8443"
        cert = "tls.crt"
        key = "tls.key"
        [issuer.mine]
        iss = "me"
        aud = "orders"
        keys = "public/"
        [[route]]
        path = "/"
        to = "http://127.0.0.1:3000"
        auth = "mine"
    "#;
    fs::write(folder.path().join("jotgate.toml"), config).unwrap();
    let at = |name| folder.path().join(name);
    write_certificate(&["localhost"], &at("tls.crt"), &at("tls.key"));
    let judge = |token: &str| {
        let arguments = ["token", "inspect", "--config", "jotgate.toml", token];
        let output = jotgate(folder.path(), &arguments);
        (output.status.code(), text(&output.stdout))
    };
    let (code, judged) = judge(&token);
    assert_eq!(code, Some(0));
    for expected in ["issuer   mine (me)", "key      k1: P-256", "verdict  good"] {
        assert!(judged.contains(expected), "no {expected} in\n{judged}");
    }
    let (code, judged) = judge(token.trim_end_matches(|c| c != '.'));
    assert_eq!(code, Some(1));
    assert!(
        judged.contains("verdict  refused: malformed_token"),
        "{judged}"
    );
}

#[test]
fn every_command_teaches_by_its_help() {
    let folder = tempfile::tempdir().unwrap();
    for (command, expected) in [
        (vec!["--help"], "jotgate demo"),
        (vec!["run", "--help"], "--config"),
        (vec!["check", "--help"], "--config"),
        (vec!["health", "--help"], "HEALTHCHECK"),
        (vec!["demo", "--help"], "--dir"),
        (vec!["keys", "generate", "--help"], "Examples:"),
        (vec!["token", "mint", "--help"], "jotgate token mint …"),
        (vec!["token", "inspect", "--help"], "jotgate token inspect"),
        (vec!["schema", "--help"], "#:schema ./jotgate.schema.json"),
        (vec!["completions", "--help"], "jotgate completions zsh >"),
        (vec!["man", "--help"], "jotgate man token mint | man -l -"),
    ] {
        let output = jotgate(folder.path(), &command);
        assert!(text(&output.stdout).contains(expected), "{command:?}");
    }
}

/// A running command, killed if the test forgets it.
struct Running {
    child: Child,
    lines: std::io::Lines<BufReader<Box<dyn std::io::Read + Send>>>,
}

impl Running {
    fn start(folder: &Path, arguments: &[&str], listen: Listen) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_jotgate"))
            .args(arguments)
            .current_dir(folder)
            .env_remove("JOTGATE_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stream: Box<dyn std::io::Read + Send> = match listen {
            Listen::Stdout => Box::new(child.stdout.take().unwrap()),
            Listen::Stderr => Box::new(child.stderr.take().unwrap()),
        };
        Self {
            child,
            lines: BufReader::new(stream).lines(),
        }
    }

    /// The next line that contains this.
    fn wait_for(&mut self, text: &str) -> String {
        for line in self.lines.by_ref() {
            let line = line.unwrap();
            if line.contains(text) {
                return line;
            }
        }
        panic!("it ended without saying {text:?}");
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", name, &id])
                .status()
                .unwrap()
                .success()
        );
    }

    fn exit_code(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Clone, Copy)]
enum Listen {
    Stdout,
    Stderr,
}

#[tokio::test]
async fn run_serves_until_a_signal_and_exits_0() {
    let upstream = Upstream::start().await;
    for signal in ["TERM", "INT"] {
        let start = Start::with(&upstream);
        start.write();
        let mut running = Running::start(start.folder(), &["run"], Listen::Stderr);
        running.wait_for("listening");
        running.signal(signal);
        running.wait_for("stopped");
        assert_eq!(running.exit_code(), Some(0), "{signal}");
    }
}

#[tokio::test]
async fn why_it_does_not_start_is_the_last_that_is_said() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut routes = String::new();
    for number in 0..40 {
        let route = "[[route]]\nto = \"http://127.0.0.1:1\"\nauth = \"main\"\n";
        routes.push_str(&format!("{route}path = \"/exact/{number}\"\n"));
    }
    let start = Start::routes(&routes);
    let config = start.write();
    let text = std::fs::read_to_string(&config).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    std::fs::write(&config, text.replacen("127.0.0.1:0", &address, 1)).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_jotgate"))
        .args(["run", "--config"])
        .arg(&config)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said.matches("matches only itself").count(), 40, "{said}");
    let last = said.lines().last().unwrap();
    assert!(last.starts_with("jotgate: cannot listen"), "{said}");
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let upstream = Upstream::start().await;
    let start = Start::with(&upstream).extra("[server]\ndrain = \"1h\"\ndrain_idle = \"1h\"\n");
    start.write();
    let mut running = Running::start(start.folder(), &["run"], Listen::Stderr);
    let line = running.wait_for("listener=\"https\"");
    let port = line.rsplit(':').next().unwrap().trim();
    // A connection that never says anything keeps the drain waiting.
    let held = std::net::TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    running.signal("TERM");
    running.wait_for("draining");
    running.signal("TERM");
    running.wait_for("ended at once");
    assert!(running.exit_code().is_some());
    drop(held);
}

#[test]
fn the_demo_prints_its_curls_and_cleans_up_after_itself() {
    let folder = tempfile::tempdir().unwrap();
    let mut demo = Running::start(folder.path(), &["demo"], Listen::Stdout);
    let line = demo.wait_for("folder ");
    let made = line.split_whitespace().nth(1).unwrap().to_owned();
    for _ in 0..4 {
        demo.wait_for("  curl -i --cacert ");
    }
    let rotation = demo.wait_for("  (cd ");
    assert!(rotation.contains("keys generate"), "{rotation}");
    assert!(Path::new(&made).join("jotgate.toml").exists());
    demo.signal("INT");
    assert_eq!(demo.exit_code(), Some(0));
    assert!(!Path::new(&made).exists(), "{made} is left behind");
}

#[test]
fn the_demo_ends_with_its_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let mut demo = Running::start(folder.path(), &["demo"], Listen::Stdout);
    let line = demo.wait_for("folder ");
    let made = line.split_whitespace().nth(1).unwrap().to_owned();
    demo.wait_for("  (cd ");
    demo.signal("HUP");
    assert_eq!(demo.exit_code(), Some(0));
    assert!(!Path::new(&made).exists(), "{made} is left behind");
}

#[test]
fn the_demo_keeps_its_folder_where_it_is_told_and_takes_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let mut demo = Running::start(folder.path(), &["demo", "--dir", "kept"], Listen::Stdout);
    demo.wait_for("Ctrl-C");
    demo.signal("TERM");
    assert_eq!(demo.exit_code(), Some(0));
    let checked = jotgate(folder.path(), &["check", "--config", "kept/jotgate.toml"]);
    assert!(checked.status.success(), "{}", text(&checked.stderr));
    assert_eq!(text(&checked.stderr), "", "it warns of its own files");
    let again = jotgate(folder.path(), &["demo", "--dir", "kept"]);
    assert_eq!(again.status.code(), Some(2), "{}", text(&again.stdout));
    assert!(
        text(&again.stderr).contains("not empty"),
        "{}",
        text(&again.stderr)
    );
}
