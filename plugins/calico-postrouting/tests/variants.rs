//! What the captures do not show: each variant, with identifiers that were computed apart from this crate.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use ruleward_sdk::{Families, Family, Placement, Policy, log};
use support::resources::{NODE, POOL, felix, pool, workload};
use support::{answer, attachment, chain, evaluate, facts, identifiers, set};

#[test]
fn tunnels_come_in_felixs_order() {
    let pools = [
        pool("a", "cidr: 192.168.0.0/17, ipipMode: CrossSubnet"),
        pool("b", "cidr: 192.168.128.0/17, vxlanMode: Always"),
        pool("c", "cidr: 'fd00:10:244::/64', vxlanMode: CrossSubnet"),
        felix("default", "wireguardEnabled: true, wireguardEnabledV6: true"),
    ];
    let contribution = answer(&format!("{NODE}{}", pools.concat()), "{}");
    assert_eq!(
        identifiers(&contribution, Family::Ipv4, "cali-POSTROUTING"),
        ["Z-c7XtVd2Bq7s_hA", "nYKhEzDlr11Jccal", "SXWvdsbh4Mw7wOln", "TLxCLfnmB_gN_OZh", "Cy8TekNUILhtpVtX"]
    );
    assert_eq!(
        identifiers(&contribution, Family::Ipv6, "cali-POSTROUTING"),
        ["Z-c7XtVd2Bq7s_hA", "nYKhEzDlr11Jccal", "MtS-9OgAQy-fAM-w", "nO3hj3qanKHuHxvk"]
    );
    let devices: Vec<String> =
        ["tunl0", "vxlan.calico", "wireguard.cali"].map(|device| format!(" -o {device} ")).into();
    let lines = chain(&contribution, Family::Ipv4, "cali-POSTROUTING");
    for (line, device) in lines[2..].iter().zip(devices) {
        assert!(line.contains(&device), "{line}");
    }
}

#[test]
fn switches_go_before_what_pools_want() {
    let ipip = pool("a", "cidr: 192.168.0.0/16, ipipMode: Always");
    let tunnels =
        |felix: &str| chain(&answer(&format!("{NODE}{ipip}{felix}"), "{}"), Family::Ipv4, "cali-POSTROUTING").len() - 2;
    assert_eq!(tunnels(""), 1);
    assert_eq!(tunnels(&felix("default", "ipipEnabled: false")), 0);
    assert_eq!(tunnels(&felix("default", "ipipEnabled: null")), 1);
    assert_eq!(tunnels(&felix("default", "vxlanEnabled: true")), 2);
    assert_eq!(tunnels(&felix("default", "wireguardEnabled: true, wireguardInterfaceName: wg0")), 2);
    assert_eq!(tunnels(&felix("other", "vxlanEnabled: true")), 1);
}

#[test]
fn this_nodes_configuration_goes_before_the_default() {
    let both = format!(
        "{}{}{}",
        felix("default", "wireguardEnabled: true, ipipEnabled: true"),
        felix("node.node1", "wireguardEnabled: false"),
        felix("node.node2", "ipipEnabled: false")
    );
    let lines = chain(&answer(&format!("{NODE}{both}"), "{}"), Family::Ipv4, "cali-POSTROUTING");
    assert_eq!(lines.len(), 3);
    assert!(lines[2].contains("tunl0"));
    let environment = chain(
        &answer(&format!("{NODE}{both}"), r#"{"felix":{"ipipEnabled":false}}"#),
        Family::Ipv4,
        "cali-POSTROUTING",
    );
    assert_eq!(environment.len(), 2);
}

#[test]
fn annotations_go_before_fields() {
    let yaml = "
apiVersion: projectcalico.org/v3
kind: FelixConfiguration
metadata: {name: default, annotations: {config.projectcalico.org/WireguardEnabled: 'yes', other: x}}
spec: {wireguardEnabled: false}
";
    assert_eq!(chain(&answer(yaml, "{}"), Family::Ipv4, "cali-POSTROUTING").len(), 3);
}

#[test]
fn a_tunnel_without_an_address_has_no_rule() {
    let pools = pool("a", "cidr: 192.168.0.0/16, ipipMode: Always, vxlanMode: Always");
    log::take();
    assert_eq!(chain(&answer(&pools, "{}"), Family::Ipv4, "cali-POSTROUTING").len(), 2);
    let warnings = log::take();
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].1.contains("no Node named \"node1\""), "{}", warnings[0].1);
    answer(&format!("{NODE}{pools}"), "{}");
    assert!(log::take().is_empty());
}

#[test]
fn a_kubernetes_node_is_read_by_its_annotations() {
    let node = "
---
apiVersion: v1
kind: Node
metadata:
  name: node1
  annotations: {projectcalico.org/IPv4Address: 10.10.0.1/24, projectcalico.org/IPv4IPIPTunnelAddr: 192.168.0.1}
spec: {podCIDR: 10.0.0.0/24}
status: {addresses: [{address: node1, type: Hostname}, {address: 10.10.0.9, type: InternalIP}]}
---
apiVersion: v1
kind: Node
metadata: {name: node2}
status: {addresses: [{address: node2, type: Hostname}, {address: 'fd10::2', type: InternalIP}, {address: 10.10.0.2, type: InternalIP}]}
";
    let contribution = answer(&format!("{node}{}", pool("a", "cidr: 192.168.0.0/16, ipipMode: Always")), "{}");
    assert_eq!(chain(&contribution, Family::Ipv4, "cali-POSTROUTING").len(), 3);
    assert_eq!(
        set(&contribution, "cali40all-hosts-net").unwrap()[1..],
        ["add cali40all-hosts-net 10.10.0.1", "add cali40all-hosts-net 10.10.0.2"]
    );
}

#[test]
fn exclusions_and_interface_filter() {
    let spec = "natOutgoingExclusions: IPPoolsAndHostIPs, iptablesNATOutgoingInterfaceFilter: eth+, externalNodesList: [10.7.0.0/24]";
    let yaml = format!("{NODE}{POOL}{}", felix("default", spec));
    let contribution = answer(&yaml, "{}");
    assert_eq!(identifiers(&contribution, Family::Ipv4, "cali-nat-outgoing"), ["mIX1w6VoeX8t6RjW"]);
    assert_eq!(
        set(&contribution, "cali40all-hosts-net").unwrap()[1..],
        [
            "add cali40all-hosts-net 10.7.0.0/24",
            "add cali40all-hosts-net 10.10.0.1",
            "add cali40all-hosts-net 10.10.0.2"
        ]
    );
    assert_eq!(set(&contribution, "cali60all-hosts-net").unwrap()[1..], ["add cali60all-hosts-net fd10::1"]);
    let older = answer(&yaml, r#"{"calico-version":"3.30.7"}"#);
    assert!(set(&older, "cali40all-hosts-net").is_none());
    assert!(!chain(&older, Family::Ipv4, "cali-nat-outgoing")[0].contains("all-hosts-net"));
}

#[test]
fn address_and_ports_together() {
    let spec = "natOutgoingAddress: 10.10.0.77, natPortRange: '1024:2048', iptablesNATOutgoingInterfaceFilter: eth+";
    let six = pool("six", "cidr: 'fd00:10:244::/64', natOutgoing: true");
    let contribution = answer(&format!("{POOL}{six}{}", felix("default", spec)), "{}");
    assert_eq!(
        identifiers(&contribution, Family::Ipv4, "cali-nat-outgoing"),
        ["Z_UJwWMc2K6KGDvU", "-vGoCzGOpmVU2azB", "6MQmbhVibb4myFEA", "fYJoJfK_0bOfouWl", "vZtwhGss2u406mRy"]
    );
    // An IPv4 address has no use for IPv6.
    let lines = chain(&contribution, Family::Ipv6, "cali-nat-outgoing");
    assert!(lines[0].ends_with("-j MASQUERADE --to-ports 1024-2048 --random-fully"), "{}", lines[0]);
    assert!(lines[4].ends_with("-j MASQUERADE --random-fully"), "{}", lines[4]);
}

#[test]
fn a_node_whose_name_differs_in_case_only_is_named() {
    let mut facts = facts(&format!("{NODE}{}", pool("a", "cidr: 192.168.0.0/16, ipipMode: Always")));
    facts.node_name = "NODE1".into();
    log::take();
    evaluate(&facts, "{}").unwrap();
    let warnings = log::take();
    assert!(warnings[0].1.contains("set node-name = \"node1\""), "{warnings:?}");
}

#[test]
fn tunnel_addresses_of_the_environment_stand_for_a_node() {
    let pools = pool("a", "cidr: 192.168.0.0/16, ipipMode: Always, vxlanMode: Always");
    let settings = r#"{"felix":{"ipInIpTunnelAddr":"192.168.0.1","ipv4VXLANTunnelAddr":"192.168.0.2"}}"#;
    log::take();
    assert_eq!(chain(&answer(&pools, settings), Family::Ipv4, "cali-POSTROUTING").len(), 4);
    assert!(log::take().is_empty());
}

#[test]
fn features_that_the_operator_overrides_are_felixs() {
    let nats = "{externalIP: 172.16.1.3, internalIP: 10.0.240.2}";
    let yaml = |overrides: &str| {
        let spec = format!("floatingIPs: Enabled, featureDetectOverride: '{overrides}'");
        format!("{NODE}{POOL}{}{}", workload("a", "node1", nats), felix("default", &spec))
    };
    let both = |overrides: &str| {
        let contribution = answer(&yaml(overrides), "{}");
        let random = |chain_name: &str| {
            chain(&contribution, Family::Ipv4, chain_name).iter().any(|line| line.ends_with("--random-fully"))
        };
        (random("cali-nat-outgoing"), random("cali-fip-snat"))
    };
    assert_eq!(both(""), (true, true));
    assert_eq!(both("MASQFullyRandom=false"), (false, true));
    assert_eq!(both("ChecksumOffloadBroken=true, SNATFullyRandom=F"), (true, false));
    let without = answer(&yaml("MASQFullyRandom=false,SNATFullyRandom=false"), "{}");
    // The identifier is that of the rule without --random-fully.
    assert_eq!(identifiers(&without, Family::Ipv4, "cali-nat-outgoing"), ["TTPfnvdxBZ0m0GOs"]);
    let mut facts = facts(&yaml("MASQFullyRandom=true"));
    facts.system.random_fully = false;
    let contribution = evaluate(&facts, "{}").unwrap();
    assert!(chain(&contribution, Family::Ipv4, "cali-nat-outgoing")[0].ends_with("--random-fully"));
}

#[test]
fn old_kernels_have_no_random_fully() {
    let mut facts = facts(POOL);
    facts.system.random_fully = false;
    let contribution = evaluate(&facts, "{}").unwrap();
    assert_eq!(identifiers(&contribution, Family::Ipv4, "cali-nat-outgoing"), ["TTPfnvdxBZ0m0GOs"]);
}

#[test]
fn floating_ips_are_translated_both_ways() {
    let pair = |external: &str, internal: &str| format!("{{externalIP: '{external}', internalIP: '{internal}'}}");
    let six = pair("2001:db8:3::2", "2001:db8:2::2");
    let nats = format!("{}, {}, {six}", pair("172.18.1.4", "10.0.240.2"), pair("172.16.1.3", "10.0.240.2"));
    let elsewhere = workload("b", "node2", &pair("172.19.0.1", "10.0.240.3"));
    let on = felix("default", "floatingIPs: Enabled");
    let contribution = answer(&format!("{}{elsewhere}{on}", workload("a", "node1", &nats)), "{}");
    assert_eq!(identifiers(&contribution, Family::Ipv4, "cali-fip-dnat"), ["tNLwGk9z1UZNPNbW", "OU0OBM4pzE9sD4jJ"]);
    assert_eq!(
        chain(&contribution, Family::Ipv4, "cali-fip-snat"),
        ["-A cali-fip-snat -s 10.0.240.2/32 -d 10.0.240.2/32 -m comment --comment \"cali:DweygdPL2z-tP8xi\" \
          -j SNAT --to-source 172.16.1.3 --random-fully"]
    );
    assert_eq!(identifiers(&contribution, Family::Ipv6, "cali-fip-dnat"), ["l1-K_FHWxjq3YH-4"]);
    assert_eq!(identifiers(&contribution, Family::Ipv6, "cali-fip-snat"), ["Bn-N9djPN7auSGN3"]);
    let off = answer(&workload("a", "node1", &nats), "{}");
    assert!(chain(&off, Family::Ipv4, "cali-fip-dnat").is_empty());
    let openstack = workload("a", "node1", &nats).replace("k8s", "openstack");
    assert_eq!(chain(&answer(&openstack, "{}"), Family::Ipv4, "cali-fip-dnat").len(), 2);
}

#[test]
fn of_several_workloads_with_one_floating_ip_the_lowest_address_wins() {
    let claim = |name: &str, internal: &str| {
        workload(name, "node1", &format!("{{externalIP: 172.16.1.3, internalIP: {internal}}}"))
    };
    // As text, "10.0.0.10" is lower than "10.0.0.9".
    let yaml =
        format!("{}{}{}", claim("a", "10.0.0.9"), claim("b", "10.0.0.10"), felix("default", "floatingIPs: Enabled"));
    let lines = chain(&answer(&yaml, "{}"), Family::Ipv4, "cali-fip-dnat");
    assert_eq!(lines.len(), 1);
    assert!(lines[0].ends_with("--to-destination 10.0.0.10"), "{}", lines[0]);
}

#[test]
fn pools_for_load_balancers_only_are_left_out_of_the_newer_set() {
    let yaml = format!(
        "{POOL}{}{}",
        pool("lb", "cidr: 10.50.0.0/24, allowedUses: [LoadBalancer], disabled: true"),
        pool("mixed", "cidr: 10.51.0.0/24, allowedUses: [LoadBalancer, Workload], disabled: true")
    );
    let newer = set(&answer(&yaml, "{}"), "cali40network-ip-pools").unwrap();
    assert_eq!(newer[1..], ["add cali40network-ip-pools 10.51.0.0/24", "add cali40network-ip-pools 192.168.0.0/16"]);
    let older = set(&answer(&yaml, r#"{"calico-version":"v3.31.5"}"#), "cali40all-ipam-pools").unwrap();
    assert_eq!(older.len(), 4);
}

#[test]
fn of_pools_with_one_network_the_first_counts() {
    let yaml = format!(
        "{}{}",
        pool("a", "cidr: 192.168.1.7/16, natOutgoing: false"),
        pool("b", "cidr: 192.168.0.0/16, natOutgoing: true, ipipMode: Always")
    );
    let contribution = answer(&yaml, "{}");
    assert!(chain(&contribution, Family::Ipv4, "cali-nat-outgoing").is_empty());
    assert!(set(&contribution, "cali40all-hosts-net").is_none());
    assert_eq!(
        set(&contribution, "cali40network-ip-pools").unwrap()[1..],
        ["add cali40network-ip-pools 192.168.0.0/16"]
    );
}

#[test]
fn jumps_stand_where_version_and_mode_say() {
    let jumps = |settings: &str, spec: &str| -> Vec<(Placement, String)> {
        answer(&felix("default", spec), settings).attachments.iter().map(attachment).collect()
    };
    let line = |chain: &str, identifier: &str| {
        format!("-A {chain} -m comment --comment \"cali:{identifier}\" -j cali-{chain}")
    };
    let inserted = [
        (Placement::First, line("PREROUTING", "6gwbT8clXdHdC1b1")),
        (Placement::First, line("OUTPUT", "tVnHkvAo15HuiPy0")),
    ];
    // Where the jump stands changes nothing of its identifier: that follows the call.
    let appended = inserted.clone().map(|(_, line)| (Placement::Last, line));
    let last = (Placement::Last, line("POSTROUTING", "0i8pjzKKPyA34aQD"));
    let older = |placement| (placement, line("POSTROUTING", "O3lYWMrLQYEMJtB5"));
    let all = |others: &[(Placement, String)], postrouting: &(Placement, String)| {
        [others, std::slice::from_ref(postrouting)].concat()
    };
    assert_eq!(jumps("{}", ""), all(&inserted, &last));
    assert_eq!(jumps("{}", "chainInsertMode: Append"), all(&appended, &last));
    assert_eq!(jumps(r#"{"calico-version":"3.28.2"}"#, "chainInsertMode: insert"), all(&inserted, &last));
    assert_eq!(jumps(r#"{"calico-version":"3.28.1"}"#, ""), all(&inserted, &older(Placement::First)));
    let appending = jumps(r#"{"calico-version":"3.28.1"}"#, "chainInsertMode: Append");
    assert_eq!(appending, all(&appended, &older(Placement::Last)));
}

#[test]
fn from_3_33_masquerading_spares_the_port_of_vxlan() {
    let yaml = format!("{NODE}{}", pool("a", "cidr: 192.168.0.0/16, vxlanMode: Always"));
    let contribution = answer(&yaml, r#"{"calico-version":"3.33.0"}"#);
    assert_eq!(
        identifiers(&contribution, Family::Ipv4, "cali-POSTROUTING")[2..],
        ["k5tPXc7Lt1qvBU9K", "ZUy_r64wRDl4JBc4"]
    );
    assert_eq!(identifiers(&answer(&yaml, "{}"), Family::Ipv4, "cali-POSTROUTING")[2..], ["e9dnSgSVNmIcpVhP"]);
}

#[test]
fn without_ipv6_there_is_only_ipv4() {
    let only_ipv4 = |contribution: &ruleward_sdk::Contribution| {
        contribution.chains.len() == 6
            && contribution.chains.iter().all(|chain| chain.families == Families::IPV4)
            && contribution.attachments.iter().all(|attachment| attachment.families == Families::IPV4)
            && contribution.sets.iter().all(|set| set.family == Family::Ipv4)
    };
    assert!(only_ipv4(&answer(&felix("default", "ipv6Support: false"), "{}")));
    assert!(only_ipv4(&answer("", r#"{"felix":{"ipv6Support":false}}"#)));
    let mut facts = facts("");
    facts.system.families = Families::IPV4;
    assert!(only_ipv4(&evaluate(&facts, "{}").unwrap()));
}

#[test]
fn sets_have_the_size_that_felix_gives_them() {
    let contribution = answer(&format!("{POOL}{}", felix("default", "maxIpsetSize: 4096")), "{}");
    assert!(contribution.sets.iter().all(|set| set.max_elements == Some(4096)));
}

#[test]
fn what_it_wants_covers_what_it_gives() {
    let wants = calico_postrouting::CalicoPostrouting::describe().wants;
    let spec = "natOutgoingExclusions: IPPoolsAndHostIPs";
    for version in ["3.28.3", "3.32.1"] {
        let settings = format!(r#"{{"calico-version":"{version}"}}"#);
        let contribution = answer(&format!("{NODE}{POOL}{}", felix("default", spec)), &settings);
        assert!(contribution.chains.iter().all(|chain| wants.covers_chain(&chain.name)));
        assert!(contribution.sets.iter().all(|set| wants.sets.contains(&set.name)));
    }
}

#[test]
fn the_schema_is_json_and_closed() {
    let description = calico_postrouting::CalicoPostrouting::describe();
    let schema: serde_json::Value = serde_json::from_str(&description.settings_schema).unwrap();
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["properties"]["felix"]["additionalProperties"], false);
}
