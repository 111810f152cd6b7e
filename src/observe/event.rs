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
use super::route_name::RouteName;
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
    pub route: Option<RouteName>,
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

/// A field's name with what each format has around it, so that it is written in one go.
#[derive(Clone, Copy)]
struct Name {
    json: &'static str,
    text: &'static str,
}

macro_rules! name {
    ($name:literal) => {
        Name {
            json: concat!('"', $name, "\":"),
            text: concat!($name, '='),
        }
    };
}

impl AccessEvent {
    /// Appends the event to `out` as exactly one line, its newline included.
    pub(super) fn write_line(&self, format: LogFormat, dates: &mut Dates, out: &mut String) {
        let time = dates.text(self.time);
        let host = self.host.as_ref().map(WireText::text);
        let path = self.path.text();
        match format {
            LogFormat::Json => {
                out.push('{');
                self.write_fields(time, host.as_deref(), &path, &mut JsonLine(out));
                out.pop();
                out.push_str("}\n");
            }
            LogFormat::Text => {
                self.write_fields(time, host.as_deref(), &path, &mut TextLine(out));
                out.pop();
                out.push('\n');
            }
        }
    }

    /// The one list of fields, in the order of the line, for both formats.
    fn write_fields(&self, time: &str, host: Option<&str>, path: &str, line: &mut impl Line) {
        // Who builds the event cuts the query off; this line makes it true.
        let path = path.split('?').next().unwrap_or_default();
        // What stands before it may be a password (RFC 3986 §3.2.1). Such a request is refused.
        let host = host.map(|host| host.rsplit_once('@').map_or(host, |(_, host)| host));
        line.field(name!("time"), Value::Plain(time));
        line.field(
            name!("request_id"),
            Value::Untrusted(self.request_id.as_str(), request_id::MAX_LENGTH),
        );
        line.field(name!("peer"), Value::Peer(self.peer));
        line.field(name!("client"), Value::Address(self.client));
        line.field(name!("protocol"), Value::Plain(self.protocol));
        line.field(
            name!("method"),
            Value::Untrusted(self.method.as_str(), MAX_METHOD),
        );
        line.field(name!("host"), Value::untrusted(host, MAX_HOST));
        line.field(name!("path"), Value::Untrusted(path, MAX_PATH));
        let route = self.route.as_ref().map(RouteName::as_str);
        line.field(name!("route"), Value::configured(route));
        line.field(name!("status"), Value::Number(self.status.into()));
        line.field(name!("reason"), Value::Plain(self.reason));
        line.field(name!("issuer"), Value::configured(self.issuer.as_deref()));
        line.field(name!("kid"), Value::untrusted(self.kid.as_deref(), MAX_KID));
        line.field(
            name!("subject"),
            Value::untrusted(self.subject.as_deref(), MAX_SUBJECT),
        );
        line.field(name!("generation"), Value::Number(self.generation));
        line.field(name!("duration_ms"), Value::Milliseconds(self.duration));
        line.field(
            name!("upstream_ms"),
            self.upstream.map_or(Value::Absent, Value::Milliseconds),
        );
        line.field(name!("bytes_in"), Value::Number(self.bytes_in));
        line.field(name!("bytes_out"), Value::Number(self.bytes_out));
    }
}

/// Takes one field after the other, and leaves a separator behind the last one.
trait Line {
    fn field(&mut self, name: Name, value: Value<'_>);
}

struct JsonLine<'o>(&'o mut String);

impl Line for JsonLine<'_> {
    #[inline(always)]
    fn field(&mut self, name: Name, value: Value<'_>) {
        self.0.push_str(name.json);
        value.write_json(self.0);
        self.0.push(',');
    }
}

struct TextLine<'o>(&'o mut String);

impl Line for TextLine<'_> {
    #[inline(always)]
    fn field(&mut self, name: Name, value: Value<'_>) {
        if !matches!(value, Value::Absent) {
            self.0.push_str(name.text);
            value.write_text(self.0);
            self.0.push(' ');
        }
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
