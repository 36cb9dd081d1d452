//! What a check has found and done, as plain data: the JSON of `apply`, `plan`, `refresh` and `status`, and the text for
//! people.
//!
//! Field names and values are an interface that scripts rely on: they only grow. Reports are complete also for a check
//! that failed half-way; phases that did not run took 0 ms.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod actors;
mod change;
pub mod checks;
pub mod heartbeat;
mod incident;
pub mod incident_text;
pub mod limits;
pub mod output;
pub mod plain;
mod policy;
pub mod screen;
pub mod status;
pub mod terminal;
pub mod text;

use std::time::{Duration, SystemTime};

use ruleward_core::awaiting::{Awaiting, Foreign};
use ruleward_core::names::{Backend, Family, Table};
use ruleward_core::{expected, schedule};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use actors::ActorReport;
pub use change::{Change, lines};
pub use checks::{Checks, Intent};
pub use incident::{Incident, NOTHING_WRITTEN, ONLY_RECORDED};
pub use policy::{CandidateReport, CandidateState, PinReport, PolicyReport, PolicyState, ShadowReport};

/// What one check has found and done.
#[derive(Debug, Clone, Default, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// What kind of trouble there was; decides the exit code.
    pub class: ErrorClass,
    /// Whether the kernel now shows what the policies ask for.
    pub in_sync: bool,
    /// The backend in use, if it was found out.
    pub backend: Option<Backend>,
    /// Why this backend.
    pub backend_reason: String,
    /// How the text is known that the kernel must show; none if nothing came so far.
    pub basis: Option<Basis>,
    /// How long each phase took.
    pub timings_ms: Timings,
    /// What was written by a check that may write; what would be written by one that may not.
    pub changes: Vec<Change>,
    /// What others did to what had been committed.
    pub incidents: Vec<Incident>,
    /// Each configured policy.
    pub policies: Vec<PolicyReport>,
    /// Versions and configurations that are refused, each with the reason; what was in force before stays. They are among
    /// the problems too.
    #[serde(default)]
    pub refused: Vec<String>,
    /// Rules that are not in force, because a chain or a set that another program makes does not exist.
    #[serde(default)]
    pub awaiting: Vec<AwaitingReport>,
    /// Why no packet meets any rule of a policy, if so: the kernel shows what the policies ask for, and that is nothing.
    #[serde(default)]
    pub nothing_enforced: Option<String>,
    /// What keeps the node from being right or the check from being complete, each with what to do.
    pub problems: Vec<String>,
    /// What an operator may want to know.
    pub notes: Vec<String>,
}

impl Report {
    /// A check that ended before it could do anything.
    pub fn failure(class: ErrorClass, problem: impl Into<String>) -> Self {
        let outcome = match class {
            ErrorClass::Configuration | ErrorClass::Permission => Outcome::Refused,
            _ => Outcome::Failed,
        };
        Self { outcome, class, problems: vec![problem.into()], ..Self::default() }
    }

    /// What the command that ran this check exits with.
    pub fn exit_code(&self, intent: Intent) -> u8 {
        if self.class != ErrorClass::None {
            return self.class.exit_code();
        }
        match (self.outcome, intent) {
            (Outcome::Failed | Outcome::Pending, _) => ErrorClass::Temporary.exit_code(),
            (Outcome::Refused, _) => ErrorClass::Configuration.exit_code(),
            (_, Intent::PlanOnly) if !self.changes.is_empty() || !self.in_sync => 2,
            (_, Intent::Write) if !self.in_sync => ErrorClass::Temporary.exit_code(),
            _ => 0,
        }
    }

    /// Whether this check came to its end, and nothing that it waited for is still being loaded: what can be in force is.
    /// A policy that is refused, or waits, has had its turn.
    pub fn has_settled(&self) -> bool {
        let loading = |candidate: &CandidateReport| candidate.state == CandidateState::Loading;
        let ended = matches!(self.outcome, Outcome::Unchanged | Outcome::Changed);
        ended && !self.policies.iter().filter_map(|policy| policy.candidate.as_ref()).any(loading)
    }

    /// A copy without changes and incidents, which may be long.
    pub fn without_lists(&self) -> Self {
        Self {
            outcome: self.outcome,
            class: self.class,
            in_sync: self.in_sync,
            backend: self.backend,
            backend_reason: self.backend_reason.clone(),
            basis: self.basis,
            timings_ms: self.timings_ms,
            changes: Vec::new(),
            incidents: Vec::new(),
            policies: self.policies.clone(),
            refused: self.refused.clone(),
            awaiting: self.awaiting.clone(),
            nothing_enforced: self.nothing_enforced.clone(),
            problems: self.problems.clone(),
            notes: self.notes.clone(),
        }
    }

    /// How it is counted: a check that leaves the node out of sync has failed, whatever it has written.
    pub fn counted(&self) -> Outcome {
        match (self.scheduled(), self.outcome) {
            (schedule::Outcome::Failed, Outcome::Unchanged | Outcome::Changed) => Outcome::Failed,
            (_, outcome) => outcome,
        }
    }

    /// What the schedule makes of it.
    pub fn scheduled(&self) -> schedule::Outcome {
        match self.outcome {
            Outcome::Unchanged if self.in_sync => schedule::Outcome::Clean,
            Outcome::Changed if self.in_sync => schedule::Outcome::Wrote,
            _ => schedule::Outcome::Failed,
        }
    }
}

/// A rule that waits for what another program makes.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AwaitingReport {
    /// Which family.
    pub family: Family,
    /// Which table.
    pub table: Table,
    /// The chain that it belongs to: of an attachment a built-in one.
    pub within: String,
    /// Whose it is.
    pub policy: String,
    /// The chain that does not exist, if that is what it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<String>,
    /// The set that does not exist, if that is what it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<String>,
}

impl From<&Awaiting> for AwaitingReport {
    fn from(awaiting: &Awaiting) -> Self {
        let (chain, set) = match &awaiting.awaited {
            Foreign::Chain(name) => (Some(name.to_string()), None),
            Foreign::Set(name) => (None, Some(name.to_string())),
        };
        Self {
            family: awaiting.family,
            table: awaiting.table,
            within: awaiting.chain.to_string(),
            policy: awaiting.policy.to_string(),
            chain,
            set,
        }
    }
}

/// How a check ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Nothing had to change.
    Unchanged,
    /// Something had to change; it was written unless the check was only to plan.
    Changed,
    /// Configuration or policies ask for what can't be; nothing was written.
    Refused,
    /// The kernel or a tool failed; nothing or only a part was written.
    Failed,
    /// No check has ended yet; only in `status`.
    #[default]
    Pending,
}

impl Outcome {
    /// As it is called in JSON, metrics and traces.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Changed => "changed",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Pending => "pending",
        }
    }
}

/// What kind of trouble kept a check from its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorClass {
    /// None.
    #[default]
    None,
    /// The kernel or a tool failed; trying again may help.
    Temporary,
    /// Not allowed to do that.
    Permission,
    /// Configuration or policy refused.
    Configuration,
    /// A fault of the program.
    Internal,
}

impl ErrorClass {
    /// As in `sysexits.h`.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Internal => 70,
            Self::Temporary => 75,
            Self::Permission => 77,
            Self::Configuration => 78,
        }
    }
}

/// How the text is known that the kernel must show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// The same tools loaded it into a private network namespace.
    Rehearsed,
    /// Read back right after the commit.
    Learned,
    /// Neither yet: nothing is known of how the kernel will show it.
    Unproven,
}

/// Time of each phase, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Timings {
    /// Reading facts and resources.
    pub facts: f64,
    /// Asking the policies, and merging and checking their answers.
    pub evaluate: f64,
    /// Loading the desired state into a private namespace.
    pub rehearse: f64,
    /// Reading the kernel.
    pub observe: f64,
    /// Finding the difference.
    pub plan: f64,
    /// Writing.
    pub commit: f64,
    /// Reading the kernel again.
    pub verify: f64,
    /// All of it.
    pub total: f64,
}

/// Milliseconds, to the microsecond.
pub fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// `time` in UTC as RFC 3339 has it, to the millisecond.
pub fn timestamp(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

impl From<expected::Basis> for Basis {
    fn from(basis: expected::Basis) -> Self {
        match basis {
            expected::Basis::Rehearsed => Self::Rehearsed,
            expected::Basis::Learned => Self::Learned,
            expected::Basis::Unproven => Self::Unproven,
        }
    }
}
