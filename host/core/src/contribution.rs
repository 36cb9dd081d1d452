//! What one policy asks for. Names and numbers are checked; whether the policy may have it, and whether the kernel
//! accepts it, is decided later ([`crate::merge`], [`crate::check`], rehearsal).

#![allow(missing_docs, reason = "fields mirror wit/policy.wit, where each is explained")]

use std::fmt;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::names::{ChainName, Family, Hook, Placement, SetName, Table};
use crate::rule::Rule;
use crate::set_members::SetMembers;

/// Families that something applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Families {
    /// `iptables`
    pub ipv4: bool,
    /// `ip6tables`
    pub ipv6: bool,
}

impl Families {
    /// Both.
    pub const BOTH: Self = Self { ipv4: true, ipv6: true };

    /// Whether it holds `family`.
    pub fn contains(self, family: Family) -> bool {
        match family {
            Family::Ipv4 => self.ipv4,
            Family::Ipv6 => self.ipv6,
        }
    }

    /// Those that it holds, in order.
    pub fn iter(self) -> impl Iterator<Item = Family> {
        Family::ALL.into_iter().filter(move |family| self.contains(*family))
    }
}

/// All that a policy asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contribution {
    /// Chains with all their rules.
    pub chains: Vec<Chain>,
    /// Rules in built-in chains.
    pub attachments: Vec<Attachment>,
    /// Address sets.
    pub sets: Vec<AddressSet>,
    /// Policies of built-in chains.
    pub policies: Vec<ChainPolicy>,
}

/// A chain that should exist with exactly these rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// Where.
    pub table: Table,
    /// For which families.
    pub families: Families,
    /// Its name.
    pub name: ChainName,
    /// Its rules in order.
    pub rules: Vec<Rule>,
}

/// A rule in a built-in chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Which table.
    pub table: Table,
    /// Which built-in chain.
    pub hook: Hook,
    /// For which families.
    pub families: Families,
    /// Before or after foreign rules.
    pub placement: Placement,
    /// Lower comes first among attachments at the same place.
    pub order: i32,
    /// The rule.
    pub rule: Rule,
}

/// What happens to a packet that no rule of a built-in chain decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// It passes.
    Accept,
    /// It is discarded.
    Drop,
}

impl Verdict {
    /// As `iptables -P` takes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "ACCEPT",
            Self::Drop => "DROP",
        }
    }

    /// From the name that iptables gives it.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Accept, Self::Drop].into_iter().find(|verdict| verdict.as_str() == name)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The policy of a built-in chain, as `iptables -P` sets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainPolicy {
    /// Which table.
    pub table: Table,
    /// Which built-in chain.
    pub hook: Hook,
    /// For which families.
    pub families: Families,
    /// What it should be.
    pub policy: Verdict,
}

/// An address set (an ipset).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressSet {
    /// Its name.
    pub name: SetName,
    /// Its family.
    pub family: Family,
    /// Its type.
    pub kind: SetType,
    /// What it holds, in no particular order.
    pub members: SetMembers,
    /// Most members; ipset's own default (65536) when `None`.
    pub max_elements: Option<u32>,
    /// The host keeps the set but leaves its members alone.
    pub dynamic: bool,
    /// Seconds after which a member vanishes.
    pub timeout: Option<u32>,
    /// Further words of `ipset create`, one each.
    pub options: Vec<String>,
}

/// A set's type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SetType {
    /// `hash:ip`
    HashIp,
    /// `hash:net`
    HashNet,
    /// `hash:ip,port`
    HashIpPort,
    /// `hash:net,port`
    HashNetPort,
    /// Another one, in ipset's words.
    Extension(String),
}

impl fmt::Display for SetType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HashIp => "hash:ip",
            Self::HashNet => "hash:net",
            Self::HashIpPort => "hash:ip,port",
            Self::HashNetPort => "hash:net,port",
            Self::Extension(text) => text,
        })
    }
}

/// A member of a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SetMember {
    /// An address or network.
    Network(IpNet),
    /// A network with a protocol number and a port.
    NetworkPort { network: IpNet, protocol: u8, port: u16 },
    /// A network that is excepted from a wider one.
    Nomatch(IpNet),
    /// In ipset's own syntax, options included.
    Extension(String),
}
