//! Colours are for terminals, and for those who did not say `NO_COLOR`.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tempfile::TempDir;

use crate::harness::write_certificate;

/// What both streams of a command are connected to.
#[derive(Debug, Clone, Copy)]
enum Stream {
    Terminal,
    Pipe,
}

/// Runs a command and returns everything that it wrote, to either stream.
fn written(folder: &Path, arguments: &[&str], stream: Stream, env: &[(&str, &str)]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jotgate"));
    command
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("TERM", "xterm")
        .envs(env.iter().copied())
        .stdin(Stdio::null());
    match stream {
        Stream::Terminal => on_a_terminal(command),
        Stream::Pipe => {
            let output = command.output().unwrap();
            String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
        }
    }
}

fn on_a_terminal(mut command: Command) -> String {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let terminal = OpenOptions::new()
        .read(true)
        .write(true)
        .open(name.to_str().unwrap())
        .unwrap();
    command.stdout(terminal.try_clone().unwrap());
    command.stderr(terminal);
    let mut child = command.spawn().unwrap();
    // Its copies of the terminal keep the other end open.
    drop(command);
    let mut master = File::from(master);
    let mut bytes = Vec::new();
    // On Linux the end is an error: there is no terminal any more.
    let _ = master.read_to_end(&mut bytes);
    child.wait().unwrap();
    String::from_utf8(bytes).unwrap()
}

/// A folder where `check` warns, and where `run` warns and then finds its address taken.
fn folder_with_warnings(taken: &TcpListener) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name| folder.path().join(name);
    write_certificate(&["localhost"], &at("tls.crt"), &at("tls.key"));
    let config = format!(
        r#"
        [listen]
        https = "{}"
        cert = "tls.crt"
        key = "tls.key"
        [[route]]
        path = "/api/:id"
        to = "http://127.0.0.1:3000"
        auth = "public"
        "#,
        taken.local_addr().unwrap()
    );
    fs::write(at("jotgate.toml"), config).unwrap();
    fs::write(at("broken.toml"), "[listen]\nhttps = 1\n").unwrap();
    folder
}

const COLORED: [&[&str]; 7] = [
    &["--help"],
    &["health", "--help"],
    &["token", "mint", "--help"],
    &["no-such-command"],
    &["check"],
    &["check", "--config", "broken.toml"],
    &["run"],
];

const PLAIN: [&[&str]; 8] = [
    &["--version"],
    &["health"],
    &["health", "--config", "absent.toml"],
    &["schema"],
    &["man"],
    &["completions", "zsh"],
    &["token", "inspect", "no-token"],
    &["keys", "generate", "--out", "."],
];

#[test]
fn a_terminal_is_written_to_in_colours() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = folder_with_warnings(&taken);
    // To say it without a value is not to say it.
    for env in [&[][..], &[("NO_COLOR", "")][..]] {
        for command in COLORED {
            let text = written(folder.path(), command, Stream::Terminal, env);
            assert!(text.contains('\u{1b}'), "{command:?} {env:?}: {text}");
        }
    }
}

#[test]
fn nothing_else_gets_an_escape_sequence() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = folder_with_warnings(&taken);
    for (stream, env) in [
        (Stream::Pipe, &[][..]),
        (Stream::Terminal, &[("NO_COLOR", "1")][..]),
        (Stream::Terminal, &[("TERM", "dumb")][..]),
    ] {
        for command in COLORED.into_iter().chain(PLAIN) {
            let text = written(folder.path(), command, stream, env);
            assert!(!text.is_empty(), "{command:?} {stream:?} {env:?}");
            let is_plain = !text.contains('\u{1b}');
            assert!(is_plain, "{command:?} {stream:?} {env:?}: {text}");
        }
    }
    for command in PLAIN {
        let text = written(folder.path(), command, Stream::Terminal, &[]);
        assert!(!text.contains('\u{1b}'), "{command:?}: {text}");
    }
}
