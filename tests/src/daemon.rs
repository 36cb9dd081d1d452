//! The running daemon of a node, killed when it goes out of scope.

use std::fs;
use std::process::Child;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::trial::leave_evidence;
use crate::{Node, Report, Status};

/// How long anything may take before a test gives up. Generous: a busy machine must not fail a test.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// `ruleward run`.
pub struct Daemon {
    node: Arc<Node>,
    child: Child,
}

impl Daemon {
    /// Starts it and waits until it answers `status`.
    #[track_caller]
    pub fn start(node: &Arc<Node>) -> Self {
        let child = node.ruleward(&["--log-level", "debug", "run"]).spawn(&node.path("daemon.log"));
        let mut daemon = Self { node: Arc::clone(node), child };
        poll("the daemon answers", || {
            daemon.assert_running();
            daemon.try_status().map(|_| ())
        });
        daemon
    }

    /// Asks for its status; none while it does not answer.
    pub fn try_status(&self) -> Option<Status> {
        let output = self.node.ruleward(&["--output", "json", "status"]).output();
        match output.code {
            Some(0 | 1) => Some(serde_json::from_str(&output.stdout).unwrap_or_else(|error| {
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
        found.unwrap_or_else(|| panic!("not {wish} within {PATIENCE:?}; the last status is {last:#?}"))
    }

    /// `ruleward refresh`: a full check now.
    #[track_caller]
    pub fn refresh(&self) -> Report {
        self.refresh_ending_with(0)
    }

    /// The same where the check ends with another exit status, because something is wrong besides.
    #[track_caller]
    pub fn refresh_ending_with(&self, code: i32) -> Report {
        self.node.ruleward(&["--output", "json", "refresh"]).report(code)
    }

    /// Everything that it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.node.path("daemon.log")).unwrap_or_default()
    }

    /// Sends a signal by name: `TERM`.
    pub fn signal(&self, name: &str) {
        self.node.command("kill").args(&[format!("-{name}"), self.child.id().to_string()]).must();
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

/// Waits for `attempt` to give something.
#[track_caller]
pub fn poll<T>(what: &str, attempt: impl FnMut() -> Option<T>) -> T {
    try_poll(attempt).unwrap_or_else(|| panic!("waited {PATIENCE:?} in vain: {what}"))
}

fn try_poll<T>(mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + PATIENCE;
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
