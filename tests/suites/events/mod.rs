//! Nobody asks for a check, and the next periodic one is an hour away: what comes back here comes back because the
//! daemon heard of the damage itself. And what it says of it: who, what, how often.

mod actors;
mod awaited;
mod calm;
mod counted;
mod fights;
mod foreign_sets;
mod journal;
mod leaks;
mod lost;
mod named;
mod odd_rules;
mod other_tables;
mod poison;
mod races;
mod shown;
mod sweep;
mod transaction;

use std::sync::Arc;

use ruleward_tests::policies::{attachment, chain, static_rules};
use ruleward_tests::save::assert_same;
use ruleward_tests::trials;
use ruleward_tests::{Backend, Daemon, Family, Node, Placement, try_poll};
use serde_json::{Value, json};

use crate::matrix::{self, Mode};
use crate::strangers::jump;

trials!(|| matrix::cases(Mode::ByEvents));

/// Where our jumps are in [`policy`]: table, hook, the chain that they go to.
pub(crate) const JUMPS: [(&str, &str, &str); 4] = [
    ("filter", "INPUT", "op-in"),
    ("nat", "POSTROUTING", "op-post"),
    ("mangle", "PREROUTING", "op-mark"),
    ("security", "OUTPUT", "op-out"),
];

/// A chain of two rules and a jump to it in each of four tables.
fn policy() -> Value {
    let rules = ["-p tcp --dport 80 -m comment --comment web -j RETURN", "-m mark --mark 0x1 -j RETURN"];
    let chains = JUMPS.map(|(table, _, name)| chain(None, table, name, &rules));
    let attachments = JUMPS.map(|(table, hook, name)| {
        let placement = if hook == "POSTROUTING" { Placement::Last } else { Placement::First };
        attachment(None, table, hook, placement, &format!("-j {name}"))
    });
    json!({ "web": static_rules(&chains, &attachments, &[]) })
}

/// A node under [`policy`] with a stranger's rule beside each jump, these keys configured, and a daemon that nobody
/// asks.
#[track_caller]
pub(crate) fn quiet_node(backend: Backend, keys: &[(&str, Value)]) -> (Arc<Node>, Daemon) {
    let node = Node::new(backend);
    for family in Family::ALL {
        for (table, hook, _) in JUMPS {
            node.stranger(family).append(table, hook, &format!("-s {} -j RETURN", family.address(100)));
        }
    }
    node.configure(json!({ "refresh-interval": "1h", "watch": "auto", "policies": policy() }));
    for (key, value) in keys {
        node.set(key, value.clone());
    }
    let daemon = settled(&node);
    (node, daemon)
}

/// A daemon that finds all in order when it starts. After each write a daemon looks again by itself, soon and then ever
/// more rarely; this one has written nothing, so the first damage is one that it must hear of.
#[track_caller]
fn settled(node: &Arc<Node>) -> Daemon {
    node.apply();
    let daemon = node.daemon();
    let status = daemon.status();
    assert_eq!(status.report.outcome, "unchanged", "{status:#?}");
    daemon
}

/// Words for `iptables -t TABLE` that delete one of our jumps: the whole jump, so that no other rule can be meant.
#[track_caller]
fn deletion(node: &Node, family: Family, (table, hook, target): (&str, &str, &str)) -> String {
    format!("-D {hook} {}", jump(node, family, table, hook, target))
}

/// Waits until the table is `expected` without asking for it; shows the difference if it never is.
#[track_caller]
fn comes_back(node: &Node, family: Family, table: &str, expected: &str) {
    let mut last = String::new();
    let found = try_poll(|| {
        last = node.save(family, table);
        (last == expected).then_some(())
    });
    if found.is_none() {
        assert_same(&format!("{family} {table}, long after the damage,"), expected, &last);
    }
}

/// The same for all tables and both families.
#[track_caller]
fn all_comes_back(node: &Node, expected: &str) {
    let mut last = String::new();
    let found = try_poll(|| {
        last = node.save_all();
        (last == expected).then_some(())
    });
    if found.is_none() {
        assert_same("everything, long after the damage,", expected, &last);
    }
}
