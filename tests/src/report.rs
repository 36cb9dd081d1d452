//! The program's JSON, typed: a field that is missing or of another type fails the test that reads it.

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
    /// What was or would be written.
    pub changes: Vec<Change>,
    /// Drifts found.
    pub incidents: Vec<Incident>,
    /// The state of each policy.
    pub policies: Vec<PolicyState>,
    /// What went wrong.
    pub problems: Vec<String>,
    /// What the operator should know.
    pub notes: Vec<String>,
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
    /// What differed.
    pub kind: String,
    /// Lines written.
    pub added: Vec<String>,
    /// Lines removed.
    pub removed: Vec<String>,
}

/// A drift and its repair.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Incident {
    /// Counts up from 1.
    pub id: u64,
    /// When it was found, RFC 3339.
    pub at: String,
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
    /// Who did it, or `unknown`.
    pub author: String,
}

/// How a policy fares.
#[derive(Debug, Clone, Deserialize)]
pub struct PolicyState {
    /// Its name in the configuration.
    pub name: String,
    /// `current`, `last-good`, `never-answered` or `off`.
    pub state: String,
    /// Why it is not current.
    pub reason: Option<String>,
    /// How many chains it has.
    pub chains: u64,
    /// How many rules it has.
    pub rules: u64,
    /// How many sets it has.
    pub sets: u64,
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
    /// How many checks there were.
    pub checks: u64,
    /// How many incidents there were.
    pub incidents_total: u64,
    /// What the daemon waits for, if it waits.
    pub waiting: Option<String>,
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
        let found = self.incidents.iter().any(|incident| {
            kinds.contains(&incident.kind.as_str())
                && incident.family.as_deref() == Some(family)
                && incident.table.as_deref() == Some(table)
                && incident.chain.as_deref() == Some(chain)
                && incident.repaired
        });
        assert!(
            found,
            "no repaired incident {} at {family} {table} {chain}; there are {:#?}",
            kinds.join(" or "),
            self.incidents
        );
    }
}
