//! A file system that does not answer keeps nobody from anything but its own files: rules are repaired, who asks is
//! answered, all say what hangs, and when it answers again everything is taken up where it was.

use ruleward_tests::silent::Silent;
use ruleward_tests::trial;
use ruleward_tests::{Backend, Daemon, Family};
use serde_json::json;

use super::{comes_into_force, node, policy};

fn is_told(daemon: &Daemon, words: &str) {
    daemon.wait_until(&format!("saying {words:?}"), |status| {
        status.report.in_sync && status.report.problems.iter().any(|problem| problem.contains(words))
    });
}

trial!(
    for backend in Backend::ALL,
    "reload::silence::{backend}::resources_that_hang_stop_no_repair",
    resources_that_hang_stop_no_repair(backend)
);
fn resources_that_hang_stop_no_repair(backend: Backend) {
    let (node, daemon) = node(backend);
    let silent = Silent::over(&node, &node.path("resources"));
    node.configure(json!({ "watch": "auto", "policies": { "web": policy("op", 81) } }));
    // Who has everything read anew waits for the files as long as files may take, and is told.
    let report = daemon.reload(75);
    assert!(report.in_sync, "{report:#?}");
    let told = |words: &str| report.problems.iter().any(|problem| problem.contains(words));
    assert!(told("files have not been read for ") && told("the file system does not answer"), "{report:#?}");
    is_told(&daemon, "looking for the folders of the configuration, the components and the resources has not ended");

    let before = daemon.status().mark();
    node.stranger(Family::Ipv4).flush_chain("filter", "op-in");
    daemon.incident_after(&before, "chain-flushed", Family::Ipv4, "filter", "op-in");
    assert!(node.save(Family::Ipv4, "filter").contains("--dport 80 "), "the last that was read counts");

    drop(silent);
    comes_into_force(&node, "op", 81);
    daemon.wait_until("free of problems", |status| status.report.problems.is_empty());
}
