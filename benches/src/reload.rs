//! From an edit to the end of `ruleward reload`: then the new version is in force, and was read back. Without the pause
//! in which a watched file comes to rest.

use std::fs;
use std::time::Instant;

use ruleward_tests::{Backend, Daemon, Node, policy_file};
use serde_json::{Value, json};

use crate::guarded::{Guarded, guarded};
use crate::node::milliseconds;
use crate::plan::Plan;
use crate::rules::Rules;
use crate::sample::Sample;
use crate::table::{Goal, Row};

/// As large as a policy in JavaScript.
const BIG: usize = 12_000_000;

/// Settings at all sizes, and components small and big at the smallest.
pub fn measure(plan: &Plan) -> Vec<Row> {
    let mut rows = Vec::new();
    for backend in plan.backends().iter().copied() {
        let sizes = plan.sizes(backend);
        rows.extend(sizes.iter().map(|count| settings(plan, backend, *count)));
        rows.push(component(plan, backend, sizes[0], 0, "Rust"));
        rows.push(component(plan, backend, sizes[0], BIG, "12 MB"));
    }
    rows
}

/// Only what is asked for: the daemon does not hear of changed files.
fn asked(backend: Backend, count: usize) -> Guarded {
    Guarded { options: json!({ "watch": "off" }), ..Guarded::new(backend, count) }
}

/// One chain's rules the other way round, and back again.
fn settings(plan: &Plan, backend: Backend, count: usize) -> Row {
    let case = format!("{backend}, settings, {count} rules");
    eprintln!("    reload, {case}");
    let rules = Rules::ours(count);
    let mut times = Vec::new();
    guarded(&asked(backend, count), |daemon, node| {
        for round in 0..plan.repetitions(count) {
            let backwards = round.is_multiple_of(2).then_some(rules.chains() / 2);
            node.set("policies", json!({ "static-rules": rules.policy(backwards) }));
            times.push(reload(daemon, "changed"));
        }
    });
    row(case, times, (count <= 1_000).then_some(200.0))
}

/// Two components that differ in a custom section, in turns; both are compiled already.
fn component(plan: &Plan, backend: Backend, count: usize, padding: usize, what: &str) -> Row {
    let case = format!("{backend}, component of {what} size, {count} rules");
    eprintln!("    reload, {case}");
    let mut policy = Rules::ours(count).policy(None);
    policy["component"] = Value::from("./policy.wasm");
    let mut times = Vec::new();
    guarded(&asked(backend, count), |daemon, node| {
        put(node, 0, padding);
        node.set("policies", json!({ "static-rules": policy }));
        for number in [1, 0] {
            reload(daemon, "unchanged");
            put(node, number, padding);
        }
        reload(daemon, "unchanged");
        for number in 1..=plan.repetitions(count) {
            put(node, number % 2, padding);
            times.push(reload(daemon, "unchanged"));
        }
    });
    row(case, times, Some(if padding > 0 { 300.0 } else { 200.0 }))
}

/// Milliseconds until it has ended.
fn reload(daemon: &Daemon, outcome: &str) -> f64 {
    let start = Instant::now();
    let report = daemon.reload(0);
    let took = milliseconds(start.elapsed());
    let refused = report.policies.iter().any(|policy| policy.candidate.is_some());
    assert!(report.outcome == outcome && report.in_sync && !refused, "not {outcome}: {report:#?}");
    took
}

/// static-rules with a custom section, in the node's folder.
fn put(node: &Node, number: usize, padding: usize) {
    let mut bytes = fs::read(policy_file("static-rules.wasm")).expect("it was built");
    let mut content = vec![1, b'v', number as u8];
    content.resize(content.len() + padding, 0);
    bytes.push(0);
    let mut length = content.len();
    while length > 0x7f {
        bytes.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend(content);
    let new = node.path("policy.new");
    fs::write(&new, bytes)
        .and_then(|()| fs::rename(new, node.path("policy.wasm")))
        .expect("the node's folder takes it");
}

fn row(case: String, times: Vec<f64>, goal: Option<f64>) -> Row {
    Row { goal: goal.map(Goal::Value), ..Row::new("edit to live", case, "ms", Sample::new(times)) }
}
