//! What `status` says: the last report, and how the daemon is doing.

use std::time::{Duration, SystemTime};

use ruleward_core::fight::Fight;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ActorReport, Outcome, Report, actors, milliseconds, timestamp};

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
    /// Since when the node has been in sync, or out of sync: RFC 3339, UTC. A repair begins a new time. In a fight, out of
    /// sync counts from the first time on, and not from the last repair.
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

/// What is said of a node first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The first check has not ended.
    Pending,
    /// The kernel does not show what the policies ask for.
    OutOfSync,
    /// It does, but a version or the configuration is refused, and what was in force before stays.
    Refused,
    /// It does, and that is nothing.
    NothingEnforced,
    /// It does.
    InSync,
}

impl Verdict {
    /// What `status` exits with.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::InSync => 0,
            Self::Pending | Self::OutOfSync => 1,
            Self::Refused => 3,
            Self::NothingEnforced => 4,
        }
    }
}

impl Status {
    /// What was repaired and is undone again is not told as repaired.
    pub fn tell_what_is_missing(&mut self) {
        for fight in &self.fights {
            let Some(since) = &fight.missing_since else { continue };
            let mut there = self.report.incidents.iter_mut().rev().filter(|one| one.place() == fight.place);
            if let Some(last) = there.next() {
                let next = fight.next_try.as_deref().unwrap_or("later");
                last.repaired = false;
                last.how = format!("undone again, and missing since {since}; the next repair is due at {next}");
            }
        }
    }

    /// How the node stands.
    pub fn verdict(&self) -> Verdict {
        match &self.report {
            report if report.outcome == Outcome::Pending => Verdict::Pending,
            report if !report.in_sync => Verdict::OutOfSync,
            report if !report.refused.is_empty() => Verdict::Refused,
            report if report.nothing_enforced.is_some() => Verdict::NothingEnforced,
            _ => Verdict::InSync,
        }
    }
}

/// A place that another program keeps undoing.
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
    /// The pause between two repairs now, in milliseconds; 0 where they are made at once, because they are rare.
    pub pause_ms: f64,
    /// The mean time between the last repairs, in milliseconds.
    #[serde(default)]
    pub every_ms: f64,
    /// Since when the place is not as it should be, if it is not now: RFC 3339, UTC.
    #[serde(default)]
    pub missing_since: Option<String>,
    /// When it is repaired next, if it is not as it should be now: RFC 3339, UTC.
    #[serde(default)]
    pub next_try: Option<String>,
}

impl FightReport {
    /// Of a fight whose times count from `started`.
    pub fn new(fight: &Fight, started: SystemTime) -> Self {
        let time = |time: Duration| started.checked_add(time).unwrap_or(started);
        let at = |at: Duration| timestamp(time(at));
        Self {
            place: fight.place.to_string(),
            since: at(fight.since),
            opponents: actors::report(&fight.opponents, time),
            more_opponents: fight.opponents.more(),
            rounds: fight.rounds,
            pause_ms: milliseconds(fight.pause),
            every_ms: milliseconds(fight.every),
            missing_since: fight.missing_since.map(at),
            next_try: fight.next_try.map(at),
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
    /// `nf_tables events`, `events of the xtables lock (fanotify)`, `polling every 1s`.
    pub method: String,
    /// More about it, and why this one; may be empty.
    pub detail: String,
    /// By which means it is repaired: `netlink replay; 3 of 1,204 rules only by iptables-restore: no proof`.
    pub repair: String,
    /// How many rules only `iptables-restore` can bring back.
    pub unproven: u64,
}
