//! Turns typed rules into the words of iptables-restore, for one family. The only place that knows how iptables spells
//! a match or a target. What comes out is one line without a line break; every free text in it is quoted.

use std::fmt::Write as _;
use std::net::IpAddr;

use thiserror::Error;

use crate::extension::{self, ExtensionError};
use crate::names::{Comment, Family};
use crate::quote::push_word;
use crate::rule::{
    AddressTypeLimit, CONNTRACK_STATES, ConnmarkAction, Match, Nat, PortRange, RejectKind, Rule, TCP_FLAGS, Target,
    TcpMss,
};

/// Why a rule has no form in iptables.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RenderError {
    /// An address of the other family.
    #[error("{what} {address} is not {family}; give the rule to the other family only, or leave the address out")]
    Family {
        /// The match or target.
        what: &'static str,
        /// The address.
        address: String,
        /// The family of the chain.
        family: Family,
    },
    /// A match or target that one family lacks.
    #[error("{what} does not exist in {family}")]
    OnlyOther {
        /// The match or target.
        what: &'static str,
        /// The family of the chain.
        family: Family,
    },
    /// Ports without a protocol that has them.
    #[error("{what} needs a protocol match that has ports: TCP (6), UDP (17), DCCP (33), SCTP (132) or UDP-Lite (136)")]
    NoPorts {
        /// The match or target.
        what: &'static str,
    },
    /// A match that goes with one protocol.
    #[error("{what} needs the protocol match {needed}")]
    Protocol {
        /// The match or target.
        what: &'static str,
        /// The protocol.
        needed: &'static str,
    },
    /// A number or text outside its range.
    #[error("{what}: {reason}")]
    Value {
        /// The match or target.
        what: &'static str,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// A whole rule is the only match, and has its own target.
    #[error(
        "has a whole rule (verbatim) beside {0}; a rule in the words of iptables holds all its matches and its target \
         itself"
    )]
    VerbatimBeside(&'static str),
    /// A word of a whole rule.
    #[error("word {number} {reason}")]
    VerbatimWord {
        /// From 1.
        number: usize,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// Two protocol matches.
    #[error("has two protocol matches; a rule can have one")]
    TwoProtocols,
    /// Extension.
    #[error(transparent)]
    Extension(#[from] ExtensionError),
}

type Result<T> = std::result::Result<T, RenderError>;

/// Renders a rule for `family`. `identity`, if any, becomes the first comment; the rule's own comment follows.
///
/// # Errors
/// When iptables has no form for it.
pub fn rule(rule: &Rule, family: Family, identity: Option<&Comment>) -> Result<String> {
    let mut line = String::with_capacity(96);
    let protocol = push_protocol(&mut line, rule)?;
    for comment in identity.into_iter().chain(rule.comment.as_ref()) {
        for word in ["-m", "comment", "--comment", comment.as_str()] {
            push_word(&mut line, word);
        }
    }
    if let Some(words) = verbatim(rule)? {
        words.iter().for_each(|word| push_word(&mut line, word));
        return Ok(line);
    }
    for found in &rule.matches {
        push_match(&mut line, found, family, protocol)?;
    }
    if let Some(target) = &rule.target {
        push_target(&mut line, target, family, protocol)?;
    }
    Ok(line)
}

/// The words of a whole rule, if it is one. What they mean is for iptables to say.
fn verbatim(rule: &Rule) -> Result<Option<&[String]>> {
    let Some(words) = rule.matches.iter().find_map(|found| match found {
        Match::Verbatim(words) => Some(words.as_slice()),
        _ => None,
    }) else {
        return Ok(None);
    };
    if rule.matches.len() > 1 {
        return Err(RenderError::VerbatimBeside("another match"));
    }
    if rule.target.is_some() {
        return Err(RenderError::VerbatimBeside("a target"));
    }
    for (at, word) in words.iter().enumerate() {
        let reason = if word.len() > 1023 {
            format!("is {} bytes long; iptables-restore reads at most 1023", word.len())
        } else if let Some(found) = word.chars().find(|c| c.is_control()) {
            format!("contains the control character {found:?}; remove it")
        } else {
            continue;
        };
        return Err(RenderError::VerbatimWord { number: at + 1, reason });
    }
    Ok(Some(words))
}

/// Appends the protocol match, which iptables wants first, and gives the protocol if the rule is of just one.
fn push_protocol(line: &mut String, rule: &Rule) -> Result<Option<u8>> {
    let mut protocols = rule.matches.iter().filter_map(|found| match found {
        Match::Protocol { number, negated } => Some((*number, *negated)),
        _ => None,
    });
    let Some((number, negated)) = protocols.next() else { return Ok(None) };
    if protocols.next().is_some() {
        return Err(RenderError::TwoProtocols);
    }
    option(line, negated, "-p", &number.to_string());
    Ok((!negated).then_some(number))
}

/// Appends `[!] flag value`.
fn option(line: &mut String, negated: bool, flag: &str, value: &str) {
    if negated {
        push_word(line, "!");
    }
    push_word(line, flag);
    push_word(line, value);
}

fn module(line: &mut String, name: &str) {
    push_word(line, "-m");
    push_word(line, name);
}

fn same_family(what: &'static str, address: IpAddr, family: Family) -> Result<()> {
    if address.is_ipv4() == (family == Family::Ipv4) {
        return Ok(());
    }
    Err(RenderError::Family { what, address: address.to_string(), family })
}

fn push_match(line: &mut String, found: &Match, family: Family, protocol: Option<u8>) -> Result<()> {
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

fn masked(value: u32, mask: u32) -> String {
    format!("{value:#x}/{mask:#x}")
}

fn bit_names(bits: u8, names: &[&str], what: &'static str) -> Result<String> {
    if bits == 0 || u32::from(bits) >= 1 << names.len() {
        return Err(RenderError::Value { what, reason: format!("choose at least one of {}", names.join(", ")) });
    }
    let chosen: Vec<&str> =
        names.iter().enumerate().filter(|(bit, _)| bits & (1 << bit) != 0).map(|(_, name)| *name).collect();
    Ok(chosen.join(","))
}

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

fn range(range: PortRange, separator: char) -> String {
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

fn push_ports(
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

fn push_target(line: &mut String, target: &Target, family: Family, protocol: Option<u8>) -> Result<()> {
    let jump = |line: &mut String, name: &str| option(line, false, "-j", name);
    match target {
        Target::Accept => jump(line, "ACCEPT"),
        Target::Drop => jump(line, "DROP"),
        Target::Return => jump(line, "RETURN"),
        Target::Reject(kind) => {
            jump(line, "REJECT");
            option(line, false, "--reject-with", reject_word(*kind, family, protocol)?);
        }
        Target::Jump(chain) => jump(line, chain.as_str()),
        Target::Goto(chain) => option(line, false, "-g", chain.as_str()),
        Target::Masquerade { ports, random, random_fully } => {
            jump(line, "MASQUERADE");
            if let Some(ports) = ports {
                translated_ports("masquerade", *ports, protocol)?;
                option(line, false, "--to-ports", &range(*ports, '-'));
            }
            flags(line, &[(*random, "--random"), (*random_fully, "--random-fully")]);
        }
        Target::SourceNat(nat) => push_nat(line, nat, ("source-nat", "SNAT", "--to-source"), family, protocol)?,
        Target::DestinationNat(nat) => {
            if nat.random_fully {
                let reason = "random-fully exists for source translation only".to_owned();
                return Err(RenderError::Value { what: "destination-nat", reason });
            }
            push_nat(line, nat, ("destination-nat", "DNAT", "--to-destination"), family, protocol)?;
        }
        Target::Redirect { ports } => {
            jump(line, "REDIRECT");
            if let Some(ports) = ports {
                translated_ports("redirect", *ports, protocol)?;
                option(line, false, "--to-ports", &range(*ports, '-'));
            }
        }
        Target::Mark { value, mask } => {
            jump(line, "MARK");
            option(line, false, "--set-xmark", &masked(*value & *mask, *mask));
        }
        Target::Connmark(action) => {
            jump(line, "CONNMARK");
            push_connmark(line, *action);
        }
        Target::Log { prefix, level } => {
            jump(line, "LOG");
            push_prefix(line, "log", "--log-prefix", prefix, 29)?;
            option(line, false, "--log-level", level.word());
        }
        Target::Nflog { group, prefix, threshold } => {
            jump(line, "NFLOG");
            option(line, false, "--nflog-group", &group.to_string());
            push_prefix(line, "nflog", "--nflog-prefix", prefix, 63)?;
            if let Some(threshold) = threshold {
                option(line, false, "--nflog-threshold", &threshold.to_string());
            }
        }
        Target::NoTrack => {
            jump(line, "CT");
            push_word(line, "--notrack");
        }
        Target::Tproxy { port, address, value, mask } => {
            jump(line, "TPROXY");
            option(line, false, "--on-port", &port.to_string());
            if let Some(address) = address {
                same_family("tproxy", *address, family)?;
                option(line, false, "--on-ip", &address.to_string());
            }
            option(line, false, "--tproxy-mark", &masked(*value & *mask, *mask));
        }
        Target::TcpMss(mss) => {
            jump(line, "TCPMSS");
            match mss {
                TcpMss::ClampToPathMtu => push_word(line, "--clamp-mss-to-pmtu"),
                TcpMss::Set(bytes) => option(line, false, "--set-mss", &bytes.to_string()),
            }
        }
        Target::Extension(extension) => extension::push(line, "-j", extension)?,
    }
    Ok(())
}

fn push_connmark(line: &mut String, action: ConnmarkAction) {
    match action {
        ConnmarkAction::Set { value, mask } => option(line, false, "--set-xmark", &masked(value & mask, mask)),
        ConnmarkAction::Save { mask } | ConnmarkAction::Restore { mask } => {
            let save = matches!(action, ConnmarkAction::Save { .. });
            push_word(line, if save { "--save-mark" } else { "--restore-mark" });
            for side in ["--nfmask", "--ctmask"] {
                option(line, false, side, &format!("{mask:#x}"));
            }
        }
    }
}

fn reject_word(kind: RejectKind, family: Family, protocol: Option<u8>) -> Result<&'static str> {
    use RejectKind::{
        AdminProhibited, HostUnreachable, NetUnreachable, PortUnreachable, ProtocolUnreachable, TcpReset,
    };
    Ok(match (kind, family) {
        (TcpReset, _) if protocol != Some(6) => {
            return Err(RenderError::Protocol { what: "reject with tcp-reset", needed: "TCP (6)" });
        }
        (TcpReset, _) => "tcp-reset",
        (PortUnreachable, Family::Ipv4) => "icmp-port-unreachable",
        (PortUnreachable, Family::Ipv6) => "icmp6-port-unreachable",
        (HostUnreachable, Family::Ipv4) => "icmp-host-unreachable",
        (HostUnreachable, Family::Ipv6) => "icmp6-addr-unreachable",
        (NetUnreachable, Family::Ipv4) => "icmp-net-unreachable",
        (NetUnreachable, Family::Ipv6) => "icmp6-no-route",
        (AdminProhibited, Family::Ipv4) => "icmp-admin-prohibited",
        (AdminProhibited, Family::Ipv6) => "icmp6-adm-prohibited",
        (ProtocolUnreachable, Family::Ipv4) => "icmp-proto-unreachable",
        (ProtocolUnreachable, Family::Ipv6) => {
            return Err(RenderError::OnlyOther { what: "reject with protocol-unreachable", family });
        }
    })
}

fn flags(line: &mut String, list: &[(bool, &str)]) {
    for (on, word) in list {
        if *on {
            push_word(line, word);
        }
    }
}

fn translated_ports(what: &'static str, ports: PortRange, protocol: Option<u8>) -> Result<()> {
    port_module(protocol).ok_or(RenderError::NoPorts { what })?;
    check_range(what, ports)
}

fn push_nat(
    line: &mut String,
    nat: &Nat,
    (what, name, flag): (&'static str, &str, &str),
    family: Family,
    protocol: Option<u8>,
) -> Result<()> {
    let mut value = String::new();
    if let Some((first, last)) = nat.addresses {
        same_family(what, first, family)?;
        same_family(what, last, family)?;
        let brackets = family == Family::Ipv6 && nat.ports.is_some();
        let span = if first == last { first.to_string() } else { format!("{first}-{last}") };
        value = if brackets { format!("[{span}]") } else { span };
    }
    if let Some(ports) = nat.ports {
        translated_ports(what, ports, protocol)?;
        let _ = write!(value, ":{}", range(ports, '-'));
    }
    if value.is_empty() {
        return Err(RenderError::Value { what, reason: "give addresses, ports or both".into() });
    }
    option(line, false, "-j", name);
    option(line, false, flag, &value);
    flags(line, &[(nat.random, "--random"), (nat.random_fully, "--random-fully"), (nat.persistent, "--persistent")]);
    Ok(())
}

fn push_prefix(line: &mut String, what: &'static str, flag: &str, prefix: &str, longest: usize) -> Result<()> {
    if prefix.is_empty() {
        return Ok(());
    }
    if prefix.len() > longest {
        let reason = format!("the prefix is {} bytes long; at most {longest} are possible", prefix.len());
        return Err(RenderError::Value { what, reason });
    }
    if let Some(bad) = prefix.chars().find(|c| c.is_control()) {
        return Err(RenderError::Value { what, reason: format!("the prefix contains the control character {bad:?}") });
    }
    option(line, false, flag, prefix);
    Ok(())
}
