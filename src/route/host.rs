//! The canonical host: a name or an address, and perhaps a port (RFC 9110 §7.2, RFC 3986 §3.2.2).
//!
//! A name is letters, digits and `-` in labels of at most 63 bytes (RFC 1123 §2.1); `_` passes
//! too, because hosts that carry one do exist. Userinfo, lists, escapes and everything outside
//! ASCII are refused (an international name travels as `xn--…`), and so is what only looks like
//! an IPv4 address (`127.1`, `0x7f.1`): some resolvers take it for one.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::ambiguity::Ambiguity;

/// Whether this is a host and perhaps a port.
pub fn is_host(text: &str) -> bool {
    Host::parse(text).is_ok()
}

/// A host and perhaps a port: lower case, no final dot, an IPv6 address in its shortest form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host<'a> {
    /// `name` or `name:port`.
    field: Cow<'a, str>,
    name_len: usize,
    port: Option<u16>,
}

impl<'a> Host<'a> {
    /// Reads `host` or `host:port`; allocates only if the canonical form is another one.
    pub(super) fn parse(raw: &'a str) -> Result<Self, Ambiguity> {
        let (name, port) = split(raw)?;
        let name = canonical_name(name)?;
        let name_len = name.len();
        let field = match (name, port) {
            (name, None) => name,
            (Cow::Borrowed(name), Some(port)) if name.len() + 1 + port.len() == raw.len() => {
                Cow::Borrowed(raw)
            }
            (name, Some(port)) => Cow::Owned(format!("{name}:{port}")),
        };
        Ok(Self {
            field,
            name_len,
            port: port.map(parse_port).transpose()?,
        })
    }

    /// The name or address alone; an IPv6 address in its brackets.
    pub(super) fn name(&self) -> &str {
        &self.field[..self.name_len]
    }

    /// The port, if one was written.
    pub(super) fn port(&self) -> Option<u16> {
        self.port
    }

    /// The name and the port that was written.
    pub(super) fn field(&self) -> &str {
        &self.field
    }

    /// Whether this is an IPv4 or IPv6 address rather than a name.
    pub(super) fn is_address(&self) -> bool {
        self.name().starts_with('[') || ends_in_number(self.name())
    }

    /// Whether both mean the same, where no port means `default_port`.
    pub(super) fn agrees_with(&self, other: &Host<'_>, default_port: u16) -> bool {
        self.name() == other.name()
            && self.port.unwrap_or(default_port) == other.port.unwrap_or(default_port)
    }
}

/// The host as written, and the port as written without its colon.
fn split(raw: &str) -> Result<(&str, Option<&str>), Ambiguity> {
    let name_len = if raw.starts_with('[') {
        raw.find(']').ok_or(Ambiguity::HostMalformed)? + 1
    } else {
        let colon = raw.bytes().position(|byte| byte == b':');
        colon.unwrap_or(raw.len())
    };
    let (name, rest) = raw.split_at(name_len);
    match rest.strip_prefix(':') {
        Some(port) => Ok((name, Some(port))),
        None if rest.is_empty() => Ok((name, None)),
        None => Err(Ambiguity::HostMalformed),
    }
}

/// 1 to 65535 in the shortest spelling. An empty port is legal (RFC 3986 §3.2.3), but nobody who
/// means well sends one, and not every upstream reads it alike.
fn parse_port(port: &str) -> Result<u16, Ambiguity> {
    if port.starts_with('0') || !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Ambiguity::HostMalformed);
    }
    port.parse().map_err(|_| Ambiguity::HostMalformed)
}

fn canonical_name(raw: &str) -> Result<Cow<'_, str>, Ambiguity> {
    if let Some(literal) = raw.strip_prefix('[') {
        let address: Ipv6Addr = literal
            .strip_suffix(']')
            .and_then(|address| address.parse().ok())
            .ok_or(Ambiguity::HostMalformed)?;
        return Ok(Cow::Owned(format!("[{address}]")));
    }
    let name = raw.strip_suffix('.').unwrap_or(raw);
    let valid = name.len() <= MAX_NAME_LEN
        && labels(name).all(is_label)
        && (!ends_in_number(name) || name.parse::<Ipv4Addr>().is_ok());
    if !valid {
        return Err(Ambiguity::HostMalformed);
    }
    Ok(if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    })
}

/// What stands between the dots. As bytes, which are faster to look through than characters.
fn labels(name: &str) -> impl DoubleEndedIterator<Item = &[u8]> {
    name.as_bytes().split(|&byte| byte == b'.')
}

fn is_label(label: &[u8]) -> bool {
    (1..=MAX_LABEL_LEN).contains(&label.len())
        && !label.starts_with(b"-")
        && !label.ends_with(b"-")
        && label
            .iter()
            .all(|&byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// Whether the last label is a number, decimal or `0x…`, which makes the whole an IPv4 address to
/// whoever follows the URL standard.
fn ends_in_number(name: &str) -> bool {
    let last = labels(name).next_back().unwrap_or_default();
    match last {
        [b'0', b'x' | b'X', digits @ ..] => digits.iter().all(u8::is_ascii_hexdigit),
        digits => digits.iter().all(u8::is_ascii_digit),
    }
}

/// RFC 1035 §2.3.4: 255 octets on the wire are 253 characters.
const MAX_NAME_LEN: usize = 253;

/// RFC 1035 §2.3.4.
const MAX_LABEL_LEN: usize = 63;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(raw: &str) -> (String, Option<u16>, String) {
        let host = Host::parse(raw).expect(raw);
        (host.name().into(), host.port(), host.field().into())
    }

    #[test]
    fn a_canonical_host_is_borrowed() {
        for raw in [
            "api.example.com",
            "api.example.com:8443",
            "localhost",
            "127.0.0.1:80",
            "my_host",
        ] {
            assert!(matches!(Host::parse(raw).unwrap().field, Cow::Borrowed(same) if same == raw));
        }
    }

    #[test]
    fn t92_case_and_final_dot_do_not_matter() {
        for raw in [
            "a.example.com",
            "A.Example.COM",
            "a.example.com.",
            "A.EXAMPLE.com.",
        ] {
            assert_eq!(
                parts(raw),
                ("a.example.com".into(), None, "a.example.com".into())
            );
            let with_port = format!("{raw}:443");
            assert_eq!(
                parts(&with_port),
                (
                    "a.example.com".into(),
                    Some(443),
                    "a.example.com:443".into()
                )
            );
        }
    }

    #[test]
    fn t92_an_ipv6_address_has_one_form() {
        for raw in ["[::1]", "[0:0:0:0:0:0:0:1]", "[0::0001]"] {
            assert_eq!(parts(raw).0, "[::1]");
        }
        assert_eq!(
            parts("[2001:DB8::A]:8443"),
            (
                "[2001:db8::a]".into(),
                Some(8443),
                "[2001:db8::a]:8443".into()
            )
        );
    }

    #[test]
    fn t93_what_is_no_host_is_refused() {
        let refused = [
            "",
            ".",
            "..",
            "a..b",
            ".a",
            "a..",
            "a,b",
            "a, b",
            "u@h",
            "u:p@h",
            "h/p",
            "h?q",
            "h#f",
            "a b",
            " a",
            "a ",
            "a%2eb",
            "ä.example",
            "a:",
            "a:0",
            "a:065",
            "a:65536",
            "a:+80",
            "a:80:80",
            "a:8o",
            ":80",
            "-a",
            "a-",
            "a.-b",
            "[::1",
            "[::1]x",
            "[::1]:",
            "[::1]80",
            "[]",
            "[1.2.3.4]",
            "[fe80::1%25eth0]",
            "[v1.a]",
            "::1",
            "1.2.3",
            "1.2.3.4.5",
            "256.1.1.1",
            "127.1",
            "0x7f.1",
            "a.0x7f",
            "2130706433",
            "01.2.3.4",
            "*",
            "*.a",
            "a\0",
        ];
        for raw in refused {
            assert_eq!(Host::parse(raw), Err(Ambiguity::HostMalformed), "{raw:?}");
        }
    }

    #[test]
    fn lengths_have_a_limit() {
        let label = "a".repeat(63);
        let longest = [label.as_str(), &label, &label, &label[2..]].join(".");
        assert_eq!(longest.len(), 253);
        assert!(Host::parse(&longest).is_ok());
        assert!(Host::parse(&format!("{longest}.:65535")).is_ok());
        assert!(Host::parse(&format!("{longest}a")).is_err());
        assert!(Host::parse(&"a".repeat(64)).is_err());
    }

    #[test]
    fn the_default_port_need_not_be_written() {
        let host = |raw| Host::parse(raw).unwrap();
        assert!(host("a").agrees_with(&host("A.:443"), 443));
        assert!(host("a:8443").agrees_with(&host("a:8443"), 443));
        assert!(!host("a").agrees_with(&host("a:80"), 443));
        assert!(!host("a").agrees_with(&host("b"), 443));
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_made_canonical(raw in prop_oneof![any::<String>(), "[\\[a-f0-9:.\\]A-]{0,24}"]) {
            if let Ok(host) = Host::parse(&raw) {
                let again = Host::parse(host.field()).unwrap();
                prop_assert_eq!(again.field(), host.field());
                prop_assert!(host.field().bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase()));
            }
        }
    }
}
