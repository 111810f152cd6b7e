//! One HTTP/2 connection's life.

use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use super::answer::Answer;
use super::http1::{Deadlines, is_over};
use super::phase::{Phase, PhaseWatch};
use super::stream::{Activity, Watched};
use crate::proxy::Downstream;

/// Serves one connection to its end.
///
/// A client that opens no stream within the header's deadline is closed; one that has been idle
/// for too long, or that meets the drain, is told with GOAWAY and may finish what it began.
pub(super) async fn serve<S>(
    stream: S,
    answer: Answer,
    downstream: Rc<Downstream>,
    max_streams: u32,
    deadlines: Deadlines,
    mut phase: PhaseWatch,
) where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let requests = downstream.in_flight.clone();
    let peer = downstream.peer;
    let service = {
        let downstream = downstream.clone();
        service_fn(move |request| answer.receive(request, &downstream).answer())
    };
    let activity = Activity::opaque();
    let io = TokioIo::new(Watched::new(stream, Bytes::new(), activity.clone()));
    let mut connection = pin!(builder(max_streams).serve_connection(io, service));

    let tunnel_phase = phase.clone();
    let mut saying_goodbye = false;
    let mut idle_since = (Instant::now(), 0);
    let mut quiet_from = 0;
    let mut check = pin!(sleep_until(Instant::now() + deadlines.header));
    let mut drain = pin!(phase.reached(Phase::Draining));
    std::future::poll_fn(|cx| {
        if let Poll::Ready(result) = connection.as_mut().poll(cx) {
            if let Err(error) = result {
                debug!(%peer, %error, "connection ended");
            }
            return Poll::Ready(());
        }
        while let Poll::Ready(tunnel) = downstream.tunnels.poll_next(cx) {
            let mut phase = tunnel_phase.clone();
            tokio::task::spawn_local(async move {
                tunnel.run_in_stream(phase.reached(Phase::Draining)).await;
            });
        }
        if !saying_goodbye && drain.as_mut().poll(cx).is_ready() {
            saying_goodbye = true;
            connection.as_mut().graceful_shutdown();
            check.as_mut().reset(Instant::now() + GOODBYE);
            return poll_again(cx);
        }
        if !requests.is_zero() || requests.total() != idle_since.1 {
            idle_since = (Instant::now(), requests.total());
            quiet_from = activity.bytes();
        }
        // PING, SETTINGS and their kin are answered by the library for as long as they come. What
        // was sent of bodies that nobody wanted comes still, as much as the windows allow.
        let welcome =
            MAX_BYTES_WITHOUT_STREAM + downstream.abandoned.get() * u64::from(STREAM_WINDOW);
        if activity.bytes() - quiet_from > welcome {
            debug!(%peer, "a flood of frames without a stream");
            return Poll::Ready(());
        }
        if check.as_mut().poll(cx).is_ready() {
            if is_over(downstream.taking.stalled_since(), deadlines.body) {
                downstream.stalled.set(true);
                return Poll::Ready(());
            }
            let patience = if saying_goodbye {
                GOODBYE
            } else if requests.total() == 0 {
                deadlines.header
            } else {
                deadlines.idle
            };
            // The last answer is done with when it has been written, not when hyper has it.
            let due = idle_since.0.max(activity.written()) + patience;
            if !requests.is_zero() || due > Instant::now() {
                let soon = Instant::now() + CHECK_AT_LEAST_EVERY;
                check
                    .as_mut()
                    .reset(if requests.is_zero() { due } else { soon });
            } else if saying_goodbye || requests.total() == 0 {
                // Told and not gone, or never really here.
                return Poll::Ready(());
            } else {
                saying_goodbye = true;
                connection.as_mut().graceful_shutdown();
                check.as_mut().reset(Instant::now() + GOODBYE);
            }
            return poll_again(cx);
        }
        Poll::Pending
    })
    .await;
}

/// What was just changed must be polled once to take effect.
fn poll_again(cx: &std::task::Context<'_>) -> Poll<()> {
    cx.waker().wake_by_ref();
    Poll::Pending
}

fn builder(max_streams: u32) -> http2::Builder<LocalExecutor> {
    let mut builder = http2::Builder::new(LocalExecutor);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(max_streams)
        .max_header_list_size(MAX_HEAD_BYTES)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        // WebSocket inside a stream (RFC 8441). Whether a route has one is seen at the request.
        .enable_connect_protocol()
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

/// Runs hyper's tasks on the worker's own thread.
#[derive(Clone, Copy)]
struct LocalExecutor;

impl<F: Future<Output: 'static> + 'static> Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// As for HTTP/1.
const MAX_HEAD_BYTES: u32 = 32 * 1024;

/// What one stream, and all of them together, may send before the upstream has taken it.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// What is buffered of an answer that the client does not read.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// A peer that vanished without a word is found out by its missing answers.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// What a peer may send while no stream is open: some thousand control frames, and far more than
/// an honest one has reason to. A refused head counts, too.
const MAX_BYTES_WITHOUT_STREAM: u64 = 128 * 1024;

/// How long a peer may take to go after GOAWAY when it has nothing left to do.
const GOODBYE: Duration = Duration::from_secs(5);

/// A bound on how often the deadline is looked at while requests come and go.
const CHECK_AT_LEAST_EVERY: Duration = Duration::from_secs(1);
