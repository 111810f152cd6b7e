//! The running gateway: sockets, workers, the drain.

mod accept;
mod answer;
mod crowd;
mod descriptors;
mod head_lines;
mod http1;
mod http2;
mod listen;
mod memory;
mod phase;
mod proxy_header;
mod room;
mod stream;
mod vigil;
mod worker;

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::admin::AdminState;
use crate::clock::Clock;
use crate::config::{Config, ListenAddress};
use crate::observe::{AccessLog, AccessLogWriter, Listener, Metrics, Readiness};
use crate::proxy::Worker;
use crate::snapshot::Live;
use crate::upstream::Slots;

use answer::Answer;
use crowd::Crowd;
use phase::{Phase, PhaseControl, PhaseWatch};
use worker::{Service, Setting};

/// What a gateway takes from the world around it.
pub struct Surroundings {
    /// Tells whether tokens are in time.
    pub clock: Clock,
    /// Where access events are written.
    pub access_log: Box<dyn Write + Send>,
}

/// A running gateway. Dropping it ends it at once; [`drain`](Self::drain) is kinder.
pub struct Gateway {
    addresses: Addresses,
    metrics: Arc<Metrics>,
    phase: PhaseControl,
    readiness: Readiness,
    threads: Vec<JoinHandle<()>>,
    /// Closes when the last thread has ended.
    running: mpsc::Receiver<()>,
    log_writer: Option<AccessLogWriter>,
}

/// Where a gateway listens, with the ports it was given.
#[derive(Debug, Clone, Default)]
pub struct Addresses {
    /// TLS.
    pub https: Vec<SocketAddr>,
    /// Plain HTTP, for redirects.
    pub http: Vec<SocketAddr>,
    /// The operator's.
    pub admin: Vec<SocketAddr>,
}

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}{}", hint(source))]
    Listen {
        /// Which one, as the configuration has it.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The system has no threads or file descriptors to give.
    #[error("cannot start a worker")]
    Worker(#[from] io::Error),
}

/// The sockets of each worker, and the operator's.
struct Sockets {
    workers: Vec<Vec<(Listener, TcpListener)>>,
    admin: Vec<TcpListener>,
    addresses: Addresses,
}

impl Gateway {
    /// Listens, and serves from the moment this returns.
    ///
    /// # Errors
    /// [`StartError`]; then nothing is left listening.
    pub fn start(
        config: &Config,
        live: &Live,
        surroundings: Surroundings,
    ) -> Result<Self, StartError> {
        let sockets = bind(config)?;
        let readiness = Readiness::starting();
        let metrics = Arc::new(Metrics::new(&readiness, config.metrics.durations));
        metrics.publish(live.snapshot().inventory());
        let (access_log, log_writer) =
            AccessLog::start(surroundings.access_log, config.log.format, &metrics)?;
        let (alive, running) = mpsc::channel(1);
        let (working, workers) = mpsc::channel(1);
        let mut gateway = Self {
            addresses: sockets.addresses,
            metrics: metrics.clone(),
            phase: PhaseControl::new(),
            readiness: readiness.clone(),
            threads: Vec::new(),
            running,
            log_writer: Some(log_writer),
        };
        let room = room::room_for(config.limits.connections);
        // One more request may wait for each.
        let upstream_sockets = Arc::new(Slots::new(room.upstreams, room.upstreams));
        let crowd = Crowd::new(room.clients);
        for (number, sockets) in sockets.workers.into_iter().enumerate() {
            let setting = Setting {
                metrics: metrics.clone(),
                crowd: crowd.clone(),
                phase: gateway.phase.watch(),
                live: live.clone(),
            };
            let (live, metrics) = (live.clone(), metrics.clone());
            let (clock, log) = (surroundings.clock.clone(), access_log.clone());
            let sockets_upstream = upstream_sockets.clone();
            let alive = (alive.clone(), working.clone());
            gateway.spawn(format!("worker-{number}"), alive, setting, move || {
                let worker = Worker::new(&live, clock, log, metrics, sockets_upstream);
                services(sockets, &worker)
            })?;
        }
        drop(working);
        if !sockets.admin.is_empty() {
            let state = Arc::new(AdminState {
                metrics: metrics.clone(),
                readiness,
                live: live.clone(),
            });
            let phase = PhaseControl::new();
            let setting = Setting {
                metrics: metrics.clone(),
                // The operator gets in when everybody else is turned away.
                crowd: Crowd::new(OPERATORS_CONNECTIONS),
                phase: phase.watch(),
                live: live.clone(),
            };
            let whole = gateway.phase.watch();
            gateway.spawn("admin".to_owned(), alive, setting, move || {
                tokio::task::spawn_local(outlive(workers, whole, phase));
                sockets
                    .admin
                    .into_iter()
                    .map(|socket| admin(socket, &state))
                    .collect()
            })?;
        }
        gateway.readiness.ready();
        Ok(gateway)
    }

    /// Where it listens.
    pub const fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// What it counts.
    pub const fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Stops accepting and lets what has begun come to its end, as long as the configuration
    /// grants. `/readyz` says so from now on, to the end.
    pub fn drain(&self) {
        self.readiness.drain();
        self.phase.enter(Phase::Draining);
    }

    /// Ends at once, whatever is open.
    pub fn end(&self) {
        self.phase.enter(Phase::Ended);
    }

    /// Resolves when the last thread has ended, which it does some time after
    /// [`drain`](Self::drain) or [`end`](Self::end).
    pub async fn ended(&mut self) {
        while self.running.recv().await.is_some() {}
    }

    /// Runs one thread: a runtime, and on it what `services` makes. It drops `alive` at its end.
    fn spawn(
        &mut self,
        name: String,
        alive: impl Send + 'static,
        setting: Setting,
        services: impl FnOnce() -> Vec<Service> + Send + 'static,
    ) -> Result<(), StartError> {
        let (started, outcome) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            let _alive = alive;
            let runtime = match worker::runtime() {
                Ok(runtime) => runtime,
                Err(error) => return drop(started.send(Err(error))),
            };
            let _ = started.send(Ok(()));
            if let Err(error) = runtime.block_on(async { worker::serve(services(), setting).await })
            {
                tracing::error!(%error, "a worker could not serve");
            }
        })?;
        self.threads.push(thread);
        match outcome.recv() {
            Ok(result) => Ok(result?),
            Err(_) => Err(io::Error::other("the thread ended before it began").into()),
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.end();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        if let Some(writer) = self.log_writer.take()
            && !writer.finish(LAST_LINES)
        {
            tracing::warn!("the access log's reader is too slow: the last lines are lost");
        }
    }
}

/// Keeps the operator's listener open through the drain, when `/readyz` has something to say and
/// the metrics are worth a look: it drains itself once the last worker has ended.
async fn outlive(mut workers: mpsc::Receiver<()>, mut whole: PhaseWatch, own: PhaseControl) {
    tokio::select! {
        _ = workers.recv() => own.enter(Phase::Draining),
        () = whole.reached(Phase::Ended) => {}
    }
    whole.reached(Phase::Ended).await;
    own.enter(Phase::Ended);
}

fn services(sockets: Vec<(Listener, TcpListener)>, worker: &std::rc::Rc<Worker>) -> Vec<Service> {
    sockets
        .into_iter()
        .map(|(listener, socket)| {
            let is_secure = listener == Listener::Https;
            Service {
                socket,
                listener,
                answer: if is_secure {
                    Answer::Forward(worker.clone())
                } else {
                    Answer::Redirect(worker.clone())
                },
            }
        })
        .collect()
}

fn admin(socket: TcpListener, state: &Arc<AdminState>) -> Service {
    Service {
        socket,
        listener: Listener::Admin,
        answer: Answer::Admin(state.clone()),
    }
}

fn bind(config: &Config) -> Result<Sockets, StartError> {
    let count = config.server.workers;
    let mut sockets = Sockets {
        workers: (0..count).map(|_| Vec::new()).collect(),
        admin: Vec::new(),
        addresses: Addresses::default(),
    };
    for address in &config.listen.https {
        let bound = bind_one(*address, count)?;
        sockets.addresses.https.push(bound[0].local_addr()?);
        for (worker, socket) in sockets.workers.iter_mut().zip(bound) {
            worker.push((Listener::Https, socket));
        }
    }
    for address in &config.listen.http {
        let bound = bind_one(*address, count)?;
        sockets.addresses.http.push(bound[0].local_addr()?);
        for (worker, socket) in sockets.workers.iter_mut().zip(bound) {
            worker.push((Listener::Http, socket));
        }
    }
    for address in &config.listen.admin {
        let bound = bind_one(*address, 1)?;
        sockets.addresses.admin.push(bound[0].local_addr()?);
        sockets.admin.extend(bound);
    }
    Ok(sockets)
}

fn bind_one(address: ListenAddress, count: usize) -> Result<Vec<TcpListener>, StartError> {
    listen::bind(address, count).map_err(|source| StartError::Listen {
        address: address.to_string(),
        source,
    })
}

fn hint(error: &io::Error) -> &'static str {
    let hints = [
        (
            io::ErrorKind::AddrInUse,
            " (another process listens there: ss -ltnp)",
        ),
        (
            io::ErrorKind::AddrNotAvailable,
            " (no interface here has this address)",
        ),
        (
            io::ErrorKind::PermissionDenied,
            " (ports below 1024 need root or CAP_NET_BIND_SERVICE)",
        ),
    ];
    let found = hints.iter().find(|(kind, _)| *kind == error.kind());
    found.map_or("", |(_, hint)| hint)
}

/// How long what a client still sends is read after the last answer, and thrown away.
const LINGER: Duration = Duration::from_secs(1);

/// How long the last lines of the access log may take.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Scrapers and probes are few.
const OPERATORS_CONNECTIONS: usize = 64;
