//! What is refused, and how the refusal names it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use ruleward_sdk::{Failure, NftTable};
use support::refusal;
use support::resources::{NODE, felix, pool, workload};

#[test]
fn unusable_resources_are_refused_by_name_and_field() {
    for (yaml, place, reason) in [
        (pool("pool4", "cidr: 192.168.0.0/99"), "IPPool/pool4 spec.cidr", "is not a network"),
        (pool("pool4", "cidr: 5"), "IPPool/pool4 spec.cidr", "write a string"),
        (pool("pool4", "natOutgoing: true"), "IPPool/pool4 spec.cidr", "absent"),
        (pool("pool4", "cidr: 0.0.0.0/0"), "IPPool/pool4 spec.cidr", "every address"),
        (pool("pool4", "cidr: 10.0.0.0/8, natOutgoing: 'yes'"), "IPPool/pool4 spec.natOutgoing", "true or false"),
        (pool("pool4", "cidr: 10.0.0.0/8, ipipMode: Sometimes"), "IPPool/pool4 spec.ipipMode", "CrossSubnet"),
        (pool("pool4", "cidr: 10.0.0.0/8, allowedUses: x"), "IPPool/pool4 spec.allowedUses", "a list"),
        (felix("default", "natPortRange: '9:1'"), "FelixConfiguration/default spec.natPortRange", "32768:65535"),
        (felix("default", "natPortRange: '1-9'"), "FelixConfiguration/default spec.natPortRange", "32768:65535"),
        (
            felix("default", "natOutgoingAddress: here"),
            "FelixConfiguration/default spec.natOutgoingAddress",
            "IP address",
        ),
        (
            felix("default", "chainInsertMode: Prepend"),
            "FelixConfiguration/default spec.chainInsertMode",
            "Insert or Append",
        ),
        (
            felix("default", "wireguardEnabled: maybe"),
            "FelixConfiguration/default spec.wireguardEnabled",
            "true or false",
        ),
        (felix("node.node1", "floatingIPs: Sometimes"), "FelixConfiguration/node.node1 spec.floatingIPs", "Enabled"),
        (
            felix("default", "iptablesNATOutgoingInterfaceFilter: 'eth0 -j DROP'"),
            "FelixConfiguration/default spec.iptablesNATOutgoingInterfaceFilter",
            "not the name of an interface",
        ),
        (felix("default", "bpfEnabled: true"), "FelixConfiguration/default spec.bpfEnabled", "eBPF"),
        (
            felix("default", "featureDetectOverride: MASQFullyRandom=maybe"),
            "FelixConfiguration/default spec.featureDetectOverride",
            "MASQFullyRandom=false",
        ),
        (
            felix("default", "featureDetectOverride: MASQFullyRandom"),
            "FelixConfiguration/default spec.featureDetectOverride",
            "NAME=true",
        ),
        (
            felix("default", "useInternalDataplaneDriver: false"),
            "FelixConfiguration/default spec.useInternalDataplaneDriver",
            "external dataplane",
        ),
        (felix("default", "maxIpsetSize: 0"), "FelixConfiguration/default spec.maxIpsetSize", "from 1"),
        (NODE.replace("192.168.0.2", "192.168.0.x"), "Node/node1 spec.ipv4VXLANTunnelAddr", "is not an IP address"),
        (NODE.replace("192.168.0.2", "'::1'"), "Node/node1 spec.ipv4VXLANTunnelAddr", "is not an IPv4 address"),
        (
            format!("{}{}", NODE.replace("10.10.0.2,", "ten,"), felix("default", "ipipEnabled: true")),
            "Node/node2 spec.addresses[1].address",
            "is not an IP address",
        ),
        (
            format!(
                "{}{}",
                workload("w", "node1", "{externalIP: 172.16.1.3}"),
                felix("default", "floatingIPs: Enabled")
            ),
            "WorkloadEndpoint/shop/w spec.ipNATs[0].internalIP",
            "absent",
        ),
        (
            format!(
                "{}{}",
                workload("w", "node1", "{externalIP: '::2', internalIP: 10.0.0.1}"),
                felix("default", "floatingIPs: Enabled")
            ),
            "WorkloadEndpoint/shop/w spec.ipNATs[0].externalIP",
            "family",
        ),
        ("{apiVersion: x, kind: IPPool, metadata: {name: p}, spec: text}".into(), "IPPool/p spec", "invalid type"),
    ] {
        let (at, message) = refusal(&yaml, "{}");
        assert_eq!(at, place, "{yaml}: {message}");
        assert!(message.contains(reason), "{yaml}: {message}");
    }
}

#[test]
fn unusable_settings_are_refused_by_pointer() {
    for (settings, place) in [
        (r#"{"calico-version":"3.25.0"}"#, "/calico-version"),
        (r#"{"calico-version":"latest"}"#, "/calico-version"),
        (r#"{"felix":{"natPortRange":"x"}}"#, "/felix/natPortRange"),
        (r#"{"calico":1}"#, ""),
    ] {
        assert_eq!(refusal("", settings).0, place, "{settings}");
    }
}

#[test]
fn where_felix_uses_nftables_there_is_nothing_to_keep_or_to_take_over() {
    let yaml = felix("default", "nftablesMode: Enabled");
    let settings = r#"{"calico-version":"3.31.0"}"#;
    let Err(Failure::Waiting(reason)) = support::evaluate(&support::facts_beside_felix(&yaml), settings) else {
        panic!("beside Felix the policy waits")
    };
    assert!(reason.contains("nftablesMode is Enabled"), "{reason}");
    let Err(Failure::Other(reason)) = support::evaluate(&support::facts(&yaml), settings) else {
        panic!("in Felix's place the policy is refused")
    };
    assert!(reason.contains("nftablesMode is Enabled") && reason.contains("nftablesMode: Disabled"), "{reason}");
    // Where Felix decides by itself, its table tells; `Disabled` says that the table is left over.
    let table = || NftTable { family: "ip".into(), name: "calico".into() };
    for (spec, waits) in [("", true), ("nftablesMode: Auto", true), ("nftablesMode: Disabled", false)] {
        let mut facts = support::facts_beside_felix(&felix("default", spec));
        facts.system.nft_tables = vec![NftTable { family: "inet".into(), ..table() }, table()];
        let answer = support::evaluate(&facts, "{}");
        assert_eq!(matches!(&answer, Err(Failure::Waiting(reason)) if reason.contains("table ip calico")), waits);
        facts.granted = support::facts("").granted;
        assert_eq!(matches!(support::evaluate(&facts, "{}"), Err(Failure::Other(_))), waits);
        facts.system.nft_tables = vec![NftTable { family: "inet".into(), ..table() }];
        support::evaluate(&facts, "{}").unwrap();
    }
    for spec in ["nftablesMode: Disabled", "nftablesMode: Auto", ""] {
        support::evaluate(&support::facts(&felix("default", spec)), settings).unwrap();
    }
}
