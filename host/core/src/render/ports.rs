//! Ports in matches and translations: which protocols have them, and how iptables spells one, a range and a list.

use crate::rule::PortRange;

use super::{RenderError, Result, module, option};

/// The module that knows the ports of a protocol, and whether it has `--sport` of its own.
fn port_module(protocol: Option<u8>) -> Option<(&'static str, bool)> {
    match protocol? {
        6 => Some(("tcp", true)),
        17 => Some(("udp", true)),
        33 => Some(("dccp", true)),
        132 => Some(("sctp", true)),
        136 => Some(("udplite", false)),
        _ => None,
    }
}

pub(super) fn range(range: PortRange, separator: char) -> String {
    if range.first == range.last {
        range.first.to_string()
    } else {
        format!("{}{separator}{}", range.first, range.last)
    }
}

fn check_range(what: &'static str, range: PortRange) -> Result<()> {
    if range.first <= range.last {
        return Ok(());
    }
    let reason = format!("the range {}-{} ends before it begins", range.first, range.last);
    Err(RenderError::Value { what, reason })
}

pub(super) fn push_ports(
    line: &mut String,
    what: &'static str,
    ranges: &[PortRange],
    negated: bool,
    protocol: Option<u8>,
) -> Result<()> {
    let (name, own_option) = port_module(protocol).ok_or(RenderError::NoPorts { what })?;
    let slots: usize = ranges.iter().map(|range| if range.first == range.last { 1 } else { 2 }).sum();
    if slots == 0 || slots > 15 {
        let reason = format!("has {slots} ports (a range counts as two); give 1 to 15");
        return Err(RenderError::Value { what, reason });
    }
    for range in ranges {
        check_range(what, *range)?;
    }
    let letter = if what == "source-ports" { 's' } else { 'd' };
    if let (true, [one]) = (own_option, ranges) {
        module(line, name);
        option(line, negated, &format!("--{letter}port"), &range(*one, ':'));
        return Ok(());
    }
    module(line, "multiport");
    let list: Vec<String> = ranges.iter().map(|one| range(*one, ':')).collect();
    option(line, negated, &format!("--{letter}ports"), &list.join(","));
    Ok(())
}

pub(super) fn translated_ports(what: &'static str, ports: PortRange, protocol: Option<u8>) -> Result<()> {
    port_module(protocol).ok_or(RenderError::NoPorts { what })?;
    check_range(what, ports)
}
