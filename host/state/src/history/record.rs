//! What a record holds: everything that decided one answer of a policy, and the answer.
//!
//! Facts are those that the policy could see: interfaces only if it asks for them, resources only of kinds that it
//! asks for and was granted. What it can't see decides nothing, and is nobody's business in a file that is passed on.

use std::fmt;
use std::str::FromStr;

use ruleward_core::contribution::Contribution;
use ruleward_core::facts::Facts;
use ruleward_core::grants::Grants;
use ruleward_core::names::PolicyName;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use ruleward_reconcile::record::{Mode, Outcome};

use ruleward_files::digest;
use ruleward_sandbox::Limits;

/// The contract that policies of this version speak.
pub const CONTRACT: &str = "ruleward:policy@0.1.0";

/// Names a record: `web@17` is the 17th of the policy `web` on its node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordName {
    /// Whose.
    pub policy: PolicyName,
    /// Counts from 1, also across restarts.
    pub number: u64,
}

/// Why text names no record.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} names no record; write POLICY@NUMBER, such as web@17; `ruleward policy history POLICY` lists them")]
pub struct RecordNameError(String);

impl fmt::Display for RecordName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.policy, self.number)
    }
}

impl FromStr for RecordName {
    type Err = RecordNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || RecordNameError(text.to_owned());
        let (policy, number) = text.split_once('@').ok_or_else(error)?;
        let policy = PolicyName::new(policy).map_err(|_| error())?;
        Ok(Self { policy, number: number.parse().map_err(|_| error())? })
    }
}

/// One part of a record that is kept apart from its header, because it may be large.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Of its bytes: `sha256:...`.
    pub digest: String,
    /// In bytes.
    pub length: u64,
}

impl Part {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self { digest: digest::sha256(bytes), length: bytes.len() as u64 }
    }

    /// Of a value's JSON.
    ///
    /// # Errors
    /// When JSON has no words for it.
    pub fn of_json(value: &impl Serialize) -> serde_json::Result<Self> {
        let (digest, length) = digest::measure_json(value)?;
        Ok(Self { digest, length })
    }
}

/// What can be said of a record without its large parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Header {
    /// Whose.
    pub policy: PolicyName,
    /// Counts from 1 for each policy.
    pub number: u64,
    /// When: RFC 3339, UTC.
    pub at: String,
    /// Version of the host that asked.
    pub host: String,
    /// The contract that it was asked by.
    pub contract: String,
    /// What the component called itself; none if it could not be asked.
    pub component_name: Option<String>,
    /// Its version in its own words; none if it could not be asked.
    pub component_version: Option<String>,
    /// Digest of the component's bytes, which are kept once, by this digest.
    pub component: String,
    /// What it might own and read.
    pub grants: Grants,
    /// What a call might use.
    pub limits: Limits,
    /// Its settings.
    pub settings: Part,
    /// What it could see of the node; none if it was not asked.
    pub facts: Option<Part>,
    /// The answer; none if there was none.
    pub contribution: Option<Part>,
    /// Whether it was to be put in force.
    pub mode: Mode,
    /// Of a shadow: the policy whose place it would take.
    pub shadow_of: Option<PolicyName>,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Chains in the answer.
    pub chains: u64,
    /// Rules in the answer, those in built-in chains included.
    pub rules: u64,
    /// Sets in the answer.
    pub sets: u64,
}

impl Header {
    /// Its name on this node.
    pub fn name(&self) -> RecordName {
        RecordName { policy: self.policy.clone(), number: self.number }
    }

    /// Whether component, settings, grants and limits are the same.
    pub fn same_version(&self, other: &Self) -> bool {
        self.changes_since(other).iter().all(|what| *what == "facts")
    }

    /// Which inputs differ from those of `earlier`.
    pub fn changes_since(&self, earlier: &Self) -> Vec<&'static str> {
        let compared = [
            ("component", self.component != earlier.component),
            ("settings", self.settings != earlier.settings),
            ("grants", self.grants != earlier.grants),
            ("limits", self.limits != earlier.limits),
            ("facts", self.facts != earlier.facts),
        ];
        compared.into_iter().filter(|(_, differs)| *differs).map(|(what, _)| what).collect()
    }

    /// Whether `other` tells of the same version with the same answer and fate. When, and other facts that change
    /// nothing in the answer, make no difference.
    pub fn same_event(&self, other: &Self) -> bool {
        let core = |header: &Self| Self { number: 0, at: String::new(), facts: None, ..header.clone() };
        core(self) == core(other)
    }
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// All but the large parts.
    pub header: Header,
    /// JSON text, as the policy got it.
    pub settings: String,
    /// What it could see; none if it was not asked.
    pub facts: Option<Facts>,
    /// The answer; none if there was none.
    pub contribution: Option<Contribution>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_written_as_it_is_read() {
        let name: RecordName = "web@17".parse().unwrap();
        assert_eq!((name.policy.as_str(), name.number, name.to_string().as_str()), ("web", 17, "web@17"));
        for bad in ["web", "web@", "web@x", "@1", "web@-1", "../x@1", "web@1@2"] {
            assert!(bad.parse::<RecordName>().is_err(), "{bad:?} was taken for a record");
        }
    }
}
