//! The stages of a check: their times for the report, and with all else that there is to say, for a trace.

use std::time::Instant;

use ruleward_core::limit::Limit;
use ruleward_core::schedule::Reason;

use crate::pass::Pass;
use crate::policies::EvaluationRecord;
use crate::trace::{Attributes, Event, Span};
use ruleward_report::plain::plain;
use ruleward_report::{Incident, Report, Timings, milliseconds};

/// Why the short path is taken.
pub(crate) const DRIFT: &str = "drift";
/// Why everything is taken away.
pub(crate) const CLEANUP: &str = "cleanup";

/// Taking what the watch has heard, with who did it.
pub(crate) const LISTEN: &str = "listen";
/// Keeping what came of it.
pub(crate) const REPORT: &str = "report";

/// Why a check runs, as a word for programs.
pub(crate) fn cause(reason: Reason) -> &'static str {
    match reason {
        Reason::Start => "start",
        Reason::Refresh => "refresh",
        Reason::Recheck => "recheck",
        Reason::Retry => "retry",
        Reason::Asked => "asked",
        Reason::Change => "change",
    }
}

/// A stage of the straight path or of the short one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Reading facts and resources.
    Facts,
    /// Merging what the policies ask for.
    Merge,
    /// Loading it into a private namespace.
    Rehearse,
    /// Reading the kernel.
    Observe,
    /// Finding the difference.
    Plan,
    /// Waiting for whoever else writes (legacy: the xtables lock).
    Lock,
    /// Writing.
    Commit,
    /// Reading the kernel again.
    Verify,
}

impl Stage {
    /// Its name, and the timing that it is a part of.
    fn told(self, timings: &mut Timings) -> (&'static str, &mut f64) {
        match self {
            Self::Facts => ("facts", &mut timings.facts),
            Self::Merge => ("merge", &mut timings.evaluate),
            Self::Rehearse => ("rehearse", &mut timings.rehearse),
            Self::Observe => ("observe", &mut timings.observe),
            Self::Plan => ("plan", &mut timings.plan),
            Self::Lock => ("lock", &mut timings.commit),
            Self::Commit => ("commit", &mut timings.commit),
            Self::Verify => ("verify", &mut timings.verify),
        }
    }
}

/// Adds the time since `began`.
fn add(timing: &mut f64, began: Instant, ended: Instant) {
    *timing = ((*timing + milliseconds(ended.saturating_duration_since(began))) * 1e3).round() / 1e3;
}

impl Pass {
    /// Runs `work` as this stage.
    pub(crate) fn timed<T>(&mut self, stage: Stage, work: impl FnOnce() -> T) -> T {
        let began = self.runtime.now();
        let result = work();
        self.took(stage, began);
        result
    }

    /// This stage began then, and has ended.
    pub(crate) fn took(&mut self, stage: Stage, began: Instant) {
        let ended = self.runtime.now();
        let (name, timing) = stage.told(&mut self.report.timings_ms);
        add(timing, began, ended);
        self.recorder.add(|| Span::new(name, began, ended));
    }

    /// This was done from `began` until now; it is no stage.
    pub(crate) fn done(&mut self, name: &'static str, began: Instant) {
        let ended = self.runtime.now();
        self.recorder.add(|| Span::new(name, began, ended));
    }

    /// Policies were asked, from `began` until now. If none had to be, it is no stage.
    pub(crate) fn evaluated(&mut self, began: Instant, asked: &[EvaluationRecord]) {
        let ended = self.runtime.now();
        add(&mut self.report.timings_ms.evaluate, began, ended);
        if asked.is_empty() || !self.recorder.is_on() {
            return;
        }
        self.recorder.add(|| Span::new("evaluate", began, ended));
        let parent = self.recorder.last();
        for one in asked {
            self.recorder.add(|| Span { parent, ..evaluation(one) });
        }
    }
}

fn evaluation(asked: &EvaluationRecord) -> Span {
    let EvaluationRecord { version, began, ended, problem } = asked;
    let (policy, loaded) = (version.policy().as_str(), version.loaded());
    let mut span = Span::new(format!("evaluate {policy}"), *began, *ended);
    span.problem = problem.as_deref().map(plain);
    span.attributes = vec![
        ("ruleward.policy.name", policy.into()),
        ("ruleward.policy.version", plain(&loaded.description().version).as_str().into()),
        ("ruleward.policy.digest", loaded.digest().into()),
    ];
    if let Some((used, _)) = loaded.usage() {
        span.attributes.push(("ruleward.policy.fuel", used[Limit::Fuel].into()));
        span.attributes.push(("ruleward.policy.memory_bytes", used[Limit::Memory].into()));
    }
    span
}

pub(crate) fn attributes(report: &Report, cause: &'static str) -> Attributes {
    let mut attributes = vec![
        ("ruleward.check.cause", cause.into()),
        ("ruleward.check.outcome", report.outcome.as_str().into()),
        ("ruleward.check.in_sync", report.in_sync.into()),
        ("ruleward.check.changes", report.changes.len().into()),
        ("ruleward.check.incidents", report.incidents.len().into()),
    ];
    attributes.extend(report.backend.map(|backend| ("ruleward.backend", backend.as_str().into())));
    attributes
}

/// What others did. Not with which command line: there may be secrets in it.
pub(crate) fn drift(incident: &Incident, at: Instant) -> Event {
    let actor = incident.latest.first().cloned().unwrap_or_default();
    let all = incident.actors.iter().map(|one| format!("{} ({})", plain(&one.actor.name), one.times));
    let all = all.collect::<Vec<_>>().join(", ");
    let mut attributes = vec![
        ("ruleward.incident.id", incident.id.into()),
        ("ruleward.incident.kind", incident.kind.as_str().into()),
        ("ruleward.incident.place", plain(&incident.place()).as_str().into()),
        ("ruleward.incident.detail", plain(&incident.detail).as_str().into()),
        ("ruleward.incident.repaired", incident.repaired.into()),
        ("ruleward.incident.how", plain(&incident.how).as_str().into()),
        ("ruleward.incident.times", incident.times.into()),
        ("ruleward.incident.actors", all.as_str().into()),
        ("ruleward.actor.name", plain(&actor.name).as_str().into()),
    ];
    attributes.extend(incident.latency_ms.map(|latency| ("ruleward.incident.latency_ms", latency.into())));
    attributes.extend(actor.pid.map(|pid| ("ruleward.actor.pid", pid.into())));
    let cgroup = actor.cgroup.as_ref().map(|cgroup| ("ruleward.actor.cgroup", plain(cgroup).as_str().into()));
    attributes.extend(cgroup);
    let parent = actor.parent.as_ref().map(|parent| ("ruleward.actor.parent", plain(&parent.name).as_str().into()));
    attributes.extend(parent);
    Event { name: "drift", at, attributes }
}
