//! Faults of the machine around the daemon, each with its outcome in docs/operating.md. Full and read-only disks are in
//! `failure`, kills at every call in `crash`; journald and a clock on the wall that jumps in `packaging/test/service`.

use std::fs;

use ruleward_tests::save::assert_same;
use ruleward_tests::trial;
use ruleward_tests::{Backend, Daemon, Family, Status, poll};
use serde_json::json;

use super::{in_sync, node};

trial!(
    for backend in Backend::ALL,
    "service::faults::{backend}::a_runtime_directory_that_vanishes",
    a_runtime_directory_that_vanishes(backend)
);
/// Nobody can ask any more, and everything else goes on; the next start makes it again.
fn a_runtime_directory_that_vanishes(backend: Backend) {
    let node = node(backend);
    let mut daemon = node.daemon();
    let before = node.save_all();
    fs::remove_dir_all(node.path("run")).expect("it is ours");
    let output = node.ruleward(&["status"]).output();
    assert_eq!(output.code, Some(69), "{output:?}");
    node.stranger(Family::Ipv4).flush_chain("filter", "op-in");
    poll("repaired all the same", || (node.save_all() == before).then_some(()));
    daemon.assert_running();
    daemon.stop();
    let daemon = Daemon::start(&node);
    daemon.wait_until("in sync", in_sync);
    assert_same("everything", &before, &node.save_all());
}

trial!(
    for backend in Backend::ALL,
    "service::faults::{backend}::a_read_only_configuration",
    a_read_only_configuration(backend)
);
/// Nothing is ever written there.
fn a_read_only_configuration(backend: Backend) {
    let node = node(backend);
    let folder = node.path("etc");
    fs::create_dir(&folder).expect("a free name");
    node.write("etc/ruleward.toml", &fs::read_to_string(node.path("ruleward.toml")).expect("it was written"));
    let etc = folder.display().to_string();
    node.command("mount").args(&["--bind", &etc, &etc]).must();
    node.command("mount").args(&["-o", "remount,bind,ro", &etc]).must();
    node.use_configuration("etc/ruleward.toml");
    let daemon = node.daemon();
    daemon.reload(0);
    let before = daemon.status().mark();
    node.stranger(Family::Ipv4).flush_chain("filter", "op-in");
    daemon.incident_after(&before, "chain-flushed", Family::Ipv4, "filter", "op-in");
    assert!(daemon.status().report.notes.iter().all(|note| !note.contains("ead-only")), "{:?}", daemon.status());
}

trial!(
    for backend in Backend::ALL,
    "service::faults::{backend}::a_start_with_a_wrong_configuration",
    a_start_with_a_wrong_configuration(backend)
);
/// A slip of the pen and a boot: the last configuration that was right is in force.
fn a_start_with_a_wrong_configuration(backend: Backend) {
    let node = node(backend);
    let right = fs::read_to_string(node.path("ruleward.toml")).expect("it was written");
    let wrong = format!("refresh-intervall = \"1s\"\n{right}");
    node.write("ruleward.toml", &wrong);
    let output = node.ruleward(&["run"]).output();
    assert_eq!(output.code, Some(78), "there is none yet: {output:?}");
    node.write("ruleward.toml", &right);
    let daemon = node.daemon();
    let before = node.save_all();
    daemon.stop();
    for family in Family::ALL {
        node.stranger(family).flush_table("filter");
    }
    node.write("ruleward.toml", &wrong);
    let daemon = Daemon::start(&node);
    let refused = |status: &Status| {
        let report = &status.report;
        report.problems.iter().chain(&report.notes).any(|text| text.contains("refresh-intervall"))
    };
    poll("the rules are in force", || (node.save_all() == before).then_some(()));
    daemon.wait_until("told what is wrong", refused);
    daemon.reload(78);
    node.write("ruleward.toml", &right);
    daemon.wait_until("right again", |status| in_sync(status) && !refused(status));
    assert_same("everything", &before, &node.save_all());
}

trial!(
    for backend in Backend::ALL,
    "service::faults::{backend}::a_stop_leaves_the_rules",
    a_stop_leaves_the_rules(backend)
);
fn a_stop_leaves_the_rules(backend: Backend) {
    let node = node(backend);
    let daemon = node.daemon();
    let before = node.save_all();
    daemon.stop();
    assert_same("everything", &before, &node.save_all());
    assert!(!node.path("run/status.sock").exists());
}

trial!(
    for backend in Backend::ALL,
    "service::faults::{backend}::a_kill_leaves_the_rules",
    a_kill_leaves_the_rules(backend)
);
fn a_kill_leaves_the_rules(backend: Backend) {
    let node = node(backend);
    let mut daemon = node.daemon();
    let before = node.save_all();
    daemon.signal("KILL");
    daemon.wait();
    assert_same("everything", &before, &node.save_all());
    // What it has left behind is in nobody's way.
    let daemon = node.daemon();
    daemon.refresh().assert_unchanged();
    assert_same("everything", &before, &node.save_all());
}

trial!(
    for backend in Backend::ALL,
    "service::faults::{backend}::another_clock_at_boot",
    another_clock_at_boot(backend)
);
/// A machine that was never off and one that has run for a year: nothing but differences of the monotonic clock counts. It
/// can't be set while a process runs; the clock on the wall, which can, is only ever shown.
fn another_clock_at_boot(backend: Backend) {
    let node = node(backend);
    for seconds in ["31536000", "-1"] {
        node.set("refresh-interval", json!("200ms"));
        node.shift_clock(seconds);
        let daemon = node.daemon();
        let namespace =
            |pid: &str| fs::read_link(format!("/proc/{pid}/ns/time")).expect("a kernel with time namespaces");
        assert_ne!(namespace(&daemon.pid().to_string()), namespace("self"), "the clock is the machine's");
        daemon.wait_until("checking by the clock", |status| status.checks > 3 && in_sync(status));
        let before = daemon.status().mark();
        node.stranger(Family::Ipv4).flush_chain("filter", "op-in");
        daemon.incident_after(&before, "chain-flushed", Family::Ipv4, "filter", "op-in");
        daemon.stop();
    }
}
