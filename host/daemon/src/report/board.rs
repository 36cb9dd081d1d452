//! The board on which a running daemon shows how it is doing, and which `status` reads.
//!
//! Writers and readers hold its lock only to copy plain data, never during a check, so `status` answers at once also
//! while a check waits for a lock or a slow tool.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::status::{FightReport, Status, WatchReport};
use super::{Change, Incident, Outcome, Report, timestamp};
use crate::config::format_duration;

/// How many incidents `status` shows.
pub const KEPT_INCIDENTS: usize = 200;
/// How many changes of the last report `status` shows, and how many rules of each.
pub const KEPT_CHANGES: usize = 100;

/// Shared between the pipeline, the loop and the sockets; clones show the same.
#[derive(Debug, Clone)]
pub struct Board {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    node_name: String,
    refresh_interval: Duration,
    started: SystemTime,
    stopping: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    last: Report,
    since: SystemTime,
    last_check: Option<SystemTime>,
    next_check: Option<Instant>,
    checks: u64,
    checks_failed: u64,
    incidents: VecDeque<Incident>,
    incidents_total: u64,
    waiting: Option<String>,
    fights: Vec<FightReport>,
    watch: Option<WatchReport>,
    notes: BTreeMap<&'static str, String>,
}

impl Board {
    /// An empty board of a daemon that starts now.
    pub fn new(node_name: &str, refresh_interval: Duration) -> Self {
        let started = SystemTime::now();
        let state = State {
            last: Report::default(),
            since: started,
            last_check: None,
            next_check: None,
            checks: 0,
            checks_failed: 0,
            incidents: VecDeque::new(),
            incidents_total: 0,
            waiting: None,
            fights: Vec::new(),
            watch: None,
            notes: BTreeMap::new(),
        };
        let node_name = node_name.to_owned();
        let stopping = AtomicBool::new(false);
        Self { shared: Arc::new(Shared { node_name, refresh_interval, started, stopping, state: Mutex::new(state) }) }
    }

    /// Says what the running check waits for ("for the xtables lock, held by pid 123 (iptables) for 12 s"); `None`
    /// when it goes on.
    pub fn waiting(&self, what: Option<String>) {
        self.state().waiting = what;
    }

    /// Says who keeps undoing repairs, all of them; none ends the alarm.
    pub fn fights(&self, fights: Vec<FightReport>) {
        self.state().fights = fights;
    }

    /// Says how drift is noticed and repaired.
    pub fn watch(&self, watch: WatchReport) {
        self.state().watch = Some(watch);
    }

    /// Adds a note that stays until the next one on the same topic; `None` takes it away.
    pub fn note(&self, topic: &'static str, note: Option<String>) {
        match note {
            Some(note) => self.state().notes.insert(topic, note),
            None => self.state().notes.remove(topic),
        };
    }

    /// Whether the daemon is to stop: whoever waits gives up, and nothing new is begun between two kernel calls.
    pub fn stopping(&self) -> bool {
        self.shared.stopping.load(Ordering::Acquire)
    }

    /// Asks everyone to stop.
    pub fn stop(&self) {
        self.shared.stopping.store(true, Ordering::Release);
    }

    /// Takes note of a check that ended at `now`.
    pub fn checked(&self, report: &Report, now: SystemTime) {
        self.show(report, now, 1);
    }

    /// Takes note of a repair that nobody asked for; it is no check.
    pub fn repaired(&self, report: &Report, now: SystemTime) {
        self.show(report, now, 0);
    }

    fn show(&self, report: &Report, now: SystemTime, checks: u64) {
        let mut short = report.without_lists();
        short.changes = report.changes.iter().take(KEPT_CHANGES).map(shortened).collect();
        if report.changes.len() > KEPT_CHANGES {
            short.notes.push(format!("{} more changes are not shown", report.changes.len() - KEPT_CHANGES));
        }
        let state = &mut *self.state();
        if state.last.outcome == Outcome::Pending
            || state.last.in_sync != report.in_sync
            || (report.in_sync && report.outcome == Outcome::Changed)
        {
            state.since = now;
        }
        state.last = short;
        if checks > 0 {
            state.last_check = Some(now);
        }
        state.waiting = None;
        state.checks += checks;
        state.checks_failed += checks * u64::from(report.scheduled() == ruleward_core::schedule::Outcome::Failed);
        state.incidents_total += report.incidents.len() as u64;
        for incident in &report.incidents {
            if incident.times > 1 {
                state.incidents.retain(|earlier| earlier.id != incident.id);
            }
            state.incidents.push_back(incident.clone());
        }
        let surplus = state.incidents.len().saturating_sub(KEPT_INCIDENTS);
        state.incidents.drain(..surplus);
    }

    /// Says when the next check is due; `None` while one runs.
    pub fn next_check(&self, at: Option<Instant>) {
        self.state().next_check = at;
    }

    /// What there is to say at this moment.
    pub fn status(&self) -> Status {
        let shared = &*self.shared;
        let state = self.state();
        let mut report = Report { incidents: state.incidents.iter().cloned().collect(), ..state.last.clone() };
        report.notes.extend(state.notes.values().cloned());
        Status {
            report,
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node_name: shared.node_name.clone(),
            started: timestamp(shared.started),
            since: timestamp(state.since),
            last_check: state.last_check.map(timestamp),
            refresh_interval: format_duration(shared.refresh_interval),
            next_check_in_ms: state.next_check.map(|at| {
                let left = at.saturating_duration_since(Instant::now()).as_millis();
                u64::try_from(left).unwrap_or(u64::MAX)
            }),
            checks: state.checks,
            checks_failed: state.checks_failed,
            incidents_total: state.incidents_total,
            waiting: state.waiting.clone(),
            fights: state.fights.clone(),
            watch: state.watch.clone(),
        }
    }

    /// Plain data that is whole after every statement, so a panic elsewhere leaves nothing to fear.
    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn shortened(change: &Change) -> Change {
    let first = |lines: &[String]| {
        let mut kept: Vec<String> = lines.iter().take(KEPT_CHANGES).cloned().collect();
        if lines.len() > KEPT_CHANGES {
            kept.push(format!("... and {} more", lines.len() - KEPT_CHANGES));
        }
        kept
    };
    Change { added: first(&change.added), removed: first(&change.removed), chain: change.chain.clone(), ..*change }
}
