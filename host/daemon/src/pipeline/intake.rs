//! What a check begins with: the configuration that counts now, facts, and the answers of the policies.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ruleward_core::facts::Facts;
use ruleward_core::names::PolicyName;
use ruleward_core::schedule::Reason;

use super::traced::Stage;
use super::{Pass, Pipeline, Stop};
use crate::logs;
use crate::metrics::WaitFor;
use crate::reload::Told;
use crate::roster::{Behind, Offer, ShadowWish};
use ruleward_facts::FactsError;
use ruleward_kernel::nft_tables::nft_tables;
use ruleward_report::{ErrorClass, Outcome, PinReport};

/// How long the first check waits for components that are being loaded once there is something to put or keep in force.
/// From a warm cache it takes milliseconds.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often who waits looks whether to stop.
const LOOK: Duration = Duration::from_millis(100);

/// What was offered last, as far as reports say it.
#[derive(Debug, Default)]
pub(super) struct Offered {
    pub any: bool,
    /// Everything that the configuration asked for when this process began has been loaded, or refused.
    pub complete: bool,
    pub refusal: Option<String>,
    pub notes: Vec<String>,
    pub shadows: BTreeMap<PolicyName, ShadowWish>,
    pub pinned: BTreeMap<PolicyName, PinReport>,
}

/// Facts, and when they were read.
#[derive(Debug, Default)]
pub(super) struct Survey {
    pub facts: Option<Arc<Facts>>,
    reader: ruleward_facts::Reader,
    notes: Vec<String>,
    /// What was heard of changes before they were read; none if that is not known.
    pub heard: Option<u64>,
}

impl Pipeline {
    /// Takes what the configuration asks for now; whether that is anything new. The first check waits for it.
    pub(super) fn take_offers(&mut self) -> bool {
        let newest = self.intake.newest();
        let mut news = newest.is_some();
        if let Some(offer) = newest {
            self.take(&offer);
        }
        let began = Instant::now();
        let mut waited = false;
        while !self.offered.complete && !self.board.stopping() {
            let holds = self.offered.any && self.roster.can_begin();
            if self.survey.facts.is_some() || (holds && began.elapsed() > PATIENCE) {
                break;
            }
            match self.intake.wait(LOOK) {
                Ok(Some(offer)) => {
                    self.take(&offer);
                    news = true;
                }
                Ok(None) => {
                    waited = true;
                    self.board.waiting(WaitFor::Policies, Some("for policies to be loaded".to_owned()));
                }
                Err(_) => break,
            }
        }
        if waited {
            self.board.waiting(WaitFor::Policies, None);
        }
        news
    }

    fn take(&mut self, offer: &Offer) {
        if offer.config.documents != self.config.documents || offer.config.node_name != self.config.node_name {
            self.survey.heard = None;
        }
        self.count(offer);
        self.keeper.fights.limit(offer.config.refresh_interval);
        self.keeper.settling.set_bounds(offer.config.repair_bounds());
        self.config = Arc::clone(&offer.config);
        self.roster.take(offer);
        self.offered.any = true;
        self.offered.complete |= offer.complete;
        self.offered.refusal.clone_from(&offer.refusal);
        self.offered.notes.clone_from(&offer.notes);
        self.offered.shadows.clone_from(&offer.shadows);
        self.offered.pinned.clone_from(&offer.pinned);
        logs::configure(self.config.log, self.config.log_format);
        self.aside.traces().configure(self.config.traces.as_ref(), self.config.node_name.as_deref());
        self.board.node(self.config.node_name.as_deref(), self.config.refresh_interval);
    }

    /// Tells the metrics what became of what was read. The first configuration is no change.
    fn count(&self, offer: &Offer) {
        let metrics = self.board.metrics().policies();
        if self.offered.any && offer.config != self.config {
            metrics.configuration(true);
        }
        if offer.refusal.is_some() && offer.refusal != self.offered.refusal {
            metrics.configuration(false);
        }
        metrics.configuration_refused(offer.refusal.is_some());
    }

    /// Facts that can't be read leave the last ones in force: repairing goes on. As long as all that they are made of is
    /// watched and nothing happens, they are what they were; they are read all the same when everything is.
    pub(super) fn read_facts(&mut self, pass: &mut Pass, reason: Reason) {
        self.board.step("reading facts");
        let heard = self.intake.signs().count();
        let routine = matches!(reason, Reason::Refresh | Reason::Recheck | Reason::Change | Reason::Retry);
        let everything = self.keeper.skipped + 1 >= self.config.full_comparison_every;
        if routine && (heard.is_none() || everything) {
            self.intake.tell(Told::LookAgain);
        }
        // Not all changes of tables are told of, and to ask for them costs next to nothing.
        if self.has_same_tables() && heard.is_some() && heard == self.survey.heard && routine && !everything {
            pass.report.notes.extend(self.survey.notes.iter().cloned());
            return;
        }
        let options = ruleward_facts::Options {
            node_name: self.config.node_name.as_deref(),
            documents: &self.config.documents,
            iptables: self.detection.version,
            backend: self.detection.backend,
            families: self.detection.families,
        };
        match pass.timed(Stage::Facts, || ruleward_facts::read(&options, &mut self.survey.reader)) {
            Ok(reading) => {
                pass.report.notes.extend(reading.notes.iter().cloned());
                let same = self.survey.facts.as_deref() == Some(&reading.facts);
                let facts = self.survey.facts.take().filter(|_| same);
                let facts = Some(facts.unwrap_or_else(|| Arc::new(reading.facts)));
                (self.survey.facts, self.survey.notes) = (facts, reading.notes);
                self.survey.heard = heard.filter(|_| !reading.late);
            }
            Err(error) => {
                let passing = matches!(error, FactsError::NoAnswer { .. } | FactsError::NoThread(_));
                pass.report.class = if passing { ErrorClass::Temporary } else { ErrorClass::Configuration };
                self.survey.heard = None;
                let known = self.survey.facts.is_some();
                let kept = if known { "the facts of the last check count" } else { "no policy is asked" };
                pass.report.problems.push(format!("{error}; {kept}"));
                if !known {
                    tracing::error!("{error}; {kept}");
                }
            }
        }
    }

    /// Whether the tables of nf_tables are those that policies were shown, as far as the kernel tells.
    fn has_same_tables(&self) -> bool {
        let same = |facts: &Arc<Facts>| nft_tables().ok().is_none_or(|tables| tables == facts.nft_tables);
        self.survey.facts.as_ref().is_some_and(same)
    }

    /// Another program's table came or went: if that is news, a check has to follow.
    pub(super) fn notice_tables(&self) {
        if self.survey.facts.is_some() && !self.has_same_tables() {
            self.intake.tell(Told::FactsChanged);
        }
    }

    /// As long as all policies together may take by their limits, each being asked twice.
    fn longest_evaluation(&self) -> Duration {
        let limits = self.config.policies.values().map(|policy| policy.limits.time());
        limits.fold(Duration::ZERO, Duration::saturating_add).saturating_mul(2)
    }

    pub(super) fn evaluate(&mut self, pass: &mut Pass, reason: Reason) -> Result<(), Stop> {
        let everything = self.keeper.skipped + 1 >= self.config.full_comparison_every;
        let again = everything || matches!(reason, Reason::Start | Reason::Asked);
        let facts = self.survey.facts.clone();
        self.board.pulse().step(Instant::now(), "asking policies", self.longest_evaluation());
        let began = Instant::now();
        let whom = self.whom.clone();
        let asked = self.with_roster(pass, move |roster| roster.evaluate(facts.as_ref(), &whom, again));
        pass.evaluated(began, &asked);
        self.stop_if_silent(pass)
    }

    /// Where no policy has anything to put in force there is nothing to compare the kernel with.
    pub(super) fn stop_if_silent(&self, pass: &mut Pass) -> Result<(), Stop> {
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
