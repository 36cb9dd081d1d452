//! Netfilter's words, written down a second time: a hook that the product forgot must not be missing here too.

use std::fmt;

/// Which iptables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// `iptables-nft`
    Nft,
    /// `iptables-legacy`
    Legacy,
}

impl Backend {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Nft, Self::Legacy];
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nft => "nft",
            Self::Legacy => "legacy",
        })
    }
}

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `iptables`
    Ipv4,
    /// `ip6tables`
    Ipv6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ipv4, Self::Ipv6];

    /// The program that programs it.
    pub fn program(self) -> &'static str {
        match self {
            Self::Ipv4 => "iptables",
            Self::Ipv6 => "ip6tables",
        }
    }

    /// The name of one of its tools: `ip6tables-legacy-save`.
    pub fn tool(self, backend: Backend, action: &str) -> String {
        let dash = if action.is_empty() { "" } else { "-" };
        format!("{}-{backend}{dash}{action}", self.program())
    }

    /// An address of this family, different for each `number`, that nobody has.
    pub fn address(self, number: u8) -> String {
        match self {
            Self::Ipv4 => format!("198.51.100.{number}"),
            Self::Ipv6 => format!("2001:db8:77::{number:x}"),
        }
    }

    /// As nft names its tables.
    pub fn ip(self) -> &'static str {
        match self {
            Self::Ipv4 => "ip",
            Self::Ipv6 => "ip6",
        }
    }

    /// What ipset calls it.
    pub fn inet(self) -> &'static str {
        match self {
            Self::Ipv4 => "inet",
            Self::Ipv6 => "inet6",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        })
    }
}

/// Where an attachment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// In front of strangers.
    First,
    /// Behind them.
    Last,
}

impl Placement {
    /// Both.
    pub const ALL: [Self; 2] = [Self::First, Self::Last];
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::First => "first",
            Self::Last => "last",
        })
    }
}

/// The five tables.
pub const TABLES: [&str; 5] = ["raw", "mangle", "nat", "filter", "security"];

/// The seventeen built-in chains, with their tables.
pub const HOOKS: [(&str, &str); 17] = [
    ("raw", "PREROUTING"),
    ("raw", "OUTPUT"),
    ("mangle", "PREROUTING"),
    ("mangle", "INPUT"),
    ("mangle", "FORWARD"),
    ("mangle", "OUTPUT"),
    ("mangle", "POSTROUTING"),
    ("nat", "PREROUTING"),
    ("nat", "INPUT"),
    ("nat", "OUTPUT"),
    ("nat", "POSTROUTING"),
    ("filter", "INPUT"),
    ("filter", "FORWARD"),
    ("filter", "OUTPUT"),
    ("security", "INPUT"),
    ("security", "FORWARD"),
    ("security", "OUTPUT"),
];
