//! What is measured on: a node with rules of static-rules, and the daemon that guards them.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ruleward_tests::{Backend, Daemon, Node, Report, Systemd, Timings};
use serde_json::{Value, json};

use crate::cpu;
use crate::rules::Rules;
use crate::sample::Sample;

/// Long enough for one measurement.
const QUIET: Duration = Duration::from_secs(3);

/// A node that watches. `more` are keys of the configuration, such as its families.
pub fn node(backend: Backend, rules: Rules, more: &Value) -> Arc<Node> {
    node_with(backend, rules, &json!({}), more)
}

/// The same with policies beside static-rules.
pub fn node_with(backend: Backend, rules: Rules, beside: &Value, more: &Value) -> Arc<Node> {
    let node = Node::new(backend);
    let mut keys = json!({ "watch": "auto", "policies": beside });
    keys["policies"]["static-rules"] = rules.policy(None);
    for (key, value) in more.as_object().expect("keys with values") {
        keys[key] = value.clone();
    }
    node.configure(keys);
    node
}

/// Starts the daemon; it, and the milliseconds from the start of the process until it said that the kernel is in sync.
pub fn start(node: &Arc<Node>) -> (Daemon, f64) {
    let mut systemd = Systemd::listen(node);
    let begin = Instant::now();
    let daemon = Daemon::spawn(node, &["--log-level", "warn"]);
    systemd.await_line("READY=1");
    (daemon, milliseconds(begin.elapsed()))
}

/// Waits until the daemon will not look by itself for some time: after a write it looks again at growing intervals.
pub fn rest(daemon: &Daemon) {
    rest_for(daemon, QUIET);
}

/// The same for another time.
pub fn rest_for(daemon: &Daemon, time: Duration) {
    let rests = |left: Option<u64>| left.is_some_and(|left| Duration::from_millis(left) > time);
    daemon.wait_until("at rest", |status| rests(status.next_check_in_ms));
}

/// Processor time that the daemon has used since its start, with that of the tools that it has run.
pub fn cpu(daemon: &Daemon) -> Duration {
    cpu::of_process(daemon.pid())
}

/// A value of `/proc/PID/status` in MB of 1,000,000 bytes.
pub fn memory(daemon: &Daemon, key: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("the daemon runs");
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or_else(|| panic!("the daemon's status has no {key}: {status}")) * 1024.0 / 1e6
}

/// One of the timings of a check, with its name.
pub type Phase = (&'static str, fn(&Timings) -> f64);

pub const FACTS: Phase = ("facts", |timings| timings.facts);
pub const EVALUATE: Phase = ("evaluate", |timings| timings.evaluate);
pub const REHEARSE: Phase = ("rehearse", |timings| timings.rehearse);
pub const OBSERVE: Phase = ("observe", |timings| timings.observe);
pub const PLAN: Phase = ("plan", |timings| timings.plan);
pub const COMMIT: Phase = ("commit", |timings| timings.commit);
pub const VERIFY: Phase = ("verify", |timings| timings.verify);
pub const TOTAL: Phase = ("total", |timings| timings.total);

/// One phase of all reports.
pub fn phase(reports: &[Report], (_, of): Phase) -> Sample {
    Sample::new(reports.iter().map(|report| of(&report.timings_ms)).collect())
}

/// The same for several, each with its name.
pub fn phases(reports: &[Report], phases: &[Phase]) -> Vec<(&'static str, Sample)> {
    phases.iter().map(|one| (one.0, phase(reports, *one))).collect()
}

pub fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
