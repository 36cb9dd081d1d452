//! What another program makes, and rules of ours may need.

use std::fmt;

use crate::names::{ChainName, SetName};

/// What another program makes, and rules of ours may need.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Foreign {
    /// A chain of the table in which the rule is.
    Chain(ChainName),
    /// A set.
    Set(SetName),
}

impl Foreign {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Chain(name) => name.as_str(),
            Self::Set(name) => name.as_str(),
        }
    }

    /// The chain, if it is one.
    pub fn chain(&self) -> Option<&ChainName> {
        match self {
            Self::Chain(name) => Some(name),
            Self::Set(_) => None,
        }
    }

    /// The set, if it is one.
    pub fn set(&self) -> Option<&SetName> {
        match self {
            Self::Set(name) => Some(name),
            Self::Chain(_) => None,
        }
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chain(name) => write!(f, "chain {name}"),
            Self::Set(name) => write!(f, "set {name}"),
        }
    }
}
