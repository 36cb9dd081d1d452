//! A set of many members is read, filled or rehearsed: a rule that is deleted meanwhile is back
//! before that has ended. The tool that works on the set is held still, so that what comes first
//! does not depend on how fast anything is.

use std::fs;
use std::sync::Arc;

use ruleward_tests::fake_tool::{FakeTool, Held};
use ruleward_tests::policies::{attachment, chain, set, static_rules};
use ruleward_tests::trial;
use ruleward_tests::{Backend, Daemon, Family, Node, Placement, poll};
use serde_json::{Value, json};

const FAMILY: Family = Family::Ipv4;
/// More than what is read at once.
const MANY: usize = 21_000;
const RULE: &str = "-p udp --dport 53 -j RETURN";

fn member(number: usize) -> String {
    format!("10.{}.{}.0/24", number >> 8, number & 255)
}

/// Every deletion takes a rule of another chain: at one place it would be a fight.
fn chain_of(deletion: usize) -> String {
    format!("op-{deletion}")
}

fn policy(members: &[String]) -> Value {
    let members: Vec<&str> = members.iter().map(String::as_str).collect();
    let mut large = set(FAMILY, "op-large", "hash:net", &members);
    large["max-elements"] = json!(1_000_000);
    let mut chains: Vec<Value> = (0..8).map(|at| chain(FAMILY, "filter", &chain_of(at), &[RULE])).collect();
    chains.push(chain(FAMILY, "filter", "op-in", &["-m set --match-set op-large src -j DROP"]));
    let hook = attachment(FAMILY, "filter", "INPUT", Placement::First, "-j op-in");
    let mut policy = static_rules(&chains, &[hook], &[large]);
    policy["limits"] =
        json!({ "memory": "1GiB", "time": "1m", "fuel": 1_000_000_000_000_u64, "input": "256MiB", "output": "512MiB" });
    json!({ "sets": policy })
}

fn members(count: usize) -> Vec<String> {
    (0..count).map(member).collect()
}

fn node(backend: Backend, members: &[String]) -> Arc<Node> {
    let node = Node::new(backend);
    node.configure(json!({
        "families": [FAMILY.to_string()],
        "watch": "auto",
        "refresh-interval": "1h",
        "command-timeout": "10m",
        "policies": policy(members),
    }));
    node
}

/// Takes a rule away while the tool is held, and waits until it is back.
fn delete_and_await(node: &Node, deletion: usize) {
    let chain = chain_of(deletion);
    node.stranger(FAMILY).delete("filter", &chain, RULE);
    poll("the rule is back", || node.save(FAMILY, "filter").contains(&format!("-A {chain} ")).then_some(()));
}

/// Whether the set has a member.
fn has(node: &Node, member: &str) -> bool {
    node.command("ipset").args(&["test", "op-large", member]).output().code == Some(0)
}

fn exchange_a_member(node: &Node) {
    node.load_sets(&format!("del op-large {}\nadd op-large 192.0.2.0/24\n", member(0)));
}

/// Runs a refresh, and `meanwhile` beside it.
fn refresh_beside(node: &Node, daemon: &Daemon, meanwhile: impl FnOnce()) {
    std::thread::scope(|scope| {
        let refresh = scope.spawn(|| node.ruleward(&["refresh"]).output());
        meanwhile();
        let refreshed = refresh.join().expect("no panic");
        assert_eq!(refreshed.code, Some(0), "{refreshed:#?}");
    });
    daemon.wait_until("in sync", |status| status.report.in_sync && status.report.problems.is_empty());
}

trial!(
    for backend in Backend::ALL,
    "large_set::{backend}::a_rule_is_repaired_while_it_is_read",
    a_rule_is_repaired_while_it_is_read(backend)
);
fn a_rule_is_repaired_while_it_is_read(backend: Backend) {
    let node = node(backend, &members(MANY));
    let fake = FakeTool::new(&node);
    let daemon = node.daemon();
    daemon.wait_until("in sync", |status| status.report.in_sync);
    exchange_a_member(&node);
    let held = fake.hold("ipset", "list ", false);
    refresh_beside(&node, &daemon, || {
        held.wait();
        delete_and_await(&node, 0);
        delete_and_await(&node, 1);
        assert!(!has(&node, &member(0)), "it was repaired before it was read");
        held.release();
    });
    assert!(has(&node, &member(0)) && !has(&node, "192.0.2.0/24"));
    // No check is asked for now: the set is read because of the event of a rule.
    let held = fake.hold("ipset", "list ", false);
    exchange_a_member(&node);
    delete_and_await(&node, 2);
    held.wait();
    delete_and_await(&node, 3);
    held.release();
    poll("the set is right again", || has(&node, &member(0)).then_some(()));
    daemon.refresh();
}

trial!(
    for backend in Backend::ALL,
    "large_set::{backend}::the_node_is_not_in_sync_before_it_is_compared",
    the_node_is_not_in_sync_before_it_is_compared(backend)
);
/// Another program has emptied it, and a rule is repaired before it is read.
fn the_node_is_not_in_sync_before_it_is_compared(backend: Backend) {
    let node = node(backend, &members(MANY));
    let fake = FakeTool::new(&node);
    let daemon = node.daemon();
    daemon.wait_until("in sync", |status| status.report.in_sync);
    let held = fake.hold("ipset", "list ", false);
    node.command("ipset").args(&["flush", "op-large"]).must();
    delete_and_await(&node, 0);
    held.wait();
    daemon.wait_until("out of sync", |status| {
        let told = |problem: &String| problem.contains("large sets have changed and are being read");
        !status.report.in_sync && status.report.problems.iter().any(told)
    });
    assert_eq!(node.ruleward(&["status"]).output().code, Some(1));
    held.release();
    daemon.wait_until("in sync", |status| status.report.in_sync && status.report.problems.is_empty());
    assert!(has(&node, &member(0)));
}

trial!(
    for backend in Backend::ALL,
    "large_set::{backend}::a_rule_is_repaired_while_it_is_read_back",
    a_rule_is_repaired_while_it_is_read_back(backend)
);
fn a_rule_is_repaired_while_it_is_read_back(backend: Backend) {
    let node = node(backend, &members(MANY));
    let fake = FakeTool::new(&node);
    let daemon = node.daemon();
    daemon.wait_until("in sync", |status| status.report.in_sync);
    node.command("ipset").args(&["flush", "op-large"]).must();
    let swap = fake.hold("ipset", "swap ", false);
    refresh_beside(&node, &daemon, || {
        swap.wait();
        let read_back: Held = fake.hold("ipset", "list ", false);
        swap.release();
        read_back.wait();
        assert!(has(&node, &member(0)), "it is in its place");
        delete_and_await(&node, 0);
        read_back.release();
    });
    daemon.refresh().assert_unchanged();
}

trial!(
    for backend in Backend::ALL,
    "large_set::{backend}::a_rule_is_repaired_while_a_change_is_rehearsed",
    a_rule_is_repaired_while_a_change_is_rehearsed(backend)
);
fn a_rule_is_repaired_while_a_change_is_rehearsed(backend: Backend) {
    let mut members = members(MANY);
    let node = node(backend, &members);
    let fake = FakeTool::new(&node);
    let daemon = node.daemon();
    daemon.wait_until("in sync", |status| status.report.in_sync);
    let held = fake.hold("ipset", "create op-large ", true);
    members.push("192.0.2.0/24".to_owned());
    node.set("policies", policy(&members));
    held.wait();
    delete_and_await(&node, 0);
    held.release();
    poll("the new version is in force", || has(&node, "192.0.2.0/24").then_some(()));
    daemon.wait_until("in sync", |status| {
        status.report.in_sync && status.report.policies.iter().all(|policy| policy.candidate.is_none())
    });
    daemon.refresh().assert_unchanged();
}

trial!(
    for backend in Backend::ALL,
    "large_set::{backend}::it_is_right_again_after_any_change",
    it_is_right_again_after_any_change(backend)
);
fn it_is_right_again_after_any_change(backend: Backend) {
    let node = node(backend, &members(MANY));
    let daemon = node.daemon();
    daemon.wait_until("in sync", |status| status.report.in_sync);
    let before = sorted(&node);
    let change = |script: &str| {
        node.load_sets(script);
        let report = daemon.refresh();
        assert!(report.in_sync, "{report:#?}");
        assert_eq!(sorted(&node), before, "after {script:?}");
        daemon.refresh().assert_unchanged();
    };
    change("flush op-large\n");
    change(&format!("del op-large {}\n", member(7)));
    change(&format!("del op-large {}\nadd op-large 192.0.2.0/24\n", member(7)));
    // Another large set takes its name, with another option.
    change("create other hash:net maxelem 70000\nadd other 192.0.2.0/24\nswap other op-large\ndestroy other\n");
    // A set of another type, which only our own rule uses.
    daemon.pause();
    node.stranger(FAMILY).flush_chain("filter", "op-in");
    poll("the set is free", || {
        (node.command("ipset").args(&["destroy", "op-large"]).output().code == Some(0)).then_some(())
    });
    node.load_sets("create op-large hash:ip\n");
    daemon.resume();
    change("");
}

/// Without the size of the hash: how far it grows is a matter of the kernel's own random number.
fn sorted(node: &Node) -> Vec<String> {
    let without_size = |line: &str| match line.split_once(" hashsize ") {
        Some((before, after)) => format!("{before}{}", after.trim_start_matches(|c: char| c.is_ascii_digit())),
        None => line.to_owned(),
    };
    let mut lines: Vec<String> = node.sets().lines().map(without_size).collect();
    lines.sort();
    lines
}

/// At most so many bytes at the worst moment for each member, all that a policy takes to ask for it included.
const MOST: usize = 250;

trial!("large_set::memory_is_bounded_by_what_it_holds", memory_is_bounded_by_what_it_holds());
fn memory_is_bounded_by_what_it_holds() {
    const MEMBERS: usize = 200_000;
    let highest = |count: usize| {
        let members: Vec<String> =
            (0..count).map(|at| format!("{}.{}.{}.0/24", 1 + (at >> 16), at >> 8 & 255, at & 255)).collect();
        let node = node(Backend::Nft, &members);
        let daemon = node.daemon();
        daemon.wait_until("in sync", |status| status.report.in_sync);
        node.command("ipset").args(&["flush", "op-large"]).must();
        daemon.refresh();
        let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the kernel tells");
        let kilobytes: usize = line.trim().trim_end_matches(" kB").parse().expect("a number");
        daemon.stop();
        kilobytes << 10
    };
    let (few, many) = (highest(10), highest(MEMBERS));
    let each = many.saturating_sub(few) / MEMBERS;
    assert!(each <= MOST, "{each} bytes a member: {few} bytes without them, {many} with {MEMBERS}");
}
