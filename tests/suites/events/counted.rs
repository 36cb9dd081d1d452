//! Every drift that is repaired is recorded, however close they follow each other.

use ruleward_tests::policies::{attachment, chain, static_rules};
use ruleward_tests::save::rules_of;
use ruleward_tests::trial;
use ruleward_tests::{Backend, Family, Node, Placement, Status, poll};
use serde_json::json;

use super::{JUMPS, all_comes_back, quiet_node, settled};

/// How many chains there are, each with a rule that a process of its own takes away.
const CHAINS: usize = 100;

fn times(status: &Status) -> u64 {
    status.report.incidents.iter().map(|incident| incident.times).sum()
}

trial!(
    for backend in Backend::ALL,
    "events::{backend}::counted::each_of_a_hundred_deletions_waiting_for_repairs",
    hundred_deletions(backend, true)
);
trial!(
    for backend in Backend::ALL,
    "events::{backend}::counted::each_of_a_hundred_deletions_without_waiting",
    hundred_deletions(backend, false)
);
fn hundred_deletions(backend: Backend, waiting: bool) {
    let node = Node::new(backend);
    let names: Vec<String> = (0..CHAINS).map(|number| format!("op-{number}")).collect();
    let chains: Vec<_> =
        names.iter().map(|name| chain(Family::Ipv4, "filter", name, &["-p tcp --dport 80 -j RETURN"])).collect();
    let jump = attachment(Family::Ipv4, "filter", "INPUT", Placement::First, "-j op-0");
    let policies = json!({ "web": static_rules(&chains, &[jump], &[]) });
    node.configure(json!({ "refresh-interval": "1h", "watch": "auto", "policies": policies }));
    let daemon = settled(&node);
    let before = node.save_all();
    let tool = Family::Ipv4.tool(backend, "");
    if waiting {
        for name in &names {
            node.command(&tool).args(&["-w", "-D", name, "1"]).must();
            all_comes_back(&node, &before);
        }
    } else {
        let script = format!("for n in $(seq 0 {}); do {tool} -w -D op-$n 1 || exit 1; done", CHAINS - 1);
        node.command("sh").args(&["-c", &script]).must();
        all_comes_back(&node, &before);
    }
    let status = daemon.wait_until("counting all", |status| times(status) >= CHAINS as u64 && status.report.in_sync);
    assert_eq!(times(&status), CHAINS as u64, "{:#?}", status.report.incidents);
    assert!(status.report.incidents.iter().all(|incident| incident.repaired), "{:#?}", status.report.incidents);
    daemon.stop();
    let kept = node.ruleward(&["--output", "json", "incidents", "--last", "1000"]).must();
    assert_eq!(kept.lines().count(), CHAINS, "the journal has each of them");
}

trial!(
    for backend in Backend::ALL,
    "events::{backend}::counted::a_burst_of_insertions_is_no_fight",
    a_burst_of_insertions_is_no_fight(backend)
);
/// As dockerd does when it starts: ten processes, each of which puts a rule before ours.
fn a_burst_of_insertions_is_no_fight(backend: Backend) {
    let (node, daemon) = quiet_node(backend, &[]);
    let (table, hook, target) = JUMPS[0];
    let tool = Family::Ipv4.tool(backend, "");
    let rules = |node: &Node| -> Vec<String> {
        rules_of(&node.save(Family::Ipv4, table), hook).iter().map(|rule| rule.to_string()).collect()
    };
    let before = rules(&node);
    for number in 1..=10 {
        let rule = format!("-I {hook} -p udp --dport {number} -j RETURN");
        let mut words = vec!["-w", "-t", table];
        words.extend(rule.split(' '));
        node.command(&tool).args(&words).must();
    }
    let told = poll("our jump is the first rule again", || {
        let now = rules(&node);
        (now.len() == before.len() + 10 && now[0].ends_with(&format!("-j {target}"))).then(|| daemon.status())
    });
    assert!(told.fights.is_empty(), "{:#?}", told.fights);
    let status = daemon.wait_until("in sync", |status| status.report.in_sync);
    assert!(status.fights.is_empty(), "{:#?}", status.fights);
    let moved = status.report.incidents.iter().all(|incident| incident.is("rule-moved", "ipv4", table, hook));
    assert!(moved && !status.report.incidents.is_empty(), "{:#?}", status.report.incidents);
    let theirs: Vec<String> = rules(&node).into_iter().skip(1).collect();
    let dport = |number: usize| theirs[10 - number].contains(&format!("--dport {number} "));
    assert!((1..=10).all(dport), "the order of other programs' rules is theirs: {theirs:#?}");
}
