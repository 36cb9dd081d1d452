//! What a running daemon takes for a refresh on demand, when nothing has changed: it reads everything.

use ruleward_tests::Backend;

use crate::guarded::{Guarded, guarded};
use crate::node::{EVALUATE, FACTS, OBSERVE, PLAN, TOTAL, phase, phases};
use crate::plan::Plan;
use crate::sample::Sample;
use crate::stock;
use crate::table::{Goal, Row};

/// All sizes of our own, and a few rules of ours among many foreign ones.
pub fn measure(plan: &Plan) -> Vec<Row> {
    let mut rows = Vec::new();
    for backend in plan.backends() {
        let sizes = plan.sizes(*backend);
        rows.extend(sizes.iter().map(|ours| refresh(plan, *backend, *ours, 0)));
        rows.extend(sizes.last().map(|foreign| refresh(plan, *backend, 100.min(*foreign), *foreign)));
    }
    rows
}

fn refresh(plan: &Plan, backend: Backend, count: usize, foreign: usize) -> Row {
    let others = if foreign > 0 { format!(" + {foreign} foreign") } else { String::new() };
    let case = format!("{backend}, {count} rules{others}");
    eprintln!("    refresh, {case}");
    let (mut bare, mut reports) = (Vec::new(), Vec::new());
    guarded(&Guarded { foreign, ..Guarded::new(backend, count) }, |daemon, _| {
        for _ in 0..plan.repetitions(count + foreign) {
            bare.push(stock::save_both(backend));
            let report = daemon.refresh();
            report.assert_unchanged();
            reports.push(report);
        }
    });
    // On nft the host need not read foreign rules in foreign chains.
    let goal = if backend == Backend::Nft && foreign > 0 { Goal::Value(100.0) } else { Goal::Ratio(1.3) };
    Row {
        stock: Some(Sample::new(bare)),
        goal: Some(goal),
        beside: phases(&reports, &[FACTS, EVALUATE, OBSERVE, PLAN]),
        ..Row::new("refresh on demand, no drift", case, "ms", phase(&reports, TOTAL))
    }
}
