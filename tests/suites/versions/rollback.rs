//! An earlier version is put in force again, and stays until the operator asks for something else.

use std::fs;

use ruleward_tests::trial;
use ruleward_tests::{Backend, Daemon};
use serde_json::json;

use super::{history, json_of, lets_pass, node, policy, policy_command, reload};

#[track_caller]
fn pinned(daemon: &Daemon) -> Option<String> {
    daemon.status().report.policy("web").pinned.as_ref().map(|pinned| format!("{}: {}", pinned.record, pinned.why))
}

trial!(
    for backend in Backend::ALL,
    "versions::rollback::{backend}::holds_through_a_restart_until_released",
    holds_through_a_restart_until_released(backend)
);
fn holds_through_a_restart_until_released(backend: Backend) {
    let (node, daemon) = node(backend);
    history(&node, "web", 1);
    assert_eq!(reload(&node, json!({ "web": policy(81) })), Some(0));
    let records = history(&node, "web", 2);
    assert_eq!(records[0]["changed"], json!(["settings"]), "{records:#?}");
    lets_pass(&node, 81);

    let done = json_of(&policy_command(&node, &["rollback", "web", "--why", "81 is slow"]), 0);
    assert_eq!((&done["record"], &done["in-force"]), (&json!("web@1"), &json!(true)), "{done:#}");
    lets_pass(&node, 80);
    assert_eq!(pinned(&daemon).as_deref(), Some("web@1: 81 is slow"));
    let text = node.ruleward(&["status"]).output().stdout;
    assert!(text.contains("pinned to web@1") && text.contains("--release web"), "{text}");
    daemon.refresh().assert_unchanged();
    lets_pass(&node, 80);

    daemon.stop();
    let daemon = node.daemon();
    lets_pass(&node, 80);
    assert_eq!(pinned(&daemon).as_deref(), Some("web@1: 81 is slow"));
    assert_eq!(node.ruleward(&["reload"]).output().code, Some(0));
    lets_pass(&node, 80);

    json_of(&policy_command(&node, &["rollback", "web", "--release"]), 0);
    lets_pass(&node, 81);
    assert_eq!(pinned(&daemon), None);
    assert_eq!(policy_command(&node, &["rollback", "web", "--release"]).code, Some(78));
}

trial!(
    for backend in Backend::ALL,
    "versions::rollback::{backend}::ends_when_the_files_change",
    ends_when_the_files_change(backend)
);
/// Also where the file that is configured is broken: what is wrong with it is why one goes back.
fn ends_when_the_files_change(backend: Backend) {
    let (node, daemon) = node(backend);
    assert_eq!(reload(&node, json!({ "web": policy(81) })), Some(0));
    history(&node, "web", 2);
    let mut broken = policy(82);
    broken["component"] = json!("./web.wasm");
    fs::write(node.path("web.wasm"), "no component").expect("writable");
    assert_eq!(reload(&node, json!({ "web": broken.clone() })), Some(78));
    lets_pass(&node, 81);
    json_of(&policy_command(&node, &["rollback", "web", "1"]), 0);
    lets_pass(&node, 80);
    assert!(daemon.status().report.in_sync);
    assert_eq!(pinned(&daemon).as_deref(), Some("web@1: "));

    fs::copy(ruleward_tests::policy_file("static-rules.wasm"), node.path("web.wasm")).expect("writable");
    assert_eq!(node.ruleward(&["reload"]).output().code, Some(0));
    lets_pass(&node, 82);
    assert_eq!(pinned(&daemon), None);

    json_of(&policy_command(&node, &["rollback", "web", "1"]), 0);
    lets_pass(&node, 80);
    assert_eq!(reload(&node, json!({ "web": policy(83) })), Some(0));
    lets_pass(&node, 83);
    assert_eq!(pinned(&daemon), None);
}

trial!("versions::rollback::what_is_not_taken_is_not_held", what_is_not_taken_is_not_held());
fn what_is_not_taken_is_not_held() {
    let (node, daemon) = node(Backend::Nft);
    let mut endless = policy(81);
    endless["limits"] = json!({ "fuel": 1000 });
    reload(&node, json!({ "web": endless }));
    history(&node, "web", 2);
    for (words, reason) in [
        (["rollback", "web", "2"], "has never been in force"),
        (["rollback", "web", "7"], "there is no record web@7"),
        (["rollback", "other", "1"], "is no policy that the configuration puts in force"),
    ] {
        let output = policy_command(&node, &words);
        assert_eq!(output.code, Some(78), "{output:#?}");
        assert!(output.stderr.contains(reason), "{output:#?}");
    }
    // The names of that version belong to another policy meanwhile.
    let mut renamed = policy(81);
    renamed["grants"]["chains"] = json!(["new-*"]);
    renamed["settings"]["chains"][0]["name"] = json!("new-in");
    renamed["settings"]["attachments"][0]["rule"] = json!("-j new-in");
    renamed["grants"]["sets"] = json!([]);
    assert_eq!(reload(&node, json!({ "web": renamed, "other": policy(82) })), Some(0));
    let output = policy_command(&node, &["rollback", "web", "1"]);
    assert_eq!(output.code, Some(78), "{output:#?}");
    assert!(output.stderr.contains("would both own"), "{output:#?}");
    lets_pass(&node, 82);
    assert_eq!(pinned(&daemon), None);
    assert!(!node.path("state/pins/web.pin").exists());
    daemon.refresh().assert_unchanged();
}
