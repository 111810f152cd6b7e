//! The public Http11Probe corpus: raw requests, each with the verdict that it must get.

use std::path::Path;

use serde::Deserialize;
use tokio::task::JoinSet;

use crate::harness::{H1, Start, Upstream};

/// One case of the corpus.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    id: String,
    expected: String,
    raw_request: String,
}

/// What the gateway did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Outcome {
    /// The first answer that is final; `None` if the connection closed without one.
    status: Option<u16>,
    /// Whether the connection closed by the gateway's own choice. Only looked at where asked for.
    closed: bool,
}

#[tokio::test]
async fn t99_to_t105_the_probe_corpus_gets_its_verdicts() {
    let Some(folder) = std::env::var_os("JOTGATE_TEST_DATA") else {
        println!("skipped: JOTGATE_TEST_DATA names no folder with the Http11Probe corpus");
        return;
    };
    let path = Path::new(&folder).join("http11probe/cases.json");
    let cases: Vec<Case> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let upstream = Upstream::start().await;
    let to = upstream.url();
    // Short enough to wait for: a request that never ends is ended by the gateway.
    let gateway = Start::routes(&format!(
        "[[route]]\npath = \"/\"\nto = \"{to}\"\nauth = \"public\"\ntimeout = \"1s\"\n"
    ))
    .extra("[limits]\nheader_timeout = \"1s\"\n")
    .start();

    let mut replays = JoinSet::new();
    for (number, case) in cases.iter().enumerate() {
        let client = gateway.h1().await;
        let request: Vec<u8> = case.raw_request.chars().map(|c| c as u8).collect();
        let waits_for_close = case.expected.contains("+ close");
        replays.spawn(async move { (number, replay(client, request, waits_for_close).await) });
    }
    let mut outcomes = replays.join_all().await;
    outcomes.sort_by_key(|(number, _)| *number);

    let missed: Vec<(&str, Outcome)> = outcomes
        .iter()
        .map(|&(number, outcome)| (&cases[number], outcome))
        .filter(|(case, outcome)| !satisfies(*outcome, &case.expected))
        .map(|(case, outcome)| (case.id.as_str(), outcome))
        .collect();
    let names: Vec<&str> = missed.iter().map(|(id, _)| *id).collect();
    let known: Vec<&str> = MISSES.iter().map(|(id, _)| *id).collect();
    assert_eq!(names, known, "{missed:#?}");
    assert!(cases.len() - missed.len() >= BAR);

    // Each forwarded request was asked for, one for one: nothing was smuggled along. Only
    // `OPTIONS *` is answered without the upstream.
    let answered = |outcome: &Outcome| matches!(outcome.status, Some(200..=299));
    let answered = outcomes.iter().filter(|(_, o)| answered(o)).count();
    assert_eq!(upstream.received().len(), answered - 1);
}

async fn replay(mut client: H1, request: Vec<u8>, waits_for_close: bool) -> Outcome {
    client.send(request).await;
    let status = loop {
        match client.try_head_answer().await.map(|answer| answer.status) {
            Some(100..=199) => {}
            status => break status,
        }
    };
    let closed = status.is_none() || (waits_for_close && client.rest().await.len() <= 2);
    Outcome { status, closed }
}

/// Whether an outcome is among the alternatives: `400/413`, `2xx`, `close`, `timeout`, `!101`,
/// joined by `or`, `/` and `+`. What the corpus merely warns of is among them too.
fn satisfies(outcome: Outcome, expected: &str) -> bool {
    let expected = expected.replace(" (pass), 2xx (warn)", " or 2xx");
    if let Some(status) = expected.strip_suffix(" + close") {
        return outcome.closed && satisfies(outcome, status);
    }
    expected
        .split(" or ")
        .flat_map(|part| part.split('/'))
        .any(|alternative| match (alternative, outcome.status) {
            ("close", status) => status.is_none(),
            // The gateway's own timeout came before the client's.
            ("timeout", status) => status == Some(408),
            ("!101", status) => status != Some(101),
            ("2xx", Some(status)) => (200..300).contains(&status),
            (number, Some(status)) => number.parse() == Ok(status),
            (_, None) => false,
        })
}

/// How many cases must get their verdict.
const BAR: usize = 130;

/// The cases that do not get their verdict, and why, in the corpus's order.
const MISSES: &[(&str, &str)] = &[
    (
        "COMP-HTTP12-VERSION",
        "hyper refuses every 1.x but 1.0 and 1.1 with 400, not with 505",
    ),
    ("SMUG-CLTE-PIPELINE", CONTENT_LENGTH_DROPPED),
    ("SMUG-TECL-PIPELINE", CONTENT_LENGTH_DROPPED),
    ("SMUG-CHUNK-BARE-SEMICOLON", EXTENSION_DROPPED),
    ("SMUG-CHUNK-EXT-CTRL", EXTENSION_DROPPED),
    (
        "SMUG-CHUNK-LF-TRAILER",
        "hyper takes the bare LF for the start of a trailer: 408 in the end",
    ),
    ("MAL-LONG-URL", CUT),
    ("MAL-LONG-HEADER-VALUE", CUT),
    ("MAL-LONG-HEADER-NAME", CUT),
    ("MAL-LONG-METHOD", CUT),
    ("MAL-NON-ASCII-URL", REPLACED),
    ("MAL-URL-OVERLONG-UTF8", REPLACED),
    ("MAL-CHUNK-EXT-64K", CUT),
];

const CONTENT_LENGTH_DROPPED: &str = "hyper drops Content-Length beside Transfer-Encoding before \
    the head is ours to judge; one request is forwarded, chunked, and the connection closes";
const EXTENSION_DROPPED: &str = "hyper reads over a chunk's extension, whatever is in it; none is \
    forwarded";
const CUT: &str = "the corpus cuts it at 8,192 bytes, so that it never ends: 408";
const REPLACED: &str = "the corpus has question marks for its bytes beyond ASCII, so that it is a \
    good request with a query";
