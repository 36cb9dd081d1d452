//! A version of a policy: all that its answer depends on besides the facts. It never changes, so that an evaluation sees
//! one component, one set of settings, grants and limits, and one snapshot of facts, whatever is edited meanwhile.

use std::fmt::Debug;
use std::sync::{Arc, OnceLock};

use ruleward_core::check::{self, Checked, OutputLimits};
use ruleward_core::contribution::{Contribution, Families};
use ruleward_core::facts::Facts;
use ruleward_core::grants::Grants;
use ruleward_core::names::PolicyName;
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::settings::Locate;
use ruleward_files::digest;
use ruleward_kernel::target_names;
use ruleward_sandbox::{
    Cause, Description, EvaluateError, Evaluation, Limit, Limits, LoadedPolicy, Log, LogLevel, LogLine, Refusal, Usage,
    contribution_digest,
};

/// A component that can be asked.
pub trait Component: Debug + Send + Sync {
    /// Asks it.
    ///
    /// # Errors
    /// Why there is no answer.
    fn evaluate(&self, facts: &Facts, grants: &Grants, settings: &str) -> Result<Evaluation, Box<EvaluateError>>;

    /// What it says of itself.
    fn description(&self) -> &Description;

    /// Of its bytes: `sha256:...`.
    fn digest(&self) -> &str;

    /// What a call may use.
    fn limits(&self) -> &Limits;

    /// What its last call used, and the most that any did.
    fn usage(&self) -> Option<(Usage, Usage)>;
}

impl Component for LoadedPolicy {
    fn evaluate(&self, facts: &Facts, grants: &Grants, settings: &str) -> Result<Evaluation, Box<EvaluateError>> {
        Self::evaluate(self, facts, grants, settings)
    }

    fn description(&self) -> &Description {
        Self::description(self)
    }

    fn digest(&self) -> &str {
        Self::digest(self)
    }

    fn limits(&self) -> &Limits {
        Self::limits(self)
    }

    fn usage(&self) -> Option<(Usage, Usage)> {
        Self::usage(self)
    }
}

/// A loaded component with its settings, grants and limits.
#[derive(Debug)]
pub struct Version {
    policy: PolicyName,
    loaded: Box<dyn Component>,
    settings: Arc<str>,
    grants: Grants,
    id: String,
    /// Knows the files of the configuration that it comes from.
    locate: Option<Arc<dyn Locate>>,
}

/// A contribution that passed the check.
#[derive(Debug, Clone)]
pub struct Answer {
    /// As the policy gave it.
    pub contribution: Arc<Contribution>,
    /// As it can be merged.
    pub checked: Arc<Checked>,
    /// How much it is.
    pub counts: Counts,
    /// What the policy logged at the level `warn` or above when it gave it.
    pub warnings: Arc<[String]>,
    /// Of the contribution, once somebody asked.
    digest: Arc<OnceLock<String>>,
}

impl Answer {
    /// The same, given with these warnings.
    pub(super) fn with_warnings(self, warnings: Arc<[String]>) -> Self {
        Self { warnings, ..self }
    }

    /// Digest of the contribution, `sha256:...`: equal wherever component, facts, grants and settings are equal.
    pub fn digest(&self) -> &str {
        self.digest.get_or_init(|| contribution_digest(&self.contribution))
    }
}

/// Why a version has no answer that can be merged.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct NoAnswer {
    /// In words.
    pub reason: String,
    /// The policy waits for something that must exist first: nothing is wrong with it.
    pub waits: bool,
}

impl NoAnswer {
    /// Something is wrong.
    pub fn refused(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), waits: false }
    }
}

/// How much a contribution asks for. Counted once: a report is made at every check.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Chains of its own.
    pub chains: usize,
    /// Rules, those in built-in chains included.
    pub rules: usize,
    /// Address sets.
    pub sets: usize,
}

impl Counts {
    fn of(contribution: &Contribution) -> Self {
        let in_chains: usize = contribution.chains.iter().map(|chain| chain.rules.len()).sum();
        let rules = in_chains + contribution.attachments.len();
        Self { chains: contribution.chains.len(), rules, sets: contribution.sets.len() }
    }
}

impl Version {
    /// Joins its parts; the limits are those of `loaded`. `settings` is JSON that the component's schema was found to
    /// allow.
    pub fn new(
        policy: PolicyName,
        loaded: impl Component + 'static,
        settings: impl Into<Arc<str>>,
        grants: Grants,
    ) -> Self {
        let (loaded, settings): (Box<dyn Component>, _) = (Box::new(loaded), settings.into());
        let id = identity(loaded.digest(), &settings, &grants, loaded.limits());
        Self { policy, loaded, settings, grants, id, locate: None }
    }

    /// The same, and where its settings are written: refusals of them name file and line.
    #[must_use]
    pub fn located_by(self, locate: Arc<dyn Locate>) -> Self {
        Self { locate: Some(locate), ..self }
    }

    /// Whose.
    pub fn policy(&self) -> &PolicyName {
        &self.policy
    }

    /// The component.
    pub fn loaded(&self) -> &dyn Component {
        &*self.loaded
    }

    /// As the policy gets them.
    pub fn settings(&self) -> &Arc<str> {
        &self.settings
    }

    /// What it may own and read.
    pub fn grants(&self) -> &Grants {
        &self.grants
    }

    /// `sha256:...` of all its parts: versions with the same id answer alike.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Asks it, and checks what it answers. What it logs goes into the log under its name.
    ///
    /// # Errors
    /// Why there is no answer that can be merged.
    pub fn evaluate(&self, facts: &Facts, families: Families) -> Result<Answer, NoAnswer> {
        match self.loaded.evaluate(facts, &self.grants, &self.settings) {
            Ok(evaluation) => {
                forward(&self.policy, &evaluation.log);
                let warnings = warnings(&evaluation.log);
                let answer = self.check(evaluation.contribution, families).map_err(NoAnswer::refused)?;
                Ok(answer.with_warnings(warnings))
            }
            Err(error) => {
                forward(&self.policy, &error.log);
                let waits = matches!(error.cause, Cause::Refused(Refusal::Waiting(_)));
                Err(NoAnswer { reason: format!("{error}{}", self.whose_setting(&error.cause)), waits })
            }
        }
    }

    /// Judges a contribution by what this version may have.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn check(&self, contribution: Contribution, families: Families) -> Result<Answer, String> {
        judge(&self.policy, &self.grants, self.loaded.limits(), contribution, families)
    }

    /// A pointer such as `/chains/3/rules/0` says little to a person; the name of what it points into says more, and the line.
    fn whose_setting(&self, cause: &Cause) -> String {
        let Cause::Refused(Refusal::Settings { place, .. }) = cause else { return String::new() };
        let named = self.named(place);
        let written = self.locate.as_ref().and_then(|locate| locate.setting(&self.policy, place));
        let told: Vec<String> = named.into_iter().chain(written).collect();
        if told.is_empty() { String::new() } else { format!(" ({})", told.join("; ")) }
    }

    /// What a pointer leads into that has a name.
    fn named(&self, place: &str) -> Option<String> {
        let settings: serde_json::Value = serde_json::from_str(&self.settings).ok()?;
        let mut pointer = place;
        while let Some(at) = pointer.rfind('/') {
            pointer = &pointer[..at];
            if let Some(name) = settings.pointer(pointer).and_then(|value| value.get("name")?.as_str()) {
                return Some(format!("in {pointer}, which is {name:?}"));
            }
        }
        None
    }
}

/// The id of a version of these parts.
pub fn identity(component: &str, settings: &str, grants: &Grants, limits: &Limits) -> String {
    let mut hash = Sha256::new();
    // Each part with its length, so that no two lists of parts look alike.
    let grants = serde_json::to_string(grants).unwrap_or_default();
    let limits = serde_json::to_string(limits).unwrap_or_default();
    for part in [component, settings, &grants, &limits] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    format!("{}{}", digest::PREFIX, digest::hex(&hash.finalize()))
}

/// Judges a contribution by what it may have.
///
/// # Errors
/// All that is wrong with it.
pub fn judge(
    policy: &PolicyName,
    grants: &Grants,
    limits: &Limits,
    contribution: Contribution,
    families: Families,
) -> Result<Answer, String> {
    let output = OutputLimits {
        chains: limits.size(Limit::Chains),
        rules: limits.size(Limit::Rules),
        members: limits.size(Limit::Members),
    };
    let reserved = target_names::refusals(&contribution);
    match check::check(policy, grants, |family| families.contains(family), output, &contribution) {
        Ok(checked) if reserved.is_empty() => {
            let counts = Counts::of(&contribution);
            Ok(Answer {
                contribution: Arc::new(contribution),
                checked: Arc::new(checked),
                counts,
                warnings: Arc::default(),
                digest: Arc::default(),
            })
        }
        checked => {
            let refusals = checked.err().unwrap_or_default().into_iter().chain(reserved);
            let lines: Vec<String> = refusals.map(|refusal| refusal.to_string()).collect();
            Err(lines.join("; "))
        }
    }
}

fn warnings(log: &Log) -> Arc<[String]> {
    let warns = |line: &&LogLine| matches!(line.level, LogLevel::Warn | LogLevel::Error);
    log.lines.iter().filter(warns).map(|line| line.message.clone()).collect()
}

/// What a policy logged goes into the log under its name.
fn forward(policy: &PolicyName, log: &Log) {
    for line in &log.lines {
        match line.level {
            LogLevel::Debug => tracing::debug!(%policy, "policy {policy} says: {}", line.message),
            LogLevel::Info => tracing::info!(%policy, "policy {policy} says: {}", line.message),
            LogLevel::Warn => tracing::warn!(%policy, "policy {policy} says: {}", line.message),
            LogLevel::Error => tracing::error!(%policy, "policy {policy} says: {}", line.message),
        }
    }
    if log.dropped > 0 {
        tracing::warn!("policy {policy} logged {} lines more than limits.log-lines allows", log.dropped);
    }
}
