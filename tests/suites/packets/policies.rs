//! Policies of built-in chains: each change is recorded with who made it, on both backends.

use ruleward_tests::Change;
use ruleward_tests::policies::{attachment, static_rules};
use ruleward_tests::trial;
use ruleward_tests::{Backend, Family, Node, Placement};
use serde_json::{Value, json};

use super::node;

#[track_caller]
fn set(node: &Node, backend: Backend, family: Family, table: &str, hook: &str, policy: &str) {
    node.command(family.tool(backend, "")).args(&["-w", "-t", table, "-P", hook, policy]).must();
}

trial!(
    for backend in Backend::ALL,
    for family in Family::ALL,
    "packets::{backend}::{family}::policies::a_change_is_recorded_and_left",
    a_change_is_recorded_and_left(backend, family)
);
fn a_change_is_recorded_and_left(backend: Backend, family: Family) {
    for (table, hooks) in [("filter", ["INPUT", "FORWARD"]), ("mangle", ["PREROUTING", "POSTROUTING"])] {
        let node = node(backend, table, "auto");
        node.apply();
        let daemon = node.daemon();
        for hook in hooks {
            for (policy, before) in [("DROP", "ACCEPT"), ("ACCEPT", "DROP")] {
                let mark = daemon.status().mark();
                set(&node, backend, family, table, hook, policy);
                let fits = |incident: &ruleward_tests::Incident| {
                    incident.is("policy-changed", &family.to_string(), table, hook)
                        && incident.detail.contains(&format!("from {before} to {policy}"))
                };
                let status = daemon.wait_until("recording the change", |status| status.since(&mark).iter().any(fits));
                assert!(status.report.in_sync && status.report.problems.is_empty(), "{status:#?}");
                let incident = status.since(&mark).into_iter().find(fits).expect("it was just there");
                assert!(!incident.repaired && incident.how.contains("no Ruleward policy"), "{incident:#?}");
                if backend == Backend::Nft {
                    assert!(incident.actors.iter().all(|one| one.actor.name.contains("tables")), "{incident:#?}");
                    assert!(!incident.actors.is_empty(), "{incident:#?}");
                }
                let line = format!(":{hook} {policy} ");
                assert!(node.save_exact(family, table).contains(&line), "it is left as it is");
            }
        }
        daemon.refresh().assert_unchanged();
    }
}

trial!(
    for replay in ["auto", "off"],
    "packets::nft::each_of_many_changes_is_one_incident_of_its_own_actor::replay_{replay}",
    each_change_has_its_own_actor(replay)
);
/// A jump, a policy and the table's flag at once. What the stock tools write for the repair is nobody's deed.
fn each_change_has_its_own_actor(replay: &str) {
    let family = Family::Ipv4;
    let node = Node::new(Backend::Nft);
    let mut policies = asking(family, &[("filter/FORWARD", "DROP")]);
    policies["web"]["settings"]["attachments"] =
        json!([attachment(family, "filter", "INPUT", Placement::First, "-p icmp -j ACCEPT")]);
    node.configure(json!({ "refresh-interval": "1h", "watch": "auto", "replay": replay, "policies": policies }));
    let daemon = node.daemon();
    daemon.refresh().assert_unchanged();
    let before = node.save_all();
    let mark = daemon.status().mark();
    daemon.pause();
    node.command(family.tool(Backend::Nft, "")).args(&["-D", "INPUT", "1"]).must();
    set(&node, Backend::Nft, family, "filter", "FORWARD", "ACCEPT");
    node.command("nft").args(&["add table ip filter { flags dormant; }"]).must();
    daemon.resume();
    let kinds = [("rule-deleted", "INPUT"), ("policy-changed", "FORWARD"), ("table-dormant", "")];
    let status = daemon.wait_until("told of all three", |status| {
        let told = status.since(&mark);
        status.report.in_sync
            && kinds.iter().all(|(kind, chain)| told.iter().any(|one| one.is(kind, "ipv4", "filter", chain)))
    });
    assert_eq!(node.save_all(), before);
    for incident in status.since(&mark) {
        let names: Vec<&str> = incident.actors.iter().map(|one| one.actor.name.as_str()).collect();
        let wanted = if incident.kind == "table-dormant" { "nft" } else { "iptables-nft" };
        assert_eq!((incident.times, names), (1, vec![wanted]), "{incident:#?}");
    }
    let seen = daemon.status();
    daemon.refresh().assert_unchanged();
    assert_eq!(daemon.status().mark(), seen.mark(), "what the repair wrote is no incident");
}

/// A policy that asks for these policies of built-in chains in one family, as `TABLE/HOOK` and what each should be.
fn asking(family: Family, policies: &[(&str, &str)]) -> Value {
    let mut policy = static_rules(&[], &[], &[]);
    let asked = policies.iter().map(|(place, policy)| {
        let (table, hook) = place.split_once('/').expect("TABLE/HOOK");
        json!({ "table": table, "hook": hook, "families": [family.to_string()], "policy": policy })
    });
    policy["settings"]["policies"] = asked.collect();
    policy["grants"]["policies"] = json!(["filter/FORWARD", "mangle/PREROUTING"]);
    json!({ "web": policy })
}

#[track_caller]
fn has(node: &Node, family: Family, table: &str, hook: &str, policy: &str) -> bool {
    node.save_exact(family, table).contains(&format!(":{hook} {policy} "))
}

trial!(
    for backend in Backend::ALL,
    for family in Family::ALL,
    "packets::{backend}::{family}::policies::one_that_is_asked_for_is_kept",
    one_that_is_asked_for_is_kept(backend, family)
);
fn one_that_is_asked_for_is_kept(backend: Backend, family: Family) {
    let node = Node::new(backend);
    let asked = [("filter/FORWARD", "DROP"), ("mangle/PREROUTING", "ACCEPT")];
    node.configure(json!({ "refresh-interval": "1h", "watch": "auto", "policies": asking(family, &asked) }));
    let plan = node.plan(2);
    let planned = |line: &str| {
        let of_policy = |change: &&Change| change.action == "change" && change.object == "policy";
        plan.changes.iter().filter(of_policy).any(|change| change.added.iter().any(|added| added == line))
    };
    assert!(planned("-P FORWARD DROP"), "{plan:#?}");
    node.apply();
    assert!(has(&node, family, "filter", "FORWARD", "DROP"), "after `apply`");
    node.apply().assert_unchanged();

    let daemon = node.daemon();
    for (table, hook, wanted, other) in
        [("filter", "FORWARD", "DROP", "ACCEPT"), ("mangle", "PREROUTING", "ACCEPT", "DROP")]
    {
        let mark = daemon.status().mark();
        set(&node, backend, family, table, hook, other);
        daemon.incident_after(&mark, "policy-changed", family, table, hook);
        assert!(has(&node, family, table, hook, wanted), "{table}/{hook} after the repair");
    }
    daemon.refresh().assert_unchanged();

    // Nobody asks for it any longer: the node can be reached as before.
    node.set("policies", asking(family, &asked[1..]));
    daemon.reload(0);
    assert!(has(&node, family, "filter", "FORWARD", "ACCEPT"), "after it is asked for no longer");
    node.set("policies", asking(family, &asked));
    daemon.reload(0);
    assert!(has(&node, family, "filter", "FORWARD", "DROP"), "asked for again");
    daemon.stop();
    node.cleanup();
    assert!(has(&node, family, "filter", "FORWARD", "ACCEPT"), "after `cleanup`");
}

trial!(
    for backend in Backend::ALL,
    for family in Family::ALL,
    "packets::{backend}::{family}::policies::one_that_has_left_while_nothing_ran_is_released",
    one_that_has_left_while_nothing_ran_is_released(backend, family)
);
/// Its rules are gone then, and a policy that drops would cut the node off.
fn one_that_has_left_while_nothing_ran_is_released(backend: Backend, family: Family) {
    let node = Node::new(backend);
    node.configure(json!({ "watch": "auto", "policies": asking(family, &[("filter/FORWARD", "DROP")]) }));
    node.apply();
    assert!(has(&node, family, "filter", "FORWARD", "DROP"), "after `apply`");
    let other = attachment(family, "filter", "INPUT", Placement::First, "-p icmp -j RETURN");
    let mut other = static_rules(&[], &[other], &[]);
    other["grants"] = json!({ "tables": ["filter"], "chains": ["other-*"] });
    node.set("policies", json!({ "other": other }));
    node.apply();
    assert!(has(&node, family, "filter", "FORWARD", "ACCEPT"), "after the policy has left");
}

trial!(
    for backend in Backend::ALL,
    for family in Family::ALL,
    "packets::{backend}::{family}::policies::cleanup_leaves_one_that_was_not_asked_for",
    cleanup_leaves_one_that_was_not_asked_for(backend, family)
);
/// What is granted and was never asked for is another program's.
fn cleanup_leaves_one_that_was_not_asked_for(backend: Backend, family: Family) {
    let node = Node::new(backend);
    node.configure(json!({ "watch": "auto", "policies": asking(family, &[("mangle/PREROUTING", "DROP")]) }));
    set(&node, backend, family, "filter", "FORWARD", "DROP");
    node.apply();
    node.cleanup();
    assert!(has(&node, family, "mangle", "PREROUTING", "ACCEPT"), "asked for");
    assert!(has(&node, family, "filter", "FORWARD", "DROP"), "granted, and never asked for");
}
