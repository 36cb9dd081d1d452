//! The store on which a running daemon shows how it is doing, and which `status` reads.
//!
//! Writers and readers hold its lock only to copy plain data, never during a check, so `status` answers at once also
//! while a check waits for a lock or a slow tool.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use ruleward_core::expected::Expected;

use crate::metrics::{Metrics, WaitFor};
use ruleward_core::quantity::format_duration;
use ruleward_report::heartbeat::{Heartbeat, Stuck};
use ruleward_report::status::{FightReport, Status, WatchReport};
use ruleward_report::{Change, Incident, Outcome, PolicyReport, PolicyState, Report, timestamp};

/// How many incidents `status` shows.
pub const KEPT_INCIDENTS: usize = 200;
/// How many changes of the last report `status` shows, and how many rules of each.
pub const KEPT_CHANGES: usize = 100;

/// A look at files takes milliseconds. One that takes so long hangs.
pub const LONGEST_LOOK: Duration = Duration::from_secs(10);

/// What to say of a look at files that does not end.
pub fn unseen(Stuck { doing, silent }: Stuck) -> String {
    format!(
        "files have not been read for {} s: {doing} has not ended. The last read files count, and rules are repaired. Find \
         the file system that does not answer (`stat` on each of them). Mount it again, or configure another place",
        silent.as_secs()
    )
}

/// Shared between the pipeline, the loop and the sockets; clones show the same.
#[derive(Debug, Clone)]
pub struct StatusStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    started: SystemTime,
    stopping: AtomicBool,
    /// Grows with everything that is put up.
    version: AtomicU64,
    heartbeat: Heartbeat,
    watcher_heartbeat: Heartbeat,
    metrics: Metrics,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    node_name: String,
    refresh_interval: Duration,
    last: Report,
    since: SystemTime,
    /// Since when it has been out of sync in the fight that goes on, but for the moments after each repair.
    fought_since: Option<SystemTime>,
    last_check: Option<SystemTime>,
    next_check: Option<Instant>,
    /// Since when a check has been running.
    running_since: Option<Instant>,
    checks: u64,
    checks_failed: u64,
    incidents: VecDeque<Incident>,
    incidents_total: u64,
    waiting: Option<String>,
    fights: Vec<FightReport>,
    watch: Option<WatchReport>,
    shadows: Vec<PolicyReport>,
    notes: BTreeMap<&'static str, String>,
    /// What the kernel is kept at.
    expected: Option<Arc<Expected>>,
    /// When it was last found so.
    in_sync_at: Option<Instant>,
}

/// How the checks go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// One has been running for so long.
    Running(Duration),
    /// The next one should have begun so long ago.
    Due(Duration),
    /// The next one is not due yet.
    Waiting,
}

impl StatusStore {
    /// An empty store of a daemon that starts now.
    pub fn new(node_name: &str, refresh_interval: Duration) -> Self {
        let started = SystemTime::now();
        let state = State {
            node_name: node_name.to_owned(),
            refresh_interval,
            last: Report::default(),
            since: started,
            fought_since: None,
            last_check: None,
            next_check: None,
            running_since: None,
            checks: 0,
            checks_failed: 0,
            incidents: VecDeque::new(),
            incidents_total: 0,
            waiting: None,
            fights: Vec::new(),
            watch: None,
            shadows: Vec::new(),
            notes: BTreeMap::new(),
            expected: None,
            in_sync_at: None,
        };
        let shared = Shared {
            started,
            stopping: AtomicBool::new(false),
            version: AtomicU64::new(0),
            heartbeat: Heartbeat::new(Instant::now()),
            watcher_heartbeat: Heartbeat::new(Instant::now()),
            metrics: Metrics::new(),
            state: Mutex::new(state),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Says what the running check waits for ("for the xtables lock, held by pid 123 (iptables) for 12 s"); `None`
    /// when it goes on.
    pub fn waiting(&self, on: WaitFor, what: Option<String>) {
        self.step("waiting");
        self.shared.metrics.waiting(what.is_some().then_some(on));
        self.change().waiting = what;
    }

    /// Says that the running check has come to its next step.
    pub fn step(&self, doing: &'static str) {
        self.shared.heartbeat.step(Instant::now(), doing, Duration::ZERO);
    }

    /// Whether checks and repairs go on.
    pub fn heartbeat(&self) -> &Heartbeat {
        &self.shared.heartbeat
    }

    /// Whether the look at files goes on. No watchdog asks for it: rules are kept meanwhile, and a start anew would hang in the same place.
    pub fn watcher_heartbeat(&self) -> &Heartbeat {
        &self.shared.watcher_heartbeat
    }

    /// A look at files that does not end.
    pub fn unseen(&self) -> Option<Stuck> {
        self.shared.watcher_heartbeat.stuck(Instant::now(), LONGEST_LOOK)
    }

    /// Says what the node is called, and how often it is checked. Without a name it keeps its own.
    pub fn node(&self, name: Option<&str>, refresh_interval: Duration) {
        let mut state = self.change();
        if let Some(name) = name {
            name.clone_into(&mut state.node_name);
        }
        state.refresh_interval = refresh_interval;
    }

    /// Says who keeps undoing repairs, all of them; none ends the alarm.
    pub fn fights(&self, fights: Vec<FightReport>) {
        let state = &mut *self.change();
        if fights.is_empty() {
            state.fought_since = None;
        }
        state.fights = fights;
    }

    /// Says how drift is noticed and repaired.
    pub fn watch(&self, watch: WatchReport) {
        self.change().watch = Some(watch);
    }

    /// Says how shadows compare, all of them.
    pub fn shadows(&self, shadows: Vec<PolicyReport>) {
        self.state().shadows = shadows;
    }

    /// What was said of shadows last.
    pub fn known_shadows(&self) -> Vec<PolicyReport> {
        self.state().shadows.clone()
    }

    /// Adds a note that stays until the next one on the same topic; `None` takes it away.
    pub fn note(&self, topic: &'static str, note: Option<String>) {
        match note {
            Some(note) => self.change().notes.insert(topic, note),
            None => self.change().notes.remove(topic),
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
        self.shared.metrics.checked(report);
        self.show(report, now, 1);
    }

    /// Takes note of a check that ended at `now` and found that nothing has happened since the last one.
    pub fn checked_again(&self, now: SystemTime) {
        self.shared.metrics.checked_again();
        let state = &mut *self.change();
        state.last_check = Some(now);
        state.checks += 1;
        if state.last.in_sync {
            state.in_sync_at = Some(Instant::now());
        }
    }

    /// Takes note of a repair that nobody asked for; it is no check.
    pub fn repaired(&self, report: &Report, now: SystemTime) {
        self.shared.metrics.reported(report);
        self.show(report, now, 0);
    }

    fn show(&self, report: &Report, now: SystemTime, checks: u64) {
        let mut short = report.without_lists();
        short.changes = report.changes.iter().take(KEPT_CHANGES).map(shortened).collect();
        if report.changes.len() > KEPT_CHANGES {
            short.notes.push(format!("{} more changes are not shown", report.changes.len() - KEPT_CHANGES));
        }
        self.shared.metrics.waiting(None);
        let state = &mut *self.change();
        if state.last.outcome == Outcome::Pending
            || state.last.in_sync != report.in_sync
            || (report.in_sync && report.outcome == Outcome::Changed)
        {
            state.since = now;
        }
        if !report.in_sync && !state.fights.is_empty() {
            state.since = *state.fought_since.get_or_insert(state.since);
        }
        state.last = short;
        if checks > 0 {
            state.last_check = Some(now);
        }
        if state.last.in_sync {
            state.in_sync_at = Some(Instant::now());
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
        let state = &mut *self.state();
        state.next_check = at;
        state.running_since = if at.is_some() { None } else { state.running_since.or_else(|| Some(Instant::now())) };
    }

    /// Whether checks go on.
    pub fn progress(&self) -> Progress {
        let state = self.state();
        match (state.running_since, state.next_check) {
            (Some(since), _) => Progress::Running(since.elapsed()),
            (None, Some(at)) if at < Instant::now() => Progress::Due(at.elapsed()),
            (None, _) => Progress::Waiting,
        }
    }

    /// Shows what the kernel is kept at from now on.
    pub fn expect(&self, expected: &Arc<Expected>) {
        self.change().expected = Some(Arc::clone(expected));
    }

    /// What the kernel is kept at; none before the first commit.
    pub fn expected(&self) -> Option<Arc<Expected>> {
        self.state().expected.clone()
    }

    /// Time since the kernel was last found right; none if it never was. It is 0 while it is right by the last report.
    pub fn since_in_sync(&self) -> Option<Duration> {
        let state = self.state();
        if state.last.in_sync { Some(Duration::ZERO) } else { state.in_sync_at.map(|at| at.elapsed()) }
    }

    /// Counters and histograms.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Another number after each change of what is shown.
    pub fn version(&self) -> u64 {
        self.shared.version.load(Ordering::Acquire)
    }

    /// What there is to say at this moment.
    pub fn status(&self) -> Status {
        let state = self.state();
        let mut status = self.shared.brief(&state);
        status.report.incidents = state.incidents.iter().cloned().collect();
        status.tell_what_is_missing();
        status
    }

    /// The same without the incidents, which may be long.
    pub fn brief(&self) -> Status {
        self.shared.brief(&self.state())
    }

    fn change(&self) -> MutexGuard<'_, State> {
        self.shared.version.fetch_add(1, Ordering::AcqRel);
        self.state()
    }

    /// Plain data that is whole after every statement, so a panic elsewhere leaves nothing to fear.
    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn brief(&self, state: &State) -> Status {
        let mut report = state.last.clone();
        report.notes.extend(state.notes.values().cloned());
        report.problems.extend(self.watcher_heartbeat.stuck(Instant::now(), LONGEST_LOOK).map(unseen));
        // The newest word on each shadow.
        for policy in report.policies.iter_mut().filter(|policy| policy.state == PolicyState::Shadow) {
            if let Some(newest) = state.shadows.iter().find(|shadow| shadow.name == policy.name) {
                policy.clone_from(newest);
            }
        }
        Status {
            report,
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node_name: state.node_name.clone(),
            started: timestamp(self.started),
            since: timestamp(state.since),
            last_check: state.last_check.map(timestamp),
            refresh_interval: format_duration(state.refresh_interval).to_string(),
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

#[cfg(test)]
#[path = "status_store_tests.rs"]
pub(crate) mod tests;
