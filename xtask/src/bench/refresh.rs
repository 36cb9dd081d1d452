//! What a running daemon takes for a refresh that somebody asked for, when nothing has changed: it reads everything.

use anyhow::{Result, ensure};

use super::Plan;
use super::commit::phase;
use super::guarded::{Guarded, guarded};
use super::sample::Sample;
use super::stock::Backend;
use super::table::{Goal, Row};

/// All sizes of our own, and a few rules of ours among many of strangers.
pub fn measure(plan: &Plan) -> Result<Vec<Row>> {
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

fn refresh(plan: &Plan, backend: Backend, count: usize, strangers: usize) -> Result<Row> {
    let others = if strangers > 0 { format!(" + {strangers} of strangers") } else { String::new() };
    let case = format!("{}, {count} rules{others}", backend.name());
    eprintln!("    refresh, {case}");
    let (mut bare, mut reports) = (Vec::new(), Vec::new());
    guarded(&Guarded { strangers, ..Guarded::new(backend, count) }, |daemon, _| {
        for _ in 0..plan.repetitions(count + strangers) {
            bare.push(backend.save_both()?);
            let report = daemon.refresh()?;
            ensure!(report["outcome"] == "unchanged", "a refresh without drift was {}", report["outcome"]);
            reports.push(report);
        }
        Ok(())
    })?;
    let (ours, stock) = (phase(&reports, "total")?, Sample::new(bare));
    // On nft the host need not read what strangers have in chains of their own.
    let goal = if backend == Backend::Nft && strangers > 0 { Goal::Value(100.0) } else { Goal::Ratio(1.3) };
    let mut row = Row { stock, goal: Some(goal), ..Row::new("refresh on demand, no drift", case, "ms", ours) };
    for name in ["facts", "evaluate", "observe", "plan"] {
        row.beside.push((name, phase(&reports, name)?));
    }
    Ok(row)
}
