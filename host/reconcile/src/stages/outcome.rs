//! What a pass came to: incidents, what is known from now on without reading, what is in force, and the report.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use ruleward_core::awaited::Turn;
use ruleward_core::awaiting::nothing_enforced;
use ruleward_core::drift::Drift;
use ruleward_core::fight::Fight;
use ruleward_core::names::Backend;
use ruleward_core::observed::Observed;
use ruleward_core::plan::Plan;

use crate::effect::Effect;
use crate::found::Found;
use crate::incidents::{Cause, Repair};
use crate::kernel::deferred::{seen, touch};
use crate::kernel::sync_state::SyncState;
use crate::pass::OnRevert;
use crate::pass::{MOVED, Pass, Stop};
use crate::policies::{Behind, Roster};
use crate::reconciler::Reconciler;
use crate::trace::Recorder;
use crate::traced;
use ruleward_kernel::activity::{Activity, Deeds, Touch};
use ruleward_report::plain::plain;
use ruleward_report::{
    self, AwaitingReport, ErrorClass, Intent, Outcome, PolicyReport, PolicyState, Report, milliseconds,
};

impl Reconciler {
    /// Repairs by a check count in a fight as well; they do not wait.
    pub(crate) fn note_repairs(&mut self, drifts: &[Drift], heard: &Activity) {
        let now = self.kernel.elapsed();
        let seen: Vec<_> = drifts.iter().map(|drift| seen(heard, drift)).collect();
        self.kernel.fights.repaired(now, &seen);
    }

    /// Everything was read: what is known from now on without reading.
    pub(crate) fn settle(&mut self, pass: &Pass, observed: &Observed, plan: &Plan, done: bool) {
        let written = done && plan.is_empty() && !observed.partial;
        self.kernel.problems.clone_from(&plan.problems);
        self.kernel.notes.clone_from(&plan.notes);
        if written {
            let in_sync = plan.problems.is_empty() && self.kernel.steady;
            self.kernel.sync = match in_sync {
                true => SyncState::InSync { generation: observed.generation },
                false => SyncState::default(),
            };
            if let Some(expected) = &self.target.expected {
                self.kernel.awaited.renew(expected, observed, |_, _, _| false);
            }
            self.kernel.skipped = 0;
            self.kernel.contacted |= pass.intent == Intent::Write;
        } else {
            self.kernel.sync.fail(self.runtime.now());
        }
    }

    /// Makes incidents of what others did, also of what they did while the repair was made.
    pub(crate) fn record(
        &mut self,
        pass: &mut Pass,
        heard: &Activity,
        written: &Result<&'static str, Stop>,
        seen: Instant,
    ) {
        let drifts = std::mem::take(&mut pass.found.drifts);
        self.record_these(pass, &drifts, heard, written, seen);
        let late = std::mem::take(&mut pass.found.late);
        if late.is_empty() {
            return;
        }
        let mut heard = if self.detection.backend == Backend::Legacy { Activity::default() } else { heard.clone() };
        if self.detection.backend == Backend::Legacy {
            for place in late.iter().filter_map(|drift| drift.family.zip(drift.table)) {
                for writer in &pass.found.late_writers {
                    heard.tables.insert(place, Touch::by(writer.clone(), Deeds::UNTOLD, 0, seen));
                }
            }
        } else {
            let later = self.take_events();
            heard.extend(later.clone());
            self.kernel.pending.extend(later);
        }
        self.record_these(pass, &late, &heard, written, seen);
    }

    fn record_these(
        &mut self,
        pass: &mut Pass,
        drifts: &[Drift],
        heard: &Activity,
        written: &Result<&'static str, Stop>,
        seen: Instant,
    ) {
        let (repaired, how) = match written {
            Ok(how) if pass.intent == Intent::Write => (true, (*how).to_owned()),
            _ => (false, pass.report.problems.join("; ")),
        };
        let latency = pass.committed_at.map(|at| at.saturating_duration_since(pass.started));
        let took = self.runtime.now().saturating_duration_since(seen);
        let repair = Repair { repaired, how, took, latency };
        let started = pass.started;
        let cause = |drift: &Drift| {
            let touch = touch(heard, drift);
            let (actors, events, since) = (touch.actors_of(drift.kind), touch.events, touch.since);
            // What was heard before the pass began has waited.
            let waited = since.map(|since| started.saturating_duration_since(since)).unwrap_or_default();
            Cause { actors, events, waited }
        };
        self.record_incidents(pass, drifts, cause, &repair);
    }

    /// Makes incidents of drifts, for the report and for whoever keeps them.
    pub(crate) fn record_incidents(
        &mut self,
        pass: &mut Pass,
        drifts: &[Drift],
        cause: impl Fn(&Drift) -> Cause,
        repair: &Repair,
    ) {
        let incidents = self.incidents.record(drifts, cause, repair, self.runtime.wall_clock());
        for incident in &incidents {
            self.effect(Effect::RecordIncident(Box::new(incident.clone())));
        }
        pass.report.incidents.extend(incidents);
    }

    /// Says which attachments have begun or ended to wait for another program's chain.
    pub(crate) fn tell_turns(&mut self, pass: &mut Pass, turns: &[Turn]) {
        for turn in turns {
            let text = turn.to_string();
            if self.incidents.may_log(self.runtime.wall_clock()) {
                tracing::info!(policy = turn.policy.as_str(), "{}", plain(&text));
            }
            pass.report.notes.push(text);
        }
    }

    /// Fills in what the pass came to.
    pub(crate) fn conclude(&mut self, pass: &mut Pass, result: Result<(), Stop>) -> Result<(), Stop> {
        let wrote = !pass.report.changes.is_empty();
        result?;
        if pass.intent == Intent::Write {
            self.target.committed = true;
            self.accept(pass);
            if let Some(expected) = self.target.expected.clone() {
                self.effect(Effect::Enforced(expected));
            }
        }
        let written = pass.intent == Intent::Write || !wrote;
        pass.report.in_sync = self.is_in_sync() && written;
        pass.report.outcome = if wrote { Outcome::Changed } else { Outcome::Unchanged };
        Ok(())
    }

    /// What is chosen stands in the kernel, and what was leaving has left. This is where a version becomes the one in
    /// force.
    fn accept(&mut self, pass: &mut Pass) {
        let leaving = self.roster.is_leaving();
        // What could not be removed is still ours, and named as a problem.
        let accepted = self.roster.accept(self.kernel.problems.is_empty(), self.runtime.wall_clock());
        for one in accepted.iter().filter(|one| one.new_version) {
            self.effect(Effect::Activated(one.version.policy().clone()));
        }
        self.remember(&accepted);
        if leaving && let Some(expected) = &self.target.expected {
            let families: Vec<_> = self.detection.families.iter().collect();
            self.target.expected = Some(Arc::new(expected.with_ownership(self.roster.ownership(), &families)));
            self.kernel.events.forget_chains();
        }
        if self.roster.is_unsaved() {
            self.with_roster(pass, Roster::save);
        } else {
            self.roster.save();
        }
        if leaving || accepted.iter().any(|one| one.new_version) {
            self.effect(Effect::ComponentsInUse(self.roster.digests()));
        }
    }

    /// Whether the node is right, as far as it does not differ from what is wanted: nothing stands that no write of ours
    /// can change, all policies are in force, and nothing waits in a fight.
    pub(crate) fn is_in_sync(&self) -> bool {
        let Behind { missing, .. } = self.roster.behind();
        let compared = self.kernel.problems.is_empty() && !self.kernel.sets.uncompared;
        compared && !missing && self.offered.complete && self.kernel.sync.contended().is_none()
    }

    /// What does not change from one look to the next, and is said on every path: a configuration and policies that are
    /// refused, what waits in a fight, and what no write of ours can change.
    fn add_standing(&self, report: &mut Report) {
        let Behind { refused, waiting, loading, staying, .. } = self.roster.behind();
        let configuration =
            self.offered.refusal.iter().map(|refusal| {
                format!("the configuration is invalid, so the last valid one stays in force: {refusal}")
            });
        report.refused = configuration.chain(refused).collect();
        if report.class == ErrorClass::None && !report.refused.is_empty() {
            report.class = ErrorClass::Configuration;
        }
        let mut problems = report.refused.clone();
        problems.append(&mut report.problems);
        if !self.offered.complete && self.offered.any {
            problems.push("policies are being loaded; their rules in force stay until then".to_owned());
        }
        if self.offered.complete {
            problems.extend(loading);
        }
        if self.kernel.sets.uncompared {
            problems.push("large sets have changed and are being read: they are not compared yet".to_owned());
        }
        problems.extend(self.fought_over());
        problems.extend(self.kernel.problems.iter().cloned());
        let mut said = BTreeSet::new();
        problems.retain(|problem| said.insert(problem.clone()));
        report.problems = problems;
        report.notes.extend(waiting.into_iter().chain(staying));
        report.notes.extend(self.kernel.notes.iter().cloned());
        report.awaiting = self.kernel.awaiting.iter().map(AwaitingReport::from).collect();
        let enforced = |policy: &PolicyReport| !matches!(policy.state, PolicyState::Off | PolicyState::Shadow);
        report.nothing_enforced = match &self.target.expected {
            _ if !report.policies.iter().any(enforced) => Some("no policy is enabled".to_owned()),
            Some(expected) => nothing_enforced(expected, &self.kernel.awaiting),
            None => None,
        };
    }

    /// What is not repaired yet because it is undone again and again. No numbers: it is the same problem as before. They
    /// are with the fights.
    fn fought_over(&self) -> Vec<String> {
        if self.kernel.sync.contended().is_none() {
            return Vec::new();
        }
        let fights = self.kernel.fights.fights(self.kernel.elapsed());
        let missing = fights.iter().filter(|fight| fight.missing_since.is_some());
        let line = |fight: &Fight| {
            let named = fight.opponents.iter().filter(|one| one.actor.is_named());
            let names: BTreeSet<&str> = named.map(|one| one.actor.name.as_str()).collect();
            let names: Vec<&str> = names.into_iter().collect();
            let who = if names.is_empty() { "another program".to_owned() } else { names.join(" and ") };
            let place = &fight.place;
            format!(
                "{place} is out of sync: {who} keeps undoing its repair, so that further repairs follow at growing pauses"
            )
        };
        let mut lines: Vec<String> = missing.map(line).collect();
        if lines.is_empty() {
            lines.push((if fights.is_empty() { MOVED } else { "a repair waits, because many are undone" }).to_owned());
        }
        lines
    }

    pub(crate) fn begin(&self, intent: Intent) -> Pass {
        let mut notes = self.detection.leftovers.clone();
        notes.extend(self.offered.notes.iter().cloned());
        let report = Report {
            backend: Some(self.detection.backend),
            backend_reason: self.detection.reason.clone(),
            notes,
            ..Report::default()
        };
        Pass {
            report,
            started: self.runtime.now(),
            intent,
            committed_at: None,
            committing: false,
            settled: false,
            on_revert: OnRevert::Retry,
            found: Found::default(),
            recorder: Recorder::new(self.traced),
            cause: "",
            runtime: Arc::clone(&self.runtime),
        }
    }

    pub(crate) fn end(&mut self, mut pass: Pass) -> Report {
        pass.report.basis = self.target.expected.as_ref().map(|expected| ruleward_report::Basis::from(expected.basis));
        pass.report.policies = self.roster.report();
        for policy in &mut pass.report.policies {
            policy.pinned =
                self.offered.pinned.iter().find(|(name, _)| name.as_str() == policy.name).map(|(_, pin)| pin.clone());
        }
        if pass.cause != traced::CLEANUP {
            self.add_standing(&mut pass.report);
        }
        pass.report.notes.extend(self.roster.notes().iter().cloned());
        pass.report.notes.extend(self.target.unmatchable.iter().cloned());
        if let Some(why) = &self.target.no_rehearsal {
            pass.report
                .notes
                .push(format!("no rehearsal is possible here ({why}); text is learned from the read-back"));
        }
        // A check may take several passes, and each says what it found.
        for lines in [&mut pass.report.problems, &mut pass.report.notes] {
            let mut said = BTreeSet::new();
            lines.retain(|line| said.insert(line.clone()));
        }
        pass.report.timings_ms.total = milliseconds(self.runtime.now().saturating_duration_since(pass.started));
        self.trace(&mut pass);
        pass.report
    }
}
