//! What is said of values that are wrong.

use super::{complains, with};

/// Each is one line of the good file, what stands there instead, and what is said of that.
fn are_told(rows: &[(&str, &str, &str)]) {
    for (from, to, expected) in rows {
        complains(&with(from, to), &[expected]);
    }
}

#[test]
fn values_outside_issuers_and_routes_are_told_what_they_should_be() {
    are_told(&[
        (
            r#""127.0.0.1:8443""#,
            "8443",
            "expected a string, found an integer",
        ),
        (
            r#""127.0.0.1:8443""#,
            r#""localhost:8443""#,
            "is not an address",
        ),
        (r#""127.0.0.1:8443""#, "[]", "at least one address"),
        (
            r#""127.0.0.1:8080""#,
            r#""127.0.0.1:8443""#,
            "is taken twice",
        ),
        (r#""127.0.0.1:8080""#, r#"":8443""#, "is taken twice"),
        (
            "[listen]",
            "[upstream]\ncert = \"a.crt\"\n[listen]",
            "come together",
        ),
        (
            "[listen]",
            "[upstream]\nmax_connections = 0\n[listen]",
            "must be from 1",
        ),
        (
            "[listen]",
            "[limits]\nconnect_timeout = \"1s\"\n[listen]",
            "belongs in [upstream]",
        ),
        (
            "[listen]",
            "[listen]\ntrusted_proxies = [\"10.0.0.0/8\", \"10.0.0.0/40\"]",
            r#"listen.trusted_proxies[1]: "10.0.0.0/40" is not an address"#,
        ),
        (
            "[listen]",
            "[listen]\ntrusted_proxies = \"10.1.2.3/8\"",
            "has bits behind its prefix",
        ),
        (
            "[listen]",
            "[listen]\nproxy_protocol = true",
            "name the proxies that send the header in trusted_proxies",
        ),
        (
            "[listen]",
            "[listen]\nproxy_protocol = true\ntrusted_proxies = []",
            "nobody could connect",
        ),
        (
            "[listen]",
            "[listen]\nproxy_protocol = true\ntrusted_proxies = \"x\"",
            "is not an address or a range",
        ),
        (
            "[listen]",
            "[listen]\ntrusted_proxies = \"localhost\"",
            r#"expected "10.0.0.0/8""#,
        ),
        (
            "[listen]",
            "[tls]\nhsts = \"yes\"\n[listen]",
            "Strict-Transport-Security",
        ),
        (
            "[listen]",
            "[tls]\nmin_version = \"1.1\"\n[listen]",
            r#"expected "1.2" or "1.3""#,
        ),
        (
            "[listen]",
            "[limits]\nconnections = 0\n[listen]",
            "must be from 1",
        ),
    ]);
}

#[test]
fn values_of_an_issuer_are_told_what_they_should_be() {
    are_told(&[
        (r#"aud  = "orders""#, "aud = []", "at least one"),
        (r#"aud  = "orders""#, r#"aud = """#, "must not be empty"),
        (r#"keys = "keys/""#, "", "no keys"),
        (
            r#"keys = "keys/""#,
            "keys = \"k\"\nsecret = \"s\"",
            "either keys or a secret",
        ),
        (
            r#"keys = "keys/""#,
            "keys = \"k\"\nsecret_encoding = \"raw\"",
            "for `secret` only",
        ),
        (
            r#"keys = "keys/""#,
            "keys = \"k\"\nleeway = 30",
            "a duration with its unit",
        ),
        (
            r#"keys = "keys/""#,
            "keys = \"k\"\nleeway = \"301s\"",
            "must be from",
        ),
        (
            r#"keys = "keys/""#,
            "keys = \"k\"\nleeway = \"1500ms\"",
            "whole seconds",
        ),
        (
            r#"keys = "keys/""#,
            "keys = \"k\"\nalgorithms = [\"RS265\"]",
            r#"did you mean "RS256"?"#,
        ),
        (
            r#"keys = "keys/""#,
            "keys = \"k\"\nalgorithms = [\"HS256\"]",
            "does not fit",
        ),
        (
            r#"keys = "keys/""#,
            "keys = \"k\"\nalgorithms = [\"none\"]",
            "is not one of the choices",
        ),
        (
            "[issuer.main]",
            "[issuer.public]\niss=\"x\"\naud=\"y\"\nkeys=\"z\"\n[issuer.main]",
            "reserved",
        ),
    ]);
}

#[test]
fn values_of_a_route_are_told_what_they_should_be() {
    are_told(&[
        (r#"path = "/api/""#, r#"path = "api/""#, "route[0].path"),
        (r#"path = "/api/""#, r#"path = "/a/../b/""#, "route[0].path"),
        ("http://127.0.0.1:3000", "ftp://127.0.0.1:3000", "https://"),
        (
            "auth = \"main\"\n",
            "auth = \"main\"\nupstream = { ca = \"ca.pem\" }\n",
            "are for https",
        ),
        (
            "http://127.0.0.1:3000",
            "127.0.0.1:3000",
            "http://host[:port]",
        ),
        (
            "auth = \"main\"\n",
            "auth = \"main\"\nmethods = [\"get\"]\n",
            "not a method",
        ),
        (
            "auth = \"main\"\n",
            "auth = \"main\"\nmethods = [\"TRACE\"]\n",
            "never forwarded",
        ),
        (
            "auth = \"main\"\n",
            "auth = \"main\"\nmethods = []\n",
            "at least one",
        ),
        (
            "auth = \"main\"\n",
            "auth = \"main\"\nupgrade = \"websocket\"\n",
            "true or false",
        ),
        (
            "auth = \"main\"\n",
            "auth = \"main\"\nmax_body = \"8KB\"\n",
            "expected a size",
        ),
        (
            r#"auth = "public""#,
            "auth = \"public\"\nidentity = {}",
            "no identity",
        ),
        (
            r#"auth = "public""#,
            "auth = \"public\"\naud = \"x\"",
            "looks at no token",
        ),
    ]);
}
