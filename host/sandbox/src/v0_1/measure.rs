//! Measures what goes into a policy and what comes out of it, as wasmtime counts it: lists by their elements' size, text by
//! its bytes.

use ruleward_core::limit::{Limit, Usage};
use wasmtime::component::ComponentType;

use super::bindings::ruleward::policy::types as wit;

/// Bytes that the guest is given with `facts` and `settings`.
pub fn input(facts: &wit::Facts<'_>, settings: &str) -> u64 {
    fn texts(list: &[&str]) -> usize {
        list.iter().map(|text| text.len() + <str as ComponentType>::SIZE32).sum()
    }
    let interfaces = facts.interfaces.iter().map(|one| {
        one.name.len() + wit::NetworkInterface::SIZE32 + one.addresses.len() * <wit::IpNetwork as ComponentType>::SIZE32
    });
    let resources = facts.resources.iter().map(|one| {
        let text = [one.api_version, one.kind, one.name, one.json, one.namespace.unwrap_or_default()];
        wit::Resource::SIZE32 + text.map(str::len).iter().sum::<usize>()
    });
    let tables = facts.system.nft_tables.iter();
    let tables = tables.map(|one| wit::NftTable::SIZE32 + one.family.len() + one.name.len());
    let granted = &facts.granted;
    let bytes = settings.len()
        + facts.node_name.len()
        + interfaces.sum::<usize>()
        + resources.sum::<usize>()
        + granted.tables.len()
        + tables.sum::<usize>()
        + [granted.chains, granted.sets, granted.comments, granted.policies, granted.uses_sets, granted.uses_chains]
            .map(texts)
            .iter()
            .sum::<usize>();
    bytes as u64
}

/// Takes down how large an answer is.
pub fn output(answer: &wit::Contribution, usage: &mut Usage) {
    usage[Limit::Chains] = answer.chains.len() as u64;
    usage[Limit::Rules] =
        answer.chains.iter().map(|chain| chain.rules.len() as u64).sum::<u64>() + answer.attachments.len() as u64;
    usage[Limit::Sets] = answer.sets.len() as u64;
    usage[Limit::Members] = answer.sets.iter().map(|set| set.members.len() as u64).sum();
    usage[Limit::Output] = bytes(answer) as u64;
}

/// What wasmtime counts against the limit of an answer.
fn bytes(answer: &wit::Contribution) -> usize {
    let chains = answer.chains.iter().map(|chain| chain.name.len() + list(&chain.rules, rule));
    let attachments = answer.attachments.iter().map(|attachment| rule(&attachment.rule));
    let sets = answer.sets.iter().map(|set| {
        let kind = if let wit::SetType::Extension(text) = &set.kind { text.len() } else { 0 };
        set.name.len() + kind + list(&set.members, member) + list(&set.options, String::len)
    });
    size_of_val(answer.chains.as_slice())
        + size_of_val(answer.attachments.as_slice())
        + size_of_val(answer.sets.as_slice())
        + size_of_val(answer.policies.as_slice())
        + chains.sum::<usize>()
        + attachments.sum::<usize>()
        + sets.sum::<usize>()
}

fn list<T>(items: &[T], inside: impl Fn(&T) -> usize) -> usize {
    size_of_val(items) + items.iter().map(inside).sum::<usize>()
}

fn rule(rule: &wit::Rule) -> usize {
    let comment = rule.comment.as_ref().map_or(0, String::len);
    comment + list(&rule.matches, matching) + rule.target.as_ref().map_or(0, target)
}

fn matching(matching: &wit::Match) -> usize {
    match matching {
        wit::Match::InInterface(one) | wit::Match::OutInterface(one) => one.name.len(),
        wit::Match::SourcePorts(one) | wit::Match::DestinationPorts(one) => size_of_val(one.ranges.as_slice()),
        wit::Match::Set(one) => one.name.len() + size_of_val(one.directions.as_slice()),
        wit::Match::Extension(one) => extension(one),
        wit::Match::Verbatim(words) => list(words, String::len),
        wit::Match::Protocol(_)
        | wit::Match::Source(_)
        | wit::Match::Destination(_)
        | wit::Match::TcpFlags(_)
        | wit::Match::Icmp(_)
        | wit::Match::Icmpv6(_)
        | wit::Match::ConntrackState(_)
        | wit::Match::Mark(_)
        | wit::Match::Connmark(_)
        | wit::Match::AddressType(_)
        | wit::Match::Limit(_) => 0,
    }
}

fn target(target: &wit::Target) -> usize {
    match target {
        wit::Target::Jump(name) | wit::Target::Goto(name) => name.len(),
        wit::Target::Log(one) => one.prefix.len(),
        wit::Target::Nflog(one) => one.prefix.len(),
        wit::Target::Extension(one) => extension(one),
        wit::Target::Accept
        | wit::Target::Drop
        | wit::Target::Return
        | wit::Target::Reject(_)
        | wit::Target::Masquerade(_)
        | wit::Target::SourceNat(_)
        | wit::Target::DestinationNat(_)
        | wit::Target::Redirect(_)
        | wit::Target::Mark(_)
        | wit::Target::Connmark(_)
        | wit::Target::NoTrack
        | wit::Target::Tproxy(_)
        | wit::Target::TcpMss(_) => 0,
    }
}

fn extension(extension: &wit::Extension) -> usize {
    extension.name.len() + list(&extension.arguments, String::len)
}

fn member(member: &wit::SetMember) -> usize {
    if let wit::SetMember::Extension(text) = member { text.len() } else { 0 }
}
