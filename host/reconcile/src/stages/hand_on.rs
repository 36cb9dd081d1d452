//! Hands out what the rest of the program has to do.

use std::sync::Arc;
use std::time::Duration;

use ruleward_report::Intent;

use crate::effect::{Effect, MOST_TOLD, ShadowOrder};
use crate::policies::Rejection;
use crate::reconciler::Reconciler;
use crate::record::{Event, Outcome};

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
