//! Who may go where: `[issuer.NAME]` and `[[route]]`.

use std::time::Duration;

use super::gateway::TIMEOUT;
use super::upstream::ROUTE_UPSTREAM;
use super::{Kind, Names, Table, default, optional, required};
use crate::config::defaults;

pub(super) static ISSUERS: Names = Names {
    placeholder: "NAME",
    pattern: "^[A-Za-z0-9_-]+$",
    reserved: &RESERVED_ISSUERS,
    value: Kind::Table(&ISSUER),
};

/// Names that mean something else in `auth`, or will.
pub(in crate::config) const RESERVED_ISSUERS: [&str; 3] = ["public", "login", "any"];

static ISSUER: Table = Table::with_one_of(
    &[
        required(
            "iss",
            Kind::Text,
            r#""https://issuer.example""#,
            "The exact value of the claim `iss`, compared as a string.",
        ),
        required(
            "aud",
            TEXTS,
            r#""orders""#,
            "A token must carry at least one of these as `aud`.",
        ),
        optional(
            "keys",
            Kind::OneOrMany(&Kind::AnyOf(&[Kind::Path, Kind::Table(&KEY_FILE)])),
            "none; one of `keys` and `secret` must be there",
            r#""keys/""#,
            "Public keys: a folder, a file, a file with a key id, or a list of these.",
        ),
        optional(
            "secret",
            Kind::Path,
            "none; one of `keys` and `secret` must be there",
            r#""secrets/internal.key""#,
            "A file with an HMAC secret of at least 32 bytes.",
        ),
        default(
            "secret_encoding",
            Kind::Choice(&["raw", "base64url"]),
            r#""raw""#,
            "How that file spells the secret: its bytes less one final newline, or base64url.",
        ),
        optional(
            "algorithms",
            Kind::OneOrMany(&Kind::Choice(&ALGORITHMS)),
            "all that the keys allow",
            r#"["RS256", "ES256"]"#,
            "Narrows what the keys allow.",
        ),
        default(
            "leeway",
            Kind::Duration(Duration::ZERO..=Duration::from_secs(defaults::MAX_LEEWAY_SECONDS)),
            r#""30s""#,
            "How far clocks may differ, in whole seconds.",
        ),
    ],
    &["keys", "secret"],
);

static KEY_FILE: Table = Table::new(&[
    required(
        "file",
        Kind::Path,
        r#""idp.pem""#,
        "A file with public keys.",
    ),
    optional(
        "kid",
        Kind::Text,
        "the file's name without its last ending",
        r#""a/b""#,
        "The name of a key that has none of its own.",
    ),
]);

pub(in crate::config) static ROUTE: Table = Table::new(&[
    optional(
        "name",
        Kind::Text,
        "methods, host and path",
        r#""orders""#,
        "Its name in log and metrics.",
    ),
    optional(
        "host",
        Kind::Text,
        "any host that has no routes of its own",
        r#""api.example.com""#,
        "The host it is for; \"*.example.com\" is any one label.",
    ),
    required(
        "path",
        Kind::Like("^/"),
        r#""/api/""#,
        "The path it is for: \"/api/\" with all below, \"/api\" alone, {name} for one segment.",
    ),
    optional(
        "methods",
        Kind::OneOrMany(&Kind::Like("^[A-Z-]+$")),
        "all",
        r#"["GET", "POST"]"#,
        "The methods it is for; GET includes HEAD.",
    ),
    required(
        "to",
        Kind::Like("^https?://[^?#]+$"),
        r#""http://127.0.0.1:3000""#,
        "The upstream: http://host[:port][/base] or https://….",
    ),
    optional(
        "upstream",
        Kind::Table(&ROUTE_UPSTREAM),
        "what `[upstream]` says",
        "{ max_connections = 20 }",
        "How it is connected to, where this differs from `[upstream]`.",
    ),
    required(
        "auth",
        TEXTS,
        r#""main""#,
        "Who may pass: the name of an issuer, a list of names, or \"public\"; there is no default.",
    ),
    optional(
        "aud",
        TEXTS,
        "that of the issuer",
        r#""orders-api""#,
        "What a token must carry as `aud` here.",
    ),
    default(
        "identity",
        Kind::Named(&IDENTITY),
        r#"{ X-Auth-Subject = "sub" }"#,
        "Which claims the upstream gets, by the header that carries each.",
    ),
    default(
        "strip_prefix",
        Kind::Truth,
        "false",
        "Removes from the path what `path` matched before the subtree.",
    ),
    default(
        "keep_authorization",
        Kind::Truth,
        "false",
        "Forwards the client's Authorization, the token included.",
    ),
    default(
        "host_header",
        Kind::Choice(&["client", "target"]),
        r#""client""#,
        "Which Host the upstream gets: the client's, or that of `to`.",
    ),
    default(
        "upgrade",
        Kind::Truth,
        "false",
        "Lets requests switch to another protocol, such as WebSocket.",
    ),
    default(
        "timeout",
        TIMEOUT,
        r#""60s""#,
        "To the head of the upstream's response.",
    ),
    optional(
        "max_body",
        Kind::Size,
        "no limit, bodies are streamed",
        r#""10MiB""#,
        "The largest request body.",
    ),
]);

static IDENTITY: Names = Names {
    placeholder: "HEADER",
    pattern: "^[A-Za-z0-9-]+$",
    reserved: &[],
    value: Kind::AnyOf(&[TEXTS, Kind::Table(&CLAIM)]),
};

static CLAIM: Table = Table::new(&[
    required(
        "claim",
        TEXTS,
        r#""email""#,
        "A claim of the token, or the way to one inside of objects.",
    ),
    default(
        "optional",
        Kind::Truth,
        "false",
        "Leaves the header out if the claim is missing or cannot be forwarded.",
    ),
    optional(
        "encode",
        Kind::Choice(&["percent"]),
        "text that a header cannot carry is not forwarded",
        r#""percent""#,
        "Percent-encodes the value where that is needed.",
    ),
]);

const TEXTS: Kind = Kind::OneOrMany(&Kind::Text);

const ALGORITHMS: [&str; 12] = [
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA", "HS256",
    "HS384", "HS512",
];
