//! What sets can be besides a type and members: exceptions, ranges, and the other options of `ipset
//! create`. Each is put in force as ipset itself makes it, is kept so, and is no difference at the
//! next check.

use std::net::UdpSocket;
use std::time::Duration;

use ruleward_tests::policies::{attachment, set, static_rules};
use ruleward_tests::trial;
use ruleward_tests::{Backend, Family, Node, Placement, poll};
use serde_json::{Value, json};

fn with_options(mut set: Value, options: Value) -> Value {
    set["options"] = options;
    set
}

fn configure(node: &Node, rules: &[Value], sets: &[Value]) {
    node.configure(json!({ "watch": "auto", "policies": { "sets": static_rules(&[], rules, sets) } }));
}

/// A network, an address of it, an exception of it, and an address of that.
fn addresses(family: Family) -> [&'static str; 4] {
    match family {
        Family::Ipv4 => ["192.0.2.0/24", "192.0.2.10", "192.0.2.64/26", "192.0.2.70"],
        Family::Ipv6 => ["2001:db8:5::/64", "2001:db8:5::10", "2001:db8:5::4000/114", "2001:db8:5::4070"],
    }
}

/// Whether a datagram from this address reaches another one of the node.
fn arrives(node: &Node, from: &str) -> bool {
    let (receiver, sender) = node.net.run(|| {
        let bind = |address: &str| UdpSocket::bind((address, 0)).expect("the address is there");
        (bind(if from.contains(':') { "::1" } else { "127.0.0.1" }), bind(from))
    });
    receiver.set_read_timeout(Some(Duration::from_millis(300))).expect("a time");
    sender.send_to(b"!", receiver.local_addr().expect("an address")).ok(); // refused where it is dropped on its way out
    receiver.recv(&mut [0; 8]).is_ok()
}

trial!(
    for backend in Backend::ALL,
    for family in Family::ALL,
    "set_options::{backend}::{family}::nomatch_exempts_packets",
    nomatch_exempts_packets(backend, family)
);
fn nomatch_exempts_packets(backend: Backend, family: Family) {
    let [network, inside, exception, exempt] = addresses(family);
    let node = Node::new(backend);
    for address in [inside, exempt] {
        let (length, flags) = if family == Family::Ipv4 { (32, "") } else { (128, " nodad") };
        node.net.ip(&format!("addr add {address}/{length} dev lo{flags}"));
    }
    let rule = "-p udp -m set --match-set op-nets src -j DROP";
    let members = [network, &format!("{exception} nomatch"), &format!("{exception} nomatch")];
    configure(
        &node,
        &[attachment(family, "filter", "INPUT", Placement::First, rule)],
        &[set(family, "op-nets", "hash:net", &members)],
    );
    assert!(node.apply().in_sync);
    node.apply().assert_unchanged();
    assert_eq!((arrives(&node, inside), arrives(&node, exempt)), (false, true), "{}", node.sets());
    let daemon = node.daemon();
    for words in [["del", "op-nets", exception], ["del", "op-nets", network]] {
        node.command("ipset").args(&words).must();
        daemon.refresh();
        assert_eq!((arrives(&node, inside), arrives(&node, exempt)), (false, true), "{}", node.sets());
    }
    // The exception without its mark is another member.
    node.load_sets(&format!("del op-nets {exception}\nadd op-nets {exception}\n"));
    assert!(!arrives(&node, exempt), "{}", node.sets());
    daemon.refresh();
    assert!(arrives(&node, exempt), "{}", node.sets());
    daemon.refresh().assert_unchanged();
}

trial!(
    for backend in Backend::ALL,
    for family in Family::ALL,
    "set_options::{backend}::{family}::counters_are_no_difference",
    counters_are_no_difference(backend, family)
);
fn counters_are_no_difference(backend: Backend, family: Family) {
    let [network, inside, ..] = addresses(family);
    let node = Node::new(backend);
    let (length, flags) = if family == Family::Ipv4 { (32, "") } else { (128, " nodad") };
    node.net.ip(&format!("addr add {inside}/{length} dev lo{flags}"));
    let rule = "-p udp -m set --match-set op-nets src -j DROP";
    configure(
        &node,
        &[attachment(family, "filter", "INPUT", Placement::First, rule)],
        &[with_options(set(family, "op-nets", "hash:net", &[network]), json!({ "counters": true }))],
    );
    assert!(node.apply().in_sync);
    assert!(!arrives(&node, inside));
    let listed = node.command("ipset").args(&["list", "op-nets"]).must();
    assert!(listed.contains(" packets 1 bytes "), "{listed}");
    node.apply().assert_unchanged();
    assert_eq!(node.command("ipset").args(&["list", "op-nets"]).must(), listed, "what was counted is kept");
}

trial!(
    for backend in Backend::ALL,
    for family in Family::ALL,
    "set_options::{backend}::{family}::every_address_is_refused_and_its_halves_hold_it",
    every_address(backend, family)
);
fn every_address(backend: Backend, family: Family) {
    let node = Node::new(backend);
    let (all, halves) = match family {
        Family::Ipv4 => ("0.0.0.0/0", ["0.0.0.0/1", "128.0.0.0/1"]),
        Family::Ipv6 => ("::/0", ["::/1", "8000::/1"]),
    };
    configure(&node, &[], &[set(family, "op-nets", "hash:net", &[all])]);
    let output = node.ruleward(&["apply"]).output();
    let said = format!("{}{}", output.stdout, output.stderr);
    assert_eq!(output.code, Some(78), "{said}");
    assert!(halves.iter().all(|half| said.contains(half)), "the halves of {all} are not named: {said}");
    // Each member twice.
    configure(&node, &[], &[set(family, "op-nets", "hash:net", &[halves, halves].concat())]);
    assert!(node.apply().in_sync);
    let sets = node.sets();
    for half in halves {
        assert_eq!(sets.matches(&format!("add op-nets {half}\n")).count(), 1, "{sets}");
    }
    node.apply().assert_unchanged();
    let [_, address, ..] = addresses(family);
    node.command("ipset").args(&["test", "op-nets", address]).must();
}

/// Type, options, members as they are written, and the words of `ipset create` that they come to.
fn kinds() -> Vec<(&'static str, Value, Vec<&'static str>, &'static str)> {
    vec![
        ("bitmap:port", json!({ "range": "0-1023" }), vec!["22", "443"], "range 0-1023"),
        (
            "bitmap:ip",
            json!({ "range": "192.0.2.0/24" }),
            vec!["192.0.2.7", "192.0.2.9"],
            "range 192.0.2.0-192.0.2.255",
        ),
        (
            "bitmap:ip",
            json!({ "range": "10.0.0.0/16", "netmask": 24, "counters": true }),
            vec!["10.0.7.0", "10.0.9.0"],
            "range 10.0.0.0-10.0.255.255 netmask 24 counters",
        ),
        (
            "bitmap:ip,mac",
            json!({ "range": "192.0.2.0-192.0.2.31", "comment": true }),
            vec!["192.0.2.7,00:11:22:33:44:55 comment \"a printer\"", "192.0.2.8,00:11:22:33:44:66"],
            "range 192.0.2.0-192.0.2.31 comment",
        ),
        (
            "hash:ip",
            json!({ "hashsize": 256, "netmask": 24, "counters": true, "comment": true, "forceadd": true }),
            vec!["192.0.2.0 comment \"two words\"", "198.51.100.0"],
            "netmask 24 counters comment", // this ipset shows no forceadd
        ),
        (
            "hash:ip,mark",
            json!({ "markmask": "0xff00" }),
            vec!["192.0.2.7,0x00001200", "192.0.2.7,0x00001300"],
            "markmask 0x0000ff00",
        ),
        (
            "hash:net",
            json!({ "skbinfo": true }),
            vec!["192.0.2.0/24 skbmark 0x10 skbprio 1:2 skbqueue 3", "192.0.2.64/26 nomatch"],
            "skbinfo",
        ),
        (
            "hash:net,iface",
            json!({ "bucketsize": 4 }),
            vec!["192.0.2.0/24,eth0", "192.0.2.0/24,eth1 nomatch"],
            "maxelem",
        ),
        ("list:set", json!({ "size": 4, "counters": true }), vec!["op-a", "op-b"], "size 4 counters"),
    ]
}

/// Not every kernel has every type.
fn has_type(node: &Node, kind: &str) -> bool {
    let output = node.command("ipset").args(&["create", "probe", kind]).output();
    node.command("ipset").args(&["destroy"]).must();
    !output.stderr.contains("set type not supported")
}

trial!(
    for backend in Backend::ALL,
    "set_options::{backend}::every_option_is_in_force_and_kept",
    every_option_is_in_force_and_kept(backend)
);
fn every_option_is_in_force_and_kept(backend: Backend) {
    for (kind, options, members, words) in kinds() {
        let node = Node::new(backend);
        let mut sets = vec![with_options(set(Family::Ipv4, "op-kind", kind, &members), options)];
        if kind == "list:set" {
            sets.extend(members.iter().map(|name| set(Family::Ipv4, name, "hash:ip", &[])));
        }
        configure(&node, &[], &sets);
        if !has_type(&node, kind) {
            let output = node.ruleward(&["apply"]).output();
            assert!(output.code == Some(78) && output.stderr.contains("set type not supported"), "{output:#?}");
            continue;
        }
        let report = node.apply();
        assert!(report.in_sync, "{kind}: {report:#?}");
        let saved = node.sets();
        assert!(saved.contains(&format!("create op-kind {kind}")) && saved.contains(words), "{kind}: {saved}");
        node.apply().assert_unchanged();
        let daemon = node.daemon();
        let repaired = |what: &str| {
            daemon.refresh();
            assert_eq!(node.sets(), saved, "{kind}: {what}");
        };
        let first = members[0].split(' ').next().unwrap();
        node.command("ipset").args(&["del", "op-kind", first]).must();
        assert_ne!(node.sets(), saved, "{kind}");
        repaired("a member was taken out");
        node.command("ipset").args(&["flush", "op-kind"]).must();
        repaired("a flush");
        daemon.refresh().assert_unchanged();
        daemon.stop();
        // Made anew without its options.
        node.command("ipset").args(&["destroy", "op-kind"]).must();
        let range = match kind {
            "bitmap:port" => " range 0-80",
            "bitmap:ip" | "bitmap:ip,mac" => " range 192.0.2.0/28",
            _ => "",
        };
        node.load_sets(&format!("create op-kind {kind}{range}\n"));
        assert_eq!(node.apply().outcome, "changed", "{kind}");
        assert_eq!(node.sets(), saved, "{kind}: without its options");
        node.cleanup();
        assert_eq!(node.sets(), "", "{kind}");
    }
}

trial!(
    for backend in Backend::ALL,
    "set_options::{backend}::another_range_is_a_new_version",
    another_range_is_a_new_version(backend)
);
fn another_range_is_a_new_version(backend: Backend) {
    let node = Node::new(backend);
    let rule =
        attachment(Family::Ipv4, "filter", "INPUT", Placement::First, "-p udp -m set --match-set op-ports dst -j DROP");
    let version = |range: &str, ports: &[&str]| {
        let set = with_options(set(Family::Ipv4, "op-ports", "bitmap:port", ports), json!({ "range": range }));
        configure(&node, std::slice::from_ref(&rule), &[set]);
    };
    version("0-1023", &["22", "80"]);
    assert!(node.apply().in_sync);
    let daemon = node.daemon();
    version("0-65535", &["22", "80", "8080"]);
    poll("the new range is in force", || node.sets().contains("range 0-65535").then_some(()));
    daemon.wait_until_in_sync();
    let sets = node.sets();
    assert!(["22", "80", "8080"].iter().all(|port| sets.contains(&format!("add op-ports {port}\n"))), "{sets}");
    assert!(node.save(Family::Ipv4, "filter").contains("--match-set op-ports dst"));
    // A port outside refuses the version; what is in force stays.
    version("0-1023", &["22", "8080"]);
    crate::reload::is_refused(&daemon, "sets", &["op-ports"]);
    assert_eq!(node.sets(), sets);
}

trial!(
    for backend in Backend::ALL,
    "set_options::{backend}::what_ipset_refuses_is_refused_with_its_reason",
    what_ipset_refuses_is_refused(backend)
);
fn what_ipset_refuses_is_refused(backend: Backend) {
    let refused = |kind: &str, options: Value, members: &[&str], says: &[&str]| {
        let node = Node::new(backend);
        configure(&node, &[], &[with_options(set(Family::Ipv4, "op-kind", kind, members), options)]);
        let output = node.ruleward(&["apply"]).output();
        let said = format!("{}{}", output.stdout, output.stderr);
        assert_eq!(output.code, Some(78), "{kind}: {said}");
        assert!(says.iter().all(|word| said.contains(word)), "{kind} does not say {says:?}: {said}");
        assert_eq!(node.sets(), "", "{kind}");
    };
    refused("bitmap:port", json!({}), &["22"], &["op-kind", "range"]);
    refused("bitmap:port", json!({ "range": "0-80" }), &["443"], &["op-kind"]);
    refused("hash:net", json!({ "netmask": 24 }), &[], &["op-kind", "netmask"]);
    refused("bitmap:ip", json!({ "range": "host.example" }), &[], &["op-kind", "range"]);
    refused("hash:ip", json!({ "counter": true }), &[], &["counter"]);
    refused("hash:ip", json!({ "netmask": "24" }), &[], &["netmask"]);
}
