//! What a rule means, iptables alone says. Each rule of `rules/` is given to the stock tool in an empty namespace, and to
//! static-rules in another: what the tool takes must be in force with the same text of iptables-save, what it refuses must
//! be refused with its reason. Families and backends apart; what a kernel lacks is refused by both.
//!
//! `exceptions.rules` lists the rules that the tool takes and Ruleward does not, each with its reason; so does
//! `docs/static-rules.md`.

mod objects;
mod told;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use ruleward_tests::policies::{attachment, set};
use ruleward_tests::save::rules_of;
use ruleward_tests::trial;
use ruleward_tests::{Backend, Family, Node, Placement};
use serde_json::{Value, json};

const BOTH: &str = include_str!("rules/both-families.rules");
const IPV4: &str = include_str!("rules/ipv4.rules");
const IPV6: &str = include_str!("rules/ipv6.rules");
const EXCEPTIONS: &str = include_str!("rules/exceptions.rules");

/// The set that rules name (`{set}`).
const SET: &str = "op-set";
/// The chain that rules jump to, and the one that holds them.
const LEAF: &str = "leaf";
pub const CHAIN: &str = "op-rules";
/// Refusals that one report holds: as many rules are refused together.
const TOGETHER: usize = 20;

/// Rules by table, in their order.
type Rules = Vec<(&'static str, String)>;

fn read(text: &'static str, exceptions: &[String]) -> Rules {
    let mut table = None;
    let mut rules = Rules::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('*') {
            table = Some(name);
        } else if let Some(table) = table.filter(|_| !exceptions.iter().any(|exception| exception == line)) {
            rules.push((table, line.replace("{set}", SET)));
        }
    }
    rules
}

fn rules(family: Family) -> Rules {
    let exceptions: Vec<String> = read(EXCEPTIONS, &[]).into_iter().map(|(_, rule)| rule).collect();
    let own = if family == Family::Ipv4 { IPV4 } else { IPV6 };
    let mut all = read(BOTH, &exceptions);
    all.extend(read(own, &exceptions));
    all
}

/// A node for the stock tool, with what rules refer to.
fn stock(backend: Backend, family: Family) -> Arc<Node> {
    let node = Node::new(backend);
    let inet = if family == Family::Ipv4 { "inet" } else { "inet6" };
    node.load_sets(&format!("create {SET} hash:ip family {inet}\n"));
    node
}

/// What the tool says of one rule.
enum Verdict {
    Taken,
    /// Its reason: the last lines that are neither advice nor the number of a line.
    Refused(String),
}

fn ask(node: &Node, family: Family, table: &str, rule: &str) -> Verdict {
    let script = format!("*{table}\n:{LEAF} - [0:0]\n:{CHAIN} - [0:0]\n-A {CHAIN} {rule}\nCOMMIT\n");
    let output = node.command(family.tool(node.backend, "restore")).args(&["--noflush"]).input(&script).output();
    if output.code == Some(0) {
        // It may have taken the line and made no rule of it.
        let there = !rules_of(&node.save(family, table), CHAIN).is_empty();
        return if there { Verdict::Taken } else { Verdict::Refused(String::new()) };
    }
    let reason = output.stderr.lines().map(|line| {
        let line =
            line.split_once("(nf_tables): ").or_else(|| line.split_once("(legacy): ")).map_or(line, |(_, rest)| rest);
        line.trim()
    });
    let no_reason = [
        "Error occurred at line",
        "Try `",
        "iptables-restore: line",
        "ip6tables-restore: line",
        "Warning:",
        "# Warning:",
    ];
    let reason = reason.filter(|line| !line.is_empty() && !no_reason.iter().any(|start| line.starts_with(start)));
    // `line 5: RULE_APPEND failed (Invalid argument): rule in chain x`
    let mut reason = reason.map(|line| match line.strip_prefix("line ").and_then(|rest| rest.split_once(": ")) {
        Some((_, rest)) => rest.split(": rule in chain").next().unwrap_or(rest).to_owned(),
        None => line.to_owned(),
    });
    Verdict::Refused(reason.next_back().unwrap_or_default())
}

type Judged = Vec<(&'static str, String, Verdict)>;

/// All rules with what the tool says of each, which is asked once.
fn judged(backend: Backend, family: Family) -> &'static Judged {
    static KNOWN: [OnceLock<Judged>; 4] = [const { OnceLock::new() }; 4];
    let at = usize::from(backend == Backend::Legacy) * 2 + usize::from(family == Family::Ipv6);
    KNOWN[at].get_or_init(|| {
        let node = stock(backend, family);
        let judge = |(table, rule): (&'static str, String)| {
            let verdict = ask(&node, family, table, &rule);
            (table, rule, verdict)
        };
        rules(family).into_iter().map(judge).collect()
    })
}

/// static-rules with these rules, by table.
fn policy(family: Family, rules: &BTreeMap<&str, Vec<&str>>, attachments: &[Value]) -> Value {
    let chain = |(table, rules): (&&str, &Vec<&str>)| {
        let chain = |name: &str, rules: &[&str]| json!({ "table": table, "name": name, "families": [family.to_string()], "rules": rules });
        [chain(LEAF, &[]), chain(CHAIN, rules)]
    };
    json!({
        "component": "static-rules.wasm",
        "grants": { "tables": ruleward_tests::TABLES, "chains": [LEAF, CHAIN], "sets": [SET] },
        "settings": {
            "chains": rules.iter().flat_map(chain).collect::<Vec<_>>(),
            "attachments": attachments,
            "sets": [set(family, SET, "hash:ip", &[])],
        },
    })
}

fn configure(node: &Node, family: Family, policy: Value) {
    node.configure(json!({ "families": [family.to_string()], "policies": { "rules": policy } }));
}

trial!(
    for backend in Backend::ALL,
    for family in Family::ALL,
    "differential::{backend}::{family}::what_the_tool_takes_is_in_force_as_it_shows_it",
    taken(backend, family)
);
fn taken(backend: Backend, family: Family) {
    let stock_node = stock(backend, family);
    let judged = judged(backend, family);
    let mut by_table: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (table, rule, _) in judged.iter().filter(|(_, _, verdict)| matches!(verdict, Verdict::Taken)) {
        by_table.entry(table).or_default().push(rule);
    }
    let count: usize = by_table.values().map(Vec::len).sum();
    assert!(count > 400, "the tool takes only {count} rules");
    for (table, rules) in &by_table {
        let lines: String = rules.iter().map(|rule| format!("-A {CHAIN} {rule}\n")).collect();
        let script = format!("*{table}\n:{LEAF} - [0:0]\n:{CHAIN} - [0:0]\n{lines}COMMIT\n");
        stock_node.add(family, &script);
    }
    let node = Node::new(backend);
    configure(&node, family, policy(family, &by_table, &[]));
    let report = node.apply();
    assert!(report.in_sync, "{report:#?}");
    let mut different = Vec::new();
    for table in by_table.keys() {
        let (ours, theirs) = (node.save(family, table), stock_node.save(family, table));
        let (ours, theirs) = (rules_of(&ours, CHAIN), rules_of(&theirs, CHAIN));
        assert_eq!(ours.len(), theirs.len(), "{table}");
        let pairs = ours.into_iter().zip(theirs).filter(|(ours, theirs)| ours != theirs);
        different.extend(pairs.map(|(ours, theirs)| format!("ours: {ours}\ntool: {theirs}")));
    }
    assert!(different.is_empty(), "{} rules mean something else than by the tool: {different:#?}", different.len());
}

/// Policies that hold every rule, and whether the tool takes what is in each.
pub fn policies(backend: Backend, family: Family) -> Vec<(Value, bool)> {
    let by_table = |rules: &[(&'static str, &'static str)]| {
        let mut by_table: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        rules.iter().for_each(|(table, rule)| by_table.entry(table).or_default().push(rule));
        policy(family, &by_table, &[])
    };
    let judged = judged(backend, family).iter();
    let (taken, refused): (Vec<_>, Vec<_>) = judged.partition(|(_, _, verdict)| matches!(verdict, Verdict::Taken));
    let words = |rules: Vec<&'static (&'static str, String, Verdict)>| -> Vec<(&str, &str)> {
        rules.into_iter().map(|(table, rule, _)| (*table, rule.as_str())).collect()
    };
    let (by_name, by_tool): (Vec<_>, Vec<_>) = words(refused).into_iter().partition(|(_, rule)| refused_by_name(rule));
    let refused = by_name.chunks(1).chain(by_tool.chunks(TOGETHER)).map(|rules| (by_table(rules), false));
    refused.chain([(by_table(&words(taken)), true)]).collect()
}

trial!(
    for backend in Backend::ALL,
    for family in Family::ALL,
    "differential::{backend}::{family}::what_the_tool_refuses_is_refused_with_its_reason",
    refused(backend, family)
);
fn refused(backend: Backend, family: Family) {
    let judged = judged(backend, family);
    let refused: Vec<(&str, &str, &str)> = judged
        .iter()
        .filter_map(|(table, rule, verdict)| match verdict {
            Verdict::Refused(reason) => Some((*table, rule.as_str(), reason.as_str())),
            Verdict::Taken => None,
        })
        .collect();
    assert!(refused.len() > 100, "the tool refuses only {} rules", refused.len());
    let node = Node::new(backend);
    let before = node.save_all();
    let mut wrong = Vec::new();
    // What static-rules refuses by name stops it at the first: these are asked one by one.
    let (by_name, by_tool): (Vec<_>, Vec<_>) = refused.into_iter().partition(|(_, rule, _)| refused_by_name(rule));
    for together in by_name.chunks(1).chain(by_tool.chunks(TOGETHER)) {
        let mut by_table: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        together.iter().for_each(|(table, rule, _)| by_table.entry(table).or_default().push(rule));
        configure(&node, family, policy(family, &by_table, &[]));
        let output = node.ruleward(&["apply"]).output();
        let said = format!("{}{}", output.stdout, output.stderr);
        for (table, rule, reason) in together {
            // A number of a line is the script's own.
            let reason = reason.split(" / ").last().unwrap_or(reason);
            if output.code == Some(0) || !said.contains(reason) || !names(&said, rule) {
                wrong.push(format!("{table}: {rule}\n    the tool: {reason}\n    ours ({:?}): {said}", output.code));
            }
        }
    }
    assert_eq!(node.save_all(), before, "a refused rule left something behind");
    assert!(wrong.is_empty(), "{} rules are not refused with the tool's reason:\n{}", wrong.len(), wrong.join("\n"));
}

/// Whether the report quotes the rule: each of its words.
fn names(said: &str, rule: &str) -> bool {
    rule.split([' ', '"', '\t']).filter(|word| !word.is_empty() && !word.contains('\\')).all(|word| said.contains(word))
}

/// What static-rules refuses itself.
fn refused_by_name(rule: &str) -> bool {
    rule.matches('"').count() % 2 == 1
}

trial!(
    for backend in Backend::ALL,
    for family in Family::ALL,
    "differential::{backend}::{family}::attachments_mean_what_the_tool_means",
    attached(backend, family)
);
/// Rules in built-in chains carry a comment of the host, and mean the same.
fn attached(backend: Backend, family: Family) {
    const RULES: [(&str, &str, &str); 12] = [
        ("filter", "INPUT", "-p tcp --dport 22 -j ACCEPT"),
        ("filter", "INPUT", "-p tcp -j ACCEPT --dport 80"),
        ("filter", "INPUT", "-m policy --dir in --pol ipsec --proto esp -j ACCEPT"),
        ("filter", "INPUT", "-m comment --comment \"my own\" -j ACCEPT"),
        ("filter", "FORWARD", "-i eth0 ! -o eth1 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"),
        ("filter", "FORWARD", "-j LOG --log-prefix \"-j: \""),
        ("filter", "OUTPUT", "-m owner --uid-owner 0 -j RETURN"),
        ("filter", "OUTPUT", "-p udp -m multiport --dports 53,123"),
        ("mangle", "PREROUTING", "-p ipip -j MARK --set-mark 1"),
        ("mangle", "FORWARD", "-p tcp --syn -j TCPMSS --clamp-mss-to-pmtu"),
        ("nat", "POSTROUTING", "-o eth0 -j MASQUERADE --random-fully"),
        ("raw", "PREROUTING", "-p udp --dport 53 -j NOTRACK"),
    ];
    let (stock_node, node) = (stock(backend, family), Node::new(backend));
    let mut attachments = Vec::new();
    for (table, hook, rule) in RULES {
        stock_node.stranger(family).append(table, hook, rule);
        attachments.push(attachment(family, table, hook, Placement::Last, rule));
    }
    configure(&node, family, policy(family, &BTreeMap::new(), &attachments));
    assert!(node.apply().in_sync);
    for (table, hook) in RULES.map(|(table, hook, _)| (table, hook)) {
        let ours = node.save(family, table);
        let ours: Vec<String> = rules_of(&ours, hook).iter().map(|rule| without_identity(rule)).collect();
        assert_eq!(ours, rules_of(&stock_node.save(family, table), hook), "{table} {hook}");
    }
}

/// A rule of iptables-save without the host's own comment.
fn without_identity(rule: &str) -> String {
    let starts = [" -m comment --comment rw:rules:", " -m comment --comment \"rw:rules:"];
    let Some((at, start)) = starts.iter().find_map(|start| Some((rule.find(start)?, start))) else {
        panic!("no comment of the host in {rule}")
    };
    let rest = &rule[at + start.len()..];
    format!("{}{}", &rule[..at], rest.find(' ').map_or("", |end| &rest[end..]))
}

trial!(
    for backend in Backend::ALL,
    "differential::{backend}::exceptions_are_refused",
    exceptions(backend)
);
/// Each is taken by the tool, in one family at least, and refused by us.
fn exceptions(backend: Backend) {
    for (table, rule) in read(EXCEPTIONS, &[]) {
        let taken = |family: &Family| {
            let script = format!("*{table}\n:{CHAIN} - [0:0]\n-A {CHAIN} {rule}\nCOMMIT\n");
            let tool = family.tool(backend, "restore");
            stock(backend, *family).command(tool).args(&["--noflush"]).input(&script).output().code == Some(0)
        };
        let Some(family) = Family::ALL.into_iter().find(taken) else { panic!("the tool does not take {rule}") };
        let node = Node::new(backend);
        configure(&node, family, policy(family, &BTreeMap::from([(table, vec![rule.as_str()])]), &[]));
        let output = node.ruleward(&["apply"]).output();
        assert_ne!(output.code, Some(0), "{rule} is taken");
    }
}
