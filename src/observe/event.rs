//! The access event: what the log says of one request, as one line.
//!
//! The line is printable ASCII whatever the client sent, so it cannot forge a second event, drive
//! a terminal or hide behind another writing direction. Every field that a client fills is capped.
//! A query never gets in: the path ends at the first `?`. Tokens, cookies and claims have no field;
//! the subject is there only when the operator asked for it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::Method;

use super::request_id::{self, RequestId};
use super::value::{Dates, Value};
use super::wire_text::WireText;

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
    pub host: Option<WireText>,
    /// The path; a query behind it is not written.
    pub path: WireText,
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
    pub(super) fn write_line(&self, format: LogFormat, dates: &mut Dates, out: &mut String) {
        let time = dates.text(self.time);
        let host = self.host.as_ref().map(WireText::text);
        let path = self.path.text();
        let fields = self.fields(time, host.as_deref(), &path);
        match format {
            LogFormat::Json => write_json(fields, out),
            LogFormat::Text => write_text(fields, out),
        }
    }

    /// The one list of fields, in the order of the line, for both formats.
    fn fields<'a>(&'a self, time: &'a str, host: Option<&'a str>, path: &'a str) -> Fields<'a> {
        // Who builds the event cuts the query off; this line makes it true.
        let path = path.split('?').next().unwrap_or_default();
        [
            ("time", Value::Plain(time)),
            (
                "request_id",
                Value::Untrusted(self.request_id.as_str(), request_id::MAX_LENGTH),
            ),
            ("peer", Value::Peer(self.peer)),
            ("client", Value::Address(self.client)),
            ("protocol", Value::Plain(self.protocol)),
            ("method", Value::Untrusted(self.method.as_str(), MAX_METHOD)),
            ("host", Value::untrusted(host, MAX_HOST)),
            ("path", Value::Untrusted(path, MAX_PATH)),
            ("route", Value::configured(self.route.as_deref())),
            ("status", Value::Number(self.status.into())),
            ("reason", Value::Plain(self.reason)),
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

/// Names and values, in the order of the line.
type Fields<'a> = [(&'static str, Value<'a>); 19];

fn write_json(fields: Fields<'_>, out: &mut String) {
    let mut before = "{\"";
    for (name, value) in fields {
        out.push_str(before);
        out.push_str(name);
        out.push_str("\":");
        value.write_json(out);
        before = ",\"";
    }
    out.push_str("}\n");
}

fn write_text(fields: Fields<'_>, out: &mut String) {
    let mut before = "";
    for (name, value) in fields {
        if !matches!(value, Value::Absent) {
            out.push_str(before);
            out.push_str(name);
            out.push('=');
            value.write_text(out);
            before = " ";
        }
    }
    out.push('\n');
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
