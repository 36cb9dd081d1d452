//! What a daemon with a few policies needs: memory with many rules, and time until the kernel is in sync.

use std::fs;
use std::sync::Arc;

use ruleward_tests::{Backend, Node, policies};
use serde_json::{Value, json};

use crate::node::{memory, node_with, start};
use crate::plan::Plan;
use crate::rules::Rules;
use crate::sample::Sample;
use crate::table::{Goal, Row};

/// Rules in the measurement of memory.
const MANY: usize = 10_000;
/// Rules in the measurement of the start.
const FEW: usize = 40;
/// Refreshes before memory is looked at.
const REFRESHES: usize = 3;
const VALUES: [&str; 4] = ["VmRSS", "RssAnon", "RssFile", "VmHWM"];
const RESOURCES: &str = "\
apiVersion: projectcalico.org/v3
kind: IPPool
metadata:
  name: default-ipv4-ippool
spec:
  cidr: 10.244.0.0/16
  natOutgoing: true
---
apiVersion: projectcalico.org/v3
kind: Node
metadata: {name: node1}
spec: {}
";

/// Beside static-rules.
fn one_more() -> Value {
    json!({ "calico-postrouting": policies::calico("3.32.1") })
}

fn three_more() -> Value {
    let policy = |tables: &str, prefix: &str| json!({ "grants": { "tables": [tables], "chains": [format!("{prefix}-*")], "comments": [format!("{prefix}:")] } });
    let mut all = one_more();
    all["ip-masquerade"] = policy("nat", "ipm");
    all["host-firewall"] = policy("filter", "hfw");
    all
}

/// Resident memory after a few refreshes.
pub fn measure_memory(plan: &Plan) -> Vec<Row> {
    let mut rows = Vec::new();
    for backend in plan.backends() {
        let Some(count) = plan.largest(*backend, MANY) else { continue };
        for (policies, beside) in [("two", one_more()), ("four", three_more())] {
            let case = format!("{backend}, {policies} policies, {count} rules");
            eprintln!("    memory, {case}");
            rows.push(resident(plan, case, *backend, &beside, count));
        }
    }
    rows
}

fn resident(plan: &Plan, case: String, backend: Backend, beside: &Value, count: usize) -> Row {
    let mut values: [Vec<f64>; 4] = Default::default();
    let node = node(backend, beside, count);
    node.apply(); // compiles the components
    for _ in 0..plan.repetitions(usize::MAX) {
        let (daemon, _) = start(&node.rebooted());
        for _ in 0..REFRESHES {
            daemon.refresh();
        }
        for (key, values) in VALUES.iter().zip(&mut values) {
            values.push(memory(&daemon, key));
        }
    }
    let [resident, anonymous, of_files, peak] = values.map(Sample::new);
    Row {
        goal: Some(Goal::Value(60.0)),
        beside: vec![("anonymous", anonymous), ("of files", of_files), ("peak", peak)],
        ..Row::new("resident memory", case, "MB", resident)
    }
}

/// From the start of the process until it says that the kernel is in sync, in an empty namespace.
pub fn measure_start(plan: &Plan) -> Vec<Row> {
    plan.backends().iter().map(|backend| started(plan, *backend)).collect()
}

fn started(plan: &Plan, backend: Backend) -> Row {
    eprintln!("    start, {backend}");
    let node = node(backend, &one_more(), FEW);
    let once = || {
        let (_daemon, after) = start(&node.rebooted());
        plan.settle();
        after
    };
    let (mut cold, mut warm) = (Vec::new(), Vec::new());
    for _ in 0..plan.repetitions(usize::MAX) {
        // Compiled components and last good answers.
        fs::remove_dir_all(node.path("state")).expect("the node's files are ours");
        fs::create_dir(node.path("state")).expect("the node's files are ours");
        cold.push(once());
        warm.push(once());
    }
    Row {
        goal: Some(Goal::Value(300.0)),
        beside: vec![("cold cache", Sample::new(cold))],
        ..Row::new("start to in-sync", format!("{backend}, warm cache"), "ms", Sample::new(warm))
    }
}

fn node(backend: Backend, beside: &Value, count: usize) -> Arc<Node> {
    let node = node_with(backend, Rules::ours(count), beside, &json!({}));
    node.write("resources/all.yaml", RESOURCES);
    node
}
