//! The xtables lock, which iptables-legacy takes, held by somebody else: nothing hangs but the write, and everybody
//! can see who is waited for.

use std::process::{Child, Command, Stdio};

use ruleward_tests::save::assert_same;
use ruleward_tests::trial;
use ruleward_tests::{Backend, Daemon, Family, Node, poll};
use serde_json::json;

use crate::crowd;

/// Somebody who holds the lock until it is dropped.
pub struct Holder(Child);

impl Holder {
    #[track_caller]
    pub fn new(node: &Node) -> Self {
        let mut command = Command::new("flock");
        command.args(["--no-fork", "/run/xtables.lock", "sleep", "1000"]).stdin(Stdio::null());
        let child = node.net.run(move || command.spawn()).expect("flock is part of util-linux");
        let holder = Self(child);
        poll("the lock is held", || {
            let free = node.command("flock").args(&["--nonblock", "/run/xtables.lock", "true"]).output();
            (free.code == Some(1)).then_some(())
        });
        holder
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

trial!("lock::status_answers_while_a_check_waits", status_answers_while_a_check_waits());
fn status_answers_while_a_check_waits() {
    let node = crowd::node(Backend::Legacy);
    node.configure(json!({ "policies": crowd::first_version() }));
    let daemon = node.daemon();
    let before = node.save_all();
    // Whoever does not respect the lock does not wait for it either.
    let other = node.path("run").join("other.lock");
    let tool = Family::Ipv4.tool(Backend::Legacy, "");
    let incidents = daemon.status().mark();
    let holder = Holder::new(&node);
    node.command(tool).args(&["-F", "op-in"]).env("XTABLES_LOCKFILE", &other).must();
    std::thread::scope(|scope| {
        let refresh = scope.spawn(|| daemon.refresh_since(&incidents));
        let status = daemon.wait_until("waiting for the lock", |status| {
            status.waiting.as_deref().is_some_and(|waiting| waiting.contains("xtables lock"))
        });
        let waiting = status.waiting.unwrap_or_default();
        assert!(waiting.contains(&holder.pid()) && waiting.contains("sleep"), "who holds it is not told: {waiting}");
        poll("the log tells of it, once it has lasted", || daemon.log().contains("xtables lock").then_some(()));
        assert!(!refresh.is_finished());
        drop(holder);
        let report = refresh.join().expect("the refresh ends when the lock is free");
        report.assert_incident(&["chain-flushed"], "ipv4", "filter", "op-in");
    });
    assert_same("everything", &before, &node.save_all());
    assert_eq!(daemon.status().waiting, None);
}

trial!("lock::the_first_commit_waits", the_first_commit_waits());
fn the_first_commit_waits() {
    let node = crowd::node(Backend::Legacy);
    let before = node.save_all();
    node.configure(json!({ "policies": crowd::first_version() }));
    let holder = Holder::new(&node);
    let mut daemon = Daemon::start(&node);
    daemon.wait_until("waiting for the lock", |status| status.waiting.is_some());
    assert_same("everything while the lock is held", &before, &node.save_all());
    // It can be told to stop while it waits.
    daemon.signal("TERM");
    assert_eq!(daemon.wait(), Some(0));
    let daemon = Daemon::start(&node);
    drop(holder);
    daemon.wait_until("in sync", |status| status.report.in_sync);
}

trial!("lock::apply_gives_up_in_time", apply_gives_up_in_time());
fn apply_gives_up_in_time() {
    let node = crowd::node(Backend::Legacy);
    node.configure(json!({ "lock-timeout": "1s", "policies": crowd::first_version() }));
    let before = node.save_all();
    let holder = Holder::new(&node);
    let report = node.ruleward(&["--output", "json", "apply"]).report(75);
    assert!(report.problems.iter().any(|problem| problem.contains("xtables lock")), "{report:#?}");
    assert_same("everything", &before, &node.save_all());
    // Looking takes no lock.
    node.plan(2);
    drop(holder);
    node.apply();
}

trial!("lock::nft_does_not_wait", nft_does_not_wait());
fn nft_does_not_wait() {
    let node = crowd::node(Backend::Nft);
    node.configure(json!({ "policies": crowd::first_version() }));
    let _holder = Holder::new(&node);
    assert_eq!(node.apply().outcome, "changed");
}
