//! What is said of the node is what is: in a slow fight, while nothing is enforced, after a refusal, where something can't be
//! repaired, and to whom has no permission.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use ruleward_tests::policies::{chain, set, static_rules};
use ruleward_tests::trial;
use ruleward_tests::web::{body, metric};
use ruleward_tests::{Backend, Family, Node};
use serde_json::json;

use crate::reload;

trial!(
    for backend in Backend::ALL,
    "truth::{backend}::a_place_that_is_undone_slowly_raises_the_alarm",
    slowly_undone(backend)
);
/// Seven times, each when the one before is repaired: far fewer in ten seconds than a quick fight takes, or not.
fn slowly_undone(backend: Backend) {
    let (node, daemon) = reload::node(backend);
    let mut told = 0;
    for round in 0..8 {
        let before = daemon.status().mark();
        node.command(Family::Ipv4.tool(backend, "")).args(&["-w", "-D", "INPUT", "1"]).must();
        daemon.wait_until("repaired again", |status| {
            status.since(&before).iter().any(|incident| incident.repaired) && status.report.in_sync
        });
        told = daemon.status().fights.len();
        // Three experiments by hand are none.
        assert!(round > 2 || told == 0, "a fight after {} times", round + 1);
    }
    assert_eq!(told, 1, "eight times the same place: {:#?}", daemon.status().fights);
    let text = node.ruleward(&["status"]).output().stdout;
    assert!(text.contains("ALARM: ") && text.contains(" undoing IPv4 filter INPUT since "), "{text}");
    assert!(!text.starts_with("IN SYNC"), "{text}");
    assert!(metric(&node, "ruleward_fights", &[]) > 0.5);
    daemon.stop();
}

trial!(
    for backend in Backend::ALL,
    "truth::{backend}::what_is_refused_is_said_first_and_has_an_exit_status",
    refused_first(backend)
);
fn refused_first(backend: Backend) {
    let (node, daemon) = reload::node(backend);
    assert_eq!(node.ruleward(&["status"]).output().code, Some(0));
    let mut bad = reload::policy("op", 80);
    bad["settings"] = json!({ "chanes": [] });
    node.set("policies", json!({ "web": bad }));
    for words in [["reload"].as_slice(), &["refresh"], &["status"], &["plan"]] {
        let output = node.ruleward(words).output();
        assert!(output.stdout.starts_with("REFUSED: policy web: "), "{words:?}: {output:#?}");
        assert!(output.stdout.contains("chanes"), "{words:?}: {output:#?}");
        assert_eq!(output.code, Some(if words == ["status"] { 3 } else { 78 }), "{words:?}: {output:#?}");
    }
    let status = daemon.status();
    assert!(status.report.in_sync && status.report.refused.len() == 1, "{status:#?}");
    let page = body(&node, "/");
    let (refused, verdict) = (page.find("REFUSED"), page.find("In sync, running the previous version"));
    assert!(refused.is_some() && refused < verdict && page.contains("<strong>REFUSED</strong>"), "{page}");
    // An event repairs what is in force, and the refusal is not forgotten over it.
    let before = daemon.status().mark();
    node.stranger(Family::Ipv4).flush_chain("filter", "op-in");
    daemon.wait_until("repaired", |status| !status.since(&before).is_empty() && status.report.in_sync);
    assert_eq!(daemon.status().report.refused.len(), 1);
    node.set("policies", json!({ "web": reload::policy("op", 81) }));
    daemon.reload(0);
    assert_eq!(node.ruleward(&["status"]).output().code, Some(0));
    daemon.stop();
}

trial!("truth::a_node_without_policies_enforces_nothing", nothing_enforced());
fn nothing_enforced() {
    let node = Node::new(Backend::Nft);
    node.configure(json!({ "watch": "auto", "policies": {} }));
    let daemon = node.daemon();
    daemon.wait_until("in sync", |status| status.report.in_sync);
    let output = node.ruleward(&["status"]).output();
    assert!(output.stdout.starts_with("NOTHING ENFORCED: no policy is enabled\n"), "{output:#?}");
    assert_eq!(output.code, Some(4));
    assert!(daemon.status().report.nothing_enforced.is_some());
    assert!((metric(&node, "ruleward_nothing_enforced", &[]) - 1.0).abs() < 0.1);
    assert!(body(&node, "/").contains("NOTHING ENFORCED"));
    daemon.stop();
}

/// A node with a set of ours in use by a foreign rule, made anew as another type: no write of ours can change that.
fn with_a_problem(backend: Backend) -> (std::sync::Arc<Node>, ruleward_tests::Daemon) {
    let node = Node::new(backend);
    let chains = [chain(Family::Ipv4, "filter", "op-in", &["-p tcp --dport 80 -j RETURN"])];
    let sets = [set(Family::Ipv4, "op-set", "hash:net", &["10.0.0.0/8"])];
    node.configure(
        json!({ "watch": "auto", "refresh-interval": "1h", "policies": { "web": static_rules(&chains, &[], &sets) } }),
    );
    let daemon = node.daemon();
    daemon.wait_until("in sync", |status| status.report.in_sync);
    node.command("ipset").args(&["destroy", "op-set"]).must();
    node.load_sets("create op-set hash:ip\n");
    let family = Family::Ipv4.tool(backend, "");
    node.command(family)
        .args(&["-w", "-A", "OUTPUT", "-m", "set", "--match-set", "op-set", "dst", "-j", "ACCEPT"])
        .must();
    (node, daemon)
}

trial!(
    for backend in Backend::ALL,
    "truth::{backend}::no_event_makes_a_node_in_sync_that_has_a_problem",
    a_problem_stays(backend)
);
fn a_problem_stays(backend: Backend) {
    let (node, daemon) = with_a_problem(backend);
    daemon.wait_until("telling of the set", |status| !status.report.in_sync && !status.report.problems.is_empty());
    // Repairs go on, and none of them says that all is well.
    for _ in 0..3 {
        let before = daemon.status().mark();
        node.stranger(Family::Ipv4).flush_chain("filter", "op-in");
        let status = daemon.wait_until("repaired", |status| status.since(&before).iter().any(|one| one.repaired));
        assert!(!status.report.in_sync && !status.report.problems.is_empty(), "{status:#?}");
    }
    assert_eq!(node.ruleward(&["status"]).output().code, Some(1));
    assert!(metric(&node, "ruleward_in_sync", &[]) < 0.1);
    daemon.stop();
}

trial!(
    for backend in Backend::ALL,
    "truth::{backend}::what_an_event_put_right_is_in_sync_at_once",
    right_at_once(backend)
);
fn right_at_once(backend: Backend) {
    let (node, daemon) = with_a_problem(backend);
    daemon.wait_until("telling of the set", |status| !status.report.in_sync && !status.report.problems.is_empty());
    let checks = daemon.status().checks;
    let family = Family::Ipv4.tool(backend, "");
    node.command(family).args(&["-w", "-F", "OUTPUT"]).must();
    let status = daemon.wait_until("in sync again", |status| status.report.in_sync);
    assert!(status.report.problems.is_empty(), "{status:#?}");
    assert!(node.sets().contains("hash:net"), "{}", node.sets());
    eprintln!("truth::{backend}: {} checks until then", status.checks - checks);
    daemon.stop();
}

trial!(root "truth::without_permission_is_not_without_a_daemon", without_permission());
/// Each command that has to know where the daemon is says who may ask, and not that no daemon has run.
fn without_permission() {
    let (node, daemon) = reload::node(Backend::Nft);
    let denied = |words: &[&str]| {
        let program = ruleward_tests::binary().display().to_string();
        let config = node.path("ruleward.toml").display().to_string();
        let user = ["--reuid=4711", "--regid=65534", "--clear-groups", program.as_str()];
        let all = [&user[..], &["--config", config.as_str()], words].concat();
        let output = node.command("setpriv").args(&all).output();
        assert_eq!(output.code, Some(77), "{words:?}: {output:#?}");
        assert!(
            output.stderr.contains("ermission denied") && !output.stderr.contains("no daemon"),
            "{words:?}: {output:#?}"
        );
        assert!(output.stderr.contains("root"), "it does not say what to do: {output:#?}");
    };
    let mode = |name: &str, mode: u32| {
        fs::set_permissions(node.path(name), fs::Permissions::from_mode(mode)).expect("it is ours");
    };
    // The folder of a test is for its owner only.
    let folder = node.path("run").parent().expect("it has one").to_owned();
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("it is ours");
    // The configuration may be read, and the journal may not.
    mode("ruleward.toml", 0o644);
    for words in [&["incidents"][..], &["incidents", "--follow"], &["policy", "history", "web"]] {
        denied(words);
    }
    // The configuration may not be read: where the daemon is can't be known.
    mode("ruleward.toml", 0o600);
    for words in [&["incidents"][..], &["incidents", "--follow"], &["status"], &["log"], &["policy", "history", "web"]]
    {
        denied(words);
    }
    daemon.stop();
}
