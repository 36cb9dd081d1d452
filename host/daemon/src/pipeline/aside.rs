//! What goes on beside the straight path: what was answered is handed to the history, shadows are asked what they would change,
//! and traces are left to be sent. Nothing of it is waited for.

use std::sync::Arc;
use std::time::SystemTime;

use super::Pipeline;
use crate::history::record::{Mode, Outcome};
use crate::history::{Event, History};
use crate::roster::{Accepted, NotTaken};
use crate::shadows::{Order, Shadows};
use crate::traces::Traces;
use ruleward_report::Intent;

/// How many refusals are kept in mind, so that each is handed on once.
const MOST_TOLD: usize = 1000;

/// These, with what was told already.
pub struct Aside {
    history: History,
    shadows: Shadows,
    traces: Traces,
    /// Refusals that were handed on: policy, version and reason.
    told: Vec<(String, String)>,
    /// There are shadows, or there were until now.
    any_shadows: bool,
}

impl Aside {
    /// Nothing was told yet.
    pub fn new(history: History, shadows: Shadows, traces: Traces) -> Self {
        Self { history, shadows, traces, told: Vec::new(), any_shadows: false }
    }

    /// Where traces of checks are left.
    pub fn traces(&self) -> &Traces {
        &self.traces
    }

    /// Whether there are shadows, or what was said of earlier ones is to be taken back.
    pub fn any_shadows(&self) -> bool {
        self.any_shadows
    }
}

impl Pipeline {
    /// Versions and answers that have just been put in force.
    pub(super) fn remember(&self, accepted: &[Accepted]) {
        for Accepted { version, facts, contribution, .. } in accepted {
            self.aside.history.record(Event {
                facts: Some(Arc::clone(facts)),
                contribution: Some(Arc::clone(contribution)),
                ..Event::of(version, Outcome::InForce)
            });
        }
    }

    /// After a check: what was refused, and what shadows would change.
    pub(super) fn look_aside(&mut self, intent: Intent) {
        if intent != Intent::Write {
            return;
        }
        for refused in self.roster.not_taken() {
            let id = refused.version.as_ref().map_or(refused.digest.as_str(), |version| version.id());
            let key = (format!("{} {id}", refused.policy), refused.reason.clone());
            if self.aside.told.contains(&key) {
                continue;
            }
            if self.aside.told.len() >= MOST_TOLD {
                self.aside.told.clear(); // the history knows what it has
            }
            self.aside.told.push(key);
            self.aside.history.record(self.refusal(refused));
        }
        let any = !self.offered.shadows.is_empty();
        if let Some(facts) = self.survey.facts.as_ref().filter(|_| any || self.aside.any_shadows) {
            self.aside.any_shadows = any;
            self.aside.shadows.order(Order {
                shadows: self.offered.shadows.clone(),
                facts: Arc::clone(facts),
                families: self.detection.families,
                in_force: self.roster.in_force(),
            });
        }
    }

    fn refusal(&self, refused: NotTaken) -> Event {
        let NotTaken { policy, version, digest, settings, grants, limits, facts, contribution, reason } = refused;
        let outcome =
            if contribution.is_some() { Outcome::RefusedByKernel { reason } } else { Outcome::Refused { reason } };
        let Some(version) = version else {
            return Event {
                policy,
                at: SystemTime::now(),
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
                sees_documents: Default::default(),
                contribution: None,
            };
        };
        let facts = facts.or_else(|| self.survey.facts.clone());
        Event { facts, contribution, ..Event::of(&version, outcome) }
    }
}
