//! Killed with -9 at every kernel call of a swap, in a running daemon: what is in force then is the old or the new, and
//! started again the node has the new.

use std::fs;
use std::sync::Arc;

use ruleward_tests::fake_tool::{FakeTool, Trouble, When};
use ruleward_tests::save::assert_same;
use ruleward_tests::trial;
use ruleward_tests::{Backend, Daemon, Node, Status, poll};
use serde_json::json;

use super::{policy, variant};
use crate::crowd;

/// A crowded node under a daemon that looks when it is asked. Another policy comes and one goes with the swap.
fn before_the_swap(backend: Backend) -> Arc<Node> {
    let node = crowd::node(backend);
    for (number, name) in [(0, "op.wasm"), (1, "db.wasm"), (2, "go.wasm")] {
        fs::write(node.path(name), variant(number)).expect("writable");
    }
    node.configure(json!({ "policies": { "web": policy("op", 80), "go": policy("go", 22) } }));
    node.apply();
    node
}

fn swap(node: &Node) {
    fs::write(node.path("op.wasm"), variant(9)).expect("writable");
    node.set("policies", json!({ "web": policy("op", 81), "db": policy("db", 5432) }));
}

/// All that is not ours.
fn strangers(node: &Node) -> String {
    let text = crowd::strangers(node);
    text.lines().filter(|line| !line.contains("db-in") && !line.contains("go-in")).collect::<Vec<_>>().join("\n")
}

fn tools(backend: Backend) -> Vec<String> {
    let mut tools = FakeTool::tools(backend, "restore");
    tools.extend(FakeTool::tools(backend, "save"));
    tools.push("ipset".to_owned());
    tools
}

trial!(
    for backend in Backend::ALL,
    for (name, trouble) in [("before", Trouble::KillBefore), ("after", Trouble::KillAfter)],
    "reload::crash::{backend}::killed_{name}_each_call_of_a_swap",
    killed(backend, &trouble)
);
fn killed(backend: Backend, trouble: &Trouble) {
    let node = before_the_swap(backend);
    let (old, theirs) = (node.save_all(), strangers(&node));
    let fake = FakeTool::new(&node);
    fake.trouble_everywhere(&tools(backend), &Trouble::Fail, When::Call(u32::MAX));
    let daemon = node.daemon();
    fake.trouble_everywhere(&tools(backend), &Trouble::Fail, When::Call(u32::MAX));
    swap(&node);
    daemon.reload(0);
    let calls = fake.calls();
    assert!(calls > 3, "a swap makes more than {calls} calls:\n{}", fake.log());
    let new = node.save_all();
    assert_ne!(old, new);
    drop(daemon);

    for call in 1..=calls {
        let node = before_the_swap(backend);
        let fake = FakeTool::new(&node);
        fake.trouble_everywhere(&tools(backend), trouble, When::Call(u32::MAX));
        let mut daemon = node.daemon();
        fake.trouble_everywhere(&tools(backend), trouble, When::Call(call));
        swap(&node);
        daemon.signal("HUP");
        let killed = poll("it is killed, or done", || {
            let done = |status: Status| {
                status.report.in_sync && status.report.policies.iter().all(|policy| policy.candidate.is_none())
            };
            let ended = daemon.has_ended();
            (ended || (node.save_all() == new && daemon.try_status().is_some_and(done))).then_some(ended)
        });
        fake.remove();
        if !killed {
            // Components that are loaded together are swapped together: then there are fewer calls.
            assert!(call > 3, "call {call} of {calls} did not kill it");
            return;
        }
        // Each policy is swapped by itself. iptables-legacy commits table by table.
        if backend == Backend::Nft {
            let left = node.save_all();
            for policy in ["op-in", "db-in", "go-in"] {
                let of = |text: &str| text.lines().filter(|line| line.contains(policy)).collect::<Vec<_>>().join("\n");
                let (left, old, new) = (of(&left), of(&old), of(&new));
                assert!(
                    left == old || left == new,
                    "killed at call {call} it left neither the old nor the new:\n{left}"
                );
            }
        }
        assert_same("what is not ours", &theirs, &strangers(&node));
        drop(daemon);
        let daemon = Daemon::start(&node);
        daemon.wait_until("in sync", |status| status.report.in_sync);
        assert_same(&format!("everything, started again after a kill at call {call},"), &new, &node.save_all());
        assert_same("what is not ours", &theirs, &strangers(&node));
        daemon.refresh().assert_unchanged();
        assert!(!node.path("state/last-good/go.json").exists(), "who has left is still recorded");
    }
}
