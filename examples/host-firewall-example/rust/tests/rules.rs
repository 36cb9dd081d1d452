//! What the policy asks for, natively.

use host_firewall_example::HostFirewallExample;
use ruleward_testing::Node;
use serde_json::json;

#[test]
fn ports_are_open_to_the_set_and_the_rest_is_logged_and_dropped() {
    let node = Node::new().settings(&json!({ "admit": ["192.0.2.0/24", "2001:db8::1"], "ports": [22, 443] }));
    assert_eq!(
        node.chain::<HostFirewallExample>("IPv6", "hfe-input"),
        [
            "-i lo -j ACCEPT",
            "-m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
            "-p 58 -j ACCEPT",
            "-p 6 -m tcp --dport 22 -m set --match-set hfe-admitted6 src -j ACCEPT",
            "-p 6 -m tcp --dport 443 -m set --match-set hfe-admitted6 src -j ACCEPT",
            "-m limit --limit 10/minute -j LOG --log-prefix \"host-firewall: \" --log-level warning",
            "-j DROP",
        ]
    );
    assert!(node.text::<HostFirewallExample>().contains("add hfe-admitted4 192.0.2.0/24\n"));
}

#[test]
fn every_address_is_refused() {
    let node = Node::new().settings(&json!({ "admit": ["192.0.2.1", "::/0"], "ports": [22] }));
    assert_eq!(
        node.refusal::<HostFirewallExample>(),
        "setting /admit/1: is every address, which a set can't hold; write its two halves"
    );
}
