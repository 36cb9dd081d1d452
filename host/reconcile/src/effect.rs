//! What the rest of the program has to do. The reconciler hands these out as they arise, because a
//! step may take minutes, and waits for none of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ruleward_core::contribution::Families;
use ruleward_core::expected::Expected;
use ruleward_core::facts::Facts;
use ruleward_core::names::PolicyName;

use crate::policies::{InForce, Rejection, ShadowSpec};
use crate::reconciler::Reconciler;
use crate::record::{Event, Outcome};
use crate::trace::Trace;
use ruleward_report::status::{FightReport, WatchReport};
use ruleward_report::{Incident, Intent};

/// How many refusals are kept in mind, so that each is handed on once.
const MOST_TOLD: usize = 1000;

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
    refusals: Vec<(String, String)>,
    /// There are shadows, or there were until now.
    pub any_shadows: bool,
}

impl Reconciler {
    pub(crate) fn effect(&mut self, effect: Effect) {
        (self.effects)(effect);
    }

    /// Says that the step goes on.
    pub(crate) fn progress(&mut self, doing: &'static str) {
        self.effect(Effect::Progress { doing, longest: Duration::ZERO });
    }

    /// Versions and answers that have just been put in force.
    pub(crate) fn remember(&mut self, accepted: &[crate::policies::Accepted]) {
        let at = self.runtime.wall_clock();
        for one in accepted {
            let event = Event {
                facts: Some(Arc::clone(&one.facts)),
                contribution: Some(Arc::clone(&one.contribution)),
                ..Event::of(&one.version, at, Outcome::InForce)
            };
            self.effect(Effect::RecordHistory(Box::new(event)));
        }
    }

    /// After a check: what was refused, and what shadows are to be compared with.
    pub(crate) fn hand_on(&mut self, intent: Intent) {
        if intent != Intent::Write {
            return;
        }
        for refused in self.roster.rejections() {
            let id = refused.version.as_ref().map_or(refused.digest.as_str(), |version| version.id());
            let key = (format!("{} {id}", refused.policy), refused.reason.clone());
            if self.handed_on.refusals.contains(&key) {
                continue;
            }
            if self.handed_on.refusals.len() >= MOST_TOLD {
                self.handed_on.refusals.clear(); // the history knows what it has
            }
            self.handed_on.refusals.push(key);
            let event = self.event_of(refused);
            self.effect(Effect::RecordHistory(Box::new(event)));
        }
        let any = !self.offered.shadows.is_empty();
        if let Some(facts) = self.facts_cache.facts.clone().filter(|_| any || self.handed_on.any_shadows) {
            self.handed_on.any_shadows = any;
            let order = ShadowOrder {
                shadows: self.offered.shadows.clone(),
                facts,
                families: self.detection.families,
                in_force: self.roster.in_force(),
            };
            self.effect(Effect::RunShadows(Box::new(order)));
        }
    }

    fn event_of(&self, refused: Rejection) -> Event {
        let facts = refused.facts.clone().or_else(|| self.facts_cache.facts.clone());
        Event::of_refusal(refused, facts, self.runtime.wall_clock())
    }
}
