//! Tables of nf_tables that are none of iptables' are facts for policies: when one comes or goes,
//! policies are asked again at once, on both backends. Felix with nftables is the program that
//! matters: its table says which of its dataplanes it uses.

use std::sync::Arc;

use ruleward_tests::policies::{calico, calico_jumps};
use ruleward_tests::save::{assert_same, rules_of};
use ruleward_tests::trial;
use ruleward_tests::{Backend, Daemon, Family, Node, PolicyState, Status, poll};
use serde_json::{Value, json};

use super::settled;

/// As Felix begins: a table with base chains, chains, a set and rules, in one transaction.
const FELIX: &str = "\
add table ip calico
add set ip calico cali40masq-ipam-pools { type ipv4_addr; flags interval; }
add chain ip calico nat-cali-nat-outgoing
add chain ip calico nat-cali-POSTROUTING
add chain ip calico nat-POSTROUTING { type nat hook postrouting priority 100; policy accept; }
add rule ip calico nat-POSTROUTING jump nat-cali-POSTROUTING
add rule ip calico nat-cali-POSTROUTING jump nat-cali-nat-outgoing
add rule ip calico nat-cali-nat-outgoing ip saddr @cali40masq-ipam-pools masquerade
";

/// The jumps of IPv4, each with the chain that it leads to.
const CHAINS: [(&str, &str); 3] =
    [("PREROUTING", "cali-PREROUTING"), ("OUTPUT", "cali-OUTPUT"), ("POSTROUTING", "cali-POSTROUTING")];

fn node_with(backend: Backend, policy: Value) -> Arc<Node> {
    let node = Node::new(backend);
    node.resources(include_str!("../../data/captures/v3.28.3/vxlan/resources.yaml"));
    let policies = json!({ "calico-postrouting": policy });
    node.configure(json!({ "refresh-interval": "1h", "watch": "auto", "policies": policies }));
    node
}

fn nft(node: &Node, script: &str) {
    node.command("nft").args(&["-f", "-"]).input(script).must();
}

fn restore(node: &Node, lines: &[String]) {
    node.add(Family::Ipv4, &format!("*nat\n{}\nCOMMIT\n", lines.join("\n")));
}

fn made() -> Vec<String> {
    CHAINS.iter().map(|(_, chain)| format!(":{chain} - [0:0]")).collect()
}

fn jumps(node: &Node) -> Vec<String> {
    let save = node.save(Family::Ipv4, "nat");
    CHAINS.iter().flat_map(|(hook, _)| rules_of(&save, hook)).map(|rule| rule.to_string()).collect()
}

#[track_caller]
fn policy_is(daemon: &Daemon, state: &str, says: &str) -> Status {
    daemon.wait_until(&format!("telling that the policy is {state}: {says}"), |status| {
        let fits =
            |policy: &PolicyState| policy.state == state && policy.reason.as_deref().unwrap_or_default().contains(says);
        status.report.policies.first().is_some_and(fits)
    })
}

trial!(
    for backend in Backend::ALL,
    "events::{backend}::other_tables::beside_felix_the_policy_waits_at_once",
    beside_felix_the_policy_waits_at_once(backend)
);
fn beside_felix_the_policy_waits_at_once(backend: Backend) {
    let node = node_with(backend, calico_jumps("3.28.2"));
    restore(&node, &made());
    let daemon = settled(&node);
    let ours = jumps(&node);
    assert_eq!(ours.len(), CHAINS.len());
    nft(&node, FELIX);
    policy_is(&daemon, "waiting", "table ip calico");
    // It has not been taken away yet: Felix does that, with its chains, and is no tamperer.
    assert_eq!(jumps(&node), ours);
    let mut lines: Vec<String> = ours.iter().map(|jump| jump.replacen("-A ", "-D ", 1)).collect();
    lines.extend(CHAINS.iter().flat_map(|(_, chain)| [format!("-F {chain}"), format!("-X {chain}")]));
    restore(&node, &lines);
    poll("the log tells of the chain", || daemon.log().contains("chain cali-POSTROUTING is gone").then_some(()));
    daemon.refresh();
    assert_eq!(jumps(&node), [""; 0]);
    let status = daemon.status();
    assert!(status.report.incidents.is_empty() && status.fights.is_empty(), "{:#?}", status.report.incidents);
    // And back to iptables.
    nft(&node, "delete table ip calico");
    policy_is(&daemon, "current", "");
    restore(&node, &made());
    poll("the jumps are back", || (jumps(&node) == ours).then_some(()));
}

trial!(
    for backend in Backend::ALL,
    "events::{backend}::other_tables::in_felixs_place_the_policy_is_refused_at_once",
    in_felixs_place_the_policy_is_refused_at_once(backend)
);
fn in_felixs_place_the_policy_is_refused_at_once(backend: Backend) {
    let node = node_with(backend, calico("3.28.2"));
    let daemon = settled(&node);
    let before = node.save(Family::Ipv4, "nat");
    nft(&node, FELIX);
    policy_is(&daemon, "last-good", "table ip calico): rules of this policy would translate packets a second time");
    assert_same("what was in force", &before, &node.save(Family::Ipv4, "nat"));
    nft(&node, "delete table ip calico");
    policy_is(&daemon, "current", "");
    daemon.wait_until_in_sync();
    assert_same("what was in force", &before, &node.save(Family::Ipv4, "nat"));
}

trial!(
    for backend in Backend::ALL,
    "events::{backend}::other_tables::a_policy_that_waits_is_in_force_at_once",
    a_policy_that_waits_is_in_force_at_once(backend)
);
/// Nothing was ever in force, so nothing of the kernel is compared yet.
fn a_policy_that_waits_is_in_force_at_once(backend: Backend) {
    let node = node_with(backend, calico_jumps("3.28.2"));
    restore(&node, &made());
    nft(&node, FELIX);
    let daemon = Daemon::start(&node);
    policy_is(&daemon, "waiting", "table ip calico");
    assert_eq!(jumps(&node), [""; 0]);
    nft(&node, "delete table ip calico");
    policy_is(&daemon, "current", "");
    poll("the jumps are there", || (jumps(&node).len() == CHAINS.len()).then_some(()));
}

trial!(
    for backend in Backend::ALL,
    "events::{backend}::other_tables::tables_of_no_concern_change_nothing",
    tables_of_no_concern_change_nothing(backend)
);
/// Tables of other names and families, rules in them, and a table that was gone again before it was looked at.
fn tables_of_no_concern_change_nothing(backend: Backend) {
    let node = node_with(backend, calico_jumps("3.28.2"));
    restore(&node, &made());
    let daemon = settled(&node);
    let before = node.save_all();
    for family in ["inet", "ip", "ip6", "arp", "bridge", "netdev"] {
        nft(
            &node,
            &format!("add table {family} theirs\nadd chain {family} theirs one\nadd rule {family} theirs one accept"),
        );
    }
    nft(&node, "add table ip calico\ndelete table ip calico");
    nft(&node, "add table inet calico");
    let report = daemon.refresh();
    assert!(report.in_sync && report.incidents.is_empty(), "{report:#?}");
    let status = policy_is(&daemon, "current", "");
    assert!(status.report.incidents.is_empty() && status.report.problems.is_empty(), "{:#?}", status.report);
    assert_same("everything of iptables", &before, &node.save_all());
}
