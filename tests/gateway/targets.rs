//! Which route a request belongs to, and what the upstream sees of its target: the very bytes that
//! were matched. Whatever a target looks like, nothing behind `/api/` is reached without a token.

use crate::harness::{Answer, H1, Signer, Start, TestGateway, Upstream};

/// A request target, and what becomes of it.
struct Case {
    target: &'static [u8],
    status: u16,
    reason: &'static str,
    /// The target that the upstream gets.
    forwarded: Option<&'static str>,
}

const fn refused(target: &'static [u8], status: u16, reason: &'static str) -> Case {
    Case {
        target,
        status,
        reason,
        forwarded: None,
    }
}

const fn passed(target: &'static [u8], forwarded: &'static str) -> Case {
    Case {
        target,
        status: 200,
        reason: "ok",
        forwarded: Some(forwarded),
    }
}

/// Asks for each target without a token, on a connection of its own.
async fn check(start: impl FnOnce(&Upstream) -> Start, cases: &[Case]) {
    let upstream = Upstream::start().await;
    let gateway = start(&upstream).start();
    let mut forwarded = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let shown = String::from_utf8_lossy(case.target);
        let request = [
            b"GET ",
            case.target,
            b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        ]
        .concat();
        let answer = ask(&gateway, &request).await;
        let event = gateway.events(number + 1).await.remove(number);
        assert_eq!(
            (answer.status, event["reason"].as_str()),
            (case.status, Some(case.reason)),
            "{shown}"
        );
        forwarded.extend(
            case.forwarded
                .map(|target| format!("GET {target} HTTP/1.1")),
        );
        assert_eq!(lines(&upstream), forwarded, "{shown}");
    }
    assert!(forwarded.iter().all(|line| !line.contains("GET /api")));
    if forwarded.is_empty() {
        assert_eq!(upstream.connections(), 0);
    }
}

/// Sends these bytes on a new connection and reads one answer.
async fn ask(gateway: &TestGateway, request: &[u8]) -> Answer {
    let mut client = gateway.h1().await;
    client.send(request).await;
    let answer = if request.starts_with(b"HEAD") {
        client.head_answer().await
    } else {
        client.answer().await
    };
    // What is ambiguous ends the connection: nobody knows what would come next.
    if answer.status == 400 {
        assert!(client.is_closed().await);
    }
    answer
}

async fn ask_host(gateway: &TestGateway, target: &str, host: &str) -> Answer {
    let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    ask(gateway, request.as_bytes()).await
}

fn lines(upstream: &Upstream) -> Vec<String> {
    upstream.received().into_iter().map(|r| r.line).collect()
}

fn last_line(upstream: &Upstream) -> String {
    lines(upstream).pop().unwrap()
}

/// Upstreams that answer with their names.
async fn named(names: &[&'static str]) -> Vec<(&'static str, Upstream)> {
    let mut upstreams = Vec::new();
    for &name in names {
        let respond = move |_: &_| {
            let length = name.len();
            format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{name}").into_bytes()
        };
        upstreams.push((name, Upstream::answering(respond).await));
    }
    upstreams
}

#[tokio::test]
async fn t81_t82_a_dot_segment_is_refused_in_every_spelling() {
    let refused = |target| refused(target, 400, "dot_segment");
    check(
        Start::with,
        &[
            refused(b"/public/../api/s"),
            refused(b"/public/./../api/s"),
            refused(b"/public/.."),
            refused(b"/public/."),
            refused(b"/public/%2e%2e/api/s"),
            refused(b"/public/.%2E/api/s"),
            refused(b"/public/%2E./api/s"),
            refused(b"/./api/s"),
            refused(b"/.."),
        ],
    )
    .await;
}

#[tokio::test]
async fn t83_an_encoded_slash_or_backslash_is_refused_and_a_double_encoded_one_is_left_alone() {
    check(
        Start::with,
        &[
            refused(b"/public/..%2fapi/s", 400, "encoded_slash"),
            refused(b"/public/..%2Fapi/s", 400, "encoded_slash"),
            refused(b"/public%2fapi", 400, "encoded_slash"),
            refused(b"/public/..%5capi/s", 400, "backslash"),
            refused(b"/public/..\\api/s", 400, "backslash"),
            passed(
                b"/public/%252e%252e%252fapi/s",
                "/public/%252e%252e%252fapi/s",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn t84_an_encoded_letter_is_that_letter() {
    check(
        Start::with,
        &[
            refused(b"/%61pi/s", 401, "no_credential"),
            refused(b"/a%70i/s", 401, "no_credential"),
            refused(b"/%61%70%69/s", 401, "no_credential"),
            passed(b"/p%75blic/%7Ea%e2%82%ac", "/public/~a%E2%82%AC"),
        ],
    )
    .await;
}

#[tokio::test]
async fn t84_what_is_matched_is_what_is_forwarded() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    let authorization = format!("Authorization: Bearer {}", Signer::rsa().good());
    let mut client = gateway.h1().await;
    let answer = client
        .get("/%61pi/%2d%3a?%61=%2d//..", &[&authorization])
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(upstream.only().line, "GET /api/-%3A?%61=%2d//.. HTTP/1.1");
}

#[tokio::test]
async fn t85_an_empty_segment_is_refused() {
    let refused = |target| refused(target, 400, "empty_segment");
    check(
        Start::with,
        &[
            refused(b"//api/s"),
            refused(b"/public//../api/s"),
            refused(b"/api//s"),
            refused(b"///"),
            refused(b"/public//"),
        ],
    )
    .await;
}

#[tokio::test]
async fn t86_parameters_hide_no_dots_and_are_otherwise_text() {
    check(
        Start::with,
        &[
            refused(b"/public/..;/api/s", 400, "dot_segment"),
            refused(b"/public/.;x/api/s", 400, "dot_segment"),
            refused(b"/public/..%3b/api/s", 400, "dot_segment"),
            refused(b"/api;x=y/s", 404, "no_route"),
            passed(b"/public/a;x=y", "/public/a;x=y"),
        ],
    )
    .await;
}

#[tokio::test]
async fn t86_parameters_do_not_lead_around_a_route() {
    let refused = |target| refused(target, 400, "path_parameters");
    let start = |upstream: &Upstream| {
        let url = upstream.url();
        Start::routes(&format!(
            r#"
            [[route]]
            path = "/"
            to = "{url}"
            auth = "public"
            [[route]]
            path = "/api/"
            to = "{url}"
            auth = "main"
            [[route]]
            path = "/posts"
            methods = ["POST"]
            to = "{url}"
            auth = "public"
            "#
        ))
    };
    check(
        start,
        &[
            // As an upstream reads it that drops parameters, each of these is `/api/s`.
            refused(b"/api;x/s"),
            refused(b"/api;/s"),
            refused(b"/api%3Bx/s"),
            refused(b"/api%3bx/s;y"),
            refused(b"/;x/api/s"),
            refused(b"/%3B/api/s"),
            refused(b"/posts;x"),
            passed(b"/public;x=y/z;1", "/public;x=y/z;1"),
            passed(b"/;jsessionid=1", "/;jsessionid=1"),
            passed(b"/public?;/api/s", "/public?;/api/s"),
        ],
    )
    .await;
    // Nor to one that there is none for.
    let start = |upstream: &Upstream| {
        let route = crate::upstreams::route(&upstream.url(), "");
        Start::routes(&route.replace("\"/\"", "\"/users/{id}\""))
    };
    let cases = [
        refused(b"/users/;x"),
        refused(b"/users/%3B"),
        passed(b"/users/7;x", "/users/7;x"),
    ];
    check(start, &cases).await;
}

#[tokio::test]
async fn t87_a_fragment_changes_no_route() {
    check(
        Start::with,
        &[
            refused(b"/api/s#/public/x", 401, "no_credential"),
            passed(b"/public#/../api", "/public"),
        ],
    )
    .await;
}

#[tokio::test]
async fn t87_an_absolute_target_without_a_path_is_written_with_one() {
    let to = |upstream: &Upstream| Start::routes(&crate::upstreams::route(&upstream.url(), ""));
    check(
        to,
        &[
            passed(b"http://localhost", "/"),
            passed(b"http://localhost#x", "/"),
            passed(b"http://localhost/#x", "/"),
            passed(b"http://localhost?#x", "/?"),
            passed(b"http://localhost?a#x", "/?a"),
        ],
    )
    .await;
}

#[tokio::test]
async fn t88_a_query_changes_no_route() {
    check(
        Start::with,
        &[
            refused(b"/api/s?/public/", 401, "no_credential"),
            refused(b"/api/s?path=/public/x", 401, "no_credential"),
            refused(b"/api?/../public/", 401, "no_credential"),
            passed(b"/public/?/../api/%2f", "/public/?/../api/%2f"),
            passed(b"/public/??", "/public/??"),
        ],
    )
    .await;
}

#[tokio::test]
async fn t89_what_no_path_is_made_of_is_refused() {
    check(
        Start::with,
        &[
            refused(b"/public/%00", 400, "control_character"),
            refused(b"/public/%0d%0aX:y", 400, "control_character"),
            refused(b"/public/%7f", 400, "control_character"),
            refused(b"/public/%c0%ae", 400, "invalid_utf8"),
            refused(b"/public/%zz", 400, "malformed_escape"),
            refused(b"/public/%", 400, "malformed_escape"),
            refused(b"/public/%4", 400, "malformed_escape"),
            refused(b"/public/\xc3\xa9", 400, "path_character"),
            refused(b"/public/{a}", 400, "path_character"),
            // These never get past the parser.
            refused(b"/public/\x80", 400, "malformed_head"),
            refused(b"/public/\xff", 400, "malformed_head"),
            refused(b"/public/\t", 400, "malformed_head"),
            refused(b"/public/\0", 400, "malformed_head"),
            refused(b"/public/ x", 400, "malformed_head"),
            passed(b"/public/[a]|b", "/public/[a]|b"),
        ],
    )
    .await;
}

#[tokio::test]
async fn t90_case_counts_and_a_prefix_ends_at_a_slash() {
    check(
        Start::with,
        &[
            refused(b"/API/s", 404, "no_route"),
            refused(b"/Api/s", 404, "no_route"),
            refused(b"/apifoo", 404, "no_route"),
            refused(b"/publicfoo", 404, "no_route"),
            refused(b"/api", 401, "no_credential"),
            passed(b"/public", "/public"),
            passed(b"/public/", "/public/"),
        ],
    )
    .await;
}

#[tokio::test]
async fn t91_an_escape_of_what_needs_none_does_not_lead_past_a_route() {
    let upstream = Upstream::start().await;
    let to = upstream.url();
    let gateway = Start::routes(&format!(
        r#"
        [[route]]
        path = "/users/@all"
        to = "{to}"
        auth = "main"
        [[route]]
        path = "/users/{{id}}"
        to = "{to}"
        auth = "public"
        "#
    ))
    .start();
    let mut client = gateway.h1().await;
    for target in ["/users/@all", "/users/%40all", "/users/%40%61ll"] {
        assert_eq!(client.get(target, &[]).await.status, 401, "{target}");
    }
    let bearer = format!("Authorization: Bearer {}", Signer::rsa().good());
    for target in ["/users/%40all", "/users/%2540all"] {
        assert_eq!(client.get(target, &[&bearer]).await.status, 200);
        let line = upstream.received().pop().unwrap().line;
        assert_eq!(line, format!("GET {target} HTTP/1.1"));
    }
}

#[tokio::test]
async fn t91_an_escape_in_a_route_is_the_same_in_either_case() {
    let start = |upstream: &Upstream| {
        let to = upstream.url();
        Start::routes(&format!(
            r#"
            [[route]]
            path = "/caf%c3%a9/"
            to = "{to}"
            auth = "main"
            [[route]]
            path = "/"
            to = "{to}"
            auth = "public"
            "#
        ))
    };
    check(
        start,
        &[
            refused(b"/caf%c3%a9/x", 401, "no_credential"),
            refused(b"/caf%C3%A9/x", 401, "no_credential"),
            refused(b"/c%61f%C3%a9", 401, "no_credential"),
            passed(b"/cafe/x", "/cafe/x"),
        ],
    )
    .await;
}

#[tokio::test]
async fn t92_a_host_is_one_host_in_every_spelling_however_many_there_are() {
    for others in [0, 150] {
        let upstream = Upstream::start().await;
        let to = upstream.url();
        let mut routes = format!(
            r#"
            [[route]]
            host = "a.test"
            path = "/"
            to = "{to}"
            auth = "main"
            [[route]]
            path = "/"
            to = "{to}"
            auth = "public"
            "#
        );
        for number in 0..others {
            routes.push_str(&format!(
                "\n[[route]]\nhost = \"h{number}.test\"\npath = \"/\"\nto = \"{to}\"\nauth = \"public\"\n"
            ));
        }
        let gateway = Start::routes(&routes).start();
        for host in ["a.test", "A.TEST", "a.test.", "a.test:443", "A.Test.:8443"] {
            assert_eq!(ask_host(&gateway, "/", host).await.status, 401, "{host}");
        }
        assert_eq!(upstream.connections(), 0);
        assert_eq!(ask_host(&gateway, "/", "b.test").await.status, 200);
    }
}

#[tokio::test]
async fn t93_there_is_exactly_one_host_and_the_target_agrees_with_it() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    let cases = [
        ("/public/", "", "host_missing"),
        (
            "/public/",
            "Host: localhost\r\nHost: localhost\r\n",
            "host_repeated",
        ),
        (
            "/public/",
            "Host: localhost\r\nHost: other\r\n",
            "host_repeated",
        ),
        ("/public/", "Host:\r\n", "host_malformed"),
        ("/public/", "Host: a,b\r\n", "host_malformed"),
        ("/public/", "Host: u@h\r\n", "host_malformed"),
        ("/public/", "Host: h/p\r\n", "host_malformed"),
        ("/public/", "Host: h:\u{e9}\r\n", "host_malformed"),
        ("/public/", "Host: h:99999\r\n", "host_malformed"),
        (
            "http://other/public/",
            "Host: localhost\r\n",
            "host_mismatch",
        ),
        (
            "https://localhost/public/",
            "Host: other\r\n",
            "host_mismatch",
        ),
        ("https://localhost/public/", "", "host_missing"),
        ("ftp://localhost/public/", "Host: localhost\r\n", "scheme"),
    ];
    for (number, (target, hosts, reason)) in cases.into_iter().enumerate() {
        let request = format!("GET {target} HTTP/1.1\r\n{hosts}\r\n");
        let answer = ask(&gateway, request.as_bytes()).await;
        let event = gateway.events(number + 1).await.remove(number);
        assert_eq!(
            (answer.status, event["reason"].as_str()),
            (400, Some(reason)),
            "{request}"
        );
    }
    assert_eq!(upstream.connections(), 0);
    let answer = ask_host(&gateway, "https://localhost/public/x?q", "localhost").await;
    assert_eq!(answer.status, 200);
    let received = upstream.only();
    assert_eq!(received.line, "GET /public/x?q HTTP/1.1");
    assert_eq!(received.one("host"), Some("localhost"));
}

#[tokio::test]
async fn t94_a_host_of_another_certificate_is_misdirected() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream)
        .certificate("b", &["b.test", "*.b.test"])
        .start();
    let cases = [
        (Some("localhost"), "b.test", 421),
        (Some("localhost"), "B.TEST.:443", 421),
        (Some("localhost"), "x.b.test", 421),
        (Some("b.test"), "localhost", 421),
        (Some("b.test"), "b.test", 200),
        (Some("b.test"), "x.b.test", 200),
        (Some("localhost"), "api.test", 200),
        // Without a name there was nothing to direct it by.
        (None, "b.test", 200),
    ];
    let mut passed = 0;
    for (number, (name, host, status)) in cases.into_iter().enumerate() {
        let mut client = H1::connect(&gateway, name).await;
        client
            .send(format!(
                "GET /public/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
            ))
            .await;
        assert_eq!(client.answer().await.status, status, "{name:?} {host}");
        let event = gateway.events(number + 1).await.remove(number);
        let reason = if status == 421 { "misdirected" } else { "ok" };
        assert_eq!(event["reason"], reason, "{name:?} {host}");
        passed += usize::from(status == 200);
        assert_eq!(upstream.received().len(), passed, "{name:?} {host}");
    }
}

#[tokio::test]
async fn t95_methods_that_are_no_business_of_an_upstream_stay_here() {
    let upstream = Upstream::start().await;
    let to = upstream.url();
    let gateway = Start::routes(&format!(
        "[[route]]\npath = \"/\"\nto = \"{to}\"\nauth = \"public\"\n"
    ))
    .start();
    let long = format!(
        "{} / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "A".repeat(10_240)
    );
    let cases = [
        (
            "GET * HTTP/1.1\r\nHost: localhost\r\n\r\n",
            400,
            "target_form",
        ),
        (
            "CONNECT localhost:443 HTTP/1.1\r\nHost: localhost:443\r\n\r\n",
            501,
            "method_not_implemented",
        ),
        (
            "TRACE / HTTP/1.1\r\nHost: localhost\r\n\r\n",
            501,
            "method_not_implemented",
        ),
        (
            "get / HTTP/1.1\r\nHost: localhost\r\n\r\n",
            501,
            "method_not_implemented",
        ),
        (&long, 501, "method_not_implemented"),
    ];
    for (number, (request, status, reason)) in cases.into_iter().enumerate() {
        let answer = ask(&gateway, request.as_bytes()).await;
        let event = gateway.events(number + 1).await.remove(number);
        assert_eq!(
            (answer.status, event["reason"].as_str()),
            (status, Some(reason)),
            "{request}"
        );
    }
    let answer = ask(&gateway, b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(answer.status, 204);
    assert!(answer.one("allow").unwrap().contains("GET"));
    assert_eq!(upstream.connections(), 0);
    // OPTIONS about a resource is the upstream's to answer.
    let answer = ask(&gateway, b"OPTIONS / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(answer.status, 200);
    assert_eq!(upstream.only().line, "OPTIONS / HTTP/1.1");
}

#[tokio::test]
async fn options_go_as_far_as_they_may() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    let mut client = gateway.h1().await;
    for (path, hops, status, left) in [
        ("/public/x", "2", 200, Some("1")),
        ("/public/x", "0", 204, None),
        ("/api/x", "0", 401, None),
        ("/public/x", "-1", 200, Some("-1")),
    ] {
        let before = upstream.received().len();
        let answer = client
            .request("OPTIONS", path, &[&format!("Max-Forwards: {hops}")])
            .await;
        assert_eq!(answer.status, status, "{path} {hops}");
        let forwarded = upstream.received().split_off(before);
        let forwarded = forwarded.first().map(|request| request.one("max-forwards"));
        assert_eq!(forwarded, left.map(Some), "{path} {hops}");
    }
}

#[tokio::test]
async fn t96_a_method_override_overrides_nothing_where_methods_are_limited() {
    let upstream = Upstream::start().await;
    let to = upstream.url();
    let gateway = Start::routes(&format!(
        r#"
        [[route]]
        path = "/read/"
        methods = ["GET"]
        to = "{to}"
        auth = "public"
        "#
    ))
    .start();
    let mut client = gateway.h1().await;
    let overrides = [
        "X-HTTP-Method-Override: DELETE",
        "X-HTTP-Method: DELETE",
        "X-Method-Override: DELETE",
        "X_HTTP_Method_Override: DELETE",
    ];
    assert_eq!(
        client
            .get("/read/x?_method=DELETE", &overrides)
            .await
            .status,
        200
    );
    let received = upstream.only();
    assert_eq!(received.line, "GET /read/x?_method=DELETE HTTP/1.1");
    assert!(
        received
            .headers
            .iter()
            .all(|(name, _)| !name.contains("method"))
    );
    let answer = client
        .request("POST", "/read/x", &["X-HTTP-Method-Override: GET"])
        .await;
    assert_eq!(answer.status, 405);
    assert_eq!(upstream.received().len(), 1);
}

#[tokio::test]
async fn t97_a_probe_gets_no_special_treatment() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    let mut client = gateway.h1().await;
    let probe = "User-Agent: kube-probe/1.0";
    assert_eq!(client.get("/api/x", &[probe]).await.status, 401);
    for path in ["/healthz", "/livez", "/readyz", "/metrics", "/"] {
        assert_eq!(client.get(path, &[probe]).await.status, 404, "{path}");
    }
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn t98_a_target_has_at_most_eight_kibibytes() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    let fits = format!("/public/{}", "a".repeat(8 * 1024 - 8));
    let cases = [
        (format!("{fits}a"), 414, "target_too_long"),
        (
            format!("/public{}", "/a".repeat(10_000)),
            414,
            "target_too_long",
        ),
        ("/../".repeat(1_000), 400, "dot_segment"),
    ];
    for (number, (target, status, reason)) in cases.into_iter().enumerate() {
        let answer = ask_host(&gateway, &target, "localhost").await;
        let event = gateway.events(number + 1).await.remove(number);
        assert_eq!(
            (answer.status, event["reason"].as_str()),
            (status, Some(reason))
        );
    }
    // Beyond the whole head's limit hyper answers before the target is looked at.
    let answer = ask_host(&gateway, &format!("/{}", "a".repeat(40_000)), "localhost").await;
    assert!(matches!(answer.status, 414 | 431), "{}", answer.status);
    assert_eq!(upstream.connections(), 0);
    assert_eq!(ask_host(&gateway, &fits, "localhost").await.status, 200);
    assert_eq!(upstream.only().line, format!("GET {fits} HTTP/1.1"));
}

#[tokio::test]
async fn a_host_with_routes_of_its_own_sees_only_those() {
    let upstreams = named(&["exact", "wildcard", "any"]).await;
    let [exact, wildcard, any] = [0, 1, 2].map(|at| upstreams[at].1.url());
    let gateway = Start::routes(&format!(
        r#"
        [[route]]
        host = "a.example.test"
        path = "/only/"
        to = "{exact}"
        auth = "public"
        [[route]]
        host = "*.example.test"
        path = "/"
        to = "{wildcard}"
        auth = "public"
        [[route]]
        path = "/"
        to = "{any}"
        auth = "public"
        "#
    ))
    .start();
    for (host, path, expected) in [
        ("a.example.test", "/only/x", Some("exact")),
        ("a.example.test", "/else", None),
        ("b.example.test", "/else", Some("wildcard")),
        ("B.Example.Test.:8443", "/else", Some("wildcard")),
        ("c.b.example.test", "/else", Some("any")),
        ("example.test", "/else", Some("any")),
        ("localhost", "/else", Some("any")),
        ("[::1]", "/else", Some("any")),
    ] {
        let answer = ask_host(&gateway, path, host).await;
        match expected {
            Some(name) => assert_eq!(
                (answer.status, answer.text().as_str()),
                (200, name),
                "{host}"
            ),
            None => assert_eq!(answer.status, 404, "{host}"),
        }
    }
}

#[tokio::test]
async fn the_most_specific_path_wins_and_then_its_methods() {
    let upstreams = named(&["all", "tree", "exact", "name", "read", "write"]).await;
    let routes: Vec<String> = upstreams
        .iter()
        .map(|(name, upstream)| {
            let (path, methods) = match *name {
                "all" => ("/", None),
                "tree" => ("/a/", None),
                "exact" => ("/a/exact", None),
                "name" => ("/a/{name}/b", None),
                "read" => ("/m/", Some(r#"["GET"]"#)),
                _ => ("/m/", Some(r#"["POST", "PUT"]"#)),
            };
            let methods = methods.map_or(String::new(), |methods| format!("methods = {methods}\n"));
            let to = upstream.url();
            format!(
                "[[route]]\nname = \"{name}\"\npath = \"{path}\"\nto = \"{to}\"\nauth = \"public\"\n{methods}"
            )
        })
        .collect();
    let gateway = Start::routes(&routes.concat()).start();
    let mut client = gateway.h1().await;
    for (method, path, expected) in [
        ("GET", "/", "all"),
        ("DELETE", "/ab", "all"),
        ("GET", "/a", "tree"),
        ("GET", "/a/exact/", "tree"),
        ("GET", "/a/exact", "exact"),
        ("GET", "/a/x/b", "name"),
        ("GET", "/m/x", "read"),
        ("PUT", "/m/x", "write"),
    ] {
        let answer = client.request(method, path, &[]).await;
        assert_eq!(answer.text(), expected, "{method} {path}");
    }
    let answer = client.request("HEAD", "/m/x", &[]).await;
    assert_eq!(
        (answer.status, answer.one("content-length")),
        (200, Some("4"))
    );
    // Never the broader route, which would take it.
    let answer = client.request("DELETE", "/m/x", &[]).await;
    assert_eq!(answer.status, 405);
    assert_eq!(answer.one("allow"), Some("GET, HEAD, POST, PUT"));
    assert_eq!(upstreams[0].1.received().len(), 2);
}

#[tokio::test]
async fn the_targets_base_path_comes_first_and_the_prefix_may_go() {
    let upstream = Upstream::start().await;
    let to = upstream.url();
    let gateway = Start::routes(&format!(
        r#"
        [[route]]
        path = "/keep/"
        to = "{to}/base/"
        auth = "public"
        [[route]]
        path = "/strip/"
        to = "{to}/base"
        auth = "public"
        strip_prefix = true
        [[route]]
        path = "/tenant/{{name}}/"
        to = "{to}"
        auth = "public"
        strip_prefix = true
        [[route]]
        path = "/bare/"
        to = "{to}/"
        auth = "public"
        strip_prefix = true
        "#
    ))
    .start();
    let mut client = gateway.h1().await;
    for (target, forwarded) in [
        ("/keep/x?q=%2f", "/base/keep/x?q=%2f"),
        ("/keep", "/base/keep"),
        ("/strip/x/y", "/base/x/y"),
        ("/strip/%41%2B?", "/base/A%2B?"),
        ("/strip/", "/base/"),
        ("/strip", "/base/"),
        ("/strip?q", "/base/?q"),
        ("/tenant/a%20b/x", "/x"),
        ("/tenant/a", "/"),
        ("/bare/", "/"),
        ("/bare", "/"),
        ("/bare?q", "/?q"),
    ] {
        assert_eq!(client.get(target, &[]).await.status, 200, "{target}");
        assert_eq!(
            last_line(&upstream),
            format!("GET {forwarded} HTTP/1.1"),
            "{target}"
        );
    }
}

#[tokio::test]
async fn the_upstream_gets_the_clients_host_or_its_own() {
    let upstream = Upstream::start().await;
    let to = upstream.url();
    let gateway = Start::routes(&format!(
        r#"
        [[route]]
        path = "/client/"
        to = "{to}"
        auth = "public"
        [[route]]
        path = "/target/"
        to = "{to}"
        auth = "public"
        host_header = "target"
        "#
    ))
    .start();
    for (path, host) in [
        ("/client/", "localhost:8443".to_owned()),
        ("/target/", upstream.address.to_string()),
    ] {
        assert_eq!(ask_host(&gateway, path, "localhost:8443").await.status, 200);
        let received = upstream.received().pop().unwrap();
        assert_eq!(received.one("host"), Some(host.as_str()));
        assert_eq!(received.one("x-forwarded-host"), Some("localhost:8443"));
    }
}
