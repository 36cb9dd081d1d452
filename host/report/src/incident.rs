//! A drift that was seen, what became of it, and who did it.

use ruleward_core::actor::Actor;
use ruleward_core::drift::Kind;
use ruleward_core::names::{Family, Table};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ActorReport;

/// What is said of a change that concerns packets and that no policy asks to undo.
pub const ONLY_RECORDED: &str = "recorded only: no Ruleward policy sets the policy of this chain";

/// What is said where another program had put the place right before anything was written.
pub const NOTHING_WRITTEN: &str = "already in sync, nothing written";

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
    /// Whether the place is in sync again.
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

impl Incident {
    /// `IPv4 nat POSTROUTING`, or `set NAME`.
    pub fn place(&self) -> String {
        match (self.family, self.table) {
            (Some(family), Some(table)) => format!("{family} {table} {}", self.chain).trim_end().to_owned(),
            _ => format!("set {}", self.chain),
        }
    }

    /// Whether it was recorded and nothing was to repair: the node is in sync all the same.
    pub fn is_only_recorded(&self) -> bool {
        !self.repaired && self.how == ONLY_RECORDED
    }
}
