//! Who the upstream is told is asking: claims as request headers.

use crate::harness::{Draft, Kind, Received, Start, Upstream, Verdict, bearer, judge};

/// A gateway whose one route has this `identity`, and what it makes of each token. The client
/// claims the headers `X-Auth-Subject` and `X-Claim` for itself every time.
async fn verdicts(identity: &str, drafts: &[Draft]) -> Vec<Verdict> {
    let upstream = Upstream::start().await;
    let to = upstream.url();
    let gateway = Start::routes(&format!(
        "[[route]]\npath = \"/api/\"\nto = \"{to}\"\nauth = \"main\"\nidentity = {identity}\n"
    ))
    .start();
    let requests: Vec<_> = drafts
        .iter()
        .map(|draft| {
            vec![
                bearer(&draft.signed()),
                "X-Auth-Subject: admin".to_owned(),
                "X-Claim: admin".to_owned(),
                "X_Claim: admin".to_owned(),
            ]
        })
        .collect();
    judge(&gateway, &upstream, "/api/x", &requests).await
}

/// What `X-Claim` becomes for each value of the claim `c`: a value, nothing, or a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    Value(String),
    Nothing,
    Refused,
}

fn value(text: &str) -> Told {
    Told::Value(text.to_owned())
}

async fn assert_told(identity: &str, cases: &[(&str, Told)]) {
    let drafts: Vec<_> = cases
        .iter()
        .map(|(json, _)| Draft::good().claim("c", json))
        .collect();
    for ((json, told), verdict) in cases.iter().zip(verdicts(identity, &drafts).await) {
        assert_eq!(told_of(&verdict, json), *told, "{json:.80} with {identity}");
    }
}

fn told_of(verdict: &Verdict, name: &str) -> Told {
    match &verdict.forwarded {
        None => {
            Kind::InvalidToken.check(&verdict.answer, name);
            assert_eq!(verdict.reason(), "claim_unusable", "{name}");
            Told::Refused
        }
        Some(received) => {
            assert_nothing_forged(received);
            received.one("x-claim").map_or(Told::Nothing, value)
        }
    }
}

fn assert_nothing_forged(received: &Received) {
    for (name, value) in &received.headers {
        let folded = name.replace('_', "-");
        let is_identity = folded == "x-claim" || folded == "x-auth-subject";
        assert!(!is_identity || value != "admin", "{name}: {value}");
        assert!(!name.contains('_'), "{name}");
    }
}

#[tokio::test]
async fn t77_a_claim_is_forwarded_as_it_is_or_the_token_is_refused() {
    use Told::Refused;
    let long = format!("\"{}\"", "x".repeat(4 * 1024));
    assert_told(
        r#"{ X-Claim = "c" }"#,
        &[
            (r#""alice""#, value("alice")),
            (r#""Alice B""#, value("Alice B")),
            (r#""a,b""#, value("a,b")),
            (r#""100%""#, value("100%")),
            (
                r##""!\"#$&'()*+-./:;<=>?@[\\]^_`{|}~""##,
                value("!\"#$&'()*+-./:;<=>?@[\\]^_`{|}~"),
            ),
            (&long, value(&"x".repeat(4 * 1024))),
            ("7", value("7")),
            ("0", value("0")),
            ("-7", value("-7")),
            ("18446744073709551615", value("18446744073709551615")),
            ("-9223372036854775808", value("-9223372036854775808")),
            ("true", value("true")),
            ("false", value("false")),
            (r#"["a","b c"]"#, value("a,b c")),
            (r#"["a"]"#, value("a")),
            // Not there in any useful sense.
            ("null", Refused),
            (r#""""#, Refused),
            ("[]", Refused),
            ("{}", Refused),
            (r#"{"c":"x"}"#, Refused),
            ("1.5", Refused),
            ("1.0", Refused),
            ("1e3", Refused),
            // A larger integer would be rounded.
            ("18446744073709551616", Refused),
            // There, and not to be written without another meaning.
            (r#"["a,b"]"#, Refused),
            (r#"["a",""]"#, Refused),
            (r#"["a",1]"#, Refused),
            (r#"["a",["b"]]"#, Refused),
            (r#""é""#, Refused),
            (r#""😀""#, Refused),
            (r#"["é"]"#, Refused),
            (r#"" a""#, Refused),
            (r#""a ""#, Refused),
            (r#"" ""#, Refused),
            (r#""a\tb""#, Refused),
            (r#""a\u0000b""#, Refused),
            (r#""a\u007f""#, Refused),
            (r#""a\r\nX-Auth-Role: admin""#, Refused),
            (r#""a\nb""#, Refused),
            (r#"["a\r\nX: y"]"#, Refused),
            (r#""\u2028""#, Refused),
        ],
    )
    .await;
}

#[tokio::test]
async fn t77_an_optional_claim_is_left_out_when_it_cannot_be_told() {
    use Told::Nothing;
    assert_told(
        r#"{ X-Claim = { claim = "c", optional = true } }"#,
        &[
            (r#""alice""#, value("alice")),
            ("7", value("7")),
            ("null", Nothing),
            (r#""""#, Nothing),
            ("[]", Nothing),
            ("1.5", Nothing),
            (r#"["a,b"]"#, Nothing),
            (r#""é""#, Nothing),
            (r#""a\r\nX-Auth-Role: admin""#, Nothing),
        ],
    )
    .await;
}

#[tokio::test]
async fn t77_an_absent_claim_is_a_refusal_unless_it_is_optional() {
    for (identity, told) in [
        (r#"{ X-Claim = "c" }"#, Told::Refused),
        (r#"{ X-Claim = { claim = "c" } }"#, Told::Refused),
        (
            r#"{ X-Claim = { claim = "c", optional = false } }"#,
            Told::Refused,
        ),
        (
            r#"{ X-Claim = { claim = "c", encode = "percent" } }"#,
            Told::Refused,
        ),
        (
            r#"{ X-Claim = { claim = "c", optional = true } }"#,
            Told::Nothing,
        ),
        (
            r#"{ X-Claim = "sub", X-Auth-Subject = "c" }"#,
            Told::Refused,
        ),
    ] {
        let verdict = verdicts(identity, &[Draft::good()]).await.remove(0);
        assert_eq!(told_of(&verdict, identity), told, "{identity}");
    }
}

#[tokio::test]
async fn t50_percent_encoding_tells_every_string_apart() {
    let cases = [
        (r#""alice""#, "alice"),
        (r#""é""#, "%C3%A9"),
        (r#""%C3%A9""#, "%25C3%25A9"),
        (r#""e\u0301""#, "e%CC%81"),
        (r#""😀""#, "%F0%9F%98%80"),
        (r#""100%""#, "100%25"),
        (r#""a b""#, "a b"),
        (r#"" a""#, "%20a"),
        (r#""a ""#, "a%20"),
        (r#"" ""#, "%20"),
        (r#""%20a""#, "%2520a"),
        (r#""a,b""#, "a,b"),
        (r#"["a,b"]"#, "a%2Cb"),
        (r#"["a","b"]"#, "a,b"),
        (r#""a\r\nX-Auth-Role: admin""#, "a%0D%0AX-Auth-Role: admin"),
        (r#""a\u0000""#, "a%00"),
        (r#""\u007f""#, "%7F"),
        ("7", "7"),
        ("true", "true"),
    ];
    let told = cases.map(|(json, text)| (json, value(text)));
    assert_told(
        r#"{ X-Claim = { claim = "c", encode = "percent" } }"#,
        &told,
    )
    .await;
}

#[tokio::test]
async fn a_list_walks_into_objects_and_a_string_does_not() {
    let claims = |draft: Draft| {
        draft
            .claim("realm_access", r#"{"roles":["a","b"],"deep":{"er":"x"}}"#)
            .claim("realm_access.roles", r#""flat""#)
            .claim("https://issuer.test/role", r#""namespaced""#)
            .claim("list", r#"[{"roles":"in a list"}]"#)
    };
    for (claim, told) in [
        (r#"["realm_access", "roles"]"#, value("a,b")),
        (r#"["realm_access", "deep", "er"]"#, value("x")),
        (r#""realm_access.roles""#, value("flat")),
        (r#"["realm_access.roles"]"#, value("flat")),
        (r#""https://issuer.test/role""#, value("namespaced")),
        (r#"["realm_access", "deep"]"#, Told::Refused),
        (r#"["realm_access", "Roles"]"#, Told::Refused),
        (r#"["realm_access", "roles", "0"]"#, Told::Refused),
        (r#"["list", "roles"]"#, Told::Refused),
        (r#"["sub", "length"]"#, Told::Refused),
        (r#""realm_access""#, Told::Refused),
    ] {
        for identity in [
            format!("{{ X-Claim = {claim} }}"),
            format!("{{ X-Claim = {{ claim = {claim} }} }}"),
        ] {
            let verdict = verdicts(&identity, &[claims(Draft::good())])
                .await
                .remove(0);
            assert_eq!(told_of(&verdict, &identity), told, "{identity}");
        }
    }
}

#[tokio::test]
async fn several_claims_become_several_headers_and_the_default_is_the_subject() {
    let draft = Draft::good()
        .claim("email", r#""alice@issuer.test""#)
        .claim("admin", "false");
    let identity = r#"{ X-Auth-Subject = "sub", X-Email = "email", X-Admin = "admin", X-Org = { claim = "org", optional = true } }"#;
    let verdict = verdicts(identity, &[draft]).await.remove(0);
    let received = verdict.forwarded.unwrap();
    for (name, told) in [
        ("x-auth-subject", Some("alice")),
        ("x-email", Some("alice@issuer.test")),
        ("x-admin", Some("false")),
        ("x-org", None),
        // Nobody's on any route, so it is the client's own.
        ("x-claim", Some("admin")),
    ] {
        assert_eq!(received.one(name), told, "{name}");
    }
}

#[tokio::test]
async fn an_empty_identity_forwards_none_and_needs_no_subject() {
    let drafts = [Draft::good(), Draft::good().without_claim("sub")];
    for verdict in verdicts("{}", &drafts).await {
        assert_eq!(verdict.reason(), "ok");
        let received = verdict.forwarded.unwrap();
        assert_eq!(received.one("x-auth-subject"), None);
        assert_eq!(received.one("authorization"), None);
    }
}

#[tokio::test]
async fn t48_t49_t50_a_subject_that_cannot_be_told_is_a_refusal() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    let subjects = [
        (r#""alice\r\nX-Auth-Role: admin""#, "claim_unusable"),
        (r#""alice\r""#, "claim_unusable"),
        (r#""alice\n""#, "claim_unusable"),
        (r#""alice\u0000""#, "claim_unusable"),
        (r#""alice\u007f""#, "claim_unusable"),
        (r#""\u001b[2Jalice""#, "claim_unusable"),
        (r#"" alice""#, "claim_unusable"),
        (r#""alice ""#, "claim_unusable"),
        (r#""alicé""#, "claim_unusable"),
        (r#""аlice""#, "claim_unusable"),
        (r#""👩""#, "claim_unusable"),
        (r#""alice,bob""#, "ok"),
        (r#""50%""#, "ok"),
        (r#""Alice B""#, "ok"),
    ];
    let requests: Vec<_> = subjects
        .iter()
        .map(|(sub, _)| {
            let token = Draft::good().claim("sub", sub).signed();
            vec![bearer(&token), "X-Auth-Subject: admin".to_owned()]
        })
        .collect();
    let verdicts = judge(&gateway, &upstream, "/api/x", &requests).await;
    for ((sub, reason), verdict) in subjects.iter().zip(&verdicts) {
        assert_eq!(verdict.reason(), *reason, "{sub}");
        if let Some(received) = &verdict.forwarded {
            let told: String = serde_json::from_str(sub).unwrap();
            assert_eq!(received.one("x-auth-subject"), Some(told.as_str()));
            assert_eq!(received.all("x-auth-role"), [""; 0]);
        } else {
            Kind::InvalidToken.check(&verdict.answer, sub);
        }
    }
    assert_eq!(upstream.received().len(), 3);
}
