//! What uses a set in the kernel: rules, and sets whose members are sets.

use std::fmt;

use crate::members::Members;
use crate::names::{Family, Table};

/// What uses a set in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetUser {
    /// A rule.
    Rule {
        /// Where.
        family: Family,
        /// Where.
        table: Table,
        /// Where.
        chain: Box<str>,
        /// Its number, from 1.
        number: usize,
        /// As iptables-save shows it, or a line that names its marks.
        text: Box<str>,
        /// How often it names the set.
        uses: u32,
    },
    /// A set of the type `list:set`.
    Set(Box<str>),
}

impl SetUser {
    /// How often it uses the set.
    pub fn uses(&self) -> u32 {
        match self {
            Self::Rule { uses, .. } => *uses,
            Self::Set(_) => 1,
        }
    }
}

impl fmt::Display for SetUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set(name) => write!(f, "the set {name} (take the member out, or destroy it: ipset destroy {name})"),
            Self::Rule { family, table, chain, number, text, .. } => {
                let tool = match family {
                    Family::Ipv4 => "iptables",
                    Family::Ipv6 => "ip6tables",
                };
                write!(f, "{family} {table}/{chain} rule {number} `{text}` ({tool} -t {table} -D {chain} {number})")
            }
        }
    }
}

/// The type of sets whose members are sets.
pub const LIST: &str = "list:set";

/// The sets that are members of a set of this type.
pub fn listed(members: &Members) -> impl Iterator<Item = &str> {
    members.iter().filter_map(|member| member.split(' ').next())
}
