//! The straight path, from facts to report. [`Pipeline::pass`] shows it on one screen; everything else here serves it.
//!
//! Always true: nothing is written before every enabled policy has answered once; nothing is written that was not
//! rehearsed, where rehearsing is possible; every write is read back. Whatever fails ends in the report, and what was in
//! force stays in force.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use ruleward_core::check::Checked;
use ruleward_core::contribution::Families;
use ruleward_core::drift::{self, Drift};
use ruleward_core::expected::{Basis, Expected};
use ruleward_core::facts::Facts;
use ruleward_core::merge::{Desired, merge};
use ruleward_core::names::PolicyName;
use ruleward_core::observed::Observed;
use ruleward_core::plan::{Plan, plan};
use ruleward_core::schedule::Reason;

use crate::config::Config;
use crate::facts;
use crate::incidents::{Incidents, Repair};
use crate::kernel::commit::{CommitError, commit};
use crate::kernel::detect::Detection;
use crate::kernel::observe::observe;
use crate::kernel::port::Port;
use crate::kernel::rehearse::{RehearseError, rehearse};
use crate::report::{self, Change, Checks, ErrorClass, Intent, Outcome, Report, milliseconds};
use crate::roster::Roster;

/// The straight path with what it keeps between two passes.
pub struct Pipeline {
    config: Config,
    detection: Detection,
    port: Box<dyn Port + Send>,
    roster: Roster,
    incidents: Incidents,
    facts: Option<Arc<Facts>>,
    /// The contributions that `expected` was made of.
    merged: Vec<Arc<Checked>>,
    expected: Option<Arc<Expected>>,
    /// Whether `expected` has been in force: only then is a difference drift.
    committed: bool,
    /// Why no rehearsal could be held, if so.
    no_rehearsal: Option<String>,
}

/// Ends a pass early. The report says why.
struct Stop;

/// What is known of the outcome of a pass, besides the report.
struct Pass {
    report: Report,
    started: Instant,
    intent: Intent,
}

impl Pass {
    fn stop(&mut self, class: ErrorClass, problem: impl Into<String>) -> Stop {
        let Report { outcome, .. } = Report::failure(class, "");
        self.report.outcome = outcome;
        self.report.class = class;
        self.report.problems.push(problem.into());
        Stop
    }
}

/// Runs `work` and adds its time to one of the timings.
fn timed<T>(timing: &mut f64, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    *timing = ((*timing + milliseconds(start.elapsed())) * 1e3).round() / 1e3;
    result
}

/// How often a pass starts over because somebody wrote between its reading and its writing.
const TRIES: usize = 6;

impl Pipeline {
    /// Joins the edges.
    pub fn new(config: Config, detection: Detection, port: Box<dyn Port + Send>, roster: Roster) -> Self {
        Self {
            config,
            detection,
            port,
            roster,
            incidents: Incidents::new(),
            facts: None,
            merged: Vec::new(),
            expected: None,
            committed: false,
            no_rehearsal: None,
        }
    }

    /// The straight path.
    fn pass(&mut self, pass: &mut Pass) -> Result<(), Stop> {
        self.read_facts(pass);
        self.evaluate(pass)?;
        let in_force = self.in_force();
        let expected = self.rehearse_merged(pass)?;
        let mut observed = self.observe(pass, &expected)?;
        let mut plan = self.plan(pass, &expected, &observed);
        let drifts = drifts(in_force.as_deref(), &observed);
        let wrote = !plan.is_empty();
        let changes = drift::list(&plan, &observed);
        pass.report.changes = changes.into_iter().map(Change::from).collect();
        let seen = Instant::now();
        let mut result = Ok(());
        if wrote && pass.intent == Intent::Write {
            result = self.commit_and_verify(pass, expected, &mut observed, &mut plan);
        }
        self.conclude(pass, &plan, wrote, &drifts, result, seen)
    }

    /// Facts that can't be read leave the last ones in force: repairing goes on.
    fn read_facts(&mut self, pass: &mut Pass) {
        let options = facts::Options {
            node_name: self.config.node_name.as_deref(),
            documents: &self.config.documents,
            iptables: self.detection.version,
            backend: self.detection.backend,
            families: self.detection.families,
        };
        match timed(&mut pass.report.timings_ms.facts, || facts::read(&options)) {
            Ok(reading) => {
                pass.report.notes.extend(reading.notes);
                if self.facts.as_deref() != Some(&reading.facts) {
                    self.facts = Some(Arc::new(reading.facts));
                }
            }
            Err(error) => {
                pass.report.class = ErrorClass::Configuration;
                let kept =
                    if self.facts.is_some() { "the facts of the last check count" } else { "no policy is asked" };
                pass.report.problems.push(format!("{error}; {kept}"));
                if self.facts.is_none() {
                    tracing::error!("{error}; {kept}");
                }
            }
        }
    }

    fn evaluate(&mut self, pass: &mut Pass) -> Result<(), Stop> {
        let (facts, families) = (self.facts.clone(), self.detection.families);
        timed(&mut pass.report.timings_ms.evaluate, || self.roster.evaluate(facts.as_ref(), families));
        self.roster.contributions().map(drop).map_err(|silent| {
            let names: Vec<String> = silent.iter().map(ToString::to_string).collect();
            let reason =
                format!("nothing is written before every enabled policy has answered; missing: {}", names.join(", "));
            pass.stop(ErrorClass::Configuration, reason)
        })
    }

    fn merge(&self, contributions: &[Arc<Checked>]) -> Desired {
        merge(contributions, self.roster.ownership(), self.detection.families.iter().collect())
    }

    /// What must be shown if nothing else is wanted from now on: the measure of drift.
    fn in_force(&self) -> Option<Arc<Expected>> {
        self.expected.clone().filter(|_| self.committed)
    }

    /// Merges the newest answers and proves them. A policy whose answer this kernel refuses is named, and its last
    /// good answer takes the place; the others are not touched by it.
    fn rehearse_merged(&mut self, pass: &mut Pass) -> Result<Arc<Expected>, Stop> {
        loop {
            let contributions = self.roster.contributions().unwrap_or_default();
            if let Some(expected) = self.expected.as_ref().filter(|_| self.merged == contributions) {
                return Ok(Arc::clone(expected));
            }
            let desired = self.merge(&contributions);
            let error = match timed(&mut pass.report.timings_ms.rehearse, || rehearse(&*self.port, desired)) {
                Ok(rehearsed) => {
                    if rehearsed.impossible != self.no_rehearsal {
                        if let Some(why) = &rehearsed.impossible {
                            tracing::warn!(
                                "no rehearsal is possible ({why}); what the kernel shows is learned after the commit"
                            );
                        }
                        self.no_rehearsal = rehearsed.impossible;
                    }
                    let expected = Arc::new(rehearsed.expected);
                    (self.merged, self.expected) = (contributions, Some(Arc::clone(&expected)));
                    self.committed = false;
                    return Ok(expected);
                }
                Err(error) => error,
            };
            let Some((name, reason)) = self.blame(&error) else {
                return Err(pass.stop(ErrorClass::Temporary, error.to_string()));
            };
            self.roster.refuse(&name, format!("this kernel refuses its answer: {reason}"));
            if self.roster.contributions().is_err() {
                let reason =
                    format!("policy {name} has no answer that this kernel takes: {reason}; nothing is written");
                return Err(pass.stop(ErrorClass::Configuration, reason));
            }
        }
    }

    /// Which policy a refusal comes from: by the line that was refused, else by trying each new answer alone.
    fn blame(&self, error: &RehearseError) -> Option<(PolicyName, String)> {
        let RehearseError::Refused { origin, .. } = error else { return None };
        let candidates = self.roster.candidates();
        if let Some(origin) = origin.as_ref().filter(|origin| candidates.contains(&origin.policy)) {
            return Some((origin.policy.clone(), error.to_string()));
        }
        let alone = |name: &PolicyName| {
            let desired = self.merge(&self.roster.contributions_with_only(name));
            let refused =
                rehearse(&*self.port, desired).err().filter(|error| matches!(error, RehearseError::Refused { .. }))?;
            Some((name.clone(), refused.to_string()))
        };
        candidates.iter().find_map(alone)
    }

    fn observe(&self, pass: &mut Pass, expected: &Expected) -> Result<Observed, Stop> {
        timed(&mut pass.report.timings_ms.observe, || observe(&*self.port, expected)).map_err(|error| {
            pass.stop(ErrorClass::Temporary, format!("the kernel can't be read: {error}; nothing is written"))
        })
    }

    fn plan(&self, pass: &mut Pass, expected: &Expected, observed: &Observed) -> Plan {
        timed(&mut pass.report.timings_ms.plan, || plan(expected, observed))
    }

    /// Writes, and reads back until nothing is left to write or the tries are used up.
    fn commit_and_verify(
        &mut self,
        pass: &mut Pass,
        mut expected: Arc<Expected>,
        observed: &mut Observed,
        todo: &mut Plan,
    ) -> Result<(), Stop> {
        let held = timed(&mut pass.report.timings_ms.commit, || self.port.exclusive());
        let port = held.map_err(|error| pass.stop(ErrorClass::Temporary, error.to_string()))?;
        let mut failed = None;
        let mut fresh = port.generation().is_some(); // on legacy the picture is older than the lock: take it again
        for tried in 0..TRIES {
            let timings = &mut pass.report.timings_ms;
            if !fresh {
                *observed = timed(&mut timings.verify, || observe(&*port, &expected))
                    .map_err(|error| pass.stop(ErrorClass::Temporary, format!("the kernel can't be read: {error}")))?;
                *todo = plan(&expected, observed);
                if todo.is_empty() {
                    break;
                }
            }
            fresh = false;
            if tried >= TRIES / 2 {
                todo.generation = None; // somebody writes all the time: what we delete, we name by its text
            }
            let timings = &mut pass.report.timings_ms;
            match timed(&mut timings.commit, || commit(&*port, todo)) {
                Ok(committed) => {
                    pass.report.notes.extend(committed.notes);
                    failed = None;
                    if expected.basis == Basis::Unproven {
                        expected = learn(expected, &*port);
                    }
                }
                Err(CommitError::Stale) => {}
                Err(error @ CommitError::Partial(_)) => {
                    failed = Some(error.to_string());
                    break;
                }
            }
        }
        drop(port);
        if !expected.spare_shared {
            self.expected = Some(expected);
        }
        match failed {
            None if todo.is_empty() => Ok(()),
            None => {
                let reason =
                    format!("somebody else changes the same rules again and again; gave up after {TRIES} tries");
                Err(pass.stop(ErrorClass::Temporary, reason))
            }
            Some(reason) => Err(pass.stop(ErrorClass::Temporary, reason)),
        }
    }

    /// Fills in what the pass came to.
    fn conclude(
        &mut self,
        pass: &mut Pass,
        plan: &Plan,
        wrote: bool,
        drifts: &[Drift],
        result: Result<(), Stop>,
        seen: Instant,
    ) -> Result<(), Stop> {
        let repaired = result.is_ok() && pass.intent == Intent::Write;
        let how = if repaired { "iptables-restore".to_owned() } else { pass.report.problems.join("; ") };
        let repair = Repair { repaired, how, took: seen.elapsed() };
        pass.report.incidents = self.incidents.record(drifts, &repair, SystemTime::now());
        result?;
        if pass.intent == Intent::Write {
            self.committed = true;
            pass.report.notes.extend(self.roster.accept());
        }
        let behind = self.roster.report().into_iter().filter_map(|policy| Some((policy.name, policy.reason?)));
        let behind: Vec<String> = behind.map(|(name, reason)| format!("policy {name}: {reason}")).collect();
        if !behind.is_empty() {
            pass.report.class = ErrorClass::Configuration;
        }
        pass.report.problems.extend(behind.into_iter().chain(plan.problems.iter().cloned()));
        pass.report.notes.extend(plan.notes.iter().cloned());
        let written = pass.intent == Intent::Write || !wrote;
        pass.report.in_sync = plan.problems.is_empty() && written;
        pass.report.outcome = if wrote { Outcome::Changed } else { Outcome::Unchanged };
        Ok(())
    }

    fn begin(&self, intent: Intent) -> Pass {
        let report = Report {
            backend: Some(self.detection.backend),
            backend_reason: self.detection.reason.clone(),
            notes: self.detection.leftovers.clone(),
            ..Report::default()
        };
        Pass { report, started: Instant::now(), intent }
    }

    fn end(&self, mut pass: Pass) -> Report {
        pass.report.basis = self.expected.as_ref().map(|expected| report::Basis::from(expected.basis));
        pass.report.policies = self.roster.report();
        if let Some(why) = &self.no_rehearsal {
            pass.report
                .notes
                .push(format!("no rehearsal is possible here ({why}); text is learned from the read-back"));
        }
        pass.report.timings_ms.total = milliseconds(pass.started.elapsed());
        pass.report
    }
}

/// What the kernel shows right after a commit is what it must show from now on, if it can be read at all.
fn learn(expected: Arc<Expected>, port: &dyn Port) -> Arc<Expected> {
    let Ok(observed) = observe(port, &expected) else { return expected };
    match Expected::clone(&expected).prove(Basis::Learned, &observed) {
        Ok(learned) => Arc::new(learned),
        Err(mismatch) => {
            tracing::warn!("what the commit came to could not be learned: {mismatch}");
            expected
        }
    }
}

/// What others changed in what had been committed before this pass.
fn drifts(in_force: Option<&Expected>, observed: &Observed) -> Vec<Drift> {
    in_force.map_or_else(Vec::new, |in_force| drift::name(&plan(in_force, observed), in_force, observed))
}

impl Checks for Pipeline {
    fn check(&mut self, intent: Intent, _reason: Reason) -> Report {
        let mut pass = self.begin(intent);
        let _ = self.pass(&mut pass); // why it stopped is in the report
        self.end(pass)
    }

    fn cleanup(&mut self) -> Report {
        let mut pass = self.begin(Intent::Write);
        let families: Families = self.detection.families;
        let nothing = Arc::new(Expected::nothing(self.roster.ownership(), families.iter().collect()));
        let cleaned = self.observe(&mut pass, &nothing).and_then(|mut observed| {
            let mut todo = self.plan(&mut pass, &nothing, &observed);
            pass.report.changes = drift::list(&todo, &observed).into_iter().map(Change::from).collect();
            pass.report.notes.extend(todo.notes.iter().cloned());
            if todo.is_empty() { Ok(()) } else { self.commit_and_verify(&mut pass, nothing, &mut observed, &mut todo) }
        });
        if cleaned.is_ok() {
            pass.report.in_sync = true;
            pass.report.outcome = if pass.report.changes.is_empty() { Outcome::Unchanged } else { Outcome::Changed };
        }
        self.end(pass)
    }
}

impl From<Basis> for report::Basis {
    fn from(basis: Basis) -> Self {
        match basis {
            Basis::Rehearsed => Self::Rehearsed,
            Basis::Learned => Self::Learned,
            Basis::Unproven => Self::Unproven,
        }
    }
}
