//! What the policy asks for, and what it refuses.

use host_firewall::HostFirewall;
use ruleward_sdk::log;
use ruleward_testing::Node;
use serde_json::{Value, json};

fn node(settings: Value) -> Node {
    Node::new().settings(&settings)
}

#[test]
fn without_settings_ssh_stays_open_and_the_rest_is_dropped() {
    let node = node(json!({}));
    assert_eq!(
        node.chain::<HostFirewall>("IPv4", "hfw-input"),
        [
            "-i lo -j ACCEPT",
            "-m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
            "-p 1 -j hfw-icmp",
            "-m conntrack --ctstate INVALID -j DROP",
            "-p 17 -m udp --sport 67 -m udp --dport 68 -j ACCEPT",
            "-p 6 -m tcp --dport 22 -m hashlimit --hashlimit-upto 20/minute --hashlimit-burst 20 --hashlimit-mode srcip \
             --hashlimit-name hfw4-ssh -j ACCEPT",
            "-m limit --limit 10/minute -j LOG --log-prefix \"hfw no zone: \" --log-level warning",
            "-j DROP",
        ]
    );
    assert_eq!(node.chain::<HostFirewall>("IPv4", "hfw-icmp").len(), 4);
    let v6 = node.chain::<HostFirewall>("IPv6", "hfw-icmp");
    assert!(v6.contains(&"-p 58 -m icmp6 --icmpv6-type 135 -j ACCEPT".to_owned()), "{v6:?}");
}

#[test]
fn a_packet_goes_to_the_first_zone_that_it_fits() {
    let node = node(json!({
        "zones": [
            { "name": "cluster", "interfaces": ["eth1"], "sources": ["10.0.0.0/8", "fd00::/8"],
              "services": ["kubelet", "node-ports"] },
            { "name": "web", "services": [{ "service": "https", "limit": 100 }, "8000-8099/tcp"] },
        ],
        "ssh": { "from": ["10.0.0.0/8"], "limit": 0 },
        "otherwise": "reject",
        "log": false,
    }));
    assert_eq!(
        node.chain::<HostFirewall>("IPv4", "hfw-input")[5..],
        [
            "-p 6 -m tcp --dport 22 -s 10.0.0.0/8 -j ACCEPT",
            "-i eth1 -s 10.0.0.0/8 -g hfw-cluster",
            "-g hfw-web",
            "-j REJECT --reject-with icmp-admin-prohibited",
        ]
    );
    assert_eq!(
        node.chain::<HostFirewall>("IPv6", "hfw-cluster"),
        [
            "-p 6 -m tcp --dport 10250 -j ACCEPT",
            "-p 6 -m tcp --dport 30000:32767 -j ACCEPT",
            "-p 17 -m udp --dport 30000:32767 -j ACCEPT",
            "-j REJECT --reject-with icmp6-adm-prohibited",
        ]
    );
    let web = node.chain::<HostFirewall>("IPv4", "hfw-web");
    assert!(web[0].starts_with("-p 6 -m tcp --dport 443 -m hashlimit --hashlimit-upto 100/minute"), "{web:?}");
    assert_eq!(web[1], "-p 6 -m tcp --dport 8000:8099 -j ACCEPT");
}

#[test]
fn ssh_is_shut_out_only_by_the_setting_that_says_so() {
    let open = |settings: Value| {
        let rules = node(settings).chain::<HostFirewall>("IPv4", "hfw-input");
        rules.iter().any(|rule| rule.contains("--dport 22 ") && rule.ends_with("-j ACCEPT"))
    };
    assert!(open(json!({ "zones": [{ "name": "all", "services": [] }] })));
    assert!(!open(json!({ "ssh": { "enabled": false } })));
}

#[test]
fn what_can_not_be_is_refused_by_its_place() {
    for (settings, reason) in [
        (
            json!({ "zones": [{ "name": "a", "services": ["htps"] }] }),
            "setting /zones/0/services/0: \"htps\" is no service; write a port (8080/tcp",
        ),
        (json!({ "zones": [{ "name": "a" }, { "name": "b" }] }), "setting /zones/0: takes every packet"),
        (
            json!({ "zones": [{ "name": "a", "interfaces": ["x"] }, { "name": "a" }] }),
            "setting /zones/1/name: is the name of an earlier zone",
        ),
    ] {
        let refusal = node(settings).refusal::<HostFirewall>();
        assert!(refusal.starts_with(reason), "{refusal}");
    }
}

#[test]
fn answers_to_the_dhcp_client_are_admitted_unless_a_setting_says_otherwise() {
    let v6 = "-p 17 -s fe80::/10 -d fe80::/10 -m udp --sport 547 -m udp --dport 546 -j ACCEPT".to_owned();
    assert!(node(json!({})).chain::<HostFirewall>("IPv6", "hfw-input").contains(&v6));
    let off = node(json!({ "dhcp-client": false }));
    for family in ["IPv4", "IPv6"] {
        let rules = off.chain::<HostFirewall>(family, "hfw-input");
        assert!(!rules.iter().any(|rule| rule.contains("--dport 68") || rule.contains("--dport 546")), "{rules:?}");
    }
}

#[test]
fn ssh_that_is_closed_over_a_family_is_a_warning() {
    log::take();
    let _ = node(json!({ "ssh": { "from": ["10.0.0.0/8"] } })).text::<HostFirewall>();
    let warnings = log::take();
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].1.contains("SSH is closed over IPv6"), "{warnings:?}");
}
