//! The control plane: what is done beside the requests, on a thread of its own.

mod load;
mod resolve;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::upstream::Target;

pub use load::{LoadError, Loaded, load};
pub use resolve::Resolver;

/// The running control plane. It ends when it is dropped.
#[derive(Debug)]
pub struct ControlPlane {
    /// Dropped, it tells the thread to end.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ControlPlane {
    /// Keeps the addresses of these targets up to date, from now on.
    ///
    /// # Errors
    /// The system's, if it has no threads or file descriptors to give.
    pub fn start(
        targets: Vec<Arc<Target>>,
        resolver: Resolver,
        resolve_every: Duration,
    ) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(LOOK_UPS_AT_ONCE)
            .build()?;
        let thread = std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        _ = stopped => {}
                        () = resolve::keep_resolved(targets, resolver, resolve_every) => {}
                    }
                });
                // A name server that does not answer must not keep us from ending.
                runtime.shutdown_background();
            })?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A few names that hang must not keep the others from being looked up.
const LOOK_UPS_AT_ONCE: usize = 16;
