//! Turns the words of a match into the contract's case for it, where that case says exactly the same: numbers cost
//! less than words, and the host can judge them. Everything else stays an extension.

use ruleward_sdk::{
    ConntrackStateMatch, ConntrackStates, Direction, MarkMatch, Masquerade, Match, PortMatch, PortRange, SetMatch,
    Target,
};

use crate::rule::Module;

/// The text of a `-m comment --comment TEXT`.
pub fn comment(module: &Module<'_, '_>) -> Option<String> {
    match &*module.words {
        [option, text] if *module.name == "comment" && option == "--comment" => Some(text.clone().into_owned()),
        [word] if *module.name == "comment" => {
            word.strip_prefix("--comment=").filter(|text| !text.is_empty()).map(str::to_owned)
        }
        _ => None,
    }
}

/// The condition that a match and its words are, in a rule of the given protocol.
pub fn condition(module: Module<'_, '_>, protocol: Option<u8>) -> Match {
    typed(&module, protocol).unwrap_or_else(|| Match::Extension(module.into_extension()))
}

/// The target that a name and its words are.
pub fn target(module: Module<'_, '_>) -> Target {
    if *module.name == "MASQUERADE" && module.words.is_empty() {
        return Target::Masquerade(Masquerade { ports: None, random: false, random_fully: false });
    }
    Target::Extension(module.into_extension())
}

fn typed(module: &Module<'_, '_>, protocol: Option<u8>) -> Option<Match> {
    let (negated, words) = match &*module.words {
        [first, rest @ ..] if first == "!" => (true, rest),
        all => (false, all),
    };
    let (option, values) = words.split_first()?;
    match (module.name.as_ref(), option.as_ref(), values) {
        ("tcp" | "udp" | "dccp" | "sctp", option, [value]) => {
            let own =
                matches!((module.name.as_ref(), protocol?), ("tcp", 6) | ("udp", 17) | ("dccp", 33) | ("sctp", 132));
            let ports = PortMatch { ranges: vec![port_range(value)?], negated };
            match option {
                _ if !own => None,
                "--dport" | "--destination-port" => Some(Match::DestinationPorts(ports)),
                "--sport" | "--source-port" => Some(Match::SourcePorts(ports)),
                _ => None,
            }
        }
        ("multiport", option, [value]) if matches!(protocol?, 6 | 17 | 33 | 132 | 136) => {
            let ports = PortMatch { ranges: port_list(value)?, negated };
            match option {
                "--dports" | "--destination-ports" => Some(Match::DestinationPorts(ports)),
                "--sports" | "--source-ports" => Some(Match::SourcePorts(ports)),
                _ => None,
            }
        }
        ("conntrack", "--ctstate", [value]) => {
            let states = value.split(',').map(state).collect::<Option<Vec<_>>>()?;
            let states = states.into_iter().fold(ConntrackStates::empty(), |all, state| all | state);
            Some(Match::ConntrackState(ConntrackStateMatch { states, negated }))
        }
        ("set", "--match-set", [name, ends]) => {
            let directions = ends.split(',').map(direction).collect::<Option<Vec<_>>>()?;
            Some(Match::Set(SetMatch { name: name.clone().into_owned(), directions, negated }))
        }
        ("mark", "--mark", [value]) => {
            let (value, mask) = value.split_once('/').unwrap_or((value, "0xffffffff"));
            Some(Match::Mark(MarkMatch { value: number(value)?, mask: number(mask)?, negated }))
        }
        _ => None,
    }
}

/// `443` or `1024:65535`, in numbers.
fn port_range(text: &str) -> Option<PortRange> {
    let (first, last) = text.split_once(':').unwrap_or((text, text));
    let range = PortRange { first: decimal(first)?, last: decimal(last)? };
    (range.first <= range.last).then_some(range)
}

/// Several ports. A list of one is another match to iptables (`--dport`), and more than 15 are refused there.
fn port_list(text: &str) -> Option<Vec<PortRange>> {
    let ranges = text.split(',').map(port_range).collect::<Option<Vec<_>>>()?;
    let slots: usize = ranges.iter().map(|range| if range.first == range.last { 1 } else { 2 }).sum();
    (ranges.len() >= 2 && slots <= 15).then_some(ranges)
}

fn state(name: &str) -> Option<ConntrackStates> {
    Some(match name {
        "NEW" => ConntrackStates::NEW,
        "ESTABLISHED" => ConntrackStates::ESTABLISHED,
        "RELATED" => ConntrackStates::RELATED,
        "INVALID" => ConntrackStates::INVALID,
        "UNTRACKED" => ConntrackStates::UNTRACKED,
        "SNAT" => ConntrackStates::SNAT,
        "DNAT" => ConntrackStates::DNAT,
        _ => return None,
    })
}

fn direction(name: &str) -> Option<Direction> {
    match name {
        "src" => Some(Direction::Source),
        "dst" => Some(Direction::Destination),
        _ => None,
    }
}

/// Digits only: iptables reads a leading zero as octal, and refuses a plus sign.
fn decimal(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) if hex.bytes().all(|byte| byte.is_ascii_hexdigit()) => u32::from_str_radix(hex, 16).ok(),
        Some(_) => None,
        None => {
            let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
            if plain { text.parse().ok() } else { None }
        }
    }
}
