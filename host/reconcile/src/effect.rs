//! What the rest of the program has to do. The reconciler hands these out as they arise, because a
//! step may take minutes, and waits for none of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ruleward_core::contribution::Families;
use ruleward_core::expected::Expected;
use ruleward_core::facts::Facts;
use ruleward_core::names::PolicyName;

use crate::policies::{InForce, ShadowSpec};
use crate::record::Event;
use crate::trace::Trace;
use ruleward_report::Incident;
use ruleward_report::status::{FightReport, WatchReport};

/// How many refusals are kept in mind, so that each is handed on once.
pub(crate) const MOST_TOLD: usize = 1000;

/// Something that the rest of the program has to do.
#[derive(Debug)]
pub enum Effect {
    /// The step goes on with this, which may take so long without a word.
    Progress {
        /// What.
        doing: &'static str,
        /// How long.
        longest: Duration,
    },
    /// Another program changed what was in force: an incident is new, or has become this.
    RecordIncident(Box<Incident>),
    /// A version has answered, or was refused.
    RecordHistory(Box<Event>),
    /// Shadows are to be compared with what is in force now.
    RunShadows(Box<ShadowOrder>),
    /// How a step went, if traces are wanted.
    LeaveTrace(Box<Trace>),
    /// A version of this policy took its place.
    Activated(PolicyName),
    /// This is in force.
    Enforced(Arc<Expected>),
    /// How drift is noticed and repaired.
    ShowWatch(WatchReport),
    /// Who keeps undoing repairs, all of them.
    ShowFights(Vec<FightReport>),
    /// These components are in force or on their way, and others were before.
    ComponentsInUse(BTreeSet<String>),
    /// Files may have changed without a sign: they are to be looked at, some time.
    LookAgain,
    /// Something that policies see has changed: a check is to follow.
    FactsChanged,
}

/// Where effects go.
pub type Effects = Box<dyn FnMut(Effect) + Send>;

/// What shadows are to be compared with.
#[derive(Debug, Clone)]
pub struct ShadowOrder {
    /// All shadows.
    pub shadows: BTreeMap<PolicyName, ShadowSpec>,
    /// What they see.
    pub facts: Arc<Facts>,
    /// Families that the node can filter.
    pub families: Families,
    /// What is in force, by policy.
    pub in_force: BTreeMap<PolicyName, InForce>,
}

/// What was handed on already.
#[derive(Debug, Default)]
pub(crate) struct HandedOn {
    /// Refusals: policy, version and reason.
    pub refusals: Vec<(String, String)>,
    /// There are shadows, or there were until now.
    pub any_shadows: bool,
}
