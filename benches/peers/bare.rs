//! A proxy that does nothing but proxy: hyper, rustls and tokio with their own defaults, one thread,
//! kept connections to one upstream, and no checks, limits, log or metrics. It lets everybody in.
//!
//! It tells what the libraries cost, and so what jotgate's own work does:
//!
//! ```console
//! $ bare LISTEN UPSTREAM CERTIFICATE KEY
//! ```

use std::cell::RefCell;
use std::env;
use std::error::Error;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST, HeaderValue};
use http::{Request, Response, Version};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::server::conn;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::LocalOptions;
use tokio::task::spawn_local;
use tokio_rustls::TlsAcceptor;

type Anything = Box<dyn Error + Send + Sync>;
type Kept = Rc<RefCell<Vec<SendRequest<Incoming>>>>;

fn main() -> Result<(), Anything> {
    let [listen, upstream, certificate, key] =
        env::args()
            .skip(1)
            .collect::<Vec<_>>()
            .try_into()
            .map_err(|_| "usage: bare LISTEN UPSTREAM CERTIFICATE KEY")?;
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<_, _>>()?;
    let mut tls = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let (listen, upstream) = (listen.parse::<SocketAddr>()?, upstream.parse()?);
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())?
        .block_on(async {
            let listener = TcpListener::bind(listen).await?;
            let kept = Kept::default();
            loop {
                let (stream, _) = listener.accept().await?;
                // Whoever goes away has gone; that is no error.
                let serve = serve(stream, acceptor.clone(), upstream, Rc::clone(&kept));
                spawn_local(async { serve.await.ok() });
            }
        })
}

/// One connection of a client's.
async fn serve(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    upstream: SocketAddr,
    kept: Kept,
) -> Result<(), Anything> {
    stream.set_nodelay(true)?;
    let stream = acceptor.accept(stream).await?;
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let service = service_fn(|request| forward(request, upstream, Rc::clone(&kept)));
    let stream = TokioIo::new(stream);
    if is_http2 {
        let server = conn::http2::Builder::new(Local);
        server.serve_connection(stream, service).await?;
    } else {
        let server = conn::http1::Builder::new();
        server.serve_connection(stream, service).await?;
    }
    Ok(())
}

/// One request: what a proxy changes in it at least, and on with it.
async fn forward(
    mut request: Request<Incoming>,
    upstream: SocketAddr,
    kept: Kept,
) -> Result<Response<Answer>, Anything> {
    let path = request
        .uri()
        .path_and_query()
        .map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse()?;
    *request.version_mut() = Version::HTTP_11;
    let headers = request.headers_mut();
    headers.remove(AUTHORIZATION);
    headers.insert(HOST, HeaderValue::from_static("app.test"));
    headers.insert("x-auth-subject", HeaderValue::from_static("alice"));
    let mut sender = connection(upstream, &kept).await?;
    sender.ready().await?;
    let (head, incoming) = sender.send_request(request).await?.into_parts();
    let answer = Answer {
        incoming,
        connection: Some((sender, kept)),
    };
    Ok(Response::from_parts(head, answer))
}

/// One that has been kept, or a new one.
async fn connection(upstream: SocketAddr, kept: &Kept) -> Result<SendRequest<Incoming>, Anything> {
    loop {
        let last = kept.borrow_mut().pop();
        match last {
            Some(sender) if sender.is_closed() => {}
            Some(sender) => return Ok(sender),
            None => break,
        }
    }
    let stream = TcpStream::connect(upstream).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    spawn_local(async { connection.await.ok() });
    Ok(sender)
}

/// The upstream's body, which gives the connection back at its end.
struct Answer {
    incoming: Incoming,
    connection: Option<(SendRequest<Incoming>, Kept)>,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.incoming).poll_frame(context));
        if frame.is_none() {
            self.give_back();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Answer {
    fn give_back(&mut self) {
        if let Some((sender, kept)) = self.connection.take() {
            kept.borrow_mut().push(sender);
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if self.incoming.is_end_stream() {
            self.give_back();
        }
    }
}

/// Everything runs on the one thread there is.
#[derive(Clone)]
struct Local;

impl<F: Future + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        spawn_local(future);
    }
}
