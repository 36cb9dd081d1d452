//! From an edit to the answer of `ruleward reload`: then the new version is in force, and was read back. Without the pause
//! in which a watched file comes to rest.

use anyhow::{Result, ensure};
use std::fs;
use std::time::Instant;

use super::Plan;
use super::guarded::{Guarded, guarded};
use super::node::{Daemon, Node};
use super::rules::Rules;
use super::sample::Sample;
use super::stock::Backend;
use super::table::{Goal, Row};
use crate::workspace;

/// Nobody looks but when asked.
const ASKED: &str = "refresh-interval = \"1h\"\nwatch = \"off\"\n";
/// As large as a policy in JavaScript.
const BIG: usize = 12_000_000;
const SECTION: &str = "[policies.static-rules]\n";
const WITH_COMPONENT: &str = "[policies.static-rules]\ncomponent = \"./policy.wasm\"\n";

/// Settings at all sizes, and components small and big at the smallest.
pub fn measure(plan: &Plan) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for backend in Backend::ALL {
        for count in plan.sizes(backend) {
            rows.push(settings(plan, backend, count)?);
        }
        if let Some(count) = plan.sizes(backend).first().copied() {
            rows.push(component(plan, backend, count, 0, "Rust")?);
            rows.push(component(plan, backend, count, BIG, "12 MB")?);
        }
    }
    Ok(rows)
}

/// One chain's rules the other way round, and back again.
fn settings(plan: &Plan, backend: Backend, count: usize) -> Result<Row> {
    let case = format!("{}, settings, {count} rules", backend.name());
    eprintln!("    reload, {case}");
    let rules = Rules::ours(count);
    let mut wanted = [false, true].map(|backwards| rules.chain_settings(rules.chains() / 2, backwards));
    let mut times = Vec::new();
    guarded(&Guarded { options: ASKED, ..Guarded::new(backend, count) }, |daemon, node| {
        for _ in 0..plan.repetitions(count) {
            node.edit(&wanted[0], &wanted[1])?;
            wanted.reverse();
            times.push(reload(daemon, "changed")?);
        }
        Ok(())
    })?;
    row(case, times, if count <= 1_000 { Some(200.0) } else { None })
}

/// Two components that differ in a custom section, in turns; both are compiled already.
fn component(plan: &Plan, backend: Backend, count: usize, padding: usize, what: &str) -> Result<Row> {
    let case = format!("{}, component of {what} size, {count} rules", backend.name());
    eprintln!("    reload, {case}");
    let mut times = Vec::new();
    guarded(&Guarded { options: ASKED, ..Guarded::new(backend, count) }, |daemon, node| {
        put(node, 0, padding)?;
        node.edit(SECTION, WITH_COMPONENT)?;
        for number in [1, 0] {
            reload(daemon, "unchanged")?;
            put(node, number, padding)?;
        }
        reload(daemon, "unchanged")?;
        for number in 1..=plan.repetitions(count) {
            put(node, number % 2, padding)?;
            times.push(reload(daemon, "unchanged")?);
        }
        Ok(())
    })?;
    row(case, times, Some(if padding > 0 { 300.0 } else { 200.0 }))
}

/// Milliseconds until the answer.
fn reload(daemon: &Daemon<'_>, outcome: &str) -> Result<f64> {
    let start = Instant::now();
    let report = daemon.reload()?;
    let took = start.elapsed().as_secs_f64() * 1e3;
    ensure!(report["outcome"] == outcome && report["in-sync"] == true, "a reload was {}", report["outcome"]);
    let refused = report["policies"].as_array().is_some_and(|all| all.iter().any(|one| !one["candidate"].is_null()));
    ensure!(!refused, "a version was not taken: {:#}", report["policies"]);
    Ok(took)
}

/// static-rules with a custom section, in the node's folder.
fn put(node: &Node, number: usize, padding: usize) -> Result<()> {
    let mut bytes = fs::read(workspace::policies_dir().join("static-rules.wasm"))?;
    let mut content = vec![1, b'v', u8::try_from(number)?];
    content.resize(content.len() + padding, 0);
    bytes.push(0);
    let mut length = content.len();
    while length > 0x7f {
        bytes.push(u8::try_from(length & 0x7f)? | 0x80);
        length >>= 7;
    }
    bytes.push(u8::try_from(length)?);
    bytes.extend(content);
    let new = node.folder().join("policy.new");
    fs::write(&new, bytes)?;
    Ok(fs::rename(new, node.folder().join("policy.wasm"))?)
}

fn row(case: String, times: Vec<f64>, goal: Option<f64>) -> Result<Row> {
    let Some(sample) = Sample::new(times) else { anyhow::bail!("nothing was measured") };
    Ok(Row { goal: goal.map(Goal::Value), ..Row::new("edit to live", case, "ms", sample) })
}
