//! A shadow: nothing is written for it, whatever it does, and what would change is shown.

use std::fs;

use ruleward_tests::save::assert_same;
use ruleward_tests::trial;
use ruleward_tests::{Backend, Daemon, Family, PolicyState};
use serde_json::{Value, json};

use super::{history, json_of, node, policy, policy_command, reload, rule};

/// Waits until the shadow `next` was looked at.
#[track_caller]
fn looked_at(daemon: &Daemon, wish: &str, condition: impl Fn(&PolicyState) -> bool) -> PolicyState {
    let of = |policies: &[PolicyState]| policies.iter().find(|policy| policy.name == "next").cloned();
    let status = daemon.wait_until(wish, |status| of(&status.report.policies).is_some_and(|next| condition(&next)));
    of(&status.report.policies).expect("it was just there")
}

/// The lines of a difference, with their signs.
fn lines(diff: &Value) -> Vec<String> {
    let lines = diff["tables"].as_array().into_iter().flatten().flat_map(|table| table["lines"].as_array());
    let line = |line: &Value| match (&line["removed"], &line["added"]) {
        (Value::String(text), _) => format!("-{text}"),
        (_, Value::String(text)) => format!("+{text}"),
        _ => panic!("this is no line of a difference: {line}"),
    };
    lines.flatten().map(line).collect()
}

trial!(
    for backend in Backend::ALL,
    "versions::shadow::{backend}::shows_what_would_change_and_writes_nothing",
    shows_what_would_change_and_writes_nothing(backend)
);
fn shows_what_would_change_and_writes_nothing(backend: Backend) {
    let (node, daemon) = node(backend);
    let before = node.save_all();
    let counters = node.save_exact(Family::Ipv4, "filter");
    let mut next = policy(81);
    next["shadow-of"] = json!("web");
    next.as_object_mut().expect("a table").remove("grants");
    assert_eq!(reload(&node, json!({ "web": policy(80), "next": next })), Some(0));
    let state = looked_at(&daemon, "comparing the shadow", |next| next.shadow.is_some());
    assert_eq!((state.state.as_str(), state.rules), ("shadow", 2));
    let shadow = state.shadow.expect("it was just there");
    assert_eq!((shadow.of.as_deref(), shadow.added, shadow.removed), (Some("web"), 2, 2));
    history(&node, "next", 1);
    for name in ["next", "web"] {
        let diff = json_of(&policy_command(&node, &["diff", name]), 2);
        let both = [format!("-{}", rule(80)), format!("+{}", rule(81))];
        assert_eq!(lines(&diff), [both.clone(), both].concat(), "{diff:#}");
        assert_eq!(diff["as-shown"], true, "{diff:#}");
    }
    assert_same("everything", &before, &node.save_all());
    assert_same("counters", &kept(&counters), &kept(&node.save_exact(Family::Ipv4, "filter")));
    daemon.refresh().assert_unchanged();

    // As it is in force, nothing would change; and the name makes no difference.
    let next = json!({ "shadow-of": "web" });
    assert_eq!(reload(&node, json!({ "web": policy(80), "next": next })), Some(0));
    looked_at(&daemon, "finding no difference", |next| next.shadow.as_ref().is_some_and(|shadow| shadow.added == 0));
    history(&node, "next", 2);
    assert_eq!(lines(&json_of(&policy_command(&node, &["diff", "next"]), 0)), Vec::<String>::new());
    assert_same("everything", &before, &node.save_all());

    assert_eq!(reload(&node, json!({ "web": policy(80) })), Some(0));
    daemon.wait_until("without the shadow", |status| status.report.policies.len() == 1);
    assert_same("everything", &before, &node.save_all());
}

/// Without the lines that tell when it was saved.
fn kept(save: &str) -> String {
    save.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect()
}

trial!(
    for backend in Backend::ALL,
    "versions::shadow::{backend}::alone_would_bring_everything",
    alone_would_bring_everything(backend)
);
fn alone_would_bring_everything(backend: Backend) {
    let (node, daemon) = node(backend);
    let before = node.save_all();
    let mut next = policy(81);
    next["mode"] = json!("shadow");
    next["grants"]["chains"] = json!(["other-*"]);
    next["grants"]["sets"] = json!([]);
    next["settings"]["chains"][0]["name"] = json!("other-in");
    next["settings"]["attachments"][0]["rule"] = json!("-j other-in");
    assert_eq!(reload(&node, json!({ "web": policy(80), "next": next })), Some(0));
    let state = looked_at(&daemon, "comparing the shadow", |next| next.shadow.is_some());
    // In each family the chain, its rule and the jump.
    assert_eq!(state.shadow.map(|shadow| (shadow.added, shadow.removed)), Some((6, 0)));
    history(&node, "next", 1);
    let found = lines(&json_of(&policy_command(&node, &["diff", "next"]), 2));
    assert_eq!(found.iter().filter(|line| *line == "+:other-in - [0:0]").count(), 2, "{found:#?}");
    assert!(found.iter().all(|line| line.starts_with('+')), "{found:#?}");
    assert_same("everything", &before, &node.save_all());
    // Beside the policy that owns the names it has to say so.
    let mut greedy = policy(81);
    greedy["mode"] = json!("shadow");
    node.set("policies", json!({ "web": policy(80), "next": greedy }));
    let refused = node.ruleward(&["check"]).output();
    assert_eq!(refused.code, Some(78), "{refused:#?}");
    assert!(refused.stderr.contains("shadow-of = \"web\""), "{refused:#?}");
}

trial!(
    for backend in Backend::ALL,
    "versions::shadow::{backend}::that_fails_touches_nothing",
    that_fails_touches_nothing(backend)
);
fn that_fails_touches_nothing(backend: Backend) {
    let (node, daemon) = node(backend);
    let before = node.save_all();
    fs::write(node.path("broken.wasm"), "no component").expect("writable");
    let endless = json!({ "shadow-of": "web", "limits": { "fuel": 1000 } });
    let hungry = json!({ "shadow-of": "web", "limits": { "memory": "64KiB" } });
    let broken = json!({ "shadow-of": "web", "component": "./broken.wasm" });
    let mistaken = json!({ "shadow-of": "web", "settings": { "chains": 1 } });
    let mut unknown = policy(81);
    unknown["settings"]["chains"][0]["rules"] = json!(["-j MASQUERADE"]);
    unknown["shadow-of"] = json!("web");
    for (next, word) in [
        (endless, "fuel"),
        (hungry, "memory"),
        (broken, "not WebAssembly"),
        (mistaken, "settings"),
        (unknown, "MASQUERADE"),
    ] {
        reload(&node, json!({ "web": policy(80), "next": next }));
        let fails = |next: &PolicyState| next.reason.as_ref().is_some_and(|reason| reason.contains(word));
        looked_at(&daemon, &format!("refusing the shadow for its {word}"), fails);
        let status = daemon.status();
        assert!(status.report.in_sync, "{status:#?}");
        assert_same("everything", &before, &node.save_all());
        node.stranger(Family::Ipv4).flush_chain("filter", "op-in");
        daemon.refresh();
        assert_same("everything", &before, &node.save_all());
    }
}
