//! What a check begins with: the policies that are configured now, facts, and the answers of the policies.

use std::sync::Arc;

use ruleward_core::facts::Facts;
use ruleward_core::schedule::Reason;
use ruleward_report::{ErrorClass, Outcome};

use crate::effect::Effect;
use crate::pass::{Pass, Stop};
use crate::policies::{Behind, PolicySet};
use crate::reconciler::Reconciler;
use crate::traced::Stage;

impl Reconciler {
    /// The configuration asks for this from now on.
    pub fn take(&mut self, offer: &PolicySet) {
        self.cached = None;
        self.fresh = true;
        self.kernel.fights.limit(offer.settings.refresh_interval);
        self.kernel.settling.set_bounds(offer.settings.repair_bounds);
        self.settings = Arc::clone(&offer.settings);
        self.roster.take(offer);
        self.offered.any = true;
        self.offered.complete |= offer.complete;
        self.offered.refusal.clone_from(&offer.refusal);
        self.offered.notes.clone_from(&offer.notes);
        self.offered.shadows.clone_from(&offer.shadows);
        self.offered.pinned.clone_from(&offer.pinned);
    }

    /// What facts are made of is read elsewhere from now on.
    pub fn forget_facts_heard(&mut self) {
        self.facts_cache.heard = None;
    }

    /// Whether the first check has to wait for policies that are being loaded: there is nothing yet to put or keep in
    /// force.
    pub fn waits_for_policies(&self) -> bool {
        !self.offered.complete && self.facts_cache.facts.is_none()
    }

    /// Whether it may go on with what is loaded.
    pub fn can_begin(&self) -> bool {
        self.offered.any && self.roster.can_begin()
    }

    /// Facts that can't be read leave the last ones in force: repairing goes on. As long as all that they are made of is
    /// watched and nothing happens, they are what they were; they are read all the same when everything is.
    pub(crate) fn read_facts(&mut self, pass: &mut Pass, reason: Reason) {
        self.progress("reading facts");
        let heard = self.source.changes();
        let routine = matches!(reason, Reason::Refresh | Reason::Recheck | Reason::Change | Reason::Retry);
        let everything = self.reads_everything_next();
        if routine && (heard.is_none() || everything) {
            self.effect(Effect::LookAgain);
        }
        // Not all changes of tables are told of, and to ask for them costs next to nothing.
        if self.has_same_tables() && heard.is_some() && heard == self.facts_cache.heard && routine && !everything {
            pass.report.notes.extend(self.facts_cache.notes.iter().cloned());
            return;
        }
        let read = pass.timed(Stage::Facts, || self.source.read());
        match read {
            Ok(reading) => {
                pass.report.notes.extend(reading.notes.iter().cloned());
                let same = self.facts_cache.facts.as_deref() == Some(&reading.facts);
                let facts = self.facts_cache.facts.take().filter(|_| same);
                let facts = Some(facts.unwrap_or_else(|| Arc::new(reading.facts)));
                (self.facts_cache.facts, self.facts_cache.notes) = (facts, reading.notes);
                self.facts_cache.heard = heard.filter(|_| !reading.late);
            }
            Err(error) => {
                pass.report.class = if error.passing { ErrorClass::Temporary } else { ErrorClass::Configuration };
                self.facts_cache.heard = None;
                let known = self.facts_cache.facts.is_some();
                let kept = if known { "the facts of the last check count" } else { "no policy is asked" };
                pass.report.problems.push(format!("{}; {kept}", error.reason));
                if !known {
                    tracing::error!("{}; {kept}", error.reason);
                }
            }
        }
    }

    /// Whether the tables of nf_tables are those that policies were shown, as far as the kernel tells.
    fn has_same_tables(&self) -> bool {
        let same = |facts: &Arc<Facts>| self.source.tables().is_none_or(|tables| tables == facts.nft_tables);
        self.facts_cache.facts.as_ref().is_some_and(same)
    }

    /// Another program's table came or went: if that is news, a check has to follow.
    pub(crate) fn notice_tables(&mut self) {
        if self.facts_cache.facts.is_some() && !self.has_same_tables() {
            self.effect(Effect::FactsChanged);
        }
    }

    pub(crate) fn evaluate(&mut self, pass: &mut Pass, reason: Reason) -> Result<(), Stop> {
        let everything = self.reads_everything_next();
        let again = everything || matches!(reason, Reason::Start | Reason::Asked);
        let facts = self.facts_cache.facts.clone();
        let longest = self.settings.longest_evaluation;
        self.effect(Effect::Progress { doing: "asking policies", longest });
        let (runtime, began) = (Arc::clone(&self.runtime), self.runtime.now());
        let whom = self.whom.clone();
        let asked = self.with_roster(pass, move |roster| roster.evaluate(facts.as_ref(), &whom, again, &*runtime));
        pass.evaluated(began, &asked);
        self.stop_if_silent(pass)
    }

    /// Where no policy has anything to put in force there is nothing to compare the kernel with.
    pub(crate) fn stop_if_silent(&self, pass: &mut Pass) -> Result<(), Stop> {
        if !self.roster.is_silent() {
            return Ok(());
        }
        let Behind { refused, waiting, .. } = self.roster.behind();
        let mut lines = refused.into_iter();
        let Some(first) = lines.next() else {
            let known = pass.report.class; // facts can't be read, maybe
            let stop = pass.stop(ErrorClass::Temporary, "nothing is in force: no policy has answered yet");
            if known == ErrorClass::None {
                (pass.report.class, pass.report.outcome) = (known, Outcome::Unchanged); // to wait is no failure
            } else {
                pass.report.class = known;
            }
            pass.report.problems.extend(waiting);
            return Err(stop);
        };
        let stop = pass.stop(ErrorClass::Configuration, first);
        pass.report.problems.extend(lines.chain(waiting));
        Err(stop)
    }
}
