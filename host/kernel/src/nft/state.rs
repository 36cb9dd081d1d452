//! What a dump says of tables and chains besides their rules.

use ruleward_core::base_chain::{BaseChain, ChainState, Owner, TableState};
use ruleward_core::contribution::Verdict;
use ruleward_netlink::{Attributes, number, push_attribute, push_nested, text};

use super::wire;

/// `NFT_TABLE_F_DORMANT`
const DORMANT: u32 = 1;
/// `NFT_TABLE_F_OWNER`
const OWNED: u32 = 2;
const HOOK_NUMBER: u16 = 1;
const HOOK_PRIORITY: u16 = 2;
const HOOK_DEVICE: u16 = 3;
/// `NF_INET_*`, as nft names them.
const HOOKS: [&str; 6] = ["prerouting", "input", "forward", "output", "postrouting", "ingress"];
/// `NF_DROP`, `NF_ACCEPT`
const VERDICTS: [Verdict; 2] = [Verdict::Drop, Verdict::Accept];

/// From the attributes of a `NFT_MSG_NEWTABLE`.
pub(super) fn of_table(attributes: &[u8]) -> TableState {
    let (mut flags, mut port) = (0, None);
    for (kind, content) in Attributes(attributes) {
        match kind {
            wire::TABLE_FLAGS => flags = number(content).unwrap_or(0),
            wire::TABLE_OWNER => port = number(content),
            _ => {}
        }
    }
    let owner = (flags & OWNED != 0).then(|| owner(port.unwrap_or(0)));
    TableState { dormant: flags & DORMANT != 0, flags: flags & !DORMANT, owner }
}

/// The kernel gives a process's first netlink socket the process's own number as its port, if that is free.
fn owner(port: u32) -> Owner {
    let name = std::fs::read_to_string(format!("/proc/{port}/comm")).ok();
    let process = name.map(|name| format!("{} (pid {port})", name.trim_end().escape_debug()).into());
    Owner { port, process: process.filter(|_| port != 0) }
}

/// From the attributes of a `NFT_MSG_NEWCHAIN`. The jumps to it are counted with its rules.
pub(super) fn of_chain(attributes: &[u8]) -> ChainState {
    let mut state = ChainState::default();
    let (mut definition, mut hook, mut kind_name) = (Vec::new(), String::new(), String::new());
    for (kind, content) in Attributes(attributes) {
        match kind {
            wire::CHAIN_HOOK => {
                push_nested(&mut definition, kind, content);
                hook = hook_words(content);
            }
            wire::CHAIN_TYPE => {
                push_attribute(&mut definition, kind, content);
                kind_name = text(content);
            }
            wire::CHAIN_POLICY => {
                let verdict = number(content).and_then(|number| usize::try_from(number).ok());
                state.policy = verdict.and_then(|verdict| VERDICTS.get(verdict)).copied();
            }
            wire::CHAIN_USE => state.jumps = number(content).unwrap_or(0),
            _ => {}
        }
    }
    let shown = format!("type {kind_name} {hook}").into();
    state.base = (!definition.is_empty()).then(|| BaseChain { definition: definition.into(), shown });
    state
}

/// The number of a policy as the kernel takes it.
pub(super) fn verdict(policy: Verdict) -> [u8; 4] {
    let number: u32 = match policy {
        Verdict::Drop => 0,
        Verdict::Accept => 1,
    };
    number.to_be_bytes()
}

fn hook_words(attributes: &[u8]) -> String {
    let (mut hook, mut priority, mut device) = (String::new(), 0, None);
    for (kind, content) in Attributes(attributes) {
        match kind {
            HOOK_NUMBER => {
                let found = number(content).unwrap_or(u32::MAX);
                let name = usize::try_from(found).ok().and_then(|at| HOOKS.get(at));
                hook = name.map_or_else(|| found.to_string(), |name| (*name).to_owned());
            }
            HOOK_PRIORITY => priority = number(content).unwrap_or(0).cast_signed(),
            HOOK_DEVICE => device = Some(text(content)),
            _ => {}
        }
    }
    let device = device.map(|device| format!(" device {}", device.escape_debug())).unwrap_or_default();
    format!("hook {hook}{device} priority {priority}")
}
