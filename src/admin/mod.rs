//! The operator's listener: is the process alive, does it want requests, what has it counted.
//!
//! Pure answers to a method and a path. Nothing here changes the gateway.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HOST, X_CONTENT_TYPE_OPTIONS,
};
use http::uri::Authority;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;

use crate::observe::{Metrics, Phase, Readiness};
use crate::snapshot::Live;

/// What the answers are made from.
#[derive(Debug, Clone)]
pub struct AdminState {
    /// The table behind `/metrics`.
    pub metrics: Arc<Metrics>,
    /// The phase behind `/readyz`.
    pub readiness: Readiness,
    /// What is in force.
    pub live: Live,
}

/// Answers a request, by its method and its path.
pub fn respond<B>(request: &Request<B>, state: &AdminState) -> Response<Full<Bytes>> {
    let method = request.method();
    if !state.live.snapshot().admin_public && !is_named_here(request.headers().get(HOST)) {
        return Answer::problem(StatusCode::MISDIRECTED_REQUEST, MISDIRECTED).into_response(method);
    }
    let answer = match request.uri().path() {
        "/" => Answer::text(StatusCode::OK, INDEX),
        "/livez" => Answer::text(StatusCode::OK, "ok\n"),
        "/readyz" => ready(state),
        "/contents" => Answer {
            status: StatusCode::OK,
            content_type: "application/json",
            body: json(&state.live.snapshot().contents()),
        },
        "/metrics" => Answer {
            status: StatusCode::OK,
            content_type: OPEN_METRICS,
            body: Bytes::from(state.metrics.encode()),
        },
        _ => return Answer::problem(StatusCode::NOT_FOUND, NOT_FOUND).into_response(method),
    };
    if matches!(*method, Method::GET | Method::HEAD) {
        return answer.into_response(method);
    }
    let refusal = Answer::problem(StatusCode::METHOD_NOT_ALLOWED, METHOD_NOT_ALLOWED);
    let mut response = refusal.into_response(method);
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

/// Whether it is this machine that was asked for. A page in a browser here, whose
/// name its owner has led to this address, asks for its own.
fn is_named_here(host: Option<&HeaderValue>) -> bool {
    let Some(host) = host else { return true };
    let authority = || host.to_str().ok()?.parse::<Authority>().ok();
    authority().is_some_and(|authority| {
        let name = authority.host().trim_end_matches('.').to_ascii_lowercase();
        let address = name.trim_start_matches('[').trim_end_matches(']');
        name == "localhost" || name.ends_with(".localhost") || address.parse::<IpAddr>().is_ok()
    })
}

fn json(contents: &BTreeMap<String, String>) -> Bytes {
    Bytes::from(serde_json::to_vec(contents).expect("texts are JSON"))
}

fn ready(state: &AdminState) -> Answer {
    match state.readiness.phase() {
        Phase::Starting => Answer::text(StatusCode::SERVICE_UNAVAILABLE, "not ready: starting\n"),
        Phase::Ready => Answer {
            body: Bytes::from(format!(
                "ready\nprocess {}\n{}{}",
                std::process::id(),
                failed_upgrades(state.metrics.failed_upgrades()),
                state.live.snapshot().describe()
            )),
            ..Answer::text(StatusCode::OK, "")
        },
        Phase::Draining => Answer::text(StatusCode::SERVICE_UNAVAILABLE, "not ready: draining\n"),
    }
}

/// A line, if there is something to say.
fn failed_upgrades(count: u64) -> String {
    match count {
        0 => String::new(),
        _ => format!("failed upgrades {count}\n"),
    }
}

/// A response before it is known whether its body is wanted.
struct Answer {
    status: StatusCode,
    content_type: &'static str,
    body: Bytes,
}

impl Answer {
    fn text(status: StatusCode, body: &'static str) -> Self {
        let body = Bytes::from_static(body.as_bytes());
        Self {
            status,
            content_type: "text/plain; charset=utf-8",
            body,
        }
    }

    fn problem(status: StatusCode, body: &'static str) -> Self {
        let body = Bytes::from_static(body.as_bytes());
        Self {
            status,
            content_type: "application/problem+json",
            body,
        }
    }

    /// The response to `method`: to HEAD the same head and no body (RFC 9110 §9.3.2).
    fn into_response(self, method: &Method) -> Response<Full<Bytes>> {
        let length = HeaderValue::from(self.body.len());
        let body = if *method == Method::HEAD {
            Bytes::new()
        } else {
            self.body
        };
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(CONTENT_LENGTH, length);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }
}

const INDEX: &str = "\
jotgate

/livez    the process runs
/readyz   new requests are welcome, and what is in force
/metrics  counts and times, as OpenMetrics text
/contents what is in force, for jotgate check --against
";
const NOT_FOUND: &str = r#"{"type":"about:blank","title":"Not Found","status":404,"detail":"GET / lists what there is"}"#;
const MISDIRECTED: &str = r#"{"type":"about:blank","title":"Misdirected Request","status":421,"detail":"ask by address or as localhost; for other names, [listen] admin_public"}"#;
const METHOD_NOT_ALLOWED: &str = r#"{"type":"about:blank","title":"Method Not Allowed","status":405,"detail":"everything here is read with GET or HEAD"}"#;
/// The media type of what [`Metrics::encode`] writes.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::observe::{DurationsOf, RouteNames};
    use crate::snapshot::Snapshot;

    #[test]
    fn a_page_of_somebody_elses_reads_nothing_here() {
        let state = state();
        let mut public = Snapshot::of_nothing();
        public.admin_public = true;
        let public = AdminState {
            live: Live::new(Arc::new(public)),
            ..state.clone()
        };
        for (host, status) in [
            ("localhost", 200),
            ("LocalHost.:9901", 200),
            ("127.0.0.1:9901", 200),
            ("[::1]:9901", 200),
            ("evil.test:9901", 421),
            ("localhost.evil.test", 421),
            ("", 421),
        ] {
            for (state, status) in [(&state, status), (&public, 200)] {
                let request = Request::get("/contents").header(HOST, host).body(());
                let response = respond(&request.unwrap(), state);
                assert_eq!(response.status(), status, "{host}");
            }
        }
    }

    fn state() -> AdminState {
        let readiness = Readiness::starting();
        AdminState {
            metrics: Arc::new(Metrics::new(
                &readiness,
                RouteNames::default(),
                DurationsOf::All,
            )),
            live: Live::new(Arc::new(Snapshot::of_nothing())),
            readiness,
        }
    }

    fn ask(method: Method, path: &str, state: &AdminState) -> (Response<()>, String) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .body(())
            .unwrap();
        let (head, body) = respond(&request, state).into_parts();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let body = runtime.block_on(body.collect()).unwrap().to_bytes();
        (
            Response::from_parts(head, ()),
            String::from_utf8(body.into()).unwrap(),
        )
    }

    #[test]
    fn every_answer_is_fresh_typed_and_of_known_length() {
        let state = state();
        for path in ["/", "/livez", "/readyz", "/metrics", "/nothing"] {
            let (head, body) = ask(Method::GET, path, &state);
            let headers = head.headers();
            assert_eq!(headers[CACHE_CONTROL], "no-store", "{path}");
            assert_eq!(headers[X_CONTENT_TYPE_OPTIONS], "nosniff", "{path}");
            assert_eq!(headers[CONTENT_LENGTH], body.len().to_string(), "{path}");
            assert!(headers.contains_key(CONTENT_TYPE), "{path}");
        }
    }

    #[test]
    fn readiness_follows_the_phase_and_liveness_does_not() {
        let state = state();
        let readyz = || {
            let (head, body) = ask(Method::GET, "/readyz", &state);
            (head.status().as_u16(), body)
        };
        assert_eq!(readyz(), (503, "not ready: starting\n".into()));
        state.readiness.ready();
        assert!(matches!(readyz(), (200, text) if text.contains("\ngeneration 1 since ")));
        assert!(
            ask(Method::GET, "/metrics", &state)
                .1
                .contains("\njotgate_ready 1\n")
        );
        state.readiness.drain();
        assert_eq!(readyz(), (503, "not ready: draining\n".into()));
        assert!(
            ask(Method::GET, "/metrics", &state)
                .1
                .contains("\njotgate_ready 0\n")
        );
        assert_eq!(ask(Method::GET, "/livez", &state).0.status(), 200);
    }

    #[test]
    fn head_is_get_without_the_body() {
        let state = state();
        for path in ["/", "/livez", "/readyz", "/metrics", "/nothing"] {
            let (get, _) = ask(Method::GET, path, &state);
            let (head, body) = ask(Method::HEAD, path, &state);
            assert_eq!(
                (get.status(), get.headers()),
                (head.status(), head.headers())
            );
            assert_eq!(body, "");
        }
    }

    #[test]
    fn nothing_here_takes_another_method() {
        for method in [Method::POST, Method::DELETE, Method::OPTIONS, Method::TRACE] {
            let (head, body) = ask(method, "/metrics", &state());
            assert_eq!(head.status(), 405);
            assert_eq!(head.headers()[ALLOW], "GET, HEAD");
            assert!(serde_json::from_str::<serde_json::Value>(&body).is_ok());
        }
    }

    #[test]
    fn only_the_exact_paths_exist() {
        for path in [
            "/nothing",
            "*",
            "/livez/",
            "//metrics",
            "/METRICS",
            "/metrics/..",
            "/%6civez",
        ] {
            let (head, body) = ask(Method::GET, path, &state());
            assert_eq!(head.status(), 404, "{path}");
            assert_eq!(head.headers()[CONTENT_TYPE], "application/problem+json");
            assert!(serde_json::from_str::<serde_json::Value>(&body).is_ok());
        }
    }

    #[test]
    fn metrics_are_labelled_as_openmetrics() {
        let (head, body) = ask(Method::GET, "/metrics", &state());
        assert_eq!(head.headers()[CONTENT_TYPE], OPEN_METRICS);
        assert!(body.ends_with("# EOF\n"));
    }
}
