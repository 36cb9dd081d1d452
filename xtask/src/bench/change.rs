//! One chain of many changed by its policy: what the commit takes, beside the tool that restores one chain.

use anyhow::{Result, ensure};
use std::hint::black_box;

use super::Plan;
use super::commit::phase;
use super::guarded::Twin;
use super::namespace::Namespace;
use super::node::{HOURLY, Node, Wanted};
use super::rules::Rules;
use super::sample::Sample;
use super::stock::Backend;
use super::table::{Goal, Row};

/// Of every size: single ones of the tool differ by a fifth.
const REPETITIONS: usize = 15;
/// More than the processor's caches hold.
const CACHES: usize = 64 << 20;
/// Shortest line of a cache, in bytes.
const LINE: usize = 64;

/// All sizes, both backends.
pub fn measure(plan: &Plan) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for backend in Backend::ALL {
        for count in plan.sizes(backend) {
            rows.push(row(backend, count)?);
        }
    }
    Ok(rows)
}

/// `ruleward apply` with the chain's rules the other way round, and back again.
fn row(backend: Backend, count: usize) -> Result<Row> {
    let case = format!("{}, one chain among {count} rules", backend.name());
    eprintln!("    change, {case}");
    let rules = Rules::ours(count);
    let node = Node::create(&Wanted { backend, both_families: true, beside: &[], options: HOURLY, rules })?;
    let twin = Twin::create(backend, rules, &node)?;
    let middle = rules.chains() / 2;
    let mut wanted = [false, true].map(|backwards| rules.chain_settings(middle, backwards));
    let (mut bare, mut reports) = (Vec::new(), Vec::new());
    Namespace::create()?.run(|| {
        node.apply()?;
        for _ in 0..REPETITIONS {
            node.edit(&wanted[0], &wanted[1])?;
            wanted.reverse();
            let report = node.apply()?;
            let changes = report["changes"].as_array().map_or(0, Vec::len);
            ensure!(report["outcome"] == "changed" && changes == 1, "{changes} chains changed: {}", report["outcome"]);
            reports.push(report);
            cool_caches();
            bare.push(twin.restore_one_chain()?);
        }
        Ok(())
    })?;
    let (ours, stock) = (phase(&reports, "commit")?, Sample::new(bare));
    let goal = Goal::Ratio(if backend == Backend::Nft { 1.0 } else { 1.1 });
    let mut row = Row { stock, goal: Some(goal), ..Row::new("one chain changed", case, "ms", ours) };
    for name in ["evaluate", "rehearse", "observe", "plan", "verify", "total"] {
        row.beside.push((name, phase(&reports, name)?));
    }
    Ok(row)
}

/// What the tool finds that is started by a program which has just done something else, as ours is: it has evaluated,
/// rehearsed and compared before it writes. Started right after itself, the tool takes up to a fifth less.
fn cool_caches() {
    let mut other = vec![0_u8; CACHES];
    other.iter_mut().step_by(LINE).for_each(|byte| *byte = 1);
    black_box(other);
}
