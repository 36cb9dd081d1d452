//! Resources that a running daemon finds in its directory and can't use: the last good answer stays in force and the
//! reason names the resource and the field.

use ruleward_tests::policies::calico;
use ruleward_tests::save::assert_same;
use ruleward_tests::trial;
use ruleward_tests::{Backend, Family, Node};
use serde_json::json;

const GOOD: &str = "apiVersion: projectcalico.org/v3
kind: IPPool
metadata: {name: pool4}
spec: {cidr: 192.168.0.0/16, natOutgoing: true}
---
apiVersion: projectcalico.org/v3
kind: Node
metadata: {name: node1}
spec: {bgp: {ipv4Address: 10.10.0.1/24}}
";

/// Name, what is replaced in the good resources by what, and what the reason must say.
pub type Case = (&'static str, &'static str, &'static str, &'static [&'static str]);

pub const CASES: &[Case] = &[
    ("not_a_network", "192.168.0.0/16", "192.168.0.0/77", &["pool4", "cidr", "192.168.0.0/77"]),
    ("not_an_address", "192.168.0.0/16", "localhost", &["pool4", "cidr", "localhost"]),
    ("no_network", "cidr: 192.168.0.0/16, ", "", &["pool4", "cidr"]),
    ("text_for_a_switch", "natOutgoing: true", "natOutgoing: sometimes", &["pool4", "natOutgoing"]),
    ("smuggled_line", "192.168.0.0/16", "\"192.168.0.0/16\\n-F\"", &["pool4", "cidr"]),
    ("not_yaml", "metadata: {name: pool4}", "metadata: {name: pool4", &["all.yaml"]),
    ("not_a_resource", "kind: IPPool", "sort: IPPool", &["all.yaml", "kind"]),
];

trial!(for case @ (name, ..) in CASES, "bad_input::resources::{name}", refused(case));
pub fn refused((_, from, to, says): &Case) {
    let node = Node::new(Backend::Nft);
    node.resources(GOOD);
    node.configure(json!({ "policies": { "calico": calico("3.32.1") } }));
    let daemon = node.daemon();
    let before = node.save_all();
    node.resources(&GOOD.replace(from, to));
    daemon.refresh_ending_with(78);
    let status = daemon.status();
    let text = serde_json::to_string(&status.report.problems).expect("a list of text");
    let reasons: Vec<_> = status.report.policies.iter().filter_map(|policy| policy.reason.clone()).collect();
    let text = format!("{text} {}", reasons.join(" "));
    for word in *says {
        assert!(text.contains(word), "the status does not say {word:?}: {status:#?}");
    }
    assert_same("everything", &before, &node.save_all());
    node.stranger(Family::Ipv4).flush_chain("nat", "cali-POSTROUTING");
    daemon.refresh_ending_with(78);
    assert_same("everything after the repair", &before, &node.save_all());
    node.resources(GOOD);
    daemon.refresh();
    assert_eq!(daemon.status().report.policy("calico").state, "current");
}
