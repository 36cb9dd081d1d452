//! nf_tables without a tool: rules read, watched and written over netlink, byte for byte.
//!
//! Nothing here knows what a rule means. What is written was dumped before, on this very kernel, and proven in a private
//! namespace to be shown as it should be ([`super::rehearse`]).

pub mod events;
#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;
mod reader;
mod rule;
mod state;
mod write;

pub use reader::Nft;
pub use rule::{is_of_iptables, lighter, marks, stands_alone};

/// `linux/netfilter/nf_tables.h`: messages, and the attributes that are read or written.
pub(super) mod wire {
    pub const NEW_TABLE: u8 = 0;
    pub const GET_TABLE: u8 = 1;
    pub const DELETE_TABLE: u8 = 2;
    pub const NEW_CHAIN: u8 = 3;
    pub const GET_CHAIN: u8 = 4;
    pub const DELETE_CHAIN: u8 = 5;
    pub const NEW_RULE: u8 = 6;
    pub const GET_RULE: u8 = 7;
    pub const DELETE_RULE: u8 = 8;
    pub const NEW_GENERATION: u8 = 15;

    pub const TABLE_NAME: u16 = 1;
    pub const TABLE_FLAGS: u16 = 2;
    pub const TABLE_OWNER: u16 = 7;
    pub const CHAIN_TABLE: u16 = 1;
    pub const CHAIN_HANDLE: u16 = 2;
    pub const CHAIN_NAME: u16 = 3;
    pub const CHAIN_HOOK: u16 = 4;
    pub const CHAIN_POLICY: u16 = 5;
    pub const CHAIN_USE: u16 = 6;
    pub const CHAIN_TYPE: u16 = 7;
    pub const RULE_TABLE: u16 = 1;
    pub const RULE_CHAIN: u16 = 2;
    pub const RULE_HANDLE: u16 = 3;
    pub const RULE_EXPRESSIONS: u16 = 4;
    pub const RULE_COMPAT: u16 = 5;
    pub const RULE_POSITION: u16 = 6;
    pub const RULE_USERDATA: u16 = 7;
    pub const GENERATION_ID: u16 = 1;
    pub const GENERATION_PID: u16 = 2;
    pub const GENERATION_NAME: u16 = 3;

    /// `NFPROTO_IPV4`, `NFPROTO_IPV6`
    pub fn protocol(family: ruleward_core::names::Family) -> u8 {
        match family {
            ruleward_core::names::Family::Ipv4 => 2,
            ruleward_core::names::Family::Ipv6 => 10,
        }
    }

    pub fn family(protocol: u8) -> Option<ruleward_core::names::Family> {
        match protocol {
            2 => Some(ruleward_core::names::Family::Ipv4),
            10 => Some(ruleward_core::names::Family::Ipv6),
            _ => None,
        }
    }
}
