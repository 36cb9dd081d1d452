//! The running daemon of a node, killed when it goes out of scope.

use std::fs;
use std::path::Path;
use std::process::Child;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::trial::leave_evidence;
use crate::{Family, Incident, Mark, Node, Report, Status};

/// How long anything may take before a test gives up. Generous: a busy machine must not fail a test.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// [`PATIENCE`], or the seconds in `RULEWARD_TEST_PATIENCE`: to see quickly how a test fails.
fn patience() -> Duration {
    let seconds = std::env::var("RULEWARD_TEST_PATIENCE").ok().and_then(|text| text.parse().ok());
    seconds.map_or(PATIENCE, Duration::from_secs)
}

/// `ruleward run`.
pub struct Daemon {
    node: Arc<Node>,
    child: Child,
}

impl Daemon {
    /// Starts it and waits until it answers `status`.
    #[track_caller]
    pub fn start(node: &Arc<Node>) -> Self {
        Self::start_with(node, &["--log-level", "debug"])
    }

    /// The same with other options.
    #[track_caller]
    pub fn start_with(node: &Arc<Node>, options: &[&str]) -> Self {
        let mut daemon = Self::spawn(node, options);
        poll("the daemon answers", || {
            daemon.assert_running();
            daemon.try_status().map(|_| ())
        });
        daemon
    }

    /// Starts it and does not wait.
    #[track_caller]
    pub fn spawn(node: &Arc<Node>, options: &[&str]) -> Self {
        let words = [options, &["run"]].concat();
        let child = node.ruleward(&words).spawn(&node.path("daemon.log"));
        Self { node: Arc::clone(node), child }
    }

    /// Asks for its status; none while it does not answer.
    pub fn try_status(&self) -> Option<Status> {
        let output = self.node.ruleward(&["--output", "json", "status"]).output();
        match output.code {
            // In sync or not, something refused, nothing enforced.
            Some(0 | 1 | 3 | 4) => Some(serde_json::from_str(&output.stdout).unwrap_or_else(|error| {
                panic!("this is not a status ({error}):\n{}", output.stdout);
            })),
            _ => None,
        }
    }

    /// Asks for its status.
    #[track_caller]
    pub fn status(&self) -> Status {
        self.try_status().unwrap_or_else(|| panic!("the daemon does not answer"))
    }

    /// Waits until the status is as wished; that status.
    #[track_caller]
    pub fn wait_until(&self, wish: &str, condition: impl Fn(&Status) -> bool) -> Status {
        let mut last = None;
        let found = try_poll(|| {
            let status = self.try_status()?;
            last = Some(status.clone());
            condition(&status).then_some(status)
        });
        found.unwrap_or_else(|| panic!("not {wish} within {:?}; the last status is {last:#?}", patience()))
    }

    /// Waits until it is in sync and knows of no problem.
    #[track_caller]
    pub fn wait_until_in_sync(&self) -> Status {
        self.wait_until("in sync", |status| status.report.in_sync && status.report.problems.is_empty())
    }

    /// The daemon's process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a repaired incident that came after the first `before` ones; nobody asks for a check.
    #[track_caller]
    pub fn incident_after(&self, before: &Mark, kind: &str, family: Family, table: &str, chain: &str) -> Incident {
        let family = family.to_string();
        let fits = |incident: &Incident| incident.repaired && incident.is(kind, &family, table, chain);
        let wish = format!("telling of a repaired {kind} at {family} {table} {chain} after {before:?}");
        let status = self.wait_until(&wish, |status| status.report.in_sync && status.since(before).iter().any(fits));
        status.since(before).into_iter().find(fits).expect("it was just there")
    }

    /// Holds it still until [`Daemon::resume`]. When this returns, no thread of it runs.
    #[track_caller]
    pub fn pause(&self) {
        self.signal("STOP");
        poll("the daemon holds still", || {
            let threads = fs::read_dir(format!("/proc/{}/task", self.pid())).ok()?;
            let mut states = threads.map(|thread| stat(&thread.ok()?.path()).first().cloned());
            states.all(|state| state.as_deref() == Some("T")).then_some(())
        });
    }

    /// Lets it go on.
    #[track_caller]
    pub fn resume(&self) {
        self.signal("CONT");
    }

    /// `ruleward refresh`: a full check now.
    #[track_caller]
    pub fn refresh(&self) -> Report {
        self.refresh_ending_with(0)
    }

    /// A check now; its report, with the incidents since the first `before` ones. After a write the daemon looks again by
    /// itself, and on a busy machine that may come between the damage and this check.
    #[track_caller]
    pub fn refresh_since(&self, before: &Mark) -> Report {
        let mut report = self.refresh();
        report.incidents = self.status().since(before);
        assert!(report.in_sync && !report.incidents.is_empty(), "nothing was wrong, or it still is: {report:#?}");
        report
    }

    /// The same as [`Daemon::refresh`] where the check ends with another exit status, because something is wrong besides.
    #[track_caller]
    pub fn refresh_ending_with(&self, code: i32) -> Report {
        self.node.ruleward(&["--output", "json", "refresh"]).report(code)
    }

    /// `ruleward reload`, which must end with `code`.
    #[track_caller]
    pub fn reload(&self, code: i32) -> Report {
        self.node.ruleward(&["--output", "json", "reload"]).report(code)
    }

    /// Everything that it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.node.path("daemon.log")).unwrap_or_default()
    }

    /// Sends a signal by name: `TERM`.
    pub fn signal(&self, name: &str) {
        self.node.command("kill").args(&[format!("-{name}"), self.child.id().to_string()]).must();
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_some()
    }

    /// Waits for its end; the exit status.
    #[track_caller]
    pub fn wait(&mut self) -> Option<i32> {
        poll("the daemon ends", || self.child.try_wait().expect("it is our child")).code()
    }

    /// SIGTERM, then waits; it must end with status 0.
    #[track_caller]
    pub fn stop(mut self) {
        self.signal("TERM");
        assert_eq!(self.wait(), Some(0), "SIGTERM did not end the daemon in order");
    }

    /// Panics if it has ended.
    #[track_caller]
    pub fn assert_running(&mut self) {
        let ended = self.child.try_wait().expect("it is our child");
        assert!(ended.is_none(), "the daemon ended with {ended:?}:\n{}", self.log());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            leave_evidence("the daemon's log", &self.log());
        }
    }
}

/// The fields of a process or thread from its state on, behind the name, which may hold anything.
fn stat(directory: &Path) -> Vec<String> {
    let text = fs::read_to_string(directory.join("stat")).unwrap_or_default();
    let fields = text.rsplit_once(") ").map_or("", |(_, fields)| fields);
    fields.split_whitespace().map(ToOwned::to_owned).collect()
}

/// Waits for `attempt` to give something.
#[track_caller]
pub fn poll<T>(what: &str, attempt: impl FnMut() -> Option<T>) -> T {
    try_poll(attempt).unwrap_or_else(|| panic!("waited {:?} in vain: {what}", patience()))
}

/// The same; none after too long a time.
pub fn try_poll<T>(mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + patience();
    loop {
        if let Some(value) = attempt() {
            return Some(value);
        }
        if Instant::now() > deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
