//! The signals that say something to a gateway.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM and SIGINT (Ctrl-C), which stop, SIGHUP and SIGUSR2.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    user: Signal,
}

/// From now on no wish kills. Nobody hears of one yet.
///
/// # Errors
/// The system's.
pub(super) fn endure_wishes() -> io::Result<()> {
    // The handlers stay.
    drop([
        signal(SignalKind::hangup())?,
        signal(SignalKind::user_defined2())?,
    ]);
    Ok(())
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

    pub(super) async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.terminate.recv() => Wish::Stop,
            _ = self.interrupt.recv() => Wish::Stop,
            _ = self.hangup.recv() => Wish::Reload,
            _ = self.user.recv() => Wish::Upgrade,
        }
    }

    /// While an upgrade is under way: whether to stop it, or to look at the files. Another wish for
    /// an upgrade is for whoever asks for the next one.
    pub(super) async fn during_upgrade(&mut self) -> Wish {
        tokio::select! {
            _ = self.terminate.recv() => Wish::Stop,
            _ = self.interrupt.recv() => Wish::Stop,
            _ = self.hangup.recv() => Wish::Reload,
        }
    }

    /// Waits for one that stops. The others are for whoever asks for the next one.
    pub(super) async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// What a signal asks for.
pub(super) enum Wish {
    /// To drain and end.
    Stop,
    /// To look at the files.
    Reload,
    /// To let another process take over.
    Upgrade,
}
