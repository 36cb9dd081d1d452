//! One chain of many changed by its policy: what the commit takes, beside the tool that restores one chain.

use std::collections::BTreeSet;
use std::hint::black_box;

use ruleward_tests::Backend;
use serde_json::json;

use crate::guarded::Twin;
use crate::node::{COMMIT, EVALUATE, OBSERVE, PLAN, REHEARSE, TOTAL, VERIFY, node, phase, phases};
use crate::plan::Plan;
use crate::rules::Rules;
use crate::sample::Sample;
use crate::table::{Goal, Row};

/// Of every size: single ones of the tool differ by a fifth.
const REPETITIONS: usize = 15;
/// More than the processor's caches hold.
const CACHES: usize = 64 << 20;
/// Shortest line of a cache, in bytes.
const LINE: usize = 64;

/// All sizes, both backends.
pub fn measure(plan: &Plan) -> Vec<Row> {
    let sizes = |backend: Backend| plan.sizes(backend).into_iter().map(move |count| (backend, count));
    plan.backends()
        .iter()
        .flat_map(|backend| sizes(*backend))
        .map(|(backend, count)| row(plan, backend, count))
        .collect()
}

/// `ruleward apply` with the chain's rules the other way round, and back again.
fn row(plan: &Plan, backend: Backend, count: usize) -> Row {
    let case = format!("{backend}, one chain among {count} rules");
    eprintln!("    change, {case}");
    let rules = Rules::ours(count);
    let node = node(backend, rules, &json!({}));
    let twin = Twin::create(backend, rules, &node);
    let (mut bare, mut reports) = (Vec::new(), Vec::new());
    node.apply();
    for round in 0..plan.times(REPETITIONS) {
        let backwards = round.is_multiple_of(2).then_some(rules.chains() / 2);
        node.set("policies", json!({ "static-rules": rules.policy(backwards) }));
        let report = node.apply();
        let changed: BTreeSet<_> = report.changes.iter().map(|change| &change.chain).collect();
        assert!(report.outcome == "changed" && changed.len() == 1, "more or less than one chain: {report:#?}");
        reports.push(report);
        cool_caches();
        bare.push(twin.restore_one_chain());
    }
    Row {
        stock: Some(Sample::new(bare)),
        goal: Some(Goal::Ratio(if backend == Backend::Nft { 1.0 } else { 1.1 })),
        beside: phases(&reports, &[EVALUATE, REHEARSE, OBSERVE, PLAN, VERIFY, TOTAL]),
        ..Row::new("one chain changed", case, "ms", phase(&reports, COMMIT))
    }
}

/// What the tool finds that is started by a program which has just done something else, as ours is: it has evaluated,
/// rehearsed and compared before it writes. Started right after itself, the tool takes up to a fifth less.
fn cool_caches() {
    let mut other = vec![0_u8; CACHES];
    other.iter_mut().step_by(LINE).for_each(|byte| *byte = 1);
    black_box(other);
}
