//! Facts from YAML, and contributions as the text that iptables-save and ipset save show.

#![allow(dead_code, reason = "each suite uses its part")]

pub mod resources;

use std::fmt::Write;
use std::net::IpAddr;

use calico_postrouting::CalicoPostrouting;
use ruleward_sdk::{
    AddressTypeLimit, AddressTypeTest, Attachment, Backend, Contribution, Direction, Facts, Failure, Families, Family,
    Hook, IpNetwork, Masquerade, Match, Nat, Ownership, Placement, Policy, Resource, Rule, SetMember, System, Table,
    Target, Version, ipnet::IpNet,
};

/// Facts of node `node1` with the resources in `yaml`, and all granted that the policy wants.
pub fn facts(yaml: &str) -> Facts {
    let resources: Vec<serde_json::Value> = serde_saphyr::from_multiple(yaml).unwrap();
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    let mut resources: Vec<Resource> = resources
        .iter()
        .filter(|resource| !resource.is_null())
        .map(|resource| Resource {
            api_version: text(&resource["apiVersion"]).unwrap(),
            kind: text(&resource["kind"]).unwrap(),
            namespace: text(&resource["metadata"]["namespace"]),
            name: text(&resource["metadata"]["name"]).unwrap(),
            json: resource.to_string(),
        })
        .collect();
    resources.sort_by_key(|resource| (resource.kind.clone(), resource.namespace.clone(), resource.name.clone()));
    let version = Version { major: 6, minor: 1, patch: 0 };
    Facts {
        node_name: "node1".into(),
        system: System {
            kernel: version,
            iptables: Version { major: 1, minor: 8, patch: 9 },
            backend: Backend::Nft,
            random_fully: true,
            families: Families::all(),
            nft_tables: Vec::new(),
        },
        interfaces: Vec::new(),
        resources,
        granted: CalicoPostrouting::describe().wants,
    }
}

/// The same, but only the comments and the use of its chains are granted: Felix runs.
pub fn facts_beside_felix(yaml: &str) -> Facts {
    let mut facts = facts(yaml);
    facts.granted = Ownership::in_tables([Table::Nat]).comments(["cali:"]).using_chains(["cali-*"]);
    facts
}

pub fn evaluate(facts: &Facts, settings: &str) -> Result<Contribution, Failure> {
    CalicoPostrouting::evaluate(facts, settings)
}

/// What the policy answers for these resources.
pub fn answer(yaml: &str, settings: &str) -> Contribution {
    evaluate(&facts(yaml), settings).unwrap()
}

/// Where and why the policy refuses these resources.
pub fn refusal(yaml: &str, settings: &str) -> (String, String) {
    match evaluate(&facts(yaml), settings).unwrap_err() {
        Failure::Settings(problem) | Failure::Resource(problem) => (problem.where_, problem.message),
        other => panic!("{other:?}"),
    }
}

/// The lines of one chain, as iptables-save shows them.
pub fn chain(contribution: &Contribution, family: Family, name: &str) -> Vec<String> {
    let mut chains =
        contribution.chains.iter().filter(|chain| chain.name == name && chain.families.contains(family.into()));
    let chain = chains.next().unwrap_or_else(|| panic!("no chain {name}"));
    assert!(chains.next().is_none(), "two chains {name}");
    assert_eq!(chain.table, Table::Nat);
    chain.rules.iter().map(|rule| line(name, rule)).collect()
}

/// The identifiers of one chain.
pub fn identifiers(contribution: &Contribution, family: Family, name: &str) -> Vec<String> {
    let lines = chain(contribution, family, name);
    lines.iter().map(|line| line.split("\"cali:").nth(1).unwrap().split('"').next().unwrap().to_owned()).collect()
}

pub fn hook_name(hook: Hook) -> &'static str {
    match hook {
        Hook::Prerouting => "PREROUTING",
        Hook::Input => "INPUT",
        Hook::Forward => "FORWARD",
        Hook::Output => "OUTPUT",
        Hook::Postrouting => "POSTROUTING",
    }
}

/// An attachment's placement and line.
pub fn attachment(attachment: &Attachment) -> (Placement, String) {
    assert_eq!(attachment.table, Table::Nat);
    (attachment.placement, line(hook_name(attachment.hook), &attachment.rule))
}

/// A set as `ipset save` shows it: the line that creates it, then its members in order.
pub fn set(contribution: &Contribution, name: &str) -> Option<Vec<String>> {
    let set = contribution.sets.iter().find(|set| set.name == name)?;
    let family = if set.family == Family::Ipv4 { "inet" } else { "inet6" };
    let most = set.max_elements.unwrap();
    let mut lines = vec![format!("create {name} hash:net family {family} hashsize 1024 maxelem {most}")];
    lines.extend(set.members.iter().map(|member| match member {
        SetMember::Network(network) => format!("add {name} {}", host_or_network(network)),
        other => panic!("{other:?}"),
    }));
    Some(lines)
}

fn host_or_network(network: &IpNetwork) -> String {
    let network = IpNet::new(IpAddr::from(network.address), network.prefix_length).unwrap();
    if network.prefix_len() == network.max_prefix_len() { network.addr().to_string() } else { network.to_string() }
}

/// One rule as iptables-save shows it: addresses, interfaces, protocol, then the other matches in their order.
pub fn line(chain: &str, rule: &Rule) -> String {
    let mut words: Vec<(u8, String)> = Vec::new();
    let not = |negated: bool| if negated { "! " } else { "" };
    let comment = rule.comment.as_ref().unwrap();
    words.push((5, format!("-m comment --comment \"{comment}\"")));
    for found in &rule.matches {
        words.push(match found {
            Match::Source(found) => {
                let network = IpNet::new(IpAddr::from(found.network.address), found.network.prefix_length).unwrap();
                (0, format!("{}-s {network}", not(found.negated)))
            }
            Match::Destination(found) => {
                let network = IpNet::new(IpAddr::from(found.network.address), found.network.prefix_length).unwrap();
                (1, format!("{}-d {network}", not(found.negated)))
            }
            Match::OutInterface(found) => (3, format!("{}-o {}", not(found.negated), found.name)),
            Match::Protocol(found) => {
                let name = match found.number {
                    6 => "tcp",
                    17 => "udp",
                    other => panic!("protocol {other}"),
                };
                (4, format!("{}-p {name}", not(found.negated)))
            }
            Match::AddressType(found) => {
                let AddressTypeTest { negated, .. } = found.source.unwrap();
                let limit = match found.limit {
                    AddressTypeLimit::AnyInterface => "",
                    AddressTypeLimit::InInterface => " --limit-iface-in",
                    AddressTypeLimit::OutInterface => " --limit-iface-out",
                };
                (5, format!("-m addrtype {}--src-type LOCAL{limit}", not(negated)))
            }
            Match::Set(found) => {
                let ends: Vec<&str> =
                    found.directions.iter().map(|end| if *end == Direction::Source { "src" } else { "dst" }).collect();
                (5, format!("-m set {}--match-set {} {}", not(found.negated), found.name, ends.join(",")))
            }
            other => panic!("{other:?}"),
        });
    }
    words.sort_by_key(|(place, _)| *place);
    let mut line = format!("-A {chain}");
    for (_, word) in words {
        write!(line, " {word}").unwrap();
    }
    write!(line, " -j {}", target(rule.target.as_ref().unwrap())).unwrap();
    line
}

fn target(target: &Target) -> String {
    let random = |random_fully: bool| if random_fully { " --random-fully" } else { "" };
    let translation = |nat: &Nat| {
        let address = IpAddr::from(nat.addresses.unwrap().first);
        match nat.ports {
            None => address.to_string(),
            Some(ports) if address.is_ipv6() => format!("[{address}]:{}-{}", ports.first, ports.last),
            Some(ports) => format!("{address}:{}-{}", ports.first, ports.last),
        }
    };
    match target {
        Target::Jump(name) => name.clone(),
        Target::Return => "RETURN".into(),
        Target::Masquerade(Masquerade { ports: None, random_fully, .. }) => {
            format!("MASQUERADE{}", random(*random_fully))
        }
        Target::Masquerade(Masquerade { ports: Some(ports), random_fully, .. }) => {
            format!("MASQUERADE --to-ports {}-{}{}", ports.first, ports.last, random(*random_fully))
        }
        Target::SourceNat(nat) => format!("SNAT --to-source {}{}", translation(nat), random(nat.random_fully)),
        Target::DestinationNat(nat) => format!("DNAT --to-destination {}", translation(nat)),
        other => panic!("{other:?}"),
    }
}
