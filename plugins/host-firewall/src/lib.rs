//! A host firewall for filter/INPUT: zones of interfaces and addresses, with the services that are open to each. What
//! keeps a node alive is admitted first, whatever the zones say: loopback, known connections, the ICMP that networks
//! need, answers to the DHCP client, and SSH. SSH is shut out only by a setting that says so.

mod service;
mod settings;

use ruleward_sdk::settings::Network;
use ruleward_sdk::{
    Attachment, Chain, ConntrackStates, Contribution, Description, Facts, Failure, Families, Family, Hook, LogLevel,
    Ownership, Placement, RateUnit, RejectKind, Rule, Table, log, protocol,
};

use crate::settings::{LimitedService, Otherwise, Service, Settings, Ssh, Zone};

const INPUT: &str = "hfw-input";
const ICMP: &str = "hfw-icmp";

/// ICMP types without which paths break: destination unreachable, time exceeded, parameter problem.
const NEEDED_ICMP: [u8; 3] = [3, 11, 12];
/// The same for ICMPv6 (with packet too big), multicast listeners, and neighbour discovery.
const NEEDED_ICMPV6: [u8; 13] = [1, 2, 3, 4, 130, 131, 132, 133, 134, 135, 136, 137, 143];
const ECHO: [u8; 2] = [8, 128];

ruleward_sdk::policy! {
    /// The policy.
    pub struct HostFirewall;
    description: Description::new("host-firewall", env!("CARGO_PKG_VERSION"), env!("CARGO_PKG_DESCRIPTION"))
        .wanting(Ownership::in_tables([Table::Filter]).chains(["hfw-*"]).comments(["hfw:"]));
    evaluate: host_firewall;
}

fn host_firewall(facts: &Facts, settings: Settings) -> Result<Contribution, Failure> {
    check(&settings)?;
    let mut contribution = Contribution::new();
    for family in [Family::Ipv4, Family::Ipv6] {
        if !facts.system.families.contains(Families::from(family)) {
            continue;
        }
        let mut input = Chain::new(Table::Filter, INPUT)
            .families(family)
            .rule(Rule::new().in_interface("lo").accept())
            .rule(Rule::new().conntrack(ConntrackStates::ESTABLISHED | ConntrackStates::RELATED).accept())
            .rule(Rule::new().protocol(icmp_number(family)).jump(ICMP))
            .rule(Rule::new().conntrack(ConntrackStates::INVALID).drop())
            .rules(settings.dhcp_client.then(|| dhcp_client(family)))
            .rules(ssh(&settings.ssh, family));
        for (at, zone) in settings.zones.iter().enumerate() {
            let chain = zone_chain(at, zone, family)?;
            input = input.rules(entries(zone, family).into_iter().map(|rule| rule.goto(zone_name(zone))));
            contribution = contribution.chain(finish(chain, &settings, Some(zone)));
        }
        contribution = contribution.chain(finish(input, &settings, None)).chain(icmp(family, settings.ping));
    }
    let jump = Rule::new().jump(INPUT).comment("hfw: input");
    let attachment = Attachment::new(Table::Filter, Hook::Input, Placement::First, jump);
    Ok(contribution.attachment(attachment.families(facts.system.families)))
}

fn check(settings: &Settings) -> Result<(), Failure> {
    for (at, zone) in settings.zones.iter().enumerate() {
        if settings.zones[..at].iter().any(|other| other.name == zone.name) {
            return Err(Failure::in_settings(format!("/zones/{at}/name"), "is the name of an earlier zone too"));
        }
        if zone.name == "input" || zone.name == "icmp" {
            return Err(Failure::in_settings(format!("/zones/{at}/name"), "is a chain of the policy; choose another"));
        }
        let everybody = zone.interfaces.is_empty() && zone.sources.is_empty();
        if everybody && at + 1 < settings.zones.len() {
            let message =
                "takes every packet, so later zones are never reached; give it interfaces or sources, or put it last";
            return Err(Failure::in_settings(format!("/zones/{at}"), message));
        }
    }
    Ok(())
}

fn icmp_number(family: Family) -> u8 {
    if family == Family::Ipv4 { protocol::ICMP } else { protocol::ICMPV6 }
}

/// The ICMP that is admitted; the rest goes on to the zones.
fn icmp(family: Family, ping: bool) -> Chain {
    let rule = |kind: u8| if family == Family::Ipv4 { Rule::new().icmp(kind) } else { Rule::new().icmpv6(kind) };
    let (needed, echo) =
        if family == Family::Ipv4 { (&NEEDED_ICMP[..], ECHO[0]) } else { (&NEEDED_ICMPV6[..], ECHO[1]) };
    let mut chain =
        Chain::new(Table::Filter, ICMP).families(family).rules(needed.iter().map(|kind| rule(*kind).accept()));
    if ping {
        chain = chain.rule(rule(echo).at_most(10, RateUnit::Second).accept());
    }
    chain
}

/// Answers to this node's own DHCP client. They answer a broadcast or a multicast, so conntrack does not know them as
/// answers; without them a lease expires and the node loses its address.
fn dhcp_client(family: Family) -> Rule {
    let rule = Rule::new().protocol(protocol::UDP);
    match family {
        Family::Ipv4 => rule.source_port(67).destination_port(68),
        Family::Ipv6 => match "fe80::/10".parse::<Network>() {
            Ok(link_local) => rule.source(link_local).destination(link_local).source_port(547).destination_port(546),
            Err(_) => unreachable!("fe80::/10 is a network"),
        },
    }
    .accept()
}

fn ssh(ssh: &Ssh, family: Family) -> Vec<Rule> {
    if !ssh.enabled {
        return Vec::new();
    }
    let open = Rule::new().protocol(protocol::TCP).destination_port(ssh.port);
    let open = if ssh.limit == 0 { open } else { limited(open, "ssh", ssh.limit, family) };
    if ssh.from.is_empty() {
        return vec![open.accept()];
    }
    if of_family(&ssh.from, family).next().is_none() {
        log::warn(format!("SSH is closed over {family}: no network of `ssh.from` is of {family}"));
    }
    of_family(&ssh.from, family).map(|network| open.clone().source(*network).accept()).collect()
}

fn of_family(networks: &[Network], family: Family) -> impl Iterator<Item = &Network> {
    networks.iter().filter(move |network| network.family() == family)
}

/// At most so many packets of one source in a minute: since known connections are admitted before, new connections.
fn limited(rule: Rule, name: &str, limit: u32, family: Family) -> Rule {
    let number = if family == Family::Ipv4 { 4 } else { 6 };
    let rate = format!("{limit}/minute");
    let burst = limit.to_string();
    // The kernel keeps one table for each name, and its name has at most 15 bytes.
    let table = format!("hfw{number}-{name}");
    let words = ["--hashlimit-upto", &rate, "--hashlimit-burst", &burst, "--hashlimit-mode", "srcip"];
    rule.extension("hashlimit", words.into_iter().map(str::to_owned).chain(["--hashlimit-name".into(), table]))
}

fn zone_name(zone: &Zone) -> String {
    format!("hfw-{}", zone.name)
}

/// Conditions, one for each way into the zone. None: the zone has no source of this family.
fn entries(zone: &Zone, family: Family) -> Vec<Rule> {
    let sources: Vec<Option<&Network>> = match zone.sources.is_empty() {
        true => vec![None],
        false => of_family(&zone.sources, family).map(Some).collect(),
    };
    let interfaces: Vec<Option<&String>> = match zone.interfaces.is_empty() {
        true => vec![None],
        false => zone.interfaces.iter().map(Some).collect(),
    };
    let mut rules = Vec::new();
    for interface in &interfaces {
        for source in &sources {
            let rule = interface.map_or_else(Rule::new, |name| Rule::new().in_interface(name.as_str()));
            rules.push(source.map_or(rule.clone(), |network| rule.source(*network)));
        }
    }
    rules
}

fn zone_chain(at: usize, zone: &Zone, family: Family) -> Result<Chain, Failure> {
    let mut chain = Chain::new(Table::Filter, zone_name(zone)).families(family);
    for (number, service) in zone.services.iter().enumerate() {
        let (name, limit) = match service {
            Service::Plain(name) => (name, None),
            Service::Limited(LimitedService { service, limit }) => (service, Some(*limit)),
        };
        let rules = service::rules(name)
            .map_err(|message| Failure::in_settings(format!("/zones/{at}/services/{number}"), message))?;
        for rule in rules {
            let rule = match limit {
                Some(limit) => limited(rule, &format!("{at}-{number}"), limit, family),
                None => rule,
            };
            chain = chain.rule(rule.accept());
        }
    }
    Ok(chain)
}

/// The end of a chain: what was not admitted.
fn finish(chain: Chain, settings: &Settings, zone: Option<&Zone>) -> Chain {
    let last = match settings.otherwise {
        Otherwise::Drop => Rule::new().drop(),
        Otherwise::Reject => Rule::new().reject(RejectKind::AdminProhibited),
        Otherwise::Pass => return chain,
    };
    let name = zone.map_or("no zone", |zone| zone.name.as_str());
    let log = Rule::new().at_most(10, RateUnit::Minute).log(format!("hfw {name}: "), LogLevel::Warning);
    chain.rules(settings.log.then_some(log)).rule(last)
}
