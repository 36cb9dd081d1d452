//! `cleanup` removes what is ours, also when the files that say so are wrong: by the last good configuration, or by what of a
//! wrong one makes sense.

use std::fs;

use ruleward_tests::save::assert_same;
use ruleward_tests::trial;
use ruleward_tests::{Backend, Family, Node};

use super::node;

/// Applies once; gives what was there before.
fn applied(node: &Node) -> String {
    let before = node.save_all();
    node.apply();
    for family in Family::ALL {
        assert!(node.save(family, "filter").contains("op-in"));
    }
    before
}

trial!(
    for backend in Backend::ALL,
    "service::cleanup::{backend}::a_broken_configuration",
    a_broken_configuration(backend)
);
fn a_broken_configuration(backend: Backend) {
    for broken in ["nonsense = 1", "refresh-intervall = \"1s\"", "policies = 7"] {
        let node = node(backend);
        let before = applied(&node);
        let right = fs::read_to_string(node.path("ruleward.toml")).expect("it was written");
        // Where the state is can still be read.
        let line = |key: &str| right.lines().find(|line| line.starts_with(key)).expect("the tests set it");
        let (state, runtime) = (line("state-directory"), line("runtime-directory"));
        node.write("ruleward.toml", &format!("{broken}\n{state}\n{runtime}\n"));
        let output = node.cleanup();
        assert!(output.stdout.contains("the last valid one"), "it does not say by what: {output:#?}");
        assert_same("everything after the cleanup", &before, &node.save_all());
    }
}

trial!(
    for backend in Backend::ALL,
    "service::cleanup::{backend}::one_wrong_policy_and_no_state",
    one_wrong_policy_and_no_state(backend)
);
fn one_wrong_policy_and_no_state(backend: Backend) {
    let node = node(backend);
    let before = applied(&node);
    fs::remove_dir_all(node.path("state")).expect("it is ours");
    let right = fs::read_to_string(node.path("ruleward.toml")).expect("it was written");
    node.write("ruleward.toml", &format!("{right}\n[policies.other]\nlimit = 7\n"));
    let output = node.ruleward(&["cleanup"]).output();
    assert_eq!(output.code, Some(78), "what the other owns is not known: {output:#?}");
    assert!(output.stderr.contains("no valid one is saved"), "{output:#?}");
    assert_same("everything after the cleanup", &before, &node.save_all());
}

trial!(
    for backend in Backend::ALL,
    "service::cleanup::{backend}::a_component_that_is_gone",
    a_component_that_is_gone(backend)
);
fn a_component_that_is_gone(backend: Backend) {
    let node = node(backend);
    let before = applied(&node);
    let right = fs::read_to_string(node.path("ruleward.toml")).expect("it was written");
    node.write("ruleward.toml", &right.replace("static-rules.wasm", "./gone.wasm"));
    node.cleanup();
    assert_same("everything after the cleanup", &before, &node.save_all());
}
