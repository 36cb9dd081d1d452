//! The straight path, from facts to report. [`Reconciler::pass`] shows it on one screen; everything else here serves it.
//!
//! Always true: what only a policy may own that has never answered is left as it is, and such a policy holds up no other;
//! nothing is written that was not rehearsed, where rehearsing is possible; every write is read back. Whatever fails ends in the report, and what was in
//! force stays in force. Between two passes [`handle_events`](crate::handle_events) undoes drift as it is heard of.

use std::collections::BTreeSet;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ruleward_core::check::Checked;
use ruleward_core::drift::{self, Drift};
use ruleward_core::expected::{Basis, Expected};
use ruleward_core::names::PolicyName;
use ruleward_core::observed::Observed;
use ruleward_core::plan::{Plan, plan};
use ruleward_core::schedule::Reason;

use crate::cached_report::CachedReport;
use crate::effect::{Effect, Effects, HandedOn};
use crate::facts::{FactsCache, FactsSource, Offered};
use crate::found::Found;
use crate::incidents::Incidents;
use crate::kernel::{Kernel, OnRevert};
use crate::noted::Noted;
use crate::policies::{Roster, Whom};
use crate::prove::Proven;
use crate::runtime::Runtime;
use crate::settings::Settings;
use crate::trace::Recorder;
use crate::traced::{self, Stage};
use ruleward_kernel::detect::Detection;
use ruleward_kernel::event_source::EventSource;
use ruleward_kernel::observe::{ObserveError, Scope, observe};
use ruleward_kernel::port::Port;
use ruleward_report::{Change, ErrorClass, Intent, Outcome, Report};

/// What the reconciler reaches the world through.
pub struct Surroundings {
    /// The packet filter.
    pub port: Arc<dyn Port>,
    /// What tells of changes of it.
    pub events: Box<dyn EventSource>,
    /// What tells the facts.
    pub facts: Box<dyn FactsSource>,
    /// A clock, and other threads.
    pub runtime: Arc<dyn Runtime>,
    /// What the rest of the program has to do goes there.
    pub effects: Effects,
}

/// The straight path with what it keeps between two passes.
pub struct Reconciler {
    pub(crate) settings: Arc<Settings>,
    pub(crate) detection: Detection,
    pub(crate) port: Arc<dyn Port>,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) source: Box<dyn FactsSource>,
    pub(crate) effects: Effects,
    pub(crate) roster: Roster,
    /// Whom the running pass asks.
    pub(crate) whom: Whom,
    /// What is configured was taken since the last check.
    pub(crate) fresh: bool,
    /// Traces are wanted.
    pub(crate) traced: bool,
    /// What was offered last.
    pub(crate) offered: Offered,
    pub(crate) incidents: Incidents,
    pub(crate) facts_cache: FactsCache,
    /// The contributions that `expected` was made of.
    pub(crate) merged: Vec<Arc<Checked>>,
    /// What is to be in force.
    pub(crate) expected: Option<Arc<Expected>>,
    /// Whether `expected` has been in force: only then is a difference drift.
    pub(crate) committed: bool,
    /// Whether byte forms were to be learned for it.
    pub(crate) replayed: bool,
    /// The live tables hold what iptables-save does not show: they are read by bytes, also with `replay = "off"`.
    pub(crate) by_bytes: bool,
    /// Something else that was rehearsed, and could not be put in force.
    pub(crate) prepared: Option<Proven>,
    /// Rules that can never match.
    pub(crate) unmatchable: Vec<String>,
    /// Why no rehearsal could be held, if so.
    pub(crate) no_rehearsal: Option<String>,
    /// Why rules are not compared byte for byte, if so.
    pub(crate) no_forms: Option<String>,
    pub(crate) kernel: Kernel,
    pub(crate) cached: Option<CachedReport>,
    /// What the last check met before it came to the kernel.
    pub(crate) before_kernel: Before,
    pub(crate) handed_on: HandedOn,
}

/// What a check met before it came to the kernel. A repair between two checks changes nothing of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Before {
    pub(crate) class: ErrorClass,
    pub(crate) problems: Vec<String>,
    /// It did not come to the kernel.
    pub(crate) ended: bool,
}

/// What is said while our rules wait to be moved back.
pub(crate) const MOVED: &str =
    "another program puts rules before ours; ours are moved back when it pauses, within a second or two";

/// Ends a pass early. The report says why.
pub(crate) struct Stop;

/// What is known of the outcome of a pass, besides the report.
pub(crate) struct Pass {
    pub(crate) report: Report,
    pub(crate) started: Instant,
    pub(crate) intent: Intent,
    /// When the last write took effect.
    pub(crate) committed_at: Option<Instant>,
    /// Writing was begun.
    pub(crate) committing: bool,
    /// Nothing had to be read: all is as it was when it was right.
    pub(crate) settled: bool,
    /// What becomes of a repair that is undone before it is read back.
    pub(crate) on_revert: OnRevert,
    /// The drift that was found.
    pub(crate) found: Found,
    /// What is done when, for a trace.
    pub(crate) recorder: Recorder,
    /// Why it runs, in a trace.
    pub(crate) cause: &'static str,
    pub(crate) runtime: Arc<dyn Runtime>,
}

impl Before {
    pub(crate) fn keep(&mut self, pass: &Pass) {
        (self.class, self.problems) = (pass.report.class, pass.report.problems.clone());
    }
}

impl Pass {
    pub(crate) fn stop(&mut self, class: ErrorClass, problem: impl Into<String>) -> Stop {
        let Report { outcome, .. } = Report::failure(class, "");
        self.report.outcome = outcome;
        self.report.in_sync = false; // an earlier part of the same check may have claimed it
        self.report.class = class;
        self.report.problems.push(problem.into());
        Stop
    }
}

impl Reconciler {
    /// With what was in force before; no configuration yet.
    pub fn new(
        settings: Arc<Settings>,
        detection: Detection,
        roster: Roster,
        incidents: Incidents,
        surroundings: Surroundings,
    ) -> Self {
        let Surroundings { port, events, facts, runtime, effects } = surroundings;
        let mut kernel = Kernel::new(events, Arc::clone(&runtime), settings.refresh_interval);
        kernel.settling.set_bounds(settings.repair_bounds);
        Self {
            settings,
            detection,
            port,
            runtime,
            source: facts,
            effects,
            roster,
            whom: Whom::All,
            fresh: false,
            traced: false,
            offered: Offered::default(),
            incidents,
            facts_cache: FactsCache::default(),
            merged: Vec::new(),
            expected: None,
            committed: false,
            replayed: true,
            by_bytes: false,
            prepared: None,
            unmatchable: Vec::new(),
            no_rehearsal: None,
            no_forms: None,
            kernel,
            cached: None,
            before_kernel: Before::default(),
            handed_on: HandedOn::default(),
        }
    }

    /// Traces are wanted from now on, or none.
    pub fn set_traced(&mut self, traced: bool) {
        self.traced = traced;
    }

    /// Policies that are only compared, by name.
    pub fn shadows(&self) -> impl Iterator<Item = &PolicyName> {
        self.offered.shadows.keys()
    }

    /// The straight path.
    pub(crate) fn pass(&mut self, pass: &mut Pass, reason: Reason) -> Result<(), Stop> {
        self.before_kernel.ended = true;
        self.read_facts(pass, reason);
        self.evaluate(pass, reason)?;
        self.bring_about(pass, reason)
    }

    /// The second half of the straight path, with what the policies have answered.
    pub(crate) fn bring_about(&mut self, pass: &mut Pass, reason: Reason) -> Result<(), Stop> {
        let proven = self.rehearse_merged(pass)?;
        self.before_kernel.ended = false;
        self.before_kernel.keep(pass);
        if pass.intent == Intent::Write && self.is_settled(reason, &proven.expected) {
            self.kernel.skipped += 1;
            pass.settled = true;
            return self.conclude(pass, Ok(()));
        }
        self.read_sets(pass, &proven.expected)?;
        // What was repaired meanwhile may have taught more of the same.
        let Proven { merged, mut expected, .. } = self.known(&proven.merged).unwrap_or(proven);
        let in_force = self.in_force();
        let listening = self.runtime.now();
        self.poll_events();
        if pass.intent == Intent::Write {
            self.let_writers_finish();
        }
        pass.done(traced::LISTEN, listening);
        self.kernel.unsettled.clear();
        let mut heard = std::mem::take(&mut self.kernel.pending);
        heard.extend(self.kernel.sync.take_pending(&BTreeSet::new()));
        let Some(mut observed) = self.observe(pass, &mut expected)? else {
            return self.bring_about(pass, Reason::Retry);
        };
        let released = expected.no_longer_asked(self.roster.policies_in_force());
        if !released.is_empty() {
            Arc::make_mut(&mut expected).released = released;
        }
        let mut plan = pass.timed(Stage::Plan, || plan(&expected, &observed));
        if pass.intent == Intent::Write {
            if self.refuse_blocked(&plan) {
                return self.bring_about(pass, Reason::Retry);
            }
            if self.fill(pass, &mut plan, &mut heard)? {
                self.read_sets(pass, &expected)?;
                self.poll_events();
                heard.extend(std::mem::take(&mut self.kernel.pending));
                let Some(again) = self.observe(pass, &mut expected)? else {
                    return self.bring_about(pass, Reason::Retry);
                };
                observed = again;
                plan = ruleward_core::plan::plan(&expected, &observed);
            }
        }
        pass.found.drifts = match &in_force {
            Some(before) if Arc::ptr_eq(before, &expected) => self.kernel.awaited.drifts(before, &observed, &plan),
            before => self.drifts(before.as_deref(), &observed),
        };
        let turns = in_force.as_deref().map(|before| self.kernel.awaited.turns(before, &observed)).unwrap_or_default();
        let mut noted = self.kernel.seen.look(&expected, &observed, &plan, &Scope::All, self.runtime.now());
        if in_force.is_none() {
            noted = Noted::default(); // nothing was ours to lose
        }
        pass.found.measure = in_force;
        self.attribute(&mut heard, &pass.found.drifts);
        self.attribute(&mut heard, &noted.drifts());
        pass.report.changes = drift::list(&plan, &observed).into_iter().map(Change::from).collect();
        let seen = self.runtime.now();
        let mut result = Ok("already in sync, nothing written");
        if !plan.is_empty() && pass.intent == Intent::Write {
            self.note_repairs(&pass.found.drifts, &heard);
            self.kernel.sync.end_contention();
            self.progress("writing");
            let scope = Scope::All;
            result = self.kernel.write(&*self.port, pass, &mut expected, &mut observed, &mut plan, &scope);
        }
        self.kernel.filled.clear();
        let concluding = self.runtime.now();
        if !expected.released.is_empty() {
            Arc::make_mut(&mut expected).released.clear();
        }
        self.kernel.await_foreign(&expected, &observed);
        self.enforce(merged, expected, result.is_ok());
        self.settle(pass, &observed, &plan, result.is_ok());
        self.record(pass, &heard, &result, seen);
        self.record_noted(pass, &noted, &heard);
        if result.is_ok() && pass.intent == Intent::Write {
            self.tell_turns(pass, &turns);
        }
        let mut concluded = self.conclude(pass, result.map(drop));
        pass.report.in_sync &= !observed.partial; // what was not compared is not claimed
        if concluded.is_ok() && pass.intent == Intent::Write && self.kernel.sets_are_unread() {
            // Large sets that were just put in their places are read back when the rules are in force.
            concluded = self.expected.clone().map_or(Ok(()), |expected| self.swap_large(pass, expected));
            pass.report.in_sync = concluded.is_ok() && self.is_in_sync();
        }
        pass.done(traced::REPORT, concluding);
        concluded
    }

    /// What must be shown if nothing else is wanted from now on: the measure of drift.
    pub(crate) fn in_force(&self) -> Option<Arc<Expected>> {
        self.expected.clone().filter(|_| self.committed)
    }

    /// What others changed in what had been committed before this pass.
    pub(crate) fn drifts(&self, in_force: Option<&Expected>, observed: &Observed) -> Vec<Drift> {
        let drifts = |before| self.kernel.awaited.drifts(before, observed, &plan(before, observed));
        in_force.map_or_else(Vec::new, drifts)
    }

    /// `None`: now that more is known, the pass has to begin anew.
    pub(crate) fn observe(&mut self, pass: &mut Pass, expected: &mut Arc<Expected>) -> Result<Option<Observed>, Stop> {
        self.progress("reading the kernel");
        let by = Kernel::by(expected);
        let look = pass.timed(Stage::Observe, || self.kernel.look(&*self.port, expected, &Scope::All, by, false));
        match look {
            Ok(observed) => Ok(Some(observed)),
            Err(error) if self.hidden(&error, expected) => Ok(None),
            Err(error) => {
                Err(pass.stop(ErrorClass::Temporary, format!("the kernel can't be read: {error}; nothing is written")))
            }
        }
    }

    /// Text does not show all that is there: from now on bytes do, and where they can't, the table is left out. Whether
    /// that is news.
    pub(crate) fn hidden(&mut self, error: &ObserveError, expected: &Expected) -> bool {
        if !error.is_hidden() || expected.forms.is_some() {
            return false;
        }
        if self.replay() {
            return !std::mem::replace(&mut self.kernel.leave_out_hidden, true);
        }
        tracing::info!("rules are read and written by bytes, though replay is off: {error}");
        self.by_bytes = true;
        true
    }

    /// Whether byte forms are to be learned.
    pub(crate) fn replay(&self) -> bool {
        self.settings.replay || self.by_bytes
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

/// What the kernel shows right after a commit is what it must show from now on, if it can be read at all.
pub(crate) fn learn(expected: Arc<Expected>, port: &dyn Port) -> Arc<Expected> {
    let Ok(observed) = observe(port, &expected) else { return expected };
    match Expected::clone(&expected).prove(Basis::Learned, &observed) {
        Ok(learned) => Arc::new(learned),
        Err(mismatch) => {
            tracing::warn!("the rules that were read back after the commit do not match it: {mismatch}");
            expected
        }
    }
}

impl Reconciler {
    /// One pass from facts to report. The very same report as the last time: nothing has happened since.
    pub fn check(&mut self, intent: Intent, reason: Reason) -> Arc<Report> {
        if intent == Intent::Write && self.roster.notice_lost(self.runtime.wall_clock()) {
            self.cached = None;
            self.effect(Effect::LookAgain); // others have lost what they keep, too
            self.remember(&self.roster.all_in_force());
        }
        let offered = std::mem::take(&mut self.fresh);
        if !offered
            && intent == Intent::Write
            && let Some(report) = self.cached_report(reason)
        {
            return report;
        }
        self.cached = None;
        let mut pass = self.begin(intent);
        pass.cause = traced::cause(reason);
        if !offered && self.is_fighting(reason) {
            pass.report.outcome = Outcome::Unchanged;
            return Arc::new(self.end(pass));
        }
        // What is offered is for the straight path alone.
        if !offered && let Some(report) = self.handle_events_first(reason) {
            return Arc::new(report);
        }
        let mut done = self.pass(&mut pass, reason);
        if done.is_err() && pass.committing {
            done = self.pass_apart(&mut pass);
        }
        if done.is_err() {
            self.kernel.sync.fail(self.runtime.now()); // why it stopped is in the report
            self.before_kernel.keep(&pass);
        }
        self.show_watch();
        self.show_fights();
        self.hand_on(intent);
        if pass.report.timings_ms.rehearse > 0.0 {
            self.runtime.give_back_memory();
        }
        let settled = pass.settled;
        let report = Arc::new(self.end(pass));
        self.cached = self.report_to_cache(&report).filter(|_| settled);
        report
    }

    /// Looks at what was heard since the last time, and undoes drift. No report: there was nothing to do.
    pub fn handle_events(&mut self) -> Option<Report> {
        self.handle_events_now()
    }

    /// One of them is readable when [`Reconciler::handle_events`] should be called.
    pub fn signals(&self) -> Vec<BorrowedFd<'_>> {
        self.kernel.signals()
    }

    /// After this time [`Reconciler::handle_events`] should be called without a sign.
    pub fn rest(&self) -> Option<Duration> {
        self.rest_now()
    }

    /// Removes all that is ours by the configuration's grants, or by those of what was in force before.
    pub fn cleanup(&mut self) -> Report {
        self.fresh = false;
        self.clean_all()
    }
}
