//! The world around the daemon breaks: tools fail, hang or lie, the lock is held, somebody writes at the same time, the
//! disk is full, a capability is missing. The daemon lives, says so, never writes on a wrong picture, and is right again
//! as soon as the world is.

use std::sync::Arc;

use ruleward_tests::fake_tool::{FakeTool, Trouble, When};
use ruleward_tests::policies::{attachment, chain, static_rules};
use ruleward_tests::save::{assert_same, rules_of};
use ruleward_tests::trial;
use ruleward_tests::{Backend, Daemon, Family, Node, Placement, Status};
use serde_json::json;

use crate::crowd;

/// Two tables in both families; commands may run for two seconds, and everything is read and written by commands.
fn node_with_two_tables(backend: Backend) -> Arc<Node> {
    let node = crowd::node(backend);
    node.configure(json!({ "command-timeout": "2s", "replay": "off", "policies": { "web": static_rules(
        &[
            chain(None, "filter", "op-in", &["-p tcp --dport 80 -j RETURN"]),
            chain(None, "nat", "op-post", &["-p udp --dport 53 -j RETURN"]),
        ],
        &[
            attachment(None, "filter", "INPUT", Placement::First, "-j op-in"),
            attachment(None, "nat", "POSTROUTING", Placement::Last, "-j op-post"),
        ],
        &[],
    ) } }));
    node
}

/// What the node must look like in the end: from another node where nothing goes wrong.
fn expected(backend: Backend) -> String {
    let node = node_with_two_tables(backend);
    node.apply();
    node.save_all()
}

trial!(
    for backend in Backend::ALL,
    "failure::{backend}::restore_fails_three_times",
    recovers(backend, "restore", &Trouble::Fail, When::First(3))
);
trial!(
    for backend in Backend::ALL,
    "failure::{backend}::restore_hangs_once",
    recovers(backend, "restore", &Trouble::Hang, When::Call(1))
);
trial!(
    for backend in Backend::ALL,
    "failure::{backend}::restore_prints_garbage_and_does_nothing",
    recovers(backend, "restore", &Trouble::Garbage, When::First(2))
);
trial!(
    for backend in Backend::ALL,
    "failure::{backend}::save_fails_three_times",
    recovers(backend, "save", &Trouble::Fail, When::First(3))
);
trial!(
    for backend in Backend::ALL,
    "failure::{backend}::save_hangs_three_times",
    recovers(backend, "save", &Trouble::Hang, When::First(3))
);
/// The daemon keeps trying by itself until the tool works.
fn recovers(backend: Backend, action: &str, trouble: &Trouble, when: When) {
    let node = node_with_two_tables(backend);
    let fake = FakeTool::new(&node);
    fake.trouble(&FakeTool::tools(backend, action), trouble, when);
    let daemon = Daemon::start(&node);
    daemon.wait_until("in sync", in_sync);
    assert_same("everything", &expected(backend), &node.save_all());
    let log = daemon.log();
    assert!(FakeTool::tools(backend, action).iter().any(|tool| log.contains(tool)), "the log names no tool:\n{log}");
    fake.remove();
    daemon.refresh().assert_unchanged();
    daemon.stop();
}

fn in_sync(status: &Status) -> bool {
    status.report.in_sync
}

trial!(
    for backend in Backend::ALL,
    "failure::{backend}::apply_tells_that_restore_fails",
    apply_tells_that_restore_fails(backend)
);
fn apply_tells_that_restore_fails(backend: Backend) {
    let node = node_with_two_tables(backend);
    let before = node.save_all();
    let fake = FakeTool::new(&node);
    fake.trouble(&FakeTool::tools(backend, "restore"), &Trouble::Fail, When::Always);
    let report = node.ruleward(&["--output", "json", "apply"]).report(75);
    assert_eq!((report.outcome.as_str(), report.in_sync), ("failed", false));
    assert!(report.problems.iter().any(|problem| problem.contains("the kernel says no")), "{report:#?}");
    assert_same("everything", &before, &node.save_all());
}

trial!(
    for backend in Backend::ALL,
    "failure::{backend}::garbage_from_save_is_no_empty_table",
    lies(backend, &Trouble::Garbage)
);
trial!(
    for backend in Backend::ALL,
    "failure::{backend}::a_silent_save_is_no_empty_table",
    lies(backend, &Trouble::Silent)
);
/// `iptables-save` ends with status 0 and shows nothing true. The rules are there; the picture is wrong.
fn lies(backend: Backend, trouble: &Trouble) {
    let node = node_with_two_tables(backend);
    let daemon = node.daemon();
    let before = node.save_all();
    let fake = FakeTool::new(&node);
    fake.trouble(&FakeTool::tools(backend, "restore"), &Trouble::Fail, When::Call(u32::MAX));
    drop(daemon);
    fake.trouble(&FakeTool::tools(backend, "save"), trouble, When::Always);
    let daemon = Daemon::start(&node);
    let tool = Family::Ipv4.tool(backend, "save");
    let status = daemon.wait_until("told why", |status| {
        !status.report.in_sync && status.report.problems.iter().any(|problem| problem.contains(&tool))
    });
    assert_eq!(status.report.outcome, "failed");
    assert!(!fake.log().contains("restore"), "it wrote on a wrong picture:\n{}", fake.log());
    assert_same("everything", &before, &node.save_all());
    fake.remove();
    daemon.wait_until("in sync", in_sync);
    assert_same("everything", &before, &node.save_all());
}

trial!(
    for backend in Backend::ALL,
    "failure::{backend}::incompatible_with_status_0_is_no_empty_table",
    incompatible_with_status_0_is_no_empty_table(backend)
);
/// A table that `iptables-save` leaves out is read by bytes, and drift in it undone.
fn incompatible_with_status_0_is_no_empty_table(backend: Backend) {
    let node = node_with_two_tables(backend);
    drop(node.daemon());
    let before = node.save_all();
    let fake = FakeTool::new(&node);
    fake.trouble(&FakeTool::tools(backend, "save"), &Trouble::Incompatible, When::Always);
    let daemon = node.daemon();
    assert!(!fake.log().contains("restore"), "it wrote on a wrong picture:\n{}", fake.log());
    node.stranger(Family::Ipv4).flush_chain("filter", "op-in");
    daemon.refresh();
    fake.remove();
    assert_same("everything", &before, &node.save_all());
    daemon.refresh().assert_unchanged();
}

trial!(
    for backend in Backend::ALL,
    "failure::{backend}::somebody_writes_between_read_and_write",
    somebody_writes_between_read_and_write(backend)
);
/// After each of the first reads a stranger puts a rule in front of ours and takes away an older one of its own, so
/// that every rule number is another one when the write comes.
fn somebody_writes_between_read_and_write(backend: Backend) {
    let node = node_with_two_tables(backend);
    for family in Family::ALL {
        for number in 1..=4 {
            let rule = format!("-s {} -j RETURN", family.address(number));
            node.stranger(family).append("filter", "INPUT", &rule);
        }
    }
    node.apply();
    // Something to repair, before and behind the stranger's place.
    for family in Family::ALL {
        let save = node.save(family, "filter");
        let jump = rules_of(&save, "INPUT")[0].trim_start_matches("-A INPUT ").to_owned();
        node.stranger(family).delete("filter", "INPUT", &jump);
        node.stranger(family).append("filter", "INPUT", &jump);
    }
    let fake = FakeTool::new(&node);
    // A container with a /run of its own shares no lock with the node.
    let script: String = Family::ALL
        .map(|family| {
            let tool =
                format!("XTABLES_LOCKFILE={}/other.lock {} -w", node.path("run").display(), family.tool(backend, ""));
            let inserted = family.address(200);
            let deleted = |number| format!("{tool} -D INPUT -s {} -j RETURN 2>/dev/null", family.address(number));
            format!("{tool} -I INPUT -s {inserted} -j RETURN\n{} || {}\n", deleted(1), deleted(2))
        })
        .concat();
    fake.trouble(&FakeTool::tools(backend, "save"), &Trouble::Then(script), When::First(3));
    let daemon = node.daemon();
    daemon.refresh();
    fake.remove();
    daemon.refresh();
    for family in Family::ALL {
        let save = node.save(family, "filter");
        let rules = rules_of(&save, "INPUT");
        let count =
            |number| rules.iter().filter(|rule| rule.contains(&format!("-s {}/", family.address(number)))).count();
        assert_eq!((count(3), count(4)), (1, 1), "{family}: a stranger's rule was lost:\n{save}");
        assert!(count(200) >= 1, "{family}: the stranger's new rules were lost:\n{save}");
        let ours: Vec<_> =
            rules.iter().enumerate().filter(|(_, rule)| rule.contains("-j op-in")).map(|(at, _)| at).collect();
        assert_eq!(ours, [0], "{family}: our jump is not first, once:\n{save}");
    }
    daemon.refresh().assert_unchanged();
}

trial!(
    for backend in Backend::ALL,
    "failure::{backend}::tools_are_missing",
    tools_are_missing(backend)
);
/// The program also looks where tools usually are, so these places have to be empty too.
fn tools_are_missing(backend: Backend) {
    let node = node_with_two_tables(backend);
    let empty = node.path("empty").display().to_string();
    node.command("mkdir").args(&[&empty]).must();
    node.command("mount").args(&["--bind", &empty, "/usr/sbin"]).must();
    let output = node.ruleward(&["--output", "json", "apply"]).env("PATH", &empty).output();
    node.command("umount").args(&["/usr/sbin"]).must();
    assert_eq!(output.code, Some(75), "{output:#?}");
    let text = format!("{}{}", output.stdout, output.stderr);
    assert!(text.contains("install") && text.contains("iptables"), "it does not say what to install: {text}");
    assert_eq!(node.apply().outcome, "changed");
}

trial!(
    for backend in Backend::ALL,
    "failure::{backend}::state_directory_is_read_only",
    state_directory(backend, "ro,size=1m")
);
trial!(
    for backend in Backend::ALL,
    "failure::{backend}::state_directory_is_full",
    state_directory(backend, "size=4k")
);
/// Without a place for its state the daemon still does its work, and says what it can't do.
fn state_directory(backend: Backend, options: &str) {
    let node = node_with_two_tables(backend);
    let directory = node.path("state").display().to_string();
    node.command("mount").args(&["-t", "tmpfs", "-o", options, "tmpfs", &directory]).must();
    if !options.starts_with("ro") {
        node.command("sh").args(&["-c", &format!("head -c 4096 /dev/zero > {directory}/filler")]).output();
    }
    let daemon = node.daemon();
    let status = daemon.status();
    let said = status.report.problems.iter().chain(&status.report.notes).any(|line| line.contains(&directory));
    assert!(said, "the status does not name {directory}: {status:#?}");
    assert_same("everything", &expected(backend), &node.save_all());
    let incidents = daemon.status().mark();
    node.stranger(Family::Ipv4).flush_chain("filter", "op-in");
    daemon.refresh_since(&incidents).assert_incident(&["chain-flushed"], "ipv4", "filter", "op-in");
    assert_same("everything", &expected(backend), &node.save_all());
}

trial!(
    for backend in Backend::ALL,
    "failure::{backend}::without_namespaces_the_text_is_learned",
    without_namespaces_the_text_is_learned(backend)
);
/// No CAP_SYS_ADMIN, no rehearsal: what the kernel must show is read back after the commit.
fn without_namespaces_the_text_is_learned(backend: Backend) {
    let node = node_with_two_tables(backend);
    node.without_sys_admin();
    let daemon = node.daemon();
    assert_eq!(daemon.status().report.basis.as_deref(), Some("learned"));
    let right = expected(backend);
    assert_same("everything", &right, &node.save_all());
    daemon.refresh().assert_unchanged();
    let incidents = daemon.status().mark();
    for family in Family::ALL {
        let stranger = node.stranger(family);
        stranger.flush_chain("nat", "op-post");
        stranger.replace("filter", "op-in", 1, "-p tcp --dport 81 -j RETURN");
    }
    let report = daemon.refresh_since(&incidents);
    assert_same("everything", &right, &node.save_all());
    for family in Family::ALL {
        report.assert_incident(&["chain-flushed"], &family.to_string(), "nat", "op-post");
        // A rule without a comment has nothing that tells "edited" from "another one".
        report.assert_incident(&["rule-edited", "rule-deleted"], &family.to_string(), "filter", "op-in");
    }
    daemon.stop();
    // Started again on what it left: nothing to do.
    let daemon = node.daemon();
    daemon.refresh().assert_unchanged();
    assert_same("everything", &right, &node.save_all());
}

trial!(
    for backend in Backend::ALL,
    "failure::{backend}::without_namespaces_a_refused_rule_changes_nothing",
    without_namespaces_a_refused_rule_changes_nothing(backend)
);
fn without_namespaces_a_refused_rule_changes_nothing(backend: Backend) {
    let node = node_with_two_tables(backend);
    node.without_sys_admin();
    node.apply();
    let before = node.save(Family::Ipv4, "filter");
    node.set(
        "policies",
        json!({ "web": static_rules(
        &[chain(None, "filter", "op-in", &["-j MASQUERADE"])],
        &[attachment(None, "filter", "INPUT", Placement::First, "-j op-in")],
        &[],
    ) }),
    );
    let output = node.ruleward(&["--output", "json", "apply"]).output();
    assert!(matches!(output.code, Some(75 | 78)), "{output:#?}");
    assert!(output.stdout.contains("MASQUERADE"), "it does not name the rule: {output:#?}");
    assert_same("the table", &before, &node.save(Family::Ipv4, "filter"));
}
