//! What is allowed and yet rarely meant.

use super::*;

#[test]
fn what_is_allowed_but_rarely_meant_is_a_warning() {
    for (from, to, expected) in [
        ("path = \"/api/\"", "path = \"/api\"", "matches only itself"),
        (
            "http://127.0.0.1:3001",
            "http://127.0.0.1:3000",
            "is public and reaches",
        ),
        (
            "[issuer.main]",
            "[issuer.idle]\niss=\"x\"\naud=\"y\"\nkeys=\"z\"\n[issuer.main]",
            "no route uses",
        ),
        (
            "\"127.0.0.1:8080\"",
            "\"0.0.0.0:8443\"",
            "overlaps another address",
        ),
        (
            "\"127.0.0.1:8443\"",
            "[\"0.0.0.0:443\", \"[::]:443\"]",
            "overlaps another address",
        ),
        (
            "\"127.0.0.1:8443\"",
            "[\"[::]:443\", \"192.0.2.1:443\"]",
            "overlaps another address",
        ),
        (
            "[issuer.main]",
            "[upstream]\nca = \"ca.pem\"\n[issuer.main]",
            "in the clear",
        ),
        (
            "[listen]",
            "[listen]\ntrusted_proxies = [\"::/0\"]",
            "every client can say that it is another",
        ),
    ] {
        let text = with(from, to);
        complains(&text, &[expected]);
        assert!(!read(&text).1.has_errors(), "{to}");
    }
}

#[test]
fn t50_subjects_of_two_issuers_that_look_alike_are_a_warning() {
    let other = "[issuer.other]\niss=\"x\"\naud=\"y\"\nkeys=\"z\"\n[issuer.main]";
    let both = with("[issuer.main]", other).replace("\"main\"", "[\"main\", \"other\"]");
    complains(&both, &["takes tokens of 2 issuers"]);
    let auth = "auth = [\"main\", \"other\"]";
    assert!(both.contains(auth), "{both}");
    for enough in [
        "identity = { X-Auth-Subject = \"sub\", X-Auth-Issuer = \"iss\" }",
        "identity = {}",
        "keep_authorization = true",
    ] {
        let text = both.replace(auth, &format!("{auth}\n{enough}"));
        let (_, problems) = read(&text);
        assert!(
            problems
                .iter()
                .all(|problem| !problem.message.contains("2 issuers")),
            "{enough}: {problems:?}"
        );
    }
}
