//! What `status` says: the last report, and how the daemon is doing.

use serde::{Deserialize, Serialize};

use super::Report;

/// The JSON of `status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// The last report. Its incidents are the last 200 of all checks, its changes are shortened.
    #[serde(flatten)]
    pub report: Report,
    /// Process id of the daemon.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// Name of the node.
    pub node_name: String,
    /// When the daemon started: RFC 3339, UTC.
    pub started: String,
    /// Since when the node has been right, or not right: RFC 3339, UTC. A repair begins a new time.
    pub since: String,
    /// When the last check ended: RFC 3339, UTC; none before the first.
    pub last_check: Option<String>,
    /// Longest time between two full comparisons, as in the configuration.
    pub refresh_interval: String,
    /// Time to the next check; none while one runs.
    pub next_check_in_ms: Option<u64>,
    /// How many checks have ended.
    pub checks: u64,
    /// How many of them failed.
    pub checks_failed: u64,
    /// How many incidents there were since the daemon started.
    pub incidents_total: u64,
    /// What the running check waits for.
    pub waiting: Option<String>,
}
