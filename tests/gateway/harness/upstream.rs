//! An upstream that records every byte it gets and answers as it is told.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::H1;
use super::gateway::PATIENCE;

/// One request as it arrived.
#[derive(Debug, Clone)]
pub struct Received {
    pub line: String,
    /// In order, names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Received {
    /// Every value of a field.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers
            .iter()
            .filter(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
            .collect()
    }

    /// The only value of a field; `None` if there is none. More than one fails the test.
    pub fn one(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(
            all.len() <= 1,
            "{name} arrived {} times: {all:?}",
            all.len()
        );
        all.first().copied()
    }
}

type Responder = Arc<dyn Fn(&Received) -> Vec<u8> + Send + Sync>;

/// The upstream; its tasks end with it.
pub struct Upstream {
    pub address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    bytes: Arc<AtomicU64>,
    connections: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Upstream {
    /// One that answers everything with `200 ok`.
    pub async fn start() -> Self {
        Self::answering(|_| b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec()).await
    }

    /// One that answers with these bytes; a `connection: close` in them closes the connection.
    pub async fn answering(respond: impl Fn(&Received) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let bytes = Arc::new(AtomicU64::new(0));
        let connections = Arc::new(AtomicU64::new(0));
        let respond: Responder = Arc::new(respond);
        let task = tokio::spawn({
            let (received, bytes, connections) =
                (received.clone(), bytes.clone(), connections.clone());
            async move {
                let mut tasks = tokio::task::JoinSet::new();
                while let Ok((stream, _)) = listener.accept().await {
                    connections.fetch_add(1, Ordering::Relaxed);
                    tasks.spawn(serve(
                        stream,
                        received.clone(),
                        bytes.clone(),
                        respond.clone(),
                    ));
                }
            }
        });
        Self {
            address,
            received,
            bytes,
            connections,
            task,
        }
    }

    /// `http://…` for `to`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Everything that has arrived whole.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// The only request that has arrived.
    pub fn only(&self) -> Received {
        let received = self.received();
        assert_eq!(received.len(), 1, "{received:#?}");
        received[0].clone()
    }

    /// How many bytes have arrived, of whatever.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// How many connections have been made.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An upstream whose part the test plays itself, word by word.
pub struct Stage {
    listener: TcpListener,
}

impl Stage {
    pub async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { listener }
    }

    /// `http://…` for `to`.
    pub fn url(&self) -> String {
        format!("http://{}", self.listener.local_addr().unwrap())
    }

    /// The gateway's next connection.
    pub async fn enter(&self) -> H1<TcpStream> {
        let accepted = timeout(PATIENCE, self.listener.accept());
        H1::over(accepted.await.expect("nobody came").unwrap().0)
    }
}

async fn serve(
    mut stream: TcpStream,
    received: Arc<Mutex<Vec<Received>>>,
    bytes: Arc<AtomicU64>,
    respond: Responder,
) {
    let mut buffer = Vec::new();
    loop {
        let Some(end) = fill_until(&mut stream, &mut buffer, &bytes, b"\r\n\r\n").await else {
            return;
        };
        let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
        buffer.drain(..end);
        let mut lines = head.trim_end().split("\r\n");
        let line = lines.next().unwrap_or_default().to_owned();
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let field = |name: &str| {
            headers
                .iter()
                .find(|(n, _)| n == name)
                .map(|(_, v)| v.clone())
        };
        let body = if let Some(length) = field("content-length") {
            let length: usize = length.parse().unwrap();
            while buffer.len() < length {
                if !fill(&mut stream, &mut buffer, &bytes).await {
                    return;
                }
            }
            buffer.drain(..length).collect()
        } else if field("transfer-encoding").is_some() {
            match chunked(&mut stream, &mut buffer, &bytes).await {
                Some(body) => body,
                None => return,
            }
        } else {
            Vec::new()
        };
        let request = Received {
            line,
            headers,
            body,
        };
        let answer = respond(&request);
        received.lock().unwrap().push(request);
        if stream.write_all(&answer).await.is_err() {
            return;
        }
        if String::from_utf8_lossy(&answer)
            .to_ascii_lowercase()
            .contains("connection: close")
        {
            return;
        }
    }
}

async fn chunked(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    bytes: &AtomicU64,
) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = fill_until(stream, buffer, bytes, b"\r\n").await?;
        let line = String::from_utf8_lossy(&buffer[..end - 2]).into_owned();
        let size = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
        buffer.drain(..end);
        while buffer.len() < size + 2 {
            if !fill(stream, buffer, bytes).await {
                return None;
            }
        }
        body.extend(buffer.drain(..size));
        buffer.drain(..2);
        if size == 0 {
            return Some(body);
        }
    }
}

async fn fill_until(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    bytes: &AtomicU64,
    end: &[u8],
) -> Option<usize> {
    loop {
        if let Some(at) = buffer.windows(end.len()).position(|window| window == end) {
            return Some(at + end.len());
        }
        if !fill(stream, buffer, bytes).await {
            return None;
        }
    }
}

async fn fill(stream: &mut TcpStream, buffer: &mut Vec<u8>, bytes: &AtomicU64) -> bool {
    match stream.read_buf(buffer).await {
        Ok(0) | Err(_) => false,
        Ok(length) => {
            bytes.fetch_add(length as u64, Ordering::Relaxed);
            true
        }
    }
}
