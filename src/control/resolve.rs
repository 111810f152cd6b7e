//! The addresses of upstreams, looked up again and again: they move, and nobody tells.
//!
//! Workers never wait for a name server. While look-ups fail, what was good last stays good.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;
use tracing::{debug, info, warn};

use crate::upstream::{Resolution, Target};

/// Looks up names. Clones take turns.
#[derive(Clone)]
pub struct Resolver {
    look_up: Arc<LookUp>,
    turns: Arc<Semaphore>,
}

type LookUp = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

impl Resolver {
    /// As every program of this system does it: the hosts file, then DNS.
    pub fn system() -> Self {
        Self::new(|host, port| Ok((host, port).to_socket_addrs()?.collect()))
    }

    /// By any other means. It may block.
    pub fn new(
        look_up: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            look_up: Arc::new(look_up),
            turns: Arc::new(Semaphore::new(LOOK_UPS_AT_ONCE)),
        }
    }

    /// Asks on a thread of its own, which may hang for as long as it likes.
    ///
    /// # Errors
    /// The look-up's, and the system's if it has no thread to give.
    async fn ask(&self, host: String, port: u16) -> io::Result<Vec<SocketAddr>> {
        let turn = self.turns.clone().acquire_owned().await;
        let (answer, answered) = oneshot::channel();
        let look_up = self.look_up.clone();
        std::thread::Builder::new()
            .name("look-up".to_owned())
            .spawn(move || {
                let _turn = turn;
                // It is all the same whether the name is still wanted.
                let _ = answer.send(look_up(&host, port));
            })?;
        answered
            .await
            .map_err(|_| io::Error::other("the look-up broke"))?
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}

/// What is to be looked up.
#[derive(Debug, Clone)]
pub(super) struct Resolved {
    pub(super) targets: Arc<[Arc<Target>]>,
    /// How often.
    pub(super) every: Duration,
}

/// Looks up the names of these targets, now and then every so often, whichever they are just now.
/// It never ends.
///
/// # Cancellation
/// Dropping the future ends it; a look-up that is under way ends in its own time.
pub(super) async fn keep_resolved(mut wanted: watch::Receiver<Resolved>, resolver: Resolver) {
    let mut running: HashMap<Name, Running> = HashMap::new();
    let mut tasks = JoinSet::new();
    loop {
        let Resolved { targets, every } = wanted.borrow_and_update().clone();
        let mut before = std::mem::take(&mut running);
        for (name, targets) in by_name(&targets) {
            let same = before
                .remove(&name)
                .filter(|running| running.every == every && are_same(&running.targets, &targets));
            let task = same.unwrap_or_else(|| {
                let looking =
                    keep_name_resolved(name.clone(), targets.clone(), resolver.clone(), every);
                Running {
                    task: tasks.spawn(looking),
                    targets,
                    every,
                }
            });
            running.insert(name, task);
        }
        before.into_values().for_each(|gone| gone.task.abort());
        while tasks.try_join_next().is_some() {}
        if wanted.changed().await.is_err() {
            // There is nobody who could want others.
            std::future::pending().await
        }
    }
}

/// A host and a port.
type Name = (String, u16);

/// One name that is looked up again and again, for some targets.
struct Running {
    task: AbortHandle,
    targets: Vec<Arc<Target>>,
    every: Duration,
}

fn by_name(targets: &[Arc<Target>]) -> HashMap<Name, Vec<Arc<Target>>> {
    let mut by_name: HashMap<Name, Vec<Arc<Target>>> = HashMap::new();
    for target in targets.iter().filter(|target| target.is_named()) {
        let origin = target.origin();
        let name = (origin.host.clone(), origin.port);
        by_name.entry(name).or_default().push(target.clone());
    }
    by_name
}

fn are_same(some: &[Arc<Target>], others: &[Arc<Target>]) -> bool {
    some.len() == others.len()
        && some
            .iter()
            .all(|one| others.iter().any(|other| Arc::ptr_eq(one, other)))
}

async fn keep_name_resolved(
    (host, port): Name,
    targets: Vec<Arc<Target>>,
    resolver: Resolver,
    every: Duration,
) {
    let mut is_failing = false;
    loop {
        let found = resolver.ask(host.clone(), port).await;
        let failure = match &found {
            Ok(addresses) if addresses.is_empty() => Some("it has no addresses".to_owned()),
            Ok(_) => None,
            Err(error) => Some(error.to_string()),
        };
        let addresses = found.ok();
        for target in &targets {
            if let Some(Resolution::Known(addresses)) = target.resolved(addresses.clone()) {
                info!(upstream = &**target.name(), ?addresses, "upstream resolved");
            }
        }
        match (&failure, is_failing) {
            (Some(why), false) => warn!(
                host,
                why, "cannot resolve an upstream's name, keeping what was known of it"
            ),
            (Some(why), true) => debug!(host, why, "still cannot resolve an upstream's name"),
            (None, true) => info!(host, "an upstream's name resolves again"),
            (None, false) => {}
        }
        is_failing = failure.is_some();
        sleep(every).await;
    }
}

/// A few names that hang must not keep the others from being looked up.
const LOOK_UPS_AT_ONCE: usize = 16;
