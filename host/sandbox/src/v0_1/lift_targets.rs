//! Targets, from contract 0.1.0 into the rule model.

use ruleward_core::names::ChainName;
use ruleward_core::rule::{ConnmarkAction, LogLevel, Nat, RejectKind, Target, TcpMss};

use super::bindings::ruleward::policy::types as wit;
use super::{lift_addresses, lift_rules};
use crate::lift_error::{Lifted, Wrong};

/// Longest prefix of the LOG target (`nf_log` holds 30 bytes with the end mark).
const LONGEST_LOG_PREFIX: usize = 29;
/// Longest prefix of the NFLOG target (64 bytes with the end mark).
const LONGEST_NFLOG_PREFIX: usize = 63;

/// A target.
pub fn target(target: wit::Target) -> Lifted<Target> {
    Ok(match target {
        wit::Target::Accept => Target::Accept,
        wit::Target::Drop => Target::Drop,
        wit::Target::Return => Target::Return,
        wit::Target::Reject(kind) => Target::Reject(reject(kind)),
        wit::Target::Jump(chain) => Target::Jump(name("jump", chain)?),
        wit::Target::Goto(chain) => Target::Goto(name("goto", chain)?),
        wit::Target::Masquerade(t) => Target::Masquerade {
            ports: t.ports.map(lift_addresses::ports).transpose().map_err(|e| e.within("masquerade"))?,
            random: t.random,
            random_fully: t.random_fully,
        },
        wit::Target::SourceNat(t) => Target::SourceNat(nat(t).map_err(|e| e.within("source-nat"))?),
        wit::Target::DestinationNat(t) => {
            if t.random_fully {
                let problem = "exists for source translation only; set `random` instead";
                return Err(Wrong::new(problem).within("random-fully").within("destination-nat"));
            }
            Target::DestinationNat(nat(t).map_err(|e| e.within("destination-nat"))?)
        }
        wit::Target::Redirect(ports) => {
            Target::Redirect { ports: ports.map(lift_addresses::ports).transpose().map_err(|e| e.within("redirect"))? }
        }
        wit::Target::Mark(wit::MarkSet { value, mask }) => Target::Mark { value, mask },
        wit::Target::Connmark(action) => Target::Connmark(match action {
            wit::ConnmarkAction::Set(wit::MarkSet { value, mask }) => ConnmarkAction::Set { value, mask },
            wit::ConnmarkAction::Save(mask) => ConnmarkAction::Save { mask },
            wit::ConnmarkAction::Restore(mask) => ConnmarkAction::Restore { mask },
        }),
        wit::Target::Log(t) => {
            let prefix = prefix(t.prefix, LONGEST_LOG_PREFIX).map_err(|e| e.within("log"))?;
            Target::Log { prefix, level: log_level(t.level) }
        }
        wit::Target::Nflog(t) => nflog(t).map_err(|e| e.within("nflog"))?,
        wit::Target::NoTrack => Target::NoTrack,
        wit::Target::Tproxy(t) => Target::Tproxy {
            port: t.port,
            address: t.address.map(lift_addresses::address),
            value: t.mark.value,
            mask: t.mark.mask,
        },
        wit::Target::TcpMss(wit::TcpMss::ClampToPathMtu) => Target::TcpMss(TcpMss::ClampToPathMtu),
        wit::Target::TcpMss(wit::TcpMss::Set(bytes)) => Target::TcpMss(TcpMss::Set(bytes)),
        wit::Target::Extension(t) => Target::Extension(lift_rules::extension(t).map_err(|e| e.within("extension"))?),
    })
}

fn name(field: &str, chain: String) -> Lifted<ChainName> {
    ChainName::try_from(chain).map_err(|e| Wrong::from(e).within(field))
}

fn nat(nat: wit::Nat) -> Lifted<Nat> {
    if nat.addresses.is_none() && nat.ports.is_none() {
        return Err(Wrong::new("translates nothing; give `addresses`, `ports` or both"));
    }
    Ok(Nat {
        addresses: nat.addresses.map(lift_addresses::range).transpose()?,
        ports: nat.ports.map(lift_addresses::ports).transpose()?,
        random: nat.random,
        random_fully: nat.random_fully,
        persistent: nat.persistent,
    })
}

fn nflog(target: wit::Nflog) -> Lifted<Target> {
    if target.threshold == Some(0) {
        return Err(Wrong::new("0 is impossible; use 1 or more, or leave it out").within("threshold"));
    }
    Ok(Target::Nflog {
        group: target.group,
        prefix: prefix(target.prefix, LONGEST_NFLOG_PREFIX)?,
        threshold: target.threshold,
    })
}

fn prefix(text: String, longest: usize) -> Lifted<String> {
    if text.len() > longest {
        let problem = format!("is {} bytes long; at most {longest} are possible", text.len());
        return Err(Wrong::new(problem).within("prefix"));
    }
    if let Some(bad) = text.chars().find(|c| c.is_control()) {
        return Err(Wrong::new(format!("contains the control character {bad:?}; remove it")).within("prefix"));
    }
    Ok(text)
}

fn reject(kind: wit::RejectKind) -> RejectKind {
    match kind {
        wit::RejectKind::PortUnreachable => RejectKind::PortUnreachable,
        wit::RejectKind::HostUnreachable => RejectKind::HostUnreachable,
        wit::RejectKind::NetUnreachable => RejectKind::NetUnreachable,
        wit::RejectKind::AdminProhibited => RejectKind::AdminProhibited,
        wit::RejectKind::ProtocolUnreachable => RejectKind::ProtocolUnreachable,
        wit::RejectKind::TcpReset => RejectKind::TcpReset,
    }
}

fn log_level(level: wit::LogLevel) -> LogLevel {
    match level {
        wit::LogLevel::Emergency => LogLevel::Emergency,
        wit::LogLevel::Alert => LogLevel::Alert,
        wit::LogLevel::Critical => LogLevel::Critical,
        wit::LogLevel::Error => LogLevel::Error,
        wit::LogLevel::Warning => LogLevel::Warning,
        wit::LogLevel::Notice => LogLevel::Notice,
        wit::LogLevel::Info => LogLevel::Info,
        wit::LogLevel::Debug => LogLevel::Debug,
    }
}
