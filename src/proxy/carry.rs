//! The bytes of a tunnel in both directions, until either side, the clock or the drain ends it.

use std::cell::Cell;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Buf;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::time::{Instant, sleep_until, timeout};

use super::Portion;
use super::gate::{Gate, Gated};
use super::tunnel::End;
use super::websocket::close_frame;

/// What has passed.
pub(super) struct Passed {
    to_upstream: Cell<u64>,
    to_client: Cell<u64>,
    last: Cell<Instant>,
}

impl Passed {
    /// Nothing yet.
    pub(super) fn nothing() -> Self {
        Self {
            to_upstream: Cell::new(0),
            to_client: Cell::new(0),
            last: Cell::new(Instant::now()),
        }
    }

    /// How many bytes went to the upstream, and how many to the client.
    pub(super) fn bytes(&self) -> (u64, u64) {
        (self.to_upstream.get(), self.to_client.get())
    }

    fn note(&self, counter: &Cell<u64>, length: usize) {
        counter.set(counter.get() + length as u64);
        self.last.set(Instant::now());
    }
}

/// What may end a tunnel beside its two sides.
pub(super) struct Limits {
    pub(super) is_websocket: bool,
    pub(super) idle_timeout: Duration,
    pub(super) max_age: Duration,
}

impl Limits {
    /// Carries what passes, to the end. Each side comes with what was read of it already. The
    /// client's is returned with our direction closed.
    pub(super) async fn carry<C, U>(
        &self,
        (client_unread, client): (Portion, C),
        (upstream_unread, upstream): (Portion, U),
        passed: &Passed,
        draining: impl Future<Output = ()>,
    ) -> (End, C)
    where
        C: AsyncRead + AsyncWrite + Unpin,
        U: AsyncRead + AsyncWrite + Unpin,
    {
        let (mut client_read, client_write) = split(client);
        let (mut upstream_read, mut upstream_write) = split(upstream);
        let gate = Gate::default();
        let mut client_write = Gated {
            stream: client_write,
            gate: &gate,
        };
        let end = {
            let from_client = (client_unread, &mut client_read);
            let upwards = pin!(pump(from_client, &mut upstream_write, |length| {
                passed.note(&passed.to_upstream, length);
            }));
            let mut upwards = Direction::new(upwards);
            let end = {
                let from_upstream = (upstream_unread, &mut upstream_read);
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
            end
        };
        let _ = timeout(NOTICE, client_write.stream.shutdown()).await;
        (end, client_read.unsplit(client_write.stream))
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
        let mut end = End::Closed;
        std::future::poll_fn(|cx| {
            match upwards.poll(cx) {
                Ok(()) => {}
                Err(Broken::Source) => return Poll::Ready(End::ClientGone),
                // What it said before that is still for the client.
                Err(Broken::Sink) => end = End::UpstreamGone,
            }
            match downwards.poll(cx) {
                Ok(()) => {}
                Err(Broken::Source) => return Poll::Ready(End::UpstreamGone),
                Err(Broken::Sink) => return Poll::Ready(End::ClientGone),
            }
            // A WebSocket's server closes first (RFC 6455 §7.1.1), and then it is over.
            if downwards.is_over && (upwards.is_over || self.is_websocket) {
                return Poll::Ready(end);
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

/// Carries one direction to its end, and passes the end on: first what was read already, which is
/// then let go. What the other side does not take is not read.
async fn pump<R, W>(
    (mut unread, from): (Portion, &mut R),
    to: &mut W,
    note: impl Fn(usize),
) -> Result<(), Broken>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    while unread.has_remaining() {
        // No more at once than later: a stream of HTTP/2 copies what it is given.
        let length = unread.remaining().min(BUFFER_BYTES);
        note(length);
        hand_over(&unread.chunk()[..length], to).await?;
        unread.advance(length);
    }
    drop(unread);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let length = from.read(&mut buffer).await.map_err(|_| Broken::Source)?;
        if length == 0 {
            return to.shutdown().await.map_err(|_| Broken::Sink);
        }
        note(length);
        hand_over(&buffer[..length], to).await?;
    }
}

async fn hand_over<W: AsyncWrite + Unpin>(bytes: &[u8], to: &mut W) -> Result<(), Broken> {
    let written = async {
        to.write_all(bytes).await?;
        to.flush().await
    };
    written.await.map_err(|_| Broken::Sink)
}

/// As large as a TLS record.
const BUFFER_BYTES: usize = 16 * 1024;

/// How long a last word may take.
const NOTICE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::future::pending;

    use bytes::Bytes;
    use tokio::io::duplex;

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    fn said(length: u32) -> Vec<u8> {
        (0..length)
            .map(|n| (n.wrapping_mul(n) >> 7) as u8)
            .collect()
    }

    #[tokio::test]
    async fn what_an_upstream_said_before_it_went_reaches_a_client_that_still_talks_to_it() {
        let (client, mut theirs) = duplex(16);
        let (upstream, mut other) = duplex(64 * 1024);
        let said = said(50_000);
        let (early, late) = said.split_at(20_000);
        other.write_all(late).await.unwrap();
        drop(other);
        let limits = Limits {
            is_websocket: true,
            idle_timeout: LONG,
            max_age: LONG,
        };
        let passed = Passed::nothing();
        let client = (Bytes::new().into(), client);
        let upstream = (Bytes::copy_from_slice(early).into(), upstream);
        let talk = async {
            theirs.write_all(b"still there?").await.unwrap();
            let mut heard = Vec::new();
            theirs.read_to_end(&mut heard).await.unwrap();
            heard
        };
        let carried = limits.carry(client, upstream, &passed, pending());
        let ((end, _client), heard) = tokio::join!(carried, talk);
        assert!(heard == said);
        assert_eq!((end, passed.bytes()), (End::UpstreamGone, (12, 50_000)));
    }

    #[tokio::test]
    async fn what_was_read_already_is_handed_over_in_pieces_and_counted_when_it_is() {
        let (mut to, _theirs) = duplex(100);
        let (mut from, first) = (tokio::io::empty(), Bytes::from(said(100_000)));
        let counted = Cell::new(0);
        let count = |length| counted.set(counted.get() + length);
        let stuck = pump((first.clone().into(), &mut from), &mut to, count);
        assert!(timeout(Duration::ZERO, stuck).await.is_err());
        assert_eq!(counted.get(), BUFFER_BYTES);
        let (mut sink, fits) = (tokio::io::sink(), |length| assert!(length <= BUFFER_BYTES));
        let whole = pump((first.into(), &mut from), &mut sink, fits);
        assert!(whole.await.is_ok());
    }
}
