//! What `status` says: the last report, and how the daemon is doing.

use std::time::{Duration, SystemTime};

use ruleward_core::fight::Fight;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ActorReport, Report, actors, milliseconds, timestamp};

/// The JSON of `status`.
#[derive(Debug, Clone, PartialEq, JsonSchema, Serialize, Deserialize)]
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
    /// How often drift was found since the daemon started; each time of an incident counts.
    pub incidents_total: u64,
    /// What the running check waits for.
    pub waiting: Option<String>,
    /// Who keeps undoing repairs at this moment, and where: the alarm.
    #[serde(default)]
    pub fights: Vec<FightReport>,
    /// How drift is noticed and repaired; none before that is known.
    #[serde(default)]
    pub watch: Option<WatchReport>,
}

/// A place that somebody keeps undoing.
#[derive(Debug, Clone, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FightReport {
    /// `IPv4 nat POSTROUTING`, or `set NAME`.
    pub place: String,
    /// Since when: RFC 3339, UTC.
    pub since: String,
    /// Who does it: every distinct program, the first sixteen.
    pub opponents: Vec<ActorReport>,
    /// How often programs did it that `opponents` does not name.
    #[serde(default)]
    pub more_opponents: u64,
    /// How many repairs there were in this fight.
    pub rounds: u64,
    /// The pause between two repairs now, in milliseconds.
    pub pause_ms: f64,
}

impl FightReport {
    /// Of a fight whose times count from `started`.
    pub fn new(fight: &Fight, started: SystemTime) -> Self {
        let at = |time| started.checked_add(time).unwrap_or(started);
        Self {
            place: fight.place.to_string(),
            since: timestamp(at(fight.since)),
            opponents: actors::report(&fight.opponents, at),
            more_opponents: fight.opponents.more(),
            rounds: fight.rounds,
            pause_ms: milliseconds(fight.pause),
        }
    }

    /// The pause between two repairs now.
    pub fn pause(&self) -> Duration {
        Duration::try_from_secs_f64(self.pause_ms / 1e3).unwrap_or_default()
    }
}

/// How drift is noticed and repaired.
#[derive(Debug, Clone, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct WatchReport {
    /// `nf_tables events`, `lock file by fanotify`, `polling every 1 s`.
    pub method: String,
    /// More about it, and why this one; may be empty.
    pub detail: String,
    /// By which means it is repaired: `netlink replay; 3 of 1,204 rules only by iptables-restore: no proof`.
    pub repair: String,
    /// How many rules only `iptables-restore` can bring back.
    pub unproven: u64,
}
