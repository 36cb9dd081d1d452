//! What a running daemon takes for a refresh without drift, and for the repair of one flushed chain.

use anyhow::{Result, ensure};

use super::Plan;
use super::commit::phase;
use super::namespace::Namespace;
use super::node::{Daemon, Node, Wanted};
use super::rules::Rules;
use super::sample::Sample;
use super::stock::{self, Backend};
use super::table::{Goal, Row};

/// All sizes of our own, and a few rules of ours among many of strangers.
pub fn measure_refresh(plan: &Plan) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for backend in Backend::ALL {
        for ours in plan.sizes(backend) {
            rows.push(refresh(plan, backend, ours, 0)?);
        }
        if let Some(strangers) = plan.sizes(backend).last() {
            rows.push(refresh(plan, backend, 100.min(*strangers), *strangers)?);
        }
    }
    Ok(rows)
}

/// One chain among all sizes.
pub fn measure_repair(plan: &Plan) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for backend in Backend::ALL {
        for count in plan.sizes(backend) {
            rows.push(repair(plan, backend, count)?);
        }
    }
    Ok(rows)
}

fn refresh(plan: &Plan, backend: Backend, count: usize, strangers: usize) -> Result<Row> {
    let others = if strangers > 0 { format!(" + {strangers} of strangers") } else { String::new() };
    let case = format!("{}, {count} rules{others}", backend.name());
    eprintln!("    refresh, {case}");
    let (mut bare, mut reports) = (Vec::new(), Vec::new());
    running(backend, count, strangers, |daemon, _| {
        for _ in 0..plan.repetitions(count + strangers) {
            bare.push(backend.save_both()?);
            let report = daemon.refresh()?;
            ensure!(report["outcome"] == "unchanged", "a refresh without drift was {}", report["outcome"]);
            reports.push(report);
        }
        Ok(())
    })?;
    let (ours, stock) = (phase(&reports, "total")?, Sample::new(bare));
    let mut row = Row { stock, goal: Some(Goal::Ratio(1.3)), ..Row::new("refresh without drift", case, "ms", ours) };
    for name in ["facts", "evaluate", "observe", "plan"] {
        row.beside.push((name, phase(&reports, name)?));
    }
    Ok(row)
}

fn repair(plan: &Plan, backend: Backend, count: usize) -> Result<Row> {
    let case = format!("{}, one chain among {count} rules", backend.name());
    eprintln!("    repair, {case}");
    let (mut bare, mut reports) = (Vec::new(), Vec::new());
    running(backend, count, 0, |daemon, node| {
        let rules = Rules { count, prefix: "bm-" };
        let middle = rules.chains() / 2;
        let script = stock::script(node.folder(), "one-chain", &rules.one_chain(middle))?;
        for _ in 0..plan.repetitions(usize::MAX) {
            backend.flush(&rules.chain(middle))?;
            let report = daemon.refresh()?;
            ensure!(report["outcome"] == "changed", "the refresh after a flush was {}", report["outcome"]);
            reports.push(report);
            daemon.rest()?;
            backend.flush(&rules.chain(middle))?;
            bare.push(backend.restore(&script)?);
        }
        let report = daemon.refresh()?;
        ensure!(report["outcome"] == "unchanged", "the bare restore left a difference: {}", report["changes"]);
        Ok(())
    })?;
    let (ours, stock) = (phase(&reports, "commit")?, Sample::new(bare));
    let mut row = Row { stock, goal: Some(Goal::Ratio(1.1)), ..Row::new("one chain changed", case, "ms", ours) };
    for name in ["evaluate", "observe", "plan", "verify", "total"] {
        row.beside.push((name, phase(&reports, name)?));
    }
    Ok(row)
}

/// Has a daemon guard `count` rules beside strangers' ones. They are committed before it starts: a daemon that has
/// written looks again by itself soon after, which would disturb the measurement.
fn running(
    backend: Backend,
    count: usize,
    strangers: usize,
    work: impl FnOnce(&Daemon<'_>, &Node) -> Result<()> + Send,
) -> Result<()> {
    let rules = Rules { count, prefix: "bm-" };
    let node = Node::create(&Wanted { backend, both_families: true, calico: false, rules })?;
    let space = Namespace::create()?;
    space.run(|| {
        if strangers > 0 {
            let others = Rules { count: strangers, prefix: "other-" };
            backend.restore(&stock::script(node.folder(), "strangers", &others.script())?)?;
        }
        backend.save_both()?; // legacy: both families' tables are there from now on
        node.apply()?;
        let daemon = node.start()?;
        daemon.refresh()?;
        work(&daemon, &node)
    })
}
