//! Addresses and networks: from and to the types of the standard library and of ipnet, and from text.

use core::fmt;
use core::str::FromStr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::{Families, Family, IpAddress, IpNetwork, PortRange};

/// Text that is neither an address nor a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkError(String);

impl NetworkError {
    pub(crate) fn of(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is not an address or network; write 192.0.2.1, 192.0.2.0/24, 2001:db8::1 or 2001:db8::/32",
            self.0
        )
    }
}

impl core::error::Error for NetworkError {}

impl From<Ipv4Addr> for IpAddress {
    fn from(address: Ipv4Addr) -> Self {
        Self::Ipv4(address.octets().into())
    }
}

impl From<Ipv6Addr> for IpAddress {
    fn from(address: Ipv6Addr) -> Self {
        Self::Ipv6(address.segments().into())
    }
}

impl From<IpAddr> for IpAddress {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => address.into(),
        }
    }
}

impl From<IpAddress> for IpAddr {
    fn from(address: IpAddress) -> Self {
        match address {
            IpAddress::Ipv4(octets) => Ipv4Addr::from(<[u8; 4]>::from(octets)).into(),
            IpAddress::Ipv6(groups) => Ipv6Addr::from(<[u16; 8]>::from(groups)).into(),
        }
    }
}

impl IpAddress {
    /// The family.
    pub fn family(&self) -> Family {
        match self {
            Self::Ipv4(_) => Family::Ipv4,
            Self::Ipv6(_) => Family::Ipv6,
        }
    }
}

impl IpNetwork {
    /// The family.
    pub fn family(&self) -> Family {
        self.address.family()
    }
}

/// One host.
impl<A: Into<IpAddress>> From<A> for IpNetwork {
    fn from(address: A) -> Self {
        let address = address.into();
        let prefix_length = match address {
            IpAddress::Ipv4(_) => 32,
            IpAddress::Ipv6(_) => 128,
        };
        Self { address, prefix_length }
    }
}

impl From<Ipv4Net> for IpNetwork {
    fn from(network: Ipv4Net) -> Self {
        IpNet::V4(network).into()
    }
}

impl From<Ipv6Net> for IpNetwork {
    fn from(network: Ipv6Net) -> Self {
        IpNet::V6(network).into()
    }
}

impl From<IpNet> for IpNetwork {
    fn from(network: IpNet) -> Self {
        Self { address: network.addr().into(), prefix_length: network.prefix_len() }
    }
}

impl FromStr for IpNetwork {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let network = if text.contains('/') {
            text.parse().map(|network: IpNet| network.into()).ok()
        } else {
            text.parse().map(|address: IpAddr| address.into()).ok()
        };
        network.ok_or_else(|| NetworkError::of(text))
    }
}

impl From<u16> for PortRange {
    fn from(port: u16) -> Self {
        Self { first: port, last: port }
    }
}

impl From<core::ops::RangeInclusive<u16>> for PortRange {
    fn from(range: core::ops::RangeInclusive<u16>) -> Self {
        Self { first: *range.start(), last: *range.end() }
    }
}

impl fmt::Display for Family {
    /// `IPv4` or `IPv6`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        })
    }
}

impl From<Family> for Families {
    fn from(family: Family) -> Self {
        match family {
            Family::Ipv4 => Self::IPV4,
            Family::Ipv6 => Self::IPV6,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_way_there_and_back() {
        for text in ["192.0.2.1", "0.0.0.0", "2001:db8::1", "ffff:eeee:dddd:cccc:bbbb:aaaa:9999:8888"] {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(IpAddr::from(IpAddress::from(address)), address);
        }
        assert_eq!(IpAddress::from(Ipv4Addr::new(192, 0, 2, 1)), IpAddress::Ipv4((192, 0, 2, 1)));
    }

    #[test]
    fn networks_are_read_from_text() {
        let parse = |text: &str| text.parse::<IpNetwork>();
        assert_eq!(parse("192.0.2.0/24").unwrap().prefix_length, 24);
        assert_eq!(parse("192.0.2.1").unwrap().prefix_length, 32);
        assert_eq!(parse("2001:db8::1").unwrap().prefix_length, 128);
        for bad in ["", "192.0.2.0/33", "192.0.2", "host", "2001:db8::/129", "1.2.3.4/"] {
            let error = parse(bad).unwrap_err().to_string();
            assert!(error.contains(&format!("{bad:?}")), "{error}");
        }
    }
}
