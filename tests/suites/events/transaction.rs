//! A change of policy is one change of the kernel: whoever reads in a loop sees the old state or the new one, across
//! all tables and both families.

use ruleward_tests::policies::{attachment, chain, set, static_rules};
use ruleward_tests::trial;
use ruleward_tests::{Backend, Family, Node, Placement};
use serde_json::{Value, json};

/// Table, hook, chain, and whether the jump is last.
const PLACES: [(&str, &str, &str, Placement); 5] = [
    ("raw", "PREROUTING", "op-raw", Placement::First),
    ("mangle", "FORWARD", "op-mark", Placement::First),
    ("nat", "POSTROUTING", "op-post", Placement::Last),
    ("filter", "INPUT", "op-in", Placement::First),
    ("security", "OUTPUT", "op-out", Placement::Last),
];

/// In every place something else in each version: rules, one chain more, a jump with another condition.
fn version(number: u16) -> Value {
    let (mut chains, mut attachments) = (Vec::new(), Vec::new());
    for (table, hook, name, placement) in PLACES {
        let mut rules: Vec<_> = (0..20).map(|n| format!("-p tcp --dport {} -j RETURN", 1000 * number + n)).collect();
        rules.push(format!("-m mark --mark 0x{number} -j RETURN"));
        chains.push(chain(None, table, name, &rules));
        chains.push(chain(None, table, &format!("{name}-{number}"), &rules));
        attachments.push(attachment(None, table, hook, placement, &format!("-m mark --mark 0x{number} -j {name}")));
        attachments.push(attachment(None, table, hook, placement, &format!("-j {name}-{number}")));
    }
    let mut sets = Vec::new();
    for (family, name) in [(Family::Ipv4, "op-four"), (Family::Ipv6, "op-six")] {
        sets.push(set(family, name, "hash:ip", &[&family.address(1)]));
        let rule = format!("-m set --match-set {name} src -m mark --mark 0x{number} -j DROP");
        chains.push(chain(family, "filter", &format!("{name}-drop"), &[rule]));
    }
    json!({ "web": static_rules(&chains, &attachments, &sets) })
}

trial!("events::nft::transaction::old_or_new_and_nothing_between", old_or_new_and_nothing_between());
fn old_or_new_and_nothing_between() {
    let node = Node::new(Backend::Nft);
    node.configure(json!({ "policies": version(1) }));
    node.apply();
    let mut places = Vec::new();
    for family in Family::ALL {
        for (table, hook, name, _) in PLACES {
            for chain in [hook, name, &format!("{name}-1"), &format!("{name}-2")] {
                places.push(format!("{family}:{table}:{chain}"));
            }
        }
    }
    places.extend(["ipv4:filter:op-four-drop".to_owned(), "ipv6:filter:op-six-drop".to_owned()]);
    let words: Vec<_> = std::iter::once("watch-dump").chain(places.iter().map(String::as_str)).collect();
    let mut reader = node.raw(&words).start();
    let mut states = vec![state(&reader.line())];
    let rounds = 10;
    for round in 0..rounds {
        node.set("policies", version(if round % 2 == 0 { 2 } else { 1 }));
        assert_eq!(node.apply().outcome, "changed");
        // The reader is never far behind; what it sees late it sees before it ends.
        states.push(state(&reader.line()));
    }
    states.extend(reader.finish().iter().filter(|line| line.starts_with("state ")).map(|line| state(line)));
    let (old, new) = (states[0].clone(), states.last().cloned().unwrap_or_default());
    assert_eq!(old, new, "after an even number of changes all is as at first: {states:?}");
    let new = &states[1];
    for (number, state) in states.iter().enumerate() {
        let expected = if number % 2 == 0 { &old } else { new };
        assert_eq!(state, expected, "state {number} is neither the old one nor the new one: {states:?}");
    }
    assert_eq!(states.len(), rounds + 1, "{states:?}");
}

/// `state GENERATION DIGEST`: the digest.
#[track_caller]
fn state(line: &str) -> String {
    let digest = line.strip_prefix("state ").and_then(|rest| rest.split(' ').nth(1));
    digest.unwrap_or_else(|| panic!("the reader said `{line}`")).to_owned()
}
