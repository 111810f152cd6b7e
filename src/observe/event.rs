//! The access event: what the log says of one request, as one line.
//!
//! The line is printable ASCII whatever the client sent, so it cannot forge a second event, drive
//! a terminal or hide behind another writing direction. Every field that a client fills is capped.
//! A query never gets in: the path ends at the first `?`. Tokens, cookies and claims have no field;
//! the subject is there only when the operator asked for it.

use std::fmt::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::Method;

use super::request_id::{self, RequestId};
use super::value::Value;

/// How an access event is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line (RFC 8259). Every key is in every line; what is unknown is `null`.
    Json,
    /// `key=value` pairs for people. What is unknown is left out; a value that could be misread
    /// is a JSON string.
    Text,
}

/// One request, from its head to the last byte of its response.
#[derive(Debug, Clone)]
pub struct AccessEvent {
    /// When the head was complete.
    pub time: SystemTime,
    /// What it is called in its answer and upstream.
    pub request_id: RequestId,
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// Whose request it is: the peer, or who a trusted peer says it is.
    pub client: IpAddr,
    /// `HTTP/1.1`, `HTTP/2`.
    pub protocol: &'static str,
    /// The method, known or not.
    pub method: Method,
    /// The host asked for, as far as one could be made out.
    pub host: Option<String>,
    /// The path; a query behind it is not written.
    pub path: String,
    /// The name of the route that answered.
    pub route: Option<Arc<str>>,
    /// The response's status code.
    pub status: u16,
    /// Why it ended so: the label of a closed enum.
    pub reason: &'static str,
    /// The name of the issuer whose token was presented.
    pub issuer: Option<Arc<str>>,
    /// The token's `kid`, which may be an invention of the client's.
    pub kid: Option<Arc<str>>,
    /// The token's `sub`; only if the operator opted in.
    pub subject: Option<Arc<str>>,
    /// Which generation of the configuration answered.
    pub generation: u64,
    /// From the complete head to the response's last byte.
    pub duration: Duration,
    /// From forwarding the head to the upstream's response head.
    pub upstream: Option<Duration>,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the response's body.
    pub bytes_out: u64,
}

impl AccessEvent {
    /// Appends the event to `out` as exactly one line, its newline included.
    pub fn write_line(&self, format: LogFormat, out: &mut String) {
        match format {
            LogFormat::Json => self.write_json(out),
            LogFormat::Text => self.write_text(out),
        }
        .expect("a String takes whatever is written to it");
    }

    fn write_json(&self, out: &mut String) -> fmt::Result {
        let mut separator = '{';
        for (name, value) in self.fields() {
            write!(out, "{separator}\"{name}\":")?;
            separator = ',';
            value.write_json(out)?;
        }
        out.write_str("}\n")
    }

    fn write_text(&self, out: &mut String) -> fmt::Result {
        let mut separator = "";
        for (name, value) in self.fields() {
            if !matches!(value, Value::Absent) {
                write!(out, "{separator}{name}=")?;
                separator = " ";
                value.write_text(out)?;
            }
        }
        out.write_str("\n")
    }

    /// The one list of fields, in the order of the line, for both formats.
    fn fields(&self) -> [(&'static str, Value<'_>); 19] {
        // Who builds the event cuts the query off; this line makes it true.
        let path = self.path.split('?').next().unwrap_or_default();
        [
            ("time", Value::Time(self.time)),
            (
                "request_id",
                Value::Untrusted(self.request_id.as_str(), request_id::MAX_LENGTH),
            ),
            ("peer", Value::Peer(self.peer)),
            ("client", Value::Address(self.client)),
            ("protocol", Value::Configured(self.protocol)),
            ("method", Value::Untrusted(self.method.as_str(), MAX_METHOD)),
            ("host", Value::untrusted(self.host.as_deref(), MAX_HOST)),
            ("path", Value::Untrusted(path, MAX_PATH)),
            ("route", Value::configured(self.route.as_deref())),
            ("status", Value::Number(self.status.into())),
            ("reason", Value::Configured(self.reason)),
            ("issuer", Value::configured(self.issuer.as_deref())),
            ("kid", Value::untrusted(self.kid.as_deref(), MAX_KID)),
            (
                "subject",
                Value::untrusted(self.subject.as_deref(), MAX_SUBJECT),
            ),
            ("generation", Value::Number(self.generation)),
            ("duration_ms", Value::Milliseconds(self.duration)),
            (
                "upstream_ms",
                self.upstream.map_or(Value::Absent, Value::Milliseconds),
            ),
            ("bytes_in", Value::Number(self.bytes_in)),
            ("bytes_out", Value::Number(self.bytes_out)),
        ]
    }
}

/// The longest method in the IANA registry has 17 bytes.
const MAX_METHOD: usize = 32;
/// A host name has 253 bytes at most (RFC 1035 §2.3.4).
const MAX_HOST: usize = 255;
/// Enough to recognise a path by.
const MAX_PATH: usize = 1024;
/// A thumbprint has 43 bytes; the names that providers give are shorter than this.
const MAX_KID: usize = 128;
/// The longest subject that a token may carry here.
const MAX_SUBJECT: usize = 1024;

#[cfg(test)]
pub(super) mod tests;
