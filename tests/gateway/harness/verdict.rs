//! What a credential came to, as the client, the upstream and the access log saw it.

use serde_json::Value;

use super::{Answer, Received, TestGateway, Upstream};

/// One request that was judged.
#[derive(Debug)]
pub struct Verdict {
    pub answer: Answer,
    /// What the upstream got, if anything.
    pub forwarded: Option<Received>,
    /// The access event.
    pub event: Value,
}

impl Verdict {
    pub fn reason(&self) -> &str {
        self.event["reason"].as_str().unwrap()
    }
}

/// What kind of answer a refused credential gets (RFC 6750 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 401 and nothing but the scheme: there was no credential.
    Bare,
    /// 400 `invalid_request`.
    InvalidRequest,
    /// 401 `invalid_token`.
    InvalidToken,
}

impl Kind {
    const fn status(self) -> u16 {
        match self {
            Self::InvalidRequest => 400,
            Self::Bare | Self::InvalidToken => 401,
        }
    }

    const fn challenge(self) -> &'static str {
        match self {
            Self::Bare => r#"Bearer realm="jotgate""#,
            Self::InvalidRequest => {
                r#"Bearer realm="jotgate", error="invalid_request", error_description="The request's credentials are malformed or repeated.""#
            }
            Self::InvalidToken => {
                r#"Bearer realm="jotgate", error="invalid_token", error_description="The bearer token is not valid here.""#
            }
        }
    }

    const fn detail(self) -> &'static str {
        match self {
            Self::Bare => "A bearer token is required.",
            Self::InvalidRequest => "The request's credentials are malformed or repeated.",
            Self::InvalidToken => "The bearer token is not valid here.",
        }
    }

    /// The whole answer, so that nothing else can be in it: one challenge, fixed words.
    pub fn check(self, answer: &Answer, name: &str) {
        assert_eq!(answer.status, self.status(), "{name}: {}", answer.text());
        assert_eq!(
            answer.one("www-authenticate"),
            Some(self.challenge()),
            "{name}"
        );
        assert_eq!(answer.one("cache-control"), Some("no-store"), "{name}");
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(body["detail"], self.detail(), "{name}");
        let mut names: Vec<_> = body.as_object().unwrap().keys().collect();
        names.sort();
        assert_eq!(
            names,
            ["detail", "request_id", "status", "title", "type"],
            "{name}"
        );
    }
}

/// Sends a GET for each list of header lines, one after another on one connection to a gateway
/// that has served nobody yet.
pub async fn judge<L: AsRef<str>>(
    gateway: &TestGateway,
    upstream: &Upstream,
    path: &str,
    requests: &[Vec<L>],
) -> Vec<Verdict> {
    let mut client = gateway.h1().await;
    let mut seen = Vec::new();
    for lines in requests {
        let before = (upstream.received().len(), upstream.bytes());
        let lines: Vec<&str> = lines.iter().map(AsRef::as_ref).collect();
        let answer = client.get(path, &lines).await;
        let received = upstream.received();
        assert!(received.len() <= before.0 + 1, "sent twice: {received:#?}");
        let forwarded = received.get(before.0).cloned();
        if forwarded.is_none() {
            assert_eq!(upstream.bytes(), before.1, "bytes without a request");
        }
        seen.push((answer, forwarded));
    }
    let events = gateway.events(requests.len()).await;
    seen.into_iter()
        .zip(events)
        .map(|((answer, forwarded), event)| Verdict {
            answer,
            forwarded,
            event,
        })
        .collect()
}

/// The header line that carries a token.
pub fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

/// Sends each token to `/api/x` of a gateway that has served nobody yet, and demands
/// `invalid_token` with the reason beside it.
pub async fn assert_refused(
    gateway: &TestGateway,
    upstream: &Upstream,
    cases: &[(&str, String, &str)],
) {
    let requests: Vec<_> = cases
        .iter()
        .map(|(_, token, _)| vec![bearer(token)])
        .collect();
    let verdicts = judge(gateway, upstream, "/api/x", &requests).await;
    for ((name, _, reason), verdict) in cases.iter().zip(&verdicts) {
        Kind::InvalidToken.check(&verdict.answer, name);
        assert_eq!(verdict.reason(), *reason, "{name}");
    }
    assert_eq!(upstream.bytes(), 0);
}
