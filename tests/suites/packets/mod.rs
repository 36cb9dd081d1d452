//! "In sync" is a claim about packets. What decides whether they meet our rules at all is put right like a rule: the flags
//! and the owner of a table, where each built-in chain hangs, and that a chain of ours does not.

mod owned;
mod policies;
mod probe;
mod repaired;
mod stuck;

use std::sync::Arc;

use ruleward_tests::policies::{attachment, chain, static_rules};
use ruleward_tests::save::canonical;
use ruleward_tests::{Backend, Family, HOOKS, Node, Placement, poll};
use serde_json::{Value, json};

/// The built-in chains of a table.
fn hooks(table: &str) -> Vec<&'static str> {
    HOOKS.iter().filter(|(of, _)| *of == table).map(|(_, hook)| *hook).collect()
}

/// The chain of ours that a built-in one leads to.
fn own(hook: &str) -> String {
    format!("op-{}", hook.to_lowercase())
}

/// A chain of ours for each built-in chain of the table, in both families.
fn policy(table: &str) -> Value {
    let rules = ["-p tcp --dport 80 -m comment --comment web -j RETURN", "-m mark --mark 0x1 -j RETURN"];
    let chains: Vec<_> = hooks(table).into_iter().map(|hook| chain(None, table, &own(hook), &rules)).collect();
    let jumps = hooks(table)
        .into_iter()
        .map(|hook| attachment(None, table, hook, Placement::First, &format!("-j {}", own(hook))));
    json!({ "web": static_rules(&chains, &jumps.collect::<Vec<_>>(), &[]) })
}

/// A node under [`policy`] for one table; nobody asks for a check.
fn node(backend: Backend, table: &str, replay: &str) -> Arc<Node> {
    let node = Node::new(backend);
    node.configure(json!({ "refresh-interval": "1h", "watch": "auto", "replay": replay, "policies": policy(table) }));
    node
}

/// Carries out these commands of nft in one transaction.
#[track_caller]
fn nft(node: &Node, commands: &[String]) {
    node.command("nft").args(&["-f", "-"]).input(&(commands.join("\n") + "\n")).must();
}

/// What the table and its chains are besides rules, in nft's words, in order.
#[track_caller]
fn shape(node: &Node, family: Family, table: &str) -> String {
    let list = node.command("nft").args(&["list", "table", family.ip(), table]).output();
    let mut chains = vec![String::new()];
    for line in list.stdout.lines().map(str::trim) {
        if line.starts_with("chain ") {
            chains.push(line.to_owned());
        } else if line.starts_with("type ") || line.starts_with("flags ") {
            let last = chains.last_mut().expect("there is one");
            last.push_str(&format!(" {line}"));
        }
    }
    chains.sort();
    chains.join("\n")
}

/// The rules of the table without counters, also while iptables calls it incompatible.
#[track_caller]
fn rules(node: &Node, family: Family, table: &str) -> String {
    let save = node.command(family.tool(Backend::Nft, "save")).args(&["-c", "-t", table]).output();
    canonical(&save.stdout)
}

/// Waits, without asking for it, until shape and rules of the table are as before.
#[track_caller]
fn comes_back(node: &Node, family: Family, table: &str, (before, wanted): (&str, &str)) {
    let mut last = (String::new(), String::new());
    let found = ruleward_tests::try_poll(|| {
        last = (shape(node, family, table), rules(node, family, table));
        (last.0 == before && last.1 == wanted).then_some(())
    });
    assert!(found.is_some(), "expected\n{before}\n{wanted}\nand it stays\n{}\n{}", last.0, last.1);
}

/// Waits until nothing of ours is left to tell of.
#[track_caller]
fn awaits(what: &str, attempt: impl FnMut() -> Option<()>) {
    poll(what, attempt);
}
