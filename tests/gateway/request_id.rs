//! What a request is called: the same upstream, in its answer and in the log, and nothing that a
//! client made up.

use http::Request;

use crate::harness::{Answer, H1, Received, Start, TestGateway, Upstream, h2_client};

const OURS: usize = 32;

/// An upstream with a name of its own for everything.
async fn upstream() -> Upstream {
    Upstream::answering(|_| {
        b"HTTP/1.1 200 OK\r\nx-request-id: upstreams\r\nX-Request-ID: again\r\n\
          content-length: 2\r\n\r\nok"
            .to_vec()
    })
    .await
}

fn trusting(upstream: &Upstream) -> TestGateway {
    Start::with(upstream)
        .listen("trusted_proxies = \"127.0.0.1\"")
        .start()
}

/// The one name in an answer.
fn name(answer: &Answer) -> String {
    answer.one("x-request-id").expect("a name").to_owned()
}

fn name_upstream(received: &Received) -> &str {
    received.one("x-request-id").expect("a name")
}

#[tokio::test]
async fn a_request_has_one_name_upstream_in_its_answer_and_in_the_log() {
    let upstream = upstream().await;
    let gateway = Start::with(&upstream).start();
    let mut client = gateway.h1().await;
    for number in 0..3 {
        let name = name(&client.get("/public/x", &[]).await);
        assert_eq!(name.len(), OURS);
        assert_eq!(name_upstream(&upstream.received()[number]), name);
        let event = gateway.events(number + 1).await.remove(number);
        assert_eq!(event["request_id"], name);
    }
}

#[tokio::test]
async fn what_a_client_calls_its_request_goes_nowhere_on_any_route() {
    let upstream = upstream().await;
    let gateway = Start::with(&upstream).start();
    let forged = [
        "X-Request-Id: forged",
        "x-request-id: forged",
        "X_Request_Id: forged",
        "Connection: X-Request-Id",
        "X-Forwarded-For: 127.0.0.1",
    ];
    let mut client = gateway.h1().await;
    for path in ["/public/x", "/api/x", "/nowhere"] {
        assert_ne!(name(&client.get(path, &forged).await), "forged", "{path}");
    }
    let received = upstream.only();
    assert_eq!(name_upstream(&received).len(), OURS);
    assert_eq!(received.one("x_request_id"), None);
    assert!(!gateway.log_text().contains("forged"));
}

#[tokio::test]
async fn every_answer_of_ours_says_what_its_request_is_called() {
    let upstream = upstream().await;
    // One worker's lines are in the order of their requests.
    let gateway = Start::with(&upstream)
        .extra("[server]\nworkers = 1\n")
        .start();
    let mut client = gateway.h1().await;
    let mut names = Vec::new();
    for (method, path, status) in [
        ("GET", "/api/x", 401),
        ("GET", "/nowhere", 404),
        ("GET", "/a/../b", 400),
    ] {
        let answer = client.request(method, path, &[]).await;
        assert_eq!(answer.status, status);
        let problem: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(problem["request_id"], name(&answer));
        names.push(name(&answer));
    }
    let mut client = gateway.h1().await;
    names.push(name(&client.request("OPTIONS", "*", &[]).await));
    names.push(name(&client.request("HEAD", "/api/x", &[]).await));
    let mut plain = H1::plain(gateway.http()).await;
    names.push(name(&plain.get("/api/x", &["X-Request-Id: forged"]).await));
    let events = gateway.events(names.len()).await;
    let logged: Vec<_> = events
        .iter()
        .map(|event| event["request_id"].as_str())
        .collect();
    assert_eq!(
        logged,
        names
            .iter()
            .map(|name| Some(name.as_str()))
            .collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_trusted_proxy_may_name_a_request_if_it_does_so_once_and_well() {
    let upstream = upstream().await;
    let gateway = trusting(&upstream);
    let mut client = gateway.h1().await;
    let longest = format!("X-Request-Id: {}", "a".repeat(128));
    let too_long = format!("X-Request-Id: {}", "a".repeat(129));
    let cases: &[(&[&str], bool)] = &[
        (&["X-Request-Id: Root=1-67:a/b+c.d_e~f=="], true),
        (&["X-Request-Id: 0af7651916cd43dd8448eb211c80319c"], true),
        (&[&longest], true),
        (&[&too_long], false),
        (&["X-Request-Id:"], false),
        (&["X-Request-Id: a b"], false),
        (&["X-Request-Id: a,b"], false),
        (&["X-Request-Id: \"},{\""], false),
        (&["X-Request-Id: é"], false),
        (&["X-Request-Id: a", "X-Request-Id: a"], false),
        (&["X_Request_Id: a"], false),
    ];
    for (number, (lines, is_taken)) in cases.iter().enumerate() {
        let answer = client.get("/public/x", lines).await;
        let name = name(&answer);
        let given = lines[0].split_once(": ").map_or("", |(_, value)| value);
        assert_eq!(name == given, *is_taken, "{lines:?}");
        assert!(*is_taken || name.len() == OURS, "{lines:?}");
        assert_eq!(name_upstream(&upstream.received()[number]), name);
        let event = gateway.events(number + 1).await.remove(number);
        assert_eq!(event["request_id"], name);
    }
}

#[tokio::test]
async fn a_refusal_repeats_the_name_that_a_trusted_proxy_gave() {
    let upstream = upstream().await;
    let gateway = trusting(&upstream);
    let answer = gateway
        .h1()
        .await
        .get("/api/x", &["X-Request-Id: edge-7"])
        .await;
    assert_eq!(name(&answer), "edge-7");
    assert!(
        answer.text().contains(r#""request_id":"edge-7""#),
        "{}",
        answer.text()
    );
}

#[tokio::test]
async fn a_switch_to_another_protocol_says_what_its_request_is_called() {
    let upstream = Upstream::answering(|_| {
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: other\r\n\
          x-request-id: upstreams\r\n\r\n"
            .to_vec()
    })
    .await;
    let gateway = Start::routes(&format!(
        "[[route]]\npath = \"/\"\nto = \"{}\"\nauth = \"public\"\nupgrade = true\n",
        upstream.url()
    ))
    .start();
    let mut client = gateway.h1().await;
    client
        .send("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n")
        .await;
    let answer = client.head_answer().await;
    assert_eq!(answer.status, 101);
    assert_eq!(name(&answer), name_upstream(&upstream.only()));
}

#[tokio::test]
async fn what_traces_a_request_passes_as_it_is() {
    let upstream = upstream().await;
    let gateway = Start::with(&upstream).start();
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let state = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE";
    let lines = [
        format!("Traceparent: {parent}"),
        format!("tracestate: {state}"),
    ];
    let answer = gateway
        .h1()
        .await
        .get("/public/x", &[&lines[0], &lines[1]])
        .await;
    assert_eq!(answer.status, 200);
    let request = Request::get("https://localhost/public/x")
        .header("traceparent", parent)
        .header("tracestate", state)
        .body(Default::default())
        .unwrap();
    let answer = h2_client(&gateway)
        .await
        .send_request(request)
        .await
        .unwrap();
    assert_eq!(answer.headers()["x-request-id"].len(), OURS);
    for received in upstream.received() {
        assert_eq!(received.one("traceparent"), Some(parent));
        assert_eq!(received.one("tracestate"), Some(state));
    }
    assert_eq!(upstream.received().len(), 2);
}
