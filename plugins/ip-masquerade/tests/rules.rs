//! What the policy asks for.

use ip_masquerade::IpMasquerade;
use ruleward_sdk::{Families, log};
use ruleward_testing::Node;
use serde_json::json;

#[test]
fn private_networks_keep_their_source_and_the_rest_is_masqueraded() {
    assert_eq!(
        Node::new().text::<IpMasquerade>(),
        "# IPv4\n\
         *nat\n\
         :ipm-postrouting - [0:0]\n\
         # after others' rules\n\
         -A POSTROUTING -m comment --comment \"ipm: leaves this node\" -m addrtype ! --dst-type LOCAL -j ipm-postrouting\n\
         -A ipm-postrouting -d 169.254.0.0/16 -j RETURN\n\
         -A ipm-postrouting -d 10.0.0.0/8 -j RETURN\n\
         -A ipm-postrouting -d 172.16.0.0/12 -j RETURN\n\
         -A ipm-postrouting -d 192.168.0.0/16 -j RETURN\n\
         -A ipm-postrouting -j MASQUERADE --random-fully\n\
         COMMIT\n"
    );
}

#[test]
fn sources_interfaces_and_ipv6_as_the_settings_say() {
    let node = Node::new().settings(&json!({
        "non-masquerade": ["10.244.0.0/16", "fd00::/8"],
        "masquerade-link-local": true,
        "sources": ["10.244.0.0/16", "fd00:1::/64"],
        "out-interface": "eth+",
        "ipv6": true,
    }));
    let old = node.clone().with(|facts| facts.system.random_fully = false);
    assert_eq!(
        node.chain::<IpMasquerade>("IPv6", "ipm-postrouting"),
        ["-d fd00::/8 -j RETURN", "-o eth+ -s fd00:1::/64 -j MASQUERADE --random-fully"]
    );
    assert_eq!(
        old.chain::<IpMasquerade>("IPv4", "ipm-postrouting"),
        ["-d 10.244.0.0/16 -j RETURN", "-o eth+ -s 10.244.0.0/16 -j MASQUERADE"]
    );
}

#[test]
fn a_setting_without_effect_is_a_warning() {
    let warnings = |settings: serde_json::Value, families: Families| {
        log::take();
        let node = Node::new().settings(&settings).with(|facts| facts.system.families = families);
        let _ = node.text::<IpMasquerade>();
        log::take().into_iter().map(|(_, message)| message).collect::<Vec<_>>()
    };
    for (settings, families, expected) in [
        (json!({}), Families::all(), &[][..]),
        (json!({ "sources": ["10.0.0.0/8", "fd00::/8"], "ipv6": true }), Families::all(), &[]),
        (
            json!({ "sources": ["fd00::/8"] }),
            Families::all(),
            &[
                "no IPv4 packet is masqueraded",
                "IPv6 networks in `sources` (1) have no effect: IPv6 is not masqueraded",
            ],
        ),
        (
            json!({ "non-masquerade": ["10.0.0.0/8", "fd00::/8"] }),
            Families::all(),
            &["IPv6 networks in `non-masquerade` (1) have no effect: IPv6 is not masqueraded"],
        ),
        (
            json!({ "sources": ["10.0.0.0/8", "fd00::/8"], "ipv6": true }),
            Families::IPV4,
            &["IPv6 networks in `sources` (1) have no effect: this node", "`ipv6 = true` has no effect"],
        ),
        (json!({ "sources": ["10.0.0.0/8"], "ipv6": true }), Families::all(), &["no IPv6 packet is masqueraded"]),
    ] {
        let found = warnings(settings.clone(), families);
        assert_eq!(found.len(), expected.len(), "{settings}: {found:?}");
        for (message, words) in found.iter().zip(expected) {
            assert!(message.contains(words), "{settings}: {found:?}");
        }
    }
}
