//! One HTTP/1 connection's life: served while there is something to do, parked while there is not.
//!
//! *Served* means that hyper owns the stream, with its buffers. *Parked* means that we hold the
//! bare stream and wait for a byte; that byte is put back in front when hyper takes over again.
//! The two exist apart because hyper would close an idle connection at a drain even if a request
//! is already on its way. How long a head may take is looked after here too: hyper's timer cannot
//! tell an idle client from a slow one, and is set anew for every head.

use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::debug;

use super::LINGER;
use super::activity::Activity;
use super::answer::Answer;
use super::crowd::Parking;
use super::head_lines::LineEnds;
use super::patience::{Patience, Spent};
use super::phase::{Phase, PhaseWatch};
use super::stream::Watched;
use crate::pieces::Pieces;
use crate::proxy::{Downstream, Tunnel};
use crate::socket::Taking;

/// How long each state of a connection may last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadlines {
    /// For a head.
    pub(super) header: Duration,
    /// For the next request.
    pub(super) idle: Duration,
    /// For the next request once the drain has begun.
    pub(super) drain_idle: Duration,
    /// For the client to take some of what it asked for.
    pub(super) body: Duration,
    /// For an answer to its end.
    pub(super) age: Duration,
}

/// How large a head may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeadLimits {
    pub(super) bytes: usize,
    pub(super) fields: usize,
}

/// How a connection is treated, whatever is spoken on it.
pub(super) struct Manner {
    pub(super) deadlines: Deadlines,
    pub(super) heads: HeadLimits,
    /// Concurrent streams (HTTP/2).
    pub(super) max_streams: u32,
    /// What all of them may make us hold each way, in bytes.
    pub(super) each_way: usize,
    pub(super) parking: Rc<Parking>,
    pub(super) phase: PhaseWatch,
}

/// Serves one connection to its end.
pub(super) async fn serve<S>(
    mut stream: S,
    answer: Answer,
    downstream: Rc<Downstream>,
    mut manner: Manner,
) where
    S: AsyncRead + AsyncWrite + Taking + Unpin,
{
    let _running = downstream.run();
    let mut read = Bytes::new();
    loop {
        // Boxed, as are the other states of which a connection is in one at most: a parked one
        // should take no more room than waiting needs.
        let turn = Box::pin(converse(stream, read, &answer, &downstream, &mut manner));
        match turn.await {
            Turn::Over(stream, last_word) => return Box::pin(linger(stream, last_word)).await,
            Turn::Cut => return,
            Turn::Switched(stream, unread, tunnel) => {
                let draining = manner.phase.reached(Phase::Draining);
                let stream = Box::pin(tunnel.run(stream, unread, draining)).await;
                return Box::pin(linger(stream, b"")).await;
            }
            Turn::Idle(idle, unread) => (stream, read) = (idle, unread),
        }
        if read.is_empty() {
            match park(&mut stream, &downstream, &mut manner).await {
                Wait::Goes(first) => read = Bytes::copy_from_slice(&[first]),
                Wait::Ends => return Box::pin(linger(stream, b"")).await,
                // Somebody waits for its place.
                Wait::GivesWay => {
                    let _ = timeout(LINGER / 10, stream.shutdown()).await;
                    return;
                }
            }
        }
    }
}

/// What is to be done with a stream after hyper's turn.
enum Turn<S> {
    /// To wait; some bytes of the next head may have been read.
    Idle(S, Bytes),
    /// To be closed in good order, after a last word.
    Over(S, &'static [u8]),
    /// It was dropped as it was.
    Cut,
    /// To be used for something else than HTTP; some bytes of that may have been read.
    Switched(S, Bytes, Box<Tunnel>),
}

/// Lets hyper serve the stream until there is nothing to do for a moment.
async fn converse<S>(
    stream: S,
    read: Bytes,
    answer: &Answer,
    downstream: &Rc<Downstream>,
    manner: &mut Manner,
) -> Turn<S>
where
    S: AsyncRead + AsyncWrite + Taking + Unpin,
{
    let (deadlines, heads) = (manner.deadlines, manner.heads);
    let activity = Activity::of_heads();
    let stream = Pieces::of(stream, READ_BUFFER_BYTES);
    let io = TokioIo::new(Watched::new(stream, read, activity.clone()));
    let service = service_fn(|request: Request<Incoming>| {
        let line_ends = activity.head_completed(request.body());
        let request = answer.receive(request, downstream);
        match line_ends {
            Some(LineEnds::Crlf) => request.answer(),
            Some(LineEnds::Bare) | None => request.refuse_bare_line_feeds(),
        }
    });
    let mut connection = builder(heads).serve_connection(io, service);

    let mut patience = Patience::with(&activity, downstream, deadlines);
    let mut look = pin!(sleep_until(patience.first_look()));
    let phase = manner.phase.clone();
    let mut drain = pin!(manner.phase.reached(Phase::Draining));
    // Who wakes this task knows it from the first poll on. After that they are only asked when
    // they have something to say.
    let mut is_first = true;
    let ended = std::future::poll_fn(|cx| {
        let now = Instant::now();
        activity.tick(now);
        downstream.now.set(now);
        // First, so that an answer which is due in this very moment says so already.
        if !downstream.closing.get()
            && (is_first || phase.has_moved_on())
            && drain.as_mut().poll(cx).is_ready()
        {
            downstream.closing.set(true);
        }
        match connection.poll_without_shutdown(cx) {
            // hyper is done, but for what it has not written yet; it writes that when polled.
            Poll::Ready(Ok(())) if !activity.is_flushed() => {}
            Poll::Ready(Ok(())) => return Poll::Ready(Ended::Done),
            Poll::Ready(Err(error)) => return Poll::Ready(Ended::Broken(error)),
            Poll::Pending => {}
        }
        let is_idle = patience.observe(now);
        // With a body unread, hyper has yet to notice that nobody wants it, and closes then.
        if is_idle && downstream.closing.get() && !downstream.unread.get() {
            return Poll::Ready(Ended::Impatient(Spent::Pause));
        }
        let is_time = is_first || look.deadline() <= now;
        while is_time && look.as_mut().poll(cx).is_ready() {
            match patience.judge(Instant::now()) {
                Ok(again) => look.as_mut().reset(again),
                Err(spent) => return Poll::Ready(Ended::Impatient(spent)),
            }
        }
        is_first = false;
        Poll::Pending
    })
    .await;

    let was_in_head = activity.is_in_head();
    if let Ended::Broken(error) = &ended {
        debug!(peer = %downstream.peer, %error, "connection ended");
        note_refused_head(error, answer, downstream);
    }
    let parts = connection.into_parts();
    let (stream, unread) = parts.io.into_inner().into_parts(parts.read_buf);
    let stream = stream.into_inner();
    match ended {
        // What is unread without being part of a head is empty lines.
        Ended::Impatient(Spent::Pause) if !was_in_head => Turn::Idle(stream, Bytes::new()),
        Ended::Impatient(Spent::Pause) => Turn::Idle(stream, unread),
        // It was a request, and gets its event; a client that was merely slow should know.
        Ended::Impatient(Spent::Head) if was_in_head => {
            answer.unreadable(StatusCode::REQUEST_TIMEOUT, "head_timeout", downstream);
            Turn::Over(stream, REQUEST_TIMEOUT)
        }
        Ended::Impatient(Spent::Head) => Turn::Over(stream, b""),
        Ended::Impatient(Spent::Answer) => Turn::Cut,
        Ended::Done => match downstream.tunnels.take() {
            Some(tunnel) => Turn::Switched(stream, unread, tunnel),
            None => Turn::Over(stream, b""),
        },
        // An answer that broke off must not look as if it were whole: where its end is the end of
        // the connection (HTTP/1.0), only the missing close_notify tells.
        Ended::Broken(error) if error.is_user() => Turn::Cut,
        Ended::Broken(_) => Turn::Over(stream, b""),
    }
}

/// How hyper came to the end of its turn.
enum Ended {
    /// Something has lasted for too long, or there is nothing to do and no time to wait.
    Impatient(Spent),
    /// The connection is to be closed.
    Done,
    /// Something went wrong.
    Broken(hyper::Error),
}

fn builder(heads: HeadLimits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .header_read_timeout(None)
        .max_header_size(heads.bytes)
        // What hyper holds of an answer that the client does not take, too.
        .max_buf_size(heads.bytes.max(LEAST_BUFFER_BYTES));
    // Said outright, hyper would find room for them anew at every request.
    if heads.fields != HYPERS_FIELDS {
        builder.max_headers(heads.fields);
    }
    builder
}

/// A head that hyper refused got hyper's bare answer; it still is a request, and gets its event.
fn note_refused_head(error: &hyper::Error, answer: &Answer, downstream: &Downstream) {
    if error.is_parse_too_large() {
        answer.unreadable(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "head_too_large",
            downstream,
        );
    } else if error.is_parse() {
        answer.unreadable(StatusCode::BAD_REQUEST, "malformed_head", downstream);
    }
}

/// How a stream's wait for its next request ended.
enum Wait {
    /// With this byte.
    Goes(u8),
    /// With nothing, in time or at all.
    Ends,
    /// It was asked to go.
    GivesWay,
}

/// Holds an idle stream until a byte comes, or none came in time.
///
/// Once the drain has begun the time is short, but it is never cut off with a request unread: the
/// last thing before giving up is to look once more.
async fn park<S: AsyncRead + Unpin>(
    stream: &mut S,
    downstream: &Downstream,
    manner: &mut Manner,
) -> Wait {
    let (deadlines, phase) = (manner.deadlines, &mut manner.phase);
    let parked = manner.parking.park();
    let mut byte = [0];
    let mut drains = downstream.closing.get();
    let mut patience = if drains {
        deadlines.drain_idle
    } else {
        deadlines.idle
    };
    loop {
        let outcome = tokio::select! {
            biased;
            read = stream.read(&mut byte) => Some(read),
            () = parked.evicted() => return Wait::GivesWay,
            () = phase.reached(Phase::Draining), if !drains => None,
            () = sleep_until(Instant::now() + patience) => return Wait::Ends,
        };
        match outcome {
            Some(Ok(1)) => return Wait::Goes(byte[0]),
            Some(_) => return Wait::Ends,
            None => {
                drains = true;
                downstream.closing.set(true);
                patience = deadlines.drain_idle;
            }
        }
    }
}

/// Closes in the order of RFC 9112 §9.6: our side first, then what the client still sends is read
/// and thrown away for a moment. Closing at once would reset the connection and could destroy the
/// answer before the client has read it.
pub(super) async fn linger<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, last_word: &[u8]) {
    let _ = timeout(LINGER, async {
        stream.write_all(last_word).await?;
        stream.shutdown().await?;
        let mut budget = LINGER_BYTES;
        let mut discarded = [0; 8192];
        while budget > 0 {
            match stream.read(&mut discarded).await? {
                0 => break,
                length => budget = budget.saturating_sub(length),
            }
        }
        Ok::<_, std::io::Error>(())
    })
    .await;
}

/// How long hyper keeps an idle stream. Parking spares memory, taking back costs a little time;
/// a client that sends requests in a row should never pay it. A thousand new clients a second, each
/// with one request, are a thousand buffers less for each second that this is shorter.
pub(super) const PARK_AFTER: Duration = Duration::from_millis(250);

/// As many fields as hyper has room for of its own accord.
const HYPERS_FIELDS: usize = 100;

/// hyper refuses to do with less.
const LEAST_BUFFER_BYTES: usize = 8 * 1024;

/// hyper's buffer for reading, as far as bodies go: one record of TLS.
const READ_BUFFER_BYTES: usize = 16 * 1024;

/// How much is thrown away after the last answer: more than kernels have on the way, and than
/// most clients write before they read.
const LINGER_BYTES: usize = 32 * 1024 * 1024;

const REQUEST_TIMEOUT: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
