//! The straight path, from facts to report. [`Reconciler::pass`] shows it on one screen; everything else here serves it.
//!
//! Always true: what only a policy may own that has never answered is left as it is, and such a policy holds up no other;
//! nothing is written that was not rehearsed, where rehearsing is possible; every write is read back. Whatever fails ends in the report, and what was in
//! force stays in force. Between two passes [`Reconciler::handle_events`] undoes drift as it is heard of.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use ruleward_core::expected::Expected;
use ruleward_core::names::PolicyName;
use ruleward_core::observed::Observed;
use ruleward_core::schedule::Reason;

use crate::cached_report::CachedReport;
use crate::effect::{Effect, Effects, HandedOn};
use crate::facts::{FactsCache, FactsSource, Offered};
use crate::incidents::Incidents;
use crate::kernel::Kernel;
use crate::pass::{Before, Pass, Stop};
use crate::policies::{Roster, Whom};
use crate::runtime::Runtime;
use crate::settings::Settings;
use crate::target::Target;
use crate::traced::{self, Stage};
use ruleward_kernel::detect::Detection;
use ruleward_kernel::event_source::EventSource;
use ruleward_kernel::observe::{ObserveError, Scope};
use ruleward_kernel::port::Port;
use ruleward_report::{ErrorClass, Intent, Outcome, Report};

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
    /// What is to be in force.
    pub(crate) target: Target,
    /// What is known of the kernel.
    pub(crate) kernel: Kernel,
    pub(crate) cached: Option<CachedReport>,
    /// What the last check met before it came to the kernel.
    pub(crate) before_kernel: Before,
    pub(crate) handed_on: HandedOn,
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
            target: Target { replayed: true, ..Target::default() },
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

    /// The straight path: facts, evaluate, and then all else.
    pub(crate) fn pass(&mut self, pass: &mut Pass, reason: Reason) -> Result<(), Stop> {
        self.before_kernel.ended = true;
        self.read_facts(pass, reason);
        self.evaluate(pass, reason)?;
        self.bring_about(pass, reason)
    }

    /// With what the policies have answered: merge, rehearse, observe, plan, commit, observe again, report.
    pub(crate) fn bring_about(&mut self, pass: &mut Pass, reason: Reason) -> Result<(), Stop> {
        let proven = self.rehearse_merged(pass)?;
        self.before_kernel.ended = false;
        self.before_kernel.keep(pass);
        if self.is_all_as_it_was(pass, reason, &proven) {
            return self.conclude(pass, Ok(()));
        }
        let Some(mut found) = self.observe_all(pass, proven)? else {
            return self.bring_about(pass, Reason::Retry); // more is known now
        };
        self.name_drift(pass, &mut found);
        let written = self.commit(pass, &mut found);
        self.enforce(pass, found, written)
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
        self.target.by_bytes = true;
        true
    }

    /// Whether byte forms are to be learned.
    pub(crate) fn replay(&self) -> bool {
        self.settings.replay || self.target.by_bytes
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
