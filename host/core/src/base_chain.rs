//! What decides whether packets meet the rules of a table, besides the rules: its flags and owner, and where in the kernel
//! each of its chains hangs, if it does.
//!
//! iptables makes each built-in chain as a base chain with the hook, type and priority that its name stands for, and cannot
//! make it otherwise. Other programs can, also under such a name. What is right is learned in the rehearsal, like the
//! text of rules: nothing here knows a hook or a priority.

use std::fmt;

use crate::contribution::Verdict;
use crate::encoded_rule::EncodedRule;
use crate::names::{Family, Hook};

/// How a base chain hangs in the kernel: hook, type, priority and devices. Not its policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseChain {
    /// In the backend's words, as they are sent to make it.
    pub definition: Box<[u8]>,
    /// For people: `type filter hook input priority 0`.
    pub shown: Box<str>,
}

/// What is known of a chain besides its rules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChainState {
    /// Where it hangs; `None`: it is no base chain, and only jumps lead to it.
    pub base: Option<BaseChain>,
    /// What happens to a packet that no rule decided, where it has a policy.
    pub policy: Option<Verdict>,
    /// How many rules and other objects jump to it.
    pub jumps: u32,
    /// Its rules as they are sent to make them again: only where the chain has to be made anew, and they can be.
    pub rules: Option<Vec<EncodedRule>>,
}

/// What is known of a table besides its chains.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableState {
    /// All of its base chains are switched off.
    pub dormant: bool,
    /// Its other flags, as they are sent.
    pub flags: u32,
    /// The process that alone may change it.
    pub owner: Option<Owner>,
}

/// Who owns a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owner {
    /// Its netlink port; 0 if the process is gone and the table stayed.
    pub port: u32,
    /// The process that has this number as its own, with its name: mostly it is the one.
    pub process: Option<Box<str>>,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.process {
            _ if self.port == 0 => f.write_str("a process that has ended"),
            Some(process) => write!(f, "the process {process}"),
            None => write!(f, "the process with netlink port {}", self.port),
        }
    }
}

/// One change of what a table or a chain is, besides its rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Structure {
    /// Makes a built-in chain that does not exist. The stock tools do it by themselves.
    Make {
        /// Which.
        hook: Hook,
        /// How.
        base: BaseChain,
        /// Its policy, if one is asked for.
        policy: Option<Verdict>,
    },
    /// Deletes a chain and makes it anew, in one transaction, with the rules that it has.
    Rebuild {
        /// Which.
        chain: Box<str>,
        /// How: `None` for a chain that only jumps lead to.
        base: Option<BaseChain>,
        /// Its policy.
        policy: Option<Verdict>,
        /// The rules that it has.
        rules: Vec<EncodedRule>,
        /// What it is now, for people.
        was: String,
    },
    /// Sets the policy of a built-in chain.
    Policy {
        /// Which.
        hook: Hook,
        /// To what.
        policy: Verdict,
        /// What it is now.
        was: Option<Verdict>,
    },
    /// Switches the table on.
    Wake {
        /// Its other flags.
        flags: u32,
    },
}

impl Structure {
    /// The chain that it changes; `None` for the table.
    pub fn chain(&self) -> Option<&str> {
        match self {
            Self::Make { hook, .. } | Self::Policy { hook, .. } => Some(hook.as_str()),
            Self::Rebuild { chain, .. } => Some(chain),
            Self::Wake { .. } => None,
        }
    }

    /// Whether it makes this chain anew.
    pub fn rebuilds(&self, name: &str) -> bool {
        matches!(self, Self::Rebuild { chain, .. } if **chain == *name)
    }

    /// Whether the stock tools can't do it.
    pub fn needs_transaction(&self) -> bool {
        matches!(self, Self::Rebuild { .. } | Self::Wake { .. })
    }
}

/// Where a chain hangs, for people.
pub fn describe(state: &ChainState) -> String {
    match &state.base {
        None => "no base chain (no hook)".to_owned(),
        Some(base) => base.shown.to_string(),
    }
}

/// As nft names a family of iptables.
pub fn word(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "ip",
        Family::Ipv6 => "ip6",
    }
}
