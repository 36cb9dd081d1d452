//! What was good stays good across restarts, whatever happened to the files meanwhile; and what has left the configuration
//! meanwhile is removed.

use std::fs;

use ruleward_tests::policies::calico;
use ruleward_tests::save::assert_same;
use ruleward_tests::trial;
use ruleward_tests::{Backend, Daemon, Family, Node, policy_file, poll};
use serde_json::json;

use super::{comes_into_force, node, policy, variant};

fn flush(node: &Node) {
    for family in Family::ALL {
        for table in ["filter", "nat"] {
            node.stranger(family).flush_table(table);
        }
    }
}

trial!(
    for backend in Backend::ALL,
    "reload::restarts::{backend}::a_broken_component_does_not_matter",
    a_broken_component_does_not_matter(backend)
);
fn a_broken_component_does_not_matter(backend: Backend) {
    let (node, daemon) = node(backend);
    let before = node.save_all();
    daemon.stop();
    flush(&node);
    fs::write(node.path("op.wasm"), "no component").expect("writable");
    let daemon = node.daemon();
    assert_same("everything", &before, &node.save_all());
    let policy = daemon.status().report.policy("web").clone();
    assert_eq!(policy.state, "last-good");
    assert!(policy.candidate.is_some_and(|candidate| candidate.reason.is_some_and(|why| why.contains("op.wasm"))));
    fs::write(node.path("op.wasm"), variant(3)).expect("writable");
    super::in_force(&daemon, "web", &super::digest(&node, "op.wasm"));
    assert_same("everything", &before, &node.save_all());
}

trial!(
    for backend in Backend::ALL,
    "reload::restarts::{backend}::the_kept_component_answers",
    the_kept_component_answers(backend)
);
/// Not only its last answer is left: it is asked.
fn the_kept_component_answers(backend: Backend) {
    let node = Node::new(backend);
    let pool = |number: u32| {
        format!(
            "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {{name: pool}}\n\
             spec: {{cidr: 10.{number}.0.0/16, natOutgoing: true}}\n"
        )
    };
    node.resources(&pool(1));
    fs::copy(policy_file("calico-postrouting.wasm"), node.path("calico.wasm")).expect("writable");
    let mut calico = calico("3.32.1");
    calico["component"] = json!("./calico.wasm");
    node.configure(json!({ "watch": "auto", "policies": { "calico": calico } }));
    node.daemon().stop();
    fs::write(node.path("calico.wasm"), "no component").expect("writable");
    calico["settings"] = json!({ "calico-version": "nonsense" });
    node.set("policies", json!({ "calico": calico }));
    node.resources(&pool(2));
    let _daemon = node.daemon();
    poll("the new pool is there", || node.sets().contains("10.2.0.0/16").then_some(()));
    node.resources(&pool(3));
    poll("the newer pool is there", || node.sets().contains("10.3.0.0/16").then_some(()));
}

fn with_two(backend: Backend) -> (std::sync::Arc<Node>, Daemon, String) {
    let (node, daemon) = node(backend);
    let alone = node.save_all();
    fs::write(node.path("db.wasm"), variant(1)).expect("writable");
    node.set("policies", json!({ "web": policy("op", 80), "db": policy("db", 5432) }));
    comes_into_force(&node, "db", 5432);
    (node, daemon, alone)
}

trial!(
    for backend in Backend::ALL,
    "reload::restarts::{backend}::who_left_meanwhile_is_removed",
    who_left_meanwhile_is_removed(backend)
);
fn who_left_meanwhile_is_removed(backend: Backend) {
    let (node, daemon, alone) = with_two(backend);
    daemon.stop();
    node.set("policies", json!({ "web": policy("op", 80) }));
    let plan = node.plan(2);
    assert!(plan.changes.iter().any(|change| change.chain.as_deref() == Some("db-in")), "{plan:#?}");
    let daemon = node.daemon();
    assert_same("everything", &alone, &node.save_all());
    daemon.stop();
    assert!(!node.path("state/last-good/db.json").exists(), "its record is still there");
    node.plan(0).assert_unchanged();
}

trial!(
    for backend in Backend::ALL,
    "reload::restarts::{backend}::cleanup_removes_who_left",
    cleanup_removes_who_left(backend)
);
fn cleanup_removes_who_left(backend: Backend) {
    let node = Node::new(backend);
    let empty = node.save_all();
    fs::write(node.path("op.wasm"), variant(0)).expect("writable");
    node.configure(json!({ "policies": { "web": policy("op", 80) } }));
    node.apply();
    node.configure(json!({}));
    node.cleanup();
    let left = node.save_all();
    assert!(!left.contains("op-in") && !left.contains("rw:"), "{left}");
    // Built-in chains may have come into being; nothing else.
    let rules =
        |text: &str| text.lines().filter(|line| line.starts_with("-A")).map(ToOwned::to_owned).collect::<Vec<_>>();
    assert_eq!(rules(&left), rules(&empty));
}

trial!("reload::restarts::without_its_component_the_answer_is_left", without_its_component_the_answer_is_left());
fn without_its_component_the_answer_is_left() {
    let (node, daemon) = node(Backend::Nft);
    let before = node.save_all();
    daemon.stop();
    flush(&node);
    fs::remove_file(node.path("op.wasm")).expect("it is there");
    fs::remove_dir_all(node.path("state/components")).expect("it is there");
    let daemon = node.daemon();
    assert_same("everything", &before, &node.save_all());
    assert_eq!(daemon.status().report.policy("web").state, "last-good");
}

trial!("reload::restarts::a_damaged_record_is_told_of", a_damaged_record_is_told_of());
fn a_damaged_record_is_told_of() {
    let (node, daemon, _) = with_two(Backend::Nft);
    daemon.stop();
    let record = node.path("state/last-good/db.json");
    let text = fs::read_to_string(&record).expect("it is there");
    fs::write(&record, &text[..text.len() / 2]).expect("writable");
    node.set("policies", json!({ "web": policy("op", 81) }));
    let daemon = node.daemon();
    comes_into_force(&node, "op", 81);
    comes_into_force(&node, "db", 5432); // nobody knows whose it is
    let notes = daemon.status().report.notes;
    assert!(notes.iter().any(|note| note.contains("policy db") && note.contains("damaged")), "{notes:#?}");
    // As the note says: configured once more, it is known again.
    node.set("policies", json!({ "web": policy("op", 81), "db": policy("db", 5432) }));
    daemon.reload(0);
    node.set("policies", json!({ "web": policy("op", 81) }));
    daemon.reload(0);
    assert!(!node.save_all().contains("db-in"), "it is still there");
    assert!(daemon.status().report.notes.is_empty(), "{:#?}", daemon.status().report.notes);
}

trial!("reload::restarts::what_is_kept_has_a_bound", what_is_kept_has_a_bound());
fn what_is_kept_has_a_bound() {
    let (node, daemon) = node(Backend::Nft);
    for number in 1..9 {
        fs::write(node.path("op.wasm"), variant(number)).expect("writable");
        daemon.reload(0);
    }
    let count = |folder: &str| fs::read_dir(node.path(folder)).expect("it is there").count();
    // As many as the history names; its own bound is tried with the versions.
    poll("the components of the history are kept", || (count("state/components") == 9).then_some(()));
    poll("one and the last four are kept compiled", || (count("state/cache") == 5).then_some(()));
}
