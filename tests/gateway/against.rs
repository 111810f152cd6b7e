//! `jotgate check --against`: what a file would change of the gateway that runs.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use crate::harness::{JOTGATE, Process, Start, Upstream, write_certificate};
use crate::reload::second;

fn against(operator: SocketAddr, config: &Path) -> (Option<i32>, String) {
    let mut command = std::process::Command::new(JOTGATE);
    command.arg("check").arg("--config").arg(config);
    command.arg("--against").arg(operator.to_string());
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let said = text.split_once("\nagainst ").map(|(_, said)| said);
    (output.status.code(), said.unwrap_or(&text).to_owned())
}

#[tokio::test]
async fn check_tells_what_a_file_would_change() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    let folder = gateway.folder();
    let config = folder.join("jotgate.toml");
    let address = gateway.admin();
    let nothing = format!("{address}: nothing would change\n");
    assert_eq!(against(gateway.admin(), &config), (Some(0), nothing));

    // A file beside, with keys and certificates of its own, so that the gateway takes no notice.
    let text = fs::read_to_string(&config).unwrap();
    let text = text
        .replace("path = \"/public/\"", "path = \"/open/\"")
        .replace("keys = \"keys/\"", "keys = \"next/second.pem\"")
        .replace("\"certs/tls.", "\"next/tls.")
        .replace("auth = \"main\"", "auth = \"main\"\nmax_body = \"1MiB\"");
    fs::create_dir(folder.join("next")).unwrap();
    second().write_public(&folder.join("next/second.pem"));
    write_certificate(
        &["more.test"],
        &folder.join("next/more.crt"),
        &folder.join("next/more.key"),
    );
    write_certificate(
        &["localhost", "api.test", "127.0.0.1"],
        &folder.join("next/tls.crt"),
        &folder.join("next/tls.key"),
    );
    let more = "[[certificate]]\ncert = \"next/more.crt\"\nkey = \"next/more.key\"\n\
                [issuer.more]\niss = \"https://more.test\"\naud = \"api\"\nkeys = \"next/second.pem\"\n\
                [reload]\npoll = \"10s\"\n";
    fs::write(folder.join("next.toml"), [&text, more].concat()).unwrap();
    let said = format!(
        "{address}\n  + certificate more.test\n  + issuer more\n  + key second of main\n  \
         + key second of more\n  + route /open/\n  - key main of main\n  - route /public/\n  \
         ~ [reload] poll\n  ~ certificate localhost api.test 127.0.0.1\n  ~ route /api/\n"
    );
    let got = against(gateway.admin(), &folder.join("next.toml"));
    assert_eq!(got, (Some(0), said));
}

#[tokio::test]
async fn check_tells_which_certificate_would_answer_unknown_names() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream)
        .certificate("other", &["other.test"])
        .start();
    let config = gateway.folder().join("jotgate.toml");
    let text = fs::read_to_string(&config).unwrap();
    let text = text
        .replace("certs/tls.", "certs/was-tls.")
        .replace("certs/other.", "certs/tls.")
        .replace("certs/was-tls.", "certs/other.");
    let next = gateway.folder().join("next.toml");
    fs::write(&next, text).unwrap();
    let said = format!(
        "{}\n  ~ certificate localhost api.test 127.0.0.1\n  ~ certificate other.test\n",
        gateway.admin()
    );
    assert_eq!(against(gateway.admin(), &next), (Some(0), said));
}

#[tokio::test]
async fn check_says_of_a_secret_that_it_cannot_tell() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream)
        .issuers(
            "[issuer.main]\niss = \"https://issuer.test\"\naud = \"api\"\nsecret = \"main.key\"\n",
        )
        .file("main.key", (0..64).collect::<Vec<u8>>())
        .start();
    let folder = gateway.folder();
    let text = fs::read_to_string(folder.join("jotgate.toml")).unwrap();
    let next = text.replace("main.key", "next/main.key").replacen(
        "[listen]",
        "[tls]\nunknown_sni = \"refuse\"\n\n[listen]",
        1,
    );
    fs::create_dir(folder.join("next")).unwrap();
    fs::write(folder.join("next/main.key"), (1..65).collect::<Vec<u8>>()).unwrap();
    fs::write(folder.join("next.toml"), next).unwrap();
    let said = format!(
        "{}\n  ~ [tls]\n  ? key main of main: a secret, of which nobody is told whether it is \
         another one\n",
        gateway.admin()
    );
    let got = against(gateway.admin(), &folder.join("next.toml"));
    assert_eq!(got, (Some(0), said));
}

/// Every setting that stays as it is until the end of the process, as it is and otherwise.
const FIXED: [(&str, &str, &str); 9] = [
    (
        "[listen] https",
        "https = \"127.0.0.1:0\"",
        "https = [\"127.0.0.1:0\", \"127.0.0.2:0\"]",
    ),
    ("[listen] http", "http = \"127.0.0.1:0\"", ""),
    (
        "[listen] admin",
        "admin = \"127.0.0.1:0\"",
        "admin = \"127.0.0.2:0\"",
    ),
    (
        "[listen] side_by_side",
        "side_by_side = false",
        "side_by_side = true",
    ),
    (
        "[limits] connections",
        "connections = 100",
        "connections = 101",
    ),
    ("[log] format", "format = \"json\"", "format = \"text\""),
    ("[metrics] by_route", "by_route = false", "by_route = true"),
    ("[server] workers", "workers = 1", "workers = 2"),
    (
        "[server] token_cache",
        "token_cache = \"1MiB\"",
        "token_cache = \"off\"",
    ),
];

#[tokio::test]
async fn each_setting_that_needs_a_restart_is_told_before_and_after_it_is_changed() {
    let upstream = Upstream::start().await;
    let start = Start::with(&upstream)
        .listen("side_by_side = false\n")
        .extra(
            "[limits]\nconnections = 100\n[log]\nformat = \"json\"\n[metrics]\nby_route = false\n\
         [server]\nworkers = 1\ntoken_cache = \"1MiB\"\n",
        );
    let process = Process::start(start, "info");
    let file = process.folder().join("jotgate.toml");
    let next = process.folder().join("next.toml");
    let as_it_is = fs::read_to_string(&file).unwrap();
    for (name, from, to) in FIXED {
        let text = as_it_is.replace(from, to);
        assert_ne!(text, as_it_is, "{name}");
        fs::write(&next, &text).unwrap();
        // Also while another such change is in the file that the gateway runs with.
        let said = format!("{}\n  ~ {name}, with a restart\n", process.admin);
        assert_eq!(against(process.admin, &next), (Some(0), said));
        fs::write(&file, &text).unwrap();
        let told = process.wait_for("need a restart");
        assert!(told.contains(&format!("settings=\"{name}\"")), "{told}");
    }
}
