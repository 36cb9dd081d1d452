//! Nothing that a policy says reaches a resolver. Each name service that a program of the node
//! could ask is listened to, the C library is set up to ask all of them, and policies hold a name
//! in every option and every kind of set that the tools would look one up for: no listener hears
//! anything. The same rules, given to the tools as an administrator would, are heard.
//!
//! Beside that, every system call of the program and its tools is traced, and what they ask of the network is compared
//! with a list: these calls and no others.

mod allowed;

use std::collections::{BTreeMap, BTreeSet};

use ruleward_tests::policies::{attachment, chain, set, static_rules};
use ruleward_tests::resolvers::Resolvers;
use ruleward_tests::save::{assert_same, rules_of};
use ruleward_tests::system_calls::SystemCalls;
use ruleward_tests::trial;
use ruleward_tests::{Backend, Family, Node, Placement};
use serde_json::{Value, json};

use crate::differential;

const NAMES: &str = include_str!("names.rules");
/// Rules that one policy has: of so many the report gives the reasons.
const TOGETHER: usize = 20;

/// Members that name hosts, services, protocols, interfaces or sets, by type. static-rules reads
/// the members of the first four itself; what follows a member is ipset's own.
const MEMBERS: [(&str, &str); 29] = [
    ("hash:ip", "host.example comment x"),
    ("hash:ip", "host.example-other.example comment x"),
    ("hash:net", "host.example/24 nomatch"),
    ("hash:ip,port", "host.example,tcp:80 comment x"),
    ("hash:ip,port", "{address},service-example comment x"),
    ("hash:ip,port", "{address},tcp:service-example comment x"),
    ("hash:ip,port", "{address},protocol.example:80 comment x"),
    ("hash:net,port", "host.example/24,tcp:80 nomatch"),
    ("hash:net,port", "{address},tcp:service-example nomatch"),
    ("hash:ip,port,ip", "host.example,tcp:80,{address}"),
    ("hash:ip,port,ip", "{address},tcp:80,host.example"),
    ("hash:ip,port,net", "{address},tcp:80,host.example"),
    ("hash:ip,mark", "host.example,1"),
    ("hash:ip,mac", "host.example,00:11:22:33:44:55"),
    ("hash:ip,mac", "{address},host.example"),
    ("hash:net,net", "host.example,{address}"),
    ("hash:net,net", "{address},host.example"),
    ("hash:net,port,net", "host.example,tcp:80,{address}"),
    ("hash:net,port,net", "{address},tcp:80,host.example"),
    ("hash:net,iface", "host.example,eth0"),
    ("hash:net,iface", "{address},wlan.example"),
    ("hash:net,iface", "{address},physdev:host.example"),
    ("hash:mac", "host.example"),
    ("bitmap:ip range 192.0.2.0/24", "host.example"),
    ("bitmap:ip,mac range 192.0.2.0/24", "host.example,00:11:22:33:44:55"),
    ("bitmap:ip,mac range 192.0.2.0/24", "192.0.2.1,host.example"),
    ("bitmap:port range 0-1023", "tcp:service-example"),
    ("list:set", "host.example"),
    ("list:set", "op-other before host.example"),
];

/// By table.
fn names() -> Vec<(&'static str, &'static str)> {
    let mut table = "";
    let mut rules = Vec::new();
    for line in NAMES.lines().filter(|line| !line.starts_with('#')) {
        match line.strip_prefix('*') {
            Some(name) => table = name,
            None => rules.push((table, line)),
        }
    }
    rules
}

fn members(family: Family) -> impl Iterator<Item = (&'static str, String)> {
    let address = family.address(1);
    MEMBERS.into_iter().map(move |(kind, member)| (kind, member.replace("{address}", &address)))
}

/// One policy for so many rules, and one for each set.
fn policies(family: Family, together: usize) -> Vec<Value> {
    let of_rules = |rules: &[(&str, &str)]| {
        let mut by_table: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        rules.iter().for_each(|(table, rule)| by_table.entry(table).or_default().push(rule));
        let chains: Vec<_> = by_table.iter().map(|(table, rules)| chain(family, table, "op-names", rules)).collect();
        static_rules(&chains, &[], &[])
    };
    let of_set = |(kind, member): (&str, String)| {
        let (kind, range) = kind.split_once(" range ").unwrap_or((kind, ""));
        let options = if range.is_empty() { json!({}) } else { json!({ "range": range }) };
        let mut set = set(family, "op-names", kind, &[&member]);
        set["options"] = options;
        static_rules(&[], &[], &[set])
    };
    names().chunks(together).map(of_rules).chain(members(family).map(of_set)).collect()
}

fn folder(node: &Node) -> String {
    node.path("").to_string_lossy().trim_end_matches('/').to_owned()
}

fn configure(node: &Node, family: Family, policy: &Value) {
    node.configure(json!({ "families": [family.to_string()], "policies": { "web": policy } }));
}

/// What makes this a trial: the same names, given to the tools by an administrator, are heard. The
/// rules that ask somebody and are refused for it.
fn heard_by_the_tools_alone(backend: Backend, family: Family) -> Vec<&'static str> {
    let node = Node::new(backend);
    let resolvers = Resolvers::around(&node);
    let (mut all, mut heard, mut in_vain) = (BTreeSet::new(), 0, Vec::new());
    for (table, rule) in names() {
        let script = format!("*{table}\n:op-names - [0:0]\n-A op-names {rule}\nCOMMIT\n");
        let tool = family.tool(backend, "restore");
        let taken = node.command(tool).args(&["--noflush"]).input(&script).output().code == Some(0);
        let now = resolvers.heard();
        heard += usize::from(!now.is_empty());
        in_vain.extend((!taken && !now.is_empty()).then_some(rule));
        all.extend(now);
    }
    assert_heard("iptables", heard, 30, &all);
    (heard, all) = (0, BTreeSet::new());
    for (kind, member) in members(family) {
        let inet = if kind.starts_with("hash:") && kind != "hash:mac" { family.inet() } else { "" };
        let of_family = if inet.is_empty() { String::new() } else { format!(" family {inet}") };
        let script = format!("create op-names {kind}{of_family}\nadd op-names {member}\n");
        node.command("ipset").args(&["restore"]).input(&script).output();
        node.command("ipset").args(&["destroy"]).output();
        let now = resolvers.heard();
        heard += usize::from(!now.is_empty());
        all.extend(now);
    }
    assert_heard("ipset", heard, 10, &all);
    in_vain
}

/// nscd is always asked first, then the modules that are installed; of these a system has DNS at least.
fn assert_heard(tool: &str, times: usize, least: usize, heard: &BTreeSet<String>) {
    let nscd = heard.iter().any(|name| name.ends_with("/run/nscd/socket"));
    assert!(nscd && heard.contains("udp 127.0.0.1:53"), "{tool} asks {heard:?} alone");
    assert!(times >= least, "{tool} asks {times} times only");
}

#[track_caller]
fn assert_silence(resolvers: &Resolvers, what: &str, policy: &Value) {
    let heard = resolvers.heard();
    assert!(heard.is_empty(), "{what} with {policy:#} asks {heard:?}");
}

trial!(
    for backend in Backend::ALL,
    for family in Family::ALL,
    "resolvers::{backend}::{family}::names_in_rules_and_sets_reach_no_resolver",
    names_reach_no_resolver(backend, family)
);
fn names_reach_no_resolver(backend: Backend, family: Family) {
    let node = Node::new(backend);
    let resolvers = Resolvers::around(&node);
    resolvers.try_each(&node);
    let mut in_vain = heard_by_the_tools_alone(backend, family);
    let calls = SystemCalls::trace(&node);
    for policy in policies(family, TOGETHER) {
        configure(&node, family, &policy);
        for command in ["check", "apply"] {
            let output = node.ruleward(&[command]).output();
            assert_silence(&resolvers, command, &policy);
            let said = format!("{}{}", output.stdout, output.stderr);
            in_vain.retain(|rule| command == "check" || !said.contains(rule));
        }
    }
    assert!(in_vain.is_empty(), "these are not refused, or never came as far as the tools: {in_vain:#?}");
    // They came as far as the tools, and no further.
    allowed::judge(&calls.deeds(), &folder(&node), &["AF_UNIX SOCK_STREAM", "AF_INET SOCK_DGRAM"]);
}

trial!(
    for backend in Backend::ALL,
    for family in Family::ALL,
    "resolvers::{backend}::{family}::names_reach_no_resolver_without_a_rehearsal",
    names_reach_no_resolver_without_a_rehearsal(backend, family)
);
/// The tools work in the node's own namespace then, where DNS would answer. They stop at the first
/// rule that they refuse: each is alone.
fn names_reach_no_resolver_without_a_rehearsal(backend: Backend, family: Family) {
    let node = Node::new(backend);
    let resolvers = Resolvers::around(&node);
    resolvers.try_each(&node);
    node.without_sys_admin();
    let before = node.save_all();
    for policy in policies(family, 1) {
        configure(&node, family, &policy);
        let output = node.ruleward(&["apply"]).output();
        assert_silence(&resolvers, &format!("{output:?}"), &policy);
    }
    node.cleanup();
    assert_same("what is in force", &before, &node.save_all());
}

trial!(
    for backend in Backend::ALL,
    for family in Family::ALL,
    "resolvers::{backend}::{family}::a_repair_asks_no_resolver",
    a_repair_asks_no_resolver(backend, family)
);
/// With names that can be looked up in files, which is permitted.
fn a_repair_asks_no_resolver(backend: Backend, family: Family) {
    let node = Node::new(backend);
    let resolvers = Resolvers::around(&node);
    let rules = ["-p tcp --dport domain -j ACCEPT", "-p udplite -j ACCEPT", "-i wlan.example -j DROP"];
    let first = attachment(family, "filter", "INPUT", Placement::First, "-p udp --sport domain -j op-names");
    let member = format!("{},tcp:80,{}", family.address(1), family.address(2));
    let set = set(family, "op-names", "hash:ip,port,ip", &[&member]);
    let policy = static_rules(&[chain(family, "filter", "op-names", &rules)], &[first], &[set]);
    node.configure(json!({ "families": [family.to_string()], "watch": "auto", "policies": { "web": policy } }));
    let calls = SystemCalls::trace(&node);
    let daemon = node.daemon();
    let before = node.save(family, "filter") + &node.sets();
    for round in 0..3 {
        let stranger = node.stranger(family);
        stranger.flush_chain("filter", "op-names");
        node.command(family.tool(backend, "")).args(&["-D", "INPUT", "1"]).must();
        if round > 0 {
            node.command("ipset").args(&["flush", "op-names"]).must();
        }
        ruleward_tests::poll("repaired", || (node.save(family, "filter") + &node.sets() == before).then_some(()));
        daemon.refresh();
    }
    daemon.stop();
    assert_silence(&resolvers, "a repair", &policy);
    allowed::judge(&calls.deeds(), &folder(&node), &[]);
}

trial!(
    for backend in Backend::ALL,
    for family in Family::ALL,
    "resolvers::{backend}::{family}::all_options_of_iptables_need_no_other_calls",
    all_options_need_no_other_calls(backend, family)
);
/// The corpus of the differential suite has every option of every extension.
fn all_options_need_no_other_calls(backend: Backend, family: Family) {
    let node = Node::new(backend);
    let resolvers = Resolvers::around(&node);
    let calls = SystemCalls::trace(&node);
    for (policy, taken) in differential::policies(backend, family) {
        configure(&node, family, &policy);
        let output = node.ruleward(&["apply"]).output();
        assert_eq!(output.code == Some(0), taken, "{output:#?}");
        assert_silence(&resolvers, "apply", &policy);
    }
    assert!(!rules_of(&node.save(family, "filter"), differential::CHAIN).is_empty());
    allowed::judge(&calls.deeds(), &folder(&node), &[]);
}
