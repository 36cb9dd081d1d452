//! The straight path, from facts to report. [`Pipeline::pass`] shows it on one screen; everything else here serves it.
//!
//! Always true: what only a policy may own that has never answered is left as it is, and such a policy holds up no other;
//! nothing is written that was not rehearsed, where rehearsing is possible; every write is read back. Whatever fails ends in the report, and what was in
//! force stays in force. Between two passes [`attend`] undoes drift as it is heard of.

mod aside;
mod attend;
mod beside;
mod calm;
mod clean;
mod fill;
mod found;
mod give_way;
mod hold;
mod intake;
mod keeper;
mod noted;
mod outcome;
mod prove;
mod set_watch;
mod show;
mod traced;

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ruleward_core::check::Checked;
use ruleward_core::drift::{self, Drift};
use ruleward_core::expected::{Basis, Expected};
use ruleward_core::observed::Observed;
use ruleward_core::plan::{Plan, plan};
use ruleward_core::schedule::Reason;

use crate::board::Board;
use crate::config::Config;
use crate::incidents::Incidents;
use crate::memory;
use crate::reload::{Intake, Told};
use crate::roster::{Roster, Whom};
use crate::traces::Recorder;
use ruleward_kernel::detect::Detection;
use ruleward_kernel::observe::{ObserveError, Scope, observe};
use ruleward_kernel::port::Port;
use ruleward_kernel::watch::Watch;
use ruleward_report::{Change, Checks, ErrorClass, Intent, Outcome, Report};

pub use aside::Aside;
use calm::Calm;
use found::Found;
use intake::{Offered, Survey};
use keeper::{Keeper, Undone};
use noted::Noted;
use prove::Proven;
use traced::Stage;

/// The straight path with what it keeps between two passes.
pub struct Pipeline {
    config: Arc<Config>,
    detection: Detection,
    port: Arc<dyn Port>,
    roster: Roster,
    /// Whom the running pass asks.
    whom: Whom,
    intake: Intake,
    /// What was offered last.
    offered: Offered,
    incidents: Incidents,
    survey: Survey,
    /// The contributions that `expected` was made of.
    merged: Vec<Arc<Checked>>,
    /// What is to be in force.
    expected: Option<Arc<Expected>>,
    /// Whether `expected` has been in force: only then is a difference drift.
    committed: bool,
    /// Whether byte forms were to be learned for it.
    replayed: bool,
    /// The live tables hold what iptables-save does not show: they are read by bytes, also with `replay = "off"`.
    by_bytes: bool,
    /// Something else that was rehearsed, and could not be put in force.
    prepared: Option<Proven>,
    /// Rules that can never match.
    unmatchable: Vec<String>,
    /// Why no rehearsal could be held, if so.
    no_rehearsal: Option<String>,
    /// Why rules are not compared byte for byte, if so.
    no_forms: Option<String>,
    keeper: Keeper,
    calm: Option<Calm>,
    /// What the last check met before it came to the kernel.
    before_kernel: Before,
    board: Board,
    aside: Aside,
}

/// What a check met before it came to the kernel. A repair between two checks changes nothing of it.
#[derive(Debug, Clone, Default)]
struct Before {
    class: ErrorClass,
    problems: Vec<String>,
    /// It did not come to the kernel.
    ended: bool,
}

/// What is said while our rules wait to be moved back.
const MOVED: &str =
    "another program puts rules before ours; ours are moved back when it pauses, within a second or two";

/// Ends a pass early. The report says why.
struct Stop;

/// What is known of the outcome of a pass, besides the report.
struct Pass {
    report: Report,
    started: Instant,
    intent: Intent,
    /// When the last write took effect.
    committed_at: Option<Instant>,
    /// Writing was begun.
    committing: bool,
    /// Nothing had to be read: all is as it was when it was right.
    settled: bool,
    /// What becomes of a repair that is undone before it is read back.
    undone: Undone,
    /// The drift that was found.
    found: Found,
    /// What is done when, for a trace.
    recorder: Recorder,
    /// Why it runs, in a trace.
    cause: &'static str,
}

impl Before {
    fn keep(&mut self, pass: &Pass) {
        (self.class, self.problems) = (pass.report.class, pass.report.problems.clone());
    }
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

impl Pipeline {
    /// Joins the edges.
    pub fn new(
        config: Arc<Config>,
        detection: Detection,
        port: Arc<dyn Port>,
        (roster, intake): (Roster, Intake),
        incidents: Incidents,
        watch: Watch,
        (board, aside): (Board, Aside),
    ) -> Self {
        let mut keeper = Keeper::new(watch, config.refresh_interval);
        keeper.settling.set_bounds(config.repair_bounds());
        Self {
            config,
            detection,
            port,
            roster,
            whom: Whom::All,
            intake,
            offered: Offered::default(),
            incidents,
            survey: Survey::default(),
            merged: Vec::new(),
            expected: None,
            committed: false,
            replayed: true,
            by_bytes: false,
            prepared: None,
            unmatchable: Vec::new(),
            no_rehearsal: None,
            no_forms: None,
            keeper,
            calm: None,
            before_kernel: Before::default(),
            board,
            aside,
        }
    }

    /// The straight path.
    fn pass(&mut self, pass: &mut Pass, reason: Reason) -> Result<(), Stop> {
        self.before_kernel.ended = true;
        self.read_facts(pass, reason);
        self.evaluate(pass, reason)?;
        self.bring_about(pass, reason)
    }

    /// The second half of the straight path, with what the policies have answered.
    fn bring_about(&mut self, pass: &mut Pass, reason: Reason) -> Result<(), Stop> {
        let proven = self.rehearse_merged(pass)?;
        self.before_kernel.ended = false;
        self.before_kernel.keep(pass);
        if pass.intent == Intent::Write && self.is_settled(reason, &proven.expected) {
            self.keeper.skipped += 1;
            pass.settled = true;
            return self.conclude(pass, Ok(()));
        }
        self.read_sets(pass, &proven.expected)?;
        // What was repaired meanwhile may have taught more of the same.
        let Proven { merged, mut expected, .. } = self.known(&proven.merged).unwrap_or(proven);
        let in_force = self.in_force();
        let listening = Instant::now();
        self.listen();
        if pass.intent == Intent::Write {
            self.let_writers_finish();
        }
        pass.recorder.done(traced::LISTEN, listening);
        self.keeper.unsettled.clear();
        let mut heard = std::mem::take(&mut self.keeper.heard);
        heard.extend(self.keeper.waiting.clone());
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
                self.listen();
                heard.extend(std::mem::take(&mut self.keeper.heard));
                let Some(again) = self.observe(pass, &mut expected)? else {
                    return self.bring_about(pass, Reason::Retry);
                };
                observed = again;
                plan = ruleward_core::plan::plan(&expected, &observed);
            }
        }
        pass.found.drifts = match &in_force {
            Some(before) if Arc::ptr_eq(before, &expected) => self.keeper.awaited.drifts(before, &observed, &plan),
            before => self.drifts(before.as_deref(), &observed),
        };
        let turns = in_force.as_deref().map(|before| self.keeper.awaited.turns(before, &observed)).unwrap_or_default();
        let mut noted = self.keeper.seen.look(&expected, &observed, &plan, &Scope::All);
        if in_force.is_none() {
            noted = Noted::default(); // nothing was ours to lose
        }
        pass.found.measure = in_force;
        self.ask_who(&mut heard, &pass.found.drifts);
        self.ask_who(&mut heard, &noted.drifts());
        pass.report.changes = drift::list(&plan, &observed).into_iter().map(Change::from).collect();
        let seen = Instant::now();
        let mut result = Ok("nothing: it was right again by then");
        if !plan.is_empty() && pass.intent == Intent::Write {
            self.note_repairs(&pass.found.drifts, &heard);
            self.keeper.held.clear();
            self.board.step("writing");
            let scope = Scope::All;
            result = self.keeper.write(&*self.port, pass, &mut expected, &mut observed, &mut plan, &scope);
        }
        self.keeper.filled.clear();
        let concluding = Instant::now();
        if !expected.released.is_empty() {
            Arc::make_mut(&mut expected).released.clear();
        }
        self.keeper.await_foreign(&expected, &observed);
        self.enforce(merged, expected, result.is_ok());
        self.settle(pass, &observed, &plan, result.is_ok());
        self.record(pass, &heard, &result, seen);
        self.record_noted(pass, &noted, &heard);
        if result.is_ok() && pass.intent == Intent::Write {
            self.tell_turns(pass, &turns);
        }
        let mut concluded = self.conclude(pass, result.map(drop));
        if concluded.is_ok() && pass.intent == Intent::Write && self.keeper.sets_are_unread() {
            // Large sets that were just put in their places are read back when the rules are in force.
            concluded = self.expected.clone().map_or(Ok(()), |expected| self.swap_large(pass, expected));
            pass.report.in_sync = concluded.is_ok() && self.is_in_sync();
        }
        pass.recorder.done(traced::REPORT, concluding);
        concluded
    }

    /// What must be shown if nothing else is wanted from now on: the measure of drift.
    fn in_force(&self) -> Option<Arc<Expected>> {
        self.expected.clone().filter(|_| self.committed)
    }

    /// What others changed in what had been committed before this pass.
    fn drifts(&self, in_force: Option<&Expected>, observed: &Observed) -> Vec<Drift> {
        let drifts = |before| self.keeper.awaited.drifts(before, observed, &plan(before, observed));
        in_force.map_or_else(Vec::new, drifts)
    }

    /// `None`: now that more is known, the pass has to begin anew.
    fn observe(&mut self, pass: &mut Pass, expected: &mut Arc<Expected>) -> Result<Option<Observed>, Stop> {
        self.board.step("reading the kernel");
        let by = Keeper::by(expected);
        let look = pass.timed(Stage::Observe, || self.keeper.look(&*self.port, expected, &Scope::All, by, false));
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
    fn hidden(&mut self, error: &ObserveError, expected: &Expected) -> bool {
        if !error.is_hidden() || expected.forms.is_some() {
            return false;
        }
        if self.replay() {
            return !std::mem::replace(&mut self.keeper.leave_out_hidden, true);
        }
        tracing::info!("rules are read and written by bytes, though replay is off: {error}");
        self.by_bytes = true;
        true
    }

    /// Whether byte forms are to be learned.
    fn replay(&self) -> bool {
        self.config.replay || self.by_bytes
    }

    /// What only the live kernel can refuse: a set that can't have the type that a policy's new version gives it. The
    /// version is refused then, as a whole, and its last good one stays. Whether there was one.
    fn refuse_blocked(&mut self, plan: &Plan) -> bool {
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

impl Checks for Pipeline {
    fn check(&mut self, intent: Intent, reason: Reason) -> Arc<Report> {
        if intent == Intent::Write && self.roster.notice_lost() {
            self.calm = None;
            self.intake.tell(Told::LookAgain); // others have lost what they keep, too
            self.remember(&self.roster.all_in_force());
        }
        let offered = self.take_offers();
        if !offered
            && intent == Intent::Write
            && let Some(report) = self.still_calm(reason)
        {
            return report;
        }
        self.calm = None;
        let mut pass = self.begin(intent);
        pass.cause = traced::cause(reason);
        if !offered && self.is_fighting(reason) {
            pass.report.outcome = Outcome::Unchanged;
            return Arc::new(self.end(pass));
        }
        // What is offered is for the straight path alone.
        if !offered && let Some(report) = self.attend_first(reason) {
            return Arc::new(report);
        }
        let mut done = self.pass(&mut pass, reason);
        if done.is_err() && pass.committing {
            done = self.pass_apart(&mut pass);
        }
        if done.is_err() {
            (self.keeper.verified, self.keeper.right) = (None, false); // why it stopped is in the report
            self.before_kernel.keep(&pass);
        }
        self.show_watch();
        self.show_fights();
        self.look_aside(intent);
        if pass.report.timings_ms.rehearse > 0.0 {
            memory::give_back();
        }
        let settled = pass.settled;
        let report = Arc::new(self.end(pass));
        self.calm = self.calm_after(&report).filter(|_| settled);
        report
    }

    fn attend(&mut self) -> Option<Report> {
        self.attend_now()
    }

    fn signals(&self) -> Vec<BorrowedFd<'_>> {
        self.keeper.signals()
    }

    fn rest(&self) -> Option<Duration> {
        self.rest_now()
    }

    fn cleanup(&mut self) -> Report {
        self.take_offers();
        self.clean_all()
    }
}
