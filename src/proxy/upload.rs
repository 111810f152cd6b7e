//! A request's body as it comes from the client.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Version;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::timeout;

use super::downstream::Downstream;

/// Why there is no more of it.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The client broke the framing, or off.
    #[error(transparent)]
    Broken(#[from] hyper::Error),
    /// The stream ended before the body did (RFC 9113 §8.1).
    #[error("the stream ended before the body did")]
    CutOff,
}

/// The body of a request.
///
/// What nobody wants of one in an HTTP/2 stream is read and thrown away for a moment, as it is on
/// HTTP/1 before a connection is closed: there are clients that never look at an answer behind
/// which their upload is reset.
pub(super) struct Upload {
    /// Here until it is dropped.
    incoming: Option<Incoming>,
    /// The connection, if that has others beside it (HTTP/2).
    streams: Option<Rc<Downstream>>,
}

impl Upload {
    pub(super) fn new(incoming: Incoming, version: Version, downstream: &Rc<Downstream>) -> Self {
        Self {
            incoming: Some(incoming),
            streams: (version == Version::HTTP_2).then(|| downstream.clone()),
        }
    }

    /// Whether all of it has come: by its length, too. HTTP/2 may say that it is over in a frame of
    /// its own, which nobody waits for then.
    pub(super) fn is_whole(&self) -> bool {
        self.is_end_stream() || self.size_hint().exact() == Some(0)
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let is_in_stream = self.streams.is_some();
        let Some(incoming) = &mut self.incoming else {
            return Poll::Ready(None);
        };
        Poll::Ready(match ready!(Pin::new(&mut *incoming).poll_frame(cx)) {
            // hyper takes a stream that was reset without an error, or whose connection was, for
            // one that has ended.
            None if is_in_stream && !incoming.is_end_stream() => Some(Err(UploadError::CutOff)),
            frame => frame.map(|frame| Ok(frame?)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let incoming = self.incoming.as_ref();
        incoming.map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(downstream) = self.streams.take()
            && let Some(incoming) = self.incoming.take()
            && !incoming.is_end_stream()
        {
            // It ends by itself, and with the stream.
            tokio::task::spawn_local(timeout(PATIENCE, discard(incoming, downstream)));
        }
    }
}

async fn discard(mut incoming: Incoming, downstream: Rc<Downstream>) {
    let mut budget = DISCARDED_BYTES;
    while let Some(Ok(frame)) = incoming.frame().await {
        let length = frame.data_ref().map_or(0, Bytes::len);
        downstream.discarded(length);
        match budget.checked_sub(length) {
            Some(left) => budget = left,
            None => return,
        }
    }
}

/// How long a client may go on with what nobody wants: long enough for the answer to reach it.
const PATIENCE: Duration = Duration::from_secs(1);

/// How much it may send until then.
const DISCARDED_BYTES: usize = 32 * 1024 * 1024;
