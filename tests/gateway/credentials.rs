//! Where a credential may stand and how it must be written (RFC 6750 §2.1, RFC 9110 §11.4).

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};

use crate::harness::{Draft, Kind, Signer, Start, Upstream, bearer, h2_client, judge};

/// Sends each list of header lines and demands this kind of refusal, for this reason.
async fn assert_all(kind: Kind, reason: &str, requests: &[Vec<String>]) {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    let verdicts = judge(&gateway, &upstream, "/api/x", requests).await;
    for (lines, verdict) in requests.iter().zip(&verdicts) {
        let name = format!("{lines:.80?}");
        kind.check(&verdict.answer, &name);
        assert_eq!(verdict.reason(), reason, "{name}");
    }
    assert_eq!(upstream.connections(), 0);
}

fn good() -> String {
    Signer::rsa().good()
}

#[tokio::test]
async fn t01_t02_t07_t10_elsewhere_than_in_a_bearer_field_is_no_credential() {
    let good = good();
    let cases = [
        String::new(),
        "Authorization: Basic dTpw".to_owned(),
        "Authorization: Digest username=\"u\", realm=\"r\"".to_owned(),
        format!("Authorization: DPoP {good}"),
        format!("Authorization: Bearer{good}"),
        format!("Authorization: Token {good}"),
        "Authorization:".to_owned(),
        format!("Proxy-Authorization: Bearer {good}"),
        format!("X-Authorization: Bearer {good}"),
        format!("Cookie: access_token={good}"),
    ];
    let requests: Vec<Vec<String>> = cases
        .into_iter()
        .map(|line| {
            if line.is_empty() {
                Vec::new()
            } else {
                vec![line]
            }
        })
        .collect();
    assert_all(Kind::Bare, "no_credential", &requests).await;
}

#[tokio::test]
async fn t03_t05_t09_t26_a_bearer_that_breaks_the_grammar_is_an_invalid_request() {
    let good = good();
    let (header, rest) = good.split_once('.').unwrap();
    let (payload, signature) = rest.split_once('.').unwrap();
    let values = [
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        format!("Bearer\t{good}"),
        format!("Bearer \t{good}"),
        format!("Bearer {good} .jjjj"),
        format!("Bearer {good},"),
        format!("Bearer {good} extra"),
        format!("Bearer {good}, Bearer bad"),
        format!("Bearer {good};a=b"),
        format!("Bearer \"{good}\""),
        format!("Bearer {{{good}}}"),
        format!("Bearer {}", good.replacen('e', "%65", 1)),
        format!("Bearer {}", good.replacen('.', " .", 1)),
        format!("Bearer {good}\u{e9}"),
        format!("Bearer {header}=.{payload}.{signature}"),
        format!("Bearer {header}.{payload}=.{signature}"),
        format!("Bearer {header}.{payload}?.{signature}"),
        format!("Bearer {header}.{payload}#.{signature}"),
        format!(
            r#"Bearer {{"payload":"{payload}","protected":"{header}","signature":"{signature}"}}"#
        ),
    ];
    let requests: Vec<_> = values
        .iter()
        .map(|value| vec![format!("Authorization: {value}")])
        .collect();
    assert_all(Kind::InvalidRequest, "malformed_credential", &requests).await;
}

#[tokio::test]
async fn t06_two_credentials_are_refused() {
    let (good, bad) = (bearer(&good()), bearer("bad"));
    let requests = [
        vec![good.clone(), good.clone()],
        vec![good.clone(), bad.clone()],
        vec![bad, good.clone()],
        vec![good.clone(), "Authorization: Basic dTpw".to_owned()],
        vec!["Authorization: Basic dTpw".to_owned(), good.clone()],
        vec![good, "authorization:".to_owned()],
    ];
    assert_all(Kind::InvalidRequest, "repeated_credential", &requests).await;
}

#[tokio::test]
async fn t04_the_scheme_ignores_case_and_takes_several_spaces() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    let good = good();
    let requests: Vec<_> = ["Bearer ", "bearer ", "BEARER ", "bEaReR ", "Bearer    "]
        .iter()
        .map(|scheme| vec![format!("Authorization: {scheme}{good}")])
        .collect();
    for verdict in judge(&gateway, &upstream, "/api/x", &requests).await {
        assert_eq!((verdict.answer.status, verdict.reason()), (200, "ok"));
        let forwarded = verdict.forwarded.unwrap();
        assert_eq!(forwarded.one("x-auth-subject"), Some("alice"));
        assert_eq!(forwarded.one("authorization"), None);
    }
}

#[tokio::test]
async fn t07_a_token_in_the_query_is_no_credential_and_is_not_logged() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    let good = good();
    let mut client = gateway.h1().await;
    let answer = client
        .get(&format!("/api/x?access_token={good}"), &[])
        .await;
    Kind::Bare.check(&answer, "query");
    let form = format!("access_token={good}");
    client
        .send(format!(
            "POST /api/x HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
            form.len()
        ))
        .await;
    Kind::Bare.check(&client.answer().await, "form");
    for event in gateway.events(2).await {
        assert_eq!(event["path"], "/api/x");
    }
    assert!(!gateway.log_text().contains(&good[..40]));
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn t08_an_oversized_token_is_refused_by_its_length() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    let longest = 8 * 1024;
    // A token whose signature would be good, filled up by a claim to exactly the limit and beyond.
    let padded = |bytes: usize| {
        let draft = |fill: usize| Draft::good().claim("fill", &format!("\"{}\"", "x".repeat(fill)));
        let fill = (5_000..6_500)
            .rev()
            .find(|fill| base64_len(&draft(*fill)) <= bytes)
            .unwrap();
        draft(fill).signed()
    };
    let fits = padded(longest);
    assert!(fits.len() > longest - 3 && fits.len() <= longest);
    let requests = [
        vec![bearer(&fits)],
        vec![bearer(&format!(
            "{fits}{}",
            "A".repeat(longest + 1 - fits.len())
        ))],
        vec![bearer(&padded(longest + 4))],
        vec![bearer(&".".repeat(longest + 1))],
        vec![bearer(&".".repeat(longest))],
    ];
    let verdicts = judge(&gateway, &upstream, "/api/x", &requests).await;
    let reasons: Vec<_> = verdicts.iter().map(|verdict| verdict.reason()).collect();
    assert_eq!(
        reasons,
        [
            "ok",
            "token_too_long",
            "token_too_long",
            "token_too_long",
            "malformed_token"
        ]
    );
    for verdict in &verdicts[1..] {
        Kind::InvalidToken.check(&verdict.answer, verdict.reason());
    }
}

/// How long the token of a draft is; RS256 signatures of 2048 bits have 342 characters.
fn base64_len(draft: &Draft) -> usize {
    draft.signing_input().len() + 1 + 342
}

#[tokio::test]
async fn t08_a_token_larger_than_a_head_ends_the_connection() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    for bytes in [300 * 1024, 1024 * 1024] {
        let mut client = gateway.h1().await;
        let token = ".".repeat(bytes);
        let request = format!(
            "GET /api/x HTTP/1.1\r\nHost: localhost\r\n{}\r\n\r\n",
            bearer(&token)
        );
        // The gateway may stop reading at any point, so the rest may find nobody there.
        let _ = tokio::io::AsyncWriteExt::write_all(&mut client.stream, request.as_bytes()).await;
        let answer = String::from_utf8(client.rest().await).unwrap();
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 431 "),
            "{answer}"
        );
    }
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn t09_a_control_character_in_a_credential_ends_the_connection() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    for stranger in ["\0", "\x01", "\x7f", "\r", "\n x"] {
        let mut client = gateway.h1().await;
        let request = format!(
            "GET /api/x HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}{stranger}\r\n\r\n",
            good()
        );
        client.send(request).await;
        let answer = String::from_utf8(client.rest().await).unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 400 "),
            "{stranger:?}: {answer}"
        );
    }
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn t10_proxy_authorization_is_never_forwarded() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    let good = good();
    let lines = [bearer(&good), format!("Proxy-Authorization: Bearer {good}")];
    for path in ["/api/x", "/public/x"] {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let answer = gateway.h1().await.get(path, &lines).await;
        assert_eq!(answer.status, 200, "{path}");
    }
    for received in upstream.received() {
        assert_eq!(
            received.one("proxy-authorization"),
            None,
            "{}",
            received.line
        );
    }
}

#[tokio::test]
async fn t11_t12_every_method_needs_a_credential() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    let mut client = gateway.h1().await;
    let preflight = [
        "Origin: https://app.test",
        "Access-Control-Request-Method: GET",
        "Access-Control-Request-Headers: authorization",
    ];
    for method in ["OPTIONS", "DELETE", "PROPFIND", "GET"] {
        let answer = client.request(method, "/api/x", &preflight).await;
        Kind::Bare.check(&answer, method);
    }
    let get = client.get("/api/x", &[]).await;
    let head = client.request("HEAD", "/api/x", &[]).await;
    assert_eq!((head.status, head.body.len()), (401, 0));
    let fields = |answer: &crate::harness::Answer| -> Vec<_> {
        answer
            .headers
            .iter()
            .filter(|(name, _)| !["date", "x-request-id"].contains(&name.as_str()))
            .cloned()
            .collect()
    };
    assert_eq!(fields(&head), fields(&get));
    // The answer to HEAD had no body: the next one begins where it should.
    assert_eq!(client.get("/api/x", &[]).await.status, 401);
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn t13_a_refused_upload_is_not_invited_and_not_read_to_its_end() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    let mut client = gateway.h1().await;
    client
        .send(
            "POST /api/x HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 1000000000\r\n\r\n",
        )
        .await;
    // The very first head is the refusal: no `100 Continue` came before.
    let answer = client.answer().await;
    Kind::Bare.check(&answer, "upload");
    // A client that sends all the same is cut off early.
    let chunk = vec![0; 16 * 1024];
    let mut sent = 0_usize;
    while tokio::io::AsyncWriteExt::write_all(&mut client.stream, &chunk)
        .await
        .is_ok()
    {
        sent += chunk.len();
        assert!(sent < 64 * 1024 * 1024, "it reads on and on");
    }
    assert!(client.rest().await.is_empty());
    let event = gateway.event().await;
    assert_eq!(event["reason"], "no_credential");
    let read = event["bytes_in"].as_u64().unwrap();
    assert!(read <= 64 * 1024, "{read} bytes of it were read");
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn t14_a_connection_remembers_no_credential() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    let good = good();
    let bad = Draft::good().signed_by(Signer::stranger());
    let requests = [
        vec![bearer(&good)],
        vec![bearer(&bad)],
        vec![],
        vec![bearer(&good)],
    ];
    let verdicts = judge(&gateway, &upstream, "/api/x", &requests).await;
    let reasons: Vec<_> = verdicts.iter().map(|verdict| verdict.reason()).collect();
    assert_eq!(reasons, ["ok", "bad_signature", "no_credential", "ok"]);

    let mut client = h2_client(&gateway).await;
    for (token, status) in [
        (Some(&good), 200),
        (Some(&bad), 401),
        (None, 401),
        (Some(&good), 200),
    ] {
        let mut request = Request::get("https://localhost/api/x");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(Full::<Bytes>::default()).unwrap();
        let answer = client.send_request(request).await.unwrap();
        assert_eq!(answer.status(), status);
        answer.into_body().collect().await.unwrap();
    }
    assert_eq!(upstream.received().len(), 4);
}

#[tokio::test]
async fn t06_two_credentials_are_refused_on_http2_too() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    let mut client = h2_client(&gateway).await;
    let good = format!("Bearer {}", good());
    let request = Request::get("https://localhost/api/x")
        .header("authorization", &good)
        .header("authorization", &good)
        .body(Full::<Bytes>::default())
        .unwrap();
    assert_eq!(client.send_request(request).await.unwrap().status(), 400);
    assert_eq!(gateway.event().await["reason"], "repeated_credential");
    assert_eq!(upstream.connections(), 0);
}
