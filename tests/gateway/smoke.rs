//! The first thing a user does, on both protocols.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};

use crate::harness::{Signer, Start, Upstream, h2_client};

#[tokio::test]
async fn a_good_token_reaches_the_upstream_with_the_subject_in_a_header() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    let token = Signer::rsa().good();
    let mut client = gateway.h1().await;
    let answer = client
        .get("/api/x?q=1", &[&format!("Authorization: Bearer {token}")])
        .await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    let received = upstream.only();
    assert_eq!(received.line, "GET /api/x?q=1 HTTP/1.1");
    assert_eq!(received.one("x-auth-subject"), Some("alice"));
    assert_eq!(received.one("authorization"), None);
    let event = gateway.event().await;
    assert_eq!(event["status"], 200);
    assert_eq!(event["reason"], "ok");
    assert_eq!(event["kid"], "main");
}

#[tokio::test]
async fn without_a_token_nothing_reaches_the_upstream() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    let answer = gateway.h1().await.get("/api/x", &[]).await;
    assert_eq!(answer.status, 401);
    assert_eq!(
        answer.one("www-authenticate"),
        Some(r#"Bearer realm="jotgate""#)
    );
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn http2_is_served_alike() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    let mut client = h2_client(&gateway).await;
    let request = Request::get("https://localhost/api/x")
        .header("authorization", format!("Bearer {}", Signer::rsa().good()))
        .body(Full::<Bytes>::default())
        .unwrap();
    let answer = client.send_request(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "ok");
    assert_eq!(upstream.only().one("x-auth-subject"), Some("alice"));
    assert_eq!(upstream.only().one("host"), Some("localhost"));
}
