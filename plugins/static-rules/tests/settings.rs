//! The shape of the settings: defaults, sets, families of the node, and the schema.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use ruleward_sdk::{Families, Family, Hook, Placement, Policy, SetMember, SetType, Table};
use static_rules::StaticRules;
use support::{answer, describe, facts, refusal};

#[test]
fn nothing_gives_nothing() {
    let nothing = answer("{}");
    assert!(nothing.chains.is_empty() && nothing.attachments.is_empty() && nothing.sets.is_empty());
}

#[test]
fn an_attachment_has_defaults() {
    let contribution = answer(r#"{"attachments":[{"table":"nat","hook":"POSTROUTING","rule":"-j MASQUERADE"}]}"#);
    let attachment = &contribution.attachments[0];
    assert_eq!((attachment.table, attachment.hook), (Table::Nat, Hook::Postrouting));
    assert_eq!((attachment.placement, attachment.order), (Placement::First, 0));
    assert_eq!(attachment.families, Families::all());
    let contribution = answer(
        r#"{"attachments":[{"table":"nat","hook":"OUTPUT","families":["ipv6"],"placement":"last","order":-5,
            "rule":"-d ::1 -j x"}]}"#,
    );
    let attachment = &contribution.attachments[0];
    assert_eq!(describe(&attachment.rule), "-d ::1 -j x");
    assert_eq!((attachment.placement, attachment.order), (Placement::Last, -5));
    assert_eq!(attachment.families, Families::IPV6);
}

#[test]
fn a_family_that_the_node_lacks_is_left_out() {
    let settings = r#"{
        "chains":[{"table":"filter","name":"a","rules":["-j x"]},
                  {"table":"filter","name":"b","families":["ipv6"],"rules":["-j x"]},
                  {"table":"filter","name":"c","rules":["-6 -j x","-j y"]}],
        "attachments":[{"table":"filter","hook":"INPUT","rule":"-6 -j x"},{"table":"filter","hook":"INPUT","rule":"-j x"}],
        "sets":[{"name":"s4","type":"hash:net"},{"name":"s6","type":"hash:net","family":"ipv6"}]}"#;
    let contribution = StaticRules::evaluate(&facts(Families::IPV4), settings).unwrap();
    let names: Vec<&str> = contribution.chains.iter().map(|chain| chain.name.as_str()).collect();
    assert_eq!(names, ["a", "c"]);
    assert_eq!(contribution.chains[1].rules.len(), 1);
    assert!(contribution.chains.iter().all(|chain| chain.families == Families::IPV4));
    assert_eq!(contribution.attachments.len(), 1);
    assert_eq!(contribution.sets.len(), 1);
}

#[test]
fn sets_hold_addresses_networks_ports_or_what_ipset_knows() {
    let contribution = answer(
        r#"{"sets":[
            {"name":"n","type":"hash:net","members":["192.0.2.0/24","192.0.2.1","192.0.2.64/26 nomatch"],"max-elements":5},
            {"name":"i","type":"hash:ip","family":"ipv6","members":["2001:db8::1"]},
            {"name":"p","type":"hash:ip,port","members":["192.0.2.1,udp:53","192.0.2.1,80"]},
            {"name":"x","type":"hash:net,iface","members":["192.0.2.0/24,eth0 nomatch"]},
            {"name":"d","type":"hash:ip","dynamic":true,"timeout":60}]}"#,
    );
    let [networks, hosts, ports, other, dynamic] = &contribution.sets[..] else { panic!("{contribution:?}") };
    assert_eq!((networks.members.len(), networks.max_elements), (3, Some(5)));
    assert_eq!(networks.members[2], SetMember::Extension("192.0.2.64/26 nomatch".into()));
    assert_eq!((hosts.family, &hosts.kind), (Family::Ipv6, &SetType::HashIp));
    assert!(matches!(&ports.members[0], SetMember::NetworkPort(found) if found.protocol == 17 && found.port == 53));
    assert!(matches!(&ports.members[1], SetMember::NetworkPort(found) if found.protocol == 6 && found.port == 80));
    assert_eq!(other.kind, SetType::Extension("hash:net,iface".into()));
    assert_eq!(other.members[0], SetMember::Extension("192.0.2.0/24,eth0 nomatch".into()));
    assert!(dynamic.dynamic && dynamic.timeout == Some(60));
}

#[test]
fn options_of_a_set_are_handed_on_in_the_words_of_ipset() {
    let options = |fields: &str| {
        let contribution = answer(&format!(r#"{{"sets":[{{"name":"s","type":"bitmap:port",{fields}}}]}}"#));
        contribution.sets[0].options.join(" ")
    };
    assert_eq!(options(r#""members":[]"#), "");
    assert_eq!(options(r#""options":{}"#), "");
    assert_eq!(options(r#""options":{"range":"0-1023","counters":true,"comment":false}"#), "range 0-1023 counters");
    assert_eq!(
        options(
            r#""options":{"skbinfo":true,"size":8,"range":"192.0.2.0/24","netmask":24,"markmask":"0xff00","hashsize":64,
                "forceadd":true,"counters":true,"comment":true,"bucketsize":4,"bitmask":"255.255.0.255"}"#
        ),
        "bitmask 255.255.0.255 bucketsize 4 hashsize 64 markmask 0xff00 netmask 24 range 192.0.2.0/24 size 8 comment \
         counters forceadd skbinfo"
    );
}

#[test]
fn wrong_sets_are_refused_by_member() {
    let set = |fields: &str| refusal(&format!(r#"{{"sets":[{{"name":"s",{fields}}}]}}"#));
    for (fields, place, reason) in [
        (r#""type":"hash:net","members":["192.0.2.1","10.0.0.1-10.0.0.9"]"#, "/sets/0/members/1", "is not an address"),
        (r#""type":"hash:net","members":["192.0.2.0/33"]"#, "/sets/0/members/0", "mask"),
        (r#""type":"hash:net","members":["2001:db8::/32"]"#, "/sets/0/members/0", "family"),
        (r#""type":"hash:net","members":["0.0.0.0/0"]"#, "/sets/0/members/0", "two halves"),
        (r#""type":"hash:net","family":"ipv6","members":["::/0"]"#, "/sets/0/members/0", "two halves"),
        (r#""type":"hash:ip","members":["192.0.2.0/24"]"#, "/sets/0/members/0", "hash:net"),
        (r#""type":"hash:ip,port","members":["192.0.2.1"]"#, "/sets/0/members/0", "has no port"),
        (r#""type":"hash:ip,port","members":["192.0.2.1,tcp:http"]"#, "/sets/0/members/0", "not the number of a port"),
        (r#""type":"hash:ip","dynamic":true,"members":["192.0.2.1"]"#, "/sets/0/members", "filled by rules"),
        (r#""type":"hash:ip","timeout":5"#, "/sets/0/timeout", "only a dynamic set"),
    ] {
        let (at, message) = set(fields);
        assert_eq!(at, place, "{fields}: {message}");
        assert!(message.contains(reason), "{fields}: {message}");
    }
}

#[test]
fn unknown_keys_and_wrong_words_are_refused() {
    for settings in [
        r#"{"chain":[]}"#,
        r#"{"chains":[{"table":"filter","name":"c","rules":[],"x":1}]}"#,
        r#"{"chains":[{"table":"filters","name":"c","rules":[]}]}"#,
        r#"{"chains":[{"table":"filter","name":"c","families":[],"rules":[]}]}"#,
        r#"{"attachments":[{"table":"filter","hook":"input","rule":""}]}"#,
        r#"{"sets":[{"name":"s"}]}"#,
        r#"{"sets":[{"name":"s","type":"hash:ip","options":{"family":"inet6"}}]}"#,
        r#"{"sets":[{"name":"s","type":"hash:ip","options":{"counters":"yes"}}]}"#,
        r#"{"sets":[{"name":"s","type":"hash:ip","options":["counters"]}]}"#,
        "1",
        "",
    ] {
        refusal(settings);
    }
}

#[test]
fn the_schema_is_json_and_closed() {
    let description = StaticRules::describe();
    let schema: serde_json::Value = serde_json::from_str(&description.settings_schema).unwrap();
    let items = |name: &str| schema["properties"][name]["items"].clone();
    let options = schema["$defs"]["set-options"].clone();
    for object in [schema.clone(), items("chains"), items("attachments"), items("sets"), options] {
        assert_eq!(object["additionalProperties"], false);
    }
}

#[test]
fn fifty_thousand_rules_are_read_in_order() {
    let rules: Vec<String> = (0..50_000)
        .map(|n| format!("-p tcp --dport {} -m comment --comment \"rule {n}\" -j RETURN", n % 60_000))
        .collect();
    let settings = serde_json::json!({"chains":[{"table":"filter","name":"c","rules":rules}]}).to_string();
    let contribution = answer(&settings);
    assert_eq!(contribution.chains[0].rules.len(), 50_000);
    assert_eq!(
        describe(&contribution.chains[0].rules[49_999]),
        "-p tcp --dport 49999 -m comment --comment <rule 49999> -j RETURN"
    );
}
