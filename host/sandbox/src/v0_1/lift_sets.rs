//! Address sets, from contract 0.1.0 into the rule model. A set's members fit its type and family, and ipset would
//! keep each as it is written: nothing that it expands, merges or refuses.

use ipnet::IpNet;
use ruleward_core::contribution::{AddressSet, SetMember, SetType};
use ruleward_core::names::{Family, SetName};
use ruleward_core::set_words;

use super::bindings::ruleward::policy::types as wit;
use super::lift::shown;
use super::lift_addresses;
use crate::lift_error::{Lifted, Wrong};

/// What ipset holds when nothing is said.
const DEFAULT_MOST_MEMBERS: u32 = 65_536;
/// Longest timeout of ipset, seconds.
const LONGEST_TIMEOUT: u32 = 2_147_483;
/// Longest text of a type.
const LONGEST_TEXT: usize = 255;

/// A set; `index` is where it stands in the list.
pub fn set((index, set): (usize, wit::AddressSet)) -> Lifted<AddressSet> {
    let name = SetName::new(&set.name).map_err(|e| Wrong::from(e).within(&format!("set {}", index + 1)))?;
    let place = format!("set {name}");
    body(name, set).map_err(|e| e.within(&place))
}

fn body(name: SetName, set: wit::AddressSet) -> Lifted<AddressSet> {
    let family = match set.family {
        wit::Family::Ipv4 => Family::Ipv4,
        wit::Family::Ipv6 => Family::Ipv6,
    };
    if set.dynamic && !set.members.is_empty() {
        return Err(Wrong::new("rules fill a dynamic set; leave `members` empty, or `dynamic` off").within("members"));
    }
    if let Some(timeout) = set.timeout {
        if !set.dynamic {
            return Err(Wrong::new("is for dynamic sets; leave it out, or set `dynamic`").within("timeout"));
        }
        if !(1..=LONGEST_TIMEOUT).contains(&timeout) {
            return Err(Wrong::new(format!("{timeout} is impossible; use 1 to {LONGEST_TIMEOUT}")).within("timeout"));
        }
    }
    let most = set.max_elements.unwrap_or(DEFAULT_MOST_MEMBERS);
    if most == 0 {
        return Err(Wrong::new("0 is impossible; use 1 or more").within("max-elements"));
    }
    if set.members.len() as u64 > u64::from(most) {
        let problem = format!("the set has {} members and would hold {most}; raise it", set.members.len());
        return Err(Wrong::new(problem).within("max-elements"));
    }
    let kind = kind(set.kind)?;
    let members = set.members.into_iter().enumerate();
    let members = members
        .map(|(index, one)| member(one, &kind, family).map_err(|e| e.within(&format!("member {}", index + 1))))
        .collect::<Lifted<_>>()?;
    Ok(AddressSet {
        name,
        family,
        kind,
        members,
        max_elements: set.max_elements,
        dynamic: set.dynamic,
        timeout: set.timeout,
        options: options(set.options)?,
    })
}

fn options(options: Vec<String>) -> Lifted<Vec<String>> {
    set_words::options(&options).map_err(|problem| Wrong::new(problem).within("options"))?;
    Ok(options)
}

fn kind(kind: wit::SetType) -> Lifted<SetType> {
    Ok(match kind {
        wit::SetType::HashIp => SetType::HashIp,
        wit::SetType::HashNet => SetType::HashNet,
        wit::SetType::HashIpPort => SetType::HashIpPort,
        wit::SetType::HashNetPort => SetType::HashNetPort,
        wit::SetType::Extension(text) => {
            let fits = |c: char| c.is_ascii_lowercase() || matches!(c, ':' | ',');
            let known = ["hash:ip", "hash:net", "hash:ip,port", "hash:net,port"];
            if known.contains(&text.as_str()) {
                return Err(
                    Wrong::new(format!("{text} has a case of its own in the contract; use that")).within("kind")
                );
            }
            if text.len() > LONGEST_TEXT || !text.contains(':') || !text.chars().all(fits) {
                let problem =
                    format!("{:?} is no type of set; write it as ipset does, like hash:net,iface", shown(&text));
                return Err(Wrong::new(problem).within("kind"));
            }
            SetType::Extension(text)
        }
    })
}

fn member(member: wit::SetMember, kind: &SetType, family: Family) -> Lifted<SetMember> {
    let single = matches!(kind, SetType::HashIp | SetType::HashIpPort);
    match (member, kind) {
        (wit::SetMember::Network(network), SetType::HashIp | SetType::HashNet) => {
            Ok(SetMember::Network(network_of(network, family, single)?))
        }
        (wit::SetMember::NetworkPort(member), SetType::HashIpPort | SetType::HashNetPort) => {
            let network = network_of(member.network, family, single)?;
            Ok(SetMember::NetworkPort { network, protocol: member.protocol, port: member.port })
        }
        (wit::SetMember::Nomatch(network), SetType::HashNet) => {
            Ok(SetMember::Nomatch(network_of(network, family, false)?))
        }
        (wit::SetMember::Extension(text), _) => {
            set_words::member(&text).map_err(Wrong::new)?;
            Ok(SetMember::Extension(text))
        }
        (_, kind) => {
            let right = match kind {
                SetType::HashIp | SetType::HashNet => "network",
                SetType::HashIpPort | SetType::HashNetPort => "network-port",
                SetType::Extension(_) => "extension",
            };
            Err(Wrong::new(format!("does not fit a set of type {kind}; use the case `{right}`")))
        }
    }
}

fn network_of(network: wit::IpNetwork, family: Family, single: bool) -> Lifted<IpNet> {
    let network = lift_addresses::network(network)?;
    let problem = if matches!(network, IpNet::V4(_)) != (family == Family::Ipv4) {
        format!("{network} does not fit a set of family {family}")
    } else if single && network.prefix_len() != network.max_prefix_len() {
        format!("{network} is more than one address; use a set of networks, or one member for each address")
    } else if network.prefix_len() == 0 {
        let halves = if family == Family::Ipv4 { "0.0.0.0/1 and 128.0.0.0/1" } else { "::/1 and 8000::/1" };
        format!("{network} is impossible in ipset; use its two halves, {halves}")
    } else {
        return Ok(network);
    };
    Err(Wrong::new(problem).within("network"))
}
