//! What a service manager is told (sd_notify(3)), if there is one that listens.

use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, error};

use crate::server::Pulse;

/// Whether standard error goes to the journal as it is (systemd.exec(5), `JOURNAL_STREAM`).
pub(super) fn has_journal() -> bool {
    let stderr = io::stderr().as_fd().try_clone_to_owned();
    let metadata = stderr.and_then(|stderr| File::from(stderr).metadata());
    let named = std::env::var("JOURNAL_STREAM");
    match (named, metadata) {
        (Ok(named), Ok(metadata)) => named == format!("{}:{}", metadata.dev(), metadata.ino()),
        (Err(_), _) | (_, Err(_)) => false,
    }
}

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

/// From now on the service is this other process. Returns once the manager has heard that, or takes
/// no notice.
pub(super) async fn succeeded_by(process: u32) {
    // It may take a moment until the other one's first word is believed.
    tell(&[NotifyState::MainPid(process), NotifyState::Watchdog]);
    // It closes what comes with this once it has heard all that came before
    // (sd_notify_barrier(3)).
    if let Ok((mut ours, theirs)) = UnixStream::pair() {
        let barrier = NotifyState::Custom("BARRIER=1");
        let _ = sd_notify::notify_with_fds(&[barrier], &[theirs.as_fd()]);
        drop(theirs);
        let _ = timeout(MOMENT, ours.read_u8()).await;
    }
}

/// Tells the watchdog again and again that all workers are alive, while they are. Never ends, but is
/// to be ended when the drain begins: workers may end then, and nobody watches any more.
pub(super) async fn keep_watched(pulse: Option<Pulse>) -> Infallible {
    let (Some(mut pulse), Some(patience)) = (pulse, sd_notify::watchdog_enabled()) else {
        return std::future::pending().await;
    };
    // A quarter of it, so that one question that is answered late is not the end.
    let every = patience / 4;
    loop {
        let asked = Instant::now();
        if pulse.is_there(every).await {
            tell(&[NotifyState::Watchdog]);
        } else {
            error!("a worker stands still");
        }
        sleep_until(asked + every).await;
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        debug!(%error, "the service manager cannot be told");
    }
}

/// As long as a manager may take that has other things to do.
const MOMENT: Duration = Duration::from_secs(1);
