//! What the daemon remembers of its rules is made wrong behind its back: a rule that uses an address set holds the
//! set's number in the kernel, and the set is made anew under another number while the rule is gone.

use std::net::UdpSocket;

use ruleward_tests::policies::{attachment, chain, set, static_rules};
use ruleward_tests::save::rules_of;
use ruleward_tests::trial;
use ruleward_tests::{Backend, Family, Node, Placement};
use serde_json::json;

use super::{all_comes_back, settled};

fn itself(family: Family) -> &'static str {
    if family == Family::Ipv4 { "127.0.0.1" } else { "::1" }
}

trial!(
    for backend in Backend::ALL,
    for family in Family::ALL,
    "events::{backend}::{family}::poison::a_set_is_gone_and_its_number_taken",
    poisoned(backend, family, false)
);
trial!(
    for backend in Backend::ALL,
    for family in Family::ALL,
    "events::{backend}::{family}::poison::a_set_is_the_same_under_another_number",
    poisoned(backend, family, true)
);
fn poisoned(backend: Backend, family: Family, made_again: bool) {
    let node = Node::new(backend);
    let rule = "-p udp --dport 9 -m set --match-set op-blocked dst -j DROP";
    node.configure(
        json!({ "refresh-interval": "1h", "watch": "auto", "families": [family.to_string()], "policies": { "sets": static_rules(
        &[chain(family, "filter", "op-out", &[rule])],
        &[attachment(family, "filter", "OUTPUT", Placement::First, "-j op-out")],
        &[set(family, "op-blocked", "hash:ip", &[itself(family)])],
    ) } }),
    );
    let daemon = settled(&node);
    let (rules, sets) = (node.save_all(), node.sets());
    assert!(dropped(&node, family) > 0, "the rule works:\n{rules}");

    daemon.pause();
    node.stranger(family).flush_chain("filter", "op-out");
    // The new set takes the first free number, which was ours.
    let inet = family.inet();
    let theirs = format!("create theirs hash:ip family {inet}\n");
    let ours = if made_again { sets.as_str() } else { "" };
    node.load_sets(&format!("destroy op-blocked\n{theirs}{ours}"));
    daemon.resume();

    let theirs: String =
        node.sets().lines().filter(|line| line.contains(" theirs ")).map(|line| format!("{line}\n")).collect();
    assert_eq!(theirs.lines().count(), 1, "{theirs}");
    all_comes_back(&node, &format!("{rules}{theirs}"));
    assert!(dropped(&node, family) > 0, "the rule shows the right text and drops nothing:\n{}", node.save_all());
    daemon.wait_until("in sync", |status| status.report.in_sync);
    node.stranger(family).flush_chain("filter", "op-out");
    all_comes_back(&node, &format!("{rules}{theirs}"));
    assert!(dropped(&node, family) > 0, "repaired once more, it drops nothing:\n{}", node.save_all());
}

/// Sends to itself; how many packets our rule has counted.
fn dropped(node: &Node, family: Family) -> u64 {
    let address = itself(family);
    // A send that is dropped on its way out may fail: that is what is counted.
    node.net.run(|| UdpSocket::bind((address, 0)).and_then(|socket| socket.send_to(b"!", (address, 9)))).ok();
    let save = node.save_exact(family, "filter");
    let line = save.lines().find(|line| line.contains("-A op-out "));
    let line = line.unwrap_or_else(|| panic!("no rule in op-out, of {:?}:\n{save}", rules_of(&save, "op-out")));
    line.trim_start_matches('[').split(':').next().and_then(|count| count.parse().ok()).unwrap_or(0)
}
