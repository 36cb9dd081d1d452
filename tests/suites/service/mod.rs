//! The daemon as a service: what each capability is for, what systemd is told, who may ask for what, logs, and faults of the
//! machine around it. The unit itself is proven by `packaging/test/service`, under a real systemd.

mod capabilities;
mod cleanup;
mod faults;
mod keeping;
mod logs;
mod peers;
mod systemd;

use std::sync::Arc;

use ruleward_tests::policies::{attachment, chain, static_rules};
use ruleward_tests::{Backend, Node, Placement, Status};
use serde_json::{Value, json};

/// One chain with one rule, and the jump to it, in both families.
fn policies() -> Value {
    json!({ "web": static_rules(
        &[chain(None, "filter", "op-in", &["-p tcp --dport 80 -j RETURN"])],
        &[attachment(None, "filter", "INPUT", Placement::First, "-j op-in")],
        &[],
    ) })
}

/// A node that keeps them, and repairs at once.
fn node(backend: Backend) -> Arc<Node> {
    let node = Node::new(backend);
    node.configure(json!({ "watch": "auto", "policies": policies() }));
    node
}

fn in_sync(status: &Status) -> bool {
    status.report.in_sync
}
