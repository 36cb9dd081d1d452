//! A set gets another type or family while rules use it, by whatever hand. Where only our own rules use it they are led
//! past it and back, and no packet goes by; where a foreign rule or set uses it, that is named with the remedy, and
//! whatever else is wrong is still put right.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ruleward_tests::policies::{attachment, chain, set, static_rules};
use ruleward_tests::save::assert_same;
use ruleward_tests::trial;
use ruleward_tests::{Backend, Daemon, Family, Node, Placement, poll};
use serde_json::{Value, json};

const RULE: &str = "-m set --match-set op-blocked src -j DROP";

/// A set used by rules of ours in two tables, and by a rule of ours in a built-in chain.
fn policy(family: Family, set_type: &str, mark: &str) -> Value {
    let members = [family.address(1), family.address(2)];
    json!({ "sets": static_rules(
        &[
            chain(family, "filter", "op-in", &[RULE, &format!("-m mark --mark {mark} -j RETURN")]),
            chain(family, "mangle", "op-mark", &["-m set ! --match-set op-blocked src -j RETURN"]),
        ],
        &[
            attachment(family, "filter", "INPUT", Placement::First, "-j op-in"),
            attachment(family, "filter", "FORWARD", Placement::Last, RULE),
            attachment(family, "mangle", "PREROUTING", Placement::First, "-j op-mark"),
        ],
        &[set(family, "op-blocked", set_type, &members.each_ref().map(String::as_str))],
    ) })
}

fn node_with(backend: Backend, family: Family, policies: Value) -> (Arc<Node>, Daemon) {
    let node = Node::new(backend);
    node.configure(json!({ "families": [family.to_string()], "watch": "auto", "policies": policies }));
    node.apply();
    let daemon = node.daemon();
    (node, daemon)
}

/// Both tables and the sets.
fn picture(node: &Node, family: Family) -> String {
    format!("{}{}{}", node.save(family, "filter"), node.save(family, "mangle"), node.sets())
}

/// Makes our set anew with another type, and every rule of ours as it was: now our rules use the wrong one.
fn remake(node: &Node, family: Family, set_type: &str) {
    let tables = ["filter", "mangle"].map(|table| node.save_exact(family, table));
    for table in ["filter", "mangle"] {
        node.stranger(family).flush_table(table);
    }
    let inet = family.inet();
    // What the kernel has forgotten a moment later is still in use until then.
    poll("the set is free", || {
        let output = node.command("ipset").args(&["destroy", "op-blocked"]).output();
        (output.code == Some(0)).then_some(())
    });
    node.load_sets(&format!("create op-blocked {set_type} family {inet}\n"));
    tables.iter().for_each(|table| node.load(family, table));
}

#[track_caller]
fn comes_back(node: &Node, daemon: &Daemon, family: Family, before: &str) {
    // While rules are led to another set the tools can fail to list them.
    let sets = ruleward_tests::try_poll(|| {
        let sets = node.sets();
        (!sets.is_empty() && before.ends_with(&sets) && !sets.contains("ruleward-tmp")).then_some(())
    });
    if sets.is_none() {
        assert_same("rules and sets", before, &picture(node, family));
    }
    daemon.wait_until_in_sync();
    daemon.refresh();
    assert_same("rules and sets", before, &picture(node, family));
}

trial!(
    for backend in Backend::ALL,
    for family in Family::ALL,
    "set_types::{backend}::{family}::our_rules_alone_are_led_past_it",
    our_rules_alone_are_led_past_it(backend, family)
);
fn our_rules_alone_are_led_past_it(backend: Backend, family: Family) {
    let (node, daemon) = node_with(backend, family, policy(family, "hash:ip", "0x1"));
    let before = picture(&node, family);
    for other in ["hash:net", "hash:ip,port"] {
        daemon.pause();
        remake(&node, family, other);
        daemon.resume();
        if backend == Backend::Legacy {
            daemon.refresh(); // to the tables nothing has happened
        }
        comes_back(&node, &daemon, family, &before);
        let named = |kind: &str, chain: &str| {
            daemon.wait_until(&format!("telling of {kind}"), |status| {
                let mut incidents = status.report.incidents.iter();
                incidents.any(|one| one.kind == kind && one.chain.as_deref() == Some(chain) && one.repaired)
            });
        };
        named("set-type-changed", "op-blocked");
    }
    daemon.refresh().assert_unchanged();
}

trial!(
    for backend in Backend::ALL,
    for family in Family::ALL,
    "set_types::{backend}::{family}::a_set_of_ours_that_lists_it_is_led_past_it",
    a_set_of_ours_that_lists_it_is_led_past_it(backend, family)
);
fn a_set_of_ours_that_lists_it_is_led_past_it(backend: Backend, family: Family) {
    let mut policies = policy(family, "hash:ip", "0x1");
    let list = set(family, "op-all", "list:set", &["op-blocked"]);
    policies["sets"]["settings"]["sets"].as_array_mut().unwrap().push(list);
    let (node, daemon) = node_with(backend, family, policies.clone());
    let before = picture(&node, family);
    let mut other = policies.clone();
    other["sets"]["settings"]["sets"][0]["type"] = json!("hash:net");
    node.set("policies", other);
    poll("the other type is there", || node.sets().contains("create op-blocked hash:net").then_some(()));
    daemon.wait_until_in_sync();
    poll("the list has it again", || node.sets().contains("add op-all op-blocked").then_some(()));
    node.set("policies", policies);
    comes_back(&node, &daemon, family, &before);
}

trial!(
    for backend in Backend::ALL,
    for family in Family::ALL,
    "set_types::{backend}::{family}::an_interrupted_change_is_carried_on",
    an_interrupted_change_is_carried_on(backend, family)
);
/// What a crash leaves between the steps: rules of ours that lead to a scratch set, or the scratch set alone.
fn an_interrupted_change_is_carried_on(backend: Backend, family: Family) {
    let node = Node::new(backend);
    node.configure(json!({ "families": [family.to_string()], "policies": policy(family, "hash:ip", "0x1") }));
    node.apply();
    let before = picture(&node, family);
    let inet = family.inet();
    node.load_sets(&format!("create ruleward-tmp-0 hash:net family {inet}\n"));
    for table in ["filter", "mangle"] {
        let text = node.save_exact(family, table).replace("op-blocked", "ruleward-tmp-0");
        node.load(family, &text);
    }
    node.apply();
    assert_same("rules and sets", &before, &picture(&node, family));
    node.apply().assert_unchanged();
}

trial!(
    for backend in Backend::ALL,
    for family in Family::ALL,
    "set_types::{backend}::{family}::a_foreign_rule_is_named_and_all_else_repaired",
    a_foreign_rule_is_named_and_all_else_repaired(backend, family)
);
fn a_foreign_rule_is_named_and_all_else_repaired(backend: Backend, family: Family) {
    let (node, daemon) = node_with(backend, family, policy(family, "hash:ip", "0x1"));
    let before = picture(&node, family);
    daemon.pause();
    remake(&node, family, "hash:net");
    let foreign = node.stranger(family);
    foreign.new_chain("filter", "theirs");
    foreign.append("filter", "theirs", RULE);
    foreign.flush_chain("mangle", "op-mark");
    daemon.resume();
    node.ruleward(&["refresh"]).output();
    let told = daemon.wait_until("naming the foreign rule", |status| {
        let named = |problem: &String| problem.contains("filter/theirs rule 1") && problem.contains("op-blocked");
        !status.report.in_sync && status.report.problems.iter().any(named)
    });
    let remedy = format!("{} -t filter -D theirs 1", family.program());
    assert!(told.report.problems.iter().any(|problem| problem.contains(&remedy)), "{:#?}", told.report.problems);
    poll("the rest is repaired", || node.save(family, "mangle").contains("-A op-mark").then_some(()));
    assert_ne!(node.ruleward(&["refresh"]).output().code, Some(0), "out of sync");
    foreign.delete("filter", "theirs", RULE);
    node.ruleward(&["refresh"]).output();
    let gone = format!("{}{}{}", foreign_gone(&node, family), node.save(family, "mangle"), node.sets());
    assert_same("rules and sets", &before, &gone);
    daemon.wait_until("in sync", |status| status.report.in_sync);
}

fn foreign_gone(node: &Node, family: Family) -> String {
    node.stranger(family).delete_chain("filter", "theirs");
    node.save(family, "filter")
}

trial!(
    for backend in Backend::ALL,
    for family in Family::ALL,
    "set_types::{backend}::{family}::a_foreign_set_is_named",
    a_foreign_set_is_named(backend, family)
);
fn a_foreign_set_is_named(backend: Backend, family: Family) {
    let (node, daemon) = node_with(backend, family, policy(family, "hash:ip", "0x1"));
    daemon.pause();
    remake(&node, family, "hash:net");
    node.load_sets("create theirs list:set\nadd theirs op-blocked\n");
    daemon.resume();
    let output = node.ruleward(&["refresh"]).output();
    assert_ne!(output.code, Some(0), "{output:#?}");
    assert!(output.stderr.contains("the set theirs"), "{output:#?}");
    node.command("ipset").args(&["destroy", "theirs"]).must();
    daemon.refresh();
    assert!(node.sets().contains("create op-blocked hash:ip"), "{}", node.sets());
}

trial!(
    for backend in Backend::ALL,
    for family in Family::ALL,
    "set_types::{backend}::{family}::a_new_version_changes_type_and_rules",
    a_new_version_changes_type_and_rules(backend, family)
);
fn a_new_version_changes_type_and_rules(backend: Backend, family: Family) {
    let (node, daemon) = node_with(backend, family, policy(family, "hash:ip", "0x1"));
    let before = picture(&node, family);
    node.set("policies", policy(family, "hash:net", "0x2"));
    poll("the new type", || node.sets().contains("create op-blocked hash:net").then_some(()));
    daemon.wait_until("in sync", |status| {
        status.report.in_sync && status.report.policies.iter().all(|policy| policy.candidate.is_none())
    });
    daemon.refresh();
    let now = picture(&node, family);
    assert!(now.contains("--mark 0x2") && !now.contains("ruleward-tmp"), "{now}");
    daemon.refresh().assert_unchanged();
    node.set("policies", policy(family, "hash:ip", "0x1"));
    comes_back(&node, &daemon, family, &before);
}

trial!(
    for backend in Backend::ALL,
    for family in Family::ALL,
    "set_types::{backend}::{family}::a_new_version_is_refused_for_a_foreign_rule",
    a_new_version_is_refused_for_a_foreign_rule(backend, family)
);
fn a_new_version_is_refused_for_a_foreign_rule(backend: Backend, family: Family) {
    let (node, daemon) = node_with(backend, family, policy(family, "hash:ip", "0x1"));
    let foreign = node.stranger(family);
    foreign.append("raw", "PREROUTING", "-m set --match-set op-blocked dst -j RETURN");
    let before = picture(&node, family);
    node.set("policies", policy(family, "hash:net", "0x2"));
    crate::reload::is_refused(&daemon, "sets", &["op-blocked", "raw/PREROUTING rule 1"]);
    assert_same("rules and sets", &before, &picture(&node, family));
    foreign.delete("raw", "PREROUTING", "-m set --match-set op-blocked dst -j RETURN");
    node.ruleward(&["refresh"]).output();
    poll("the new version is in force", || node.sets().contains("create op-blocked hash:net").then_some(()));
    daemon.refresh();
    assert!(picture(&node, family).contains("--mark 0x2"), "{}", picture(&node, family));
    daemon.wait_until_in_sync();
}

trial!(
    for backend in Backend::ALL,
    "set_types::{backend}::a_new_version_changes_the_family",
    a_new_version_changes_the_family(backend)
);
fn a_new_version_changes_the_family(backend: Backend) {
    let (one, other) = (Family::Ipv4, Family::Ipv6);
    let node = Node::new(backend);
    let version = |family| policy(family, "hash:ip", "0x1");
    node.configure(json!({ "watch": "auto", "policies": version(one) }));
    let daemon = node.daemon();
    let before = format!("{}{}", picture(&node, one), picture(&node, other));
    node.set("policies", version(other));
    poll("the set has the other family", || node.sets().contains("hash:ip family inet6").then_some(()));
    daemon.wait_until_in_sync();
    daemon.refresh();
    assert!(!node.save(one, "filter").contains("-A FORWARD"), "{}", node.save(one, "filter"));
    assert!(node.save(other, "filter").contains("--match-set op-blocked src -j DROP"));
    node.set("policies", version(one));
    poll("the set has its family again", || node.sets().contains("hash:ip family inet hash").then_some(()));
    daemon.wait_until_in_sync();
    daemon.refresh();
    assert_same("rules and sets", &before, &format!("{}{}", picture(&node, one), picture(&node, other)));
}

trial!(
    for backend in Backend::ALL,
    for family in Family::ALL,
    "set_types::{backend}::{family}::no_packet_goes_by_meanwhile",
    no_packet_goes_by_meanwhile(backend, family)
);
/// A sender that never pauses is dropped by the set all the time, while versions change its type to and fro.
fn no_packet_goes_by_meanwhile(backend: Backend, family: Family) {
    let local = if family == Family::Ipv4 { "127.0.0.1" } else { "::1" };
    let version = |kind: &str| {
        json!({ "sets": static_rules(
            &[chain(family, "filter", "op-in", &["-p udp -m set --match-set op-blocked src -j DROP"])],
            &[attachment(family, "filter", "INPUT", Placement::First, "-j op-in")],
            &[set(family, "op-blocked", kind, &[local])],
        ) })
    };
    let (node, daemon) = node_with(backend, family, version("hash:ip"));
    let (stop, passed) = (AtomicBool::new(false), AtomicBool::new(false));
    let (receiver, sender) = node.net.run(|| {
        let bind = || UdpSocket::bind((local, 0)).expect("a free port");
        (bind(), bind())
    });
    receiver.set_read_timeout(Some(Duration::from_millis(50))).expect("a time");
    sender.connect(receiver.local_addr().expect("an address")).expect("local");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                sender.send(b"!").ok();
            }
        });
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                passed.fetch_or(receiver.recv(&mut [0; 8]).is_ok(), Ordering::Relaxed);
            }
        });
        let changes = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for kind in ["hash:net", "hash:ip", "hash:net"] {
                node.set("policies", version(kind));
                poll("the other type is there", || {
                    node.sets().contains(&format!("create op-blocked {kind}")).then_some(())
                });
                daemon.wait_until_in_sync();
            }
        }));
        stop.store(true, Ordering::Relaxed);
        changes.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    assert!(!passed.load(Ordering::Relaxed), "a packet went by while the set changed its type");
}
