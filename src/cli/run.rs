//! `jotgate run`: the one place where everything is put together.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

use super::{UNUSABLE, colored, fail};
use crate::clock::Clock;
use crate::config::SourceError;
use crate::control::{self, ControlPlane, Resolver};
use crate::observe;
use crate::server::{Gateway, StartError, Surroundings};
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
        let surroundings = Surroundings {
            clock: Clock::system(),
            access_log: Box::new(observe::stdout()?),
        };
        let (gateway, control) = start(loaded, surroundings, Resolver::system())?;
        announce(&gateway);
        stop_at_signal(gateway, &control, &mut signals).await;
        Ok(())
    })
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
/// wish to look at the files.
pub(super) async fn stop_at_signal(
    mut gateway: Gateway,
    control: &ControlPlane,
    signals: &mut Signals,
) {
    while signals.next().await == Wish::Reload {
        control.reload();
    }
    info!("draining; a second signal ends it at once");
    gateway.drain();
    tokio::select! {
        () = gateway.ended() => info!("stopped"),
        () = signals.stop() => warn!("ended at once"),
    }
}

/// SIGTERM and SIGINT (Ctrl-C), which stop, and SIGHUP.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// From now on these signals do not kill.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.terminate.recv() => Wish::Stop,
            _ = self.interrupt.recv() => Wish::Stop,
            _ = self.hangup.recv() => Wish::Reload,
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
}
