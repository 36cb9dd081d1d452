//! Cold commit: all rules into an empty namespace. What the host's own restore takes is compared with the tool alone
//! on the same rules; the phases around it stand beside it.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Plan;
use super::namespace::Namespace;
use super::node::{HOURLY, Node, Wanted, timing};
use super::rules::Rules;
use super::sample::Sample;
use super::stock::{self, Backend};
use super::table::{Goal, Row};

const PHASES: [&str; 7] = ["facts", "evaluate", "rehearse", "observe", "plan", "verify", "total"];

/// All sizes, both backends. The second group of rows is what asking the policy takes.
pub fn measure(plan: &Plan) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut evaluations = vec![evaluation(0, &applied(plan, Backend::Nft, 0)?.1)?];
    for backend in Backend::ALL {
        for count in plan.sizes(backend) {
            let case = format!("{}, {count} rules", backend.name());
            eprintln!("    cold commit, {case}");
            let (bare, reports) = applied(plan, backend, count)?;
            let (ours, stock) = (phase(&reports, "commit")?, Sample::new(bare));
            let mut row = Row { stock, goal: Some(Goal::Ratio(1.1)), ..Row::new("cold commit", case, "ms", ours) };
            for name in PHASES {
                row.beside.push((name, phase(&reports, name)?));
            }
            rows.push(row);
            if backend == Backend::Nft {
                evaluations.push(evaluation(count, &reports)?);
            }
        }
    }
    rows.extend(evaluations);
    Ok(rows)
}

fn applied(plan: &Plan, backend: Backend, count: usize) -> Result<(Vec<f64>, Vec<Value>)> {
    let rules = Rules::ours(count);
    let node = Node::create(&Wanted { backend, both_families: false, beside: &[], options: HOURLY, rules })?;
    let script = if count == 0 { String::new() } else { rules.script() };
    let script = stock::script(node.folder(), "script", &script)?;
    Namespace::create()?.run(|| node.apply())?; // compiles the component
    let (mut bare, mut reports) = (Vec::new(), Vec::new());
    for _ in 0..plan.repetitions(count) {
        let space = Namespace::create()?;
        bare.push(space.run(|| backend.restore(&script))?);
        let wanted = space.run(|| backend.count())?;
        drop(space);
        let space = Namespace::create()?;
        reports.push(space.run(|| node.apply())?);
        let found = space.run(|| backend.count())?;
        ensure!(found == wanted, "{found} rules are there after `ruleward apply`; there should be {wanted}");
    }
    Ok((bare, reports))
}

fn evaluation(count: usize, reports: &[Value]) -> Result<Row> {
    let ours = phase(reports, "evaluate")?;
    let note = "facts lowered, guest run (parses JSON settings), answer lifted, checked; last good answer read";
    Ok(Row { note: note.into(), ..Row::new("contract", format!("evaluate of {count} rules"), "ms", ours) })
}

/// One phase of all reports.
pub fn phase(reports: &[Value], name: &str) -> Result<Sample> {
    let values = reports.iter().map(|report| timing(report, name)).collect::<Result<Vec<f64>>>()?;
    Sample::new(values).with_context(|| format!("no report has the timing {name}"))
}
