//! Addresses, networks and port ranges of contract 0.1.0 as the values that they stand for.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use ruleward_core::rule::PortRange;

use super::bindings::ruleward::policy::types as wit;
use crate::lift_error::{Lifted, Wrong};

/// An address.
pub fn address(address: wit::IpAddress) -> IpAddr {
    match address {
        wit::IpAddress::Ipv4(octets) => IpAddr::V4(<[u8; 4]>::from(octets).into()),
        wit::IpAddress::Ipv6(groups) => IpAddr::V6(<[u16; 8]>::from(groups).into()),
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
