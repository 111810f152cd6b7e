//! What is said of values that are wrong.

use super::{complains, with};

/// Each is something of the good file, what stands there instead, and what is said of that.
fn instead(rows: &[(&str, &str, &str)]) {
    for (from, to, expected) in rows {
        complains(&with(from, to), &[expected]);
    }
}

/// Each is what stands below a line of the good file, and what is said of that.
fn below(line: &str, rows: &[(&str, &str)]) {
    for (more, expected) in rows {
        complains(&with(line, &format!("{line}\n{more}\n")), &[expected]);
    }
}

#[test]
fn of_a_listener_are_told_what_they_should_be() {
    let (https, http) = (r#""127.0.0.1:8443""#, r#""127.0.0.1:8080""#);
    instead(&[
        (
            https,
            "8443",
            "expected a string or a list of strings, found an integer",
        ),
        (https, "8443", r#"write ":8443""#),
        (https, "[8443]", "https[0]: expected a string, found"),
        (https, r#""localhost:8443""#, "is not an address"),
        (https, "[]", "at least one address"),
        (http, https, "is taken twice"),
        (http, r#"":8443""#, "is taken twice"),
    ]);
    below(
        "[listen]",
        &[
            (
                r#"trusted_proxies = ["10.0.0.0/8", "10.0.0.0/40"]"#,
                r#"listen.trusted_proxies[1]: "10.0.0.0/40" is not an address"#,
            ),
            (
                r#"trusted_proxies = "10.1.2.3/8""#,
                "has bits behind its prefix",
            ),
            (
                r#"trusted_proxies = "localhost""#,
                r#"expected "10.0.0.0/8""#,
            ),
            (
                "proxy_protocol = true",
                "name the proxies that send the header in trusted_proxies",
            ),
            (
                "proxy_protocol = true\ntrusted_proxies = []",
                "nobody could connect",
            ),
            (
                "proxy_protocol = true\ntrusted_proxies = \"x\"",
                "is not an address or a range",
            ),
        ],
    );
}

#[test]
fn no_message_repeats_the_password_of_an_upstream() {
    let to = r#""http://127.0.0.1:3000""#;
    for secret in [
        "https://u:s3#cret@h",
        "ftp://u:s3cret@h",
        "http://u:s3cret@h/",
    ] {
        let text = with(to, &format!("\"{secret}\""));
        for problem in super::read(&text).1.iter() {
            assert!(!problem.message.contains("cret"), "{problem:?}");
        }
    }
}

#[test]
fn of_tables_for_all_are_told_what_they_should_be() {
    let last = r#"auth = "public""#;
    below(
        last,
        &[
            ("[upstream]\ncert = \"a.crt\"", "come together"),
            ("[upstream]\nmax_connections = 0", "must be from 1"),
            (
                "[limits]\nconnect_timeout = \"1s\"",
                "belongs in [upstream]",
            ),
            ("[limits]\nconnections = 0", "must be from 1"),
            ("[tls]\nhsts = \"yes\"", "Strict-Transport-Security"),
            ("[tls]\nhsts = true", "expected a string or false, found"),
            ("[tls]\nhsts = true", "without the key it is a year"),
            ("[tls]\nmin_version = \"1.1\"", r#"expected "1.2" or "1.3""#),
        ],
    );
}

#[test]
fn of_an_issuer_are_told_what_they_should_be() {
    let (aud, keys) = (r#"aud  = "orders""#, r#"keys = "keys/""#);
    instead(&[
        (aud, "aud = []", "at least one"),
        (aud, r#"aud = """#, "must not be empty"),
        (
            keys,
            "keys = '{ \"keys\": [] }'",
            "the name of a file is expected, not what stands in it",
        ),
        (
            keys,
            "secret = '''\n-----BEGIN X-----\n'''",
            "issuer.main.secret: the name of a file is expected",
        ),
        (aud, "aud = 1", "expected a string or a list of strings"),
        (
            keys,
            "keys = 1",
            "expected a string or a table or a list of these",
        ),
        (keys, "", "no keys"),
        (
            "[issuer.main]",
            "[issuer.public]\niss=\"x\"\naud=\"y\"\nkeys=\"z\"\n[issuer.main]",
            "reserved",
        ),
    ]);
    below(
        keys,
        &[
            (r#"secret = "s""#, "either keys or a secret"),
            (r#"secret_encoding = "raw""#, "for `secret` only"),
            ("leeway = 30", "a duration with its unit"),
            (r#"leeway = "301s""#, "must be from"),
            (r#"leeway = "1500ms""#, "whole seconds"),
            (r#"algorithms = ["RS265"]"#, r#"did you mean "RS256"?"#),
            (r#"algorithms = ["HS256"]"#, "does not fit"),
            (r#"algorithms = ["none"]"#, "is not one of the choices"),
            (r#"algorithms = "rs256""#, r#"did you mean "RS256"?"#),
            (r#"algorithms = "ES512""#, "P-521, which are not supported"),
        ],
    );
}

#[test]
fn of_a_route_are_told_what_they_should_be() {
    let (path, to) = (r#"path = "/api/""#, "http://127.0.0.1:3000");
    instead(&[
        (path, r#"path = "api/""#, "route[0].path"),
        (path, r#"path = "/a/../b/""#, "route[0].path"),
        (
            path,
            "path = \"/api/\"\nhost = \"https://a.example\"",
            "a route's host has no scheme",
        ),
        (
            r#"auth = "main""#,
            "auth = true",
            "expected a string or a list of strings, found a boolean",
        ),
        (
            r#"auth = "main""#,
            "auth = true",
            r#"say who may pass: "main", "public""#,
        ),
        (
            r#"to   = "http://127.0.0.1:3000""#,
            r#"to = ["http://127.0.0.1:3000"]"#,
            "a route has one upstream",
        ),
        (to, "ftp://127.0.0.1:3000", "https://"),
        (to, "127.0.0.1:3000", "http://host[:port]"),
    ]);
    below(
        r#"auth = "main""#,
        &[
            (r#"upstream = { ca = "ca.pem" }"#, "are for https"),
            (r#"methods = ["get"]"#, "not a method"),
            (r#"methods = ["TRACE"]"#, "never forwarded"),
            ("methods = []", "at least one"),
            (r#"upgrade = "websocket""#, "true or false"),
            (r#"max_body = "8KB""#, "expected a size"),
        ],
    );
    below(
        r#"auth = "public""#,
        &[
            ("identity = {}", "no identity"),
            (r#"aud = "x""#, "looks at no token"),
        ],
    );
}
