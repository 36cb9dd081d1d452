//! Everything that people, files and policies can get wrong. Each refusal has the right exit status, names the file,
//! key or rule, and leaves the kernel as it was; what was good before stays in force.

mod component;
mod configuration;
mod resources;
mod rules;

use std::sync::Arc;

use ruleward_tests::policies::{attachment, chain, static_rules};
use ruleward_tests::save::assert_same;
use ruleward_tests::{Backend, Family, Node, Output, Placement};
use serde_json::{Value, json};

/// One good policy, so that a refusal has something to spoil.
fn good_policy() -> Value {
    static_rules(
        &[chain(None, "filter", "op-in", &["-p tcp --dport 80 -j RETURN"])],
        &[attachment(None, "filter", "INPUT", Placement::First, "-j op-in")],
        &[],
    )
}

/// A node on which the good policy is in force.
fn good_node(backend: Backend) -> Arc<Node> {
    let node = Node::new(backend);
    node.stranger(Family::Ipv4).append("filter", "INPUT", "-j RETURN");
    node.configure(json!({ "policies": { "good": good_policy() } }));
    node.apply();
    node
}

/// Panics unless everything that `output` says, taken together, has all of `words`.
#[track_caller]
fn assert_says(output: &Output, words: &[&str]) {
    let text = format!("{}{}", output.stdout, output.stderr);
    for word in words {
        assert!(text.contains(word), "the refusal does not say {word:?}:\n{text}");
    }
    for bad in ["panicked", "RUST_BACKTRACE"] {
        assert!(!text.contains(bad), "it panicked:\n{text}");
    }
}

/// `check` and `apply` both refuse with status 78 and these words, and the kernel stays as it was.
#[track_caller]
fn assert_refused(node: &Node, words: &[&str]) {
    let before = node.save_all();
    for command in ["check", "apply"] {
        let output = node.ruleward(&[command]).output();
        assert_eq!(output.code, Some(78), "`{command}` did not refuse: {output:#?}");
        assert_says(&output, words);
    }
    assert_same("everything after the refusal", &before, &node.save_all());
}
