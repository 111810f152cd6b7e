//! The control plane: what is done beside the requests, on threads of its own.

mod complaints;
mod inputs;
mod load;
mod reload;
mod resolve;
mod watch;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::sync::watch::{Receiver, Sender, channel};
use tracing::error;

use crate::clock::Clock;
use crate::observe::Metrics;
use crate::snapshot::Live;

use reload::{Reloader, Wishes};
use resolve::{Resolved, keep_resolved};

pub use complaints::warn_of;
pub use load::{ConfigFile, LoadError, Loaded, load};
pub use resolve::Resolver;

/// The running control plane. It ends when it is dropped.
#[derive(Debug)]
pub struct ControlPlane {
    /// Tells it to look at the files.
    asked: Arc<Notify>,
    /// How often it has done so at somebody's wish.
    answered: Receiver<u64>,
    /// Dropped, it tells the threads to end.
    stop: Option<Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl ControlPlane {
    /// Keeps what is in force what the files say, from what was `loaded` on, and the addresses of
    /// its upstreams up to date: each on a thread of its own, so that a file system that does not
    /// answer keeps nobody from looking up names.
    ///
    /// # Errors
    /// The system's, if it has no threads or file descriptors to give.
    pub fn start(
        loaded: &Loaded,
        live: Live,
        metrics: Arc<Metrics>,
        resolver: Resolver,
    ) -> io::Result<Self> {
        let (stop, stopped) = channel(());
        let asked = Arc::new(Notify::new());
        let (resolved, wanted) = channel(Resolved {
            targets: loaded.snapshot.targets.clone(),
            every: loaded.file.config.resolve,
        });
        let (answer, answered) = channel(0);
        let wishes = Wishes {
            asked: asked.clone(),
            answer,
        };
        let alarm = Alarm(metrics.clone());
        let loaded = loaded.clone();
        metrics
            .reloads()
            .begin(Clock::system().numeric_date().seconds());
        let reload = move || async move {
            let _alarm = alarm;
            // Here, so that the thread that hears of changed files is no more urgent than this.
            let reloader = Reloader::new(loaded, live, metrics, resolved, wishes);
            reloader.keep_current().await;
        };
        let resolve = move || keep_resolved(wanted, resolver);
        Ok(Self {
            asked,
            answered,
            threads: vec![
                spawn("control", stopped.clone(), reload)?,
                spawn("names", stopped, resolve)?,
            ],
            stop: Some(stop),
        })
    }

    /// Looks at the files now, as SIGHUP wants it. Resolves when that is done, whatever came of it.
    pub async fn reload(&self) {
        let mut answered = self.answered.clone();
        answered.mark_unchanged();
        self.asked.notify_one();
        // If there is nobody left to answer, it is done as well.
        let _ = answered.changed().await;
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        drop(self.stop.take());
        let deadline = Instant::now() + GRACE;
        let are_finished = || self.threads.iter().all(JoinHandle::is_finished);
        while !are_finished() && Instant::now() < deadline {
            std::thread::sleep(LOOK_EVERY);
        }
        for thread in self.threads.drain(..).filter(JoinHandle::is_finished) {
            let _ = thread.join();
        }
    }
}

/// Does work that never ends on a thread of its own, until it is told to stop.
fn spawn<F: Future<Output = ()>>(
    name: &str,
    mut stopped: Receiver<()>,
    work: impl FnOnce() -> F + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            // A large reload must not take its turn from a worker's. Where that cannot be had, it
            // is as fair as others.
            let _ = rustix::process::nice(LESS_URGENT);
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped.changed() => {}
                    () = work() => {}
                }
            });
        })
}

/// Goes off if the control plane breaks: requests are served on, but by what is in force for ever.
struct Alarm(Arc<Metrics>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.reloads().lost();
            error!("the control plane broke: changes are not seen any more, restart soon");
        }
    }
}

/// How long it may take to end. A file system that does not answer must not keep us.
const GRACE: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A third of a worker's share, when both want the same core.
const LESS_URGENT: i32 = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::{DurationsOf, Readiness, RouteNames};

    #[test]
    fn an_end_of_reloads_is_told() {
        let (readiness, names) = (Readiness::starting(), RouteNames::default());
        let metrics = Arc::new(Metrics::new(&readiness, names, DurationsOf::All));
        metrics.reloads().begin(1);
        let is_good = |number| {
            let line = format!("jotgate_config_last_reload_successful {number}\n");
            metrics.encode().contains(&line)
        };
        assert!(is_good(1));
        let alarm = Alarm(metrics.clone());
        let breaks = move || async move {
            let _alarm = alarm;
            panic!("on purpose");
        };
        let (_stop, stopped) = channel(());
        spawn("control", stopped, breaks)
            .unwrap()
            .join()
            .unwrap_err();
        assert!(is_good(0));
    }
}
