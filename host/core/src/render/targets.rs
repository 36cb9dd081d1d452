//! How iptables spells each target, and its options.

use std::fmt::Write as _;

use crate::extension;
use crate::names::Family;
use crate::quote::push_word;
use crate::rule::{ConnmarkAction, Nat, RejectKind, Target, TcpMss};

use super::ports::{range, translated_ports};
use super::{RenderError, Result, masked, option, same_family};

pub(super) fn push_target(line: &mut String, target: &Target, family: Family, protocol: Option<u8>) -> Result<()> {
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
