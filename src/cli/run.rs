//! `jotgate run`: the one place where everything is put together.

use std::error::Error;
use std::io::{self, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use listenfd::ListenFd;
use tracing::{error, info, warn};

use super::handover::{HandoverError, Heir, hand_over};
use super::signals::{Signals, Wish};
use super::successor::{Predecessor, Role, Successor};
use super::{FAILED, UNUSABLE, colored, fail, service};
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
    control::load(path)
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
    let gateway = Gateway::start(&loaded.file.config, &live, surroundings)?;
    let metrics = gateway.metrics().clone();
    let control = ControlPlane::start(loaded, live, metrics, resolver)?;
    Ok((gateway, control))
}

pub(super) fn run(path: &Path) -> ExitCode {
    // Before somebody puts another program in its place.
    let program = program();
    let successor = match Role::take(program.as_deref()) {
        Ok(Role::First) => None,
        Ok(Role::Successor(successor)) => Some(successor),
        Ok(Role::Between) => return ExitCode::SUCCESS,
        Err(error) => return fail(&error, FAILED),
    };
    let loaded = match load(path) {
        Ok(loaded) => loaded,
        Err(error) => return report(&error),
    };
    for problem in loaded.problems.iter() {
        warn!("{}", problem.message);
    }
    match serve(&loaded, program.as_deref(), successor) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, UNUSABLE),
    }
}

/// Shows why a configuration cannot be used, on stderr.
pub(super) fn report(error: &LoadError) -> ExitCode {
    if let LoadError::Problems { problems, file, .. } = error {
        let shown = problems.render(&file.source, colored(&io::stderr()));
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

fn serve(
    loaded: &Loaded,
    program: Option<&Path>,
    successor: Option<Successor>,
) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        // Before the first socket: a signal in between must not kill where it should drain.
        let mut signals = Signals::new()?;
        let sockets = match &successor {
            Some(successor) => successor.sockets()?,
            None => from_service_manager(),
        };
        let surroundings = Surroundings {
            clock: Clock::system(),
            access_log: observe::stdout()?,
            inherited: Inherited::new(sockets),
        };
        let (mut gateway, control) = start(loaded, surroundings, Resolver::system())?;
        announce(&gateway);
        let predecessor = match successor {
            Some(successor) => Some(successor.ready().await?),
            None => None,
        };
        service::ready();
        let pulse = gateway.take_pulse();
        let end = tokio::select! {
            end = serve_on(&gateway, &control, &mut signals, program) => end,
            never = service::keep_watched(pulse) => match never {},
        };
        drain(gateway, end, predecessor, &mut signals).await;
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

/// Why a gateway stops serving.
pub(super) enum End {
    /// It was told to.
    Stop,
    /// Another process does it.
    Succeeded(Heir),
}

/// Waits for a signal that ends it. Until then, SIGHUP is a wish to look at the files, and SIGUSR2
/// one to let `program` take over.
pub(super) async fn serve_on(
    gateway: &Gateway,
    control: &ControlPlane,
    signals: &mut Signals,
    program: Option<&Path>,
) -> End {
    loop {
        match signals.next().await {
            Wish::Stop => return End::Stop,
            Wish::Reload => {
                service::reloading();
                tokio::select! {
                    () = control.reload() => service::ready(),
                    () = signals.stop() => return End::Stop,
                }
            }
            Wish::Upgrade => {
                let upgraded = tokio::select! {
                    biased;
                    upgraded = upgrade(gateway, program) => upgraded,
                    () = signals.stop() => return End::Stop,
                };
                match upgraded {
                    Ok(heir) => return End::Succeeded(heir),
                    Err(error) => {
                        let why = error.source().map(ToString::to_string).unwrap_or_default();
                        error!(%error, why, "not upgraded, this process goes on");
                        gateway.metrics().count_failed_upgrade();
                    }
                }
            }
        }
    }
}

/// Lets what has begun come to its end, and ends; at once if a signal comes meanwhile. A process
/// that this one has succeeded comes to its end before: whoever watches over both takes the end of
/// this one for the end of all.
pub(super) async fn drain(
    mut gateway: Gateway,
    end: End,
    predecessor: Option<Predecessor>,
    signals: &mut Signals,
) {
    let patience = match end {
        End::Stop => {
            info!("draining; a second signal ends it at once");
            service::stopping();
            gateway.drain();
            1
        }
        End::Succeeded(mut heir) => {
            info!(
                process = heir.process,
                "another process has taken over, draining"
            );
            service::succeeded_by(heir.process);
            heir.is_known().await;
            heir.outlive_us();
            gateway.drain_beside_successor();
            // Whoever asks all processes of a service to stop has not seen this one drain.
            2
        }
    };
    let ended = async {
        gateway.ended().await;
        if let Some(mut predecessor) = predecessor {
            predecessor.gone().await;
        }
    };
    let impatient = async {
        for _ in 0..patience {
            signals.stop().await;
        }
    };
    tokio::select! {
        () = ended => info!("stopped"),
        () = impatient => warn!("ended at once"),
    }
}

async fn upgrade(gateway: &Gateway, program: Option<&Path>) -> Result<Heir, HandoverError> {
    // What ends with the first process of a container is the container.
    let program = program.filter(|_| std::process::id() != 1);
    let program = program.ok_or(HandoverError::Unable)?;
    info!(program = %program.display(), "starting another process to take over");
    let sockets = gateway.sockets().map_err(HandoverError::Send)?;
    hand_over(program, &sockets).await
}
