//! One policy's trouble is no other's. A policy that waits, fails or is refused has nothing in force, and what it may own
//! stays as it is in the kernel; all other policies are in force, also where none ever was before.

use std::fs;
use std::sync::Arc;

use ruleward_corpus::Guest;
use ruleward_tests::policies::{attachment, chain, static_rules};
use ruleward_tests::save::{chains_of, rules_of};
use ruleward_tests::trial;
use ruleward_tests::{Backend, Daemon, Family, Node, Placement, PolicyState};
use serde_json::{Value, json};

use super::{comes_into_force, policy, variant};

/// Name, how the policy `bad` is spoiled, its state, the exit status of `apply`, and what is said of it.
type Case = (&'static str, fn(&Node, &mut Value), &'static str, i32, &'static [&'static str]);

const CASES: &[Case] = &[
    ("waits", |node, _| waits(node), "waiting", 0, &["policy bad is waiting: test", "it is not in force"]),
    ("settings", |_, bad| bad["settings"] = json!({ "chanes": [] }), "never-answered", 78, &["policy bad", "chanes"]),
    ("out_of_fuel", |_, bad| bad["limits"] = json!({ "fuel": 1000 }), "never-answered", 78, &["out of fuel"]),
    (
        "not_granted",
        |_, bad| bad["grants"]["tables"] = json!(["nat"]),
        "never-answered",
        78,
        &["filter is not granted"],
    ),
    (
        "component_missing",
        |_, bad| bad["component"] = json!("./missing.wasm"),
        "never-answered",
        78,
        &["policy bad", "missing.wasm"],
    ),
    (
        "component_broken",
        |node, _| fs::write(node.path("bad.wasm"), "no component").expect("writable"),
        "never-answered",
        78,
        &["policy bad", "bad.wasm"],
    ),
    (
        "refused_by_the_kernel",
        |_, bad| {
            let spoiled = static_rules(&[chain(None, "filter", "bad-in", &["-j MASQUERADE"])], &[], &[]);
            bad["settings"] = spoiled["settings"].clone();
        },
        "never-answered",
        78,
        &["policy bad", "this kernel refuses its answer", "MASQUERADE"],
    ),
];

/// The component of `bad` waits for ever.
fn waits(node: &Node) {
    let evaluate = "(i32.store8 (i32.const 128) (i32.const 1)) (i32.store8 (i32.const 132) (i32.const 2))
        (i32.store (i32.const 136) (i32.const 256)) (i32.store (i32.const 140) (i32.const 4)) i32.const 128";
    fs::write(node.path("bad.wasm"), Guest { evaluate, ..Guest::default() }.component()).expect("writable");
}

/// A node on which nothing was ever applied, with components for `op` and `bad`, and with rules that `bad` may own.
fn fresh(backend: Backend) -> Arc<Node> {
    let node = Node::new(backend);
    for name in ["op.wasm", "bad.wasm"] {
        fs::write(node.path(name), variant(0)).expect("the node's directory is writable");
    }
    for family in Family::ALL {
        let other = node.stranger(family);
        other.new_chain("filter", "bad-old");
        other.append("filter", "bad-old", "-j RETURN");
        other.append("filter", "INPUT", "-m comment --comment rw:bad:aaaaaaaaaaaa -j bad-old");
        other.append("filter", "INPUT", "-m comment --comment rw:bad:0123456789ab -j RETURN");
        other.new_chain("filter", "op-old");
    }
    node.load_sets("create bad-set hash:ip\nadd bad-set 10.0.0.1\n");
    node
}

/// What `bad` may own is as [`fresh`] made it.
#[track_caller]
fn assert_left_alone(node: &Node) {
    for family in Family::ALL {
        let save = node.save(family, "filter");
        assert_eq!(rules_of(&save, "bad-old"), ["-A bad-old -j RETURN"], "{save}");
        let last: Vec<_> = rules_of(&save, "INPUT").into_iter().filter(|rule| rule.contains("bad")).collect();
        let comment = "-A INPUT -m comment --comment \"rw:bad:0123456789ab\" -j RETURN";
        let jump = "-A INPUT -m comment --comment \"rw:bad:aaaaaaaaaaaa\" -j bad-old";
        assert_eq!(last, [jump, comment], "{save}");
        assert!(!chains_of(&save).contains(&"bad-in"), "{save}");
    }
    assert!(node.sets().contains("add bad-set 10.0.0.1"), "{}", node.sets());
}

trial!(
    for backend in Backend::ALL,
    for case @ (name, ..) in CASES,
    "reload::apart::{backend}::on_a_fresh_node::{name}",
    on_a_fresh_node(backend, case)
);
fn on_a_fresh_node(backend: Backend, (_, spoil, state, code, says): &Case) {
    let node = fresh(backend);
    let mut bad = policy("bad", 5432);
    spoil(&node, &mut bad);
    node.configure(json!({ "policies": { "good": policy("op", 80), "bad": bad } }));
    let plan = node.ruleward(&["plan"]).output();
    assert!(plan.stdout.contains("op-in"), "{plan:#?}");
    let output = node.ruleward(&["apply"]).output();
    assert_eq!(output.code, Some(*code), "{output:#?}");
    let text = format!("{}{}", output.stdout, output.stderr);
    says.iter().for_each(|word| assert!(text.contains(word), "{word:?} is not said: {text}"));
    comes_into_force(&node, "op", 80);
    for family in Family::ALL {
        let save = node.save(family, "filter");
        assert!(!chains_of(&save).contains(&"op-old"), "what `good` does not want goes: {save}");
    }
    assert_left_alone(&node);
    // The same again by a daemon, which undoes drift of the one and does not touch the other.
    let daemon = Daemon::start(&node);
    let loaded = |one: &PolicyState| one.candidate.as_ref().is_none_or(|candidate| candidate.state != "loading");
    let status = daemon.wait_until("done with the first check", |status| {
        !status.report.policies.is_empty() && status.report.policies.iter().all(loaded)
    });
    assert_eq!(status.report.policy("bad").state, *state, "{status:#?}");
    assert_eq!(status.report.policy("good").state, "current", "{status:#?}");
    assert_eq!(status.report.in_sync, *code == 0, "{status:#?}");
    node.stranger(Family::Ipv4).flush_chain("filter", "op-in");
    daemon.refresh_ending_with(*code);
    comes_into_force(&node, "op", 80);
    assert_left_alone(&node);
    daemon.stop();
    assert_left_alone(&node);
    node.cleanup();
}

trial!(
    for backend in Backend::ALL,
    "reload::apart::{backend}::who_waits_takes_what_is_its_own_when_it_answers",
    who_waits_takes_its_own_when_it_answers(backend)
);
fn who_waits_takes_its_own_when_it_answers(backend: Backend) {
    let node = fresh(backend);
    waits(&node);
    node.configure(json!({ "watch": "auto", "policies": { "good": policy("op", 80), "bad": policy("bad", 5432) } }));
    let daemon = node.daemon();
    comes_into_force(&node, "op", 80);
    assert_left_alone(&node);
    fs::write(node.path("bad.wasm"), variant(1)).expect("writable");
    comes_into_force(&node, "bad", 5432);
    let status = daemon.wait_until("content", |status| status.report.in_sync && status.report.problems.is_empty());
    assert_eq!(status.report.policy("bad").state, "current");
    for family in Family::ALL {
        let save = node.save(family, "filter");
        assert!(!save.contains("bad-old") && !save.contains("rw:bad:0123456789ab\""), "{save}");
    }
    assert!(!node.sets().contains("bad-set"), "{}", node.sets());
    // It waits again: what is in force stays, and is kept.
    waits(&node);
    let status = daemon.wait_until("waiting", |status| status.report.policy("bad").state == "waiting");
    assert!(status.report.in_sync, "{status:#?}");
    let candidate = status.report.policy("bad").candidate.clone().expect("it is not taken");
    assert_eq!((candidate.state.as_str(), candidate.reason.as_deref()), ("waiting", Some("is waiting: test")));
    node.stranger(Family::Ipv6).flush_chain("filter", "bad-in");
    comes_into_force(&node, "bad", 5432);
}

trial!(
    for backend in Backend::ALL,
    "reload::apart::{backend}::who_left_stays_until_all_have_answered",
    who_left_stays_until_all_have_answered(backend)
);
fn who_left_stays_until_all_have_answered(backend: Backend) {
    let node = Node::new(backend);
    for name in ["op.wasm", "old.wasm", "bad.wasm"] {
        fs::write(node.path(name), variant(0)).expect("the node's directory is writable");
    }
    node.configure(json!({ "watch": "auto", "policies": { "old": policy("old", 22) } }));
    let daemon = node.daemon();
    comes_into_force(&node, "old", 22);
    waits(&node);
    node.set("policies", json!({ "good": policy("op", 80), "bad": policy("bad", 5432) }));
    let report = daemon.reload(0);
    comes_into_force(&node, "op", 80);
    comes_into_force(&node, "old", 22);
    let note =
        report.notes.iter().find(|note| note.contains("policy old is no longer configured")).expect("it is said");
    assert!(note.contains("missing: bad"), "{note}");
    node.stranger(Family::Ipv4).flush_chain("filter", "old-in");
    comes_into_force(&node, "old", 22);
    fs::write(node.path("bad.wasm"), variant(1)).expect("writable");
    daemon.reload(0);
    comes_into_force(&node, "bad", 5432);
    for family in Family::ALL {
        let save = node.save(family, "filter");
        assert!(!save.contains("old-in"), "{save}");
    }
}

trial!(
    for backend in Backend::ALL,
    "reload::apart::{backend}::only_the_refused_of_many_new_ones_is_left_out",
    only_the_refused_of_many_new_ones_is_left_out(backend)
);
fn only_the_refused_of_many_new_ones_is_left_out(backend: Backend) {
    let node = Node::new(backend);
    let spoiled = |name: &str| {
        let mut policy = policy(name, 1);
        let spoiled = static_rules(&[chain(None, "filter", &format!("{name}-in"), &["-j MASQUERADE"])], &[], &[]);
        policy["settings"] = spoiled["settings"].clone();
        policy
    };
    for name in ["op", "db", "bad", "evil"] {
        fs::write(node.path(&format!("{name}.wasm")), variant(0)).expect("the node's directory is writable");
    }
    let policies = json!({ "a": spoiled("bad"), "b": policy("op", 80), "c": spoiled("evil"), "d": policy("db", 5432) });
    node.configure(json!({ "policies": policies }));
    let output = node.ruleward(&["apply"]).output();
    assert_eq!(output.code, Some(78), "{output:#?}");
    for name in ["policy a: ", "policy c: "] {
        assert!(output.stderr.contains(name), "{output:#?}");
    }
    comes_into_force(&node, "op", 80);
    comes_into_force(&node, "db", 5432);
}

trial!(for backend in Backend::ALL, "reload::apart::{backend}::all_wait", all_wait(backend));
fn all_wait(backend: Backend) {
    let node = fresh(backend);
    waits(&node);
    node.configure(json!({ "policies": { "bad": policy("bad", 5432) } }));
    let before = node.save_all();
    let output = node.ruleward(&["apply"]).output();
    assert_eq!(output.code, Some(75), "nothing is in force, and that may come: {output:#?}");
    assert!(output.stderr.contains("policy bad is waiting: test"), "{output:#?}");
    assert!(output.stderr.contains("nothing is in force"), "{output:#?}");
    ruleward_tests::save::assert_same("everything", &before, &node.save_all());
}

trial!(
    for backend in Backend::ALL,
    "reload::apart::{backend}::what_the_kernel_takes_no_longer_holds_up_no_other",
    what_the_kernel_takes_no_longer_holds_up_no_other(backend)
);
/// A node starts anew, and an object that another program makes is not there yet.
fn what_the_kernel_takes_no_longer_holds_up_no_other(backend: Backend) {
    let node = Node::new(backend);
    let counted = "-m nfacct --nfacct-name web-traffic";
    let with = |name: &str, rule: &str| {
        let chain = chain(Family::Ipv4, "filter", &format!("{name}-in"), &[rule]);
        let attached = attachment(Family::Ipv4, "filter", "INPUT", Placement::First, &format!("-j {name}-in"));
        let mut policy = static_rules(&[chain], &[attached], &[]);
        policy["grants"] = json!({ "tables": ["filter"], "chains": [format!("{name}-*")] });
        policy
    };
    node.command("nfacct").args(&["add", "web-traffic"]).must();
    let policies = json!({ "app": with("app", counted), "web": with("web", "-p tcp --dport 80 -j RETURN") });
    node.configure(json!({ "refresh-interval": "1h", "watch": "auto", "families": ["ipv4"], "policies": policies }));
    node.apply();

    let stranger = node.stranger(Family::Ipv4);
    stranger.flush_table("filter");
    ["app-in", "web-in"].iter().for_each(|chain| stranger.delete_chain("filter", chain));
    node.command("nfacct").args(&["delete", "web-traffic"]).must();

    let there =
        |name: &str| rules_of(&node.save(Family::Ipv4, "filter"), "INPUT").iter().any(|rule| rule.ends_with(name));
    let daemon = Daemon::start(&node);
    let status = daemon.wait_until("putting web in force", |_| there("-j web-in"));
    assert!(!there("-j app-in"), "{:#?}", status.report);
    let told = daemon.wait_until("refusing app", |status| !status.report.refused.is_empty()).report.refused.join("\n");
    assert!(told.contains("policy app") && told.contains(counted) && !told.contains("policy web"), "{told}");
    // Nor does it hold up what changes later.
    let changed = with("web", "-p tcp --dport 443 -j RETURN");
    node.set("policies", json!({ "app": with("app", counted), "web": changed }));
    daemon.reload(78);
    assert!(node.save(Family::Ipv4, "filter").contains("--dport 443"), "the change of web");
    node.command("nfacct").args(&["add", "web-traffic"]).must();
    assert!(daemon.refresh().in_sync);
    assert!(there("-j app-in") && there("-j web-in"));
}
