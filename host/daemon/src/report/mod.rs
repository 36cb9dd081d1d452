//! What a check has found and done, as plain data: the JSON of `apply`, `plan`, `refresh` and `status`, and the text for
//! people.
//!
//! Field names and values are an interface that scripts rely on: they only grow. Reports are complete also for a check
//! that failed half-way; phases that did not run took 0 ms.

pub mod actors;
pub mod board;
pub mod checks;
pub mod incident_text;
pub mod limits;
pub mod plain;
pub mod pulse;
pub mod screen;
pub mod status;
pub mod text;

use std::time::{Duration, SystemTime};

use ruleward_core::actor::Actor;
use ruleward_core::awaiting::Awaiting;
use ruleward_core::drift::{Drift, Kind};
use ruleward_core::names::{Backend, Family, Table};
use ruleward_core::schedule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use actors::ActorReport;
pub use checks::{Checks, Intent};

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
    /// What had to change: written by a check that may write, to be written by one that may not.
    pub changes: Vec<Change>,
    /// What others did to what had been committed.
    pub incidents: Vec<Incident>,
    /// Each configured policy.
    pub policies: Vec<PolicyReport>,
    /// Versions and configurations that are refused, each with the reason; what was in force before stays. They are among
    /// the problems too.
    #[serde(default)]
    pub refused: Vec<String>,
    /// Attachments that are not in force, because the chain that they jump to does not exist.
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
    fn without_lists(&self) -> Self {
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

/// An attachment that waits for a chain.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AwaitingReport {
    /// Which family.
    pub family: Family,
    /// Which table.
    pub table: Table,
    /// The built-in chain that it belongs to.
    pub hook: String,
    /// Whose it is.
    pub policy: String,
    /// The chain that does not exist.
    pub chain: String,
}

impl From<&Awaiting> for AwaitingReport {
    fn from(awaiting: &Awaiting) -> Self {
        Self {
            family: awaiting.family,
            table: awaiting.table,
            hook: awaiting.hook.to_string(),
            policy: awaiting.policy.to_string(),
            chain: awaiting.chain.to_string(),
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
    /// Reading facts and documents.
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

/// Something that had to change.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Change {
    /// Which family; none for a set.
    pub family: Option<Family>,
    /// Which table; none for a set.
    pub table: Option<Table>,
    /// Which chain or set; empty for a whole table.
    pub chain: String,
    /// What is different.
    pub kind: Kind,
    /// Rules that come, as iptables-save shows them, or members.
    pub added: Vec<String>,
    /// Rules that go, or members.
    pub removed: Vec<String>,
}

impl From<Drift> for Change {
    fn from(drift: Drift) -> Self {
        let (added, removed) = (lines(&drift, &drift.added), lines(&drift, &drift.removed));
        let Drift { family, table, chain, kind, .. } = drift;
        Self { family, table, chain, kind, added, removed }
    }
}

/// Rules as iptables-save shows them, with their chain; members of a set as they are.
pub fn lines(drift: &Drift, lines: &[String]) -> Vec<String> {
    let whole = |line: &String| match drift.family {
        // Policies (`-P`) and what a chain is (`:NAME ...`) name their chain as well.
        Some(_) if !["-A ", "-P ", ":"].iter().any(|word| line.starts_with(word)) => {
            format!("-A {} {line}", drift.chain).trim_end().to_owned()
        }
        _ => line.clone(),
    };
    lines.iter().map(whole).collect()
}

/// What is said of a change that concerns packets and that no policy asks to undo.
pub const ONLY_RECORDED: &str = "left as it is: no policy asks for a policy of this chain";

impl Incident {
    /// Whether it was recorded and nothing was to repair: the node is in sync all the same.
    pub fn is_only_recorded(&self) -> bool {
        !self.repaired && self.how == ONLY_RECORDED
    }
}

/// A drift that was seen, and what became of it. The same thing (place and kind) again within a minute is the same
/// incident: what differs is then of the last time, except where it says otherwise.
#[derive(Debug, Clone, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Incident {
    /// Counts from 1, also across restarts.
    pub id: u64,
    /// When it was seen first: RFC 3339, UTC.
    pub at: String,
    /// When it was seen last: RFC 3339, UTC.
    pub last_at: String,
    /// Which family; none for a set.
    pub family: Option<Family>,
    /// Which table; none for a set.
    pub table: Option<Table>,
    /// Which chain or set; empty for a whole table.
    pub chain: String,
    /// What happened.
    pub kind: Kind,
    /// The same in words.
    pub detail: String,
    /// Rules or members that were missing, of all times; the first hundred.
    pub added: Vec<String>,
    /// Rules or members that should not have been there, of all times; the first hundred.
    pub removed: Vec<String>,
    /// Whether all is right again.
    pub repaired: bool,
    /// By which means, or why not.
    pub how: String,
    /// From seeing it to the end of the repair, in milliseconds.
    pub took_ms: f64,
    /// From the kernel's event to the end of the repair, in milliseconds; none if only a comparison found it.
    pub latency_ms: Option<f64>,
    /// The worst of all times.
    pub latency_ms_max: Option<f64>,
    /// How many events the kernel sent of it, of all times; 0 if only a comparison found it.
    pub events: u64,
    /// How often it happened.
    pub times: u64,
    /// Who did it: every distinct program, the first sixteen. Where several changed the same place before one repair,
    /// each counts, so that their times are more than those of the incident.
    pub actors: Vec<ActorReport>,
    /// How often programs did it that `actors` does not name.
    #[serde(default)]
    pub more_actors: u64,
    /// Who did it the last time; for the log, metrics and traces.
    #[serde(skip)]
    pub latest: Vec<Actor>,
}

/// How a policy stands.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PolicyReport {
    /// Its name in the configuration.
    pub name: String,
    /// Its version as it describes itself; none if it could not be asked.
    pub version: Option<String>,
    /// `sha256:` and the digest of the component; none if it could not be read.
    pub digest: Option<String>,
    /// Whether its present answer is in force.
    pub state: PolicyState,
    /// Why it is not.
    pub reason: Option<String>,
    /// What the configuration asks for, if that is not in force.
    #[serde(default)]
    pub candidate: Option<CandidateReport>,
    /// `sha256:` and the digest of the contribution that counts: equal wherever component, facts, grants and settings are equal.
    #[serde(default)]
    pub contribution: Option<String>,
    /// What it logged at the level `warn` or above when it gave the answer that counts.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Each of its limits, and what was used of it; empty for one that is off.
    #[serde(default)]
    pub limits: Vec<limits::LimitReport>,
    /// What differs if it is a shadow.
    #[serde(default)]
    pub shadow: Option<ShadowReport>,
    /// An earlier version is held in place of the one that is configured.
    #[serde(default)]
    pub pinned: Option<PinReport>,
    /// Chains that it asks for.
    pub chains: usize,
    /// Rules that it asks for, those in built-in chains included.
    pub rules: usize,
    /// Sets that it asks for.
    pub sets: usize,
}

/// What would be different if a shadow were put in force.
#[derive(Debug, Clone, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ShadowReport {
    /// The policy that it is compared with; without one everything that it asks for would come.
    pub of: Option<String>,
    /// How many lines would come, in the words of iptables-save and `ipset save`.
    pub comes: u64,
    /// How many would go.
    pub goes: u64,
    /// What limits the comparison: no rehearsal was possible.
    pub notes: Vec<String>,
}

/// Which version is held, and why.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PinReport {
    /// `web@17`
    pub record: String,
    /// Since when: RFC 3339, UTC.
    pub since: String,
    /// In the words of whoever did it; may be empty.
    pub why: String,
}

/// A version that is not in force, and may never be.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CandidateReport {
    /// As it describes itself; none if it could not be asked.
    pub version: Option<String>,
    /// `sha256:` and the digest of the component; none if it could not be read.
    pub digest: Option<String>,
    /// How far it has come.
    pub state: CandidateState,
    /// Why no further.
    pub reason: Option<String>,
}

/// How far a version has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CandidateState {
    /// Its component is being read or compiled.
    Loading,
    /// It is taken with the next check, or when what it waits for has come. The reason says what that is.
    Waiting,
    /// It is not taken.
    Refused,
}

impl PolicyReport {
    /// One of which nothing else is known.
    pub fn new(name: impl ToString, state: PolicyState) -> Self {
        Self {
            name: name.to_string(),
            version: None,
            digest: None,
            state,
            reason: None,
            candidate: None,
            contribution: None,
            warnings: Vec::new(),
            limits: Vec::new(),
            shadow: None,
            pinned: None,
            chains: 0,
            rules: 0,
            sets: 0,
        }
    }
}

/// Which answer of a policy counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyState {
    /// The newest of the version that is configured.
    Current,
    /// An earlier one, or that of an earlier version: the configured one fails or is refused.
    LastGood,
    /// It waits for something that must exist first. What was in force of it stays; if nothing was, nothing is.
    Waiting,
    /// None: it has never answered. What it may own stays as it is, and other policies are in force all the same.
    NeverAnswered,
    /// Its newest answer is compared, and not put in force.
    Shadow,
    /// None: it is turned off.
    Off,
}
