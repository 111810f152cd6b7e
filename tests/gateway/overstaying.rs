//! Clients that stay for longer than they are wanted, each in its own way; and some that only look
//! as if they did.

use std::time::Duration;

use http::Request;
use rustls::pki_types::ServerName;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{interval, timeout};

use crate::harness::frames::*;
use crate::harness::{H1, PATIENCE, Script, Stage, Start, Upstream, h2_streams, tls};

/// How often something is done that could go on for ever.
fn pace() -> tokio::time::Interval {
    interval(Duration::from_millis(100))
}

const SHORT: &str = "[limits]\nheader_timeout = \"1s\"\nidle_timeout = \"1s\"\n";

#[tokio::test]
async fn p15_empty_lines_do_not_keep_a_connection() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).extra(SHORT).start();
    for asks_first in [false, true] {
        let mut client = gateway.h1().await;
        if asks_first {
            assert_eq!(client.get("/public/x", &[]).await.status, 200);
        }
        let mut pace = pace();
        let goes_on = async {
            while client.stream.write_all(b"\r\n").await.is_ok() {
                pace.tick().await;
            }
        };
        timeout(PATIENCE, goes_on).await.expect("it stays");
    }
}

#[tokio::test]
async fn t113_resets_at_a_leisurely_pace_end_the_connection_too() {
    let upstream = Script::start(|mut line| async move {
        line.rest().await;
    })
    .await;
    let gateway = Start::to(&upstream.url()).start();
    let mut frames = Frames::connect(&gateway).await;
    let head = request("GET", &[]);
    let goes_on = async {
        for batch in 0..100_u32 {
            let streams = || (0..50).map(|number| 2 * (50 * batch + number) + 1);
            let opened = streams().flat_map(|n| frame(HEADERS, END_STREAM | END_HEADERS, n, &head));
            let reset = streams().flat_map(|n| frame(RST_STREAM, 0, n, &[0, 0, 0, 8]));
            // Each has been looked at before the next comes.
            for frames_of_a_kind in [opened.collect::<Vec<u8>>(), reset.collect()] {
                let ping = frame(PING, 0, 0, b"leisurel");
                if !frames.send(&[frames_of_a_kind, ping].concat()).await {
                    return batch;
                }
                match frames.first_of(&[PING], 0).await {
                    Some(answer) if answer.kind == PING => {}
                    Some(_) | None => return batch,
                }
            }
        }
        100
    };
    let batches = timeout(PATIENCE, goes_on).await.unwrap();
    // More than somebody does who changes their mind, and not many more.
    assert!((10..20).contains(&batches), "after {batches} batches");
}

#[tokio::test]
async fn a_client_that_does_not_hear_the_goodbye_gives_way_all_the_same() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream)
        .extra("[limits]\nconnections = 1\nheader_timeout = \"300ms\"\n")
        .start();
    let mut deaf = Frames::connect(&gateway).await;
    let head = request("GET", &[]);
    let ask = |number: u32| frame(HEADERS, END_STREAM | END_HEADERS, 2 * number + 1, &head);
    assert!(deaf.send(&ask(0)).await);
    assert!(deaf.first_of(&[HEADERS], 1).await.is_some());
    let goes_on = async {
        assert_eq!(deaf.first_of(&[], 0).await.unwrap().kind, GOAWAY);
        let mut pace = pace();
        for number in 1.. {
            pace.tick().await;
            if !deaf.send(&ask(number)).await {
                return;
            }
        }
    };
    let waits = async { gateway.h1().await.get("/public/x", &[]).await.status };
    let (status, ()) = timeout(PATIENCE, async { tokio::join!(waits, goes_on) })
        .await
        .expect("it stays");
    assert_eq!(status, 200);
}

/// An upstream whose answer has this many bytes.
async fn much(bytes: usize) -> Script {
    Script::start(move |mut line| async move {
        line.head().await.unwrap();
        line.send(format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {bytes}\r\n\r\n"
        ))
        .await;
        line.send(vec![b'x'; bytes]).await;
        line.rest().await;
    })
    .await
}

#[tokio::test]
async fn t117_a_new_connection_that_takes_nothing_of_its_answer_is_not_forgotten() {
    let upstream = much(1_000_000).await;
    let gateway = Start::to(&upstream.url())
        .extra("[limits]\nbody_timeout = \"300ms\"\nheader_timeout = \"1h\"\n")
        .start();
    let mut frames = Frames::connect(&gateway).await;
    let head = request("GET", &[]);
    frames
        .send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &head))
        .await;
    let end = frames.first_of(&[RST_STREAM], 1).await.unwrap();
    assert_eq!(end.kind, RST_STREAM);
    assert_eq!(gateway.event().await["reason"], "client_stalled");
}

/// How an answer of a megabyte ends for a client that takes so many bytes five times a second: with
/// a reset, or not at all within more than twice the time in which it may take nothing.
async fn taking(each_time: u32) -> bool {
    let upstream = much(1_000_000).await;
    let gateway = Start::to(&upstream.url())
        .extra("[limits]\nbody_timeout = \"3s\"\nheader_timeout = \"300ms\"\n")
        .start();
    let mut frames = Frames::connect(&gateway).await;
    let head = request("GET", &[]);
    frames
        .send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &head))
        .await;
    let mut window = 65_535;
    let mut pace = interval(Duration::from_millis(200));
    for _ in 0..40 {
        while window > 0 {
            let data = frames.first_of(&[DATA, RST_STREAM], 1).await.unwrap();
            match data.kind {
                DATA => window -= data.payload.len(),
                _ => return true,
            }
        }
        pace.tick().await;
        for stream in [0, 1] {
            let more = frame(WINDOW_UPDATE, 0, stream, &each_time.to_be_bytes());
            assert!(frames.send(&more).await);
        }
        window = each_time as usize;
    }
    false
}

#[tokio::test]
async fn a_client_that_takes_a_little_at_a_time_is_not_stalled() {
    assert!(!taking(1_000).await);
}

#[tokio::test]
async fn t117_a_client_that_takes_next_to_nothing_is_stalled() {
    assert!(taking(1).await);
}

#[tokio::test]
async fn p9_a_full_house_stops_accepting_when_the_drain_begins() {
    let upstream = Stage::open().await;
    let gateway = Start::to(&upstream.url())
        .extra("[limits]\nconnections = 1\n[server]\nworkers = 1\n")
        .start();
    let https = gateway.https();
    let mut busy = h2_streams(&gateway).await;
    let mut ask = |path: &str| {
        let request = Request::get(format!("https://localhost{path}")).body(());
        busy.send_request(request.unwrap(), true).unwrap().0
    };
    let answer = ask("/public/x");
    let mut line = upstream.enter().await;
    line.head_text().await;
    let accepted = TcpStream::connect(https).await.unwrap();
    let _queued = TcpStream::connect(https).await.unwrap();
    // By then the worker has seen both, and has a slot for neither.
    for _ in 0..3 {
        assert_eq!(ask("/nowhere").await.unwrap().status(), 404);
    }
    gateway.gateway.drain();
    crate::life::until_refused(https).await;
    line.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        .await;
    assert_eq!(answer.await.unwrap().status(), 200);
    drop(busy);
    let name = ServerName::try_from("localhost").unwrap();
    let accepted = tls(&gateway, &[b"http/1.1"]).connect(name, accepted);
    let accepted = timeout(PATIENCE, accepted).await.unwrap().unwrap();
    let answer = H1::over(accepted).get("/nowhere", &[]).await;
    assert_eq!(answer.status, 404);
}
