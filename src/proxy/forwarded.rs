//! Where a request came from, as far as whoever sent it is believed (RFC 7239, `X-Forwarded-*`).
//!
//! Each proxy on the way writes down whom it got the request from, to the right of what it
//! received. So the walk goes from the right, from the peer, which we saw ourselves, to what it
//! says of the hop before, and on for as long as the one who says so is trusted. The first hop
//! that is not is the client: it is the last one that somebody trusted has seen. What stands left
//! of it, or of anything that is no address, is what a stranger said, and is neither believed nor
//! passed on.
//!
//! It decides nothing: routes and permits never see an [`Origin`].

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::HeaderValue;
use http::header::GetAll;

use crate::route::is_host;
use crate::trust::TrustedProxies;

/// What a request says of where it came from: every line of each of the fields.
pub(super) struct Claims<'h> {
    /// Addresses in a list.
    pub(super) listed: GetAll<'h, HeaderValue>,
    /// The elements of RFC 7239.
    pub(super) described: GetAll<'h, HeaderValue>,
    /// The client's scheme.
    pub(super) scheme: GetAll<'h, HeaderValue>,
    /// The host that the client asked for.
    pub(super) host: GetAll<'h, HeaderValue>,
}

/// Where a request came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    peer: IpAddr,
    /// The hops before the peer, the client first; none if the peer is the client.
    hops: Vec<IpAddr>,
    /// How the client came to the first of the proxies.
    scheme: Option<Scheme>,
    /// What it asked that one for.
    host: Option<HeaderValue>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

/// One step of the way, as the next one tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hop {
    address: IpAddr,
    scheme: Option<Scheme>,
    host: Option<HeaderValue>,
}

impl Origin {
    /// What the connection tells, and nobody else.
    pub(super) fn observed(peer: IpAddr) -> Self {
        Self {
            peer: peer.to_canonical(),
            hops: Vec::new(),
            scheme: None,
            host: None,
        }
    }

    /// What a trusted peer claims, as far as it is believed.
    ///
    /// There are two ways to say the same, and most proxies write one of them and pass the other
    /// on as the client sent it. Which one is not known here, so neither can be preferred: that
    /// would let the client write the other. If both are there and do not name the same client,
    /// nothing of what the peer says is believed. Then the peer itself counts as the client,
    /// which is true as far as it goes, and the one answer that names nobody else. A client can
    /// name itself, though, so the scheme and the host have to be said both ways as well.
    pub(super) fn claimed(peer: IpAddr, claims: &Claims<'_>, trusted: &TrustedProxies) -> Self {
        let listed = walk(&claims.listed, listed_hops, trusted);
        let described = walk(&claims.described, described_hops, trusted);
        let mut origin = Self::observed(peer);
        let ways = Ways {
            listed: listed.is_some(),
            described: described.is_some(),
        };
        let client = |hops: &[Hop]| hops.first().map(|hop| hop.address);
        let hops = match (listed, &described) {
            (Some(listed), Some(described)) if client(&listed) != client(described) => {
                return origin;
            }
            (Some(hops), _) => hops,
            (None, Some(hops)) => hops.clone(),
            (None, None) => Vec::new(),
        };
        let first = described.unwrap_or_default().into_iter().next();
        let (scheme, host) = first.map_or((None, None), |hop| (hop.scheme, hop.host));
        let said = |lines| only(lines).and_then(|line| line.to_str().ok());
        origin.scheme = ways.agreed(said(&claims.scheme).and_then(scheme_of), scheme);
        origin.host = ways.agreed(said(&claims.host).and_then(host_of), host);
        origin.hops = hops.into_iter().map(|hop| hop.address).collect();
        origin
    }

    /// Whether nobody but the connection says so.
    pub(super) fn is_observed(&self) -> bool {
        self.hops.is_empty() && self.scheme.is_none() && self.host.is_none()
    }

    /// Whose request it is.
    pub(super) fn client(&self) -> IpAddr {
        self.hops.first().copied().unwrap_or(self.peer)
    }

    /// The scheme that the client used.
    pub(super) fn scheme(&self) -> &'static str {
        self.scheme.map_or(OURS, Scheme::name)
    }

    /// The host that the client asked the first proxy for; `own` is what we were asked for.
    pub(super) fn host<'h>(&'h self, own: &'h HeaderValue) -> &'h HeaderValue {
        self.host.as_ref().unwrap_or(own)
    }

    /// The client, the proxies, the peer: a list of addresses.
    pub(super) fn list(&self) -> String {
        let mut list = String::with_capacity(ROOM * (self.hops.len() + 1));
        for hop in &self.hops {
            let _ = write!(list, "{hop}, ");
        }
        let _ = write!(list, "{}", self.peer);
        list
    }

    /// The same as RFC 7239 has it: what the first proxy saw, who came between, what we saw.
    /// `host` is what we were asked for.
    pub(super) fn description(&self, host: &HeaderValue) -> String {
        let mut text = String::with_capacity(ROOM * (self.hops.len() + 2) + host.len());
        for (index, hop) in self.hops.iter().enumerate() {
            write_node(&mut text, *hop);
            if index == 0 {
                write_request(&mut text, self.host(host), self.scheme());
            }
            text.push_str(", ");
        }
        write_node(&mut text, self.peer);
        if self.hops.is_empty() {
            write_request(&mut text, self.host(host), self.scheme());
        } else {
            write_request(&mut text, host, OURS);
        }
        text
    }
}

impl Scheme {
    const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Goes from the last line's end to the left and returns the hops that are believed, the client
/// first; `None` if there is no such field.
///
/// Line by line: a line of its own is worth a comma, so the order is that of the lines joined.
fn walk<'h, I>(
    lines: &GetAll<'h, HeaderValue>,
    hops: impl Fn(&'h [u8]) -> I,
    trusted: &TrustedProxies,
) -> Option<Vec<Hop>>
where
    I: Iterator<Item = Option<Hop>>,
{
    let mut lines = lines.iter().rev().peekable();
    lines.peek()?;
    let mut believed = Vec::new();
    let claimed = lines.flat_map(|line| hops(line.as_bytes()));
    for hop in claimed.take(MAX_HOPS).map_while(|hop| hop) {
        let goes_on = trusted.contains(hop.address);
        believed.push(hop);
        if !goes_on {
            break;
        }
    }
    believed.reverse();
    Some(believed)
}

/// The hops of a list of addresses, from the right; `None` where something else stands.
fn listed_hops(line: &[u8]) -> impl Iterator<Item = Option<Hop>> {
    let items = line.rsplit(|&byte| byte == b',');
    items.map(|item| {
        Some(Hop {
            address: address_of(str::from_utf8(item).ok()?)?,
            scheme: None,
            host: None,
        })
    })
}

/// The hops of a line of RFC 7239, from the right; `None` where something else stands, such as an
/// obfuscated name or `unknown` (§6.2, §6.3).
fn described_hops(line: &[u8]) -> impl Iterator<Item = Option<Hop>> {
    rsplit_outside_quotes(line, b',').map(|element| hop_of(str::from_utf8(element).ok()?))
}

fn hop_of(element: &str) -> Option<Hop> {
    let (mut node, mut scheme, mut host) = (None, None, None);
    for pair in rsplit_outside_quotes(element.as_bytes(), b';') {
        let (name, value) = str::from_utf8(pair).ok()?.split_once('=')?;
        let value = unquoted(value.trim_matches(BLANK))?;
        let slot = match name.trim_matches(BLANK).to_ascii_lowercase().as_str() {
            "for" => &mut node,
            "proto" => &mut scheme,
            "host" => &mut host,
            _ => continue,
        };
        // Each of them once at most (RFC 7239 §4).
        if slot.replace(value).is_some() {
            return None;
        }
    }
    Some(Hop {
        address: address_of(&node?)?,
        scheme: scheme.as_deref().and_then(scheme_of),
        host: host.as_deref().and_then(host_of),
    })
}

/// A token as it is, or a quoted string without its quotes (RFC 9110 §5.6.4).
fn unquoted(value: &str) -> Option<String> {
    let Some(quoted) = value.strip_prefix('"') else {
        return (!value.contains('"')).then(|| value.to_owned());
    };
    let mut text = String::with_capacity(quoted.len());
    let mut rest = quoted.strip_suffix('"')?.chars();
    while let Some(character) = rest.next() {
        text.push(match character {
            '\\' => rest.next()?,
            '"' => return None,
            other => other,
        });
    }
    Some(text)
}

/// The parts between separators, from the right.
///
/// From the right the quotes, too: what a client wrote on the left, a lone quotation mark for
/// instance, cannot change how the part is read that a proxy wrote behind it.
fn rsplit_outside_quotes(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut left = Some(text);
    std::iter::from_fn(move || {
        let text = left?;
        let Some(at) = last_outside_quotes(text, separator) else {
            left = None;
            return Some(text);
        };
        left = Some(&text[..at]);
        Some(&text[at + 1..])
    })
}

fn last_outside_quotes(text: &[u8], separator: u8) -> Option<usize> {
    let mut is_quoted = false;
    for (at, &byte) in text.iter().enumerate().rev() {
        if byte == b'"' {
            let before = text[..at].iter().rev();
            let backslashes = before.take_while(|&&byte| byte == b'\\').count();
            let is_escaped = backslashes % 2 == 1;
            is_quoted = !is_quoted || is_escaped;
        } else if byte == separator && !is_quoted {
            return Some(at);
        }
    }
    None
}

/// An address, perhaps with a port, as proxies write it: `192.0.2.1`, `192.0.2.1:80`,
/// `2001:db8::1`, `[2001:db8::1]:80`.
fn address_of(node: &str) -> Option<IpAddr> {
    let node = node.trim_matches(BLANK);
    if let Some(bracketed) = node.strip_prefix('[') {
        let (address, port) = bracketed.split_once(']')?;
        return is_port(port).then(|| ipv6(address))?;
    }
    let end = node.find(':').unwrap_or(node.len());
    let (address, port) = node.split_at(end);
    match address.parse::<Ipv4Addr>() {
        Ok(address) => is_port(port).then_some(IpAddr::V4(address)),
        Err(_) => ipv6(node),
    }
}

/// An IPv6 address. A zone means something on the machine that wrote it alone, and is left out.
fn ipv6(text: &str) -> Option<IpAddr> {
    let (address, zone) = text.split_once('%').unwrap_or((text, "0"));
    let is_zone = !zone.is_empty() && zone.bytes().all(is_unreserved);
    let address: Ipv6Addr = address.parse().ok()?;
    is_zone.then(|| IpAddr::V6(address).to_canonical())
}

/// Nothing, a number, or a name in its place (RFC 7239 §6).
fn is_port(text: &str) -> bool {
    let Some(port) = text.strip_prefix(':') else {
        return text.is_empty();
    };
    match port.strip_prefix('_') {
        Some(name) => !name.is_empty() && name.bytes().all(is_unreserved),
        None => port.parse::<u16>().is_ok(),
    }
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'~')
}

fn scheme_of(text: &str) -> Option<Scheme> {
    let all = [Scheme::Http, Scheme::Https];
    all.into_iter()
        .find(|scheme| text.eq_ignore_ascii_case(scheme.name()))
}

fn host_of(text: &str) -> Option<HeaderValue> {
    is_host(text).then(|| HeaderValue::from_str(text).ok())?
}

/// The value of a field that has one line.
fn only<'h>(lines: &GetAll<'h, HeaderValue>) -> Option<&'h HeaderValue> {
    let mut lines = lines.iter();
    let line = lines.next()?;
    lines.next().is_none().then_some(line)
}

/// Which of the two ways to say where a request came from are used.
#[derive(Clone, Copy)]
struct Ways {
    listed: bool,
    described: bool,
}

impl Ways {
    /// What is said in a field of its own and in an element, if neither contradicts the other, be it
    /// by its silence.
    fn agreed<T: PartialEq>(self, field: Option<T>, element: Option<T>) -> Option<T> {
        match (field, element) {
            (Some(field), Some(element)) => (field == element).then_some(field),
            (field, None) => field.filter(|_| !self.described),
            (None, element) => element.filter(|_| !self.listed),
        }
    }
}

fn write_node(text: &mut String, address: IpAddr) {
    let _ = match address {
        IpAddr::V4(address) => write!(text, "for={address}"),
        IpAddr::V6(address) => write!(text, "for=\"[{address}]\""),
    };
}

fn write_request(text: &mut String, host: &HeaderValue, scheme: &str) {
    let host = String::from_utf8_lossy(host.as_bytes());
    let _ = write!(text, ";host=\"{host}\";proto={scheme}");
}

/// Requests are forwarded from the listener that speaks TLS alone.
const OURS: &str = "https";

/// More proxies than stand in front of anything; what is left of so many is not looked at.
const MAX_HOPS: usize = 100;

/// Enough for the usual hop, so that the text seldom has to be moved.
const ROOM: usize = 48;

const BLANK: [char; 2] = [' ', '\t'];

#[cfg(test)]
mod tests;
