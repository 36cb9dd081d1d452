//! What reads bytes of others, for the targets in `fuzz/`: behind a feature.

use ruleward_core::names::{Family, Table};

use crate::legacy::fuzz as legacy;
use crate::nft::fuzz as nft;
use crate::{restore_message, save_text as text};

/// A table of iptables-legacy as the kernel hands it out.
pub fn legacy_table(bytes: &[u8]) {
    let Some((family, table)) = bytes.split_first() else { return };
    legacy::table(if family % 2 == 0 { Family::Ipv4 } else { Family::Ipv6 }, table);
}

/// The attributes of a rule, of a chain and of a table in a dump of nf_tables.
pub fn nft_rule(bytes: &[u8]) {
    nft::attributes(bytes);
}

/// What `iptables-save` prints, and what `iptables-restore` says.
pub fn save_text(bytes: &[u8]) {
    let Ok(printed) = std::str::from_utf8(bytes) else { return };
    let _ = text::check(printed, None);
    let _ = text::check(printed, Some(Table::Nat));
    restore_message::parse(printed);
}
