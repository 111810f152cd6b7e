//! What clients can make the gateway hold.

use std::sync::Arc;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::ext::Protocol;
use http::Request;
use rustls::pki_types::ServerName;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;
use tokio::sync::{Barrier, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::harness::{H1, PATIENCE, Process, Script, Start, Upstream, connector};

const PUBLIC: &str = "GET /public/x HTTP/1.1\r\nHost: localhost\r\n\r\n";

async fn connect(process: &Process) -> H1 {
    H1::connect_to(process.https, &process.authority, Some("localhost")).await
}

async fn works(client: &mut H1) {
    client.send(PUBLIC).await;
    assert_eq!(client.answer().await.status, 200);
}

/// Waits until it holds no more file descriptors than before a flood, but for the few that the
/// question itself takes.
async fn lets_go(process: &Process, before: usize) {
    let gone = async {
        while process.descriptors() > before + 4 {
            let mut operator = H1::plain(process.admin).await;
            operator.get("/livez", &[]).await;
        }
    };
    let kept = || process.descriptors();
    timeout(PATIENCE, gone)
        .await
        .unwrap_or_else(|_| panic!("{} of {before} descriptors are kept", kept()));
}

/// What is sent without end, by whom.
#[derive(Debug, Clone, Copy)]
enum Flood {
    Downloads,
    Uploads,
}

/// The most memory that each of many bodies takes while its receiver takes nothing of it, until
/// the gateway gives it up.
async fn each_takes(flood: Flood) -> u64 {
    const CROWD: usize = 100;
    let upstream = Script::start(move |mut line| async move {
        while let Some(head) = line.head().await {
            if head.contains(" /public/x ") {
                line.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                    .await;
                continue;
            }
            match flood {
                Flood::Uploads => std::future::pending().await,
                Flood::Downloads => {
                    line.send("HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n")
                        .await;
                    while line.send(vec![b'x'; 64 * 1024]).await {}
                    return;
                }
            }
        }
    })
    .await;
    let to = upstream.url();
    let start = Start::routes(&format!(
        "[[route]]\npath = \"/public/\"\nto = \"{to}\"\nauth = \"public\"\ntimeout = \"2s\"\n"
    ));
    let process = Process::start(start.extra("[limits]\nbody_timeout = \"2s\"\n"), "info");
    let descriptors = process.descriptors();
    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        let mut client = connect(&process).await;
        works(&mut client).await;
        crowd.push(client);
    }
    let before = process.resident();
    let mut busy = JoinSet::new();
    for mut client in crowd {
        busy.spawn(async move {
            match flood {
                Flood::Downloads => {
                    client.send(PUBLIC.replace("/x", "/flood")).await;
                }
                Flood::Uploads => {
                    let head = "POST /public/flood HTTP/1.1\r\nHost: localhost\r\n";
                    client
                        .send(format!("{head}Content-Length: 1000000000\r\n\r\n"))
                        .await;
                    let block = vec![b'x'; 64 * 1024];
                    while client.stream.write_all(&block).await.is_ok() {}
                }
            }
            client
        });
    }
    let reasons = match flood {
        Flood::Downloads => &["client_stalled"][..],
        // Where clients have few turns, it may be they whom it waits for.
        Flood::Uploads => &["upstream_timeout", "body_timeout"],
    };
    let all_given_up = tokio::task::spawn_blocking(move || {
        for _ in 0..CROWD {
            let line = process.wait_for("/public/flood");
            let is_known = reasons.iter().any(|reason| line.contains(reason));
            assert!(is_known, "{line}");
        }
        process
    });
    let process = all_given_up.await.unwrap();
    busy.shutdown().await;
    lets_go(&process, descriptors).await;
    (process.peak() - before) / CROWD as u64
}

#[tokio::test]
async fn p16_an_answer_that_nobody_reads_takes_little() {
    let each = each_takes(Flood::Downloads).await;
    println!("{each} bytes for each answer that nobody reads");
    assert!(each <= 224 * 1024, "{each} bytes each");
}

#[tokio::test]
async fn p20_an_upload_that_nobody_reads_takes_little() {
    let each = each_takes(Flood::Uploads).await;
    println!("{each} bytes for each upload that nobody reads");
    assert!(each <= 176 * 1024, "{each} bytes each");
}

/// A client of HTTP/2 with open windows. What comes it throws away, until it is told to stop: then
/// it reads no more.
async fn wide_open(process: &Process) -> (SendRequest<Bytes>, oneshot::Sender<()>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    let stream = socket.connect(process.https).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let tls = connector(&process.authority, &[b"h2"]);
    let (client, mut connection) = h2::client::Builder::new()
        .initial_window_size(1 << 30)
        .initial_connection_window_size(1 << 30)
        .handshake(tls.connect(name, stream).await.unwrap())
        .await
        .unwrap();
    let (stop, stopped) = oneshot::channel();
    tokio::spawn(async move {
        tokio::select! {
            ended = &mut connection => panic!("it ended: {ended:?}"),
            _ = stopped => std::future::pending().await,
        }
    });
    (client, stop)
}

#[tokio::test]
async fn t117_answers_that_nobody_reads_take_little_however_many_there_are() {
    // Short enough for the upstream to be done with it, if somebody takes it.
    const BYTES: usize = 90_000;
    const CROWD: usize = 5;
    const STREAMS: usize = 100;
    let (asked, mut all_asked) = mpsc::channel(CROWD * STREAMS);
    let (flood, flooded) = watch::channel(());
    let upstream = Script::start(move |mut line| {
        let (asked, mut flooded) = (asked.clone(), flooded.clone());
        async move {
            while line.head().await.is_some() {
                asked.send(()).await.unwrap();
                let _ = flooded.changed().await;
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {BYTES}\r\n\r\n");
                line.send([head.as_bytes(), &[b'x'; BYTES]].concat()).await;
            }
        }
    })
    .await;
    let to = upstream.url();
    let start = Start::routes(&format!(
        "[[route]]\npath = \"/public/\"\nto = \"{to}\"\nauth = \"public\"\n"
    ));
    let limits = "[limits]\nheader_timeout = \"1s\"\nbody_timeout = \"1s\"\n";
    let process = Process::start(start.extra(limits), "info");
    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        let (mut client, stop) = wide_open(&process).await;
        for _ in 0..STREAMS {
            client = client.ready().await.unwrap();
            let request = Request::get("https://localhost/public/flood").body(());
            let (answer, _) = client.send_request(request.unwrap(), true).unwrap();
            tokio::spawn(answer);
            timeout(PATIENCE, all_asked.recv()).await.unwrap();
        }
        stop.send(()).unwrap();
        crowd.push(client);
    }
    let before = process.resident();
    flood.send(()).unwrap();
    let all_over = tokio::task::spawn_blocking(move || {
        for _ in 0..CROWD * STREAMS {
            process.wait_for("/public/flood");
        }
        process
    });
    let process = all_over.await.unwrap();
    let each = (process.peak() - before) / (CROWD * STREAMS) as u64;
    println!("{each} bytes for each of a hundred answers that nobody reads");
    assert!(each <= 40 * 1024, "{each} bytes each");
}

/// What an upstream says to the small requests of a client that reads no more, with all there is to
/// such an answer.
#[derive(Debug, Clone, Copy)]
enum Head {
    Answer,
    Switch,
}

impl Head {
    fn to(self, request: &str) -> String {
        match self {
            Self::Answer => "HTTP/1.1 200 OK\r\nx-some: value\r\ncontent-length: 0\r\n\r\n".into(),
            Self::Switch => {
                let mut lines = request.lines();
                let key = lines.find_map(|line| line.strip_prefix("sec-websocket-key: "));
                let accept = derive_accept_key(key.unwrap().as_bytes());
                format!(
                    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\
                     upgrade: websocket\r\nx-some: value\r\nsec-websocket-accept: {accept}\r\n\r\nearly"
                )
            }
        }
    }

    fn request(self) -> Request<()> {
        let request = match self {
            Self::Answer => Request::get("https://localhost/public/small"),
            Self::Switch => Request::connect("https://localhost/public/small")
                .header("sec-websocket-version", "13")
                .extension(Protocol::from_static("websocket")),
        };
        request.body(()).unwrap()
    }
}

/// Has connections to the upstream become large, sends such heads on them to a client of HTTP/2
/// that takes nothing any more, and waits until what they came in is gone.
async fn leave_large_buffers(head: Head) {
    const CROWD: usize = 16;
    const LARGE: usize = 16 << 20;
    let (asked, mut all_asked) = mpsc::channel(CROWD + 1);
    let (go_on, may_go_on) = watch::channel(0);
    let all_there = Arc::new(Barrier::new(CROWD));
    let upstream = Script::start(move |mut line| {
        let (asked, mut may_go_on) = (asked.clone(), may_go_on.clone());
        let all_there = all_there.clone();
        async move {
            while let Some(request) = line.head().await {
                let (turn, length) = if request.contains(" /public/large ") {
                    all_there.wait().await;
                    (0, LARGE)
                } else if request.contains(" /public/flood ") {
                    (1, 1 << 20)
                } else if request.contains(" /public/small ") {
                    (2, 0)
                } else {
                    (0, 0)
                };
                if turn > 0 {
                    asked.send(()).await.unwrap();
                    may_go_on.wait_for(|now| *now >= turn).await.unwrap();
                }
                if turn == 2 {
                    line.send(head.to(&request)).await;
                    continue;
                }
                line.send(format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n"
                ))
                .await;
                line.send(vec![b'x'; length]).await;
            }
        }
    })
    .await;
    let to = upstream.url();
    let start = Start::routes(&format!(
        "[[route]]\npath = \"/public/\"\nto = \"{to}\"\nauth = \"public\"\nupgrade = true\n"
    ));
    let server = "[upstream]\nkeepalive = \"1h\"\n[server]\nworkers = 1\n";
    let process = Process::start_with_plain_allocator(start.extra(server), "info");

    let (client, stop) = wide_open(&process).await;
    let mut client = client.ready().await.unwrap();
    let first = Request::get("https://localhost/public/x").body(()).unwrap();
    let (answer, _) = client.send_request(first, true).unwrap();
    assert_eq!(answer.await.unwrap().status(), 200);
    let flood = Request::get("https://localhost/public/flood").body(());
    let mut streams = vec![client.send_request(flood.unwrap(), true).unwrap()];
    timeout(PATIENCE, all_asked.recv()).await.unwrap();

    let mut downloads = JoinSet::new();
    for _ in 0..CROWD {
        let mut download = connect(&process).await;
        downloads.spawn(async move {
            download.send(PUBLIC.replace("/x", "/large")).await;
            let answer = download.answer().await;
            assert_eq!(answer.body.len(), LARGE);
        });
    }
    while let Some(downloaded) = downloads.join_next().await {
        downloaded.unwrap();
    }
    let connections = upstream.connections();
    for _ in 0..CROWD {
        client = client.ready().await.unwrap();
        let is_over = matches!(head, Head::Answer);
        streams.push(client.send_request(head.request(), is_over).unwrap());
        timeout(PATIENCE, all_asked.recv()).await.unwrap();
    }
    assert_eq!(upstream.connections(), connections);
    stop.send(()).unwrap();
    let mut other = connect(&process).await;
    go_on.send(1).unwrap();
    // Until what came of the flood is on its way, as far as it goes.
    for _ in 0..20 {
        works(&mut other).await;
    }
    let before = process.allotted();
    go_on.send(2).unwrap();
    let gone = (CROWD * 256 * 1024) as u64;
    let all_gone = async {
        while process.allotted() + gone > before {
            works(&mut other).await;
        }
    };
    timeout(PATIENCE, all_gone).await.unwrap_or_else(|_| {
        panic!(
            "{head:?}: {before} bytes before, {} now",
            process.allotted()
        );
    });
    drop(streams);
}

#[tokio::test]
async fn t117_heads_that_nobody_reads_do_not_keep_the_large_buffers_that_they_came_in() {
    leave_large_buffers(Head::Answer).await;
}

#[tokio::test]
async fn t117_a_switch_that_nobody_reads_does_not_keep_the_large_buffer_that_it_came_in() {
    leave_large_buffers(Head::Switch).await;
}

#[tokio::test]
async fn p17_p18_an_idle_connection_takes_little_and_the_next_one_takes_no_more() {
    const HALF: u64 = 400;
    let upstream = Upstream::start().await;
    let start = Start::with(&upstream)
        .extra("[limits]\nheader_timeout = \"200ms\"\nidle_timeout = \"1h\"\n");
    let process = Process::start(start, "info");
    let descriptors = process.descriptors();
    let mut crowd = Vec::new();
    let mut measured = vec![process.resident()];
    for half in 1..=2 {
        for _ in 0..HALF {
            let mut client = connect(&process).await;
            works(&mut client).await;
            crowd.push(client);
        }
        let parked = format!(
            "jotgate_connections_in_state{{state=\"parked\"}} {}\n",
            half * HALF
        );
        let all_parked = async {
            loop {
                let mut operator = H1::plain(process.admin).await;
                if operator.get("/metrics", &[]).await.text().contains(&parked) {
                    break;
                }
            }
        };
        timeout(PATIENCE, all_parked)
            .await
            .expect("some are not parked");
        measured.push(process.resident());
    }
    let each = |from: usize| measured[from + 1].saturating_sub(measured[from]) / HALF;
    assert!(each(1) <= 20 * 1024, "{} bytes each", each(1));
    // The first ones pay for what all share.
    assert!(each(1) <= each(0) + 4 * 1024, "{} and {}", each(0), each(1));
    for client in &mut crowd {
        works(client).await;
    }
    drop(crowd);
    lets_go(&process, descriptors).await;
    println!("{} and {} bytes for each idle connection", each(0), each(1));
}
