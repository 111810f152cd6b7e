//! What an upstream gets to see of a request, and a client of an answer: an allow-list of fields,
//! judged by the bytes that arrived.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};

use http::{HeaderMap, Request};
use jsonwebtoken::Algorithm;
use serde_json::json;
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;

use crate::harness::{
    Answer, H1, Process, Received, Script, Signer, Start, Upstream, claims, connector, h2_streams,
    now,
};

/// What the gateway itself writes on every request.
const OBSERVED: [&str; 7] = [
    "forwarded",
    "host",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-request-id",
];

/// The only fields are what the gateway writes and these; each at most once.
fn assert_fields(received: &Received, also: &[&str]) {
    let mut names: Vec<&str> = received.headers.iter().map(|(n, _)| n.as_str()).collect();
    names.sort_unstable();
    let mut expected = [&OBSERVED[..], also].concat();
    expected.sort_unstable();
    assert_eq!(names, expected, "{received:#?}");
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

fn good() -> String {
    bearer(&Signer::rsa().good())
}

/// Spellings of `X-Auth-Subject` that some upstream would take for it.
const SPELLINGS: [&str; 7] = [
    "X-Auth-Subject",
    "x-auth-subject",
    "X-AUTH-SUBJECT",
    "X_Auth_Subject",
    "x-auth_subject",
    "X_AUTH-SUBJECT",
    "X.Auth.Subject",
];

#[tokio::test]
async fn t66_however_often_a_client_names_itself_the_upstream_sees_the_tokens_subject_once() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    let good = good();
    for copies in [1, 50] {
        let mut headers = vec!["X-Auth-Subject: admin"; copies];
        headers.insert(copies / 2, &good);
        let answer = gateway.h1().await.get("/api/x", &headers).await;
        assert_eq!(answer.status, 200);
    }
    for received in upstream.received() {
        assert_eq!(received.one("x-auth-subject"), Some("alice"));
        assert_fields(&received, &["x-auth-subject"]);
    }
    assert_eq!(upstream.received().len(), 2);
}

#[tokio::test]
async fn t67_no_spelling_of_a_reserved_name_survives_on_any_route() {
    let upstream = Upstream::start().await;
    let to = upstream.url();
    // The name belongs to one route and is reserved on all of them.
    let gateway = Start::routes(&format!(
        r#"
        [[route]]
        path = "/api/"
        to = "{to}"
        auth = "main"
        [[route]]
        path = "/other/"
        to = "{to}"
        auth = "main"
        identity = {{ X-User-Name = "sub" }}
        [[route]]
        path = "/public/"
        to = "{to}"
        auth = "public"
        "#
    ))
    .start();
    let mut client = gateway.h1().await;
    let others = ["X-User-Name", "x_user_name", "X-User_Name", "x~user~name"];
    for name in SPELLINGS.iter().chain(&others) {
        for (path, identity) in [
            ("/api/x", Some("x-auth-subject")),
            ("/other/x", Some("x-user-name")),
            ("/public/x", None),
        ] {
            let forged = format!("{name}: admin");
            let answer = client.get(path, &[&forged, &good(), &forged]).await;
            assert_eq!(answer.status, 200, "{name} on {path}");
            let received = upstream.received().pop().unwrap();
            assert_fields(&received, identity.as_slice());
            // As CGI and WSGI fold names.
            let folded: Vec<_> = received
                .headers
                .iter()
                .filter(|(n, _)| {
                    let n = n.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
                    n == "x_auth_subject" || n == "x_user_name"
                })
                .map(|(_, value)| value.as_str())
                .collect();
            assert_eq!(
                folded,
                vec!["alice"; identity.iter().len()],
                "{name} on {path}"
            );
        }
    }
}

#[tokio::test]
async fn t67_a_space_before_the_colon_is_refused() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    for line in ["X-Auth-Subject : admin", "X-Auth-Subject\t: admin"] {
        let mut client = gateway.h1().await;
        let answer = client.get("/public/x", &[line]).await;
        assert_eq!(answer.status, 400, "{line:?}");
        assert!(client.is_closed().await);
    }
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn t68_a_forged_subject_is_no_credential() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    let mut client = gateway.h1().await;
    for name in SPELLINGS {
        let answer = client.get("/api/x", &[&format!("{name}: admin")]).await;
        assert_eq!(answer.status, 401);
        assert_eq!(
            answer.one("www-authenticate"),
            Some(r#"Bearer realm="jotgate""#)
        );
    }
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn t69_t70_where_nobody_is_asked_who_they_are_the_upstream_is_not_told_either() {
    let upstream = Upstream::start().await;
    let to = upstream.url();
    let gateway = Start::routes(&format!(
        r#"
        [[route]]
        path = "/public/"
        to = "{to}"
        auth = "public"
        [[route]]
        path = "/preflight/"
        methods = ["OPTIONS"]
        to = "{to}"
        auth = "public"
        [[route]]
        path = "/silent/"
        to = "{to}"
        auth = "main"
        identity = {{}}
        "#
    ))
    .start();
    let good = good();
    let mut forged: Vec<String> = SPELLINGS.iter().map(|n| format!("{n}: admin")).collect();
    forged.push(good);
    let forged: Vec<&str> = forged.iter().map(String::as_str).collect();
    let mut client = gateway.h1().await;
    for (method, path) in [
        ("GET", "/public/x"),
        ("GET", "/public/healthz"),
        ("OPTIONS", "/preflight/x"),
        ("OPTIONS", "/public/x"),
        ("GET", "/silent/x"),
    ] {
        let answer = client.request(method, path, &forged).await;
        assert_eq!(answer.status, 200, "{method} {path}");
        assert_fields(&upstream.received().pop().unwrap(), &[]);
    }
}

#[tokio::test]
async fn t71_connection_takes_away_what_it_names_on_every_line_but_nothing_of_ours() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    let answer = gateway
        .h1()
        .await
        .get(
            "/api/x",
            &[
                &good(),
                "Connection: X-Auth-Subject, X-Forwarded-For , x-first",
                "X-Auth-Subject: admin",
                "X-First: 1",
                "X-Second: 2",
                "X-Third: 3",
                "Connection: ,X-SECOND,, forwarded,Via,X-Forwarded-Host",
                "Connection: keep-alive",
                "Keep-Alive: timeout=5",
                "Proxy-Connection: keep-alive",
                "TE: trailers",
                "Trailer: X-Auth-Subject",
                "Upgrade: h2c",
                "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
                "Proxy-Authenticate: Basic",
                "Proxy-Authorization: Bearer x",
            ],
        )
        .await;
    assert_eq!(answer.status, 200);
    let received = upstream.only();
    assert_fields(
        &received,
        &["connection", "te", "x-auth-subject", "x-third"],
    );
    // Our own, for our own connection.
    assert_eq!(received.one("connection"), Some("te"));
    assert_eq!(received.one("te"), Some("trailers"));
    assert_eq!(received.one("x-auth-subject"), Some("alice"));
    assert_eq!(received.one("x-forwarded-for"), Some("127.0.0.1"));
}

#[tokio::test]
async fn t72_connection_cannot_touch_framing_host_or_the_decision() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    let good = good();
    for (framing, body) in [
        ("Content-Length: 5", "hello"),
        ("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"),
    ] {
        for nominee in [
            "host",
            "content-length",
            "transfer-encoding",
            "authorization",
            "cookie",
            "Host, Content-Length, Transfer-Encoding, Authorization, X-Auth-Subject",
        ] {
            let mut client = gateway.h1().await;
            client
                .send(format!(
                    "POST /api/x HTTP/1.1\r\nHost: localhost\r\n{good}\r\n{framing}\r\n\
                     Connection: {nominee}\r\n\r\n{body}"
                ))
                .await;
            assert_eq!(client.answer().await.status, 200, "{nominee}, {framing}");
            let received = upstream.received().pop().unwrap();
            assert_eq!(received.one("host"), Some("localhost"));
            assert_eq!(received.body, b"hello", "{nominee}, {framing}");
            assert_eq!(received.one("x-auth-subject"), Some("alice"));
            let framing = framing.split(':').next().unwrap().to_ascii_lowercase();
            assert_fields(&received, &["x-auth-subject", &framing]);
        }
    }
    let answer = gateway
        .h1()
        .await
        .get(
            "/api/x",
            &["Connection: authorization", "X-Auth-Subject: a"],
        )
        .await;
    assert_eq!(answer.status, 401);
}

/// What proxies write, and what frameworks read in its place.
const FORGED_ORIGINS: [&str; 22] = [
    "X-Forwarded-For: 10.0.0.1, 8.8.8.8",
    "X-Forwarded-For: 1.1.1.1",
    "X-Forwarded-Proto: http",
    "X-Forwarded-Host: evil.test",
    "X-Forwarded-Port: 1",
    "X-Forwarded-Prefix: /public",
    "X-Forwarded-Uri: /public/x",
    "X-Forwarded-Method: OPTIONS",
    "X-Forwarded-Server: evil.test",
    "X_Forwarded_For: 10.0.0.1",
    "Forwarded: for=10.0.0.1;host=evil.test;proto=http",
    "Forwarded: for=10.0.0.2",
    "X-Real-IP: 10.0.0.1",
    "X-Original-URL: /public/x",
    "X-Original-URI: /public/x",
    "X-Rewrite-URL: /public/x",
    "X-Original-Host: evil.test",
    "X-Forwarded: for=10.0.0.1",
    "Client-IP: 10.0.0.1",
    "X-Client-IP: 10.0.0.1",
    "True-Client-IP: 10.0.0.1",
    "Proxy: http://evil.test:8080",
];

#[tokio::test]
async fn t73_where_a_request_came_from_is_what_we_saw_and_nothing_that_was_said() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    let good = good();
    let mut headers = FORGED_ORIGINS.to_vec();
    headers.push(&good);
    assert_eq!(gateway.h1().await.get("/api/x", &headers).await.status, 200);
    let received = upstream.only();
    assert_fields(&received, &["x-auth-subject"]);
    assert_eq!(received.one("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(received.one("x-forwarded-proto"), Some("https"));
    assert_eq!(received.one("x-forwarded-host"), Some("localhost"));
    assert_eq!(
        received.one("forwarded"),
        Some(r#"for=127.0.0.1;host="localhost";proto=https"#)
    );
    let via = received.one("via").unwrap();
    assert!(via.starts_with("1.1 jotgate-"), "{via}");
}

#[tokio::test]
async fn t73_forged_origins_change_no_decision() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    let mut client = gateway.h1().await;
    for header in FORGED_ORIGINS {
        let answer = client.get("/api/x", &[header]).await;
        assert_eq!(answer.status, 401, "{header}");
        let answer = client.get("/nowhere", &[header]).await;
        assert_eq!(answer.status, 404, "{header}");
    }
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn via_is_added_to_not_replaced() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    let headers = ["Via: 1.0 fred", "Via: 1.1 wilma, 2 betty"];
    assert_eq!(
        gateway.h1().await.get("/public/x", &headers).await.status,
        200
    );
    let via = upstream.only().all("via").join(", ");
    assert!(
        via.starts_with("1.0 fred, 1.1 wilma, 2 betty, 1.1 jotgate-"),
        "{via}"
    );
}

/// An upstream that keeps every byte of the one request it answers.
async fn verbatim() -> (Script, Arc<Mutex<String>>) {
    let seen = Arc::new(Mutex::new(String::new()));
    let upstream = Script::start({
        let seen = seen.clone();
        move |mut line| {
            let seen = seen.clone();
            async move {
                while let Some(head) = line.head().await {
                    let mut request = head.clone();
                    if head.to_ascii_lowercase().contains("transfer-encoding") {
                        let Some(body) = line.until(b"0\r\n").await else {
                            return;
                        };
                        let Some(trailers) = line.until(b"\r\n").await else {
                            return;
                        };
                        request.push_str(&body);
                        request.push_str(&trailers);
                    }
                    seen.lock().unwrap().push_str(&request);
                    line.send("HTTP/1.1 204 No Content\r\n\r\n").await;
                }
            }
        }
    })
    .await;
    (upstream, seen)
}

#[tokio::test]
async fn t75_trailers_that_may_not_trail_go_no_further() {
    let (upstream, seen) = verbatim().await;
    let gateway = Start::to(&upstream.url()).start();
    let mut client = gateway.h1().await;
    client
        .send(format!(
            "POST /api/x HTTP/1.1\r\nHost: localhost\r\n{}\r\nTrailer: X-Auth-Subject\r\n\
             Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Auth-Subject: admin\r\n\
             Authorization: Bearer x\r\nContent-Length: 3\r\nX-Harmless: 1\r\n\r\n",
            good()
        ))
        .await;
    assert_eq!(client.answer().await.status, 204);
    let seen = seen.lock().unwrap().to_ascii_lowercase();
    assert!(seen.ends_with("\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), "{seen}");
    assert_eq!(seen.matches("x-auth-subject: alice\r\n").count(), 1);
    for trace in [
        "admin",
        "authorization",
        "content-length",
        "harmless",
        "trailer",
    ] {
        assert!(!seen.contains(trace), "{trace} in {seen}");
    }
}

#[tokio::test]
async fn t75_trailers_of_an_http2_request_that_were_not_announced_go_no_further() {
    let (upstream, seen) = verbatim().await;
    let gateway = Start::to(&upstream.url()).start();
    let request = Request::post("https://localhost/api/x")
        .header("authorization", format!("Bearer {}", Signer::rsa().good()))
        .body(())
        .unwrap();
    let (answer, mut body) = h2_streams(&gateway)
        .await
        .send_request(request, false)
        .unwrap();
    body.send_data("hello".into(), false).unwrap();
    let mut trailers = HeaderMap::new();
    for (name, value) in [
        ("x-auth-subject", "admin"),
        ("authorization", "Bearer x"),
        ("x-harmless", "1"),
    ] {
        trailers.insert(name, value.parse().unwrap());
    }
    body.send_trailers(trailers).unwrap();
    assert_eq!(answer.await.unwrap().status(), 204);
    let seen = seen.lock().unwrap().to_ascii_lowercase();
    assert!(seen.ends_with("\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), "{seen}");
    for trace in ["admin", "authorization", "harmless", "trailer"] {
        assert!(!seen.contains(trace), "{trace} in {seen}");
    }
}

#[tokio::test]
async fn trailers_that_were_announced_and_may_trail_arrive() {
    let (upstream, seen) = verbatim().await;
    let gateway = Start::to(&upstream.url()).start();
    let mut client = gateway.h1().await;
    client
        .send(
            "POST /public/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\
             Connection: x-own\r\nTrailer: X-Checksum, X_Auth_Subject, Authorization, Host\r\n\
             Trailer: X-Auth-Subject,X-Forwarded-For, x-own\r\n\r\n\
             5\r\nhello\r\n0\r\nX-Checksum: abc\r\nX_Auth_Subject: admin\r\nHost: admin\r\n\
             X-Auth-Subject: admin\r\nX-Forwarded-For: admin\r\nx-own: admin\r\n\
             Authorization: admin\r\nX-Unannounced: admin\r\n\r\n",
        )
        .await;
    assert_eq!(client.answer().await.status, 204);
    let request = Request::post("https://localhost/public/x")
        .header("trailer", "x-checksum, x-auth-subject")
        .body(())
        .unwrap();
    let (answer, mut body) = h2_streams(&gateway)
        .await
        .send_request(request, false)
        .unwrap();
    body.send_data("hello".into(), false).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", "abc".parse().unwrap());
    trailers.insert("x-auth-subject", "admin".parse().unwrap());
    body.send_trailers(trailers).unwrap();
    assert_eq!(answer.await.unwrap().status(), 204);

    let seen = seen.lock().unwrap().to_ascii_lowercase();
    assert!(!seen.contains("admin"), "{seen}");
    assert_eq!(seen.matches("\r\ntrailer: x-checksum\r\n").count(), 2);
    let end = "\r\n5\r\nhello\r\n0\r\nx-checksum: abc\r\n";
    assert_eq!(seen.matches(end).count(), 2, "{seen}");
}

#[tokio::test]
async fn trailers_of_an_answer_reach_whoever_takes_them() {
    let upstream = Upstream::answering(|_| {
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Checksum, Set-Cookie\r\n\
          \r\n5\r\nhello\r\n0\r\nX-Checksum: abc\r\nSet-Cookie: a=1\r\n\
          Content-Length: 3\r\n\r\n"
            .to_vec()
    })
    .await;
    let gateway = Start::with(&upstream)
        .extra("[server]\nworkers = 1\n")
        .start();
    let mut client = gateway.h1().await;
    for (te, end) in [
        (
            "TE: trailers\r\nConnection: TE\r\n",
            "0\r\nx-checksum: abc\r\n\r\n",
        ),
        ("", "0\r\n\r\n"),
    ] {
        client
            .send(format!(
                "GET /public/x HTTP/1.1\r\nHost: localhost\r\n{te}\r\n"
            ))
            .await;
        let head = client.head_answer().await;
        assert_eq!(head.one("trailer"), Some("x-checksum"));
        let rest = client.bytes("5\r\nhello\r\n".len() + end.len()).await;
        assert_eq!(
            String::from_utf8(rest).unwrap(),
            format!("5\r\nhello\r\n{end}")
        );
    }

    let request = Request::get("https://localhost/public/x").body(()).unwrap();
    let (answer, _) = h2_streams(&gateway)
        .await
        .send_request(request, true)
        .unwrap();
    let mut body = answer.await.unwrap().into_body();
    assert_eq!(body.data().await.unwrap().unwrap(), "hello");
    let trailers = body.trailers().await.unwrap().unwrap();
    assert_eq!(trailers.len(), 1, "{trailers:?}");
    assert_eq!(trailers["x-checksum"], "abc");
    assert_eq!(upstream.connections(), 1, "it is kept");
    gateway.events(3).await;
}

#[tokio::test]
async fn t76_the_token_stays_here_unless_the_route_says_otherwise() {
    let upstream = Upstream::start().await;
    let to = upstream.url();
    let gateway = Start::routes(&format!(
        r#"
        [[route]]
        path = "/api/"
        to = "{to}"
        auth = "main"
        [[route]]
        path = "/kept/"
        to = "{to}"
        auth = "main"
        keep_authorization = true
        [[route]]
        path = "/public/"
        to = "{to}"
        auth = "public"
        "#
    ))
    .start();
    let good = good();
    let mut client = gateway.h1().await;
    for (path, fields) in [
        ("/api/x", &["x-auth-subject"][..]),
        ("/kept/x", &["authorization", "x-auth-subject"]),
        ("/public/x", &[]),
    ] {
        let connection = "Connection: Authorization, X-Auth-Subject";
        let headers = [&good, connection, "Proxy-Authorization: Bearer proxy"];
        assert_eq!(client.get(path, &headers).await.status, 200, "{path}");
        let received = upstream.received().pop().unwrap();
        assert_fields(&received, fields);
        if let Some(kept) = received.one("authorization") {
            assert_eq!(format!("Authorization: {kept}"), good);
        }
    }
}

#[tokio::test]
async fn t77_a_header_whose_claim_is_absent_is_absent_whatever_the_client_put_there() {
    let upstream = Upstream::start().await;
    let to = upstream.url();
    let gateway = Start::routes(&format!(
        r#"
        [[route]]
        path = "/needed/"
        to = "{to}"
        auth = "main"
        identity = {{ X-Email = "email" }}
        [[route]]
        path = "/optional/"
        to = "{to}"
        auth = "main"
        identity = {{ X-Auth-Subject = "sub", X-Email = {{ claim = "email", optional = true }} }}
        "#
    ))
    .start();
    let forged = ["X-Email: root@x.test", "x_email: root@x.test", &good()];
    let mut client = gateway.h1().await;
    let refused = client.get("/needed/x", &forged).await;
    assert_eq!(refused.status, 401);
    assert!(
        refused
            .one("www-authenticate")
            .unwrap()
            .contains(r#"error="invalid_token""#)
    );
    assert_eq!(upstream.connections(), 0);
    assert_eq!(gateway.event().await["reason"], "claim_unusable");

    assert_eq!(client.get("/optional/x", &forged).await.status, 200);
    assert_fields(&upstream.only(), &["x-auth-subject"]);

    let mut with_email = claims();
    with_email["email"] = json!("alice@x.test");
    let token = bearer(&Signer::rsa().token(&with_email));
    let answer = client.get("/needed/x", &[forged[0], &token]).await;
    assert_eq!(answer.status, 200);
    let received = upstream.received().pop().unwrap();
    assert_fields(&received, &["x-email"]);
    assert_eq!(received.one("x-email"), Some("alice@x.test"));
}

#[tokio::test]
async fn t78_whatever_a_client_says_its_event_is_one_short_printable_line() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream)
        // One worker's lines are in the order of their requests.
        .extra("\n[log]\nsubject = true\n[server]\nworkers = 1\n")
        .start();
    let with_subject = |subject: &str| {
        let mut claims = claims();
        claims["sub"] = json!(subject);
        bearer(&Signer::rsa().token(&claims))
    };
    let with_kid = |kid: &str| {
        let header = json!({"alg": "RS256", "kid": kid}).to_string();
        let claims = claims().to_string();
        bearer(&Signer::rsa().token_of(&header, &claims, Algorithm::RS256))
    };
    let forged_line = "x\r\n{\"status\":200,\"reason\":\"ok\"}\r\n";
    let good = good();
    let long = "a".repeat(7_000);
    let cases: Vec<(String, Vec<String>)> = vec![
        (format!("/api/{long}"), vec![good.clone()]),
        ("/api/%0d%0a%1b%5b2J".into(), vec![good.clone()]),
        ("/api/\"quoted\"\\".into(), vec![good.clone()]),
        (
            "/api/x".into(),
            vec![good.clone(), format!("User-Agent: \u{1b}[2J{long}")],
        ),
        (
            "/api/x".into(),
            vec![good.clone(), "User-Agent: \"}{\"".into()],
        ),
        ("/api/x".into(), vec![with_subject("a\"b{}\\")]),
        ("/api/x".into(), vec![with_subject(forged_line)]),
        ("/api/x".into(), vec![with_subject("\u{1b}[2J")]),
        ("/api/x".into(), vec![with_subject("\u{202e}olleh")]),
        ("/api/x".into(), vec![with_kid(forged_line)]),
        ("/api/x".into(), vec![with_kid(&"k".repeat(4_000))]),
        ("/api/x".into(), vec![with_kid("\u{1b}]0;owned\u{7}")]),
        ("/api/x\u{1b}[2J".into(), vec![good.clone()]),
    ];
    let count = cases.len();
    for (target, headers) in &cases {
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        gateway.h1().await.get(target, &headers).await;
    }
    let mut client = gateway.h1().await;
    client
        .send("GET /public/x HTTP/1.1\r\nHost: \"}\u{1b}{\"\r\n\r\n")
        .await;
    assert_eq!(client.answer().await.status, 400);

    let events = gateway.events(count + 1).await;
    let log = gateway.log_text();
    assert_eq!(log.lines().count(), events.len());
    for line in log.lines() {
        assert!(line.bytes().all(|b| matches!(b, b' '..=b'~')), "{line:?}");
        assert!(line.len() < 4_096, "{} bytes: {line}", line.len());
    }
    let reasons: Vec<_> = events.iter().map(|event| &event["reason"]).collect();
    assert_eq!(
        reasons.iter().filter(|reason| **reason == "ok").count(),
        upstream.received().len(),
        "{reasons:?}"
    );
    assert_eq!(events[5]["subject"], "a\"b{}\\");
    assert_eq!(events[9]["reason"], "unknown_kid");
    assert_eq!(events[9]["kid"], forged_line);
}

/// In every place where a secret can stand; in no place where somebody could read it.
const CANARY: &str = "c4n4ryc4n4ryc4n4ry";

#[tokio::test]
async fn t79_no_secret_of_a_request_is_in_any_log_answer_or_metric() {
    let dead = Script::start(|line| async { drop(line) }).await;
    let broken = Script::start(|mut line| async move {
        line.head().await;
        line.send("HTTP/9.9 200 OK\r\n\r\n").await;
    })
    .await;
    let alive = Upstream::start().await;
    let (dead, broken, to) = (dead.url(), broken.url(), alive.url());
    let route = |path: &str, to: &str, more: &str| {
        format!("[[route]]\npath = \"{path}\"\nto = \"{to}\"\nauth = \"main\"\n{more}\n")
    };
    let start = Start::routes(
        &[
            route("/api/", &to, ""),
            route("/email/", &to, "identity = { X-Email = \"email\" }"),
            route("/get/", &to, "methods = [\"GET\"]"),
            route("/small/", &to, "max_body = \"1KiB\""),
            route("/dead/", &dead, ""),
            route("/broken/", &broken, ""),
        ]
        .join("\n"),
    );
    let process = Process::start(start, "debug,hyper=debug,h2=debug,rustls=debug");

    let signer = Signer::rsa();
    let with = |name: &str, value: serde_json::Value| {
        let mut claims = claims();
        claims["canary"] = json!(CANARY);
        claims[name] = value;
        signer.token(&claims)
    };
    let good = with("sub", json!(CANARY));
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let tokens = [
        good.clone(),
        format!("{signed}.{CANARY}{}", &signature[CANARY.len()..]),
        format!("{CANARY}.{CANARY}.{CANARY}"),
        format!("{CANARY} {CANARY}"),
        CANARY.into(),
        with("exp", json!(now() - 1_000)),
        with("exp", json!(CANARY)),
        with("aud", json!(CANARY)),
        with("iss", json!(CANARY)),
        with("sub", json!([CANARY])),
        with("email", json!(format!("{CANARY}\r\n"))),
        Signer::stranger().token(&json!({"sub": CANARY, "iss": "https://issuer.test"})),
    ];
    let targets = [
        format!("/api/x?access_token={CANARY}"),
        "/email/x".into(),
        "/get/x".into(),
        "/small/x".into(),
        "/dead/x".into(),
        "/broken/x".into(),
        "/nowhere".into(),
        "/api/../x".into(),
        "/api/x\u{1b}".into(),
    ];
    let encoded = |text: &str| {
        use base64::Engine as _;
        // Inside a token the text stands at any of three places of base64's blocks.
        ["", "x", "xx"].map(|pad| {
            let text =
                base64::engine::general_purpose::URL_SAFE_NO_PAD.encode([pad, text].concat());
            text[4..text.len() - 4].to_owned()
        })
    };
    let mut traces = encoded(CANARY).to_vec();
    traces.push(CANARY.into());
    let assert_silent = |text: &str, whose: &str| {
        for trace in traces.iter().map(String::as_str).chain([signature]) {
            assert!(!text.contains(trace), "{trace} in {whose}: {text}");
        }
    };

    for token in &tokens {
        for target in &targets {
            for twice in [false, true] {
                let mut client =
                    H1::connect_to(process.https, &process.authority, Some("localhost")).await;
                let mut head = format!(
                    "PUT {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
                     Cookie: session={CANARY}\r\nProxy-Authorization: Basic {CANARY}\r\n\
                     Content-Length: 2000\r\n"
                );
                if twice {
                    head.push_str(&format!("Authorization: Basic {CANARY}\r\n"));
                }
                client.send(format!("{head}\r\n")).await;
                client.send("x".repeat(2_000)).await;
                let Answer { headers, body, .. } = client.answer().await;
                assert_silent(&format!("{headers:?}"), "an answer's fields");
                assert_silent(&String::from_utf8_lossy(&body), "an answer");
            }
        }
    }
    let mut admin = H1::over(TcpStream::connect(process.admin).await.unwrap());
    let metrics = admin.get("/metrics", &["Connection: close"]).await;
    assert_eq!(metrics.status, 200);
    assert_silent(&metrics.text(), "the metrics");
    let private = Signer::rsa().private_pem();
    let key_line = private.lines().nth(5).unwrap().to_owned();
    let written = process.end();
    assert!(written.contains("\"reason\":\"upstream_broken\""));
    assert!(written.contains("DEBUG"), "{written}");
    assert_silent(&written, "the log");
    assert!(!written.contains(&key_line));
    // Not for want of having been there: the good one got through.
    let received = alive.received();
    assert!(
        received
            .iter()
            .any(|r| r.one("x-auth-subject") == Some(CANARY))
    );
}

#[tokio::test]
async fn t80_a_request_that_comes_back_is_stopped_at_once() {
    let back: Arc<OnceLock<(SocketAddr, String)>> = Arc::default();
    let upstream = Script::start({
        let back = back.clone();
        move |mut line| {
            let back = back.clone();
            async move {
                let (address, authority) = back.get().unwrap();
                let stream = TcpStream::connect(address).await.unwrap();
                let mut stream = connector(authority, &[b"http/1.1"])
                    .connect("localhost".try_into().unwrap(), stream)
                    .await
                    .unwrap();
                let _ = copy_bidirectional(&mut line.stream, &mut stream).await;
            }
        }
    })
    .await;
    let gateway = Start::to(&upstream.url()).start();
    back.set((gateway.https(), gateway.authority().to_owned()))
        .unwrap();
    // Not even a Connection line makes the gateway forget its name.
    for headers in [&[][..], &["Connection: via"]] {
        let answer = gateway.h1().await.get("/public/x", headers).await;
        assert_eq!(answer.status, 508);
    }
    let events = gateway.events(4).await;
    let mut reasons: Vec<_> = events
        .iter()
        .map(|event| event["reason"].as_str())
        .collect();
    reasons.sort_unstable();
    assert_eq!(reasons, ["loop", "loop", "ok", "ok"].map(Some));
}

#[tokio::test]
async fn t96_a_method_that_a_route_has_chosen_cannot_be_overridden() {
    let upstream = Upstream::start().await;
    let to = upstream.url();
    let gateway = Start::routes(&format!(
        r#"
        [[route]]
        path = "/some/"
        methods = ["GET"]
        to = "{to}"
        auth = "public"
        [[route]]
        path = "/any/"
        to = "{to}"
        auth = "public"
        "#
    ))
    .start();
    let overrides = [
        "X-HTTP-Method-Override: DELETE",
        "X-HTTP-Method: DELETE",
        "X-Method-Override: DELETE",
        "X_HTTP_Method_Override: DELETE",
    ];
    let mut client = gateway.h1().await;
    let answer = client.get("/some/x?_method=DELETE", &overrides).await;
    assert_eq!(answer.status, 200);
    let received = upstream.only();
    assert_eq!(received.line, "GET /some/x?_method=DELETE HTTP/1.1");
    assert_fields(&received, &[]);
    // The real method decides, whatever else is said.
    let answer = client
        .request("DELETE", "/some/x", &["X-HTTP-Method-Override: GET"])
        .await;
    assert_eq!(answer.status, 405);
    assert_eq!(answer.one("allow"), Some("GET, HEAD"));
    assert_eq!(upstream.received().len(), 1);
    assert_eq!(client.get("/any/x", &overrides[..1]).await.status, 200);
    assert_fields(&upstream.received()[1], &["x-http-method-override"]);
}

#[tokio::test]
async fn cookies_in_crumbs_arrive_as_one_field() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    let headers = ["Cookie: a=1; b=2", "Cookie: c=3", "Cookie: d=4"];
    gateway.h1().await.get("/public/x", &headers).await;
    let received = upstream.only();
    assert_eq!(received.one("cookie"), Some("a=1; b=2; c=3; d=4"));
    assert_fields(&received, &["cookie"]);
}

#[tokio::test]
async fn t110_fields_of_the_upstreams_connection_stay_on_it() {
    let upstream = Upstream::answering(|_| {
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nConnection: X-Auth-Subject, x-gone\r\n\
          Connection: content-length, Content-Type, keep-alive\r\nX-Auth-Subject: admin\r\n\
          X-Gone: 1\r\nX-Stays: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\n\
          Upgrade: h2c\r\nProxy-Authenticate: Basic\r\nTrailer: X-Gone\r\nTE: trailers\r\n\
          HTTP2-Settings: x\r\nContent-Type: text/plain\r\nSet-Cookie: a=1\r\n\
          Set-Cookie: b=2\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\nok"
            .to_vec()
    })
    .await;
    let gateway = Start::with(&upstream).start();
    let expected = [
        "content-length",
        "content-type",
        "date",
        "set-cookie",
        "set-cookie",
        // Ours.
        "x-request-id",
        "x-stays",
    ];
    let answer = gateway.h1().await.get("/public/x", &[]).await;
    assert_eq!(answer.text(), "ok");
    let mut names: Vec<_> = answer.headers.iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    assert_eq!(names, expected, "{answer:#?}");

    let request = Request::get("https://localhost/public/x").body(()).unwrap();
    let (answer, _) = h2_streams(&gateway)
        .await
        .send_request(request, true)
        .unwrap();
    let answer = answer.await.unwrap();
    let mut names: Vec<_> = answer.headers().iter().map(|(n, _)| n.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, expected, "{answer:#?}");
}
