//! Upgraded connections: from the answer that switches one to the event that tells how it ended.

use bytes::Bytes;
use http::Response;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::debug;

use super::carry::{Limits, Passed};
use super::exchange::Exchange;
use super::forward::Switch;
use super::headers::name_answer;
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
    limits: Limits,
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
        limits: Limits {
            is_websocket: switch.is_websocket,
            idle_timeout: limits.tunnel_idle_timeout,
            max_age: limits.max_stream_age,
        },
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
    pub(super) const fn close_code(self) -> Option<u16> {
        match self {
            Self::Closed | Self::ClientGone | Self::UpstreamGone => None,
            Self::Idle | Self::Drained => Some(GOING_AWAY),
            Self::TooOld => Some(POLICY_VIOLATION),
        }
    }
}

impl Tunnel {
    /// Lets it go: the client is not there any more.
    pub(super) fn abandon(mut self) {
        self.exchange.tunnelled(End::ClientGone);
    }

    /// Runs inside a stream of HTTP/2, until `draining` at the latest if it is a WebSocket's.
    pub async fn run_in_stream(mut self: Box<Self>, draining: impl Future<Output = ()>) {
        let Some(client) = self.client.take() else {
            return;
        };
        match client.await {
            Ok(client) => {
                self.run(TokioIo::new(client), Bytes::new(), draining).await;
            }
            Err(error) => {
                debug!(%error, "the client went away before it could switch");
                self.exchange.tunnelled(End::ClientGone);
            }
        }
    }

    /// Runs on a connection of which some bytes were read already, and returns it.
    ///
    /// Protocols that have no way to be told of a drain run on to their end or the drain's.
    pub async fn run<C>(
        self: Box<Self>,
        client: C,
        unread: Bytes,
        draining: impl Future<Output = ()>,
    ) -> C
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        let tunnel = *self;
        let mut carrying = Carrying {
            exchange: tunnel.exchange,
            passed: Passed::nothing(),
        };
        let metrics = carrying.exchange.worker().metrics();
        let _counted = metrics.enter(ConnectionState::Tunnel);
        let switched = tunnel.upstream.await.ok();
        let (end, client) = match switched.and_then(|upstream| tunnel.lease.switched(upstream)) {
            Some((stream, first, grant)) => {
                let client = (unread.into(), client);
                let upstream = (Portion::uncounted(first, grant), stream);
                let carried = tunnel
                    .limits
                    .carry(client, upstream, &carrying.passed, draining);
                carried.await
            }
            None => (End::UpstreamGone, client),
        };
        drop(tunnel.lease);
        carrying.exchange.tunnelled(end);
        client
    }
}

/// A tunnel under way. What has passed is told of however it ends, and if it is dropped.
struct Carrying {
    exchange: Box<Exchange>,
    passed: Passed,
}

impl Drop for Carrying {
    fn drop(&mut self) {
        let (received, sent) = self.passed.bytes();
        self.exchange.passed(received, sent);
    }
}

/// RFC 6455 §7.4.1.
const GOING_AWAY: u16 = 1001;
const POLICY_VIOLATION: u16 = 1008;
