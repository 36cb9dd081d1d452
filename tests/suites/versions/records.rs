//! Records: every kind of answer is kept, given again here and on a machine that has nothing of this one, bounded, and
//! what was tampered with is found.

use std::fs;
use std::sync::Arc;

use ruleward_tests::trial;
use ruleward_tests::{Backend, Node, Output};
use serde_json::{Value, json};

use super::{history, json_of, node, policy, policy_command, reload};

/// A node of which the policy `web` has been in force, out of fuel, wrong in its settings, broken, and refused by the
/// kernel, and `next` a shadow.
fn node_with_all_kinds(backend: Backend) -> (Arc<Node>, Vec<Value>) {
    let (node, daemon) = node(backend);
    let mut endless = policy(80);
    endless["limits"] = json!({ "fuel": 1000 });
    let mut mistaken = policy(80);
    mistaken["settings"] = json!({ "chains": 1 });
    let mut broken = policy(80);
    broken["component"] = json!("./broken.wasm");
    // A component by its first bytes, and nothing sensible in it.
    fs::write(node.path("broken.wasm"), b"\0asm\x0d\0\x01\0\x01\x04abcd").expect("writable");
    let mut unknown = policy(80);
    unknown["settings"]["chains"][0]["rules"] = json!(["-j MASQUERADE"]);
    let mut greedy = policy(80);
    greedy["settings"]["chains"][0]["name"] = json!("other");
    greedy["settings"]["attachments"] = json!([]);
    for wrong in [endless, mistaken, broken, unknown, greedy] {
        assert_eq!(reload(&node, json!({ "web": wrong.clone() })), Some(78), "{wrong:#}");
    }
    assert_eq!(reload(&node, json!({ "web": policy(80), "next": { "shadow-of": "web" } })), Some(0));
    let mut records = history(&node, "web", 6);
    records.extend(history(&node, "next", 1));
    daemon.stop();
    (node, records)
}

fn replayed(output: &Output) -> Value {
    let replay = json_of(output, 0);
    assert_eq!(replay["identical"], true, "{replay:#}");
    replay
}

trial!(
    for backend in Backend::ALL,
    "versions::records::{backend}::every_kind_is_given_again_anywhere",
    every_kind_is_given_again_anywhere(backend)
);
fn every_kind_is_given_again_anywhere(backend: Backend) {
    let (node, records) = node_with_all_kinds(backend);
    let mut outcomes: Vec<&str> = records.iter().filter_map(|record| record["outcome"].as_str()).collect();
    outcomes.sort_unstable();
    outcomes.dedup();
    assert_eq!(outcomes, ["in-force", "refused", "refused-by-kernel", "shadow"], "{records:#?}");
    // The other one has another backend, another name, and no state at all.
    let other = Node::new(if backend == Backend::Nft { Backend::Legacy } else { Backend::Nft });
    other.configure(json!({ "node-name": "elsewhere", "state-directory": other.path("none") }));
    for record in &records {
        let name = record["record"].as_str().expect("a record has a name");
        let here = replayed(&policy_command(&node, &["replay", name]));
        assert_eq!(here, replayed(&policy_command(&node, &["replay", name])), "it answers differently twice");
        let file = other.path(&format!("{name}.record")).display().to_string();
        json_of(&policy_command(&node, &["export", name, &file]), 0);
        assert_eq!(here, replayed(&policy_command(&other, &["replay", &file])), "it answers differently elsewhere");
    }
}

trial!("versions::records::what_was_tampered_with_is_found", what_was_tampered_with_is_found());
fn what_was_tampered_with_is_found() {
    let (node, daemon) = node(Backend::Nft);
    assert_eq!(reload(&node, json!({ "web": policy(81) })), Some(0));
    history(&node, "web", 2);
    let exported = node.path("exported").display().to_string();
    json_of(&policy_command(&node, &["export", "web@1", &exported]), 0);
    for file in [node.path("state/history/web/0000000001.record"), node.path("exported")] {
        let mut bytes = fs::read(&file).expect("readable");
        let at = bytes.windows(9).position(|some| some == b"dport 80 ").expect("the port is in the settings");
        bytes[at + 6] = b'9';
        fs::write(&file, bytes).expect("writable");
    }
    for record in ["web@1", &exported] {
        let output = policy_command(&node, &["replay", record]);
        assert_eq!(output.code, Some(78), "{output:#?}");
        assert!(output.stderr.contains("was changed or damaged"), "{output:#?}");
    }
    let output = policy_command(&node, &["rollback", "web", "1"]);
    assert_eq!(output.code, Some(78), "{output:#?}");
    // A component in place of another is no answer of this one.
    let digest = history(&node, "web", 2)[0]["component"].as_str().expect("a digest").replace("sha256:", "");
    fs::write(node.path(&format!("state/components/{digest}.wasm")), "another").expect("writable");
    let output = policy_command(&node, &["replay", "web@2"]);
    assert_eq!(output.code, Some(78), "{output:#?}");
    assert!(output.stderr.contains("damaged"), "{output:#?}");
    daemon.refresh().assert_unchanged();
}

trial!("versions::records::they_are_bounded", they_are_bounded());
fn they_are_bounded() {
    let node = Node::new(Backend::Nft);
    let configure = |port| node.configure(json!({ "history-versions": 3, "policies": { "web": policy(port) } }));
    configure(80);
    let daemon = node.daemon();
    for port in 81..88 {
        configure(port);
        assert_eq!(node.ruleward(&["reload"]).output().code, Some(0));
    }
    daemon.stop();
    let numbers: Vec<_> = history(&node, "web", 3).iter().map(|record| record["number"].clone()).collect();
    assert_eq!(numbers, [json!(8), json!(7), json!(6)]);
    assert_eq!(fs::read_dir(node.path("state/history/web")).expect("readable").count(), 3);
}

trial!("versions::records::nothing_new_is_no_record", nothing_new_is_no_record());
/// Checks, restarts and reloads of the same are none.
fn nothing_new_is_no_record() {
    let (node, daemon) = node(Backend::Nft);
    let first = history(&node, "web", 1);
    daemon.refresh();
    assert_eq!(node.ruleward(&["reload"]).output().code, Some(0));
    daemon.stop();
    let daemon = node.daemon();
    daemon.refresh();
    daemon.stop();
    node.apply();
    assert_eq!(first, history(&node, "web", 1));
    let list = json_of(&policy_command(&node, &["list"]), 0);
    assert_eq!(
        (&list[0]["name"], &list[0]["record"], &list[0]["since"]),
        (&json!("web"), &json!("web@1"), &first[0]["at"])
    );
}

trial!("versions::records::a_full_disk_is_said_and_nothing_more", a_full_disk_is_said_and_nothing_more());
fn a_full_disk_is_said_and_nothing_more() {
    let (node, daemon) = node(Backend::Nft);
    history(&node, "web", 1);
    daemon.stop();
    let directory = node.path("state").display().to_string();
    node.command("mount").args(&["-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", &directory]).must();
    let fill = format!("{directory}/fill");
    node.command("sh").args(&["-c", "head -c 2M /dev/zero > \"$0\" 2>/dev/null; test -s \"$0\"", &fill]).must();
    let daemon = node.daemon();
    assert_eq!(reload(&node, json!({ "web": policy(81) })), Some(0));
    super::lets_pass(&node, 81);
    daemon.wait_until("telling that there is no history", |status| {
        status.report.in_sync && status.report.notes.iter().any(|note| note.contains("history of policies"))
    });
    node.command("rm").args(&[&fill]).must();
    assert_eq!(reload(&node, json!({ "web": policy(82) })), Some(0));
    // What waited is written as well.
    history(&node, "web", 3);
    daemon.wait_until("content with the disk", |status| {
        !status.report.notes.iter().any(|note| note.contains("history of policies"))
    });
}

trial!("versions::records::apply_keeps_them_too", apply_keeps_them_too());
fn apply_keeps_them_too() {
    let node = Node::new(Backend::Nft);
    for port in [80, 81] {
        node.configure(json!({ "policies": { "web": policy(port) } }));
        node.apply();
    }
    node.plan(0);
    let records = history(&node, "web", 2);
    assert_eq!(records[0]["changed"], json!(["settings"]));
    let difference = json!({
        "path": "/settings/chains/0/rules/0",
        "old": "-p tcp --dport 80 -j RETURN",
        "new": "-p tcp --dport 81 -j RETURN",
    });
    assert_eq!(records[0]["differences"], json!([difference]));
    assert_eq!((&records[0]["in-force-now"], &records[0]["in-force-until"]), (&json!(true), &Value::Null));
    assert_eq!((&records[1]["in-force-now"], &records[1]["in-force-until"]), (&json!(false), &records[0]["at"]));
    let text = node.ruleward(&["policy", "history", "web"]).output().stdout;
    let shown = "/settings/chains/0/rules/0: \"-p tcp --dport 80 -j RETURN\" -> \"-p tcp --dport 81 -j RETURN\"";
    assert!(text.contains("in force since then") && text.contains("in force until ") && text.contains(shown), "{text}");
    node.configure(json!({ "policies": {} }));
    node.apply();
    let records = history(&node, "web", 2);
    assert!(records.iter().all(|record| record["in-force-now"] == false), "it has left: {records:#?}");
    node.configure(json!({ "policies": { "web": policy(81) } }));
    node.apply();
    let diff = json_of(&policy_command(&node, &["diff", "web"]), 2);
    assert_eq!((&diff["first"], &diff["second"]), (&json!("web@1"), &json!("web@2")));
    json_of(&policy_command(&node, &["rollback", "web"]), 0);
    assert_eq!(node.plan(2).changes.len(), 2);
    node.apply();
    super::lets_pass(&node, 80);
}
