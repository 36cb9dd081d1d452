//! What can change of a policy, and of the rest of the configuration: settings, grants, limits, mode, the policies
//! themselves, keys of the daemon, interfaces.

use std::fs;

use ruleward_tests::policies::{attachment, chain, static_rules};
use ruleward_tests::save::assert_same;
use ruleward_tests::trial;
use ruleward_tests::{Backend, Family, Netns, Placement, poll};
use serde_json::{Value, json};

use super::{comes_into_force, node, policy, variant};

trial!(
    for backend in Backend::ALL,
    "reload::policies::{backend}::unchanged_rules_keep_their_counters",
    unchanged_rules_keep_their_counters(backend)
);
fn unchanged_rules_keep_their_counters(backend: Backend) {
    let (node, _daemon) = node(backend);
    let two = |port: u16| {
        let rules = ["-i lo -p udp --dport 9 -j RETURN".to_owned(), format!("-p tcp --dport {port} -j RETURN")];
        let mut two = policy("op", 80);
        two["settings"]["chains"] = json!([chain(None, "filter", "op-in", &rules)]);
        json!({ "web": two })
    };
    node.set("policies", two(81));
    comes_into_force(&node, "op", 81);
    node.net.run(|| {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
        for _ in 0..3 {
            socket.send_to(b"!", "127.0.0.1:9").expect("it is sent");
        }
    });
    let counted = || node.save_exact(Family::Ipv4, "filter").contains("[3:87] -A op-in -i lo");
    assert!(counted(), "three packets were not counted:\n{}", node.save_exact(Family::Ipv4, "filter"));
    node.set("policies", two(82));
    comes_into_force(&node, "op", 82);
    assert!(counted(), "the count is lost:\n{}", node.save_exact(Family::Ipv4, "filter"));
}

trial!(
    for backend in Backend::ALL,
    "reload::policies::{backend}::added_removed_and_switched_off",
    added_removed_and_switched_off(backend)
);
fn added_removed_and_switched_off(backend: Backend) {
    let (node, daemon) = node(backend);
    let alone = node.save_all();
    fs::write(node.path("db.wasm"), variant(1)).expect("writable");
    let both = |mode: &str| {
        let mut db = policy("db", 5432);
        db["mode"] = json!(mode);
        db["settings"]["sets"] =
            json!([ruleward_tests::policies::set(Family::Ipv4, "db-set", "hash:ip", &["10.0.0.1"])]);
        json!({ "web": policy("op", 80), "db": db })
    };
    node.set("policies", both("enforce"));
    comes_into_force(&node, "db", 5432);
    let together = node.save_all();
    node.set("policies", both("off"));
    poll("db is gone", || (node.save_all() == alone).then_some(()));
    node.set("policies", both("enforce"));
    poll("db is back", || (node.save_all() == together).then_some(()));
    node.set("policies", json!({ "web": policy("op", 80) }));
    poll("db is gone again", || (node.save_all() == alone).then_some(()));
    // What it owned is nobody's now.
    node.stranger(Family::Ipv4).new_chain("filter", "db-mine");
    daemon.refresh();
    assert!(node.save(Family::Ipv4, "filter").contains(":db-mine"), "a stranger's chain was removed");
}

trial!(
    for backend in Backend::ALL,
    "reload::policies::{backend}::grants_grow_and_shrink",
    grants_grow_and_shrink(backend)
);
fn grants_grow_and_shrink(backend: Backend) {
    let (node, daemon) = node(backend);
    let alone = node.save_all();
    let mut more = static_rules(
        &[
            chain(None, "filter", "op-in", &["-p tcp --dport 80 -j RETURN"]),
            chain(None, "mangle", "more-mark", &["-j RETURN"]),
        ],
        &[
            attachment(None, "filter", "INPUT", Placement::First, "-j op-in"),
            attachment(None, "mangle", "PREROUTING", Placement::First, "-j more-mark"),
        ],
        &[],
    );
    more["component"] = json!("./op.wasm");
    more["grants"] = json!({ "tables": ["filter", "nat", "mangle"], "chains": ["op-*", "more-*"], "sets": ["op-*"] });
    node.set("policies", json!({ "web": more }));
    let marks = |family| node.save(family, "mangle").contains("-A PREROUTING -m comment --comment \"rw:web:");
    poll("mangle has the mark", || (marks(Family::Ipv4) && marks(Family::Ipv6)).then_some(()));
    node.set("policies", json!({ "web": policy("op", 80) }));
    poll("what is not granted any more is gone", || (node.save_all() == alone).then_some(()));
    daemon.refresh().assert_unchanged();
}

trial!(
    for backend in Backend::ALL,
    "reload::policies::{backend}::a_name_changes_its_owner",
    a_name_changes_its_owner(backend)
);
/// Both policies change at once: what the one gives up the other takes.
fn a_name_changes_its_owner(backend: Backend) {
    let (node, daemon) = node(backend);
    fs::write(node.path("db.wasm"), variant(1)).expect("writable");
    let with = |mut policy: Value, pattern: Option<&str>| {
        if let Some(pattern) = pattern {
            let chains = policy["grants"]["chains"].as_array_mut().expect("it is a list");
            chains.push(json!(pattern));
            let all = policy["settings"]["chains"].as_array_mut().expect("it is a list");
            all.push(chain(None, "filter", "both-ways", &["-j RETURN"]));
        }
        policy
    };
    let policies = |web, db| json!({ "web": with(policy("op", 80), web), "db": with(policy("db", 5432), db) });
    node.set("policies", policies(Some("both-*"), None));
    comes_into_force(&node, "db", 5432);
    let before = node.save_all();
    assert!(before.contains("both-ways"), "{before}");
    node.set("policies", policies(None, Some("both-*")));
    let report = daemon.reload(0);
    assert!(report.in_sync && report.policies.iter().all(|policy| policy.candidate.is_none()), "{report:#?}");
    assert_same("everything, with another owner,", &before, &node.save_all());
}

trial!("reload::policies::keys_of_the_daemon", keys_of_the_daemon());
fn keys_of_the_daemon() {
    let (node, daemon) = node(Backend::Nft);
    node.set("refresh-interval", json!("2s"));
    let checks = daemon.status().checks;
    daemon.wait_until("checking every two seconds", |status| status.checks > checks + 2);
    node.set("node-name", json!("another"));
    daemon.wait_until("called another", |status| status.node_name == "another");
    node.set("lock-timeout", json!("5m"));
    daemon.wait_until("telling what waits for a restart", |status| {
        status.report.notes.iter().any(|note| note.contains("takes effect at a restart: lock-timeout"))
    });
    node.set("lock-timeout", json!("10m"));
    daemon.wait_until("telling of nothing that waits", |status| {
        !status.report.notes.iter().any(|note| note.contains("restart"))
    });
}

trial!("reload::policies::an_interface_makes_a_check", an_interface_makes_a_check());
/// No policy that ships looks at interfaces, so what the daemon says has to do.
fn an_interface_makes_a_check() {
    let (node, daemon) = node(Backend::Nft);
    let checks = || daemon.log().matches("check after a change").count();
    let before = checks();
    let other = Netns::new();
    node.net.join("rw-test0", &other, "eth0");
    poll("a check after a link came", || (checks() > before).then_some(()));
    let before = checks();
    node.net.ip("addr add 192.0.2.1/24 dev rw-test0");
    poll("a check after an address came", || (checks() > before).then_some(()));
}
