//! One policy of the roster: the version in force, and the one that would take its place.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use ruleward_core::contribution::Families;
use ruleward_core::facts::Facts;
use ruleward_core::grants::Grants;
use ruleward_core::limit::Limit;
use ruleward_core::names::PolicyName;

use super::evaluation::Evaluations;
use super::set::{PolicySpec, SpecState};
use super::version::{Answer, Counts, NoAnswer, Version, judge};
use ruleward_report::limits::LimitReport;
use ruleward_report::{CandidateReport, CandidateState, PolicyReport, PolicyState};
use ruleward_sandbox::Limits;
use ruleward_sandbox::last_good::LastGood;

/// A policy that is, or was, configured.
pub(super) struct Member {
    pub name: PolicyName,
    /// What it is to own by the configuration.
    pub configured: Grants,
    /// The version in force. None: there is none, or only its last answer is left.
    pub version: Option<Arc<Version>>,
    /// What the version in force answered last, and to which facts.
    pub answer: Option<Answered>,
    /// What it answered last, if the kernel or the tools did not take it.
    pub not_taken: Option<Answered>,
    /// Why its newest answer is not the one in force.
    pub reason: Option<NoAnswer>,
    /// What is in force.
    pub good: Option<ActiveVersion>,
    pub candidate: Option<Candidate>,
    /// This kernel refuses what is in force, too: what it owns stays as it is, until it is asked again.
    pub unusable: bool,
    /// It has left the configuration, and goes with the next commit unless it stays.
    pub leaving: bool,
    /// It has left the configuration, and is kept in force until all others have answered.
    pub stays: bool,
    /// Since when what is in force is not on the disk.
    pub unsaved: Option<SystemTime>,
}

/// An answer, and the facts that it was given to.
pub(super) type Answered = (Arc<Facts>, Answer);

/// What is in force, and whose answer it is.
#[derive(Clone)]
pub(super) struct ActiveVersion {
    pub answer: Answer,
    /// To which facts; unknown after a restart.
    pub facts: Option<Arc<Facts>>,
    pub grants: Grants,
    pub limits: Limits,
    pub settings: Arc<str>,
    pub digest: String,
    pub version: String,
}

/// What would take the place of the version in force.
pub(super) enum Candidate {
    Loading { digest: Option<String> },
    Unloadable { digest: Option<String>, reason: String, cause: String, rest: Unloaded },
    Loaded(Trial),
}

/// The rest of a version whose component can't be loaded.
#[derive(Clone)]
pub(super) struct Unloaded {
    pub settings: Arc<str>,
    pub limits: Limits,
}

/// A version that can be asked, on its way.
pub(super) struct Trial {
    pub version: Arc<Version>,
    /// What it answered last, and to which facts.
    pub answer: Option<Answered>,
    pub refused: Option<Refused>,
    /// What it waits for.
    pub held: Option<String>,
    /// The refusal that the log tells of.
    told: Option<NoAnswer>,
}

/// Why a version is not taken.
pub(super) struct Refused {
    /// The facts that it was asked with.
    pub facts: Option<Arc<Facts>>,
    pub reason: NoAnswer,
    /// The same facts give the same refusal.
    lasting: bool,
    /// What the kernel or the tools did not take; none if there is no answer.
    pub answer: Option<Answer>,
}

impl Trial {
    fn new(version: Arc<Version>) -> Self {
        Self { version, answer: None, refused: None, held: None, told: None }
    }

    fn evaluate(&mut self, facts: &Arc<Facts>, again: bool, asked: &mut Evaluations<'_>) -> Result<(), NoAnswer> {
        if let Some(refused) = &self.refused {
            let same = refused.facts.as_ref().is_some_and(|earlier| earlier == facts);
            if same && refused.lasting && !again {
                return Ok(()); // the same version and the same facts: the same answer
            }
        }
        self.refused = None;
        if self.answer.as_ref().is_none_or(|(earlier, _)| earlier != facts) {
            self.answer = None;
            self.answer = Some((Arc::clone(facts), asked.ask(&self.version, facts)?));
        }
        Ok(())
    }

    fn refuse(&mut self, name: &PolicyName, of: Refused, left: &str) {
        if self.told.as_ref() != Some(&of.reason) {
            let (version, reason) = (describe(&self.version), &of.reason);
            if reason.waits {
                tracing::warn!("policy {name}: version {version} {reason}; {left}");
            } else {
                tracing::error!("policy {name}: version {version} is refused: {reason}; {left}");
            }
            self.told = Some(of.reason.clone());
        }
        self.answer = None;
        self.refused = Some(of);
    }
}

impl Member {
    pub fn new(name: PolicyName) -> Self {
        Self {
            name,
            configured: Grants::default(),
            version: None,
            answer: None,
            not_taken: None,
            reason: None,
            good: None,
            candidate: None,
            unusable: false,
            leaving: false,
            stays: false,
            unsaved: None,
        }
    }

    /// What was in force when the last process ended.
    pub fn recall(kept: LastGood, families: Families) -> Self {
        let mut member = Self::new(kept.policy.clone());
        match judge(&kept.policy, &kept.grants, &kept.limits, kept.contribution, families) {
            Ok(answer) => {
                let answer = answer.with_warnings(kept.warnings.into());
                let LastGood { grants, limits, digest, version, .. } = kept;
                let settings = kept.settings.into();
                member.good = Some(ActiveVersion { answer, facts: None, grants, limits, settings, digest, version });
            }
            Err(reason) => {
                tracing::warn!("policy {}: the saved answer no longer passes the checks: {reason}", member.name);
            }
        }
        member
    }

    /// The configuration asks for this.
    pub fn configure(&mut self, spec: &PolicySpec) {
        self.leaving = false;
        self.configured.clone_from(&spec.grants);
        let in_force = |version: &Arc<Version>| self.version.as_ref().is_some_and(|own| own.id() == version.id());
        self.candidate = match &spec.state {
            SpecState::Loaded(version) if in_force(version) => None,
            SpecState::Loaded(version) => match self.candidate.take() {
                // What is known of it stays known.
                Some(Candidate::Loaded(trial)) if trial.version.id() == version.id() => Some(Candidate::Loaded(trial)),
                _ => Some(Candidate::Loaded(Trial::new(Arc::clone(version)))),
            },
            SpecState::Loading { digest } => Some(Candidate::Loading { digest: digest.clone() }),
            SpecState::Refused { digest, reason, cause } => Some(Candidate::Unloadable {
                digest: digest.clone(),
                reason: reason.clone(),
                cause: cause.clone(),
                rest: Unloaded { settings: Arc::clone(&spec.settings), limits: spec.limits.clone() },
            }),
        };
    }

    /// Asks the version in force and the one that would take its place. `again`: also what was refused with these facts.
    pub fn evaluate(&mut self, facts: &Arc<Facts>, again: bool, asked: &mut Evaluations<'_>) {
        let first = self.good.is_none();
        self.unusable = false;
        let left = self.what_is_left();
        if let Some(Candidate::Loaded(trial)) = &mut self.candidate
            && let Err(reason) = trial.evaluate(facts, again || first, asked)
        {
            let facts = Some(Arc::clone(facts));
            trial.refuse(&self.name, Refused { facts, reason, lasting: true, answer: None }, left);
        }
        if self.answer.as_ref().is_some_and(|(earlier, _)| earlier == facts) {
            return;
        }
        let Some(version) = self.version.clone() else { return };
        (self.answer, self.not_taken) = (None, None);
        match asked.ask(&version, facts) {
            Ok(answer) => {
                self.answer = Some((Arc::clone(facts), answer));
                self.set_reason(None);
            }
            Err(reason) => self.set_reason(Some(reason)),
        }
    }

    /// Whether it has left the configuration, and what it owns goes with the next commit.
    pub fn is_going(&self) -> bool {
        self.leaving && !self.stays
    }

    /// The version that would take the place, if nothing is known against it.
    pub fn trial(&self) -> Option<(&Arc<Version>, &Answered)> {
        match &self.candidate {
            Some(Candidate::Loaded(trial)) if !self.leaving && trial.refused.is_none() && trial.held.is_none() => {
                Some((&trial.version, trial.answer.as_ref()?))
            }
            _ => None,
        }
    }

    /// What is to be put in force, and what may be owned for it.
    pub fn chosen(&self) -> Option<(&Answer, &Grants)> {
        if self.leaving {
            return self
                .good
                .as_ref()
                .filter(|_| self.stays && !self.unusable)
                .map(|good| (&good.answer, &good.grants));
        }
        if let Some((version, (_, answer))) = self.trial() {
            return Some((answer, version.grants()));
        }
        match (&self.answer, &self.version, &self.good) {
            (Some((_, answer)), Some(version), _) => Some((answer, version.grants())),
            (_, _, Some(good)) if !self.unusable => Some((&good.answer, &good.grants)),
            _ => None,
        }
    }

    /// Whether its newest answer is in force and on the disk, and nothing is to take its place.
    pub fn is_at_rest(&self) -> bool {
        let waits = self.leaving || self.unsaved.is_some() || self.candidate.is_some();
        !waits && self.answer.is_some() && self.good.is_some() && self.trouble().is_none() && !self.is_news()
    }

    /// Whether something else is chosen than what is in force.
    pub fn is_news(&self) -> bool {
        match (self.chosen(), &self.good) {
            (Some((answer, _)), Some(good)) => {
                !Arc::ptr_eq(&answer.contribution, &good.answer.contribution)
                    && answer.contribution != good.answer.contribution
            }
            (Some(_), None) => true,
            (None, _) => false,
        }
    }

    /// What is chosen can't be put in force. `lasting`: with the same facts it never can.
    pub fn refuse(&mut self, reason: String, lasting: bool) {
        let (is_trial, left) = (self.trial().is_some(), self.what_is_left());
        if let (true, Some(Candidate::Loaded(trial))) = (is_trial, &mut self.candidate) {
            let (facts, answer) = trial.answer.take().unzip();
            let reason = NoAnswer::refused(reason);
            trial.refuse(&self.name, Refused { facts, reason, lasting, answer }, left);
        } else {
            self.unusable = self.answer.is_none();
            self.not_taken = self.answer.take();
            self.set_reason(Some(NoAnswer::refused(reason)));
        }
    }

    pub fn what_is_left(&self) -> &'static str {
        if self.good.is_some() { "what was in force stays" } else { "it is not in force" }
    }

    /// One line in the log when it changes, not at every refresh.
    fn set_reason(&mut self, reason: Option<NoAnswer>) {
        if self.reason == reason {
            return;
        }
        let left = self.what_is_left();
        match &reason {
            Some(reason) if reason.waits => tracing::warn!("policy {}: {reason}; {left}", self.name),
            Some(reason) => tracing::error!("policy {}: {reason}; {left}", self.name),
            None => tracing::info!("policy {}: answers again", self.name),
        }
        self.reason = reason;
    }

    /// Why the configured version is not in force with its newest answer.
    pub fn trouble(&self) -> Option<NoAnswer> {
        let candidate = match &self.candidate {
            Some(Candidate::Unloadable { reason, .. }) => Some(NoAnswer::refused(reason)),
            Some(Candidate::Loaded(trial)) => {
                let refused = trial.refused.as_ref().map(|refused| refused.reason.clone());
                refused.or_else(|| trial.held.clone().map(NoAnswer::refused))
            }
            Some(Candidate::Loading { .. }) | None => None,
        };
        candidate.or_else(|| self.reason.clone())
    }

    pub fn report(&self, ceiling: &BTreeMap<Limit, u64>) -> PolicyReport {
        let trouble = self.trouble();
        let state = match (&self.good, &self.answer) {
            _ if trouble.as_ref().is_some_and(|trouble| trouble.waits) => PolicyState::Waiting,
            (None, None) if self.trial().is_none() => PolicyState::NeverAnswered,
            _ if trouble.is_some() => PolicyState::LastGood,
            (Some(_), None) if self.trial().is_none() && self.candidate.is_none() => PolicyState::LastGood,
            _ => PolicyState::Current,
        };
        let Counts { chains, rules, sets } = self.chosen().map(|(answer, _)| answer.counts).unwrap_or_default();
        let in_force =
            self.version.as_ref().or(self.trial().map(|(version, _)| version).filter(|_| self.good.is_none()));
        let (version, digest) = match (in_force, &self.good, &self.candidate) {
            (Some(version), ..) => {
                (Some(version.loaded().description().version.clone()), Some(version.loaded().digest().to_owned()))
            }
            (None, Some(good), _) => (Some(good.version.clone()), Some(good.digest.clone())),
            (None, None, Some(Candidate::Loaded(trial))) => {
                let loaded = trial.version.loaded();
                (Some(loaded.description().version.clone()), Some(loaded.digest().to_owned()))
            }
            (None, None, Some(Candidate::Unloadable { digest, .. } | Candidate::Loading { digest })) => {
                (None, digest.clone())
            }
            (None, None, None) => (None, None),
        };
        PolicyReport {
            version,
            digest,
            reason: trouble.map(|trouble| trouble.reason),
            candidate: self.candidate.as_ref().map(Candidate::report),
            contribution: self.chosen().map(|(answer, _)| answer.digest().to_owned()),
            warnings: self.chosen().map(|(answer, _)| answer.warnings.to_vec()).unwrap_or_default(),
            limits: in_force.map(|version| limits(version, ceiling)).unwrap_or_default(),
            chains,
            rules,
            sets,
            ..PolicyReport::new(&self.name, state)
        }
    }
}

/// What a version may use, and what it used of it.
fn limits(version: &Version, ceiling: &BTreeMap<Limit, u64>) -> Vec<LimitReport> {
    let loaded = version.loaded();
    LimitReport::all(loaded.limits(), ceiling, loaded.usage().as_ref())
}

impl Candidate {
    fn report(&self) -> CandidateReport {
        let none = CandidateReport { version: None, digest: None, state: CandidateState::Loading, reason: None };
        match self {
            Self::Loading { digest } => CandidateReport { digest: digest.clone(), ..none },
            Self::Unloadable { digest, reason, .. } => CandidateReport {
                digest: digest.clone(),
                state: CandidateState::Refused,
                reason: Some(reason.clone()),
                ..none
            },
            Self::Loaded(trial) => {
                let loaded = trial.version.loaded();
                let (state, reason) = match (&trial.refused, &trial.held) {
                    (Some(Refused { reason: NoAnswer { reason, waits }, .. }), _) => {
                        let state = if *waits { CandidateState::Waiting } else { CandidateState::Refused };
                        (state, Some(reason.clone()))
                    }
                    (None, Some(held)) => (CandidateState::Waiting, Some(held.clone())),
                    (None, None) => (CandidateState::Waiting, None),
                };
                CandidateReport {
                    version: Some(loaded.description().version.clone()),
                    digest: Some(loaded.digest().to_owned()),
                    state,
                    reason,
                }
            }
        }
    }
}

/// `1.2.0 (sha256:0123456789ab)`
pub(super) fn describe(version: &Version) -> String {
    let loaded = version.loaded();
    let digest: String = loaded.digest().chars().take(19).collect();
    format!("{} ({digest})", loaded.description().version)
}
