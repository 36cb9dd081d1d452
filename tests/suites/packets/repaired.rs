//! Each table, built-in chain and family: switched off, unhooked, hung elsewhere, and a chain of ours hung up. While the
//! daemon runs, and before it starts; with netlink, and where only the stock tools write rules.

use ruleward_tests::policies::{attachment, chain, static_rules};
use ruleward_tests::traffic::{Place, Transport, at};
use ruleward_tests::trial;
use ruleward_tests::{Backend, Family, Node, Placement, TABLES, Traffic};
use serde_json::json;

use super::{awaits, comes_back, hooks, nft, node, own, probe, rules, shape};

/// What is done to a table, given one of its built-in chains.
struct Damage {
    name: &'static str,
    /// The commands of nft.
    commands: fn(Family, &str, &str) -> Option<Vec<String>>,
    kind: &'static str,
    /// Where the incident is told: the chain, or the whole table.
    chain: fn(&str) -> String,
}

const DAMAGES: [Damage; 6] = [
    Damage { name: "dormant", commands: dormant, kind: "table-dormant", chain: |_| String::new() },
    Damage { name: "unhooked", commands: unhooked, kind: "base-chain-changed", chain: str::to_owned },
    Damage { name: "other_priority", commands: other_priority, kind: "base-chain-changed", chain: str::to_owned },
    Damage { name: "other_hook", commands: other_hook, kind: "base-chain-changed", chain: str::to_owned },
    Damage { name: "other_type", commands: other_type, kind: "base-chain-changed", chain: str::to_owned },
    Damage { name: "our_chain_hung_up", commands: hung_up, kind: "base-chain-changed", chain: own },
];

fn dormant(family: Family, table: &str, _: &str) -> Option<Vec<String>> {
    Some(vec![format!("add table {} {table} {{ flags dormant; }}", family.ip())])
}

/// A foreign rule that goes with the chain wherever it hangs, and comes back with it.
fn foreign(family: Family, table: &str, hook: &str) -> String {
    let ip = family.ip();
    format!("add rule {ip} {table} {hook} {ip} saddr {} counter return", family.address(100))
}

/// The chain is made anew, with foreign rules alone.
fn anew(family: Family, table: &str, hook: &str, definition: &str) -> Vec<String> {
    let ip = family.ip();
    vec![
        format!("flush chain {ip} {table} {hook}"),
        format!("delete chain {ip} {table} {hook}"),
        format!("add chain {ip} {table} {hook} {definition}"),
        foreign(family, table, hook),
    ]
}

fn unhooked(family: Family, table: &str, hook: &str) -> Option<Vec<String>> {
    Some(anew(family, table, hook, ""))
}

/// As iptables makes it.
fn usual_type(table: &str, hook: &str) -> &'static str {
    match (table, hook) {
        ("nat", _) => "nat",
        ("mangle", "OUTPUT") => "route",
        _ => "filter",
    }
}

fn other_priority(family: Family, table: &str, hook: &str) -> Option<Vec<String>> {
    let (kind, word) = (usual_type(table, hook), hook.to_lowercase());
    Some(anew(family, table, hook, &format!("{{ type {kind} hook {word} priority 7; }}")))
}

fn other_hook(family: Family, table: &str, hook: &str) -> Option<Vec<String>> {
    let other = if hook == "INPUT" { "prerouting" } else { "input" };
    let kind = if table == "nat" { "nat" } else { "filter" };
    Some(anew(family, table, hook, &format!("{{ type {kind} hook {other} priority 0; }}")))
}

fn other_type(family: Family, table: &str, hook: &str) -> Option<Vec<String>> {
    let other = match (table, hook) {
        (_, "FORWARD") => return None, // the kernel has no other type there
        ("nat", _) | ("mangle", "OUTPUT") => "filter",
        _ => "nat",
    };
    Some(anew(family, table, hook, &format!("{{ type {other} hook {} priority 0; }}", hook.to_lowercase())))
}

fn hung_up(family: Family, table: &str, hook: &str) -> Option<Vec<String>> {
    let (ip, chain) = (family.ip(), own(hook));
    let kind = if table == "nat" { "nat" } else { "filter" };
    Some(vec![
        format!("flush chain {ip} {table} {hook}"),
        foreign(family, table, hook),
        format!("flush chain {ip} {table} {chain}"),
        format!("delete chain {ip} {table} {chain}"),
        format!("add chain {ip} {table} {chain} {{ type {kind} hook {} priority 9; }}", hook.to_lowercase()),
    ])
}

/// A foreign rule in each built-in chain, so that it shows whether it is lost.
#[track_caller]
fn with_foreign_rules(node: &Node, family: Family, table: &str) {
    for hook in hooks(table) {
        node.stranger(family).append(table, hook, &format!("-s {} -j RETURN", family.address(100)));
    }
}

trial!(
    for family in Family::ALL,
    for table in TABLES,
    for damage @ Damage { name, .. } in &DAMAGES,
    "packets::nft::{family}::{table}::{name}::while_it_runs",
    while_it_runs(family, table, damage, "auto")
);
trial!(
    for family in Family::ALL,
    for table in TABLES,
    for damage @ Damage { name, .. } in &DAMAGES,
    "packets::nft::{family}::{table}::{name}::while_it_runs_without_replay",
    while_it_runs(family, table, damage, "off")
);
#[track_caller]
fn while_it_runs(family: Family, table: &'static str, damage: &Damage, replay: &str) {
    let node = node(Backend::Nft, table, replay);
    with_foreign_rules(&node, family, table);
    node.apply();
    let daemon = node.daemon();
    let (before, saved) = (shape(&node, family, table), node.save(family, table));
    for hook in hooks(table) {
        let Some(commands) = (damage.commands)(family, table, hook) else { continue };
        let mark = daemon.status().mark();
        nft(&node, &commands);
        comes_back(&node, family, table, (&before, &saved));
        daemon.incident_after(&mark, damage.kind, family, table, &(damage.chain)(hook));
    }
    daemon.refresh().assert_unchanged();
    assert!(daemon.status().fights.is_empty(), "nobody undid a repair: {:#?}", daemon.status());
}

trial!(
    for family in Family::ALL,
    for table in TABLES,
    for damage @ Damage { name, .. } in &DAMAGES,
    "packets::nft::{family}::{table}::{name}::before_it_starts",
    before_it_starts(family, table, damage, "auto")
);
/// Our rules stand, and then all of the table is damaged while nobody runs.
#[track_caller]
fn before_it_starts(family: Family, table: &'static str, damage: &Damage, replay: &str) {
    let node = node(Backend::Nft, table, replay);
    with_foreign_rules(&node, family, table);
    node.apply();
    let (before, saved) = (shape(&node, family, table), node.save(family, table));
    hooks(table)
        .into_iter()
        .filter_map(|hook| (damage.commands)(family, table, hook))
        .for_each(|commands| nft(&node, &commands));
    assert_ne!(before, shape(&node, family, table), "it is damaged");
    node.plan(2);
    let daemon = node.daemon();
    comes_back(&node, family, table, (&before, &saved));
    awaits("in sync", || daemon.status().report.in_sync.then_some(()));
    daemon.refresh().assert_unchanged();
}

trial!(
    for family in Family::ALL,
    for table in TABLES,
    for damage @ Damage { name, .. } in &DAMAGES,
    "packets::nft::{family}::{table}::{name}::before_the_first_apply",
    before_the_first_apply(family, table, damage, "off")
);
/// Nothing of ours is there yet.
#[track_caller]
fn before_the_first_apply(family: Family, table: &'static str, damage: &Damage, replay: &str) {
    let right = node(Backend::Nft, table, replay);
    with_foreign_rules(&right, family, table);
    right.apply();
    let (before, saved) = (shape(&right, family, table), right.save(family, table));

    let node = node(Backend::Nft, table, replay);
    with_foreign_rules(&node, family, table);
    for hook in hooks(table) {
        let Some(commands) = (damage.commands)(family, table, hook) else { continue };
        if damage.name == "our_chain_hung_up" {
            nft(&node, &[format!("add chain {} {table} {}", family.ip(), own(hook))]);
        }
        nft(&node, &commands);
    }
    let report = node.apply();
    assert!(report.in_sync, "{report:#?}");
    assert_eq!((shape(&node, family, table), rules(&node, family, table)), (before, saved));
    node.apply().assert_unchanged();
}

/// The damage of this name.
fn damage_named(name: &str) -> &'static Damage {
    DAMAGES.iter().find(|one| one.name == name).expect("it is one of them")
}

trial!(
    for family in Family::ALL,
    for damage in ["dormant", "unhooked", "other_priority"],
    "packets::nft::{family}::filter::{damage}::a_packet_is_rejected_again",
    a_packet_is_rejected_again(family, damage_named(damage))
);
fn a_packet_is_rejected_again(family: Family, damage: &Damage) {
    let node = Node::new(Backend::Nft);
    let chains = [chain(None, "filter", "op-in", &[probe::rule()])];
    let jumps = [attachment(None, "filter", "INPUT", Placement::First, "-j op-in")];
    node.configure(
        json!({ "refresh-interval": "1h", "watch": "auto", "policies": { "web": static_rules(&chains, &jumps, &[]) } }),
    );
    node.apply();
    assert!(probe::is_rejected(&node, family), "by our rule");
    let commands = (damage.commands)(family, "filter", "INPUT").expect("it can be done");
    nft(&node, &commands);
    assert!(damage.name == "other_priority" || !probe::is_rejected(&node, family), "the damage takes effect");
    let before = node.apply();
    assert!(before.in_sync && before.outcome == "changed", "{before:#?}");
    assert!(probe::is_rejected(&node, family), "again, after `apply`");

    let daemon = node.daemon();
    let mark = daemon.status().mark();
    nft(&node, &commands);
    daemon.incident_after(&mark, damage.kind, family, "filter", &(damage.chain)("INPUT"));
    assert!(probe::is_rejected(&node, family), "again, after an event");
}

trial!(
    for family in Family::ALL,
    for damage in ["dormant", "unhooked", "other_priority"],
    "packets::nft::{family}::nat::{damage}::a_packet_is_masqueraded_again",
    a_packet_is_masqueraded_again(family, damage_named(damage))
);
fn a_packet_is_masqueraded_again(family: Family, damage: &Damage) {
    let node = Node::new(Backend::Nft);
    let chains = [chain(None, "nat", "op-post", &["-j MASQUERADE"])];
    let jumps = [attachment(None, "nat", "POSTROUTING", Placement::Last, "-j op-post")];
    node.configure(
        json!({ "refresh-interval": "1h", "watch": "auto", "policies": { "web": static_rules(&chains, &jumps, &[]) } }),
    );
    let daemon = node.daemon();
    let traffic = Traffic::around(&node);
    let source = || traffic.seen(Place::Pod, Place::Outside, family, Transport::Udp).ip();
    assert_eq!(source(), at(Place::Node, family));
    let mark = daemon.status().mark();
    daemon.pause();
    nft(&node, &(damage.commands)(family, "nat", "POSTROUTING").expect("it can be done"));
    assert_eq!(source(), at(Place::Pod, family), "the damage takes effect");
    daemon.resume();
    daemon.incident_after(&mark, damage.kind, family, "nat", &(damage.chain)("POSTROUTING"));
    assert_eq!(source(), at(Place::Node, family), "after the repair");
}
