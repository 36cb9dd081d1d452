//! What the node has, the rehearsal has: objects that a rule names and that another program made.

use ruleward_tests::policies::{chain, static_rules};
use ruleward_tests::save::rules_of;
use ruleward_tests::trial;
use ruleward_tests::{Backend, Family, Node};
use serde_json::json;

const ESTIMATE: &str = "-j RATEEST --rateest-name est --rateest-interval 250ms --rateest-ewmalog 500ms";
const COMPARE: &str = "-m rateest --rateest est --rateest-gt --rateest-bps 1kbit -j RETURN";

/// static-rules with one chain of IPv4 for each of these rules, by table.
fn in_force(node: &Node, rules: &[(&str, &str, &str)]) {
    let chains: Vec<_> = rules.iter().map(|(table, name, rule)| chain(Family::Ipv4, table, name, &[rule])).collect();
    node.configure(json!({ "policies": { "own": static_rules(&chains, &[], &[]) } }));
    let report = node.apply();
    assert!(report.in_sync, "{report:#?}");
    for (table, name, _) in rules {
        assert_eq!(rules_of(&node.save(Family::Ipv4, table), name).len(), 1, "{table} {name}");
    }
}

trial!(
    for backend in Backend::ALL,
    "differential::{backend}::accounting_and_timeout_objects_of_the_node_can_be_used",
    accounting_and_timeout(backend)
);
fn accounting_and_timeout(backend: Backend) {
    let node = Node::new(backend);
    node.command("nfacct").args(&["add", "web-traffic"]).must();
    node.command("nfct").args(&["timeout", "add", "long", "inet", "tcp", "established", "100"]).must();
    in_force(
        &node,
        &[
            ("filter", "op-count", "-m nfacct --nfacct-name web-traffic"),
            ("raw", "op-long", "-p tcp -j CT --timeout long"),
            ("raw", "op-ftp", "-p tcp --dport 21 -j CT --helper ftp"),
        ],
    );
}

trial!(
    for backend in Backend::ALL,
    "differential::{backend}::a_foreign_estimator_can_be_used",
    foreign_estimator(backend)
);
fn foreign_estimator(backend: Backend) {
    let node = Node::new(backend);
    node.stranger(Family::Ipv4).append("mangle", "PREROUTING", ESTIMATE);
    in_force(&node, &[("filter", "op-rate", COMPARE)]);
}

trial!(
    for backend in Backend::ALL,
    "differential::{backend}::an_own_estimator_is_made_before_it_is_used",
    own_estimator(backend)
);
/// Names of chains and tables are in the wrong order.
fn own_estimator(backend: Backend) {
    let node = Node::new(backend);
    in_force(&node, &[("filter", "op-a", COMPARE), ("filter", "op-b", ESTIMATE)]);
    node.cleanup();
    in_force(&node, &[("raw", "op-a", COMPARE), ("mangle", "op-b", ESTIMATE)]);
    // A chain that was emptied is filled again.
    node.stranger(Family::Ipv4).flush_chain("raw", "op-a");
    assert!(node.apply().in_sync);
    assert_eq!(rules_of(&node.save(Family::Ipv4, "raw"), "op-a").len(), 1);
}

trial!(
    for backend in Backend::ALL,
    "differential::{backend}::objects_that_are_not_there_are_refused",
    absent(backend)
);
fn absent(backend: Backend) {
    let node = Node::new(backend);
    for (table, rule) in
        [("filter", "-m nfacct --nfacct-name nowhere"), ("filter", COMPARE), ("raw", "-p tcp -j CT --timeout nowhere")]
    {
        let chains = [chain(Family::Ipv4, table, "op-a", &[rule])];
        node.configure(json!({ "policies": { "own": static_rules(&chains, &[], &[]) } }));
        let output = node.ruleward(&["apply"]).output();
        assert_eq!(output.code, Some(78), "{rule}: {output:#?}");
        assert!(format!("{}{}", output.stdout, output.stderr).contains(rule), "{output:#?}");
    }
}
