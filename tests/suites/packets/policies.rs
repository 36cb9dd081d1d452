//! Policies of built-in chains: each change is recorded with who made it, on both backends.

use libtest_mimic::Trial;
use ruleward_tests::trial::trial;
use ruleward_tests::{Backend, Family};

use super::node;

/// All of them.
pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for backend in Backend::ALL {
        for family in Family::ALL {
            let name = format!("packets::{backend}::{family}::policies::a_change_is_recorded_and_left");
            trials.push(trial(name, move || a_change_is_recorded_and_left(backend, family)));
        }
    }
    trials
}

#[track_caller]
pub fn set(node: &ruleward_tests::Node, backend: Backend, family: Family, table: &str, hook: &str, policy: &str) {
    node.command(family.tool(backend, "")).args(&["-w", "-t", table, "-P", hook, policy]).must();
}

fn a_change_is_recorded_and_left(backend: Backend, family: Family) {
    for (table, hooks) in [("filter", ["INPUT", "FORWARD"]), ("mangle", ["PREROUTING", "POSTROUTING"])] {
        let node = node(backend, table, "auto");
        node.apply();
        let daemon = node.daemon();
        for hook in hooks {
            for (policy, before) in [("DROP", "ACCEPT"), ("ACCEPT", "DROP")] {
                let mark = daemon.status().mark();
                set(&node, backend, family, table, hook, policy);
                let fits = |incident: &ruleward_tests::Incident| {
                    incident.is("policy-changed", &family.to_string(), table, hook)
                        && incident.detail.contains(&format!("from {before} to {policy}"))
                };
                let status = daemon.wait_until("recording the change", |status| status.since(&mark).iter().any(fits));
                assert!(status.report.in_sync && status.report.problems.is_empty(), "{status:#?}");
                let incident = status.since(&mark).into_iter().find(fits).expect("it was just there");
                assert!(!incident.repaired && incident.how.contains("no policy asks"), "{incident:#?}");
                if backend == Backend::Nft {
                    assert!(incident.actors.iter().all(|one| one.actor.name.contains("tables")), "{incident:#?}");
                    assert!(!incident.actors.is_empty(), "{incident:#?}");
                }
                let line = format!(":{hook} {policy} ");
                assert!(node.save_exact(family, table).contains(&line), "it is left as it is");
            }
        }
        daemon.refresh().assert_unchanged();
    }
}
