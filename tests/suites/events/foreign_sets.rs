//! Sets and chains of another program in rules of ours: such a rule is in force while they exist,
//! waits where they do not, and nothing of theirs is touched.

use std::sync::Arc;

use ruleward_tests::policies::{attachment, chain, set, static_rules};
use ruleward_tests::save::rules_of;
use ruleward_tests::trial;
use ruleward_tests::{Backend, Daemon, Family, Node, Placement, poll};
use serde_json::{Value, json};

use super::settled;

const DROPS: &str = "-m set --match-set crowdsec src -j DROP";
const MARKS: &str = "-m mark --mark 0x1 -j RETURN";

/// Rules of ours with the set of another program in a chain and in a built-in chain.
fn policy() -> Value {
    let mut policy = static_rules(
        &[chain(Family::Ipv4, "filter", "op-in", &[DROPS, MARKS])],
        &[
            attachment(Family::Ipv4, "filter", "INPUT", Placement::First, "-j op-in"),
            attachment(Family::Ipv4, "filter", "FORWARD", Placement::First, DROPS),
        ],
        &[],
    );
    policy["grants"]["uses"] = json!({ "sets": ["crowdsec*"] });
    policy
}

fn configure(node: &Node, policy: &Value) {
    node.configure(
        json!({ "families": ["ipv4"], "refresh-interval": "1h", "watch": "auto", "policies": { "web": policy } }),
    );
}

fn node_with(backend: Backend, policy: &Value) -> (Arc<Node>, Daemon) {
    let node = Node::new(backend);
    configure(&node, policy);
    let daemon = settled(&node);
    (node, daemon)
}

/// Rules of a chain of `filter`, without comments.
fn shown(node: &Node, chain: &str) -> Vec<String> {
    let plain = |rule: &str| {
        let rule = rule.strip_prefix(&format!("-A {chain} ")).unwrap_or(rule);
        match rule.split_once("-m comment --comment ") {
            Some((before, after)) => format!("{before}{}", after.split_once(' ').map_or("", |(_, rest)| rest)),
            None => rule.to_owned(),
        }
    };
    rules_of(&node.save(Family::Ipv4, "filter"), chain).iter().map(|rule| plain(rule)).collect()
}

trial!(
    for backend in Backend::ALL,
    "events::{backend}::foreign_sets::a_rule_waits_for_a_set_and_comes_with_it",
    a_rule_waits_for_a_set_and_comes_with_it(backend)
);
fn a_rule_waits_for_a_set_and_comes_with_it(backend: Backend) {
    let (node, daemon) = node_with(backend, &policy());
    assert_eq!((shown(&node, "op-in"), shown(&node, "FORWARD")), (vec![MARKS.to_owned()], vec![]));
    let report = daemon.refresh();
    assert!(report.in_sync && report.nothing_enforced.is_none(), "{report:#?}");
    let waiting: Vec<_> = report.awaiting.iter().map(|one| (&*one.within, one.set.as_deref())).collect();
    assert_eq!(waiting, [("FORWARD", Some("crowdsec")), ("op-in", Some("crowdsec"))]);
    let text = node.ruleward(&["status"]).must();
    assert!(text.contains("wait for the set crowdsec, which does not exist"), "{text}");

    node.load_sets("create crowdsec hash:ip family inet timeout 300\nadd crowdsec 192.0.2.9 timeout 200\n");
    poll("both rules", || {
        let all = shown(&node, "op-in") == [DROPS, MARKS] && shown(&node, "FORWARD") == [DROPS];
        all.then_some(())
    });
    let report = daemon.refresh();
    assert!(report.in_sync && report.incidents.is_empty() && report.awaiting.is_empty(), "{report:#?}");
    assert!(daemon.log().contains("set crowdsec appeared, the rule of web is in place"), "{}", daemon.log());

    // From here on it is kept like any other rule, and the set stays its owner's.
    let before = daemon.status().mark();
    node.stranger(Family::Ipv4).flush_chain("filter", "op-in");
    daemon.incident_after(&before, "chain-flushed", Family::Ipv4, "filter", "op-in");
    assert_eq!(shown(&node, "op-in"), [DROPS, MARKS]);
    assert!(node.sets().contains("add crowdsec 192.0.2.9"), "{}", node.sets());
    daemon.stop();
    assert_eq!(node.cleanup().code, Some(0));
    assert!(node.sets().contains("add crowdsec 192.0.2.9"), "{}", node.sets());
    assert_eq!(shown(&node, "FORWARD"), Vec::<String>::new());
}

trial!(
    for backend in Backend::ALL,
    "events::{backend}::foreign_sets::a_set_that_exists_is_used_at_once",
    a_set_that_exists_is_used_at_once(backend)
);
fn a_set_that_exists_is_used_at_once(backend: Backend) {
    let node = Node::new(backend);
    // The type is the owner's: three dimensions here.
    node.load_sets("create crowdsec-3 hash:ip,port,net family inet\n");
    let rule = "-m set --match-set crowdsec-3 src,dst,src -j DROP";
    let mut policy = policy();
    policy["settings"]["chains"] = json!([chain(Family::Ipv4, "filter", "op-in", &[rule])]);
    policy["settings"]["attachments"] =
        json!([attachment(Family::Ipv4, "filter", "INPUT", Placement::First, "-j op-in")]);
    configure(&node, &policy);
    let report = node.apply();
    assert!(report.in_sync && report.awaiting.is_empty(), "{report:#?}");
    assert_eq!(shown(&node, "op-in"), [rule]);
    assert!(node.plan(0).in_sync);
}

trial!(
    for backend in Backend::ALL,
    "events::{backend}::foreign_sets::a_set_of_sets_waits_for_a_member",
    a_set_of_sets_waits_for_a_member(backend)
);
fn a_set_of_sets_waits_for_a_member(backend: Backend) {
    let mut policy = policy();
    policy["settings"]["sets"] = json!([
        set(Family::Ipv4, "op-own", "hash:ip", &["192.0.2.1"]),
        set(Family::Ipv4, "op-all", "list:set", &["op-own", "crowdsec"]),
    ]);
    let rule = "-m set --match-set op-all src -j DROP";
    policy["settings"]["chains"] = json!([chain(Family::Ipv4, "filter", "op-in", &[rule])]);
    policy["settings"]["attachments"] =
        json!([attachment(Family::Ipv4, "filter", "INPUT", Placement::First, "-j op-in")]);
    let (node, daemon) = node_with(backend, &policy);
    let members = |node: &Node| node.sets().lines().filter(|line| line.starts_with("add op-all")).count();
    assert_eq!((members(&node), shown(&node, "op-in")), (1, vec![rule.to_owned()]));
    let report = daemon.refresh();
    assert!(report.in_sync && report.notes.iter().any(|note| note.contains("the set crowdsec")), "{report:#?}");
    node.load_sets("create crowdsec hash:ip family inet\n");
    poll("the member", || (members(&node) == 2).then_some(()));
    let report = daemon.refresh();
    assert!(report.in_sync && report.incidents.is_empty(), "{report:#?}");

    policy["settings"]["sets"][1]["members"] = json!(["op-own", "others"]);
    configure(&node, &policy);
    let report = daemon.reload(78);
    assert!(report.refused.iter().any(|refused| refused.contains("names the set others")), "{report:#?}");
    assert_eq!(members(&node), 2);
}

trial!(
    for backend in Backend::ALL,
    "events::{backend}::foreign_sets::a_rule_in_a_chain_of_ours_waits_for_a_chain",
    a_rule_in_a_chain_of_ours_waits_for_a_chain(backend)
);
fn a_rule_in_a_chain_of_ours_waits_for_a_chain(backend: Backend) {
    let mut policy = policy();
    policy["grants"]["uses"] = json!({ "chains": ["f2b-*"] });
    policy["settings"]["chains"] = json!([chain(Family::Ipv4, "filter", "op-in", &["-p tcp -j f2b-sshd", MARKS])]);
    policy["settings"]["attachments"] =
        json!([attachment(Family::Ipv4, "filter", "INPUT", Placement::First, "-j op-in")]);
    let (node, daemon) = node_with(backend, &policy);
    assert_eq!(shown(&node, "op-in"), [MARKS]);
    let report = daemon.refresh();
    let waiting: Vec<_> = report.awaiting.iter().map(|one| (&*one.within, one.chain.as_deref())).collect();
    assert_eq!(waiting, [("op-in", Some("f2b-sshd"))]);
    node.stranger(Family::Ipv4).new_chain("filter", "f2b-sshd");
    poll("the jump", || (shown(&node, "op-in") == ["-p tcp -j f2b-sshd", MARKS]).then_some(()));
    let report = daemon.refresh();
    assert!(report.in_sync && report.incidents.is_empty() && report.awaiting.is_empty(), "{report:#?}");
}

trial!(
    for backend in Backend::ALL,
    "events::{backend}::foreign_sets::what_is_not_granted_is_refused",
    what_is_not_granted_is_refused(backend)
);
fn what_is_not_granted_is_refused(backend: Backend) {
    let node = Node::new(backend);
    node.load_sets("create crowdsec hash:ip family inet\n");
    let mut policy = policy();
    policy["grants"]["uses"] = json!({ "sets": ["others"] });
    configure(&node, &policy);
    let report = node.ruleward(&["--output", "json", "apply"]).report(78);
    let told = report.refused.join("\n");
    assert!(
        told.contains("Set crowdsec doesn't exist") && told.contains("add \"crowdsec\" to grants.uses.sets"),
        "{told}"
    );
    assert_eq!(shown(&node, "INPUT"), Vec::<String>::new());
}
