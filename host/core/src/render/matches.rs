//! How iptables spells each match: the module that it needs, and its options.

use crate::extension;
use crate::names::Family;
use crate::quote::push_word;
use crate::rule::{AddressTypeLimit, CONNTRACK_STATES, Match, TCP_FLAGS};

use super::ports::push_ports;
use super::{RenderError, Result, masked, module, option, same_family};

pub(super) fn push_match(line: &mut String, found: &Match, family: Family, protocol: Option<u8>) -> Result<()> {
    match found {
        Match::Protocol { .. } | Match::Verbatim(_) => {}
        Match::Source { network, negated } => {
            same_family("source", network.addr(), family)?;
            option(line, *negated, "-s", &network.trunc().to_string());
        }
        Match::Destination { network, negated } => {
            same_family("destination", network.addr(), family)?;
            option(line, *negated, "-d", &network.trunc().to_string());
        }
        Match::InInterface { name, negated } => option(line, *negated, "-i", name.as_str()),
        Match::OutInterface { name, negated } => option(line, *negated, "-o", name.as_str()),
        Match::SourcePorts { ranges, negated } => push_ports(line, "source-ports", ranges, *negated, protocol)?,
        Match::DestinationPorts { ranges, negated } => {
            push_ports(line, "destination-ports", ranges, *negated, protocol)?;
        }
        Match::TcpFlags { mask, set, negated } => push_tcp_flags(line, *mask, *set, *negated, protocol)?,
        Match::Icmp { kind, code, negated } => {
            push_icmp(line, (Family::Ipv4, "icmp", "--icmp-type", 1), (*kind, *code), *negated, family, protocol)?;
        }
        Match::Icmpv6 { kind, code, negated } => {
            push_icmp(line, (Family::Ipv6, "icmp6", "--icmpv6-type", 58), (*kind, *code), *negated, family, protocol)?;
        }
        Match::ConntrackState { states, negated } => {
            module(line, "conntrack");
            let names = bit_names(*states, &CONNTRACK_STATES, "conntrack-state")?;
            option(line, *negated, "--ctstate", &names);
        }
        Match::Mark { value, mask, negated } => {
            module(line, "mark");
            option(line, *negated, "--mark", &masked(*value, *mask));
        }
        Match::Connmark { value, mask, negated } => {
            module(line, "connmark");
            option(line, *negated, "--mark", &masked(*value, *mask));
        }
        Match::AddressType { source, destination, limit } => {
            if source.is_none() && destination.is_none() {
                let reason = "give a source test, a destination test or both".to_owned();
                return Err(RenderError::Value { what: "address-type", reason });
            }
            module(line, "addrtype");
            for (test, flag) in [(source, "--src-type"), (destination, "--dst-type")] {
                if let Some(test) = test {
                    option(line, test.negated, flag, test.kind.word());
                }
            }
            match limit {
                AddressTypeLimit::AnyInterface => {}
                AddressTypeLimit::InInterface => push_word(line, "--limit-iface-in"),
                AddressTypeLimit::OutInterface => push_word(line, "--limit-iface-out"),
            }
        }
        Match::Set { name, directions, negated } => {
            if directions.is_empty() || directions.len() > 6 {
                let reason = format!("has {} directions; give 1 to 6", directions.len());
                return Err(RenderError::Value { what: "set", reason });
            }
            module(line, "set");
            option(line, *negated, "--match-set", name.as_str());
            let words: Vec<&str> = directions.iter().map(|direction| direction.word()).collect();
            push_word(line, &words.join(","));
        }
        Match::Limit { rate, unit, burst } => {
            if *rate == 0 {
                return Err(RenderError::Value { what: "limit", reason: "the rate must be at least 1".into() });
            }
            module(line, "limit");
            option(line, false, "--limit", &format!("{rate}/{}", unit.word()));
            if let Some(burst) = burst {
                option(line, false, "--limit-burst", &burst.to_string());
            }
        }
        Match::Extension(extension) => extension::push(line, "-m", extension)?,
    }
    Ok(())
}

fn bit_names(bits: u8, names: &[&str], what: &'static str) -> Result<String> {
    if bits == 0 || u32::from(bits) >= 1 << names.len() {
        return Err(RenderError::Value { what, reason: format!("choose at least one of {}", names.join(", ")) });
    }
    let chosen: Vec<&str> =
        names.iter().enumerate().filter(|(bit, _)| bits & (1 << bit) != 0).map(|(_, name)| *name).collect();
    Ok(chosen.join(","))
}

fn push_tcp_flags(line: &mut String, mask: u8, set: u8, negated: bool, protocol: Option<u8>) -> Result<()> {
    if protocol != Some(6) {
        return Err(RenderError::Protocol { what: "tcp-flags", needed: "TCP (6)" });
    }
    if set & !mask != 0 {
        let reason = "flags in `set` that are not in `mask` can never match".to_owned();
        return Err(RenderError::Value { what: "tcp-flags", reason });
    }
    module(line, "tcp");
    option(line, negated, "--tcp-flags", &bit_names(mask, &TCP_FLAGS, "tcp-flags")?);
    let set = if set == 0 { "NONE".to_owned() } else { bit_names(set, &TCP_FLAGS, "tcp-flags")? };
    push_word(line, &set);
    Ok(())
}

fn push_icmp(
    line: &mut String,
    (own, name, flag, number): (Family, &'static str, &str, u8),
    (kind, code): (u8, Option<u8>),
    negated: bool,
    family: Family,
    protocol: Option<u8>,
) -> Result<()> {
    if family != own {
        return Err(RenderError::OnlyOther { what: if name == "icmp" { "icmp" } else { "icmpv6" }, family });
    }
    if protocol != Some(number) {
        let needed = if number == 1 { "ICMP (1)" } else { "ICMPv6 (58)" };
        return Err(RenderError::Protocol { what: if name == "icmp" { "icmp" } else { "icmpv6" }, needed });
    }
    module(line, name);
    let code = code.map_or(String::new(), |code| format!("/{code}"));
    option(line, negated, flag, &format!("{kind}{code}"));
    Ok(())
}
