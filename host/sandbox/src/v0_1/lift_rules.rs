//! Rules and their matches, from contract 0.1.0 into the rule model.

use ruleward_core::names::{Comment, InterfaceName, SetName};
use ruleward_core::rule::{
    AddressType, AddressTypeLimit, AddressTypeTest, Direction, Extension, Match, PortRange, RateUnit, Rule,
};

use super::bindings::ruleward::policy::types as wit;
use super::lift::shown;
use super::{lift_addresses, lift_targets};
use crate::lift_error::{Lifted, Wrong};

/// Ports that one `multiport` match can hold; a range of more than one counts as two (`XT_MULTI_PORTS`).
const MOST_PORTS: usize = 15;
/// Longest burst of the `limit` match.
const MOST_BURST: u32 = 10_000;
/// The `limit` match counts in ten-thousandths of a second: no higher rate than this a second can be told apart.
const MOST_PER_SECOND: u64 = 10_000;
/// Longest name of an iptables extension (`XT_EXTENSION_MAXNAMELEN` with its end mark).
const LONGEST_EXTENSION: usize = 28;
/// Words of one extension or whole rule, and bytes of one word: more than any has, and little enough for one line.
const MOST_ARGUMENTS: usize = 128;
const MOST_WORDS: usize = 255;
const LONGEST_ARGUMENT: usize = 1023;

/// A rule.
pub fn rule(rule: wit::Rule) -> Lifted<Rule> {
    let matches = rule.matches.into_iter().enumerate();
    let matches = matches
        .map(|(index, one)| {
            let kind = kind(&one);
            matching(one).map_err(|e| e.within(&format!("match {} ({kind})", index + 1)))
        })
        .collect::<Lifted<_>>()?;
    let target = rule.target.map(lift_targets::target).transpose().map_err(|e| e.within("target"))?;
    let comment = rule.comment.map(Comment::try_from).transpose().map_err(Wrong::from)?;
    Ok(Rule { matches, target, comment })
}

/// The match's name in the contract.
fn kind(matching: &wit::Match) -> &'static str {
    match matching {
        wit::Match::Protocol(_) => "protocol",
        wit::Match::Source(_) => "source",
        wit::Match::Destination(_) => "destination",
        wit::Match::InInterface(_) => "in-interface",
        wit::Match::OutInterface(_) => "out-interface",
        wit::Match::SourcePorts(_) => "source-ports",
        wit::Match::DestinationPorts(_) => "destination-ports",
        wit::Match::TcpFlags(_) => "tcp-flags",
        wit::Match::Icmp(_) => "icmp",
        wit::Match::Icmpv6(_) => "icmpv6",
        wit::Match::ConntrackState(_) => "conntrack-state",
        wit::Match::Mark(_) => "mark",
        wit::Match::Connmark(_) => "connmark",
        wit::Match::AddressType(_) => "address-type",
        wit::Match::Set(_) => "set",
        wit::Match::Limit(_) => "limit",
        wit::Match::Extension(_) => "extension",
        wit::Match::Verbatim(_) => "verbatim",
    }
}

fn matching(matching: wit::Match) -> Lifted<Match> {
    use lift_addresses::network;
    Ok(match matching {
        wit::Match::Protocol(wit::ProtocolMatch { number, negated }) => Match::Protocol { number, negated },
        wit::Match::Source(m) => Match::Source { network: network(m.network)?, negated: m.negated },
        wit::Match::Destination(m) => Match::Destination { network: network(m.network)?, negated: m.negated },
        wit::Match::InInterface(m) => Match::InInterface { name: InterfaceName::try_from(m.name)?, negated: m.negated },
        wit::Match::OutInterface(m) => {
            Match::OutInterface { name: InterfaceName::try_from(m.name)?, negated: m.negated }
        }
        wit::Match::SourcePorts(m) => Match::SourcePorts { ranges: ports(m.ranges)?, negated: m.negated },
        wit::Match::DestinationPorts(m) => Match::DestinationPorts { ranges: ports(m.ranges)?, negated: m.negated },
        wit::Match::TcpFlags(m) => tcp_flags(m)?,
        wit::Match::Icmp(m) => Match::Icmp { kind: m.kind, code: m.code, negated: m.negated },
        wit::Match::Icmpv6(m) => Match::Icmpv6 { kind: m.kind, code: m.code, negated: m.negated },
        wit::Match::ConntrackState(m) => Match::ConntrackState { states: states(m.states)?, negated: m.negated },
        wit::Match::Mark(m) => Match::Mark { value: m.value, mask: m.mask, negated: m.negated },
        wit::Match::Connmark(m) => Match::Connmark { value: m.value, mask: m.mask, negated: m.negated },
        wit::Match::AddressType(m) => address_type(m)?,
        wit::Match::Set(m) => set(m)?,
        wit::Match::Limit(m) => limit(m)?,
        wit::Match::Extension(m) => Match::Extension(extension(m)?),
        wit::Match::Verbatim(words) => Match::Verbatim(verbatim(words)?),
    })
}

fn ports(ranges: Vec<wit::PortRange>) -> Lifted<Vec<PortRange>> {
    if ranges.is_empty() {
        return Err(Wrong::new("holds no port; give at least one, or leave the match out"));
    }
    let slots: usize = ranges.iter().map(|range| if range.first == range.last { 1 } else { 2 }).sum();
    if slots > MOST_PORTS {
        let problem =
            format!("counts {slots} ports (a range counts as two), and one rule holds {MOST_PORTS}; use several rules");
        return Err(Wrong::new(problem));
    }
    ranges.into_iter().map(lift_addresses::ports).collect()
}

fn tcp_flags(flags: wit::TcpFlagsMatch) -> Lifted<Match> {
    if flags.mask == wit::TcpFlags::empty() {
        return Err(Wrong::new("is empty; name at least one flag to look at").within("mask"));
    }
    if !flags.mask.contains(flags.set) {
        return Err(
            Wrong::new("holds flags that `mask` lacks, so it could never match; add them to `mask`").within("set")
        );
    }
    let named = [
        wit::TcpFlags::FIN,
        wit::TcpFlags::SYN,
        wit::TcpFlags::RST,
        wit::TcpFlags::PSH,
        wit::TcpFlags::ACK,
        wit::TcpFlags::URG,
    ];
    let bits = |flags: wit::TcpFlags| bits(named.map(|flag| flags.contains(flag)));
    Ok(Match::TcpFlags { mask: bits(flags.mask), set: bits(flags.set), negated: flags.negated })
}

fn states(states: wit::ConntrackStates) -> Lifted<u8> {
    if states == wit::ConntrackStates::empty() {
        return Err(Wrong::new("holds no state; name at least one").within("states"));
    }
    let named = [
        wit::ConntrackStates::NEW,
        wit::ConntrackStates::ESTABLISHED,
        wit::ConntrackStates::RELATED,
        wit::ConntrackStates::INVALID,
        wit::ConntrackStates::UNTRACKED,
        wit::ConntrackStates::SNAT,
        wit::ConntrackStates::DNAT,
    ];
    Ok(bits(named.map(|state| states.contains(state))))
}

/// The bits that are on, from bit 0.
fn bits<const N: usize>(on: [bool; N]) -> u8 {
    on.into_iter().rev().fold(0, |bits, on| bits << 1 | u8::from(on))
}

fn address_type(matching: wit::AddressTypeMatch) -> Lifted<Match> {
    let test = |test: wit::AddressTypeTest| AddressTypeTest { kind: address_kind(test.kind), negated: test.negated };
    if matching.source.is_none() && matching.destination.is_none() {
        return Err(Wrong::new("tests nothing; give `source`, `destination` or both"));
    }
    Ok(Match::AddressType {
        source: matching.source.map(test),
        destination: matching.destination.map(test),
        limit: match matching.limit {
            wit::AddressTypeLimit::AnyInterface => AddressTypeLimit::AnyInterface,
            wit::AddressTypeLimit::InInterface => AddressTypeLimit::InInterface,
            wit::AddressTypeLimit::OutInterface => AddressTypeLimit::OutInterface,
        },
    })
}

fn address_kind(kind: wit::AddressType) -> AddressType {
    match kind {
        wit::AddressType::Unspec => AddressType::Unspec,
        wit::AddressType::Unicast => AddressType::Unicast,
        wit::AddressType::Local => AddressType::Local,
        wit::AddressType::Broadcast => AddressType::Broadcast,
        wit::AddressType::Anycast => AddressType::Anycast,
        wit::AddressType::Multicast => AddressType::Multicast,
        wit::AddressType::Blackhole => AddressType::Blackhole,
        wit::AddressType::Unreachable => AddressType::Unreachable,
        wit::AddressType::Prohibit => AddressType::Prohibit,
    }
}

fn set(matching: wit::SetMatch) -> Lifted<Match> {
    let count = matching.directions.len();
    if !(1..=6).contains(&count) {
        let problem = format!("there are {count}; give one for each dimension of the set, 1 to 6");
        return Err(Wrong::new(problem).within("directions"));
    }
    let directions = matching.directions.into_iter().map(|direction| match direction {
        wit::Direction::Source => Direction::Source,
        wit::Direction::Destination => Direction::Destination,
    });
    Ok(Match::Set {
        name: SetName::try_from(matching.name)?,
        directions: directions.collect(),
        negated: matching.negated,
    })
}

fn limit(matching: wit::LimitMatch) -> Lifted<Match> {
    let (unit, seconds) = match matching.unit {
        wit::RateUnit::Second => (RateUnit::Second, 1),
        wit::RateUnit::Minute => (RateUnit::Minute, 60),
        wit::RateUnit::Hour => (RateUnit::Hour, 3600),
        wit::RateUnit::Day => (RateUnit::Day, 86_400),
    };
    let most = MOST_PER_SECOND * seconds;
    if matching.rate == 0 || u64::from(matching.rate) > most {
        let problem = format!("{} is impossible; with this unit use 1 to {most}", matching.rate);
        return Err(Wrong::new(problem).within("rate"));
    }
    if let Some(burst) = matching.burst
        && !(1..=MOST_BURST).contains(&burst)
    {
        return Err(Wrong::new(format!("{burst} is impossible; use 1 to {MOST_BURST}")).within("burst"));
    }
    Ok(Match::Limit { rate: matching.rate, unit, burst: matching.burst })
}

/// An extension, as a match or a target. Which of its words are allowed is not decided here.
pub fn extension(extension: wit::Extension) -> Lifted<Extension> {
    let wit::Extension { name, arguments } = extension;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if name.is_empty() || name.len() > LONGEST_EXTENSION || name.starts_with('-') || !name.chars().all(fits) {
        let problem = format!(
            "{:?} is no name of an extension; use 1 to {LONGEST_EXTENSION} letters, digits, _ and -, as after -m or -j",
            shown(&name)
        );
        return Err(Wrong::new(problem).within("name"));
    }
    if arguments.len() > MOST_ARGUMENTS {
        let problem = format!("there are {}; at most {MOST_ARGUMENTS} are possible", arguments.len());
        return Err(Wrong::new(problem).within("arguments"));
    }
    for (index, argument) in arguments.iter().enumerate() {
        word(argument).map_err(|problem| problem.within(&format!("argument {} of {name}", index + 1)))?;
    }
    Ok(Extension { name, arguments })
}

/// A whole rule. What its words mean is decided by iptables.
fn verbatim(words: Vec<String>) -> Lifted<Vec<String>> {
    if words.is_empty() || words.len() > MOST_WORDS {
        return Err(Wrong::new(format!("there are {} words; give 1 to {MOST_WORDS}", words.len())));
    }
    for (index, one) in words.iter().enumerate().filter(|(_, one)| !one.is_empty()) {
        word(one).map_err(|problem| problem.within(&format!("word {}", index + 1)))?;
    }
    Ok(words)
}

fn word(word: &str) -> Lifted<()> {
    let problem = if word.is_empty() {
        "is empty; leave it out".to_owned()
    } else if word.len() > LONGEST_ARGUMENT {
        format!("is {} bytes long; at most {LONGEST_ARGUMENT} are possible", word.len())
    } else if let Some(bad) = word.chars().find(|c| c.is_control()) {
        format!("contains the control character {bad:?}; remove it")
    } else {
        return Ok(());
    };
    Err(Wrong::new(problem))
}
