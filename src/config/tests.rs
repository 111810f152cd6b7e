//! What is said of files that are wrong, one mistake at a time.

mod tables;
mod values;
mod warnings;

use std::time::Duration;

use super::*;

const GOOD: &str = r#"
[listen]
https = "127.0.0.1:8443"
http  = "127.0.0.1:8080"
admin = "127.0.0.1:9901"
cert  = "certs/tls.crt"
key   = "certs/tls.key"

[issuer.main]
iss  = "https://issuer.example"
aud  = "orders"
keys = "keys/"

[[route]]
path = "/api/"
to   = "http://127.0.0.1:3000"
auth = "main"
identity = { X-Auth-Subject = "sub" }

[[route]]
host = "status.example"
path = "/"
to   = "http://127.0.0.1:3001"
auth = "public"
"#;

fn read(text: &str) -> (Config, Problems) {
    parse(&Source {
        path: "folder/jotgate.toml".into(),
        text: text.to_owned(),
    })
}

#[test]
fn what_ends_too_early_may_be_on_its_way_and_a_mistake_is_one() {
    for (text, is_unsettled) in [
        ("[listen]\nhttps = \"127.0", true),
        ("[listen]\nhttps = \"127.0.0.1:1\"", true),
        ("[listen\nhttps =\n", false),
        ("[listen]\nhttps =\n", false),
        ("[listen]\nhttps = \"127.0.0.1:1\"\n", false),
    ] {
        let (_, problems) = read(text);
        assert!(problems.has_errors(), "{text}");
        assert_eq!(
            problems.are_unsettled(),
            is_unsettled,
            "{text}: {problems:?}"
        );
    }
}

/// The messages, with their labels and help.
fn complaints(text: &str) -> Vec<String> {
    let (_, problems) = read(text);
    problems
        .iter()
        .map(|problem| {
            format!(
                "{} | {} | {}",
                problem.message,
                problem.label,
                problem.help.join(" | ")
            )
        })
        .collect()
}

/// Asserts that there is one problem, which says all of this.
#[track_caller]
fn complains(text: &str, expected: &[&str]) {
    let complaints = complaints(text);
    assert_eq!(complaints.len(), 1, "{complaints:#?}\n{text}");
    for expected in expected {
        assert!(
            complaints[0].contains(expected),
            "no {expected:?} in {:?}",
            complaints[0]
        );
    }
}

/// The good file with a line of the first route, the issuer or another table changed.
fn with(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    GOOD.replacen(from, to, 1)
}

#[test]
fn the_good_file_has_no_problems_and_the_defaults() {
    let (config, problems) = read(GOOD);
    assert!(problems.is_empty(), "{problems:#?}");
    assert_eq!(config.listen.public_port, None);
    assert_eq!(
        config.certificates[0].cert.value,
        PathBuf::from("folder/certs/tls.crt")
    );
    assert_eq!(config.issuers[0].leeway, Duration::from_secs(30));
    assert_eq!(config.routes[0].name, "/api/");
    assert_eq!(config.routes[1].name, "status.example/");
    assert_eq!(config.routes[0].timeout, Duration::from_secs(60));
    assert!(config.routes[1].identity.is_empty());
}

#[test]
fn every_key_of_the_contract_is_read() {
    let text = with(
        "auth = \"main\"\n",
        "auth = \"main\"\nname = \"orders\"\nhost = \"*.example.com\"\nmethods = [\"GET\"]\n\
         aud = [\"a\", \"b\"]\nstrip_prefix = true\nkeep_authorization = true\n\
         host_header = \"target\"\nupgrade = false\ntimeout = \"1m30s\"\nmax_body = \"10MiB\"\n",
    );
    let (config, problems) = read(&text);
    assert!(problems.is_empty(), "{problems:#?}");
    let route = &config.routes[0];
    assert_eq!(route.name, "orders");
    assert_eq!(route.methods, Some(vec![Method::GET, Method::HEAD]));
    assert!(route.strip_prefix && route.keep_authorization);
    assert_eq!(route.host_header, HostHeader::Target);
    assert_eq!(route.timeout, Duration::from_secs(90));
    assert_eq!(route.max_body, Some(10 << 20));
}

#[test]
fn a_typo_gets_the_nearest_name() {
    complains(
        &with("identity =", "identitty ="),
        &[
            "route[0]: unknown key `identitty`",
            "did you mean `identity`?",
        ],
    );
    complains(
        &with("auth = \"main\"", "auth = \"mian\""),
        &[
            "there is no [issuer.mian]",
            "have: \"main\"",
            "did you mean \"main\"?",
        ],
    );
    complains(
        &format!("{GOOD}\n[loging]\n"),
        &["unknown table [loging]", "did you mean [log]?"],
    );
}

#[test]
fn a_key_in_the_wrong_table_is_told_its_own() {
    complains(
        &with("iss  =", "timeout = \"1s\"\niss ="),
        &["issuer.main: unknown key `timeout`", "belongs in [[route]]"],
    );
    complains(
        &format!("leeway = \"30s\"\n{GOOD}"),
        &[
            "`leeway` stands outside any table",
            "belongs in [issuer.NAME]",
        ],
    );
}

#[test]
fn t149_who_may_pass_has_no_default() {
    complains(
        &with("auth = \"public\"", ""),
        &["route[1]: `auth` is missing", "\"main\", \"public\""],
    );
    complains(
        &with("auth = \"public\"", "auth = [\"public\"]"),
        &["stands alone"],
    );
}

#[test]
fn t150_an_admin_listener_for_everybody_must_be_asked_for() {
    for address in ["0.0.0.0:9901", ":9901", "10.0.0.1:9901", "[::]:9901"] {
        let text = with("127.0.0.1:9901", address);
        complains(
            &text,
            &["listen.admin", "public address", "admin_public = true"],
        );
        let asked_for = text.replace("[listen]", "[listen]\nadmin_public = true");
        assert!(complaints(&asked_for).is_empty(), "{address}");
    }
}

#[test]
fn an_identity_header_is_one_that_has_no_other_meaning() {
    for name in [
        "Host",
        "Content-Length",
        "Connection",
        "Authorization",
        "Cookie",
        "X-Forwarded-For",
        "X-Forwarded-Anything",
        "Transfer-Encoding",
        "Via",
        "Forwarded",
        "X_Auth",
        "TE",
    ] {
        let text = with("X-Auth-Subject =", &format!("\"{name}\" ="));
        complains(&text, &[&format!("identity.{name}")]);
    }
    complains(
        &with("X-Auth-Subject = \"sub\"", "X-A = \"sub\", x-a = \"sub\""),
        &["named twice"],
    );
}

#[test]
fn routes_that_could_both_win_are_refused_with_both_places() {
    let twice = with(
        "host = \"status.example\"\npath = \"/\"",
        "path = \"/api/\"",
    );
    let (_, problems) = read(&twice);
    // That both have the same name is no second mistake, and another name would mend nothing.
    assert_eq!(problems.iter().count(), 1, "{problems:#?}");
    let problem = problems.iter().next().unwrap();
    assert_eq!(problem.also.len(), 1, "{problems:#?}");
    let named = with(
        "path = \"/api/\"",
        "name = \"status.example/\"\npath = \"/api/\"",
    );
    complains(
        &named,
        &["two routes are named", "give one of them another"],
    );
    let overlap = format!(
        "{GOOD}\n[[route]]\npath = \"/a/{{x}}/\"\nto = \"http://h\"\nauth = \"main\"\n\
         [[route]]\npath = \"/{{y}}/b/\"\nto = \"http://h\"\nauth = \"main\"\n"
    );
    assert!(read(&overlap).1.has_errors());
}

#[test]
fn one_mistake_is_one_problem() {
    // The issuer's mistake is not the route's, and a syntax error hides what it swallows.
    complains(
        &with("iss  = \"https://issuer.example\"", "iss = 7"),
        &["issuer.main.iss"],
    );
    let json = "keys = [{\"file\": \"a.pem\"}, {\"file\": \"b.pem\"}]";
    let (_, problems) = read(&with("keys = \"keys/\"", json));
    let errors = problems
        .iter()
        .filter(|problem| problem.message.starts_with("not valid TOML"));
    assert_eq!(errors.count(), 1);
    let (_, problems) = read("[listen\nhttps = \"127.0.0.1:1\"\n");
    assert!(
        problems
            .iter()
            .all(|problem| problem.message.starts_with("not valid TOML")),
        "{problems:#?}"
    );
}

#[test]
fn a_table_that_is_written_as_another_kind_is_not_missed_as_well() {
    for (from, to) in [("[listen]", "[[listen]]"), ("[[route]]", "[route]")] {
        let text = GOOD.replace("\n[[route]]\nhost", "\n[[other]]\nhost");
        let text = text.replacen(from, to, 1);
        let (_, problems) = read(&text);
        assert!(problems.has_errors(), "{text}");
        let missed = problems
            .iter()
            .any(|p| p.message.starts_with("there is no"));
        assert!(!missed, "{problems:#?}");
    }
}

#[test]
fn a_text_in_another_encoding_is_told_from_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jotgate.toml");
    for (bytes, expected) in [
        (&b"[listen]\n# caf\xe9\n"[..], "not UTF-8 text, on line 2"),
        (b"\xff\xfe[\0l\0", "UTF-16 text; save it as UTF-8"),
    ] {
        std::fs::write(&path, bytes).unwrap();
        let error = Source::read(&path).unwrap_err().to_string();
        assert!(error.ends_with(expected), "{error}");
    }
}

#[test]
fn a_problem_is_drawn_with_its_line_and_a_caret() {
    let source = Source {
        path: "jotgate.toml".into(),
        text: with("auth = \"main\"", "auth = \"mian\""),
    };
    let (_, problems) = parse(&source);
    assert_eq!(
        problems.render(&source, false),
        "error: route[0].auth: there is no [issuer.mian]\n  \
           --> jotgate.toml:17:8\n   \
            |\n\
         17 | auth = \"mian\"\n   \
            |        ^^^^^^ have: \"main\"\n   \
            |\n   \
            = help: did you mean \"main\"?\n\n\
         1 error\n"
    );
}

#[test]
fn of_thousands_of_mistakes_the_first_are_shown_and_no_warning_hides_one() {
    let warned = "[[route]]\npath = \"/p/N\"\nto = \"http://127.0.0.1:1\"\nauth = \"main\"\n";
    let mut text = GOOD.to_owned();
    for number in 0..60 {
        text.push_str(&warned.replace('N', &number.to_string()));
    }
    text.push_str("[limits]\nstreams = \"many\"\n");
    let source = Source {
        path: "jotgate.toml".into(),
        text,
    };
    let (_, problems) = parse(&source);
    let (foremost, more) = problems.foremost();
    assert_eq!(foremost[0].severity, Severity::Error, "{problems}");
    assert_eq!((foremost.len(), more), (50, 11), "{problems}");
    let shown = problems.render(&source, false);
    assert!(
        shown.ends_with("1 error, 60 warnings; 50 are shown\n"),
        "{shown}"
    );
    assert_eq!(shown.matches("-->").count(), 50);
}

proptest::proptest! {
    #[test]
    fn f5_no_text_panics_and_no_route_is_open_by_accident(cut in 0..GOOD.len(), noise in "[ -~\n]{0,20}") {
        let text = format!("{}{noise}{}", &GOOD[..cut], &GOOD[cut..]);
        let (config, problems) = read(&text);
        let _ = problems.render(&Source { path: "f".into(), text: text.clone() }, false);
        if !problems.has_errors() {
            let public = config.routes.iter().filter(|r| matches!(r.access, Access::Public)).count();
            proptest::prop_assert!(public <= text.matches("public").count());
        }
    }
}
