//! The straight path, from facts to report. [`Pipeline::pass`] shows it on one screen; everything else here serves it.
//!
//! Always true: nothing is written before every enabled policy has answered once; nothing is written that was not
//! rehearsed, where rehearsing is possible; every write is read back. Whatever fails ends in the report, and what was in
//! force stays in force. Between two passes [`attend`] undoes drift as it is heard of.

mod attend;
mod keeper;
mod show;

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ruleward_core::check::Checked;
use ruleward_core::contribution::Families;
use ruleward_core::drift::{self, Drift};
use ruleward_core::expected::{Basis, Expected};
use ruleward_core::facts::Facts;
use ruleward_core::fight::Place;
use ruleward_core::merge::{Desired, merge};
use ruleward_core::names::PolicyName;
use ruleward_core::observed::Observed;
use ruleward_core::plan::{Plan, plan};
use ruleward_core::schedule::Reason;

use crate::config::Config;
use crate::facts;
use crate::incidents::{Cause, Incidents, Repair};
use crate::kernel::activity::{Activity, Touch};
use crate::kernel::detect::Detection;
use crate::kernel::observe::{Scope, observe};
use crate::kernel::port::Port;
use crate::kernel::rehearse::{Learn, RehearseError, rehearse};
use crate::kernel::watch::Watch;
use crate::report::board::Board;
use crate::report::{self, Change, Checks, ErrorClass, Intent, Outcome, Report, milliseconds};
use crate::roster::Roster;

use attend::touch;
use keeper::Keeper;

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
    /// Why rules are not compared byte for byte, if so.
    no_forms: Option<String>,
    keeper: Keeper,
    board: Board,
}

/// What is said while a repair waits.
const FIGHTING: &str = "somebody keeps undoing repairs, which are made at growing pauses; `ruleward status` names who";

/// Ends a pass early. The report says why.
struct Stop;

/// What is known of the outcome of a pass, besides the report.
struct Pass {
    report: Report,
    started: Instant,
    intent: Intent,
    /// When the last write took effect.
    committed_at: Option<Instant>,
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

impl Pipeline {
    /// Joins the edges.
    pub fn new(
        config: Config,
        detection: Detection,
        port: Box<dyn Port + Send>,
        roster: Roster,
        incidents: Incidents,
        watch: Watch,
        board: Board,
    ) -> Self {
        let keeper = Keeper::new(watch, config.refresh_interval);
        Self {
            config,
            detection,
            port,
            roster,
            incidents,
            facts: None,
            merged: Vec::new(),
            expected: None,
            committed: false,
            no_rehearsal: None,
            no_forms: None,
            keeper,
            board,
        }
    }

    /// The straight path.
    fn pass(&mut self, pass: &mut Pass, reason: Reason) -> Result<(), Stop> {
        self.read_facts(pass);
        self.evaluate(pass)?;
        let in_force = self.in_force();
        let mut expected = self.rehearse_merged(pass)?;
        if pass.intent == Intent::Write && self.is_settled(reason, &expected) {
            self.keeper.skipped += 1;
            return self.conclude(pass, Ok(()));
        }
        self.listen();
        let mut heard = std::mem::take(&mut self.keeper.heard);
        heard.extend(self.keeper.waiting.clone());
        let mut observed = self.observe(pass, &mut expected)?;
        let mut plan = timed(&mut pass.report.timings_ms.plan, || plan(&expected, &observed));
        let drifts = drifts(in_force.as_deref(), &observed);
        pass.report.changes = drift::list(&plan, &observed).into_iter().map(Change::from).collect();
        let seen = Instant::now();
        let mut result = Ok("nothing: it was right again by then");
        if !plan.is_empty() && pass.intent == Intent::Write {
            self.note_repairs(&drifts, &heard);
            self.keeper.held.clear();
            let scope = Scope::All;
            result = self.keeper.write(&*self.port, pass, &mut expected, &mut observed, &mut plan, &scope);
        }
        self.expected = Some(expected);
        self.settle(pass, &observed, &plan, result.is_ok());
        self.record(pass, &drifts, &heard, &result, seen);
        self.conclude(pass, result.map(drop))
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
            if let Some(expected) = self.expected.as_ref().filter(|_| are_same(&self.merged, &contributions)) {
                return Ok(Arc::clone(expected));
            }
            let desired = self.merge(&contributions);
            let known = self.expected.as_ref().and_then(|expected| expected.forms.clone());
            let learn = if self.config.replay { Learn::Forms(known.as_deref()) } else { Learn::Nothing };
            let error = match timed(&mut pass.report.timings_ms.rehearse, || rehearse(&*self.port, desired, learn)) {
                Ok(rehearsed) => {
                    if rehearsed.impossible != self.no_rehearsal {
                        if let Some(why) = &rehearsed.impossible {
                            tracing::warn!(
                                "no rehearsal is possible ({why}); what the kernel shows is learned after the commit"
                            );
                        }
                        self.no_rehearsal = rehearsed.impossible;
                    }
                    if let Some(why) = rehearsed.no_forms.as_ref().filter(|why| self.no_forms.as_ref() != Some(why)) {
                        tracing::info!("rules are compared by their text: {why}");
                    }
                    self.no_forms = rehearsed.no_forms;
                    let expected = Arc::new(rehearsed.expected);
                    (self.merged, self.expected) = (contributions, Some(Arc::clone(&expected)));
                    self.committed = false;
                    self.keeper.watch.forget_chains();
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
            let refused = rehearse(&*self.port, desired, Learn::Nothing)
                .err()
                .filter(|error| matches!(error, RehearseError::Refused { .. }))?;
            Some((name.clone(), refused.to_string()))
        };
        candidates.iter().find_map(alone)
    }

    fn observe(&mut self, pass: &mut Pass, expected: &mut Arc<Expected>) -> Result<Observed, Stop> {
        let by = Keeper::by(expected);
        let look = timed(&mut pass.report.timings_ms.observe, || {
            self.keeper.look(&*self.port, expected, &Scope::All, by, false)
        });
        look.map_err(|error| {
            pass.stop(ErrorClass::Temporary, format!("the kernel can't be read: {error}; nothing is written"))
        })
    }

    /// Repairs by a check count in a fight as well; they do not wait.
    fn note_repairs(&mut self, drifts: &[Drift], heard: &Activity) {
        let now = self.keeper.started.elapsed();
        let seen: Vec<_> = drifts.iter().map(|drift| (Place::from(drift), touch(heard, drift).author)).collect();
        let _ = self.keeper.fights.seen(now, &seen);
    }

    /// Everything was read: what is known from now on without reading.
    fn settle(&mut self, pass: &Pass, observed: &Observed, plan: &Plan, done: bool) {
        let written = done && plan.is_empty() && !observed.partial;
        self.keeper.problems.clone_from(&plan.problems);
        self.keeper.notes.clone_from(&plan.notes);
        self.keeper.right = written && plan.problems.is_empty() && self.keeper.steady;
        self.keeper.verified = observed.generation.filter(|_| self.keeper.right);
        if written {
            self.keeper.held.clear();
            self.keeper.waiting = Activity::default();
            self.keeper.due = None;
            self.keeper.skipped = 0;
            self.keeper.contacted |= pass.intent == Intent::Write;
        }
    }

    /// Makes incidents of what others did.
    fn record(
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
            let Touch { author, events, since } = touch(heard, drift);
            // What was heard before the pass began has waited.
            let waited = since.map(|since| pass.started.saturating_duration_since(since)).unwrap_or_default();
            Cause { author, events, waited }
        };
        pass.report.incidents = self.incidents.record(drifts, cause, &repair, SystemTime::now());
    }

    /// Fills in what the pass came to.
    fn conclude(&mut self, pass: &mut Pass, result: Result<(), Stop>) -> Result<(), Stop> {
        let wrote = !pass.report.changes.is_empty();
        result?;
        if pass.intent == Intent::Write {
            self.committed = true;
            pass.report.notes.extend(self.roster.accept());
        }
        self.add_standing(pass);
        let written = pass.intent == Intent::Write || !wrote;
        pass.report.in_sync = self.keeper.problems.is_empty() && written;
        pass.report.outcome = if wrote { Outcome::Changed } else { Outcome::Unchanged };
        Ok(())
    }

    /// What does not change from one look to the next: policies that lag behind, and what no write of ours can change.
    fn add_standing(&self, pass: &mut Pass) {
        let behind = self.roster.report().into_iter().filter_map(|policy| Some((policy.name, policy.reason?)));
        let behind: Vec<String> = behind.map(|(name, reason)| format!("policy {name}: {reason}")).collect();
        if !behind.is_empty() {
            pass.report.class = ErrorClass::Configuration;
        }
        pass.report.problems.extend(behind.into_iter().chain(self.keeper.problems.iter().cloned()));
        pass.report.notes.extend(self.keeper.notes.iter().cloned());
    }

    fn begin(&self, intent: Intent) -> Pass {
        let report = Report {
            backend: Some(self.detection.backend),
            backend_reason: self.detection.reason.clone(),
            notes: self.detection.leftovers.clone(),
            ..Report::default()
        };
        Pass { report, started: Instant::now(), intent, committed_at: None }
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

/// Most often they are the very same, and need not be walked through.
fn are_same(some: &[Arc<Checked>], others: &[Arc<Checked>]) -> bool {
    let same = |(one, other): (&Arc<Checked>, &Arc<Checked>)| Arc::ptr_eq(one, other) || one == other;
    some.len() == others.len() && some.iter().zip(others).all(same)
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
    fn check(&mut self, intent: Intent, reason: Reason) -> Report {
        let mut pass = self.begin(intent);
        if self.is_fighting(reason) {
            pass.report.outcome = Outcome::Unchanged;
            pass.report.problems.push(FIGHTING.to_owned());
            return self.end(pass);
        }
        if let Some(report) = self.attend_first(reason) {
            return report;
        }
        if self.pass(&mut pass, reason).is_err() {
            (self.keeper.verified, self.keeper.right) = (None, false); // why it stopped is in the report
        }
        self.show_watch();
        self.show_fights();
        self.end(pass)
    }

    fn attend(&mut self) -> Option<Report> {
        self.attend_now()
    }

    fn signal(&self) -> Option<BorrowedFd<'_>> {
        self.keeper.watch.fd()
    }

    fn rest(&self) -> Option<Duration> {
        self.rest_now()
    }

    fn cleanup(&mut self) -> Report {
        let mut pass = self.begin(Intent::Write);
        let families: Families = self.detection.families;
        let nothing = Arc::new(Expected::nothing(self.roster.ownership(), families.iter().collect()));
        let cleaned = self.clean(&mut pass, nothing);
        if cleaned.is_ok() {
            pass.report.in_sync = true;
            pass.report.outcome = if pass.report.changes.is_empty() { Outcome::Unchanged } else { Outcome::Changed };
        }
        self.end(pass)
    }
}

impl Pipeline {
    fn clean(&mut self, pass: &mut Pass, mut nothing: Arc<Expected>) -> Result<(), Stop> {
        let mut observed = self.observe(pass, &mut nothing)?;
        let mut todo = timed(&mut pass.report.timings_ms.plan, || plan(&nothing, &observed));
        pass.report.changes = drift::list(&todo, &observed).into_iter().map(Change::from).collect();
        pass.report.notes.extend(todo.notes.iter().cloned());
        if !todo.is_empty() {
            self.keeper.write(&*self.port, pass, &mut nothing, &mut observed, &mut todo, &Scope::All)?;
        }
        Ok(())
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
