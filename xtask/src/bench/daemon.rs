//! What a daemon with a few policies needs: memory with many rules, and time until the kernel is in sync.

use anyhow::{Context, Result};

use super::Plan;
use super::namespace::Namespace;
use super::node::{CALICO, HOST_FIREWALL, HOURLY, IP_MASQUERADE, Node, Wanted};
use super::rules::Rules;
use super::sample::Sample;
use super::stock::Backend;
use super::table::{Goal, Row};

/// Rules in the measurement of memory.
const MANY: usize = 10_000;
/// Policies in the measurement of memory: how many, and those beside static-rules.
const POLICIES: [(&str, &[&str]); 2] = [("two", &[CALICO]), ("four", &[CALICO, IP_MASQUERADE, HOST_FIREWALL])];
/// Rules in the measurement of the start.
const FEW: usize = 40;
/// Refreshes before memory is looked at.
const REFRESHES: usize = 3;

/// Resident memory after a few refreshes.
pub fn measure_memory(plan: &Plan) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for backend in Backend::ALL {
        let count = plan.sizes(backend).into_iter().filter(|count| *count <= MANY).max().unwrap_or(MANY);
        for (policies, beside) in POLICIES {
            let case = format!("{}, {policies} policies, {count} rules", backend.name());
            eprintln!("    memory, {case}");
            rows.push(memory(plan, case, backend, beside, count)?);
        }
    }
    Ok(rows)
}

fn memory(plan: &Plan, case: String, backend: Backend, beside: &'static [&str], count: usize) -> Result<Row> {
    let keys = ["VmRSS", "RssAnon", "RssFile", "VmHWM"];
    let mut values: [Vec<f64>; 4] = Default::default();
    for _ in 0..plan.repetitions(usize::MAX) {
        let node = node(backend, beside, count)?;
        Namespace::create()?.run(|| {
            let daemon = node.start()?;
            for _ in 0..REFRESHES {
                daemon.refresh()?;
            }
            for (key, values) in keys.iter().zip(&mut values) {
                values.push(daemon.memory(key)?);
            }
            Ok(())
        })?;
    }
    let mut samples = values.into_iter().filter_map(Sample::new);
    let resident = samples.next().context("no memory was measured")?;
    let mut row = Row { goal: Some(Goal::Value(60.0)), ..Row::new("resident memory", case, "MB", resident) };
    row.beside = ["anonymous", "of files", "peak"].into_iter().zip(samples).collect();
    Ok(row)
}

/// From the start of the process until it says that the kernel is in sync, in an empty namespace.
pub fn measure_start(plan: &Plan) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for backend in Backend::ALL {
        eprintln!("    start, {}", backend.name());
        let node = node(backend, &[CALICO], FEW)?;
        let start = || Namespace::create()?.run(|| Ok(node.start()?.until_ready));
        let (mut cold, mut warm) = (Vec::new(), Vec::new());
        for _ in 0..plan.repetitions(usize::MAX) {
            node.forget()?;
            cold.push(start()?);
            warm.push(start()?);
        }
        let warm = Sample::new(warm).context("no start was measured")?;
        let mut row = Row::new("start to in-sync", format!("{}, warm cache", backend.name()), "ms", warm);
        row.goal = Some(Goal::Value(300.0));
        row.beside.push(("cold cache", Sample::new(cold).context("no start was measured")?));
        rows.push(row);
    }
    Ok(rows)
}

fn node(backend: Backend, beside: &'static [&str], count: usize) -> Result<Node> {
    let rules = Rules::ours(count);
    Node::create(&Wanted { backend, both_families: true, beside, options: HOURLY, rules })
}
