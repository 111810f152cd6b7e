//! `jotgate schema`: what an editor is told agrees with what the gateway takes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use jotgate::config::{self, Source};
use serde_json::Value;

use crate::harness::complaints;

fn schema() -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_jotgate"))
        .arg("schema")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What the schema says against a file.
fn against(schema: &Value, text: &str) -> Vec<String> {
    complaints(schema, &toml::from_str(text).unwrap())
}

#[test]
fn the_schema_says_what_it_is() {
    let schema = schema();
    assert_eq!(
        schema["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
    assert_eq!(schema["title"], "jotgate.toml");
    let limits = &schema["properties"]["limits"];
    assert_eq!(limits["additionalProperties"], false);
    let connections = &limits["properties"]["connections"];
    assert_eq!(connections["default"], 10_000);
    assert_eq!(connections["minimum"], 1);
    assert_eq!(connections["title"], "connections");
    let route = &schema["properties"]["route"]["items"];
    assert_eq!(route["required"], serde_json::json!(["path", "to", "auth"]));
}

#[test]
fn every_file_in_config_is_good_for_the_schema() {
    let schema = schema();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let files: Vec<PathBuf> = [root.clone(), root.join("examples")]
        .iter()
        .flat_map(|folder| fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "toml"))
        .collect();
    assert!(files.len() >= 4, "{files:?}");
    for file in files {
        let found = against(&schema, &fs::read_to_string(&file).unwrap());
        assert!(found.is_empty(), "{}: {found:#?}", file.display());
    }
}

const GOOD: &str = r#"
[listen]
https = "127.0.0.1:8443"
cert  = "tls.crt"
key   = "tls.key"

[issuer.main]
iss  = "me"
aud  = "orders"
keys = "keys/"

[[route]]
path = "/api/"
to   = "http://127.0.0.1:3000"
auth = "main"
"#;

/// A line of the good file, and what stands there instead.
type Change = (&'static str, &'static str);

const GOOD_CHANGES: [Change; 27] = [
    ("", ""),
    ("\"127.0.0.1:8443\"", "[\":443\", \"[::1]:8443\"]"),
    (
        "cert ",
        "admin = \"[fe80::1%2]:1\"\nadmin_public = true\ncert ",
    ),
    ("cert ", "trusted_proxies = []\ncert "),
    ("cert ", "trusted_proxies = \"192.0.2.7\"\ncert "),
    (
        "cert ",
        "trusted_proxies = [\"10.0.0.0/8\", \"::1\"]\ncert ",
    ),
    (
        "[issuer.main]",
        "[[certificate]]\ncert = \"a\"\nkey = \"b\"\n[issuer.main]",
    ),
    ("[issuer.main]", "[tls]\nhsts = false\n[issuer.main]"),
    (
        "[issuer.main]",
        "[tls]\nhsts = \"preload; Max-Age=1\"\n[issuer.main]",
    ),
    (
        "[issuer.main]",
        "[server]\ndrain = \"23h59m4s5ms\"\n[issuer.main]",
    ),
    (
        "[issuer.main]",
        "[limits]\nconnections = 0x10\n[issuer.main]",
    ),
    ("\"orders\"", "[\"orders\", \"shop\"]"),
    ("\"keys/\"", "{ file = \"a.pem\", kid = \"a/b\" }"),
    ("\"keys/\"", "[\"a\", { file = \"a.pem\" }]"),
    (
        "\"keys/\"",
        "\"k\"\nalgorithms = \"EdDSA\"\nleeway = \"300s\"",
    ),
    (
        "keys = \"keys/\"",
        "secret = \"s\"\nsecret_encoding = \"base64url\"",
    ),
    ("auth = \"main\"", "auth = \"public\""),
    ("auth = \"main\"", "auth = [\"main\"]\nidentity = {}"),
    (
        "auth = \"main\"",
        "auth = \"main\"\nidentity = { X-A = \"a\", X-B = [\"b\", \"c\"] }",
    ),
    (
        "auth = \"main\"",
        "auth = \"main\"\nidentity = { X-A = { claim = \"a\", optional = true, encode = \"percent\" } }",
    ),
    ("auth = \"main\"", "auth = \"main\"\nmax_body = 0"),
    ("auth = \"main\"", "auth = \"main\"\nmax_body = \"8KiB\""),
    ("auth = \"main\"", "auth = \"main\"\nmethods = \"GET\""),
    (
        "auth = \"main\"",
        "auth = \"main\"\nhost = \"*.example.com\"",
    ),
    ("auth = \"main\"", "auth = \"main\"\nupgrade = false"),
    (
        "auth = \"main\"",
        "auth = \"main\"\nupstream = { wait = \"2s\" }",
    ),
    ("3000", "3000/base/"),
];

const BAD_CHANGES: [Change; 50] = [
    ("cert ", "trusted_proxies = [\"localhost\"]\ncert "),
    ("auth = \"main\"", ""),
    ("auth = \"main\"", "auth = \"main\"\nidentitty = {}"),
    ("auth = \"main\"", "auth = \"\""),
    ("auth = \"main\"", "auth = []"),
    ("auth = \"main\"", "auth = false"),
    ("auth = \"main\"", "auth = \"main\"\nupgrade = 1"),
    (
        "auth = \"main\"",
        "auth = \"main\"\nupstream = { resolve = \"2s\" }",
    ),
    ("auth = \"main\"", "auth = \"main\"\nidentity = \"sub\""),
    (
        "auth = \"main\"",
        "auth = \"main\"\nidentity = { X_A = \"a\" }",
    ),
    ("auth = \"main\"", "auth = \"main\"\nidentity = { X-A = 1 }"),
    (
        "auth = \"main\"",
        "auth = \"main\"\nidentity = { X-A = [] }",
    ),
    (
        "auth = \"main\"",
        "auth = \"main\"\nidentity = { X-A = { optional = true } }",
    ),
    (
        "auth = \"main\"",
        "auth = \"main\"\nidentity = { X-A = { claim = \"a\", encode = \"hex\" } }",
    ),
    (
        "auth = \"main\"",
        "auth = \"main\"\nidentity = { X-A = { claim = \"a\", zzz = 1 } }",
    ),
    ("auth = \"main\"", "auth = \"main\"\nmax_body = \"8KB\""),
    ("auth = \"main\"", "auth = \"main\"\nmax_body = -1"),
    ("auth = \"main\"", "auth = \"main\"\nmethods = [\"get\"]"),
    ("auth = \"main\"", "auth = \"main\"\nmethods = []"),
    ("auth = \"main\"", "auth = \"main\"\nname = \"\""),
    ("auth = \"main\"", "auth = \"main\"\nhost = 1"),
    ("auth = \"main\"", "auth = \"main\"\ntimeout = 60"),
    ("auth = \"main\"", "auth = \"main\"\ntimeout = \"60\""),
    ("auth = \"main\"", "auth = \"main\"\ntimeout = \"\""),
    ("auth = \"main\"", "auth = \"main\"\ntimeout = \"1s1m\""),
    (
        "auth = \"main\"",
        "auth = \"main\"\nhost_header = \"upstream\"",
    ),
    (
        "auth = \"main\"",
        "auth = \"main\"\nstrip_prefix = \"true\"",
    ),
    ("path = \"/api/\"", ""),
    ("\"/api/\"", "\"api/\""),
    ("to   = \"http:", "to   = \"ftp:"),
    ("3000", "3000/?query"),
    ("[[route]]", "[route]"),
    ("iss  = \"me\"", ""),
    ("iss  = \"me\"", "iss = \"\""),
    ("iss  = \"me\"", "iss = \"me\"\nlevel = 1"),
    ("\"orders\"", "[]"),
    ("keys = \"keys/\"", ""),
    ("keys = \"keys/\"", "keys = \"k\"\nsecret = \"s\""),
    ("keys = \"keys/\"", "keys = []"),
    ("keys = \"keys/\"", "keys = { kid = \"a\" }"),
    ("keys = \"keys/\"", "keys = \"k\"\nalgorithms = [\"none\"]"),
    (
        "[issuer.main]",
        "[issuer.any]\niss = \"a\"\naud = \"b\"\nkeys = \"c\"\n[issuer.main]",
    ),
    (
        "[issuer.main]",
        "[issuer.\"a b\"]\niss = \"a\"\naud = \"b\"\nkeys = \"c\"\n[issuer.main]",
    ),
    ("[issuer.main]", "[loging]\n[issuer.main]"),
    ("[issuer.main]", "[tls]\nhsts = true\n[issuer.main]"),
    ("[issuer.main]", "[limits]\nconnections = 0\n[issuer.main]"),
    ("[listen]", "[server]"),
    ("https =", "https = []\nadmin ="),
    ("\"127.0.0.1:8443\"", "\"localhost:8443\""),
    ("\"127.0.0.1:8443\"", "8443"),
];

#[test]
fn the_schema_and_the_parser_give_the_same_verdict() {
    let schema = schema();
    let all = [(&GOOD_CHANGES[..], true), (&BAD_CHANGES[..], false)];
    for (changes, is_good) in all {
        for (from, to) in changes {
            assert!(GOOD.contains(from), "{from}");
            let text = GOOD.replacen(from, to, 1);
            let found = against(&schema, &text);
            assert_eq!(found.is_empty(), is_good, "the schema: {found:#?}\n{text}");
            let (_, problems) = config::parse(&Source {
                path: "jotgate.toml".into(),
                text: text.clone(),
            });
            assert_eq!(!problems.has_errors(), is_good, "{problems:#?}\n{text}");
        }
    }
}
