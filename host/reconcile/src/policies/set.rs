//! What the configuration asks for at some moment, with every component as far as it has been loaded.

use std::collections::BTreeMap;
use std::sync::Arc;

use ruleward_core::grants::Grants;
use ruleward_core::names::PolicyName;

use super::version::Version;
use crate::settings::Settings;
use ruleward_report::PinReport;
use ruleward_sandbox::Limits;

/// A configuration that was found right, and the versions that it asks for.
#[derive(Debug, Clone, Default)]
pub struct PolicySet {
    /// What of the configuration is no policy's.
    pub settings: Arc<Settings>,
    /// Every policy of it that is not off.
    pub specs: BTreeMap<PolicyName, PolicySpec>,
    /// Shadows: they are compared, and nothing of them is put in force.
    pub shadows: BTreeMap<PolicyName, ShadowSpec>,
    /// Policies that are held at an earlier version, and why.
    pub pinned: BTreeMap<PolicyName, PinReport>,
    /// Policies that are off.
    pub off: Vec<PolicyName>,
    /// Versions that were in force when the last process ended, where the configuration asks for others.
    pub recalled: BTreeMap<PolicyName, Arc<Version>>,
    /// What is wrong with the newest configuration, if this is not it.
    pub refusal: Option<String>,
    /// What an operator should know: keys that take effect at a restart, a cache that can't be used.
    pub notes: Vec<String>,
    /// Whether nothing is being loaded.
    pub complete: bool,
}

/// What the configuration asks for.
#[derive(Debug, Clone)]
pub struct PolicySpec {
    /// What the policy is to own.
    pub grants: Grants,
    /// As the policy is to get them.
    pub settings: Arc<str>,
    /// What a call may use.
    pub limits: Limits,
    /// How far it has come.
    pub state: SpecState,
}

/// How far a wished version has come.
#[derive(Debug, Clone)]
pub enum SpecState {
    /// It can be asked.
    Loaded(Arc<Version>),
    /// It is being read or compiled.
    Loading {
        /// Of its component, if it has been read.
        digest: Option<String>,
    },
    /// It can't be loaded.
    Refused {
        /// Of its component, if it could be read.
        digest: Option<String>,
        /// Why, and what to do.
        reason: String,
        /// The same without the places of files: it would be so on any machine.
        cause: String,
    },
}

/// A shadow.
#[derive(Debug, Clone)]
pub struct ShadowSpec {
    /// The policy whose place it would take.
    pub of: Option<PolicyName>,
    /// What it is.
    pub spec: PolicySpec,
}
