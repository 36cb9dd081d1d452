//! Addresses, networks and port ranges of contract 0.1.0 as the values that they stand for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use ruleward_core::rule::PortRange;

use super::contract_v0_1::ruleward::policy::types as wit;
use super::lift::{Lifted, Wrong};

/// An address.
pub fn address(address: wit::IpAddress) -> IpAddr {
    match address {
        wit::IpAddress::Ipv4(bits) => IpAddr::V4(Ipv4Addr::from_bits(bits)),
        wit::IpAddress::Ipv6(wit::Ipv6Address { high, low }) => {
            IpAddr::V6(Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low)))
        }
    }
}

/// A network; the bits after the prefix become zero.
pub fn network(network: wit::IpNetwork) -> Lifted<IpNet> {
    let length = network.prefix_length;
    match address(network.address) {
        IpAddr::V4(address) => Ipv4Net::new(address, length).map(|net| IpNet::V4(net.trunc())).map_err(|_| {
            Wrong::new(format!("prefix length {length} of the IPv4 network {address} is over 32")).within("network")
        }),
        IpAddr::V6(address) => Ipv6Net::new(address, length).map(|net| IpNet::V6(net.trunc())).map_err(|_| {
            Wrong::new(format!("prefix length {length} of the IPv6 network {address} is over 128")).within("network")
        }),
    }
}

/// A range of ports.
pub fn ports(range: wit::PortRange) -> Lifted<PortRange> {
    let wit::PortRange { first, last } = range;
    if first > last {
        return Err(
            Wrong::new(format!("{first} to {last}: the first is higher than the last; swap them")).within("ports")
        );
    }
    Ok(PortRange { first, last })
}

/// First and last address of a range of one family.
pub fn range(range: wit::AddressRange) -> Lifted<(IpAddr, IpAddr)> {
    let (first, last) = (address(range.first), address(range.last));
    let problem = if first.is_ipv4() != last.is_ipv4() {
        "are of different families; use two of the same"
    } else if first > last {
        "are in the wrong order; put the lower one first"
    } else {
        return Ok((first, last));
    };
    Err(Wrong::new(format!("{first} and {last} {problem}")).within("addresses"))
}
