//! Chains of another program that our jumps wait for come and go as their owner likes: the jumps come and go with them, and
//! that is no incident. What else was changed in the same write is one.

use std::sync::Arc;

use ruleward_tests::policies::{attachment, calico_jumps, static_rules};
use ruleward_tests::save::rules_of;
use ruleward_tests::trial;
use ruleward_tests::{Backend, Daemon, Family, Node, Placement, poll};
use serde_json::json;

use super::settled;

/// How often a chain is emptied and deleted.
const ROUNDS: u32 = 10;

/// The chains that Felix jumps to from the built-in chains of `nat`.
const CHAINS: [(&str, &str); 3] =
    [("PREROUTING", "cali-PREROUTING"), ("OUTPUT", "cali-OUTPUT"), ("POSTROUTING", "cali-POSTROUTING")];

fn node_before_felix(backend: Backend) -> (Arc<Node>, Daemon) {
    let node = Node::new(backend);
    node.resources(include_str!("../../data/captures/v3.28.3/vxlan/resources.yaml"));
    let policies = json!({ "calico-postrouting": calico_jumps("3.28.2") });
    node.configure(json!({ "refresh-interval": "1h", "watch": "auto", "policies": policies }));
    let daemon = settled(&node);
    (node, daemon)
}

/// Writes these lines to `nat` by one restore, as Felix does.
fn restore(node: &Node, family: Family, lines: &[String]) {
    node.add(family, &format!("*nat\n{}\nCOMMIT\n", lines.join("\n")));
}

fn made(chains: &[(&str, &str)]) -> Vec<String> {
    chains.iter().map(|(_, chain)| format!(":{chain} - [0:0]")).collect()
}

/// Our jumps, each with its hook, once those to `chains` are there and no other.
#[track_caller]
fn jumps(node: &Node, family: Family, chains: &[(&str, &str)]) -> Vec<String> {
    poll(&format!("{family}: jumps to {chains:?}"), || {
        let save = node.save(family, "nat");
        let jumps: Vec<String> =
            CHAINS.iter().flat_map(|(hook, _)| rules_of(&save, hook)).map(|rule| rule.to_string()).collect();
        let all = chains.iter().all(|(_, chain)| jumps.iter().any(|jump| jump.ends_with(&format!("-j {chain}"))));
        (all && jumps.len() == chains.len()).then_some(jumps)
    })
}

trial!(
    for backend in Backend::ALL,
    "events::{backend}::awaited::a_chain_that_comes_and_goes_is_no_incident",
    a_chain_that_comes_and_goes_is_no_incident(backend)
);
fn a_chain_that_comes_and_goes_is_no_incident(backend: Backend) {
    let (node, daemon) = node_before_felix(backend);
    for family in Family::ALL {
        restore(&node, family, &made(&CHAINS));
        let all = jumps(&node, family, &CHAINS);
        // Felix stops, or begins to use nftables: it takes away its jumps with its chains.
        let mut lines: Vec<String> = all.iter().map(|jump| jump.replacen("-A ", "-D ", 1)).collect();
        lines.extend(CHAINS.iter().flat_map(|(_, chain)| [format!("-F {chain}"), format!("-X {chain}")]));
        restore(&node, family, &lines);
        jumps(&node, family, &[]);
        // A repair waits until the writer is done: without this, Felix could be back before it was looked at.
        let gone =
            format!("{} nat POSTROUTING: chain cali-POSTROUTING is gone", family.to_string().replace("ip", "IP"));
        poll(&gone, || daemon.log().contains(&gone).then_some(()));
        // And begins anew, with the same jumps of its own.
        let mut lines = made(&CHAINS);
        lines.extend(all.iter().cloned());
        restore(&node, family, &lines);
        jumps(&node, family, &CHAINS);
        node.stranger(family).new_chain("nat", "cali-unrelated");
    }
    let report = daemon.refresh();
    assert!(report.in_sync && report.incidents.is_empty(), "{report:#?}");
    let status = daemon.status();
    assert!(status.report.incidents.is_empty() && status.fights.is_empty(), "{:#?}", status.report.incidents);
    let log = daemon.log();
    for told in ["appeared, the jump of calico-postrouting is in place", "the jump of calico-postrouting waits for it"]
    {
        assert!(log.contains(told), "the log does not say {told:?}:\n{log}");
    }
}

trial!(
    for backend in Backend::ALL,
    "events::{backend}::awaited::what_else_is_deleted_is_one",
    what_else_is_deleted_is_one(backend)
);
fn what_else_is_deleted_is_one(backend: Backend) {
    let (node, daemon) = node_before_felix(backend);
    let [prerouting, output, postrouting] = CHAINS;
    for family in Family::ALL {
        restore(&node, family, &made(&[prerouting]));
        let [jump] = &jumps(&node, family, &[prerouting])[..] else { panic!("one jump") };
        let before = daemon.status().mark();
        // In one transaction two chains appear, and the jump to the one that was there goes.
        let mut lines = made(&[output, postrouting]);
        lines.push(jump.replacen("-A ", "-D ", 1));
        restore(&node, family, &lines);
        jumps(&node, family, &CHAINS);
        let incident = daemon.incident_after(&before, "rule-deleted", family, "nat", "PREROUTING");
        assert_eq!(incident.added, std::slice::from_ref(jump), "{incident:#?}");
        let all = daemon.status().since(&before);
        assert!(all.len() == 1 && incident.times == 1, "{all:#?}");
        restore(&node, family, &["-D PREROUTING 1".to_owned(), "-X cali-PREROUTING".to_owned()]);
        jumps(&node, family, &[output, postrouting]);
        assert_eq!(daemon.status().since(&before).len(), 1, "a jump and its chain that go together are none");
    }
}

/// A jump of ours to a chain of fail2ban, which has a jump of its own.
fn node_with_fail2ban(backend: Backend) -> (Arc<Node>, Daemon) {
    let node = Node::new(backend);
    let jump = attachment(None, "filter", "FORWARD", Placement::First, "-p tcp -j f2b-sshd");
    let mut policy = static_rules(&[], &[jump], &[]);
    policy["grants"]["uses"] = json!({ "chains": ["f2b-*"] });
    for family in Family::ALL {
        start_fail2ban(&node, family);
    }
    node.configure(json!({ "refresh-interval": "1h", "watch": "auto", "policies": { "web": policy } }));
    let daemon = settled(&node);
    (node, daemon)
}

fn start_fail2ban(node: &Node, family: Family) {
    let address = family.address(9);
    node.add(
        family,
        &format!(
            "*filter\n:f2b-sshd - [0:0]\n-A f2b-sshd -s {address} -j REJECT\n-A f2b-sshd -j RETURN\n\
             -I INPUT -p tcp -m multiport --dports 22 -j f2b-sshd\nCOMMIT\n"
        ),
    );
}

fn our_jump(node: &Node, family: Family) -> bool {
    rules_of(&node.save(family, "filter"), "FORWARD").iter().any(|rule| rule.ends_with("-j f2b-sshd"))
}

/// One script with the commands of fail2ban's `actionstop`, and the last one's exit status.
fn stop_fail2ban(node: &Node, tool: &str) -> Option<i32> {
    let script = format!(
        "{tool} -w -D INPUT -p tcp -m multiport --dports 22 -j f2b-sshd\n{tool} -w -F f2b-sshd\n{tool} -w -X f2b-sshd"
    );
    node.command("sh").args(&["-c", &script]).output().code
}

trial!(
    for backend in Backend::ALL,
    "events::{backend}::awaited::a_chain_that_is_emptied_can_be_deleted",
    a_chain_that_is_emptied_can_be_deleted(backend)
);
fn a_chain_that_is_emptied_can_be_deleted(backend: Backend) {
    let (node, daemon) = node_with_fail2ban(backend);
    let mut deleted = 0;
    for _ in 0..ROUNDS {
        for family in Family::ALL {
            poll("our jump", || our_jump(&node, family).then_some(()));
            deleted += u32::from(stop_fail2ban(&node, &family.tool(backend, "")) == Some(0));
            node.command(family.tool(backend, "")).args(&["-w", "-X", "f2b-sshd"]).output();
            start_fail2ban(&node, family);
        }
    }
    // The second command may be faster than our way out, on a machine that has more to do than on most.
    println!("{deleted} of {} stops deleted the chain", 2 * ROUNDS);
    assert!(deleted > 0, "none of {} stops deleted the chain", 2 * ROUNDS);
    let report = daemon.refresh();
    assert!(report.in_sync && report.incidents.is_empty(), "{report:#?}");
    assert!(daemon.status().report.incidents.is_empty(), "{:#?}", daemon.status().report.incidents);
}

trial!(
    for backend in Backend::ALL,
    "events::{backend}::awaited::a_chain_that_is_emptied_and_stays_gets_its_jump_back",
    a_chain_that_is_emptied_and_stays_gets_its_jump_back(backend)
);
fn a_chain_that_is_emptied_and_stays_gets_its_jump_back(backend: Backend) {
    let (node, daemon) = node_with_fail2ban(backend);
    let gone = "another program emptied chain f2b-sshd";
    for family in Family::ALL {
        let before = daemon.log().matches(gone).count();
        node.stranger(family).flush_chain("filter", "f2b-sshd");
        poll("giving way", || (daemon.log().matches(gone).count() > before).then_some(()));
        poll("our jump", || our_jump(&node, family).then_some(()));
    }
    let report = daemon.refresh();
    assert!(report.in_sync && report.awaiting.is_empty() && report.incidents.is_empty(), "{report:#?}");
}
