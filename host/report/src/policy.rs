//! How each policy stands: which answer counts, which version waits or is refused, and what a shadow would change.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::limits;

/// How a policy stands.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PolicyReport {
    /// Its name in the configuration.
    pub name: String,
    /// Its version as it describes itself; none if it could not be asked.
    pub version: Option<String>,
    /// `sha256:` and the digest of the component; none if it could not be read.
    pub digest: Option<String>,
    /// Whether its present answer is in force.
    pub state: PolicyState,
    /// Why it is not.
    pub reason: Option<String>,
    /// What the configuration asks for, if that is not in force.
    #[serde(default)]
    pub candidate: Option<CandidateReport>,
    /// `sha256:` and the digest of the contribution that counts: equal wherever component, facts, grants and settings are equal.
    #[serde(default)]
    pub contribution: Option<String>,
    /// What it logged at the level `warn` or above when it gave the answer that counts.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Each of its limits, and what was used of it; empty for one that is off.
    #[serde(default)]
    pub limits: Vec<limits::LimitReport>,
    /// What differs if it is a shadow.
    #[serde(default)]
    pub shadow: Option<ShadowReport>,
    /// An earlier version is held in place of the one that is configured.
    #[serde(default)]
    pub pinned: Option<PinReport>,
    /// Chains that it asks for.
    pub chains: usize,
    /// Rules that it asks for, those in built-in chains included.
    pub rules: usize,
    /// Sets that it asks for.
    pub sets: usize,
}

impl PolicyReport {
    /// One of which nothing else is known.
    pub fn new(name: impl ToString, state: PolicyState) -> Self {
        Self {
            name: name.to_string(),
            version: None,
            digest: None,
            state,
            reason: None,
            candidate: None,
            contribution: None,
            warnings: Vec::new(),
            limits: Vec::new(),
            shadow: None,
            pinned: None,
            chains: 0,
            rules: 0,
            sets: 0,
        }
    }
}

/// Which answer of a policy counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyState {
    /// The newest of the version that is configured.
    Current,
    /// An earlier one, or that of an earlier version: the configured one fails or is refused.
    LastGood,
    /// It waits for something that must exist first. What was in force of it stays; if nothing was, nothing is.
    Waiting,
    /// None: it has never answered. What it may own stays as it is, and other policies are in force all the same.
    NeverAnswered,
    /// Its newest answer is compared, and not put in force.
    Shadow,
    /// None: it is turned off.
    Off,
}

/// What would be different if a shadow were put in force.
#[derive(Debug, Clone, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ShadowReport {
    /// The policy that it is compared with; without one everything that it asks for would be added.
    pub of: Option<String>,
    /// How many lines would be added, in the words of iptables-save and `ipset save`.
    pub added: u64,
    /// How many would be removed.
    pub removed: u64,
    /// What limits the comparison: no rehearsal was possible.
    pub notes: Vec<String>,
}

/// Which version is held, and why.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PinReport {
    /// `web@17`
    pub record: String,
    /// Since when: RFC 3339, UTC.
    pub since: String,
    /// In the words of whoever did it; may be empty.
    pub why: String,
}

/// A version that is not in force, and may never be.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CandidateReport {
    /// As it describes itself; none if it could not be asked.
    pub version: Option<String>,
    /// `sha256:` and the digest of the component; none if it could not be read.
    pub digest: Option<String>,
    /// How far it has come.
    pub state: CandidateState,
    /// Why no further.
    pub reason: Option<String>,
}

/// How far a version has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CandidateState {
    /// Its component is being read or compiled.
    Loading,
    /// It is taken with the next check, or when what it waits for has come. The reason says what that is.
    Waiting,
    /// It is not taken.
    Refused,
}
