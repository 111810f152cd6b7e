//! What proxies in front say of a client: believed from those that are trusted, and as far as
//! they can know.

use http::Request;

use crate::harness::{Signer, Start, TestGateway, Upstream, bearer, h2_client};

/// A gateway that believes its clients here, which come from 127.0.0.1.
fn trusting(upstream: &Upstream) -> TestGateway {
    Start::with(upstream)
        .listen(r#"trusted_proxies = ["127.0.0.1", "10.0.0.0/8", "2001:db8::/32"]"#)
        .start()
}

#[tokio::test]
async fn t74_the_right_most_hop_that_is_not_trusted_is_the_client() {
    let upstream = Upstream::start().await;
    let gateway = trusting(&upstream);
    let mut client = gateway.h1().await;
    let fifty = format!(
        "X-Forwarded-For: 8.8.8.8, 192.0.2.7, {}",
        vec!["10.0.0.9"; 50].join(", ")
    );
    let cases: &[(&[&str], &str)] = &[
        (&[], "127.0.0.1"),
        (&["X-Forwarded-For: 192.0.2.7"], "192.0.2.7"),
        (
            &["X-Forwarded-For: 8.8.8.8, 192.0.2.7, 10.0.0.2"],
            "192.0.2.7",
        ),
        (
            &["X-Forwarded-For: 8.8.8.8", "X-Forwarded-For: 192.0.2.7"],
            "192.0.2.7",
        ),
        (&[&fifty], "192.0.2.7"),
        (
            &["X-Forwarded-For: é, junk, [2001:db9::1%eth0]:443"],
            "2001:db9::1",
        ),
        (&["X-Forwarded-For: 192.0.2.7, junk, 10.0.0.2"], "10.0.0.2"),
        (&["X-Forwarded-For: junk"], "127.0.0.1"),
        (
            &[
                "Forwarded: for=\"",
                "Forwarded: for=\"[2001:db9::1]:80\";proto=http",
            ],
            "2001:db9::1",
        ),
        (
            &["X-Forwarded-For: 192.0.2.7", "Forwarded: for=192.0.2.7"],
            "192.0.2.7",
        ),
        (
            &["X-Forwarded-For: 192.0.2.7", "Forwarded: for=8.8.8.8"],
            "127.0.0.1",
        ),
        // Other spellings are nobody's word.
        (&["X_Forwarded_For: 8.8.8.8"], "127.0.0.1"),
        (
            &["X-Forwarded-For: 192.0.2.7", "x_forwarded-for: 8.8.8.8"],
            "192.0.2.7",
        ),
        (&["X-Real-IP: 8.8.8.8"], "127.0.0.1"),
    ];
    for (number, (lines, expected)) in cases.iter().enumerate() {
        assert_eq!(client.get("/public/x", lines).await.status, 200);
        let received = upstream.received().pop().unwrap();
        let list = received.one("x-forwarded-for").unwrap();
        assert_eq!(list.split(", ").next(), Some(*expected), "{lines:?}");
        assert!(list.ends_with("127.0.0.1"), "{list}");
        let event = gateway.events(number + 1).await.remove(number);
        assert_eq!(event["client"], *expected, "{lines:?}");
        assert!(event["peer"].as_str().unwrap().starts_with("127.0.0.1:"));
    }
}

#[tokio::test]
async fn t74_the_upstream_sees_the_way_as_far_as_it_is_believed() {
    let upstream = Upstream::start().await;
    let gateway = trusting(&upstream);
    let lines = [
        "X-Forwarded-For: 8.8.8.8, 192.0.2.7, 10.0.0.2",
        "X-Forwarded-Proto: http",
        "X-Forwarded-Host: shop.test:80",
        "X-Forwarded-Port: 1",
        "X-Forwarded-Prefix: /public",
        "X-Real-IP: 8.8.8.8",
        "X-Original-URL: /public/x",
    ];
    assert_eq!(
        gateway.h1().await.get("/public/x", &lines).await.status,
        200
    );
    let received = upstream.only();
    assert_eq!(
        received.one("x-forwarded-for"),
        Some("192.0.2.7, 10.0.0.2, 127.0.0.1")
    );
    assert_eq!(received.one("x-forwarded-proto"), Some("http"));
    assert_eq!(received.one("x-forwarded-host"), Some("shop.test:80"));
    assert_eq!(
        received.one("forwarded"),
        Some(
            "for=192.0.2.7;host=\"shop.test:80\";proto=http, for=10.0.0.2, \
             for=127.0.0.1;host=\"localhost\";proto=https"
        )
    );
    for absent in [
        "x-forwarded-port",
        "x-forwarded-prefix",
        "x-real-ip",
        "x-original-url",
    ] {
        assert_eq!(received.one(absent), None);
    }
}

#[tokio::test]
async fn t74_an_element_of_rfc_7239_tells_scheme_and_host_as_well() {
    let upstream = Upstream::start().await;
    let gateway = trusting(&upstream);
    let request = Request::get("https://localhost/public/x")
        .header("forwarded", "for=8.8.8.8;host=evil.test;proto=https")
        .header(
            "forwarded",
            "for=192.0.2.7;host=shop.test;proto=http;by=_edge",
        )
        .body(Default::default())
        .unwrap();
    let answer = h2_client(&gateway).await.send_request(request).await;
    assert_eq!(answer.unwrap().status(), 200);
    let received = upstream.only();
    assert_eq!(
        received.one("x-forwarded-for"),
        Some("192.0.2.7, 127.0.0.1")
    );
    assert_eq!(received.one("x-forwarded-proto"), Some("http"));
    assert_eq!(received.one("x-forwarded-host"), Some("shop.test"));
}

#[tokio::test]
async fn t74_a_peer_that_is_not_on_the_list_is_the_client_itself() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream)
        .listen(r#"trusted_proxies = ["10.0.0.0/8", "127.0.0.2"]"#)
        .start();
    let lines = [
        "X-Forwarded-For: 192.0.2.7, 10.0.0.2",
        "X-Forwarded-Proto: http",
        "Forwarded: for=192.0.2.7;proto=http;host=evil.test",
    ];
    assert_eq!(
        gateway.h1().await.get("/public/x", &lines).await.status,
        200
    );
    let received = upstream.only();
    assert_eq!(received.one("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(received.one("x-forwarded-proto"), Some("https"));
    assert_eq!(
        received.one("forwarded"),
        Some(r#"for=127.0.0.1;host="localhost";proto=https"#)
    );
    assert_eq!(gateway.event().await["client"], "127.0.0.1");
}

#[tokio::test]
async fn t73_t74_not_even_a_trusted_proxy_decides_by_these_fields() {
    let upstream = Upstream::start().await;
    let to = upstream.url();
    let gateway = Start::routes(&format!(
        r#"
        [[route]]
        host = "api.test"
        path = "/"
        to = "{to}"
        auth = "public"
        [[route]]
        host = "localhost"
        path = "/api/"
        to = "{to}"
        auth = "main"
        "#
    ))
    .listen(r#"trusted_proxies = "127.0.0.1""#)
    .start();
    let mut client = gateway.h1().await;
    let lines = [
        "X-Forwarded-Host: api.test",
        "X-Forwarded-For: 127.0.0.1",
        "X-Forwarded-Proto: http",
        "Forwarded: for=127.0.0.1;host=api.test;proto=http",
    ];
    assert_eq!(client.get("/api/x", &lines).await.status, 401);
    assert_eq!(client.get("/x", &lines).await.status, 404);
    assert_eq!(upstream.connections(), 0);
    let token = bearer(&Signer::rsa().good());
    let lines = [lines[0], lines[1], &token];
    assert_eq!(client.get("/api/x", &lines).await.status, 200);
    assert_eq!(upstream.only().one("host"), Some("localhost"));
}

#[tokio::test]
async fn t71_t74_connection_does_not_take_away_what_is_said_of_the_client() {
    let upstream = Upstream::start().await;
    let gateway = trusting(&upstream);
    let lines = [
        "X-Forwarded-For: 192.0.2.7",
        "Connection: X-Forwarded-For, Forwarded",
    ];
    assert_eq!(
        gateway.h1().await.get("/public/x", &lines).await.status,
        200
    );
    assert_eq!(
        upstream.only().one("x-forwarded-for"),
        Some("192.0.2.7, 127.0.0.1")
    );
}

#[tokio::test]
async fn t74_a_refused_request_has_its_client_in_the_log() {
    let upstream = Upstream::start().await;
    let gateway = trusting(&upstream);
    let lines = ["X-Forwarded-For: 192.0.2.7"];
    assert_eq!(gateway.h1().await.get("/api/x", &lines).await.status, 401);
    assert_eq!(gateway.event().await["client"], "192.0.2.7");
}
