//! Who answers the requests of a connection: the gateway, the redirect to it, or the admin.

use std::convert::Infallible;
use std::error::Error;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;

use crate::admin::{self, AdminState};
use crate::proxy::{self, Downstream, ResponseBody, Worker};

/// What a listener does with requests.
#[derive(Clone)]
pub(super) enum Answer {
    /// Forwards them, if they may pass.
    Forward(Rc<Worker>),
    /// Sends the client to https.
    Redirect(Rc<Worker>),
    /// Tells the operator.
    Admin(Arc<AdminState>),
}

impl Answer {
    pub(super) async fn to(
        &self,
        request: Request<Incoming>,
        downstream: &Rc<Downstream>,
    ) -> Result<Response<AnswerBody>, Infallible> {
        Ok(match self {
            Self::Forward(worker) => proxy::handle(request, downstream, worker)
                .await
                .map(AnswerBody::Proxy),
            Self::Redirect(worker) => proxy::redirect(request, downstream, worker)
                .await
                .map(AnswerBody::Proxy),
            Self::Admin(state) => {
                admin::respond(request.method(), request.uri().path(), state).map(AnswerBody::Admin)
            }
        })
    }

    /// Answers a request whose head has lines that end with LF alone.
    pub(super) async fn to_bare_line_feeds(
        &self,
        request: Request<Incoming>,
        downstream: &Rc<Downstream>,
    ) -> Result<Response<AnswerBody>, Infallible> {
        match self {
            Self::Forward(worker) | Self::Redirect(worker) => {
                let refusal = proxy::refuse_bare_line_feeds(request, downstream, worker);
                Ok(refusal.map(AnswerBody::Proxy))
            }
            // Nothing is forwarded, so nobody can read it another way.
            Self::Admin(_) => self.to(request, downstream).await,
        }
    }

    /// Notes a request whose head hyper itself refused; `status` is what it said.
    pub(super) fn unreadable(&self, status: StatusCode, reason: &'static str, to: &Downstream) {
        match self {
            Self::Forward(worker) | Self::Redirect(worker) => {
                proxy::note_unreadable(status, reason, to, worker);
            }
            Self::Admin(_) => {}
        }
    }
}

/// An answer's body. Nearly all are the proxy's, so boxing that one would cost and spare nothing.
#[expect(
    clippy::large_enum_variant,
    reason = "the large variant is the usual one"
)]
pub(super) enum AnswerBody {
    Proxy(ResponseBody),
    Admin(Full<Bytes>),
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Self::Proxy(body) => Pin::new(body).poll_frame(cx),
            Self::Admin(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Proxy(body) => body.is_end_stream(),
            Self::Admin(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Proxy(body) => body.size_hint(),
            Self::Admin(body) => body.size_hint(),
        }
    }
}
