//! Reads an address set. Members of the types that the contract knows are single addresses, networks and ports; what
//! ipset would turn into several members (a range) or into something else (a host name) is refused, because the set
//! could not be compared with what was asked for.

use std::net::IpAddr;

use ruleward_sdk::{AddressSet, Family, IpNetwork, NetworkPort, SetMember, SetType};

use crate::settings::SetEntry;
use crate::{address, protocol_name};

/// Reads an entry. The error says where in it, as the rest of a JSON pointer, and what is wrong.
pub fn read(entry: &SetEntry<'_>) -> Result<AddressSet, (String, String)> {
    let family = entry.family.into();
    let kind = match entry.kind.as_str() {
        "hash:ip" => SetType::HashIp,
        "hash:net" => SetType::HashNet,
        "hash:ip,port" => SetType::HashIpPort,
        "hash:net,port" => SetType::HashNetPort,
        other => SetType::Extension(other.to_owned()),
    };
    if entry.dynamic && !entry.members.is_empty() {
        return Err(("/members".into(), "a dynamic set is filled by rules; leave its members out".into()));
    }
    if entry.timeout.is_some() && !entry.dynamic {
        let message = "only a dynamic set has a timeout: members that the settings give do not vanish";
        return Err(("/timeout".into(), message.into()));
    }
    let members = entry.members.iter().enumerate().map(|(at, member)| {
        self::member(&kind, family, member.as_str()).map_err(|message| (format!("/members/{at}"), message))
    });
    let members = members.collect::<Result<_, _>>()?;
    let name = entry.name.as_str().to_owned();
    let (max_elements, dynamic, timeout) = (entry.max_elements, entry.dynamic, entry.timeout);
    Ok(AddressSet { name, family, kind, members, max_elements, dynamic, timeout, options: entry.options.words() })
}

fn member(kind: &SetType, family: Family, text: &str) -> Result<SetMember, String> {
    // What follows a member is ipset's own syntax.
    if text.contains(' ') {
        return Ok(SetMember::Extension(text.to_owned()));
    }
    match kind {
        SetType::HashIp => host(family, text).map(SetMember::Network),
        SetType::HashNet => network(family, text).map(SetMember::Network),
        SetType::HashIpPort => with_port(text, |address| host(family, address)),
        SetType::HashNetPort => with_port(text, |address| network(family, address)),
        SetType::Extension(_) => Ok(SetMember::Extension(text.to_owned())),
    }
}

fn network(family: Family, text: &str) -> Result<IpNetwork, String> {
    let network = address::one(text)?;
    if network.family() != family {
        return Err(format!("{text} is not of the set's family"));
    }
    if network.prefix_length == 0 {
        let halves = if family == Family::Ipv4 { "0.0.0.0/1 and 128.0.0.0/1" } else { "::/1 and 8000::/1" };
        return Err(format!("{text} is every address, which a set can't hold; write its two halves, {halves}"));
    }
    Ok(network)
}

fn host(family: Family, text: &str) -> Result<IpNetwork, String> {
    let network = network(family, text)?;
    if network != IpNetwork::from(IpAddr::from(network.address)) {
        return Err(format!("{text} is a network; a set of type hash:net holds networks"));
    }
    Ok(network)
}

/// `192.0.2.1,tcp:443`; without a protocol it is TCP.
fn with_port(text: &str, read: impl Fn(&str) -> Result<IpNetwork, String>) -> Result<SetMember, String> {
    let Some((address, port)) = text.split_once(',') else {
        return Err(format!("{text:?} has no port; write 192.0.2.1,tcp:443"));
    };
    let (protocol, port) = port.split_once(':').unwrap_or(("tcp", port));
    let port = port.parse().map_err(|_| format!("{port:?} is not the number of a port, 0 to 65535"))?;
    let protocol = protocol_name::number(protocol)?;
    Ok(SetMember::NetworkPort(NetworkPort { network: read(address)?, protocol, port }))
}
