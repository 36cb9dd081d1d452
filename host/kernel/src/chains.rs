//! Which chains each backend holds, found without reading rules where that is possible: enough to tell whose node
//! it is. nf_tables lists its chains over netlink in well under a millisecond, with no tool installed; for
//! iptables-legacy its save is read, of tables that exist.

use ruleward_core::contribution::Families;
use ruleward_core::names::{Backend, Family, Hook, Table};
use ruleward_core::save_lines::save_lines;
use ruleward_netlink::{Attributes, number, text};
use rustix::io::Errno;

use super::nfnetlink::{Nfnetlink, Request};
use super::process::ToolError;
use super::tools::Tools;

const NFT_MSG_GETCHAIN: u8 = 4;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_USE: u16 = 6;
const NFPROTO_IPV4: u8 = 2;
const NFPROTO_IPV6: u8 = 10;

/// A chain that is not built in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HeldChain {
    pub family: Family,
    pub table: Table,
    pub name: String,
}

/// What a backend holds in the five tables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Holdings {
    pub chains: Vec<HeldChain>,
    /// Rules; in nf_tables a jump also counts once for its target.
    pub rules: u64,
}

/// What nf_tables holds.
pub(super) fn in_nft(families: Families) -> Result<Holdings, Errno> {
    let mut netlink = Nfnetlink::open()?;
    let mut holdings = Holdings::default();
    for family in families.iter() {
        let protocol = match family {
            Family::Ipv4 => NFPROTO_IPV4,
            Family::Ipv6 => NFPROTO_IPV6,
        };
        let request = Request { message: NFT_MSG_GETCHAIN, family: protocol, dump: true, ..Request::default() };
        let of_family = netlink.ask(request, Holdings::default, |held, attributes| add(held, family, attributes))?;
        holdings.rules += of_family.rules;
        holdings.chains.extend(of_family.chains);
    }
    Ok(holdings)
}

/// Adds the chain that `attributes` describe if it is in one of iptables' tables.
fn add(holdings: &mut Holdings, family: Family, attributes: &[u8]) {
    let (mut table, mut name, mut uses) = (None, None, 0);
    for (kind, content) in Attributes(attributes) {
        match kind {
            NFTA_CHAIN_TABLE => table = Table::from_name(&text(content)),
            NFTA_CHAIN_NAME => name = Some(text(content)),
            NFTA_CHAIN_USE => uses = number(content).unwrap_or(0),
            _ => {}
        }
    }
    let (Some(table), Some(name)) = (table, name) else { return };
    holdings.rules += u64::from(uses);
    if Hook::from_name(&name).is_none() {
        holdings.chains.push(HeldChain { family, table, name });
    }
}

/// What iptables-legacy holds. Loads no table.
pub(super) fn in_legacy(tools: &Tools, families: Families) -> Result<Holdings, ToolError> {
    debug_assert_eq!(tools.backend(), Backend::Legacy);
    let mut holdings = Holdings::default();
    for family in families.iter() {
        let mut table = None;
        let save = tools.save_all(family)?;
        for line in save_lines(&save).map(|line| line.text) {
            if let Some(name) = line.strip_prefix('*') {
                table = Table::from_name(name);
            } else if line.starts_with("-A ") {
                holdings.rules += 1;
            } else if let (Some(rest), Some(table)) = (line.strip_prefix(':'), table) {
                let name = rest.split(' ').next().unwrap_or_default();
                if Hook::from_name(name).is_none() {
                    holdings.chains.push(HeldChain { family, table, name: name.to_owned() });
                }
            }
        }
    }
    Ok(holdings)
}
