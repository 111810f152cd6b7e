//! Bodies in transit: streamed, counted, never held back.

use std::cell::Cell;
use std::error::Error;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::exchange::Exchange;
use super::headers::{Announced, rewrite_response_trailers};
use super::portion::{Allowance, Backlog, Portion};
use super::upload::{Upload, UploadError};
use crate::pieces::Grant;
use crate::upstream::Lease;

/// What goes wrong with a body in transit.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The sender broke off, or broke the framing.
    #[error("the body broke off")]
    Broken(#[source] UploadError),
    /// It has lasted longer than it may.
    #[error("the answer has lasted too long")]
    TooOld,
    /// More came than the route allows.
    #[error("the body is larger than allowed")]
    TooLarge,
}

/// How far a request's body has come; shared between the body, which hyper drives, and the
/// exchange that waits for the answer.
#[derive(Debug)]
pub(super) struct Progress {
    state: Cell<State>,
    bytes: Cell<u64>,
    moved: Cell<Instant>,
}

/// Where a request's body stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// The upstream has not asked for more.
    Held,
    /// The upstream waits, and the client sends nothing.
    Awaited,
    /// All of it has gone through.
    Finished,
    /// The client broke it off or broke its framing.
    Broken,
    /// It grew beyond the limit.
    TooLarge,
}

impl Progress {
    pub(super) fn new(body: &Upload, now: Instant) -> Rc<Self> {
        let state = if body.is_whole() {
            State::Finished
        } else {
            State::Held
        };
        Rc::new(Self {
            state: Cell::new(state),
            bytes: Cell::new(0),
            moved: Cell::new(now),
        })
    }

    pub(super) fn state(&self) -> State {
        self.state.get()
    }

    /// The upstream wants more, and there is none: from now on it is the client's turn.
    fn await_more(&self) {
        if self.state.replace(State::Awaited) != State::Awaited {
            self.moved.set(Instant::now());
        }
    }

    /// So many bytes more have come, of something else than a body.
    pub(super) fn add(&self, bytes: u64) {
        self.bytes.set(self.bytes.get() + bytes);
    }

    /// How many bytes of it have come.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// When it last moved, or began to be awaited.
    pub(super) fn moved(&self) -> Instant {
        self.moved.get()
    }
}

/// A request's body on its way to the upstream.
pub struct RequestBody {
    upload: Upload,
    limit: Option<u64>,
    announced: Announced,
    progress: Rc<Progress>,
    /// From its first portion on.
    backlog: Option<Backlog>,
}

impl RequestBody {
    /// With no more than `limit` bytes and the trailer fields that were announced.
    pub(super) const fn new(
        upload: Upload,
        limit: Option<u64>,
        announced: Announced,
        progress: Rc<Progress>,
    ) -> Self {
        Self {
            upload,
            limit,
            announced,
            progress,
            backlog: None,
        }
    }

    fn passed(&self, data: &Bytes) -> Result<(), BodyError> {
        let progress = &self.progress;
        progress.bytes.set(progress.bytes.get() + data.len() as u64);
        progress.moved.set(Instant::now());
        if self.limit.is_some_and(|limit| progress.bytes.get() > limit) {
            progress.state.set(State::TooLarge);
            return Err(BodyError::TooLarge);
        }
        progress.state.set(if self.upload.is_whole() {
            State::Finished
        } else {
            State::Held
        });
        Ok(())
    }
}

impl Body for RequestBody {
    type Data = Portion;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Portion>, BodyError>>> {
        if let Some(backlog) = &self.backlog {
            ready!(backlog.poll_room(cx));
        }
        match Pin::new(&mut self.upload).poll_frame(cx) {
            Poll::Pending => {
                self.progress.await_more();
                Poll::Pending
            }
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(match frame.into_data() {
                Ok(mut data) => Some(self.passed(&data).map(|()| {
                    let backlog = self.backlog.get_or_insert_default();
                    // It is read in pieces that never become large.
                    Frame::data(backlog.portion(&mut data, None))
                })),
                Err(frame) => {
                    self.progress.state.set(State::Finished);
                    let trailers = frame.into_trailers().unwrap_or_default();
                    self.announced.of(trailers).map(Frame::trailers).map(Ok)
                }
            }),
            Poll::Ready(Some(Err(error))) => {
                self.progress.state.set(State::Broken);
                Poll::Ready(Some(Err(BodyError::Broken(error))))
            }
            Poll::Ready(None) => {
                self.progress.state.set(State::Finished);
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.upload.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.upload.size_hint()
    }
}

/// Where an answer's bytes come from.
pub(super) enum Source {
    /// Nowhere.
    Empty,
    /// From us.
    Own(Bytes),
    /// From the upstream; the connection goes back to the pool after the last byte.
    Upstream {
        incoming: Incoming,
        lease: Option<Lease<RequestBody>>,
    },
}

impl Source {
    /// Whether it comes out of a large buffer.
    pub(super) fn is_large(&self) -> bool {
        self.for_piece().is_some()
    }

    /// What to hold as long as there is something of the piece that came last.
    fn for_piece(&self) -> Option<Grant> {
        match self {
            Self::Upstream { lease, .. } => lease.as_ref()?.for_piece(),
            Self::Empty | Self::Own(_) => None,
        }
    }
}

impl From<String> for Source {
    fn from(text: String) -> Self {
        Self::Own(text.into())
    }
}

/// An answer's body on its way to the client. It carries the exchange along, whose event is
/// written when the body is dropped: after its last byte, or when the client has gone.
pub struct ResponseBody {
    source: Source,
    /// What has come of it and was not handed over.
    rest: Bytes,
    /// Where the connection has other answers under way.
    backlog: Option<Backlog>,
    /// None for the head of a tunnel, which is told of when the tunnel has ended.
    exchange: Option<Box<Exchange>>,
}

impl ResponseBody {
    /// With what it may hold, if it shares that with the connection's other answers.
    pub(super) fn new(
        source: Source,
        exchange: Box<Exchange>,
        allowance: Option<&Allowance>,
    ) -> Self {
        let mut body = Self {
            source,
            rest: Bytes::new(),
            backlog: allowance.map(Backlog::sharing),
            exchange: Some(exchange),
        };
        if let (Some(backlog), Some(exchange)) = (&body.backlog, &body.exchange) {
            exchange.delivered_through(backlog);
        }
        if body.is_end_stream() {
            body.finish(Instant::now());
        }
        body
    }

    /// None at all.
    pub(super) const fn none() -> Self {
        Self {
            source: Source::Empty,
            rest: Bytes::new(),
            backlog: None,
            exchange: None,
        }
    }

    /// The last byte has been handed over.
    fn finish(&mut self, now: Instant) {
        let Some(exchange) = &mut self.exchange else {
            return;
        };
        exchange.completed(now);
        if let Source::Upstream { lease, .. } = &mut self.source
            && let Some(lease) = lease.take()
            && exchange.request_finished()
        {
            lease.give_back(now);
        }
    }

    /// Hands over what has come, or as much of it as there is room for.
    fn hand_over(&mut self, now: Instant) -> Portion {
        // Before the connection goes to the next request, who has what it has.
        let grant = self.source.for_piece();
        let portion = match &self.backlog {
            None => Portion::uncounted(std::mem::take(&mut self.rest), grant),
            Some(backlog) => backlog.portion(&mut self.rest, grant),
        };
        if let Some(exchange) = &mut self.exchange {
            exchange.sent(portion.remaining(), now);
        }
        if self.is_end_stream() {
            self.finish(now);
        }
        portion
    }

    /// Ready once the client has taken enough of what was handed over.
    fn poll_room(&mut self, cx: &Context<'_>) -> Poll<()> {
        let backlog = self.backlog.as_ref();
        let room = backlog.map_or(Poll::Ready(()), |backlog| backlog.poll_room(cx));
        match &mut self.exchange {
            Some(exchange) if room.is_ready() => exchange.asked(),
            Some(exchange) => exchange.held_back(),
            None => {}
        }
        room
    }

    /// What comes next from where it comes from.
    fn poll_source(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.source {
            Source::Empty => Poll::Ready(None),
            Source::Own(bytes) => {
                let data = std::mem::take(bytes);
                self.source = Source::Empty;
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Source::Upstream { incoming, .. } => Pin::new(incoming).poll_frame(cx),
        }
    }
}

impl Body for ResponseBody {
    type Data = Portion;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Portion>, Self::Error>>> {
        ready!(self.poll_room(cx));
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(self.hand_over(Instant::now())))));
        }
        let frame = ready!(self.poll_source(cx));
        let now = Instant::now();
        let exchange = self.exchange.as_mut();
        Poll::Ready(match frame {
            Some(Ok(_)) if exchange.is_some_and(|exchange| exchange.is_too_old(now)) => {
                Some(Err(BodyError::TooOld.into()))
            }
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    self.rest = data;
                    Some(Ok(Frame::data(self.hand_over(now))))
                }
                Err(frame) => {
                    self.finish(now);
                    let trailers = frame.into_trailers().unwrap_or_default();
                    rewrite_response_trailers(trailers)
                        .map(Frame::trailers)
                        .map(Ok)
                }
            },
            Some(Err(error)) => {
                if let Some(exchange) = &mut self.exchange {
                    exchange.broke_off();
                }
                Some(Err(error.into()))
            }
            None => {
                self.finish(now);
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
            && match &self.source {
                Source::Empty => true,
                Source::Own(bytes) => bytes.is_empty(),
                Source::Upstream { incoming, .. } => incoming.is_end_stream(),
            }
    }

    /// Of what has not been asked for. hyper wants to know before it asks for any.
    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Empty => SizeHint::with_exact(0),
            Source::Own(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Upstream { incoming, .. } => incoming.size_hint(),
        }
    }
}
