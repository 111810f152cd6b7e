//! `jotgate run`: the one place where everything is put together.

use std::error::Error;
use std::io::{self, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use listenfd::ListenFd;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};

use super::handover::{HandoverError, Successor, hand_over};
use super::{UNUSABLE, colored, fail, service};
use crate::clock::Clock;
use crate::config::SourceError;
use crate::control::{self, ControlPlane, Resolver};
use crate::observe;
use crate::server::{Gateway, Inherited, StartError, Surroundings};
use crate::snapshot::Live;

pub use crate::control::{LoadError, Loaded};

/// Reads a configuration and loads every key and certificate that it names.
///
/// # Errors
/// [`LoadError`] with every problem there is.
pub fn load(path: &Path) -> Result<Loaded, LoadError> {
    control::load(path, None)
}

/// Starts a gateway, and what goes on beside it.
///
/// # Errors
/// [`StartError`], if an address is taken or the system has nothing left to give.
pub fn start(
    loaded: &Loaded,
    surroundings: Surroundings,
    resolver: Resolver,
) -> Result<(Gateway, ControlPlane), StartError> {
    let live = Live::new(loaded.snapshot.clone());
    let gateway = Gateway::start(&loaded.config, &live, surroundings)?;
    let metrics = gateway.metrics().clone();
    let control = ControlPlane::start(loaded, live, metrics, resolver)?;
    Ok((gateway, control))
}

pub(super) fn run(path: &Path) -> ExitCode {
    let loaded = match load(path) {
        Ok(loaded) => loaded,
        Err(error) => return report(&error),
    };
    for problem in loaded.problems.iter() {
        warn!("{}", problem.message);
    }
    match serve(&loaded) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, UNUSABLE),
    }
}

/// Shows why a configuration cannot be used, on stderr.
pub(super) fn report(error: &LoadError) -> ExitCode {
    if let LoadError::Problems { problems, file, .. } = error {
        let shown = problems.render(file, colored(&io::stderr()));
        let _ = io::stderr().write_all(shown.as_bytes());
        return ExitCode::from(UNUSABLE);
    }
    let code = fail(error, UNUSABLE);
    if matches!(error, LoadError::Unreadable(SourceError::Unreadable { .. })) {
        let _ = writeln!(
            io::stderr(),
            "help: name another with --config, or start with: jotgate demo"
        );
    }
    code
}

fn serve(loaded: &Loaded) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        // Before the first socket: a signal in between must not kill where it should drain.
        let mut signals = Signals::new()?;
        // Before somebody puts another program in its place.
        let program = program();
        let (successor, sockets) = Successor::begin()?.unzip();
        let surroundings = Surroundings {
            clock: Clock::system(),
            access_log: Box::new(observe::stdout()?),
            inherited: Inherited::new(sockets.unwrap_or_else(from_service_manager)),
        };
        let (mut gateway, control) = start(loaded, surroundings, Resolver::system())?;
        announce(&gateway);
        service::ready();
        if let Some(successor) = successor {
            successor.ready()?;
        }
        let pulse = gateway.take_pulse();
        tokio::select! {
            () = stop_at_signal(gateway, &control, &mut signals, program.as_deref()) => {}
            () = service::keep_watched(pulse) => {}
        }
        Ok(())
    })
}

/// The program by the path that it was started by: what that leads to later is what takes over
/// then. A name without a path is looked for as the shell did.
fn program() -> Option<PathBuf> {
    let name = PathBuf::from(std::env::args_os().next()?);
    if name.components().count() > 1 {
        return std::path::absolute(name).ok();
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&folders)
        .map(|folder| folder.join(&name))
        .find(|path| path.is_file());
    found.or_else(|| std::env::current_exe().ok())
}

/// The sockets that systemd has opened for us, or another one that speaks as it does
/// (sd_listen_fds(3)).
fn from_service_manager() -> Vec<TcpListener> {
    let mut given = ListenFd::from_env();
    let taken = (0..given.len()).filter_map(|number| given.take_tcp_listener(number).ok());
    taken.flatten().collect()
}

fn announce(gateway: &Gateway) {
    let addresses = gateway.addresses();
    for (listener, addresses) in [
        ("https", &addresses.https),
        ("http", &addresses.http),
        ("admin", &addresses.admin),
    ] {
        for address in addresses {
            info!(listener, %address, "listening");
        }
    }
}

/// Waits for a signal, drains, and ends; at once if a second signal comes. Until then, SIGHUP is a
/// wish to look at the files, and SIGUSR2 one to let `program` take over, which is then what it
/// ends by.
pub(super) async fn stop_at_signal(
    mut gateway: Gateway,
    control: &ControlPlane,
    signals: &mut Signals,
    program: Option<&Path>,
) {
    // Someone who was just told to take over is told nothing else.
    let mut patience = 1;
    loop {
        match signals.next().await {
            Wish::Stop => break,
            Wish::Reload => {
                service::reloading();
                tokio::select! {
                    () = control.reload() => service::ready(),
                    () = signals.stop() => break,
                }
            }
            Wish::Upgrade => {
                let upgraded = tokio::select! {
                    biased;
                    upgraded = upgrade(&gateway, program) => upgraded,
                    () = signals.stop() => break,
                };
                match upgraded {
                    Ok(process) => {
                        info!(process, "another process has taken over, draining");
                        service::succeeded_by(process);
                        gateway.drain_beside_successor();
                        patience = 2;
                        break;
                    }
                    Err(error) => {
                        let why = error.source().map(ToString::to_string).unwrap_or_default();
                        error!(%error, why, "not upgraded, this process goes on");
                    }
                }
            }
        }
    }
    if patience == 1 {
        info!("draining; a second signal ends it at once");
        service::stopping();
        gateway.drain();
    }
    let impatient = async {
        for _ in 0..patience {
            signals.stop().await;
        }
    };
    tokio::select! {
        () = gateway.ended() => info!("stopped"),
        () = impatient => warn!("ended at once"),
    }
}

async fn upgrade(gateway: &Gateway, program: Option<&Path>) -> Result<u32, HandoverError> {
    // What ends with the first process of a container is the container.
    let program = program.filter(|_| std::process::id() != 1);
    let program = program.ok_or(HandoverError::Unable)?;
    info!(program = %program.display(), "starting another process to take over");
    let sockets = gateway.sockets().map_err(HandoverError::Send)?;
    hand_over(program, &sockets).await
}

/// SIGTERM and SIGINT (Ctrl-C), which stop, SIGHUP and SIGUSR2.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    user: Signal,
}

impl Signals {
    /// From now on these signals do not kill.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            user: signal(SignalKind::user_defined2())?,
        })
    }

    async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.terminate.recv() => Wish::Stop,
            _ = self.interrupt.recv() => Wish::Stop,
            _ = self.hangup.recv() => Wish::Reload,
            _ = self.user.recv() => Wish::Upgrade,
        }
    }

    async fn stop(&mut self) {
        while self.next().await != Wish::Stop {}
    }
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Stop,
    Reload,
    Upgrade,
}
