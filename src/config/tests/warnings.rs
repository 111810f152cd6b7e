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

/// What is said of these routes, each a path, where it leads and who may pass.
fn said_of(routes: &[(&str, &str, &str)]) -> Vec<String> {
    let head = GOOD.split("\n[[route]]").next().unwrap();
    let tables = routes.iter().map(|(path, to, rest)| {
        format!("[[route]]\npath = \"{path}\"\nto = \"{to}\"\nauth = {rest}\n")
    });
    let text = format!("{head}\n{}", tables.collect::<String>());
    assert!(!read(&text).1.has_errors(), "{text}");
    complaints(&text)
}

const APP: &str = "http://127.0.0.1:3000";
const PUBLIC: &str = "\"public\"";
const MAIN: &str = "\"main\"";
const STRIPPED: &str = "\"public\"\nstrip_prefix = true";

#[test]
fn a_public_route_is_a_way_around_where_it_reaches_what_is_protected() {
    let assets = "http://127.0.0.1:3000/assets/";
    let other_port = "http://127.0.0.1:3001";
    for (public, to, rest, protected, is_told) in [
        ("/", APP, PUBLIC, "/api/", true),
        ("/API/", APP, PUBLIC, "/api/", true),
        ("/{any}/", APP, PUBLIC, "/api/", true),
        ("/open/", APP, STRIPPED, "/api/", true),
        (
            "/open/",
            "http://127.0.0.1:3000/api/",
            STRIPPED,
            "/api/",
            true,
        ),
        ("/", assets, PUBLIC, "/assets/", true),
        ("/open/", assets, STRIPPED, "/api/", false),
        ("/open/", assets, STRIPPED, "/", false),
        ("/open/", APP, PUBLIC, "/api/", false),
        ("/healthz", APP, PUBLIC, "/", false),
        ("/api/health", APP, PUBLIC, "/api/", false),
        ("/", other_port, PUBLIC, "/api/", false),
    ] {
        let said = said_of(&[(public, to, rest), (protected, APP, MAIN)]);
        let is_so = said
            .iter()
            .any(|said| said.contains("is public and reaches"));
        assert_eq!(is_so, is_told, "{public} {to} beside {protected}: {said:?}");
    }
    // Whichever of the protected ones it is.
    let said = said_of(&[
        ("/", APP, PUBLIC),
        ("/b/", assets, MAIN),
        ("/c/", APP, MAIN),
    ]);
    assert_eq!(said.len(), 1, "{said:?}");
}

#[test]
fn an_exact_path_is_asked_about_where_a_subtree_may_be_meant() {
    let methods = "\"main\"\nmethods = \"GET\"";
    for (exact, rest, other, access, expected) in [
        ("/api", MAIN, "/x/", MAIN, "\"/api\" matches only itself | "),
        ("/api/{id}", MAIN, "/x/", MAIN, "matches only itself"),
        (
            "/api",
            MAIN,
            "/",
            PUBLIC,
            "what lies below it is public, by \"/\"",
        ),
        ("/api", methods, "/", PUBLIC, "what lies below it is public"),
        ("/a/api", MAIN, "/{x}/", PUBLIC, "is public, by \"/{x}/\""),
        // Meant for certain, or nobody's harm.
        ("/api", methods, "/x/", MAIN, ""),
        ("/api", MAIN, "/", MAIN, ""),
        ("/api/status", MAIN, "/api/", MAIN, ""),
        ("/api", MAIN, "/api/", PUBLIC, ""),
        ("/healthz", PUBLIC, "/x/", MAIN, ""),
        ("/robots.txt", MAIN, "/", PUBLIC, ""),
    ] {
        let to = "http://127.0.0.1:3001";
        let said = said_of(&[(exact, APP, rest), (other, to, access)]);
        let is_about_it = |said: &&String| said.contains(" only itself");
        let said: Vec<_> = said.iter().filter(is_about_it).collect();
        assert_eq!(
            said.len(),
            usize::from(!expected.is_empty()),
            "{exact}: {said:?}"
        );
        assert!(said.iter().all(|said| said.contains(expected)), "{said:?}");
    }
    // Whatever is beside what is public below it.
    let twice = "\"public\"\nmethods = \"GET\"";
    let rest = "\"main\"\nmethods = \"POST\"";
    let said = said_of(&[
        ("/api", APP, MAIN),
        ("/", APP, rest),
        ("/", "http://b", twice),
    ]);
    assert_eq!(said.len(), 1, "{said:?}");
}

#[test]
fn a_wildcard_as_others_write_it_is_told_from_one() {
    for (path, name) in [
        ("/api/:id", "{id}"),
        ("/api/:id/", "{id}"),
        ("/:user_id/x/", "{user_id}"),
        ("/files/*.js", "{name}"),
        ("/a*/", "{name}"),
    ] {
        let said = said_of(&[(path, APP, MAIN)]);
        assert_eq!(said.len(), 1, "{said:?}");
        let is_told = said[0].contains("is no wildcard") && said[0].contains(name);
        assert!(is_told, "{said:?}");
    }
    assert!(said_of(&[("/a:b/{id}/", APP, MAIN)]).is_empty());
}

#[test]
fn what_is_said_of_upstreams_and_nothing_uses_is_a_warning() {
    let ca = "[upstream]\nca = \"ca.pem\"\n[issuer.main]";
    let both = "[upstream]\nca = \"ca.pem\"\ncert = \"a\"\nkey = \"b\"\n[issuer.main]";
    let https = "to   = \"https://127.0.0.1:3000\"";
    let own = format!("{https}\nupstream = {{ ca = \"other.pem\" }}");
    for (upstream, to, expected) in [
        (ca, "to   = \"http://127.0.0.1:3000\"", 1),
        (both, "to   = \"http://127.0.0.1:3000\"", 2),
        (ca, https, 0),
        (both, https, 0),
        (ca, &*own, 1),
        (both, &*own, 1),
    ] {
        let text =
            with("[issuer.main]", upstream).replacen("to   = \"http://127.0.0.1:3000\"", to, 1);
        let said = complaints(&text);
        assert_eq!(said.len(), expected, "{said:?}\n{text}");
        assert!(
            said.iter().all(|said| said.contains("nothing uses this")),
            "{said:?}"
        );
    }
}
