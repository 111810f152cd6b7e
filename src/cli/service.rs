//! What a service manager is told (sd_notify(3)), if there is one that listens.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::sleep;
use tracing::{debug, error};

use crate::server::Pulse;

/// Requests are welcome.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The files are being looked at, at its wish.
pub(super) fn reloading() {
    let now = NotifyState::monotonic_usec_now().ok();
    let states: Vec<_> = [NotifyState::Reloading].into_iter().chain(now).collect();
    tell(&states);
}

/// The drain has begun.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// From now on the service is this other process.
pub(super) fn succeeded_by(process: u32) {
    tell(&[NotifyState::MainPid(process)]);
}

/// Tells the watchdog again and again that all workers are alive, while they are. Never ends.
pub(super) async fn keep_watched(pulse: Option<Pulse>) {
    let (Some(mut pulse), Some(patience)) = (pulse, sd_notify::watchdog_enabled()) else {
        return std::future::pending().await;
    };
    // Half of it, so that one word that comes late is not the end.
    let every = patience / 2;
    loop {
        if pulse.is_there(every).await {
            tell(&[NotifyState::Watchdog]);
        } else {
            error!("a worker stands still");
        }
        sleep(every.saturating_sub(MARGIN).max(SHORTEST)).await;
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        debug!(%error, "the service manager cannot be told");
    }
}

const MARGIN: Duration = Duration::from_millis(100);
const SHORTEST: Duration = Duration::from_millis(100);
