//! What is wrong is refused with its reason, and nobody else notices: the rules stay, and others' new versions are taken.

use std::fs;
use std::sync::Arc;

use ruleward_tests::policies::{chain, set, static_rules};
use ruleward_tests::save::assert_same;
use ruleward_tests::trial;
use ruleward_tests::{Backend, Daemon, Family, Node, poll};
use serde_json::{Value, json};

use super::{comes_into_force, digest, in_force, is_refused, node, policy, variant};

/// Name, how the policy `web` is spoiled, and what the refusal says.
type Case = (&'static str, fn(&Node), &'static [&'static str]);

const CASES: &[Case] = &[
    ("component_cut_off", |node| put(node, |bytes| bytes.truncate(5000)), &["op.wasm", "truncated"]),
    ("component_empty", |node| put(node, Vec::clear), &["op.wasm", "is empty"]),
    ("component_is_something_else", |node| put(node, |bytes| bytes[0] = b'x'), &["op.wasm", "not WebAssembly"]),
    ("component_without_exports", |node| put(node, |bytes| bytes.truncate(8)), &["op.wasm", "describe"]),
    (
        "component_gone",
        |node| fs::remove_file(node.path("op.wasm")).expect("it is there"),
        &["op.wasm", "No such file"],
    ),
    ("settings_against_the_schema", |node| change(node, "settings", json!({ "chanes": [] })), &["chanes"]),
    ("out_of_fuel", |node| change(node, "limits", json!({ "fuel": 1000 })), &["out of fuel"]),
    ("not_granted", |node| change(node, "grants", json!({ "tables": ["nat"] })), &["filter is not granted"]),
    (
        "refused_by_the_kernel",
        |node| {
            let spoiled = static_rules(&[chain(None, "filter", "op-in", &["-j MASQUERADE"])], &[], &[]);
            change(node, "settings", spoiled["settings"].clone());
        },
        &["this kernel refuses its answer", "MASQUERADE"],
    ),
];

fn put(node: &Node, spoil: fn(&mut Vec<u8>)) {
    let mut bytes = variant(1);
    spoil(&mut bytes);
    fs::write(node.path("op.wasm"), bytes).expect("writable");
}

fn change(node: &Node, key: &str, value: Value) {
    let mut spoiled = policy("op", 80);
    spoiled[key] = value;
    node.set("policies", json!({ "web": spoiled }));
}

trial!(
    for backend in Backend::ALL,
    for case @ (name, ..) in CASES,
    "reload::refusals::{backend}::{name}",
    refused(backend, case)
);
fn refused(backend: Backend, (_, spoil, says): &Case) {
    let (node, daemon) = node(backend);
    let before = node.save_all();
    let good = digest(&node, "op.wasm");
    spoil(&node);
    let status = is_refused(&daemon, "web", says);
    assert!(status.report.in_sync, "{status:#?}");
    assert_eq!(status.report.policy("web").state, "last-good");
    assert_eq!(status.report.policy("web").digest.as_deref(), Some(&*good), "{status:#?}");
    assert_same("everything after the refusal", &before, &node.save_all());
    // What stays is kept in force all the same.
    node.stranger(Family::Ipv4).flush_chain("filter", "op-in");
    comes_into_force(&node, "op", 80);
    // And what is right again is taken.
    fs::write(node.path("op.wasm"), variant(2)).expect("writable");
    node.set("policies", json!({ "web": policy("op", 82) }));
    in_force(&daemon, "web", &digest(&node, "op.wasm"));
    comes_into_force(&node, "op", 82);
}

trial!(
    for backend in Backend::ALL,
    "reload::refusals::{backend}::a_set_that_cannot_be_changed_leaves_the_last_good_version_whole",
    a_set_that_cannot_be_changed(backend)
);
/// A foreign rule holds the set, so that its type can't change: nothing of the new version is in force.
fn a_set_that_cannot_be_changed(backend: Backend) {
    let (node, daemon) = two(backend);
    let with_set = |port: u16, kind: &str, member: &str| {
        let mut policy = policy("op", port);
        policy["settings"]["chains"][0]["families"] = json!(["ipv4"]);
        policy["settings"]["attachments"][0]["families"] = json!(["ipv4"]);
        policy["settings"]["sets"] = json!([set(Family::Ipv4, "op-set", kind, &[member])]);
        let rules = policy["settings"]["chains"][0]["rules"].as_array_mut().expect("it is a list");
        rules.push(json!("-m set --match-set op-set src -j DROP"));
        policy
    };
    node.set("policies", json!({ "web": with_set(80, "hash:ip", "10.0.0.1"), "db": policy("db", 5432) }));
    daemon.reload(0);
    node.stranger(Family::Ipv4).append("filter", "OUTPUT", "-m set --match-set op-set dst -j RETURN");
    daemon.refresh().assert_unchanged();
    let (before, sets) = (node.save(Family::Ipv4, "filter"), node.sets());
    node.set("policies", json!({ "web": with_set(81, "hash:net", "10.1.0.0/16"), "db": policy("db", 5432) }));
    let report = daemon.reload(78);
    assert_eq!(report.policy("web").state, "last-good", "{report:#?}");
    assert!(report.in_sync, "what is in force is whole: {report:#?}");
    is_refused(&daemon, "web", &["op-set", "hash:net"]);
    assert_same("the rules after the refusal", &before, &node.save(Family::Ipv4, "filter"));
    assert_same("the sets after the refusal", &sets, &node.sets());
    // Others go on, and when the set is free the new version is in force whole.
    node.set("policies", json!({ "web": with_set(81, "hash:net", "10.1.0.0/16"), "db": policy("db", 5433) }));
    daemon.reload(78);
    comes_into_force(&node, "db", 5433);
    node.stranger(Family::Ipv4).delete("filter", "OUTPUT", "-m set --match-set op-set dst -j RETURN");
    node.set("policies", json!({ "web": policy("op", 81), "db": policy("db", 5433) }));
    daemon.reload(0);
    comes_into_force(&node, "op", 81);
}

/// Two policies.
fn two(backend: Backend) -> (Arc<Node>, Daemon) {
    let (node, daemon) = node(backend);
    fs::write(node.path("db.wasm"), variant(7)).expect("writable");
    node.set("policies", json!({ "web": policy("op", 80), "db": policy("db", 5432) }));
    comes_into_force(&node, "db", 5432);
    (node, daemon)
}

trial!(
    for backend in Backend::ALL,
    "reload::refusals::{backend}::others_do_not_notice",
    others_do_not_notice(backend)
);
fn others_do_not_notice(backend: Backend) {
    let (node, daemon) = two(backend);
    let mut bad = policy("op", 80);
    bad["settings"] = static_rules(&[chain(None, "filter", "op-in", &["-j MASQUERADE"])], &[], &[])["settings"].clone();
    node.set("policies", json!({ "web": bad, "db": policy("db", 5433) }));
    comes_into_force(&node, "db", 5433);
    is_refused(&daemon, "web", &["MASQUERADE"]);
    comes_into_force(&node, "op", 80);
    fs::write(node.path("op.wasm"), "no component").expect("writable");
    node.set("policies", json!({ "web": policy("op", 81), "db": policy("db", 5434) }));
    comes_into_force(&node, "db", 5434);
    is_refused(&daemon, "web", &["op.wasm"]);
    comes_into_force(&node, "op", 80);
}

trial!("reload::refusals::a_broken_configuration_leaves_the_last_one", a_broken_configuration_leaves_the_last_one());
fn a_broken_configuration_leaves_the_last_one() {
    let (node, daemon) = node(Backend::Nft);
    let (text, before) = (fs::read_to_string(node.path("ruleward.toml")).expect("it is there"), node.save_all());
    let overlapping = {
        let mut other = policy("op", 81);
        other["grants"]["chains"] = json!(["op-in*"]);
        toml::to_string(&json!({ "policies": { "other": other } })).expect("JSON without null is TOML")
    };
    for (more, says) in [
        ("nonsense = 1\n", "unknown key `nonsense`"),
        ("refresh-interval = \"soon\"\n", "refresh-interval"),
        ("[policies\n", "not valid TOML"),
        (&*overlapping, "would both own"),
    ] {
        fs::create_dir_all(node.path("conf.d")).expect("a free name");
        node.write("conf.d/more.toml", more);
        let status = daemon.wait_until(&format!("telling of {says}"), |status| {
            status.report.problems.iter().any(|problem| problem.contains(says) && problem.contains("more.toml"))
        });
        assert!(status.report.in_sync, "{status:#?}");
        assert_same("everything", &before, &node.save_all());
    }
    fs::remove_file(node.path("conf.d/more.toml")).expect("it is there");
    daemon.wait_until("content", |status| status.report.problems.is_empty());
    fs::remove_file(node.path("ruleward.toml")).expect("it is there");
    poll("it says that its file is missing", || daemon.log().contains("ruleward.toml: does not exist").then_some(()));
    assert_same("everything", &before, &node.save_all());
    node.write("ruleward.toml", &text.replace("--dport 80", "--dport 81"));
    comes_into_force(&node, "op", 81);
}

trial!("reload::refusals::a_new_policy_that_is_broken_holds_up_nobody", a_new_policy_that_is_broken_holds_up_nobody());
fn a_new_policy_that_is_broken_holds_up_nobody() {
    let (node, daemon) = node(Backend::Nft);
    fs::write(node.path("db.wasm"), "no component").expect("writable");
    node.set("policies", json!({ "web": policy("op", 81), "db": policy("db", 5432) }));
    comes_into_force(&node, "op", 81);
    let status = is_refused(&daemon, "db", &["db.wasm"]);
    assert_eq!(status.report.policy("db").state, "never-answered");
    assert!(!status.report.in_sync, "what was asked for is not there: {status:#?}");
    node.stranger(Family::Ipv4).flush_chain("filter", "op-in");
    comes_into_force(&node, "op", 81);
    fs::write(node.path("db.wasm"), variant(1)).expect("writable");
    comes_into_force(&node, "db", 5432);
    daemon.wait_until("in sync", |status| status.report.in_sync);
}

trial!("reload::refusals::the_same_refusal_is_said_once", the_same_refusal_is_said_once());
fn the_same_refusal_is_said_once() {
    let (node, daemon) = node(Backend::Nft);
    fs::write(node.path("op.wasm"), "no component").expect("writable");
    is_refused(&daemon, "web", &["op.wasm"]);
    for _ in 0..20 {
        fs::write(node.path("op.wasm"), "no component").expect("writable");
        daemon.refresh_ending_with(78);
    }
    let errors = daemon.log().lines().filter(|line| line.contains("ERROR") && line.contains("op.wasm")).count();
    assert_eq!(errors, 1, "{}", daemon.log());
}

trial!("reload::refusals::grants_that_another_version_still_owns_wait", grants_that_another_version_still_owns_wait());
fn grants_that_another_version_still_owns_wait() {
    let (node, daemon) = two(Backend::Nft);
    let shared = |mut policy: Value| {
        policy["grants"]["chains"].as_array_mut().expect("it is a list").push(json!("both-*"));
        policy["settings"]["chains"].as_array_mut().expect("it is a list").push(chain(
            None,
            "filter",
            "both-ways",
            &["-j RETURN"],
        ));
        policy
    };
    node.set("policies", json!({ "web": shared(policy("op", 80)), "db": policy("db", 5432) }));
    daemon.reload(0);
    let before = node.save_all();
    // web gives it up in a version that is refused, and db would take it.
    let mut bad = policy("op", 80);
    bad["limits"] = json!({ "fuel": 1000 });
    node.set("policies", json!({ "web": bad, "db": shared(policy("db", 5432)) }));
    let report = daemon.reload(78);
    let candidate = report.policy("db").candidate.clone().expect("it waits");
    assert_eq!(candidate.state, "waiting");
    assert!(candidate.reason.is_some_and(|reason| reason.contains("policy web owns")));
    assert_same("everything", &before, &node.save_all());
    node.set("policies", json!({ "web": policy("op", 80), "db": shared(policy("db", 5432)) }));
    let report = daemon.reload(0);
    assert!(report.policies.iter().all(|policy| policy.candidate.is_none()), "{report:#?}");
    assert_same("everything, with another owner,", &before, &node.save_all());
}
