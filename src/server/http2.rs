//! One HTTP/2 connection's life.

use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tracing::debug;

use super::activity::Activity;
use super::answer::Answer;
use super::http1::Manner;
use super::phase::Phase;
use super::stream::Watched;
use super::streams::{StreamExecutor, Streams};
use super::vigil::{Verdict, Vigil};
use crate::proxy::Downstream;
use crate::socket::Taking;

/// Serves one connection to its end.
///
/// A client that opens no stream within the header's deadline is closed; one that has been idle
/// for too long, or that meets the drain, is told with GOAWAY and may finish what it began.
pub(super) async fn serve<S>(stream: S, answer: Answer, downstream: Rc<Downstream>, manner: Manner)
where
    S: AsyncRead + AsyncWrite + Taking + Unpin + 'static,
{
    let peer = downstream.peer;
    let service = {
        let downstream = downstream.clone();
        service_fn(move |request| answer.receive(request, &downstream).answer())
    };
    let activity = Activity::of_frames();
    let io = TokioIo::new(Watched::new(stream, Bytes::new(), activity.clone()));
    let _running = downstream.run();
    let mut streams = Streams::default();
    let executor = streams.executor(&downstream);
    let mut connection = pin!(builder(&manner, executor).serve_connection(io, service));
    let mut vigil = Vigil::over(&downstream, &activity, &manner);
    std::future::poll_fn(|cx| {
        let now = Instant::now();
        activity.tick(now);
        activity.begin_turn();
        downstream.now.set(now);
        let turn = streams.take_turns(cx, |cx| connection.as_mut().poll(cx));
        if let Poll::Ready(result) = turn {
            if let Err(error) = result {
                debug!(%peer, %error, "connection ended");
            }
            return Poll::Ready(());
        }
        if activity.is_flushed() {
            downstream.heads_written();
        }
        while let Poll::Ready(tunnel) = downstream.tunnels.poll_next(cx) {
            let mut phase = manner.phase.clone();
            tokio::task::spawn_local(async move {
                tunnel.run_in_stream(phase.reached(Phase::Draining)).await;
            });
        }
        match vigil.look(cx) {
            Verdict::GoOn => Poll::Pending,
            Verdict::SayGoodbye => {
                connection.as_mut().graceful_shutdown();
                poll_again(cx)
            }
            Verdict::Close => Poll::Ready(()),
        }
    })
    .await;
}

/// What was just changed must be polled once to take effect.
fn poll_again(cx: &Context<'_>) -> Poll<()> {
    cx.waker().wake_by_ref();
    Poll::Pending
}

fn builder(manner: &Manner, executor: StreamExecutor) -> http2::Builder<StreamExecutor> {
    let mut builder = http2::Builder::new(executor);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(manner.max_streams)
        .max_header_list_size(u32::try_from(manner.heads.bytes).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(connection_window(manner.each_way))
        .max_send_buf_size(SEND_BUFFER_BYTES)
        // WebSocket inside a stream (RFC 8441). Whether a route has one is seen at the request.
        .enable_connect_protocol()
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

/// What one stream may send before the upstream has taken it.
pub(super) const STREAM_WINDOW: u32 = 64 * 1024;

/// What all streams may send before, of which there is so much room. Uploads that their upstreams
/// do not take, if they are not many, leave room for others.
fn connection_window(each_way: usize) -> u32 {
    u32::try_from(each_way).map_or(u32::MAX, |window| window.max(4 * STREAM_WINDOW))
}

/// What is buffered of one answer that the client does not read.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// A peer that vanished without a word is found out by its missing answers. Its PING waits behind
/// what is under way to a slow one, in as large buffers as somebody on the way may have.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(60);
