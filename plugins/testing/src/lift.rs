//! A contribution in the SDK's types as the rule model, as the host reads it from a component. Names and numbers that
//! the model does not allow are refused by the place where they stand.

use std::net::IpAddr;

use ipnet::IpNet;
use ruleward_core::contribution::{
    AddressSet, Attachment, Chain, ChainPolicy, Contribution, Families, SetMember, SetType, Verdict,
};
use ruleward_core::names::{ChainName, Comment, InterfaceName, SetName};
use ruleward_core::rule::{AddressTypeTest, ConnmarkAction, Extension, Match, Nat, PortRange, Rule, Target, TcpMss};
use ruleward_sdk as sdk;

use crate::convert;

type Lifted<T> = Result<T, String>;

fn text(error: impl ToString) -> String {
    error.to_string()
}

/// The whole answer.
pub fn contribution(answer: &sdk::Contribution) -> Lifted<Contribution> {
    Ok(Contribution {
        chains: answer.chains.iter().map(chain).collect::<Lifted<_>>()?,
        attachments: answer.attachments.iter().map(attachment).collect::<Lifted<_>>()?,
        sets: answer.sets.iter().map(set).collect::<Lifted<_>>()?,
        policies: answer.policies.iter().map(policy).collect(),
    })
}

fn policy(policy: &sdk::ChainPolicy) -> ChainPolicy {
    ChainPolicy {
        table: convert::table(policy.table),
        hook: convert::hook(policy.hook),
        families: families(policy.families),
        policy: match policy.policy {
            sdk::Verdict::Accept => Verdict::Accept,
            sdk::Verdict::Drop => Verdict::Drop,
        },
    }
}

/// Families.
pub fn families(families: sdk::Families) -> Families {
    Families { ipv4: families.contains(sdk::Families::IPV4), ipv6: families.contains(sdk::Families::IPV6) }
}

fn chain(chain: &sdk::Chain) -> Lifted<Chain> {
    let rules = chain
        .rules
        .iter()
        .enumerate()
        .map(|(at, one)| rule(one).map_err(|reason| format!("chain {}, rule {}: {reason}", chain.name, at + 1)));
    Ok(Chain {
        table: convert::table(chain.table),
        families: families(chain.families),
        name: ChainName::new(&chain.name).map_err(text)?,
        rules: rules.collect::<Lifted<_>>()?,
    })
}

fn attachment(attachment: &sdk::Attachment) -> Lifted<Attachment> {
    Ok(Attachment {
        table: convert::table(attachment.table),
        hook: convert::hook(attachment.hook),
        families: families(attachment.families),
        placement: convert::placement(attachment.placement),
        order: attachment.order,
        rule: rule(&attachment.rule).map_err(|reason| format!("attachment: {reason}"))?,
    })
}

fn set(set: &sdk::AddressSet) -> Lifted<AddressSet> {
    Ok(AddressSet {
        name: SetName::new(&set.name).map_err(text)?,
        family: convert::family(set.family),
        kind: match &set.kind {
            sdk::SetType::HashIp => SetType::HashIp,
            sdk::SetType::HashNet => SetType::HashNet,
            sdk::SetType::HashIpPort => SetType::HashIpPort,
            sdk::SetType::HashNetPort => SetType::HashNetPort,
            sdk::SetType::Extension(name) => SetType::Extension(name.clone()),
        },
        members: set.members.iter().map(member).collect::<Lifted<_>>()?,
        max_elements: set.max_elements,
        dynamic: set.dynamic,
        timeout: set.timeout,
        options: set.options.clone(),
    })
}

fn member(member: &sdk::SetMember) -> Lifted<SetMember> {
    Ok(match member {
        sdk::SetMember::Network(one) => SetMember::Network(network(*one)?),
        sdk::SetMember::NetworkPort(one) => {
            SetMember::NetworkPort { network: network(one.network)?, protocol: one.protocol, port: one.port }
        }
        sdk::SetMember::Nomatch(one) => SetMember::Nomatch(network(*one)?),
        sdk::SetMember::Extension(words) => SetMember::Extension(words.clone()),
    })
}

fn network(network: sdk::IpNetwork) -> Lifted<IpNet> {
    let address = IpAddr::from(network.address);
    let net = IpNet::new(address, network.prefix_length);
    net.map(|net| net.trunc()).map_err(|_| format!("{address} has no prefix of {} bits", network.prefix_length))
}

fn rule(rule: &sdk::Rule) -> Lifted<Rule> {
    Ok(Rule {
        matches: rule.matches.iter().map(matching).collect::<Lifted<_>>()?,
        target: rule.target.as_ref().map(target).transpose()?,
        comment: rule.comment.as_ref().map(|comment| Comment::new(comment)).transpose().map_err(text)?,
    })
}

fn range(range: sdk::PortRange) -> PortRange {
    PortRange { first: range.first, last: range.last }
}

fn ranges(ports: &sdk::PortMatch) -> Vec<PortRange> {
    ports.ranges.iter().map(|one| range(*one)).collect()
}

fn extension(extension: &sdk::Extension) -> Extension {
    Extension { name: extension.name.clone(), arguments: extension.arguments.clone() }
}

fn interface(name: &str) -> Lifted<InterfaceName> {
    InterfaceName::new(name).map_err(text)
}

fn matching(found: &sdk::Match) -> Lifted<Match> {
    let test =
        |test: sdk::AddressTypeTest| AddressTypeTest { kind: convert::address_type(test.kind), negated: test.negated };
    Ok(match found {
        sdk::Match::Protocol(m) => Match::Protocol { number: m.number, negated: m.negated },
        sdk::Match::Source(m) => Match::Source { network: network(m.network)?, negated: m.negated },
        sdk::Match::Destination(m) => Match::Destination { network: network(m.network)?, negated: m.negated },
        sdk::Match::InInterface(m) => Match::InInterface { name: interface(&m.name)?, negated: m.negated },
        sdk::Match::OutInterface(m) => Match::OutInterface { name: interface(&m.name)?, negated: m.negated },
        sdk::Match::SourcePorts(m) => Match::SourcePorts { ranges: ranges(m), negated: m.negated },
        sdk::Match::DestinationPorts(m) => Match::DestinationPorts { ranges: ranges(m), negated: m.negated },
        sdk::Match::TcpFlags(m) => Match::TcpFlags { mask: m.mask.bits(), set: m.set.bits(), negated: m.negated },
        sdk::Match::Icmp(m) => Match::Icmp { kind: m.kind, code: m.code, negated: m.negated },
        sdk::Match::Icmpv6(m) => Match::Icmpv6 { kind: m.kind, code: m.code, negated: m.negated },
        sdk::Match::ConntrackState(m) => Match::ConntrackState { states: m.states.bits(), negated: m.negated },
        sdk::Match::Mark(m) => Match::Mark { value: m.value, mask: m.mask, negated: m.negated },
        sdk::Match::Connmark(m) => Match::Connmark { value: m.value, mask: m.mask, negated: m.negated },
        sdk::Match::AddressType(m) => Match::AddressType {
            source: m.source.map(test),
            destination: m.destination.map(test),
            limit: convert::address_type_limit(m.limit),
        },
        sdk::Match::Set(m) => Match::Set {
            name: SetName::new(&m.name).map_err(text)?,
            directions: m.directions.iter().map(|one| convert::direction(*one)).collect(),
            negated: m.negated,
        },
        sdk::Match::Limit(m) => Match::Limit { rate: m.rate, unit: convert::rate_unit(m.unit), burst: m.burst },
        sdk::Match::Extension(m) => Match::Extension(extension(m)),
        sdk::Match::Verbatim(words) => Match::Verbatim(words.clone()),
    })
}

fn target(target: &sdk::Target) -> Lifted<Target> {
    let chain = |name: &String| ChainName::new(name).map_err(text);
    Ok(match target {
        sdk::Target::Accept => Target::Accept,
        sdk::Target::Drop => Target::Drop,
        sdk::Target::Return => Target::Return,
        sdk::Target::Reject(kind) => Target::Reject(convert::reject(*kind)),
        sdk::Target::Jump(name) => Target::Jump(chain(name)?),
        sdk::Target::Goto(name) => Target::Goto(chain(name)?),
        sdk::Target::Masquerade(t) => {
            Target::Masquerade { ports: t.ports.map(range), random: t.random, random_fully: t.random_fully }
        }
        sdk::Target::SourceNat(t) => Target::SourceNat(nat(t)),
        sdk::Target::DestinationNat(t) => Target::DestinationNat(nat(t)),
        sdk::Target::Redirect(ports) => Target::Redirect { ports: ports.map(range) },
        sdk::Target::Mark(t) => Target::Mark { value: t.value, mask: t.mask },
        sdk::Target::Connmark(action) => Target::Connmark(match action {
            sdk::ConnmarkAction::Set(set) => ConnmarkAction::Set { value: set.value, mask: set.mask },
            sdk::ConnmarkAction::Save(mask) => ConnmarkAction::Save { mask: *mask },
            sdk::ConnmarkAction::Restore(mask) => ConnmarkAction::Restore { mask: *mask },
        }),
        sdk::Target::Log(t) => Target::Log { prefix: t.prefix.clone(), level: convert::log_level(t.level) },
        sdk::Target::Nflog(t) => Target::Nflog { group: t.group, prefix: t.prefix.clone(), threshold: t.threshold },
        sdk::Target::NoTrack => Target::NoTrack,
        sdk::Target::Tproxy(t) => Target::Tproxy {
            port: t.port,
            address: t.address.map(IpAddr::from),
            value: t.mark.value,
            mask: t.mark.mask,
        },
        sdk::Target::TcpMss(sdk::TcpMss::ClampToPathMtu) => Target::TcpMss(TcpMss::ClampToPathMtu),
        sdk::Target::TcpMss(sdk::TcpMss::Set(bytes)) => Target::TcpMss(TcpMss::Set(*bytes)),
        sdk::Target::Extension(t) => Target::Extension(extension(t)),
    })
}

fn nat(nat: &sdk::Nat) -> Nat {
    Nat {
        addresses: nat.addresses.map(|range| (range.first.into(), range.last.into())),
        ports: nat.ports.map(range),
        random: nat.random,
        random_fully: nat.random_fully,
        persistent: nat.persistent,
    }
}
