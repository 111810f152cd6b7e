//! The plain listener, which sends clients to https and does nothing else, and the field that
//! makes browsers go there by themselves.

use crate::harness::{Answer, H1, Signer, Start, TestGateway, Upstream};

/// Asks on the plain listener.
async fn ask(gateway: &TestGateway, request: &str) -> Answer {
    let mut client = H1::plain(gateway.http()).await;
    client.send(request).await;
    if request.starts_with("HEAD") {
        client.head_answer().await
    } else {
        client.answer().await
    }
}

/// The value of `Strict-Transport-Security` in an answer over https for this host.
async fn hsts(gateway: &TestGateway, host: &str) -> Option<String> {
    let mut client = H1::connect(gateway, None).await;
    client
        .send(format!("GET /public/ HTTP/1.1\r\nHost: {host}\r\n\r\n"))
        .await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 200, "{host}");
    answer.one("strict-transport-security").map(str::to_owned)
}

/// Two routes, of which one names its host.
fn start(upstream: &Upstream) -> Start {
    let to = upstream.url();
    Start::routes(&format!(
        r#"
        [[route]]
        host = "named.test"
        path = "/public/"
        to = "{to}"
        auth = "public"
        [[route]]
        path = "/public/"
        to = "{to}"
        auth = "public"
        "#
    ))
}

#[tokio::test]
async fn every_request_is_sent_to_the_same_place_over_https() {
    let upstream = Upstream::start().await;
    let gateway = start(&upstream).listen("public_port = 443").start();
    for (request, location) in [
        ("GET / HTTP/1.1\r\nHost: a.test", "https://a.test/"),
        (
            "GET /%61/x?q=%2f//.. HTTP/1.1\r\nHost: A.Test.:8080",
            "https://a.test/a/x?q=%2f//..",
        ),
        ("HEAD /x? HTTP/1.1\r\nHost: a.test", "https://a.test/x?"),
        (
            "POST /x HTTP/1.1\r\nHost: 127.0.0.1:80\r\nContent-Length: 0",
            "https://127.0.0.1/x",
        ),
        ("GET /x HTTP/1.1\r\nHost: [::1]:80", "https://[::1]/x"),
        (
            "GET http://a.test/x HTTP/1.1\r\nHost: a.test",
            "https://a.test/x",
        ),
        ("OPTIONS * HTTP/1.1\r\nHost: a.test", "https://a.test/"),
        // Routes mean nothing here, and neither do tokens.
        (
            "GET /api/x HTTP/1.1\r\nHost: a.test\r\nAuthorization: Bearer x",
            "https://a.test/api/x",
        ),
    ] {
        let answer = ask(&gateway, &format!("{request}\r\n\r\n")).await;
        assert_eq!(answer.status, 308, "{request}");
        assert_eq!(answer.one("location"), Some(location), "{request}");
        assert_eq!(answer.one("strict-transport-security"), None);
        assert_eq!(answer.body, b"");
    }
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn the_port_is_the_one_that_clients_see() {
    let upstream = Upstream::start().await;
    let gateway = start(&upstream).listen("public_port = 8443").start();
    let answer = ask(&gateway, "GET /x?y HTTP/1.1\r\nHost: a.test:8080\r\n\r\n").await;
    assert_eq!(answer.one("location"), Some("https://a.test:8443/x?y"));
    let event = gateway.event().await;
    assert_eq!(
        (&event["status"], &event["reason"]),
        (&308.into(), &"redirect".into())
    );
}

#[tokio::test]
async fn an_ambiguous_place_is_not_repeated() {
    let upstream = Upstream::start().await;
    let gateway = start(&upstream).start();
    for (number, (request, status, reason)) in [
        ("GET / HTTP/1.1", 400, "host_missing"),
        (
            "GET / HTTP/1.1\r\nHost: a.test\r\nHost: b.test",
            400,
            "host_repeated",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a.test@evil.test",
            400,
            "host_malformed",
        ),
        (
            "GET http://evil.test/ HTTP/1.1\r\nHost: a.test",
            400,
            "host_mismatch",
        ),
        (
            "GET //evil.test/ HTTP/1.1\r\nHost: a.test",
            400,
            "empty_segment",
        ),
        (
            "GET /\\evil.test/ HTTP/1.1\r\nHost: a.test",
            400,
            "backslash",
        ),
        (
            "GET /%0d%0aX:y HTTP/1.1\r\nHost: a.test",
            400,
            "control_character",
        ),
        ("GET /a/../b HTTP/1.1\r\nHost: a.test", 400, "dot_segment"),
        (
            "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443",
            501,
            "method_not_implemented",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = ask(&gateway, &format!("{request}\r\n\r\n")).await;
        let event = gateway.events(number + 1).await.remove(number);
        assert_eq!(
            (answer.status, event["reason"].as_str()),
            (status, Some(reason)),
            "{request}"
        );
        assert_eq!(answer.one("location"), None, "{request}");
    }
}

#[tokio::test]
async fn a_token_sent_in_clear_reaches_nobody_and_no_log() {
    let upstream = Upstream::start().await;
    let gateway = start(&upstream).start();
    let token = Signer::rsa().good();
    let request = format!(
        "POST /public/ HTTP/1.1\r\nHost: a.test\r\nAuthorization: Bearer {token}\r\nContent-Length: 9\r\n\r\nhalf"
    );
    let mut client = H1::plain(gateway.http()).await;
    client.send(request).await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 308);
    // The rest of the body is not waited for.
    assert_eq!(answer.one("connection"), Some("close"));
    assert!(client.is_closed().await);
    gateway.event().await;
    assert!(!gateway.log_text().contains(&token));
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn hsts_is_for_hosts_that_are_ours_and_never_for_localhost_or_addresses() {
    let upstream = Upstream::start().await;
    let year = Some("max-age=31536000".to_owned());
    let other_port = start(&upstream).listen("public_port = 8443").start();
    let standard_port = start(&upstream).listen("public_port = 443").start();
    for (host, on_other_port, on_standard_port) in [
        ("named.test", true, true),
        ("Named.Test.:8443", true, true),
        ("unnamed.test", false, true),
        ("localhost", false, false),
        ("app.localhost", false, false),
        ("127.0.0.1", false, false),
        ("[::1]:8443", false, false),
    ] {
        let expected = |is_sent: bool| year.clone().filter(|_| is_sent);
        assert_eq!(
            hsts(&other_port, host).await,
            expected(on_other_port),
            "{host}"
        );
        assert_eq!(
            hsts(&standard_port, host).await,
            expected(on_standard_port),
            "{host}"
        );
    }
}

#[tokio::test]
async fn hsts_is_on_refusals_too_and_replaces_the_upstreams() {
    let upstream = Upstream::answering(|_| {
        b"HTTP/1.1 200 OK\r\nstrict-transport-security: max-age=1\r\ncontent-length: 0\r\n\r\n"
            .to_vec()
    })
    .await;
    let gateway = start(&upstream).start();
    assert_eq!(
        hsts(&gateway, "named.test").await.as_deref(),
        Some("max-age=31536000")
    );
    let mut client = H1::connect(&gateway, None).await;
    client
        .send("GET /nothing HTTP/1.1\r\nHost: named.test\r\n\r\n")
        .await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 404);
    assert_eq!(
        answer.one("strict-transport-security"),
        Some("max-age=31536000")
    );
}

#[tokio::test]
async fn hsts_can_be_changed_and_turned_off() {
    let upstream = Upstream::start().await;
    let own = "max-age=60; includeSubDomains";
    for (tls, expected) in [
        ("[tls]\nhsts = false\n".to_owned(), None),
        (format!("[tls]\nhsts = \"{own}\"\n"), Some(own)),
    ] {
        let gateway = start(&upstream).extra(&tls).start();
        assert_eq!(hsts(&gateway, "named.test").await.as_deref(), expected);
    }
}
