//! Refreshes that find nothing give the last report again. Whatever can make another report necessary ends that, whether
//! somebody tells of it or not.

use std::sync::Arc;

use ruleward_tests::policies::{attachment, chain, set, static_rules};
use ruleward_tests::trial;
use ruleward_tests::web::metric;
use ruleward_tests::{Backend, Daemon, Family, Node, Placement, poll};
use serde_json::{Value, json};

use super::{all_comes_back, settled};
use crate::strangers::jump;

const V4: Family = Family::Ipv4;

fn policy(port: u16) -> Value {
    json!({ "web": static_rules(
        &[chain(V4, "filter", "op-in", &[format!("-p tcp --dport {port} -m set --match-set op-friends src -j RETURN")])],
        &[attachment(V4, "filter", "INPUT", Placement::First, "-j op-in")],
        &[set(V4, "op-friends", "hash:ip", &["192.0.2.1", "192.0.2.2"])],
    ) })
}

/// Checks that ended, and those of them that did anything.
fn checks(node: &Node) -> (f64, f64) {
    let worked = metric(node, "ruleward_check_phase_seconds_count", &["phase=\"total\""]);
    (metric(node, "ruleward_checks_total", &["outcome=\"unchanged\""]), worked)
}

/// Until the same report is given again and again, which is right. Without a watch nobody tells that nothing has changed:
/// each check has something to look at.
#[track_caller]
fn becomes_calm(node: &Node, daemon: &Daemon, watched: bool) {
    let status = daemon.wait_until("in sync", |status| status.report.in_sync);
    assert!(status.report.problems.is_empty(), "{status:#?}");
    if !watched {
        return;
    }
    poll("five checks that do nothing", || {
        let before = checks(node);
        let after = poll("more checks", || Some(checks(node)).filter(|now| now.0 >= before.0 + 5.0));
        (after.1 == before.1).then_some(())
    });
}

trial!(
    for watch in ["auto", "off"],
    for backend in Backend::ALL,
    "events::{backend}::calm::with_watch_{watch}",
    calm(backend, watch)
);
fn calm(backend: Backend, watch: &str) {
    let node = Node::new(backend);
    // So rarely is everything read that nothing here is found by that.
    node.configure(json!({
        "refresh-interval": "100ms", "watch": watch, "full-comparison-every": 100_000, "policies": policy(80),
    }));
    let daemon = settled(&node);
    let watched = watch != "off";
    let everything = || format!("{}{}", node.save_all(), node.sets());
    let undone = |what: &str, damage: &dyn Fn(&Arc<Node>)| {
        becomes_calm(&node, &daemon, watched);
        let before = everything();
        damage(&node);
        poll(&format!("{what} is undone"), || (everything() == before).then_some(()));
    };
    undone("a deleted jump", &|node| {
        node.stranger(V4).delete("filter", "INPUT", &jump(node, V4, "filter", "INPUT", "op-in"));
    });
    undone("a chain that was emptied", &|node| node.stranger(V4).flush_chain("filter", "op-in"));
    undone("a member that was taken away", &|node| node.load_sets("del op-friends 192.0.2.1\n"));

    becomes_calm(&node, &daemon, watched);
    node.set("policies", policy(81));
    poll("the new settings are in force", || node.save(V4, "filter").contains("--dport 81").then_some(()));

    becomes_calm(&node, &daemon, watched);
    let answered = || metric(&node, "ruleward_evaluations_total", &["outcome=\"answered\""]);
    let before = answered();
    node.net.ip("link add ours type veth peer name theirs");
    poll("the policy is asked about the new interface", || (answered() > before).then_some(()));

    becomes_calm(&node, &daemon, watched);
    let rules = node.save_all();
    let report = daemon.refresh();
    assert!(report.timings_ms.observe > 0.0, "who asks for a check has everything read: {report:#?}");
    all_comes_back(&node, &rules);
}
