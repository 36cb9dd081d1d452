//! Killed with -9 at every point between two kernel calls of a commit, then started again: the node converges, nothing
//! is left half done, nothing of a stranger's is lost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ruleward_tests::fake_tool::{FakeTool, Trouble, When};
use ruleward_tests::save::assert_same;
use ruleward_tests::trial;
use ruleward_tests::{Backend, Node};
use serde_json::json;

use crate::crowd;

/// How long a tool may run that outlived its caller.
const PATIENCE: Duration = Duration::from_secs(10);

/// A crowded node under the first version of the policy, about to get the second.
fn before_the_change(backend: Backend) -> Arc<Node> {
    let node = crowd::node(backend);
    node.configure(json!({ "policies": crowd::first_version() }));
    node.apply();
    node.set("policies", crowd::second_version());
    node
}

fn tools(backend: Backend) -> Vec<String> {
    let mut tools = FakeTool::tools(backend, "restore");
    tools.extend(FakeTool::tools(backend, "save"));
    tools.push("ipset".to_owned());
    tools
}

trial!(
    for backend in Backend::ALL,
    for (name, trouble) in [("before", Trouble::KillBefore), ("during", Trouble::KillDuring), ("after", Trouble::KillAfter)],
    "crash::{backend}::killed_{name}_each_call",
    killed(backend, &trouble)
);
fn killed(backend: Backend, trouble: &Trouble) {
    let node = before_the_change(backend);
    let strangers = crowd::strangers(&node);
    let fake = FakeTool::new(&node);
    fake.trouble(&tools(backend), &Trouble::Fail, When::Call(u32::MAX));
    node.apply();
    let calls = fake.calls();
    assert!(calls > 5, "a commit of this size makes more than {calls} calls:\n{}", fake.log());
    let expected = node.save_all();

    for call in 1..=calls {
        let node = before_the_change(backend);
        let fake = FakeTool::new(&node);
        fake.trouble(&tools(backend), trouble, When::Call(call));
        let output = node.ruleward(&["apply"]).output();
        assert_eq!(output.code, None, "call {call} of {calls} did not kill it: {output:#?}");
        // A tool that outlived its caller may still run: iptables-legacy replaces a table first, and then gives the rules
        // their counters back.
        let until = Instant::now() + PATIENCE;
        while crowd::strangers(&node) != strangers && Instant::now() < until {
            std::thread::yield_now();
        }
        assert_same(&format!("what is not ours, killed at call {call},"), &strangers, &crowd::strangers(&node));
        fake.remove();

        let daemon = node.daemon();
        // A tool that outlived its caller may have written after the daemon looked.
        let report = daemon.refresh();
        assert!(report.in_sync, "{report:#?}");
        assert_same(&format!("everything, started again after a kill at call {call},"), &expected, &node.save_all());
        assert_same("what is not ours", &strangers, &crowd::strangers(&node));
        daemon.refresh().assert_unchanged();
    }
}
