//! What the history keeps of a policy: that a version answered or was refused, to which facts, and
//! what became of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use ruleward_core::contribution::Contribution;
use ruleward_core::facts::Facts;
use ruleward_core::grants::Grants;
use ruleward_core::names::PolicyName;
use ruleward_sandbox::Limits;
use serde::{Deserialize, Serialize};

use crate::policies::{Rejection, Version};

/// A version of a policy has answered, or was refused.
#[derive(Debug, Clone)]
pub struct Event {
    /// Whose.
    pub policy: PolicyName,
    /// When.
    pub at: SystemTime,
    /// Whether it was to be put in force.
    pub mode: Mode,
    /// Of a shadow: the policy whose place it would take.
    pub shadow_of: Option<PolicyName>,
    /// What became of it.
    pub outcome: Outcome,
    /// Of the component: `sha256:...`.
    pub component: String,
    /// What it calls itself, and its version; none if it could not be asked.
    pub described: Option<(String, String)>,
    /// As the policy gets them.
    pub settings: Arc<str>,
    /// What it may own and read.
    pub grants: Grants,
    /// What a call may use.
    pub limits: Limits,
    /// The facts that it was asked about; none if it was not asked.
    pub facts: Option<Arc<Facts>>,
    /// Whether it sees interfaces.
    pub sees_interfaces: bool,
    /// Whether the policy reads which tables nf_tables has.
    pub sees_nft_tables: bool,
    /// Kinds of resources that it sees.
    pub sees_resources: BTreeSet<String>,
    /// Its answer, if there was one.
    pub contribution: Option<Arc<Contribution>>,
}

/// Whether an answer was to be put in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Yes.
    Enforce,
    /// No: only to be looked at.
    Shadow,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub enum Outcome {
    /// It was put in force.
    InForce,
    /// It was looked at and not put in force: a shadow.
    Shadow,
    /// There was no answer, or none that this policy may give. The same inputs give the same reason.
    Refused {
        /// Why.
        reason: String,
    },
    /// The answer was right by itself, and this kernel or its tools did not take it.
    RefusedByKernel {
        /// Why.
        reason: String,
    },
}

impl Outcome {
    /// Why it is not in force, if it was refused.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Refused { reason } | Self::RefusedByKernel { reason } => Some(reason),
            Self::InForce | Self::Shadow => None,
        }
    }

    /// As in lists.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::InForce => "in force",
            Self::Shadow => "shadow",
            Self::Refused { .. } => "refused",
            Self::RefusedByKernel { .. } => "refused by the kernel",
        }
    }
}

impl Event {
    /// Of a version that was not asked yet.
    pub fn of(version: &Version, at: SystemTime, outcome: Outcome) -> Self {
        let description = version.loaded().description();
        Self {
            policy: version.policy().clone(),
            at,
            mode: Mode::Enforce,
            shadow_of: None,
            outcome,
            component: version.loaded().digest().to_owned(),
            described: Some((description.name.to_string(), description.version.clone())),
            settings: Arc::clone(version.settings()),
            grants: version.grants().clone(),
            limits: version.loaded().limits().clone(),
            facts: None,
            sees_interfaces: description.reads_interfaces,
            sees_nft_tables: description.reads_nft_tables,
            sees_resources: description.sees_resources(version.grants()),
            contribution: None,
        }
    }

    /// Of what was refused; `facts` are those that it was refused with.
    pub fn of_refusal(refused: Rejection, facts: Option<Arc<Facts>>, at: SystemTime) -> Self {
        let Rejection { policy, version, digest, settings, grants, limits, contribution, reason, .. } = refused;
        let outcome =
            if contribution.is_some() { Outcome::RefusedByKernel { reason } } else { Outcome::Refused { reason } };
        match version {
            Some(version) => Self { facts, contribution, ..Self::of(&version, at, outcome) },
            None => Self {
                policy,
                at,
                mode: Mode::Enforce,
                shadow_of: None,
                outcome,
                component: digest,
                described: None,
                settings,
                grants,
                limits,
                facts: None,
                sees_interfaces: false,
                sees_nft_tables: false,
                sees_resources: BTreeSet::new(),
                contribution: None,
            },
        }
    }
}
