//! Where the process stands in its life, as every thread of it knows.

use tokio::sync::watch;

/// The gateway's life has three phases, and they only go forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Serving.
    Running,
    /// No new connections; requests in flight may finish.
    Draining,
    /// Over, whatever is still open.
    Ended,
}

/// Moves the phase on.
#[derive(Debug, Clone)]
pub(super) struct PhaseControl(watch::Sender<Phase>);

/// Tells when the phase moves on.
#[derive(Debug, Clone)]
pub(super) struct PhaseWatch(watch::Receiver<Phase>);

impl PhaseControl {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(Phase::Running))
    }

    pub(super) fn watch(&self) -> PhaseWatch {
        PhaseWatch(self.0.subscribe())
    }

    /// Enters a phase, unless it was entered before.
    pub(super) fn enter(&self, phase: Phase) {
        self.0.send_if_modified(|current| {
            let later = phase > *current;
            *current = phase.max(*current);
            later
        });
    }
}

impl PhaseWatch {
    /// Whether a phase has been entered since this was made, or nobody is left who could.
    pub(super) fn has_moved_on(&self) -> bool {
        self.0.has_changed().unwrap_or(true)
    }

    /// Resolves once this phase, or a later one, has been entered. Without anybody left who could
    /// enter one, that is the end too.
    pub(super) async fn reached(&mut self, phase: Phase) {
        let _ = self.0.wait_for(|current| *current >= phase).await;
    }
}
