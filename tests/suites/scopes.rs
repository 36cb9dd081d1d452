//! What stays and what goes: with the daemon, with a policy's chains, with the whole of Ruleward.

use ruleward_tests::policies::{attachment, chain, set, static_rules};
use ruleward_tests::save::{assert_same, chains_of, rules_of};
use ruleward_tests::trial;
use ruleward_tests::{Backend, Change, Family, Node, Placement, TABLES, poll};
use serde_json::json;

use crate::crowd;

trial!(
    for backend in Backend::ALL,
    "scopes::{backend}::the_end_of_the_daemon_leaves_the_rules",
    the_end_of_the_daemon_leaves_the_rules(backend)
);
fn the_end_of_the_daemon_leaves_the_rules(backend: Backend) {
    let node = crowd::node(backend);
    node.configure(json!({ "policies": crowd::first_version() }));
    for signal in ["TERM", "INT", "KILL"] {
        let mut daemon = node.daemon();
        let before = node.save_all();
        assert!(before.contains("op-in"), "{before}");
        daemon.signal(signal);
        assert_eq!(daemon.wait(), (signal != "KILL").then_some(0), "SIG{signal}");
        assert_same(&format!("everything after SIG{signal}"), &before, &node.save_all());
    }
}

trial!(
    for backend in Backend::ALL,
    "scopes::{backend}::applying_twice_changes_nothing",
    applying_twice_changes_nothing(backend)
);
fn applying_twice_changes_nothing(backend: Backend) {
    let node = crowd::node(backend);
    node.configure(json!({ "policies": crowd::first_version() }));
    let report = node.apply();
    assert_eq!(
        (report.outcome.as_str(), report.basis.as_deref(), report.in_sync),
        ("changed", Some("rehearsed"), true)
    );
    assert!(report.incidents.is_empty(), "the first commit is nobody's drift: {report:#?}");
    let state = report.policy("web");
    assert_eq!((state.state.as_str(), state.reason.as_deref(), state.sets), ("current", None, 2));
    let before = node.save_all();
    node.apply().assert_unchanged();
    node.plan(0).assert_unchanged();
    assert_same("everything", &before, &node.save_all());
}

trial!(
    for backend in Backend::ALL,
    "scopes::{backend}::plan_writes_nothing",
    plan_writes_nothing(backend)
);
fn plan_writes_nothing(backend: Backend) {
    let node = crowd::node(backend);
    node.configure(json!({ "policies": crowd::first_version() }));
    let before = node.save_all();
    let report = node.plan(2);
    assert_same("everything after `plan`", &before, &node.save_all());
    let added = |line: &str| line.starts_with("-A POSTROUTING ") && line.ends_with("-j op-post");
    for family in ["ipv4", "ipv6"] {
        let change = report
            .changes
            .iter()
            .find(|change| change.family.as_deref() == Some(family) && change.added.iter().any(|line| added(line)));
        let change = change.unwrap_or_else(|| panic!("the plan lacks the jump of {family}: {report:#?}"));
        assert_eq!((change.table.as_deref(), change.removed.len()), (Some("nat"), 0), "{change:#?}");
        assert_eq!((change.action.as_str(), change.object.as_str()), ("add", "rules"), "{change:#?}");
        assert!(change.position.is_some(), "{change:#?}");
    }
    let text = node.ruleward(&["plan"]).output();
    assert_eq!(text.code, Some(2));
    let heading = |line: &str| line.starts_with("  + add POSTROUTING #");
    assert!(text.stdout.lines().any(heading), "{}", text.stdout);
    assert!(
        text.stdout
            .lines()
            .any(|line| line.trim_start().starts_with("-A POSTROUTING ") && line.ends_with("-j op-post")),
        "{}",
        text.stdout
    );
    assert_eq!(node.apply().outcome, "changed");
}

trial!(
    for backend in Backend::ALL,
    "scopes::{backend}::obsolete_chains_and_sets_go",
    obsolete_chains_and_sets_go(backend)
);
fn obsolete_chains_and_sets_go(backend: Backend) {
    let node = crowd::node(backend);
    node.configure(json!({ "policies": crowd::first_version() }));
    node.apply();
    assert!(node.sets().contains("op-old"));
    node.set("policies", crowd::second_version());
    node.apply();
    let after = node.save_all();
    assert!(!after.contains("op-old") && after.contains("op-new"), "{after}");
    for family in Family::ALL {
        assert!(rules_of(&node.save(family, "security"), "OUTPUT").iter().all(|rule| !rule.contains("0x2")));
    }
    node.apply().assert_unchanged();
}

trial!(
    for backend in Backend::ALL,
    "scopes::{backend}::a_chain_that_a_stranger_uses_stays",
    a_chain_that_a_stranger_uses_stays(backend)
);
/// The kernel does not let it go while the stranger's rule jumps to it, and that rule is not ours to remove.
fn a_chain_that_a_stranger_uses_stays(backend: Backend) {
    let node = crowd::node(backend);
    node.configure(json!({ "policies": crowd::first_version() }));
    node.apply();
    node.stranger(Family::Ipv4).append("filter", "DOCKER-USER", "-j op-old");
    node.set("policies", crowd::second_version());
    let report = node.apply();
    assert!(report.notes.iter().any(|note| note.contains("op-old")), "nothing notes that op-old stays: {report:#?}");
    let save = node.save(Family::Ipv4, "filter");
    assert!(chains_of(&save).contains(&"op-old") && save.contains("-A DOCKER-USER -j op-old"), "{save}");
    assert!(!chains_of(&node.save(Family::Ipv6, "filter")).contains(&"op-old"));
    node.stranger(Family::Ipv4).delete("filter", "DOCKER-USER", "-j op-old");
    node.apply();
    assert!(!node.save_all().contains("op-old"));
}

trial!(
    for backend in Backend::ALL,
    "scopes::{backend}::cleanup_refuses_beside_a_daemon",
    cleanup_refuses_beside_a_daemon(backend)
);
fn cleanup_refuses_beside_a_daemon(backend: Backend) {
    let node = crowd::node(backend);
    let before = node.save_all();
    node.configure(json!({ "policies": crowd::first_version() }));
    let daemon = node.daemon();
    let with = node.save_all();
    let output = node.ruleward(&["cleanup"]).output();
    assert!(output.code != Some(0) && output.code.is_some(), "{output:#?}");
    assert!(output.stderr.contains("ruleward run"), "{output:#?}");
    assert_same("everything", &with, &node.save_all());
    daemon.stop();
    node.cleanup();
    assert_same("everything after the cleanup", &before, &node.save_all());
    node.cleanup();
}

trial!(
    for backend in Backend::ALL,
    "scopes::{backend}::cleanup_leaves_what_is_not_granted",
    cleanup_leaves_what_is_not_granted(backend)
);
/// Names that look like ours but that this configuration's grants don't own.
fn cleanup_leaves_what_is_not_granted(backend: Backend) {
    let node = Node::new(backend);
    let stranger = node.stranger(Family::Ipv4);
    stranger.new_chain("filter", "rwx");
    stranger.new_chain("nat", "cali-other");
    stranger.append("nat", "OUTPUT", "-m comment --comment \"not rw:web\" -j cali-other");
    node.load_sets("create rwx hash:ip\n");
    let before = node.save_all();
    node.configure(json!({ "policies": crowd::first_version() }));
    node.apply();
    node.cleanup();
    assert_same("everything after the cleanup", &before, &node.save_all());
}

trial!(
    for backend in Backend::ALL,
    "scopes::{backend}::attachments_stand_in_order",
    attachments_stand_in_order(backend)
);
fn attachments_stand_in_order(backend: Backend) {
    let node = Node::new(backend);
    let policy = |name: &str, order: i32| {
        let chain_name = format!("op-{name}");
        let mut jump = attachment(None, "filter", "INPUT", Placement::Last, &format!("-j {chain_name}"));
        jump["order"] = json!(order);
        let mut policy = static_rules(&[chain(None, "filter", &chain_name, &["-j RETURN"])], &[jump], &[]);
        policy["grants"]["chains"] = json!([chain_name]);
        policy["grants"]["sets"] = json!([]);
        policy
    };
    node.configure(
        json!({ "policies": { "a": policy("a", 10), "b": policy("b", -5), "d": policy("d", 0), "c": policy("c", 0) } }),
    );
    node.stranger(Family::Ipv4).append("filter", "INPUT", "-j RETURN");
    node.apply();
    let save = node.save(Family::Ipv4, "filter");
    let targets: Vec<_> = rules_of(&save, "INPUT").into_iter().filter_map(|rule| rule.rsplit(' ').next()).collect();
    assert_eq!(targets, ["RETURN", "op-b", "op-c", "op-d", "op-a"]);
    node.apply().assert_unchanged();
}

trial!(
    for backend in Backend::ALL,
    "scopes::{backend}::a_policy_that_is_off_asks_for_nothing",
    a_policy_that_is_off_asks_for_nothing(backend)
);
fn a_policy_that_is_off_asks_for_nothing(backend: Backend) {
    let node = Node::new(backend);
    let mut policies = crowd::first_version();
    policies["web"]["mode"] = json!("off");
    let before = node.save_all();
    node.configure(json!({ "policies": policies }));
    let report = node.apply();
    assert_eq!(report.policy("web").state, "off");
    assert_same("everything", &before, &node.save_all());
}

trial!(
    for backend in Backend::ALL,
    "scopes::{backend}::commands_without_a_daemon_say_so",
    commands_without_a_daemon_say_so(backend)
);
fn commands_without_a_daemon_say_so(backend: Backend) {
    let node = Node::new(backend);
    node.configure(
        json!({ "policies": { "none": static_rules(&[], &[], &[set(Family::Ipv4, "op-a", "hash:ip", &[])]) } }),
    );
    for command in ["status", "refresh"] {
        let output = node.ruleward(&[command]).output();
        assert_eq!(output.code, Some(69), "{command}: {output:#?}");
        assert!(output.stderr.contains("ruleward run") || output.stderr.contains("daemon"), "{output:#?}");
    }
    let output = node.ruleward(&["frobnicate"]).output();
    assert_eq!(output.code, Some(64), "{output:#?}");
}

trial!(
    for backend in Backend::ALL,
    "scopes::{backend}::the_backend_is_found",
    the_backend_is_found(backend)
);
/// Nothing configured: the rules that are there decide, and the reason is told.
fn the_backend_is_found(backend: Backend) {
    let node = crowd::node(backend);
    node.configure(json!({ "backend": "auto", "policies": crowd::first_version() }));
    let report = node.apply();
    assert_eq!(report.backend, Some(backend.to_string()), "{}", report.backend_reason);
    assert!(!report.backend_reason.is_empty());
    assert!(node.save(Family::Ipv4, "nat").contains("-j op-post"));
    node.apply().assert_unchanged();
}

trial!(
    for backend in Backend::ALL,
    "scopes::{backend}::sighup_checks_now",
    sighup_checks_now(backend)
);
fn sighup_checks_now(backend: Backend) {
    let node = crowd::node(backend);
    node.configure(json!({ "policies": crowd::first_version() }));
    let daemon = node.daemon();
    let before = node.save_all();
    node.stranger(Family::Ipv6).flush_chain("filter", "op-in");
    daemon.signal("HUP");
    poll("the chain is filled again", || (node.save_all() == before).then_some(()));
}

trial!(
    for backend in Backend::ALL,
    "scopes::{backend}::one_family_leaves_the_other_alone",
    one_family_leaves_the_other_alone(backend)
);
fn one_family_leaves_the_other_alone(backend: Backend) {
    for (family, other) in [(Family::Ipv4, Family::Ipv6), (Family::Ipv6, Family::Ipv4)] {
        let node = crowd::node(backend);
        let saves = |family| TABLES.map(|table| node.save(family, table));
        let before = saves(other);
        node.configure(json!({ "families": [family.to_string()], "policies": crowd::first_version() }));
        node.apply();
        assert_eq!(before, saves(other), "{other} was touched");
        assert!(node.save(family, "nat").contains("-j op-post"));
        node.apply().assert_unchanged();
        node.cleanup();
        assert_eq!(before, saves(other), "{other} was touched by the cleanup");
        assert!(!node.save(family, "nat").contains("op-post"));
    }
}

trial!(
    for backend in Backend::ALL,
    "scopes::{backend}::ten_thousand_rules",
    ten_thousand_rules(backend)
);
/// More than a pipe holds, in both directions. One rule of them is edited, and only that one is written again.
fn ten_thousand_rules(backend: Backend) {
    let node = Node::new(backend);
    // Outside of the machine's own user namespace one nft transaction must fit into net.core.wmem_max.
    let map = std::fs::read_to_string("/proc/self/uid_map").expect("every process has one");
    let own_namespace = map.split_whitespace().eq(["0", "0", "4294967295"]);
    let count = if own_namespace || backend == Backend::Legacy { 10_000 } else { 400 };
    let rules: Vec<_> =
        (0..count).map(|n| format!("-s 10.{}.{}.0/24 -p tcp --dport {} -j RETURN", n / 250, n % 250, 1 + n)).collect();
    let chains: Vec<_> = rules
        .chunks(100)
        .enumerate()
        .map(|(at, rules)| chain(Family::Ipv4, "filter", &format!("op-{at}"), rules))
        .collect();
    let jumps = attachment(Family::Ipv4, "filter", "INPUT", Placement::First, "-j op-0");
    node.configure(json!({ "policies": { "big": static_rules(&chains, &[jumps], &[]) } }));
    // A daemon that finds all in order does not look again by itself.
    node.apply();
    let daemon = node.daemon();
    let before = node.save(Family::Ipv4, "filter");
    assert_eq!(before.lines().filter(|line| line.starts_with("-A op-")).count(), count);
    node.stranger(Family::Ipv4).replace("filter", "op-3", 50, "-j ACCEPT");
    let report = daemon.refresh();
    assert_same("the table", &before, &node.save(Family::Ipv4, "filter"));
    let lines = |of: fn(&Change) -> usize| report.changes.iter().map(of).sum::<usize>();
    assert!(report.changes.iter().all(|change| change.chain.as_deref() == Some("op-3")), "{report:#?}");
    assert_eq!((lines(|change| change.added.len()), lines(|change| change.removed.len())), (1, 1), "{report:#?}");
}
