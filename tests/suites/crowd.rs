//! A node full of other people's rules, and two versions of a policy beside them.

use std::sync::Arc;

use ruleward_tests::policies::{attachment, chain, set, static_rules};
use ruleward_tests::{Backend, Family, Node, Placement, TABLES};
use serde_json::{Value, json};

/// A node with Docker's, kube-proxy's and hand-written rules in every table, with counters.
pub fn node(backend: Backend) -> Arc<Node> {
    let node = Node::new(backend);
    node.load(Family::Ipv4, include_str!("../data/strangers/ipv4.rules"));
    node.load(Family::Ipv6, include_str!("../data/strangers/ipv6.rules"));
    node.load_sets("create theirs hash:ip\nadd theirs 203.0.113.1\n");
    node
}

/// All that is not ours, byte for byte, counters included. Only the counters of built-in chains' policies are left out
/// on legacy: every write of iptables-legacy zeroes those, also a plain `iptables -A`.
#[track_caller]
pub fn strangers(node: &Node) -> String {
    let mut text = String::new();
    for family in Family::ALL {
        for table in TABLES {
            text += &format!("{family}\n");
            let save = node.save_exact(family, table);
            for line in save.lines().filter(|line| !line.starts_with('#') && !is_ours(line)) {
                let policy = node.backend == Backend::Legacy && line.starts_with(':');
                let line = if policy { line.split(" [").next().unwrap_or(line) } else { line };
                text += &format!("{line}\n");
            }
        }
    }
    let sets = node.sets();
    sets.lines().filter(|line| !is_ours(line)).fold(text, |text, line| text + line + "\n")
}

/// The configuration's policies, in an older version.
pub fn first_version() -> Value {
    let allowed = ["198.51.100.1", "198.51.100.2"];
    policies(
        &[
            chain(
                None,
                "filter",
                "op-in",
                &["-p tcp --dport 80 -j RETURN", "-p tcp --dport 443 -j RETURN", "-j RETURN"],
            ),
            chain(None, "filter", "op-old", &["-j RETURN"]),
            chain(None, "nat", "op-post", &["-p udp --dport 53 -j RETURN", "-p tcp --dport 53 -j RETURN"]),
            chain(None, "mangle", "op-mark", &["-m mark --mark 0x1 -j RETURN"]),
            chain(Family::Ipv4, "raw", "op-raw", &["-m set --match-set op-allowed src -j RETURN"]),
        ],
        &[
            attachment(None, "filter", "INPUT", Placement::First, "-j op-in"),
            attachment(None, "filter", "FORWARD", Placement::First, "-j op-old"),
            attachment(None, "nat", "POSTROUTING", Placement::Last, "-j op-post"),
            attachment(None, "mangle", "PREROUTING", Placement::First, "-j op-mark"),
            attachment(None, "mangle", "POSTROUTING", Placement::Last, "-j op-mark"),
            attachment(Family::Ipv4, "raw", "PREROUTING", Placement::First, "-j op-raw"),
            attachment(None, "security", "OUTPUT", Placement::Last, "-m mark --mark 0x2 -j RETURN"),
        ],
        &[
            set(Family::Ipv4, "op-allowed", "hash:ip", &allowed),
            set(Family::Ipv4, "op-old", "hash:net", &["10.0.0.0/8"]),
        ],
    )
}

/// The newer version: rules changed, chains and sets that come, go and stay, in several tables.
pub fn second_version() -> Value {
    let allowed = ["198.51.100.2", "198.51.100.3"];
    policies(
        &[
            chain(
                None,
                "filter",
                "op-in",
                &["-p tcp --dport 80 -j RETURN", "-p tcp --dport 8443 -j RETURN", "-j RETURN"],
            ),
            chain(None, "filter", "op-new", &["-m mark --mark 0x4 -j RETURN"]),
            chain(None, "nat", "op-post", &["-p udp --dport 53 -j RETURN", "-p tcp --dport 53 -j RETURN"]),
            chain(None, "mangle", "op-mark", &["-m mark --mark 0x8 -j RETURN"]),
            chain(Family::Ipv4, "raw", "op-raw", &["-m set --match-set op-new src -j RETURN"]),
        ],
        &[
            attachment(None, "filter", "INPUT", Placement::First, "-j op-in"),
            attachment(None, "filter", "OUTPUT", Placement::Last, "-j op-new"),
            attachment(None, "nat", "POSTROUTING", Placement::First, "-j op-post"),
            attachment(None, "mangle", "PREROUTING", Placement::First, "-j op-mark"),
            attachment(Family::Ipv4, "raw", "PREROUTING", Placement::First, "-j op-raw"),
        ],
        &[
            set(Family::Ipv4, "op-allowed", "hash:ip", &allowed),
            set(Family::Ipv4, "op-new", "hash:net", &["10.0.0.0/8"]),
        ],
    )
}

fn policies(chains: &[Value], attachments: &[Value], sets: &[Value]) -> Value {
    json!({ "web": static_rules(chains, attachments, sets) })
}

fn is_ours(line: &str) -> bool {
    line.contains("op-") || line.contains("rw:")
}
