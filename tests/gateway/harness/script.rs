//! An upstream whose every connection does what the test says, byte by byte.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// The upstream; its connections end with it.
pub struct Script {
    pub address: SocketAddr,
    connections: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Script {
    /// Plays `play` on each connection.
    pub async fn start<F, R>(play: F) -> Self
    where
        F: Fn(Line) -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicU64::new(0));
        let counter = connections.clone();
        let task = tokio::spawn(async move {
            let mut tasks = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::Relaxed);
                tasks.spawn(play(Line {
                    stream,
                    buffer: Vec::new(),
                }));
            }
        });
        Self {
            address,
            connections,
            task,
        }
    }

    /// `http://…` for `to`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many connections have been made.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The gateway on the line.
pub struct Line {
    pub stream: TcpStream,
    buffer: Vec<u8>,
}

impl Line {
    /// The next bytes up to and including an end; `None` if the gateway closes before.
    pub async fn until(&mut self, end: &[u8]) -> Option<String> {
        loop {
            if let Some(at) = self
                .buffer
                .windows(end.len())
                .position(|window| window == end)
            {
                let bytes = self.buffer.drain(..at + end.len()).collect();
                return Some(String::from_utf8(bytes).unwrap());
            }
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// The head of the next request.
    pub async fn head(&mut self) -> Option<String> {
        self.until(b"\r\n\r\n").await
    }

    /// Sends bytes; whether anybody was there to take them.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).await.is_ok()
    }

    /// Everything that comes until the gateway closes.
    pub async fn rest(&mut self) -> Vec<u8> {
        while matches!(self.stream.read_buf(&mut self.buffer).await, Ok(length) if length > 0) {}
        std::mem::take(&mut self.buffer)
    }
}
