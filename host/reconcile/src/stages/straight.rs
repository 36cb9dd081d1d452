//! The stages of the straight path from the kernel to the report, in the order in which
//! [`Reconciler::bring_about`] takes them. Each takes what the one before it gave.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use ruleward_core::awaited::Turn;
use ruleward_core::check::Checked;
use ruleward_core::drift;
use ruleward_core::expected::Expected;
use ruleward_core::observed::Observed;
use ruleward_core::plan::{Plan, plan};
use ruleward_core::schedule::Reason;

use crate::kernel::noted::Noted;
use crate::pass::{Pass, Stop};
use crate::reconciler::Reconciler;
use crate::target::Proven;
use crate::traced::{self, Stage};
use ruleward_kernel::activity::Activity;
use ruleward_kernel::observe::Scope;
use ruleward_report::{Change, Intent};

/// What a reading of everything found, and what it is compared with.
pub(crate) struct Comparison {
    /// The contributions that `expected` was made of.
    merged: Vec<Arc<Checked>>,
    expected: Arc<Expected>,
    observed: Observed,
    plan: Plan,
    /// What was in force: the measure of drift.
    in_force: Option<Arc<Expected>>,
    /// What other programs did, as far as it was heard.
    heard: Activity,
    noted: Noted,
    /// Rules that begin or end to wait for another program.
    turns: Vec<Turn>,
    /// When it was found.
    at: Instant,
}

impl Reconciler {
    /// Whether nothing has to be read: nothing has changed since everything was in sync.
    pub(crate) fn is_all_as_it_was(&mut self, pass: &mut Pass, reason: Reason, proven: &Proven) -> bool {
        pass.settled = pass.intent == Intent::Write && self.is_settled(reason, &proven.expected);
        self.kernel.skipped += u32::from(pass.settled);
        pass.settled
    }

    /// Reads everything, fills large sets, and plans. `None`: more is known now, and the pass has to begin anew.
    pub(crate) fn observe_all(&mut self, pass: &mut Pass, proven: Proven) -> Result<Option<Comparison>, Stop> {
        self.read_sets(pass, &proven.expected)?;
        // What was repaired meanwhile may have taught more of the same.
        let Proven { merged, mut expected, .. } = self.known(&proven.merged).unwrap_or(proven);
        let in_force = self.target.in_force();
        let mut heard = self.hear_writers(pass);
        let Some(mut observed) = self.observe(pass, &mut expected)? else { return Ok(None) };
        let released = expected.no_longer_asked(self.roster.policies_in_force());
        if !released.is_empty() {
            Arc::make_mut(&mut expected).released = released;
        }
        let mut todo = pass.timed(Stage::Plan, || plan(&expected, &observed));
        if pass.intent == Intent::Write {
            if self.refuse_blocked(&todo) {
                return Ok(None);
            }
            if self.fill(pass, &mut todo, &mut heard)? {
                self.read_sets(pass, &expected)?;
                self.poll_events();
                heard.extend(std::mem::take(&mut self.kernel.pending));
                let Some(again) = self.observe(pass, &mut expected)? else { return Ok(None) };
                observed = again;
                todo = plan(&expected, &observed);
            }
        }
        let (noted, turns, at) = (Noted::default(), Vec::new(), self.runtime.now());
        Ok(Some(Comparison { merged, expected, observed, plan: todo, in_force, heard, noted, turns, at }))
    }

    /// Takes what was heard, when those who did it are done with it.
    fn hear_writers(&mut self, pass: &mut Pass) -> Activity {
        let listening = self.runtime.now();
        self.poll_events();
        if pass.intent == Intent::Write {
            self.let_writers_finish();
        }
        pass.done(traced::LISTEN, listening);
        self.kernel.unsettled.clear();
        let mut heard = std::mem::take(&mut self.kernel.pending);
        heard.extend(self.kernel.sync.take_pending(&BTreeSet::new()));
        heard
    }

    /// What of the difference is drift, and whose.
    pub(crate) fn name_drift(&mut self, pass: &mut Pass, found: &mut Comparison) {
        let Comparison { expected, observed, plan: todo, in_force, heard, noted, turns, .. } = found;
        let Self { kernel, runtime, .. } = self;
        let changes = kernel.seen.look(expected, observed, todo, &Scope::All, runtime.now());
        if let Some(before) = in_force {
            pass.found.drifts = match Arc::ptr_eq(before, expected) {
                true => kernel.awaited.drifts(before, observed, todo),
                false => kernel.awaited.drifts(before, observed, &plan(before, observed)),
            };
            *turns = kernel.awaited.turns(before, observed);
            *noted = changes; // else nothing was ours to lose
        }
        pass.found.measure.clone_from(in_force);
        self.attribute(heard, &pass.found.drifts);
        self.attribute(heard, &noted.drifts());
        pass.report.changes = drift::list(todo, observed).into_iter().map(Change::from).collect();
    }

    /// Writes the plan and reads back. By which means, or why it stopped.
    pub(crate) fn commit(&mut self, pass: &mut Pass, found: &mut Comparison) -> Result<&'static str, Stop> {
        found.at = self.runtime.now();
        let Comparison { expected, observed, plan, heard, .. } = found;
        let mut written = Ok("already in sync, nothing written");
        if !plan.is_empty() && pass.intent == Intent::Write {
            self.note_repairs(&pass.found.drifts, heard);
            self.kernel.sync.end_contention();
            self.progress("writing");
            written = self.kernel.write(&*self.port, pass, expected, observed, plan, &Scope::All);
        }
        self.kernel.filled.clear();
        written
    }

    /// What was committed is in force; what is known from now on; incidents and the report.
    pub(crate) fn enforce(
        &mut self,
        pass: &mut Pass,
        found: Comparison,
        written: Result<&'static str, Stop>,
    ) -> Result<(), Stop> {
        let Comparison { merged, mut expected, observed, plan, heard, noted, turns, at, .. } = found;
        let concluding = self.runtime.now();
        if !expected.released.is_empty() {
            Arc::make_mut(&mut expected).released.clear();
        }
        self.kernel.await_foreign(&expected, &observed);
        let proven = Proven { merged, expected, replay: self.replay() };
        if self.target.enforce(proven, written.is_ok()) {
            self.kernel.events.forget_chains();
        }
        self.settle(pass, &observed, &plan, written.is_ok());
        self.record(pass, &heard, &written, at);
        self.record_noted(pass, &noted, &heard);
        if written.is_ok() && pass.intent == Intent::Write {
            self.tell_turns(pass, &turns);
        }
        let mut concluded = self.conclude(pass, written.map(drop));
        if concluded.is_ok() && pass.intent == Intent::Write && self.kernel.sets_are_unread() {
            // Large sets that were just put in their places are read back when the rules are in force.
            concluded = self.target.expected.clone().map_or(Ok(()), |expected| self.swap_large(pass, expected));
            pass.report.in_sync = concluded.is_ok() && self.is_in_sync();
        }
        pass.report.in_sync &= !observed.partial; // what was not compared is not claimed
        pass.done(traced::REPORT, concluding);
        concluded
    }

    /// What only the live kernel can refuse: a set that can't have the type that a policy's new version gives it. The
    /// version is refused then, as a whole, and its last good one stays. Whether there was one.
    pub(crate) fn refuse_blocked(&mut self, plan: &Plan) -> bool {
        let (mut any, news) = (false, self.roster.news());
        for (set, reason) in &plan.blocked_sets {
            let owner = self.roster.ownership().set_owner(set.as_str()).cloned();
            if let Some(owner) = owner.filter(|owner| news.contains(owner)) {
                self.roster.refuse(&owner, format!("it can't be put in force: {reason}"), false);
                any = true;
            }
        }
        any
    }
}
