//! Upgraded connections: bytes in both directions, until either side, the clock or the drain ends
//! them.

use std::cell::Cell;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::Response;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::debug;

use super::exchange::Exchange;
use super::forward::Switch;
use super::gate::{Gate, Gated};
use super::headers::name_answer;
use super::websocket::close_frame;
use super::{Portion, RequestBody, ResponseBody};
use crate::observe::ConnectionState;
use crate::upstream::Lease;

/// A connection that an upstream has agreed to use for something else than HTTP.
pub struct Tunnel {
    exchange: Box<Exchange>,
    /// The client's side, where it is a stream of HTTP/2.
    client: Option<OnUpgrade>,
    upstream: OnUpgrade,
    /// Holds the upstream connection's place as long as this lives.
    lease: Lease<RequestBody>,
    is_websocket: bool,
    idle_timeout: Duration,
    max_age: Duration,
}

/// Makes a tunnel of an exchange whose upstream has agreed to it. The answer's head is returned;
/// the tunnel is left with the connection, to be run once the head has been sent.
pub(super) fn open(
    mut head: Response<()>,
    switch: Switch,
    client: Option<OnUpgrade>,
    mut exchange: Box<Exchange>,
) -> Response<ResponseBody> {
    exchange.switched(head.status());
    name_answer(head.headers_mut(), exchange.request_id());
    let limits = exchange.worker().snapshot().limits.clone();
    let downstream = exchange.downstream().clone();
    downstream.tunnels.add(Tunnel {
        client,
        upstream: switch.upstream,
        lease: switch.lease,
        is_websocket: switch.is_websocket,
        idle_timeout: limits.tunnel_idle_timeout,
        max_age: limits.max_stream_age,
        exchange,
    });
    head.map(|()| ResponseBody::none())
}

/// How a tunnel ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Both sides have closed.
    Closed,
    /// The client's side broke.
    ClientGone,
    /// The upstream's side broke.
    UpstreamGone,
    /// Nothing passed for too long.
    Idle,
    /// It lasted for too long.
    TooOld,
    /// We are about to stop.
    Drained,
}

impl End {
    /// The stable name in logs and metrics.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Closed => "ok",
            Self::ClientGone => "client_closed",
            Self::UpstreamGone => "upstream_broke_off",
            Self::Idle => "tunnel_idle",
            Self::TooOld => "tunnel_too_old",
            Self::Drained => "drained",
        }
    }

    /// What a WebSocket's client is told (RFC 6455 §7.4.1).
    const fn close_code(self) -> Option<u16> {
        match self {
            Self::Closed | Self::ClientGone | Self::UpstreamGone => None,
            Self::Idle | Self::Drained => Some(GOING_AWAY),
            Self::TooOld => Some(POLICY_VIOLATION),
        }
    }
}

/// What has passed.
struct Passed {
    to_upstream: Cell<u64>,
    to_client: Cell<u64>,
    last: Cell<Instant>,
}

impl Passed {
    fn note(&self, counter: &Cell<u64>, length: usize) {
        counter.set(counter.get() + length as u64);
        self.last.set(Instant::now());
    }
}

impl Tunnel {
    /// Lets it go: the client is not there any more.
    pub(super) fn abandon(self) {
        self.exchange.tunnelled(End::ClientGone, 0, 0);
    }

    /// Runs inside a stream of HTTP/2, until `draining` at the latest if it is a WebSocket's.
    pub async fn run_in_stream(mut self: Box<Self>, draining: impl Future<Output = ()>) {
        let Some(client) = self.client.take() else {
            return;
        };
        match client.await {
            Ok(client) => self.run(TokioIo::new(client), Bytes::new(), draining).await,
            Err(error) => {
                debug!(%error, "the client went away before it could switch");
                self.exchange.tunnelled(End::ClientGone, 0, 0);
            }
        }
    }

    /// Runs on a connection of which some bytes were read already.
    ///
    /// Protocols that have no way to be told of a drain run on to their end or the drain's.
    pub async fn run<C>(
        self: Box<Self>,
        client: C,
        unread: Bytes,
        draining: impl Future<Output = ()>,
    ) where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        let passed = Passed {
            to_upstream: Cell::new(0),
            to_client: Cell::new(0),
            last: Cell::new(Instant::now()),
        };
        let tunnel = *self;
        let _counted = tunnel
            .exchange
            .worker()
            .metrics()
            .enter(ConnectionState::Tunnel);
        let limits = Limits {
            is_websocket: tunnel.is_websocket,
            idle_timeout: tunnel.idle_timeout,
            max_age: tunnel.max_age,
        };
        let client = (unread.into(), client);
        let switched = tunnel.upstream.await.ok();
        let end = match switched.and_then(|upstream| tunnel.lease.switched(upstream)) {
            Some((stream, unread, grant)) => {
                let upstream = (Portion::uncounted(unread, grant), stream);
                limits.carry(client, upstream, &passed, draining).await
            }
            None => End::UpstreamGone,
        };
        drop(tunnel.lease);
        let (received, sent) = (passed.to_upstream.get(), passed.to_client.get());
        tunnel.exchange.tunnelled(end, received, sent);
    }
}

/// What may end a tunnel beside its two sides.
struct Limits {
    is_websocket: bool,
    idle_timeout: Duration,
    max_age: Duration,
}

impl Limits {
    /// Each side comes with what was read of it already.
    async fn carry<C, U>(
        &self,
        (client_unread, client): (Portion, C),
        (upstream_unread, upstream): (Portion, U),
        passed: &Passed,
        draining: impl Future<Output = ()>,
    ) -> End
    where
        C: AsyncRead + AsyncWrite + Unpin,
        U: AsyncRead + AsyncWrite + Unpin,
    {
        let (client_read, client_write) = split(client);
        let (upstream_read, mut upstream_write) = split(upstream);
        let from_client = (client_unread, client_read);
        let from_upstream = (upstream_unread, upstream_read);
        let gate = Gate::default();
        let mut client_write = Gated {
            stream: client_write,
            gate: &gate,
        };
        let upwards = pin!(pump(from_client, &mut upstream_write, |length| {
            passed.note(&passed.to_upstream, length);
        }));
        let mut upwards = Direction::new(upwards);
        let end = {
            let downwards = pin!(pump(from_upstream, &mut client_write, |length| {
                passed.note(&passed.to_client, length);
            }));
            let mut downwards = Direction::new(downwards);
            let end = tokio::select! {
                // The drain first: what comes after it has begun should wait for its word.
                biased;
                () = draining, if self.is_websocket => End::Drained,
                end = self.both(&mut upwards, &mut downwards) => end,
                end = self.overdue(passed) => end,
            };
            if self.is_websocket && end.close_code().is_some() {
                // To the end of the frame under way, or the last word would be part of it.
                gate.close();
                let _ = timeout(NOTICE, downwards.until(|| gate.is_between_frames())).await;
            }
            end
        };
        if self.is_websocket
            && let Some(code) = end.close_code()
            && gate.is_between_frames()
            && !gate.has_seen_close()
        {
            let goodbye = say_goodbye(&mut client_write.stream, code, &mut upwards);
            let _ = timeout(NOTICE, goodbye).await;
        }
        let _ = timeout(NOTICE, client_write.stream.shutdown()).await;
        end
    }

    /// Carries both directions to their ends.
    async fn both<U, D>(
        &self,
        upwards: &mut Direction<'_, U>,
        downwards: &mut Direction<'_, D>,
    ) -> End
    where
        U: Future<Output = Result<(), Broken>>,
        D: Future<Output = Result<(), Broken>>,
    {
        std::future::poll_fn(|cx| {
            if let Err(broken) = upwards.poll(cx) {
                return Poll::Ready(broken.end(End::ClientGone, End::UpstreamGone));
            }
            if let Err(broken) = downwards.poll(cx) {
                return Poll::Ready(broken.end(End::UpstreamGone, End::ClientGone));
            }
            // A WebSocket's server closes first (RFC 6455 §7.1.1), and then it is over.
            if downwards.is_over && (upwards.is_over || self.is_websocket) {
                return Poll::Ready(End::Closed);
            }
            Poll::Pending
        })
        .await
    }

    /// Resolves when nothing has passed for too long, or it has lasted too long.
    async fn overdue(&self, passed: &Passed) -> End {
        let oldest = Instant::now() + self.max_age;
        loop {
            let due = passed.last.get() + self.idle_timeout;
            let now = Instant::now();
            if now >= oldest {
                return End::TooOld;
            }
            if now >= due {
                return End::Idle;
            }
            sleep_until(due.min(oldest)).await;
        }
    }
}

/// The last word to a WebSocket's client, and what it answers, which is for the upstream.
async fn say_goodbye<W, U>(
    client: &mut W,
    code: u16,
    upwards: &mut Direction<'_, U>,
) -> io::Result<()>
where
    W: AsyncWrite + Unpin,
    U: Future<Output = Result<(), Broken>>,
{
    client.write_all(&close_frame(code)).await?;
    client.flush().await?;
    upwards.until(|| false).await;
    Ok(())
}

/// One direction on its way.
struct Direction<'p, F> {
    pump: Pin<&'p mut F>,
    is_over: bool,
}

impl<'p, F: Future<Output = Result<(), Broken>>> Direction<'p, F> {
    const fn new(pump: Pin<&'p mut F>) -> Self {
        Self {
            pump,
            is_over: false,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Result<(), Broken> {
        if !self.is_over
            && let Poll::Ready(end) = self.pump.as_mut().poll(cx)
        {
            self.is_over = true;
            return end;
        }
        Ok(())
    }

    /// Goes on until this is so, or to its end.
    async fn until(&mut self, is_enough: impl Fn() -> bool) {
        std::future::poll_fn(|cx| {
            let broken = self.poll(cx).is_err();
            if broken || self.is_over || is_enough() {
                return Poll::Ready(());
            }
            Poll::Pending
        })
        .await;
    }
}

/// Which end of a direction broke.
enum Broken {
    Source,
    Sink,
}

impl Broken {
    const fn end(self, source: End, sink: End) -> End {
        match self {
            Self::Source => source,
            Self::Sink => sink,
        }
    }
}

/// Carries one direction to its end, and passes the end on: first what was read already, which is
/// then let go. What the other side does not take is not read.
async fn pump<R, W>(
    (mut unread, mut from): (Portion, R),
    to: &mut W,
    note: impl Fn(usize),
) -> Result<(), Broken>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    if unread.has_remaining() {
        note(unread.remaining());
        let written = async {
            to.write_all_buf(&mut unread).await?;
            to.flush().await
        };
        written.await.map_err(|_| Broken::Sink)?;
    }
    drop(unread);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let length = from.read(&mut buffer).await.map_err(|_| Broken::Source)?;
        if length == 0 {
            return to.shutdown().await.map_err(|_| Broken::Sink);
        }
        note(length);
        let written = async {
            to.write_all(&buffer[..length]).await?;
            to.flush().await
        };
        written.await.map_err(|_| Broken::Sink)?;
    }
}

/// As large as a TLS record.
const BUFFER_BYTES: usize = 16 * 1024;

/// How long a last word may take.
const NOTICE: Duration = Duration::from_secs(1);

/// RFC 6455 §7.4.1.
const GOING_AWAY: u16 = 1001;
const POLICY_VIOLATION: u16 = 1008;
