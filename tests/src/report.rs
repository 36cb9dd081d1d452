//! The program's JSON, typed: a field that is missing or of another type fails the test that reads it.

use std::collections::BTreeMap;

use serde::Deserialize;

/// What `apply`, `plan` and `refresh` print.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// `unchanged`, `changed`, `refused`, `failed`, or `pending` before the first check has ended.
    pub outcome: String,
    /// Whether the kernel now shows what it should.
    pub in_sync: bool,
    /// `nft` or `legacy`; none before it was found out.
    pub backend: Option<String>,
    /// Why that one.
    pub backend_reason: String,
    /// `rehearsed`, `learned` or `unproven`; none before anything was desired.
    pub basis: Option<String>,
    /// How long its parts took.
    pub timings_ms: Timings,
    /// What was or would be written.
    pub changes: Vec<Change>,
    /// Drifts found.
    pub incidents: Vec<Incident>,
    /// The state of each policy.
    pub policies: Vec<PolicyState>,
    /// What is refused.
    pub refused: Vec<String>,
    /// Rules that wait for what another program makes.
    pub awaiting: Vec<Awaiting>,
    /// Why nothing is enforced, if so.
    pub nothing_enforced: Option<String>,
    /// What went wrong.
    pub problems: Vec<String>,
    /// What the operator should know.
    pub notes: Vec<String>,
}

/// A rule that waits for what another program makes.
#[derive(Debug, Clone, Deserialize)]
pub struct Awaiting {
    /// The chain that it belongs to.
    pub within: String,
    /// Whose it is.
    pub policy: String,
    /// The chain that does not exist, if that is what it waits for.
    pub chain: Option<String>,
    /// The set that does not exist, if that is what it waits for.
    pub set: Option<String>,
}

/// Milliseconds; 0 for what was not done.
#[derive(Debug, Clone, Deserialize)]
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

/// Where rules stand in their chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Position {
    /// The number of the first.
    pub number: usize,
    /// Rules in front of it that stay.
    pub after: Option<usize>,
    /// Rules behind it that stay.
    pub before: Option<usize>,
}

/// One group of written lines.
#[derive(Debug, Clone, Deserialize)]
pub struct Change {
    /// `ipv4` or `ipv6`.
    pub family: Option<String>,
    /// Which table, unless it is about a set.
    pub table: Option<String>,
    /// Which chain (or set).
    pub chain: Option<String>,
    /// `add`, `remove`, `change` or `move`.
    pub action: String,
    /// `rules`, `chain`, `policy`, `table`, `set` or `members`.
    pub object: String,
    /// Where the rules stand in their chain.
    pub position: Option<Position>,
    /// Lines written.
    pub added: Vec<String>,
    /// Lines removed.
    pub removed: Vec<String>,
}

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Actor {
    /// The kernel's name of the process, or `unknown`.
    pub name: String,
    /// Its id.
    pub pid: Option<u32>,
    /// The file that it runs.
    pub executable: Option<String>,
    /// Its words.
    pub command_line: Option<String>,
    /// Its control group.
    pub cgroup: Option<String>,
    /// Who started it.
    pub parent: Option<Box<Parent>>,
}

/// Who started a process.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Parent {
    /// The kernel's name of it.
    pub name: String,
    /// Its id.
    pub pid: u32,
    /// Its words.
    pub command_line: Option<String>,
    /// Who started it.
    pub parent: Option<Box<Parent>>,
}

/// One of those who did something, and how often.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ActorTimes {
    /// Who.
    #[serde(flatten)]
    pub actor: Actor,
    /// How often.
    pub times: u64,
    /// The first time, RFC 3339.
    pub at: String,
    /// The last time, RFC 3339.
    pub last_at: String,
}

/// Who keeps undoing repairs.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Fight {
    /// Where, in words.
    pub place: String,
    /// Since when, RFC 3339.
    pub since: String,
    /// Who.
    pub opponents: Vec<ActorTimes>,
    /// How many repairs there were.
    pub rounds: u64,
    /// The pause between two repairs.
    pub pause_ms: f64,
    /// Since when it is missing, if it is.
    pub missing_since: Option<String>,
    /// When it is repaired next, if it is missing.
    pub next_try: Option<String>,
}

/// How drift is noticed and repaired.
#[derive(Debug, Clone, Deserialize)]
pub struct Watch {
    /// By what.
    pub method: String,
    /// More about it.
    pub detail: String,
    /// By which means it is repaired.
    pub repair: String,
    /// How many rules only `iptables-restore` brings back.
    pub unproven: u64,
}

/// A drift and its repair.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Incident {
    /// Counts up from 1.
    pub id: u64,
    /// When it was found first, RFC 3339.
    pub at: String,
    /// When it was found last, RFC 3339.
    pub last_at: String,
    /// `ipv4` or `ipv6`.
    pub family: Option<String>,
    /// Which table, unless it is about a set.
    pub table: Option<String>,
    /// Which chain (or set).
    pub chain: Option<String>,
    /// `rule-deleted`, ...
    pub kind: String,
    /// For people.
    pub detail: String,
    /// Lines put back.
    pub added: Vec<String>,
    /// Lines taken away.
    pub removed: Vec<String>,
    /// Whether it is right again.
    pub repaired: bool,
    /// By what.
    pub how: String,
    /// How long that took.
    pub took_ms: f64,
    /// From the kernel's event to the repair; none if no event was seen.
    pub latency_ms: Option<f64>,
    /// The worst of them.
    pub latency_ms_max: Option<f64>,
    /// How many events were seen.
    pub events: u64,
    /// How often it happened.
    pub times: u64,
    /// Who did it, each with how often.
    pub actors: Vec<ActorTimes>,
    /// How often others did it.
    pub more_actors: u64,
}

/// How a policy fares.
#[derive(Debug, Clone, Deserialize)]
pub struct PolicyState {
    /// Its name in the configuration.
    pub name: String,
    /// Its version as it calls it.
    pub version: Option<String>,
    /// Of its component.
    pub digest: Option<String>,
    /// What it warned of.
    pub warnings: Vec<String>,
    /// `current`, `last-good`, `waiting`, `never-answered`, `shadow` or `off`.
    pub state: String,
    /// Why it is not current.
    pub reason: Option<String>,
    /// What the configuration asks for instead.
    pub candidate: Option<Candidate>,
    /// Digest of the contribution that counts.
    pub contribution: Option<String>,
    /// Its limits, and what it used of them.
    pub limits: Vec<serde_json::Value>,
    /// What would be different if it, a shadow, were put in force.
    pub shadow: Option<Shadow>,
    /// Which earlier version is held in place of the configured one.
    pub pinned: Option<Pinned>,
    /// How many chains it has.
    pub chains: u64,
    /// How many rules it has.
    pub rules: u64,
    /// How many sets it has.
    pub sets: u64,
}

/// How a shadow compares.
#[derive(Debug, Clone, Deserialize)]
pub struct Shadow {
    /// With what.
    pub of: Option<String>,
    /// Lines that would be added.
    pub added: u64,
    /// Lines that would be removed.
    pub removed: u64,
}

/// A version that is held.
#[derive(Debug, Clone, Deserialize)]
pub struct Pinned {
    /// From which record.
    pub record: String,
    /// Why, in the words of whoever did it.
    pub why: String,
}

/// A version that is not in force.
#[derive(Debug, Clone, Deserialize)]
pub struct Candidate {
    /// Of its component.
    pub digest: Option<String>,
    /// `loading`, `waiting` or `refused`.
    pub state: String,
    /// Why it is not in force.
    pub reason: Option<String>,
}

/// What `status` prints.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// The last report.
    #[serde(flatten)]
    pub report: Report,
    /// The daemon's process.
    pub pid: i32,
    /// The node's name.
    pub node_name: String,
    /// Time to the next check; none while one runs.
    pub next_check_in_ms: Option<u64>,
    /// How many checks there were.
    pub checks: u64,
    /// How many incidents there were.
    pub incidents_total: u64,
    /// What the daemon waits for, if it waits.
    pub waiting: Option<String>,
    /// Who keeps undoing repairs.
    pub fights: Vec<Fight>,
    /// How drift is noticed and repaired.
    pub watch: Option<Watch>,
}

impl Incident {
    /// Who did it the last time.
    #[track_caller]
    pub fn actor(&self) -> &Actor {
        let last = self.actors.iter().max_by_key(|one| &one.last_at);
        &last.unwrap_or_else(|| panic!("an incident without an actor: {self:#?}")).actor
    }

    /// Whether more than a comparison told of it: when it happened, or who did it.
    pub fn was_heard(&self) -> bool {
        self.latency_ms.is_some() || self.actor().is_named()
    }

    /// Whether it is of this kind in this place.
    pub fn is(&self, kind: &str, family: &str, table: &str, chain: &str) -> bool {
        self.kind == kind
            && self.family.as_deref() == Some(family)
            && self.table.as_deref() == Some(table)
            && self.chain.as_deref() == Some(chain)
    }
}

/// Which incidents there were, and how often each, at some moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mark(BTreeMap<u64, u64>);

impl Status {
    /// Now.
    pub fn mark(&self) -> Mark {
        Mark(self.report.incidents.iter().map(|incident| (incident.id, incident.times)).collect())
    }

    /// What has happened since, or happened again.
    pub fn since(&self, mark: &Mark) -> Vec<Incident> {
        let fresh = |incident: &&Incident| mark.0.get(&incident.id).is_none_or(|times| incident.times > *times);
        self.report.incidents.iter().filter(fresh).cloned().collect()
    }

    /// By which means the daemon hears of changes.
    #[track_caller]
    pub fn watch_method(&self) -> &str {
        &self.watch.as_ref().expect("the status tells how the daemon watches").method
    }
}

impl Report {
    /// Reads the program's output.
    #[track_caller]
    pub fn parse(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_else(|error| panic!("this is not a report ({error}):\n{text}"))
    }

    /// Panics unless nothing was to do and all is right.
    #[track_caller]
    pub fn assert_unchanged(&self) {
        assert!(
            self.outcome == "unchanged" && self.in_sync && self.changes.is_empty(),
            "expected no change, got {self:#?}"
        );
    }

    /// The state of the policy of that name.
    #[track_caller]
    pub fn policy(&self, name: &str) -> &PolicyState {
        let found = self.policies.iter().find(|policy| policy.name == name);
        found.unwrap_or_else(|| panic!("the report lacks policy {name}: {self:#?}"))
    }

    /// Panics unless there is a repaired incident of one of these kinds at this place.
    #[track_caller]
    pub fn assert_incident(&self, kinds: &[&str], family: &str, table: &str, chain: &str) {
        let found = self
            .incidents
            .iter()
            .any(|incident| incident.repaired && kinds.iter().any(|kind| incident.is(kind, family, table, chain)));
        assert!(
            found,
            "no repaired incident {} at {family} {table} {chain}; there are {:#?}",
            kinds.join(" or "),
            self.incidents
        );
    }
}
