//! A worker: one thread, one runtime, its own sockets, its own everything.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::debug;

use super::accept::{Guests, accept_all};
use super::answer::Answer;
use super::crowd::{Crowd, Parking, Place};
use super::http1::{Deadlines, HeadLimits, Manner};
use super::phase::{Phase, PhaseWatch};
use super::{http1, http2, proxy_header};
use crate::observe::{ConnectionState, Handshake, Introduction, Listener, Metrics, with_causes};
use crate::proxy::{Allowance, Downstream, Peer, Secured};
use crate::snapshot::{Live, View};
use crate::socket::Socket;
use crate::tls::{Acceptor, Established, HandshakeError, Protocol};

/// What every connection of a thread has to know.
pub(super) struct Setting {
    pub(super) metrics: Arc<Metrics>,
    pub(super) crowd: Arc<Crowd>,
    pub(super) phase: PhaseWatch,
    /// What the configuration says of connections: each goes by what is in force when it begins.
    pub(super) live: Live,
    /// What a connection of HTTP/2 may make us hold each way, in bytes.
    pub(super) each_way: usize,
}

/// A socket and what is done with its connections.
pub(super) struct Service {
    pub(super) socket: StdListener,
    pub(super) listener: Listener,
    pub(super) answer: Answer,
}

/// The runtime of one thread. Its tasks never leave it, so they need not be `Send`.
///
/// # Errors
/// The system's, when it has no file descriptors left.
pub(super) fn runtime() -> io::Result<LocalRuntime> {
    Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
}

/// Serves until the end: accepts until the drain begins, then waits for the connections, but not
/// longer than the drain may take. What is still open then dies with the runtime.
pub(super) async fn serve(services: Vec<Service>, setting: Setting) -> io::Result<()> {
    let parking = Parking::new(setting.crowd.clone(), setting.metrics.clone());
    let setting = Rc::new(setting);
    let view = Rc::new(View::of(&setting.live));
    let open = Rc::new(OpenConnections::default());
    let answers: Vec<_> = services
        .iter()
        .map(|service| service.answer.clone())
        .collect();
    for service in services {
        let socket = TcpListener::from_std(service.socket)?;
        let gate = Gate {
            listener: service.listener,
            answer: service.answer,
            view: view.clone(),
            setting: setting.clone(),
            parking: parking.clone(),
            open: open.clone(),
        };
        let accepting = open.enter();
        tokio::task::spawn_local(async move {
            let gate = Rc::new(gate);
            let (setting, phase) = (&gate.setting, gate.setting.phase.clone());
            accept_all(socket, &setting.crowd, &gate.parking, phase, gate.clone()).await;
            drop(accepting);
        });
    }
    let mut phase = setting.phase.clone();
    phase.reached(Phase::Draining).await;
    tokio::select! {
        drained = timeout(view.now().drain, open.none_left()) => {
            if drained.is_err() {
                debug!(open = open.count.get(), "drain is over, closing what is left");
            }
        }
        () = phase.reached(Phase::Ended) => {}
    }
    answers.iter().for_each(Answer::end);
    Ok(())
}

/// One socket's way in.
struct Gate {
    listener: Listener,
    answer: Answer,
    view: Rc<View>,
    setting: Rc<Setting>,
    parking: Rc<Parking>,
    open: Rc<OpenConnections>,
}

impl Guests for Rc<Gate> {
    fn place(&self, address: IpAddr) -> Option<Place> {
        Gate::place(self, address)
    }

    fn serve(&self, stream: TcpStream, peer: SocketAddr, place: (Place, OwnedSemaphorePermit)) {
        tokio::task::spawn_local(self.clone().connection(stream, peer, place));
    }

    fn turn_away(&self, peer: SocketAddr) {
        self.note_turned_away(peer);
    }
}

impl Gate {
    /// A place for a connection from this address, unless it has too many. Those of the operator
    /// are not counted.
    fn place(&self, address: IpAddr) -> Option<Place> {
        let now = self.view.now();
        let is_exempt = self.listener == Listener::Admin || now.trusted_proxies.contains(address);
        let limit = (!is_exempt).then_some(now.limits.connections_per_address);
        self.setting.crowd.place(address, limit)
    }

    fn note_turned_away(&self, peer: SocketAddr) {
        debug!(%peer, "its address has too many connections");
        self.setting.metrics.count_turned_away(self.listener);
    }

    /// One connection's whole life; it holds its place to the end.
    fn connection(
        self: Rc<Self>,
        mut stream: TcpStream,
        peer: SocketAddr,
        place: (Place, OwnedSemaphorePermit),
    ) -> impl Future<Output = ()> {
        // Counted before the task first runs: the drain must not miss it.
        let entered = self.open.enter();
        async move {
            let counted = self.setting.metrics.open_connection(self.listener);
            if let Err(error) = prepare(&stream) {
                debug!(%peer, %error, "connection lost before it began");
            }
            let deadline = Instant::now() + self.view.now().limits.handshake_timeout;
            let introduced = self.introduced(&mut stream, peer, deadline).await;
            if let Some((peer, _its_own_place)) = introduced {
                match self.listener {
                    Listener::Https => self.secured(stream, peer, deadline).await,
                    Listener::Http | Listener::Admin => self.plain(stream, peer).await,
                }
            }
            drop((counted, entered, place));
        }
    }

    /// Who opened a connection, and that one's own place among those of its address. `None` if a
    /// proxy should have said so and did not, or there is no place.
    async fn introduced(
        &self,
        stream: &mut TcpStream,
        address: SocketAddr,
        deadline: Instant,
    ) -> Option<(Peer, Option<Place>)> {
        let now = self.view.now();
        let proxies = match now.introducers() {
            Some(proxies) if self.listener != Listener::Admin => proxies.clone(),
            Some(_) | None => return Some((Peer::known(address), None)),
        };
        drop(now);
        let within = deadline.duration_since(Instant::now());
        let (peer, introduction) = match proxy_header::read(stream, address, &proxies, within).await
        {
            Ok(peer) => (Some(peer), Introduction::Ok),
            Err(error) => {
                debug!(peer = %address, %error, "connection closed before it began");
                (None, error.kind())
            }
        };
        self.setting.metrics.count_introduction(introduction);
        let peer = peer?;
        let place = self.place(peer.address.ip());
        if place.is_none() {
            self.note_turned_away(peer.address);
        }
        Some((peer, Some(place?)))
    }

    /// Resolves when the drain has gone on for as long as an idle connection may.
    async fn drained(&self, phase: &mut PhaseWatch) {
        phase.reached(Phase::Draining).await;
        let idle = self.view.now().drain_idle;
        sleep(idle).await;
    }

    async fn plain(&self, stream: TcpStream, peer: Peer) {
        let downstream = Downstream::new(peer, None, None);
        let stream = Socket::new(stream);
        http1::serve(stream, self.answer.clone(), downstream, self.manner()).await;
    }

    /// How connections are treated that begin now.
    fn manner(&self) -> Manner {
        let now = self.view.now();
        let limits = &now.limits;
        Manner {
            deadlines: Deadlines {
                header: limits.header_timeout,
                idle: limits.idle_timeout,
                drain_idle: match self.listener {
                    Listener::Https | Listener::Http => now.drain_idle,
                    // It is kept to the end, and should not put that off.
                    Listener::Admin => now.drain_idle.min(OPERATORS_DRAIN_IDLE),
                },
                body: limits.body_timeout,
                age: limits.max_stream_age,
            },
            heads: HeadLimits {
                bytes: limits.header_bytes,
                fields: limits.header_fields,
            },
            max_streams: limits.streams,
            each_way: self.setting.each_way,
            parking: self.parking.clone(),
            phase: self.setting.phase.clone(),
        }
    }

    async fn secured(&self, stream: TcpStream, peer: Peer, deadline: Instant) {
        let setting = &self.setting;
        let acceptor = self.view.now().acceptor.clone();
        let within = deadline.duration_since(Instant::now());
        let counted = setting.metrics.enter(ConnectionState::Handshake);
        // Boxed, like everything that a connection does only once: it lives on without the room.
        let mut phase = setting.phase.clone();
        let handshake = tokio::select! {
            handshake = Box::pin(shake_hands(&acceptor, stream, within)) => handshake,
            // Whoever has nothing to say by then does not put off the end.
            () = self.drained(&mut phase) => Err(HandshakeError::TimedOut),
        };
        drop(counted);
        setting.metrics.count_handshake(outcome(&handshake));
        let Established {
            stream,
            server_name,
            protocol,
        } = match handshake {
            Ok(established) => established,
            Err(error) => {
                let error = with_causes(&error);
                return debug!(peer = %peer.address, error, "handshake failed");
            }
        };
        let certificates = acceptor.certificates().clone();
        let allowance = match protocol {
            Protocol::Http1 => None,
            Protocol::Http2 => Some(Allowance::of(setting.each_way)),
        };
        let downstream = Downstream::new(
            peer,
            Some(Secured {
                server_name,
                certificates,
            }),
            allowance,
        );
        let (answer, manner) = (self.answer.clone(), self.manner());
        match protocol {
            Protocol::Http1 => http1::serve(stream, answer, downstream, manner).await,
            Protocol::Http2 => Box::pin(http2::serve(stream, answer, downstream, manner)).await,
        }
    }
}

/// Does a handshake, unless what comes is plain HTTP: that is told so, in its own words.
async fn shake_hands(
    acceptor: &Acceptor,
    stream: TcpStream,
    within: Duration,
) -> Result<Established<Socket<TcpStream>>, HandshakeError> {
    let deadline = Instant::now() + within;
    let mut first = [0];
    let peeked = timeout_at(deadline, stream.peek(&mut first)).await;
    peeked
        .map_err(|_late| HandshakeError::TimedOut)?
        .map_err(HandshakeError::Broken)?;
    // Methods are in capitals, and no record of TLS begins with one.
    if first[0].is_ascii_uppercase() {
        http1::linger(stream, NOT_HTTP).await;
        return Err(HandshakeError::PlainHttp);
    }
    let left = deadline.duration_since(Instant::now());
    acceptor.accept(Socket::new(stream), left).await
}

const NOT_HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    content-type: text/plain; charset=utf-8\r\n\
    content-length: 34\r\n\
    connection: close\r\n\r\n\
    This port speaks https, not http.\n";

/// Enough for a request that is on its way already.
const OPERATORS_DRAIN_IDLE: Duration = Duration::from_millis(200);

/// Answers are sent as they come, and what a slow client has yet to get is kept here rather than in
/// the kernel, megabytes ahead: there, it could not be told from what is taken.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    // A client that vanishes while an answer has nothing to say would keep its place for a day.
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE_AFTER))?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_notsent_lowat(NOT_SENT_BYTES)?;
    Ok(())
}

/// From so much silence on, the kernel asks whether somebody is there.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);

/// What the kernel holds of an answer beyond what is on its way.
#[cfg(target_os = "linux")]
const NOT_SENT_BYTES: u32 = 64 * 1024;

fn outcome<S>(handshake: &Result<Established<S>, HandshakeError>) -> Handshake {
    match handshake {
        Ok(_) => Handshake::Ok,
        Err(HandshakeError::TimedOut) => Handshake::Timeout,
        Err(HandshakeError::NothingInCommon) => Handshake::NoCommonProtocol,
        Err(HandshakeError::UnknownName) => Handshake::UnknownName,
        Err(HandshakeError::Alert(_)) => Handshake::Alert,
        Err(HandshakeError::Broken(_)) => Handshake::Io,
        Err(HandshakeError::NotTls(_) | HandshakeError::PlainHttp) => Handshake::Other,
    }
}

/// Counts the connections and accept loops of a worker.
#[derive(Default)]
struct OpenConnections {
    count: Cell<usize>,
    changed: Notify,
}

impl OpenConnections {
    fn enter(self: &Rc<Self>) -> OpenGuard {
        self.count.set(self.count.get() + 1);
        OpenGuard(self.clone())
    }

    async fn none_left(&self) {
        while self.count.get() > 0 {
            self.changed.notified().await;
        }
    }
}

struct OpenGuard(Rc<OpenConnections>);

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.0.count.set(self.0.count.get() - 1);
        self.0.changed.notify_one();
    }
}
