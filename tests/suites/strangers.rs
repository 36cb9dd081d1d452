//! Other people's rules, chains, sets and counters stay byte for byte and in order, whatever we do beside them.

use std::net::UdpSocket;

use ruleward_tests::policies::{attachment, chain, static_rules};
use ruleward_tests::save::{assert_same, chains_of, rules_of};
use ruleward_tests::trial;
use ruleward_tests::{Backend, Family, Node, Placement};
use serde_json::json;

use crate::crowd;

trial!(
    for backend in Backend::ALL,
    "strangers::{backend}::stay_through_everything",
    stay_through_everything(backend)
);
/// First commit, a check, damage and repair, a new version of the policy, the end.
fn stay_through_everything(backend: Backend) {
    let node = crowd::node(backend);
    let (everything, theirs) = (node.save_all(), crowd::strangers(&node));
    let same = |when: &str| assert_same(&format!("what is not ours, {when},"), &theirs, &crowd::strangers(&node));

    node.configure(json!({ "policies": crowd::first_version() }));
    assert_eq!(node.plan(2).outcome, "changed");
    assert_same("everything after `plan`", &everything, &node.save_all());
    assert_eq!(node.apply().outcome, "changed");
    same("after the first commit");
    let first = node.save_all();

    let daemon = node.daemon();
    for family in Family::ALL {
        let stranger = node.stranger(family);
        stranger.delete("nat", "POSTROUTING", &jump(&node, family, "nat", "POSTROUTING", "op-post"));
        stranger.flush_chain("filter", "op-in");
        stranger.delete("mangle", "PREROUTING", &jump(&node, family, "mangle", "PREROUTING", "op-mark"));
        stranger.append("security", "FORWARD", "-m comment --comment rw:web:0123456789ab -j ACCEPT");
    }
    assert_eq!(daemon.refresh().outcome, "changed");
    assert_same("everything after the repair", &first, &node.save_all());
    same("after the repair");
    daemon.stop();

    node.set("policies", crowd::second_version());
    assert_eq!(node.apply().outcome, "changed");
    same("after a change of the policy");
    node.cleanup();
    same("after the cleanup");
    assert_same("everything after the cleanup", &everything, &node.save_all());
}

/// Our rule in a built-in chain as shown, without `-A HOOK`.
#[track_caller]
pub fn jump(node: &Node, family: Family, table: &str, hook: &str, target: &str) -> String {
    let save = node.save(family, table);
    let target = format!("-j {target}");
    let line = rules_of(&save, hook).into_iter().find(|rule| rule.ends_with(&target));
    let line = line.unwrap_or_else(|| panic!("{hook} has no {target}:\n{save}"));
    line.splitn(3, ' ').nth(2).unwrap_or_default().to_owned()
}

trial!(
    for backend in Backend::ALL,
    "strangers::{backend}::stay_when_they_come_later",
    stay_when_they_come_later(backend)
);
/// Docker starts after us: it puts its rules in front of and behind ours. Its order is kept; ours is restored.
fn stay_when_they_come_later(backend: Backend) {
    let node = Node::new(backend);
    node.configure(json!({ "policies": crowd::first_version() }));
    let daemon = node.daemon();
    for family in Family::ALL {
        let stranger = node.stranger(family);
        for number in [1, 2, 3] {
            let rule =
                |end: &str| format!("-s {} -m comment --comment \"{end} {number}\" -j RETURN", family.address(number));
            stranger.insert("filter", "INPUT", 1, &rule("front"));
            stranger.append("filter", "INPUT", &rule("end"));
            stranger.append("nat", "POSTROUTING", &rule("end"));
        }
    }
    daemon.refresh();
    for family in Family::ALL {
        let order = |table: &str, hook: &str| -> Vec<String> {
            let save = node.save(family, table);
            let name = |rule: &&str| {
                rule.rsplit("--comment ").next().unwrap_or_default().trim_matches('"').replace("\" -j RETURN", "")
            };
            rules_of(&save, hook)
                .iter()
                .map(|rule| if rule.contains("-j op-") { "ours".to_owned() } else { name(rule) })
                .collect()
        };
        assert_eq!(order("filter", "INPUT"), ["ours", "front 3", "front 2", "front 1", "end 1", "end 2", "end 3"]);
        assert_eq!(order("nat", "POSTROUTING"), ["end 1", "end 2", "end 3", "ours"]);
    }
    daemon.refresh().assert_unchanged();
}

trial!(
    for backend in Backend::ALL,
    "strangers::{backend}::their_chain_with_our_rules_in_it_is_theirs",
    their_chain_with_our_rules_in_it_is_theirs(backend)
);
/// A stranger's chain that calls ours, and our chain under a new name that is not ours: both are theirs now.
fn their_chain_with_our_rules_in_it_is_theirs(backend: Backend) {
    let node = Node::new(backend);
    node.configure(json!({ "policies": crowd::first_version() }));
    let daemon = node.daemon();
    let before = node.save(Family::Ipv4, "filter");
    let stranger = node.stranger(Family::Ipv4);
    stranger.new_chain("filter", "theirs");
    stranger.append("filter", "theirs", "-j op-in");
    daemon.refresh().assert_unchanged();
    stranger.delete("filter", "theirs", "-j op-in");
    stranger.rename_chain("filter", "op-in", "stolen");
    let report = daemon.refresh();
    assert!(report.in_sync, "{report:#?}");
    let after = node.save(Family::Ipv4, "filter");
    assert_eq!(rules_of(&after, "stolen").len(), rules_of(&before, "op-in").len(), "{after}");
    assert_eq!(rules_of(&after, "op-in"), rules_of(&before, "op-in"));
    assert_eq!(rules_of(&after, "INPUT"), rules_of(&before, "INPUT"));
    assert!(chains_of(&after).contains(&"theirs"));
}

/// A policy whose rules count what this machine sends to itself.
fn counting(second: &str) -> serde_json::Value {
    json!({ "count": static_rules(
        &[
            chain(None, "filter", "op-count", &["-p udp --dport 9", second, "-p udp -j RETURN"]),
            chain(None, "filter", "op-other", &["-p udp --dport 9 -j RETURN"]),
        ],
        &[
            attachment(None, "filter", "OUTPUT", Placement::First, "-j op-count"),
            attachment(None, "filter", "OUTPUT", Placement::Last, "-j op-other"),
        ],
        &[],
    ) })
}

fn send_to_itself(node: &Node) {
    for address in ["127.0.0.1", "::1"] {
        for _ in 0..5 {
            // Nobody listens: from the second datagram on the answer is an error, and the packet has been counted.
            node.net.run(|| UdpSocket::bind((address, 0)).and_then(|socket| socket.send_to(b"!", (address, 9)))).ok();
        }
    }
}

/// Rule lines with their counters of all chains but the built-in ones' policies.
#[track_caller]
fn counted(node: &Node, family: Family) -> Vec<String> {
    node.save_exact(family, "filter").lines().filter(|line| line.starts_with('[')).map(ToOwned::to_owned).collect()
}

fn with_counters(backend: Backend, change: fn(&Node)) {
    let node = crowd::node(backend);
    node.configure(json!({ "policies": counting("-p tcp --dport 80 -j RETURN") }));
    node.apply();
    send_to_itself(&node);
    let before = Family::ALL.map(|family| counted(&node, family));
    let busy = before.concat().iter().filter(|line| !line.starts_with("[0:0]") && line.contains("op-")).count();
    assert!(busy >= 10, "too few packets were counted: {before:#?}");
    change(&node);
    for (family, before) in Family::ALL.into_iter().zip(before) {
        let after = counted(&node, family);
        for line in before.iter().filter(|line| !line.contains("--dport 80 ")) {
            assert!(after.contains(line), "{family}: this rule lost its counters: {line}\n{after:#?}");
        }
    }
}

trial!(
    for backend in Backend::ALL,
    "strangers::{backend}::counters_survive_a_change_beside_them",
    counters_survive_a_change_beside_them(backend)
);
fn counters_survive_a_change_beside_them(backend: Backend) {
    with_counters(backend, |node| {
        node.set("policies", counting("-p tcp --dport 81 -j RETURN"));
        assert_eq!(node.apply().outcome, "changed");
        assert!(node.save(Family::Ipv6, "filter").contains("--dport 81 "));
    });
}

trial!(
    for backend in Backend::ALL,
    "strangers::{backend}::counters_survive_a_repair_beside_them",
    counters_survive_a_repair_beside_them(backend)
);
fn counters_survive_a_repair_beside_them(backend: Backend) {
    with_counters(backend, |node| {
        for family in Family::ALL {
            let stranger = node.stranger(family);
            stranger.delete("filter", "op-count", "-p tcp --dport 80 -j RETURN");
            stranger.append("filter", "op-count", "-j ACCEPT");
        }
        assert_eq!(node.apply().outcome, "changed");
        assert!(!node.save(Family::Ipv6, "filter").contains("-A op-count -j ACCEPT"));
    });
}

trial!(
    for backend in Backend::ALL,
    "strangers::{backend}::an_unused_table_is_not_made",
    an_unused_table_is_not_made(backend)
);
/// Looking at a table must not bring it into being: on legacy that would load its module for good.
fn an_unused_table_is_not_made(backend: Backend) {
    let node = Node::new(backend);
    let tables = || match backend {
        Backend::Nft => node.command("nft").args(&["list", "tables"]).must(),
        Backend::Legacy => {
            let names = |file: &str| node.net.run(|| std::fs::read_to_string(format!("/proc/thread-self/net/{file}")));
            names("ip_tables_names").unwrap_or_default() + &names("ip6_tables_names").unwrap_or_default()
        }
    };
    node.configure(json!({ "policies": { "one": static_rules(
        &[chain(Family::Ipv4, "mangle", "op-one", &["-j RETURN"])],
        &[attachment(Family::Ipv4, "mangle", "INPUT", Placement::First, "-j op-one")],
        &[],
    ) } }));
    assert_eq!(tables(), "");
    node.apply();
    let made = tables();
    assert!(made.contains("mangle") && made.lines().count() == 1, "{made}");
    node.plan(0);
    assert_eq!(tables(), made);
}
