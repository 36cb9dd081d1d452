//! What the policy asks for, and what it refuses.

use port_forward::PortForward;
use ruleward_sdk::{Families, log};
use ruleward_testing::Node;
use serde_json::{Value, json};

fn node(forwards: Value) -> Node {
    Node::new()
        .interface("eth0", &["203.0.113.5/24"])
        .interface("eth1", &["10.0.0.1/24", "fd00::1/64"])
        .settings(&json!({ "forwards": forwards }))
}

#[test]
fn a_port_goes_to_its_target_from_outside_inside_and_here() {
    let node = node(json!([{ "port": 8080, "to": "10.0.0.9", "to-port": 80 }]));
    assert_eq!(
        node.text::<PortForward>(),
        "# IPv4\n\
         *nat\n\
         :pf-dnat - [0:0]\n\
         :pf-hairpin - [0:0]\n\
         # before others' rules\n\
         -A PREROUTING -m comment --comment \"pf: for this node\" -m addrtype --dst-type LOCAL -j pf-dnat\n\
         # before others' rules\n\
         -A OUTPUT -m comment --comment \"pf: from this node\" -m addrtype --dst-type LOCAL ! -d 127.0.0.0/8 -j pf-dnat\n\
         # before others' rules\n\
         -A POSTROUTING -m comment --comment \"pf: hairpin\" -m conntrack --ctstate DNAT -j pf-hairpin\n\
         -A pf-dnat -p 6 -m tcp --dport 8080 -j DNAT --to-destination 10.0.0.9:80\n\
         -A pf-hairpin -p 6 -s 10.0.0.0/24 -d 10.0.0.9/32 -m tcp --dport 80 -j MASQUERADE --random-fully\n\
         COMMIT\n\
         # IPv4\n\
         *filter\n\
         :pf-forward - [0:0]\n\
         # before others' rules\n\
         -A FORWARD -m comment --comment \"pf: forwarded\" -m conntrack --ctstate DNAT -j pf-forward\n\
         -A pf-forward -p 6 -d 10.0.0.9/32 -m tcp --dport 80 -j ACCEPT\n\
         -A pf-forward -m conntrack --ctstate RELATED,ESTABLISHED --ctproto 6 --ctreplsrc 10.0.0.9 --ctreplsrcport 80 \
         -j ACCEPT\n\
         COMMIT\n"
    );
}

#[test]
fn ranges_keep_their_ports_and_sources_are_rules_of_their_own() {
    let node = node(json!([
        { "protocol": "udp", "port": "6000-6009", "to": "fd00::9", "from": ["2001:db8:1::/48", "2001:db8:2::/48"] }
    ]));
    assert_eq!(
        node.chain::<PortForward>("IPv6", "pf-dnat"),
        [
            "-p 17 -m udp --dport 6000:6009 -s 2001:db8:1::/48 -j DNAT --to-destination fd00::9",
            "-p 17 -m udp --dport 6000:6009 -s 2001:db8:2::/48 -j DNAT --to-destination fd00::9",
        ]
    );
    assert_eq!(
        node.chain::<PortForward>("IPv6", "pf-hairpin"),
        ["-p 17 -s fd00::/64 -d fd00::9/128 -m udp --dport 6000:6009 -j MASQUERADE --random-fully"]
    );
}

#[test]
fn what_can_not_be_is_refused_by_its_place() {
    for (forwards, reason) in [
        (json!([{ "port": "1-9", "to": "10.0.0.9", "to-port": 80 }]), "setting /forwards/0/to-port: is for a single"),
        (json!([{ "port": 1, "to": "10.0.0.9", "from": ["::/0"] }]), "setting /forwards/0/from/0: is of another"),
        (
            json!([{ "port": "80-90", "to": "10.0.0.9" }, { "port": 85, "to": "10.0.0.8" }]),
            "setting /forwards/1/port: is taken by /forwards/0",
        ),
        (json!([{ "port": "eighty", "to": "10.0.0.9" }]), "setting /forwards/0/port: \"eighty\" is no port"),
    ] {
        let refusal = node(forwards).refusal::<PortForward>();
        assert!(refusal.starts_with(reason), "{refusal}");
    }
}

#[test]
fn a_forward_to_a_family_that_the_node_lacks_is_a_warning() {
    log::take();
    let node = node(json!([{ "port": 80, "to": "fd00::9" }])).with(|facts| facts.system.families = Families::IPV4);
    assert_eq!(node.text::<PortForward>(), "");
    let warnings = log::take();
    assert!(warnings[0].1.contains("1 forwards to IPv6 targets have no effect"), "{warnings:?}");
}
