//! Cold commit: all rules into an empty namespace. What the host's own restore takes is compared with the tool alone
//! on the same rules; the phases around it stand beside it.

use ruleward_tests::{Backend, Netns, Report};
use serde_json::json;

use crate::node::{COMMIT, EVALUATE, FACTS, OBSERVE, PLAN, Phase, REHEARSE, TOTAL, VERIFY, node, phase, phases};
use crate::plan::Plan;
use crate::rules::Rules;
use crate::sample::Sample;
use crate::stock;
use crate::table::{Goal, Row};

const PHASES: [Phase; 7] = [FACTS, EVALUATE, REHEARSE, OBSERVE, PLAN, VERIFY, TOTAL];

/// All sizes, both backends. The second group of rows is what asking the policy takes.
pub fn measure(plan: &Plan) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut evaluations = vec![evaluation(0, &applied(plan, plan.backends()[0], 0).1)];
    for backend in plan.backends() {
        for count in plan.sizes(*backend) {
            let case = format!("{backend}, {count} rules");
            eprintln!("    cold commit, {case}");
            let (bare, reports) = applied(plan, *backend, count);
            rows.push(Row {
                stock: Some(Sample::new(bare)),
                goal: Some(Goal::Ratio(1.1)),
                beside: phases(&reports, &PHASES),
                ..Row::new("cold commit", case, "ms", phase(&reports, COMMIT))
            });
            if *backend == Backend::Nft {
                evaluations.push(evaluation(count, &reports));
            }
        }
    }
    rows.extend(evaluations);
    rows
}

fn applied(plan: &Plan, backend: Backend, count: usize) -> (Vec<f64>, Vec<Report>) {
    let rules = Rules::ours(count);
    let node = node(backend, rules, &json!({ "families": ["ipv4"] }));
    let script = if count == 0 { String::new() } else { rules.script() };
    let script = stock::script(&node.path(""), "script", &script);
    node.apply(); // compiles the component, and leaves a last good answer
    let (mut bare, mut reports) = (Vec::new(), Vec::new());
    for _ in 0..plan.repetitions(count) {
        let space = Netns::new();
        bare.push(space.run(|| stock::restore(backend, &script)));
        let wanted = space.run(|| stock::count(backend));
        drop(space);
        plan.settle();
        let node = node.rebooted();
        reports.push(node.apply());
        let found = node.net.run(|| stock::count(backend));
        assert_eq!(found, wanted, "rules after `ruleward apply`, and after the stock tool");
        drop(node);
        plan.settle();
    }
    (bare, reports)
}

fn evaluation(count: usize, reports: &[Report]) -> Row {
    let note = "facts lowered, guest run (parses JSON settings), answer lifted, checked; last good answer read";
    let case = format!("evaluate of {count} rules");
    Row { note: note.into(), ..Row::new("contract", case, "ms", phase(reports, EVALUATE)) }
}
