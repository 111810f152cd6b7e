//! Uploads in HTTP/2 streams that end before their time, from one side or the other.

use bytes::Bytes;
use h2::{Reason, SendStream};
use http::{Request, StatusCode};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::harness::{PATIENCE, Script, Stage, Start, TestGateway, Upstream, h2_streams};

/// The head of an answer, and the stream of the upload that goes on.
async fn begin(
    gateway: &TestGateway,
    path: &str,
) -> (h2::client::ResponseFuture, SendStream<Bytes>) {
    let mut connection = h2_streams(gateway).await;
    let request = Request::post(format!("https://localhost{path}"))
        .body(())
        .unwrap();
    connection.send_request(request, false).unwrap()
}

/// Sends as soon as there is leave to.
async fn upload(stream: &mut SendStream<Bytes>, length: usize) -> Result<(), h2::Error> {
    let mut left = length;
    while left > 0 {
        stream.reserve_capacity(left);
        let granted = std::future::poll_fn(|cx| stream.poll_capacity(cx));
        let granted = timeout(PATIENCE, granted).await.expect("no leave to send");
        let Some(granted) = granted.transpose()? else {
            let reason = std::future::poll_fn(|cx| stream.poll_reset(cx)).await?;
            return Err(reason.into());
        };
        stream.send_data(vec![b'x'; granted].into(), false)?;
        left -= granted;
    }
    Ok(())
}

#[tokio::test]
async fn t119_an_upload_whose_stream_is_reset_is_never_completed_upstream() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let upstream = Script::start(move |mut line| {
        let tell = tell.clone();
        async move {
            line.head().await.unwrap();
            line.until(b"partial").await.unwrap();
            tell.send("partial".to_owned()).unwrap();
            let rest = line.rest().await;
            tell.send(String::from_utf8(rest).unwrap()).unwrap();
        }
    })
    .await;
    let gateway = Start::to(&upstream.url()).start();
    for reason in [
        Reason::NO_ERROR,
        Reason::CANCEL,
        Reason::INTERNAL_ERROR,
        Reason::STREAM_CLOSED,
    ] {
        let (answer, mut stream) = begin(&gateway, "/public/x").await;
        stream.send_data("partial".into(), false).unwrap();
        assert_eq!(told.recv().await.unwrap(), "partial");
        stream.send_reset(reason);
        assert_eq!(told.recv().await.unwrap(), "\r\n", "{reason:?}");
        assert!(answer.await.is_err());
    }
    for event in gateway.events(4).await {
        let told = (event["status"].as_u64(), event["reason"].as_str());
        assert_eq!(told, (Some(499), Some("client_closed")));
    }
}

#[tokio::test]
async fn a_client_that_goes_in_its_upload_is_not_taken_for_its_upstream() {
    let upstream = Stage::open().await;
    let gateway = Start::to(&upstream.url()).start();
    let mut client = gateway.h1().await;
    client
        .send("POST /public/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhello")
        .await;
    let mut line = upstream.enter().await;
    line.head_text().await;
    line.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello")
        .await;
    assert_eq!(client.head_answer().await.status, 200);
    drop(client);
    assert_eq!(gateway.event().await["reason"], "client_closed");
}

#[tokio::test]
async fn a_client_whose_upload_is_refused_may_finish_it_for_a_moment() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    let (answer, mut stream) = begin(&gateway, "/api/x").await;
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    let mut body = answer.into_body();
    while let Some(data) = body.data().await {
        data.unwrap();
    }
    // The answer is complete, and more than there was leave for at the beginning is still taken.
    upload(&mut stream, 300_000).await.unwrap();
    stream.send_data(Bytes::new(), true).unwrap();
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn a_refused_upload_that_never_ends_is_reset() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    let (answer, mut stream) = begin(&gateway, "/api/x").await;
    assert_eq!(answer.await.unwrap().status(), StatusCode::UNAUTHORIZED);
    let error = timeout(PATIENCE, async {
        loop {
            if let Err(error) = upload(&mut stream, 16_384).await {
                return error;
            }
        }
    })
    .await
    .expect("it goes on for ever");
    assert_eq!(error.reason(), Some(Reason::NO_ERROR));
}
