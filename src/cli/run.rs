//! `jotgate run`: the one place where everything is put together.

use std::error::Error;
use std::io;
use std::net::TcpListener;
use std::path::Path;
use std::pin::pin;
use std::process::ExitCode;

use listenfd::ListenFd;
use tracing::{error, info, warn};

use super::handover::{HandoverError, Heir};
use super::origin::Origin;
use super::signals::{Signals, Wish, endure_wishes};
use super::successor::{Predecessor, Role, Successor};
use super::{FAILED, UNUSABLE, colored, fail, service};
use crate::clock::Clock;
use crate::config::SourceError;
use crate::control::{self, ControlPlane, Resolver, warn_of};
use crate::observe::{self, messages};
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
    let origin = Origin::of_this_process();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error, FAILED),
    };
    runtime.block_on(async {
        let role = endure_wishes().and_then(|()| Role::take(origin.program.as_deref()));
        let successor = match role {
            Ok(Role::First) => None,
            Ok(Role::Successor(successor)) => Some(successor),
            Ok(Role::Between) => return ExitCode::SUCCESS,
            Err(error) => return fail(&error, FAILED),
        };
        let loaded = match load(&origin.directory.join(path)) {
            Ok(loaded) => loaded,
            // By the path as it was given, as `check` has it.
            Err(error) => return report(&load(path).err().unwrap_or(error)),
        };
        warn_of(&loaded.problems, &loaded.file.source);
        match serve(&loaded, &origin, successor).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error, UNUSABLE),
        }
    })
}

/// Shows why a configuration cannot be used, on stderr.
pub(super) fn report(error: &LoadError) -> ExitCode {
    if let LoadError::Problems { problems, file, .. } = error {
        let shown = problems.render(&file.source, colored(&io::stderr()));
        messages::say(shown.trim_end());
        return ExitCode::from(UNUSABLE);
    }
    let code = fail(error, UNUSABLE);
    if matches!(error, LoadError::Unreadable(SourceError::Unreadable { .. })) {
        messages::say("help: name another with --config, or start with: jotgate demo");
    }
    code
}

async fn serve(
    loaded: &Loaded,
    origin: &Origin,
    successor: Option<Successor>,
) -> Result<(), StartError> {
    // Before the first socket: a signal in between must not kill where it should drain.
    let mut signals = Signals::new()?;
    let sockets = match &successor {
        Some(successor) => successor.sockets()?,
        None => from_service_manager(),
    };
    let surroundings = Surroundings {
        clock: Clock::system(),
        access_log: observe::unbuffered(io::stdout())?,
        inherited: Inherited::new(sockets),
    };
    let (mut gateway, control) = start(loaded, surroundings, Resolver::system())?;
    announce(&gateway);
    let (predecessor, is_wanted) = match successor {
        Some(successor) => {
            let predecessor = successor.ready().await?;
            let is_wanted = predecessor.is_some();
            (predecessor, is_wanted)
        }
        None => (None, true),
    };
    let end = if is_wanted {
        service::ready();
        let pulse = gateway.take_pulse();
        tokio::select! {
            end = serve_on(&gateway, &control, &mut signals, Some(origin)) => end,
            never = service::keep_watched(pulse) => match never {},
        }
    } else {
        End::Dismissed
    };
    drain(gateway, end, predecessor, &mut signals).await;
    Ok(())
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
    /// It was told to, which is also for the one that was to take its place.
    Stop(Option<Heir>),
    /// It was to take the place of a process that has been told to.
    Dismissed,
    /// Another process does it.
    Succeeded(Heir, u32),
}

/// Waits for a signal that ends it. Until then, SIGHUP is a wish to look at the files, and SIGUSR2
/// one to let another process take over.
pub(super) async fn serve_on(
    gateway: &Gateway,
    control: &ControlPlane,
    signals: &mut Signals,
    origin: Option<&Origin>,
) -> End {
    loop {
        match signals.next().await {
            Wish::Stop => return End::Stop(None),
            Wish::Reload => tokio::select! {
                () = reload(control) => {}
                () = signals.stop() => return End::Stop(None),
            },
            Wish::Upgrade => match upgrade(gateway, control, signals, origin).await {
                Ok(end) => return end,
                Err(error) => {
                    let why = error.source().map(tracing::field::display);
                    error!(%error, why, "not upgraded, this process goes on");
                    gateway.metrics().count_failed_upgrade();
                }
            },
        }
    }
}

async fn reload(control: &ControlPlane) {
    service::reloading();
    control.reload().await;
    service::ready();
}

/// Lets the program that stands where this was started from take over. It may be told to stop
/// meanwhile.
async fn upgrade(
    gateway: &Gateway,
    control: &ControlPlane,
    signals: &mut Signals,
    origin: Option<&Origin>,
) -> Result<End, HandoverError> {
    // What ends with the first process of a container is the container.
    let origin = origin.filter(|_| std::process::id() != 1);
    let (program, directory) = origin
        .and_then(|origin| Some((origin.program.as_deref()?, &origin.directory)))
        .ok_or(HandoverError::Unable)?;
    info!(program = %program.display(), "starting another process to take over");
    let sockets = gateway.sockets().map_err(HandoverError::Send)?;
    let mut heir = Heir::start(program, directory, &sockets)?;
    let process = {
        let mut outcome = pin!(heir.get_ready());
        loop {
            tokio::select! {
                biased;
                wish = signals.during_upgrade() => match wish {
                    Wish::Reload => tokio::select! {
                        () = reload(control) => {}
                        () = signals.stop() => break None,
                    },
                    Wish::Stop | Wish::Upgrade => break None,
                },
                outcome = &mut outcome => break Some(outcome?),
            }
        }
    };
    let Some(process) = process else {
        return Ok(End::Stop(Some(heir)));
    };
    service::succeeded_by(process).await;
    tokio::select! {
        biased;
        // A manager that wanted the service to stop before it heard of the other one does not know
        // that one, and means both.
        () = signals.stop() => Ok(End::Stop(Some(heir))),
        () = std::future::ready(()) => Ok(End::Succeeded(heir, process)),
    }
}

/// Lets what has begun come to its end, and ends; at once if a signal comes meanwhile. Others come
/// to their end before: a process that this one has succeeded, and one that was to succeed it.
/// Whoever watches over all of them takes the end of this one for the end of all.
pub(super) async fn drain(
    mut gateway: Gateway,
    end: End,
    predecessor: Option<Predecessor>,
    signals: &mut Signals,
) {
    let (patience, heir) = match end {
        End::Stop(mut heir) => {
            info!("draining; a second signal ends it at once");
            service::stopping();
            if let Some(heir) = &mut heir {
                heir.dismiss().await;
            }
            gateway.drain();
            (1, heir)
        }
        End::Dismissed => {
            info!("not wanted any more, draining");
            gateway.drain();
            // The other one may have sent a signal as well.
            (2, None)
        }
        End::Succeeded(mut heir, process) => {
            info!(process, "another process has taken over, draining");
            heir.is_known().await;
            heir.outlive_us();
            gateway.drain_beside_successor();
            // Whoever asks all processes of a service to stop has not seen this one drain.
            (2, None)
        }
    };
    let ended = async {
        gateway.ended().await;
        if let Some(mut heir) = heir {
            heir.gone().await;
        }
        if let Some(mut predecessor) = predecessor {
            predecessor.gone().await;
            predecessor.outlive_us();
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
