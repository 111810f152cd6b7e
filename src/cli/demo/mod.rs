//! `jotgate demo`: everything at once, from nothing.
//!
//! It makes a folder as a user would, with a certificate, keys, tokens and a configuration, and
//! then serves that very configuration by the code that `jotgate run` uses.

mod folder;
mod upstream;

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use crate::clock::Clock;
use crate::control::Resolver;
use crate::observe;
use crate::server::{Inherited, StartError, Surroundings};

use super::run::{self, End, LoadError, drain, serve_on};
use super::signals::Signals;
use super::{UNUSABLE, fail};
use folder::{DemoFolder, FolderError, Ports};

/// What the demo can be told.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct DemoArgs {
    /// Keep the folder here, to go on from; it must not exist yet, or be empty
    /// [default: a temporary one, gone when the demo stops]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Why there is no demo.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error("the demo's own configuration is not good; this is a bug\n{0}")]
    Load(#[from] LoadError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("cannot start")]
    System(#[from] io::Error),
}

pub(super) fn run(args: &DemoArgs) -> ExitCode {
    match demo(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, UNUSABLE),
    }
}

fn demo(args: &DemoArgs) -> Result<(), DemoError> {
    let echo = usual_or_free(USUAL_UPSTREAM)?;
    // Held until the gateway takes them: making keys takes a while, and others look for ports, too.
    let held = [
        usual_or_free(USUAL_HTTPS)?,
        usual_or_free(USUAL_HTTP)?,
        usual_or_free(USUAL_ADMIN)?,
    ];
    let port = |listener: &TcpListener| Ok::<_, io::Error>(listener.local_addr()?.port());
    let ports = Ports {
        https: port(&held[0])?,
        http: port(&held[1])?,
        admin: port(&held[2])?,
        upstream: port(&echo)?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())?;
    runtime.block_on(async {
        // Before the folder, which none of them should leave behind.
        let mut signals = Signals::new()?;
        let mut hangup = signal(SignalKind::hangup())?;
        let folder = DemoFolder::make(args.dir.as_deref(), ports, &Clock::system())?;
        tokio::task::spawn_local(upstream::serve(tokio::net::TcpListener::from_std(echo)?));
        let loaded = run::load(&folder.config())?;
        let surroundings = Surroundings {
            clock: Clock::system(),
            access_log: observe::unbuffered(io::stdout())?,
            inherited: Inherited::default(),
        };
        drop(held);
        let (gateway, control) = run::start(&loaded, surroundings, Resolver::system())?;
        io::stdout().write_all(introduction(&folder, ports).as_bytes())?;
        let end = tokio::select! {
            biased;
            // Its terminal is closed. A gateway would look at its files; nobody needs a demo more.
            _ = hangup.recv() => End::Stop(None),
            end = serve_on(&gateway, &control, &mut signals, None) => end,
        };
        drain(gateway, end, None, &mut signals).await;
        Ok(())
    })
}

/// What to do now.
fn introduction(folder: &DemoFolder, ports: Ports) -> String {
    let path = folder.path();
    let keep = if folder.is_temporary() {
        "  (gone when the demo stops; keep one with --dir DIR)"
    } else {
        ""
    };
    let mut text = format!(
        "jotgate is running.\n\n\
         folder    {}{keep}\n\
         config    {}\n\
         gateway   https://localhost:{}\n\
         upstream  http://127.0.0.1:{}  (answers with what it received)\n\
         metrics   http://127.0.0.1:{}/metrics\n\n\
         Ctrl-C stops it. The access log is written here, below what there is to try:\n",
        path.display(),
        folder.config().display(),
        ports.https,
        ports.upstream,
        ports.admin,
    );
    for (what, header) in TRIES {
        let _ = write!(text, "\n{what}\n  {}\n", curl(path, ports.https, header));
    }
    let _ = write!(
        text,
        "\nA new key, while it runs: within a second the good token is refused, and the next one is good.\n  \
         {}\n\n",
        rotation(path, ports.https),
    );
    text
}

/// A command that can be pasted as it stands.
fn curl(folder: &Path, port: u16, headers: &[&str]) -> String {
    let authority = quoted(&folder.join("certs/ca.crt"));
    let mut command = format!("curl -i --cacert {authority}");
    for header in headers {
        match header.strip_prefix("token ") {
            Some(name) => {
                let file = quoted(&folder.join("tokens").join(name));
                let _ = write!(command, " -H \"Authorization: Bearer $(cat {file})\"");
            }
            None => {
                let _ = write!(command, " -H \"{header}\"");
            }
        }
    }
    let _ = write!(command, " https://localhost:{port}/api/hello");
    command
}

/// The one command that replaces the key, and shows what has become of the old token and the new.
fn rotation(folder: &Path, port: u16) -> String {
    let program = std::env::current_exe().unwrap_or_else(|_| "jotgate".into());
    let program = quoted(&program);
    format!(
        "(cd {} && {program} keys generate --out keys --kid next >/dev/null && \
         rm keys/public/demo.pem && \
         {program} token mint --key keys/private/next.pem --iss https://issuer.example --aud orders \
         --sub alice > tokens/next.jwt && sleep 1 && for token in good next; do \
         curl -sS -o /dev/null -w \"$token: %{{http_code}}\\n\" --cacert certs/ca.crt \
         -H \"Authorization: Bearer $(cat tokens/$token.jwt)\" https://localhost:{port}/api/hello; done)",
        quoted(folder)
    )
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    if text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"/._-".contains(&b))
    {
        return text;
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The usual port if nobody has it, or else a free one.
fn usual_or_free(port: u16) -> io::Result<TcpListener> {
    let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let listener = TcpListener::bind(at(port)).or_else(|_| TcpListener::bind(at(0)))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

const USUAL_HTTPS: u16 = 8443;
const USUAL_HTTP: u16 = 8080;
const USUAL_ADMIN: u16 = 9901;
const USUAL_UPSTREAM: u16 = 3000;

/// What to try, and the header lines it takes; `token FILE` stands for that token.
const TRIES: [(&str, &[&str]); 4] = [
    (
        "A good token: the upstream learns who is asking, in X-Auth-Subject.",
        &["token good.jwt"],
    ),
    ("No token: 401, and the upstream hears nothing of it.", &[]),
    ("An expired token: 401.", &["token expired.jwt"]),
    (
        "A forged X-Auth-Subject: the upstream still sees the token's subject, and only that.",
        &["token good.jwt", "X-Auth-Subject: admin"],
    ),
];

const EXAMPLES: &str = "\
Examples:
  jotgate demo
  jotgate demo --dir ./gateway      then change gateway/jotgate.toml, and:
  jotgate run --config ./gateway/jotgate.toml";
