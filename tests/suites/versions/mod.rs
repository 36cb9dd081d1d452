//! What policies answered is kept: versions are listed, compared, given again anywhere and put in force again; and a
//! shadow shows what would change without changing anything.

mod records;
mod rollback;
mod shadow;

use std::sync::Arc;

use ruleward_tests::policies::{attachment, chain, static_rules};
use ruleward_tests::{Backend, Daemon, Family, Node, Output, Placement, poll};
use serde_json::{Value, json};

/// A static-rules policy that lets this port pass.
fn policy(port: u16) -> Value {
    static_rules(
        &[chain(None, "filter", "op-in", &[format!("-p tcp --dport {port} -j RETURN")])],
        &[attachment(None, "filter", "INPUT", Placement::First, "-j op-in")],
        &[],
    )
}

/// The line of the rule that lets this port pass.
fn rule(port: u16) -> String {
    format!("-A op-in -p tcp -m tcp --dport {port} -j RETURN")
}

/// A node with a daemon under the policy `web` that lets port 80 pass. Files are not watched: `reload` says when.
fn node(backend: Backend) -> (Arc<Node>, Daemon) {
    let node = Node::new(backend);
    node.configure(json!({ "policies": { "web": policy(80) } }));
    let daemon = node.daemon();
    (node, daemon)
}

/// The configuration has these policies, and the daemon has taken them; the exit status of `reload`.
fn reload(node: &Node, policies: Value) -> Option<i32> {
    node.set("policies", policies);
    node.ruleward(&["reload"]).output().code
}

/// `ruleward policy WORDS`.
fn policy_command(node: &Node, words: &[&str]) -> Output {
    let words = [&["--output", "json", "policy"], words].concat();
    node.ruleward(&words).output()
}

#[track_caller]
fn json_of(output: &Output, code: i32) -> Value {
    assert_eq!(output.code, Some(code), "another exit status: {output:#?}");
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("this is no JSON ({error}): {output:#?}"))
}

/// The records of a policy, newest first, when there are so many.
#[track_caller]
fn history(node: &Node, policy: &str, records: usize) -> Vec<Value> {
    poll(&format!("{records} records of {policy}"), || {
        let output = policy_command(node, &["history", policy]);
        let listed: Vec<Value> = serde_json::from_str(&output.stdout).ok()?;
        (listed.len() == records).then_some(listed)
    })
}

#[track_caller]
fn lets_pass(node: &Node, port: u16) {
    for family in Family::ALL {
        let save = node.save(family, "filter");
        assert!(save.contains(&rule(port)), "port {port} does not pass in {family}:\n{save}");
    }
}
