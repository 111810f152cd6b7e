//! The running gateway: sockets, workers, the drain.

mod accept;
mod activity;
mod answer;
mod chunks;
mod crowd;
mod descriptors;
mod frames;
mod head_lines;
mod http1;
mod http2;
mod inherited;
mod listen;
mod memory;
mod patience;
mod phase;
mod proxy_header;
mod pulse;
mod room;
mod sockets;
mod stream;
mod streams;
mod vigil;
mod worker;

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::admin::AdminState;
use crate::clock::Clock;
use crate::config::Config;
use crate::observe::{AccessLog, Listener, LogWriter, Metrics, Readiness};
use crate::pieces::Surplus;
use crate::proxy::Worker;
use crate::snapshot::Live;
use crate::upstream::{Pool, Slots};

use answer::Answer;
use crowd::Crowd;
pub use inherited::Inherited;
use memory::Memory;
use phase::{Phase, PhaseControl, PhaseWatch};
pub use pulse::Pulse;
use sockets::Sockets;
use worker::{Service, Setting};

/// What a gateway takes from the world around it.
pub struct Surroundings {
    /// Tells whether tokens are in time.
    pub clock: Clock,
    /// Where access events are written.
    pub access_log: Box<dyn Write + Send>,
    /// Sockets that are open already.
    pub inherited: Inherited,
}

/// A running gateway. Dropping it ends it at once; [`drain`](Self::drain) is kinder.
pub struct Gateway {
    addresses: Addresses,
    /// For a successor; closed with the others when the drain begins.
    sockets: Mutex<Vec<TcpListener>>,
    metrics: Arc<Metrics>,
    phase: PhaseControl,
    /// That of the operator's listener, which lasts longer.
    operators: PhaseControl,
    pulse: Option<Pulse>,
    readiness: Readiness,
    threads: Vec<JoinHandle<()>>,
    /// Closes when the last thread has ended.
    running: mpsc::Receiver<()>,
    log_writer: Option<LogWriter>,
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
    #[error("cannot listen on {address}{}", sockets::hint(source))]
    Listen {
        /// Which one, as the configuration has it.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The kernel would lose connections when one of two gateways ends.
    #[error(
        "[listen] side_by_side: connections would be lost when one of the two ends \
         (sysctl -w net.ipv4.tcp_migrate_req=1, or use jotgate upgrade)"
    )]
    SideBySide,
    /// The system has no threads or file descriptors to give.
    #[error("cannot start a worker")]
    Worker(#[from] io::Error),
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
        let sockets = Sockets::bind(config, surroundings.inherited)?;
        let readiness = Readiness::starting();
        let snapshot = live.snapshot();
        let (names, whose) = (snapshot.route_names.clone(), config.metrics.durations);
        let metrics = Arc::new(Metrics::new(&readiness, names, whose));
        metrics.publish(snapshot.inventory());
        let (access_log, log_writer) =
            AccessLog::start(surroundings.access_log, config.log.format, &metrics)?;
        let (pulse, beat) = pulse::pulse(sockets.workers.len());
        let (alive, running) = mpsc::channel(1);
        let (working, workers) = mpsc::channel(1);
        let mut gateway = Self {
            addresses: sockets.addresses,
            sockets: Mutex::new(sockets.all),
            metrics: metrics.clone(),
            phase: PhaseControl::new(),
            operators: PhaseControl::new(),
            pulse: Some(pulse),
            readiness: readiness.clone(),
            threads: Vec::new(),
            running,
            log_writer: Some(log_writer),
        };
        let memory = Memory::beside_cache(config.server.token_cache);
        let room = room::room_for(config.limits.connections, sockets.workers.len(), memory);
        // One more request may wait for each.
        let upstream_sockets = Arc::new(Slots::new(room.upstreams, room.upstreams));
        let surplus = Surplus::of(memory.surplus());
        let crowd = Crowd::new(room.clients);
        metrics.limit_connections(room.clients);
        // Each has its share: what one has verified, the others do not know.
        let token_cache = config.server.token_cache / config.server.worker_count();
        for (number, sockets) in sockets.workers.into_iter().enumerate() {
            let setting = Setting {
                metrics: metrics.clone(),
                crowd: crowd.clone(),
                phase: gateway.phase.watch(),
                live: live.clone(),
                each_way: room.each_way,
            };
            let (live, metrics, beat) = (live.clone(), metrics.clone(), beat.clone());
            let (clock, log) = (surroundings.clock.clone(), access_log.clone());
            let (sockets_upstream, surplus) = (upstream_sockets.clone(), surplus.clone());
            let alive = (alive.clone(), working.clone());
            gateway.spawn(format!("worker-{number}"), alive, setting, move || {
                tokio::task::spawn_local(beat.go_on());
                let pool = Pool::new(metrics.clone(), sockets_upstream, surplus);
                let worker = Worker::new(&live, clock, log, metrics, pool, token_cache);
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
            let phase = gateway.operators.clone();
            let setting = Setting {
                metrics: metrics.clone(),
                // The operator gets in when everybody else is turned away.
                crowd: Crowd::new(OPERATORS_CONNECTIONS),
                phase: phase.watch(),
                live: live.clone(),
                each_way: room.each_way,
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

    /// The way to ask its workers for a sign of life; there is one.
    pub const fn take_pulse(&mut self) -> Option<Pulse> {
        self.pulse.take()
    }

    /// Handles of the sockets that it listens on, for a successor; none once it drains.
    ///
    /// # Errors
    /// The system's, if it has no file descriptors left.
    pub fn sockets(&self) -> io::Result<Vec<TcpListener>> {
        let sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.iter().map(TcpListener::try_clone).collect()
    }

    /// What it counts.
    pub const fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Stops accepting and lets what has begun come to its end, as long as the configuration
    /// grants. `/readyz` says so from now on, to the end.
    pub fn drain(&self) {
        self.readiness.drain();
        self.close_sockets();
        self.phase.enter(Phase::Draining);
    }

    /// The same, where another process listens on the same sockets: it answers the operator from
    /// now on, too.
    pub fn drain_beside_successor(&self) {
        self.drain();
        self.operators.enter(Phase::Draining);
    }

    /// Ends at once, whatever is open.
    pub fn end(&self) {
        self.close_sockets();
        self.phase.enter(Phase::Ended);
    }

    /// So that they are closed when the workers close theirs.
    fn close_sockets(&self) {
        let sockets = self.sockets.lock();
        sockets.unwrap_or_else(PoisonError::into_inner).clear();
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

/// How long what a client still sends is read after the last answer, and thrown away.
const LINGER: Duration = Duration::from_secs(1);

/// How long the last lines of the access log may take.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Scrapers and probes are few.
const OPERATORS_CONNECTIONS: usize = 64;
