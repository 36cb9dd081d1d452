//! Forwards ports of this node to other addresses. Who is outside, who is in the target's own network (hairpin) and the
//! node itself all reach the target by the node's address:
//!
//! - nat/PREROUTING and nat/OUTPUT: what is for an address of this node, on the port, goes to the target.
//! - nat/POSTROUTING: what comes from the target's own network and was forwarded gets the node's address, since the
//!   target would otherwise answer the client directly, and the client would not know the answer.
//! - filter/FORWARD: what was forwarded is let through in both directions, with the ICMP errors that belong to it.

use ruleward_sdk::ipnet::IpNet;
use ruleward_sdk::settings::{Network, Ports};
use ruleward_sdk::{
    AddressType, Attachment, Chain, ConntrackStates, Contribution, Description, Facts, Failure, Families, Family, Hook,
    Nat, Ownership, Placement, PortRange, Rule, Table, log, protocol,
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::net::IpAddr;

const DNAT: &str = "pf-dnat";
const HAIRPIN: &str = "pf-hairpin";
const FORWARD: &str = "pf-forward";
const NO_FAMILY: &str = "this node has no packet filter for that family";

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Settings {
    /// What is forwarded.
    forwards: Vec<Forward>,
    /// Whether what was forwarded is let through filter/FORWARD.
    #[serde(default = "yes")]
    accept: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Forward {
    /// The protocol.
    #[serde(default)]
    protocol: Protocol,
    /// The port of this node, or a range of ports.
    port: Ports,
    /// The target's address.
    to: IpAddr,
    /// The target's port; the same as `port` if not given. Not for ranges.
    to_port: Option<u16>,
    /// Only these may use it; everybody if not given.
    #[serde(default)]
    from: Vec<Network>,
    /// Whether the target's own network reaches it by this node's address.
    #[serde(default = "yes")]
    hairpin: bool,
}

fn yes() -> bool {
    true
}

#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Protocol {
    #[default]
    Tcp,
    Udp,
}

impl Protocol {
    fn number(self) -> u8 {
        match self {
            Self::Tcp => protocol::TCP,
            Self::Udp => protocol::UDP,
        }
    }
}

ruleward_sdk::policy! {
    /// The policy.
    pub struct PortForward;
    description: Description::new("port-forward", env!("CARGO_PKG_VERSION"), env!("CARGO_PKG_DESCRIPTION"))
        .reading_interfaces()
        .wanting(Ownership::in_tables([Table::Nat, Table::Filter]).chains(["pf-*"]).comments(["pf:"]));
    evaluate: port_forward;
}

fn port_forward(facts: &Facts, settings: Settings) -> Result<Contribution, Failure> {
    for (at, forward) in settings.forwards.iter().enumerate() {
        check(at, forward, &settings.forwards[..at])?;
    }
    let mut contribution = Contribution::new();
    for family in [Family::Ipv4, Family::Ipv6] {
        let forwards: Vec<&Forward> =
            settings.forwards.iter().filter(|forward| forward.to.is_ipv4() == (family == Family::Ipv4)).collect();
        if forwards.is_empty() {
            continue;
        }
        if !facts.system.families.contains(Families::from(family)) {
            log::warn(format!("{} forwards to {family} targets have no effect: {NO_FAMILY}", forwards.len()));
            continue;
        }
        let chain = |table, name| Chain::new(table, name).families(family);
        let rules = |each: fn(&Forward, &Facts) -> Vec<Rule>| forwards.iter().flat_map(move |one| each(one, facts));
        let attach = |table, hook, placement, rule| Attachment::new(table, hook, placement, rule).families(family);
        let local = || Rule::new().destination_type(AddressType::Local);
        contribution = contribution
            .chain(chain(Table::Nat, DNAT).rules(rules(translated)))
            .chain(chain(Table::Nat, HAIRPIN).rules(rules(hairpin)))
            .attachment(attach(
                Table::Nat,
                Hook::Prerouting,
                Placement::First,
                local().jump(DNAT).comment("pf: for this node"),
            ))
            // Loopback addresses stay here: a packet from 127.0.0.1 can't leave the machine.
            .attachment(attach(
                Table::Nat,
                Hook::Output,
                Placement::First,
                local().not_destination(loopback(family)).jump(DNAT).comment("pf: from this node"),
            ))
            .attachment(attach(
                Table::Nat,
                Hook::Postrouting,
                Placement::First,
                Rule::new().conntrack(ConntrackStates::DNAT).jump(HAIRPIN).comment("pf: hairpin"),
            ));
        if settings.accept {
            let jump = Rule::new().conntrack(ConntrackStates::DNAT).jump(FORWARD).comment("pf: forwarded");
            contribution = contribution.chain(chain(Table::Filter, FORWARD).rules(rules(accepted))).attachment(attach(
                Table::Filter,
                Hook::Forward,
                Placement::First,
                jump,
            ));
        }
    }
    Ok(contribution)
}

fn check(at: usize, forward: &Forward, before: &[Forward]) -> Result<(), Failure> {
    let Ports { first, last } = forward.port;
    if first == 0 {
        return Err(Failure::in_settings(format!("/forwards/{at}/port"), "port 0 can't be forwarded"));
    }
    if forward.to_port.is_some() && first != last {
        let message = "is for a single port; leave it out, and the range keeps its ports";
        return Err(Failure::in_settings(format!("/forwards/{at}/to-port"), message));
    }
    if let Some(other) =
        forward.from.iter().position(|network| (network.family() == Family::Ipv4) != forward.to.is_ipv4())
    {
        let message = "is of another family than `to`: forwarding does not change the family";
        return Err(Failure::in_settings(format!("/forwards/{at}/from/{other}"), message));
    }
    let taken = before.iter().position(|other| {
        let same = other.protocol.number() == forward.protocol.number() && other.to.is_ipv4() == forward.to.is_ipv4();
        same && other.from.is_empty() && other.port.first <= last && first <= other.port.last
    });
    match taken {
        Some(other) => {
            let message = format!("is taken by /forwards/{other}, which comes first and is for everybody");
            Err(Failure::in_settings(format!("/forwards/{at}/port"), message))
        }
        None => Ok(()),
    }
}

fn loopback(family: Family) -> Network {
    // Both can be read; the whole of IPv4's loopback network is local.
    let text = if family == Family::Ipv4 { "127.0.0.0/8" } else { "::1" };
    match text.parse() {
        Ok(network) => network,
        Err(_) => unreachable!("{text} is a network"),
    }
}

/// The port at the target.
fn target_port(forward: &Forward) -> PortRange {
    forward.to_port.map_or_else(|| forward.port.into(), PortRange::from)
}

fn for_each_source(forward: &Forward, rule: Rule) -> Vec<Rule> {
    if forward.from.is_empty() {
        return vec![rule];
    }
    forward.from.iter().map(|source| rule.clone().source(*source)).collect()
}

fn translated(forward: &Forward, _: &Facts) -> Vec<Rule> {
    let nat = match forward.to_port {
        Some(port) => Nat::to(forward.to).ports(port),
        None => Nat::to(forward.to),
    };
    let rule = Rule::new().protocol(forward.protocol.number()).destination_port(forward.port);
    for_each_source(forward, rule.destination_nat(nat))
}

/// For the networks of this node that the target is in.
fn hairpin(forward: &Forward, facts: &Facts) -> Vec<Rule> {
    let addresses = facts.interfaces.iter().flat_map(|interface| &interface.addresses);
    let mut networks: Vec<IpNet> = addresses
        .filter_map(|network| IpNet::new(IpAddr::from(network.address), network.prefix_length).ok())
        .map(|network| network.trunc())
        .filter(|network| forward.hairpin && network.contains(&forward.to))
        .collect();
    networks.sort_unstable();
    networks.dedup();
    let rule = |network: &IpNet| {
        Rule::new()
            .source(*network)
            .destination(forward.to)
            .protocol(forward.protocol.number())
            .destination_port(target_port(forward))
            .masquerade_random(facts.system.random_fully)
    };
    networks.iter().map(rule).collect()
}

/// New connections from those who may, then whatever belongs to a connection with the target: where the chain's policy
/// is DROP, as Docker and ufw set it, answers would be lost otherwise.
fn accepted(forward: &Forward, _: &Facts) -> Vec<Rule> {
    let ports = target_port(forward);
    let new = Rule::new().destination(forward.to).protocol(forward.protocol.number()).destination_port(ports).accept();
    let port =
        if ports.first == ports.last { ports.first.to_string() } else { format!("{}:{}", ports.first, ports.last) };
    let words = [
        "--ctstate",
        "RELATED,ESTABLISHED",
        "--ctproto",
        &forward.protocol.number().to_string(),
        "--ctreplsrc",
        &forward.to.to_string(),
        "--ctreplsrcport",
        &port,
    ]
    .map(str::to_owned);
    let known = Rule::new().extension("conntrack", words).accept();
    for_each_source(forward, new).into_iter().chain([known]).collect()
}
