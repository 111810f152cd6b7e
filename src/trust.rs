//! Whose word about a client is believed: the proxies in front, by their addresses.
//!
//! Whoever is on this list can say that a request comes from anywhere. It is empty unless the
//! operator says otherwise.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};

/// The proxies whose word is believed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<Network>);

/// A range of addresses: `10.0.0.0/8`, `2001:db8::/32`, or a single one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network(IpNet);

/// Why a text is no [`Network`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// Neither an address nor a range.
    #[error("is not an address or a range of addresses")]
    Malformed,
    /// An address within a range, where the range's first is meant.
    #[error("has bits behind its prefix")]
    NotTheFirst(Network),
}

impl TrustedProxies {
    /// Whether nobody is trusted.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an address is one of theirs. An IPv4 address is the same when it is written as an
    /// IPv6 one, as sockets for both families do.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.0.contains(&address))
    }
}

impl FromIterator<Network> for TrustedProxies {
    fn from_iter<I: IntoIterator<Item = Network>>(networks: I) -> Self {
        Self(networks.into_iter().collect())
    }
}

impl Network {
    /// Whether it is every address of a family.
    pub fn is_everybody(self) -> bool {
        self.0.prefix_len() == 0
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let network: IpNet = match text.parse::<IpAddr>() {
            Ok(address) => address.into(),
            Err(_) => text.parse().map_err(|_| NetworkError::Malformed)?,
        };
        let network = canonical(network);
        if network != network.trunc() {
            return Err(NetworkError::NotTheFirst(Self(network.trunc())));
        }
        Ok(Self(network))
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A range of IPv4 addresses written as IPv6 ones is a range of IPv4 addresses.
fn canonical(network: IpNet) -> IpNet {
    let mapped = match (network.addr().to_canonical(), network.prefix_len()) {
        (IpAddr::V4(address), 96..) => {
            Ipv4Net::new(address, network.prefix_len() - MAPPED_PREFIX).ok()
        }
        (IpAddr::V4(_) | IpAddr::V6(_), _) => None,
    };
    mapped.map_or(network, IpNet::V4)
}

/// How many bits stand before an IPv4 address in an IPv6 one (RFC 4291 §2.5.5.2).
const MAPPED_PREFIX: u8 = 96;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn trusted(networks: &[&str]) -> TrustedProxies {
        networks.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn nobody_is_trusted_by_default() {
        let nobody = TrustedProxies::default();
        assert!(nobody.is_empty());
        for address in ["127.0.0.1", "::1", "10.0.0.1", "::ffff:127.0.0.1"] {
            assert!(!nobody.contains(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn a_network_ends_where_its_prefix_says() {
        let trusted = trusted(&["10.1.0.0/16", "192.0.2.7", "2001:db8::/32", "fe80::1"]);
        for (address, is_trusted) in [
            ("10.1.0.0", true),
            ("10.1.255.255", true),
            ("10.0.255.255", false),
            ("10.2.0.0", false),
            ("::ffff:10.1.2.3", true),
            ("::ffff:10.2.2.3", false),
            ("::10.1.2.3", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("2001:db8:ffff::1", true),
            ("2001:db9::", false),
            ("fe80::1", true),
            ("fe80::2", false),
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(trusted.contains(address), is_trusted, "{address}");
        }
    }

    #[test]
    fn a_mapped_range_is_a_range_of_ipv4() {
        let trusted = trusted(&["::ffff:10.0.0.0/104", "::ffff:192.0.2.7"]);
        for address in ["10.9.9.9", "::ffff:10.9.9.9", "192.0.2.7"] {
            assert!(trusted.contains(address.parse().unwrap()), "{address}");
        }
        assert!(!trusted.contains("11.0.0.0".parse().unwrap()));
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in [
            "",
            "localhost",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.0/",
            "10.0.0/8",
            "10.0.0.1:80",
            "[::1]",
            "fe80::1%eth0",
            "*",
            " 10.0.0.1",
        ] {
            let error = text.parse::<Network>().unwrap_err();
            assert_eq!(error, NetworkError::Malformed, "{text}");
        }
        let NetworkError::NotTheFirst(meant) = "10.1.2.3/8".parse::<Network>().unwrap_err() else {
            panic!("not that it is malformed");
        };
        assert_eq!(meant.to_string(), "10.0.0.0/8");
    }

    proptest! {
        #[test]
        fn both_spellings_of_an_ipv4_address_are_trusted_alike(bits: u32, range: u32, prefix in 0..=32_u8) {
            let range = IpNet::new(std::net::Ipv4Addr::from(range).into(), prefix).unwrap().trunc();
            let trusted: TrustedProxies = [Network(range)].into_iter().collect();
            let address = std::net::Ipv4Addr::from(bits);
            prop_assert_eq!(trusted.contains(address.into()), range.contains(&IpAddr::V4(address)));
            prop_assert_eq!(
                trusted.contains(address.into()),
                trusted.contains(address.to_ipv6_mapped().into())
            );
        }
    }
}
