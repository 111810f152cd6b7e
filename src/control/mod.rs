//! The control plane: what is done beside the requests, on a thread of its own.

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

use tokio::sync::watch::{Receiver, channel};
use tokio::sync::{Notify, oneshot};
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
    /// Dropped, it tells the thread to end.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ControlPlane {
    /// Keeps what is in force what the files say, from what was `loaded` on, and the addresses of
    /// its upstreams up to date.
    ///
    /// # Errors
    /// The system's, if it has no threads or file descriptors to give.
    pub fn start(
        loaded: &Loaded,
        live: Live,
        metrics: Arc<Metrics>,
        resolver: Resolver,
    ) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(LOOK_UPS_AT_ONCE)
            .build()?;
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
        let thread = std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || {
                let _alarm = alarm;
                // A large reload must not take its turn from a worker's. Where that cannot be
                // had, it is as fair as others.
                let _ = rustix::process::nice(LESS_URGENT);
                // Here, so that the thread that hears of changed files is no more urgent.
                let reloader = Reloader::new(loaded, live, metrics, resolved, wishes);
                runtime.block_on(async {
                    tokio::select! {
                        _ = stopped => {}
                        () = reloader.keep_current() => {}
                        () = keep_resolved(wanted, resolver) => {}
                    }
                });
                // A name server that does not answer must not keep us from ending.
                runtime.shutdown_background();
            })?;
        Ok(Self {
            asked,
            answered,
            stop: Some(stop),
            thread: Some(thread),
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
        let Some(thread) = self.thread.take() else {
            return;
        };
        let deadline = Instant::now() + GRACE;
        while !thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(LOOK_EVERY);
        }
        if thread.is_finished() {
            let _ = thread.join();
        }
    }
}

/// Goes off if the control plane breaks: requests are served on, but by what is in force for ever.
struct Alarm(Arc<Metrics>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.count_panic();
            self.0.reloads().lost();
            error!("the control plane broke: changes are not seen any more, restart soon");
        }
    }
}

/// How long it may take to end. A file system that does not answer must not keep us.
const GRACE: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A few names that hang must not keep the others from being looked up.
const LOOK_UPS_AT_ONCE: usize = 16;

/// A third of a worker's share, when both want the same core.
const LESS_URGENT: i32 = 5;
