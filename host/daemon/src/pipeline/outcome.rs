//! What a pass came to: incidents, what is known from now on without reading, what is in force, and the report.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use ruleward_core::awaited::Turn;
use ruleward_core::drift::Drift;
use ruleward_core::names::{Backend, PolicyName};
use ruleward_core::observed::Observed;
use ruleward_core::plan::Plan;

use super::found::Found;
use super::hold::{seen, touch};
use super::keeper::Undone;
use super::{Pass, Pipeline, Stop};
use crate::incidents::{Cause, Repair};
use crate::kernel::activity::{Activity, Deeds, Touch};
use crate::reload::Told;
use crate::report::plain::plain;
use crate::report::{self, ErrorClass, Intent, Outcome, Report, milliseconds};
use crate::roster::Behind;
use crate::shadows;
use crate::traces::Recorder;

impl Pipeline {
    /// Repairs by a check count in a fight as well; they do not wait.
    pub(super) fn note_repairs(&mut self, drifts: &[Drift], heard: &Activity) {
        let now = self.keeper.started.elapsed();
        let seen: Vec<_> = drifts.iter().map(|drift| seen(heard, drift)).collect();
        let _ = self.keeper.fights.seen(now, &seen);
    }

    /// Everything was read: what is known from now on without reading.
    pub(super) fn settle(&mut self, pass: &Pass, observed: &Observed, plan: &Plan, done: bool) {
        let written = done && plan.is_empty() && !observed.partial;
        self.keeper.problems.clone_from(&plan.problems);
        self.keeper.notes.clone_from(&plan.notes);
        self.keeper.right = written && plan.problems.is_empty() && self.keeper.steady;
        self.keeper.verified = observed.generation.filter(|_| self.keeper.right);
        if written {
            if let Some(expected) = &self.expected {
                self.keeper.awaited.renew(expected, observed, |_, _, _| false);
            }
            self.keeper.held.clear();
            self.keeper.waiting = Activity::default();
            self.keeper.due = None;
            self.keeper.skipped = 0;
            self.keeper.contacted |= pass.intent == Intent::Write;
        }
    }

    /// Makes incidents of what others did, also of what they did while the repair was made.
    pub(super) fn record(
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
            let later = self.news();
            heard.extend(later.clone());
            self.keeper.heard.extend(later);
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
        let repair = Repair { repaired, how, took: seen.elapsed(), latency };
        let cause = |drift: &Drift| {
            let touch = touch(heard, drift);
            let (actors, events, since) = (touch.actors_of(drift.kind), touch.events, touch.since);
            // What was heard before the pass began has waited.
            let waited = since.map(|since| pass.started.saturating_duration_since(since)).unwrap_or_default();
            Cause { actors, events, waited }
        };
        let incidents = self.incidents.record(drifts, cause, &repair, SystemTime::now());
        pass.report.incidents.extend(incidents);
    }

    /// Says which attachments have begun or ended to wait for another program's chain.
    pub(super) fn tell_turns(&mut self, pass: &mut Pass, turns: &[Turn]) {
        for turn in turns {
            let text = turn.to_string();
            if self.incidents.may_log(SystemTime::now()) {
                tracing::info!(policy = turn.policy.as_str(), "{}", plain(&text));
            }
            pass.report.notes.push(text);
        }
    }

    /// Fills in what the pass came to.
    pub(super) fn conclude(&mut self, pass: &mut Pass, result: Result<(), Stop>) -> Result<(), Stop> {
        let wrote = !pass.report.changes.is_empty();
        result?;
        if pass.intent == Intent::Write {
            self.committed = true;
            self.accept();
            if let Some(expected) = &self.expected {
                self.board.expect(expected);
            }
        }
        let standing = self.add_standing(pass);
        let written = pass.intent == Intent::Write || !wrote;
        pass.report.in_sync = standing && written;
        pass.report.outcome = if wrote { Outcome::Changed } else { Outcome::Unchanged };
        Ok(())
    }

    /// What is chosen stands in the kernel, and what was leaving has left. This is where a version becomes the one in
    /// force.
    fn accept(&mut self) {
        let leaving = self.roster.is_leaving();
        // What could not be removed is still ours, and named as a problem.
        let accepted = self.roster.accept(self.keeper.problems.is_empty());
        for one in accepted.iter().filter(|one| one.new_version) {
            self.board.metrics().policies().version_taken(one.version.policy().as_str());
        }
        self.remember(&accepted);
        if leaving && let Some(expected) = &self.expected {
            let families: Vec<_> = self.detection.families.iter().collect();
            self.expected = Some(Arc::new(expected.with_ownership(self.roster.ownership(), &families)));
            self.keeper.watch.forget_chains();
        }
        if leaving || accepted.iter().any(|one| one.new_version) {
            self.intake.tell(Told::Settled(self.roster.digests()));
        }
    }

    /// What does not change from one look to the next: policies that lag behind, a configuration that was refused, and
    /// what no write of ours can change. Whether the node is right all the same.
    pub(super) fn add_standing(&self, pass: &mut Pass) -> bool {
        let Behind { refused, waiting, staying, missing } = self.roster.behind();
        if !refused.is_empty() || self.offered.refusal.is_some() {
            pass.report.class = ErrorClass::Configuration;
        }
        let problems = &mut pass.report.problems;
        problems.extend(
            self.offered.refusal.iter().map(|refusal| {
                format!("the configuration is refused, and the last good one stays in force: {refusal}")
            }),
        );
        problems.extend(refused);
        if !self.offered.complete {
            problems.push("policies are being loaded; what was in force of them stays until then".to_owned());
        }
        problems.extend(self.keeper.problems.iter().cloned());
        pass.report.notes.extend(waiting.into_iter().chain(staying));
        pass.report.notes.extend(self.keeper.notes.iter().cloned());
        self.keeper.problems.is_empty() && !missing && self.offered.complete
    }

    pub(super) fn begin(&self, intent: Intent) -> Pass {
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
            started: Instant::now(),
            intent,
            committed_at: None,
            committing: false,
            settled: false,
            undone: Undone::Insists,
            found: Found::default(),
            recorder: Recorder::new(self.aside.traces().are_wanted()),
            cause: "",
        }
    }

    pub(super) fn end(&self, mut pass: Pass) -> Report {
        pass.report.basis = self.expected.as_ref().map(|expected| report::Basis::from(expected.basis));
        pass.report.policies = self.roster.report();
        for policy in &mut pass.report.policies {
            policy.pinned =
                self.offered.pinned.iter().find(|(name, _)| name.as_str() == policy.name).map(|(_, pin)| pin.clone());
        }
        let known = self.board.known_shadows();
        let of = |name: &PolicyName| known.iter().find(|shadow| shadow.name == name.as_str()).cloned();
        let shadows = self.offered.shadows.keys().map(|name| of(name).unwrap_or_else(|| shadows::empty(name)));
        pass.report.policies.extend(shadows);
        pass.report.notes.extend(self.roster.notes().iter().cloned());
        pass.report.notes.extend(self.unmatchable.iter().cloned());
        if let Some(why) = &self.no_rehearsal {
            pass.report
                .notes
                .push(format!("no rehearsal is possible here ({why}); text is learned from the read-back"));
        }
        // A check may take several passes, and each says what it found.
        for lines in [&mut pass.report.problems, &mut pass.report.notes] {
            let mut said = BTreeSet::new();
            lines.retain(|line| said.insert(line.clone()));
        }
        pass.report.timings_ms.total = milliseconds(pass.started.elapsed());
        self.trace(&mut pass);
        pass.report
    }
}
