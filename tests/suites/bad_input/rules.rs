//! Rules that can't be: refused by the policy, the check or the rehearsal, always before anything is written.

use ruleward_tests::policies::{attachment, chain, set, static_rules};
use ruleward_tests::save::assert_same;
use ruleward_tests::trial;
use ruleward_tests::{Backend, Family, Placement};
use serde_json::{Value, json};

use super::{assert_says, good_node, good_policy};

/// Chains, attachments and sets of a static-rules policy.
type Contribution = fn() -> [Vec<Value>; 3];

pub struct Case {
    pub name: &'static str,
    /// Of the bad policy.
    contribution: Contribution,
    /// What the refusal must say.
    says: &'static [&'static str],
}

/// A chain with one rule.
fn rule(text: &str) -> [Vec<Value>; 3] {
    [vec![chain(None, "filter", "op-bad", &[text])], vec![], vec![]]
}

fn named(name: &str) -> [Vec<Value>; 3] {
    [vec![chain(None, "filter", name, &["-j RETURN"])], vec![], vec![]]
}

pub const CASES: &[Case] = &[
    Case { name: "newline", contribution: || rule("-j RETURN\n-A INPUT -j DROP"), says: &["op-bad"] },
    Case { name: "carriage_return", contribution: || rule("-j RETURN\r-F"), says: &["op-bad"] },
    Case { name: "nul", contribution: || rule("-m comment --comment \"a\u{0}b\" -j RETURN"), says: &["op-bad"] },
    Case {
        name: "newline_in_quotes",
        contribution: || rule("-m comment --comment \"a\n-F\" -j RETURN"),
        says: &["op-bad"],
    },
    Case { name: "append_option", contribution: || rule("-A INPUT -j DROP"), says: &["op-bad", "-A"] },
    Case { name: "table_option", contribution: || rule("-t nat -j RETURN"), says: &["op-bad", "-t"] },
    Case { name: "table_option_in_full", contribution: || rule("--table nat -j RETURN"), says: &["op-bad", "--table"] },
    Case { name: "table_option_abbreviated", contribution: || rule("--tab nat -j RETURN"), says: &["op-bad", "--tab"] },
    Case { name: "flush_option", contribution: || rule("-j RETURN -F"), says: &["op-bad", "-F"] },
    Case { name: "delete_chain_option", contribution: || rule("-j RETURN --delete-chain op-in"), says: &["op-bad"] },
    Case { name: "modprobe_option", contribution: || rule("-j RETURN --modprobe=/tmp/x"), says: &["op-bad"] },
    Case { name: "counters_option", contribution: || rule("-j RETURN -c 1 1"), says: &["op-bad"] },
    Case { name: "open_quote", contribution: || rule("-m comment --comment \"open -j RETURN"), says: &["op-bad"] },
    Case { name: "commit_as_a_rule", contribution: || rule("COMMIT"), says: &["op-bad", "COMMIT"] },
    Case { name: "unknown_option", contribution: || rule("--frobnicate -j RETURN"), says: &["frobnicate"] },
    Case { name: "unknown_target", contribution: || rule("-j FROBNICATE"), says: &["FROBNICATE"] },
    Case { name: "unknown_match", contribution: || rule("-m frobnicate -j RETURN"), says: &["frobnicate"] },
    Case { name: "port_without_protocol", contribution: || rule("--dport 80 -j RETURN"), says: &["dport"] },
    Case { name: "jump_to_nowhere", contribution: || rule("-j op-nowhere"), says: &["op-bad", "op-nowhere"] },
    Case { name: "goto_nowhere", contribution: || rule("-g op-nowhere"), says: &["op-bad", "op-nowhere"] },
    Case { name: "jump_to_a_stranger", contribution: || rule("-j DOCKER-USER"), says: &["op-bad", "DOCKER-USER"] },
    Case { name: "jump_to_a_built_in_chain", contribution: || rule("-j OUTPUT"), says: &["op-bad", "OUTPUT"] },
    Case { name: "jump_to_itself", contribution: || rule("-j op-bad"), says: &["op-bad"] },
    Case {
        name: "jumps_in_a_circle",
        contribution: || {
            let chains = [("op-a", "-j op-b"), ("op-b", "-g op-c"), ("op-c", "-j op-a")];
            [chains.map(|(name, rule)| chain(None, "filter", name, &[rule])).to_vec(), vec![], vec![]]
        },
        says: &["op-a", "op-b", "op-c"],
    },
    Case {
        name: "name_too_long",
        contribution: || named("op-123456789012345678901234567890"),
        says: &["op-1234567890", "28"],
    },
    Case { name: "name_with_a_space", contribution: || named("op-a b"), says: &["op-a b"] },
    Case { name: "name_with_a_newline", contribution: || named("op-a\n-F"), says: &["op-a"] },
    Case { name: "name_that_is_not_granted", contribution: || named("web"), says: &["web", "op-*"] },
    Case { name: "name_of_the_host", contribution: || named("rw-tmp-x"), says: &["rw-tmp-x"] },
    Case { name: "name_of_another_policy", contribution: || named("rx-in"), says: &["rx-in"] },
    Case {
        name: "chain_twice",
        contribution: || [[1, 2].map(|_| chain(None, "filter", "op-bad", &["-j RETURN"])).to_vec(), vec![], vec![]],
        says: &["op-bad"],
    },
    Case {
        name: "hook_that_the_table_lacks",
        contribution: || {
            [vec![], vec![attachment(None, "filter", "PREROUTING", Placement::First, "-j RETURN")], vec![]]
        },
        says: &["filter", "PREROUTING"],
    },
    Case {
        name: "set_that_is_not_there",
        contribution: || rule("-m set --match-set op-nowhere src -j RETURN"),
        says: &["op-nowhere"],
    },
    Case {
        name: "set_of_the_wrong_family",
        contribution: || {
            let rule = "-m set --match-set op-six src -j RETURN";
            let chains = vec![chain(Family::Ipv4, "filter", "op-bad", &[rule])];
            [chains, vec![], vec![set(Family::Ipv6, "op-six", "hash:ip", &[])]]
        },
        says: &["op-six"],
    },
    Case {
        name: "member_of_the_wrong_family",
        contribution: || [vec![], vec![], vec![set(Family::Ipv4, "op-four", "hash:ip", &["2001:db8::1"])]],
        says: &["op-four", "2001:db8::1"],
    },
    Case {
        name: "member_with_a_newline",
        contribution: || [vec![], vec![], vec![set(Family::Ipv4, "op-four", "hash:ip", &["10.0.0.1\ndestroy x"])]],
        says: &["op-four"],
    },
    Case {
        name: "unknown_set_type",
        contribution: || [vec![], vec![], vec![set(Family::Ipv4, "op-four", "hash:frob", &[])]],
        says: &["op-four", "hash:frob"],
    },
    Case {
        name: "set_name_too_long",
        contribution: || [vec![], vec![], vec![set(Family::Ipv4, "op-12345678901234567890123456789", "hash:ip", &[])]],
        says: &["op-12345678901234567890123456789", "31"],
    },
    Case {
        name: "family_that_the_address_is_not_of",
        contribution: || [vec![chain(Family::Ipv6, "filter", "op-bad", &["-s 192.0.2.1 -j RETURN"])], vec![], vec![]],
        says: &["192.0.2.1"],
    },
    Case { name: "masquerade_in_filter", contribution: || rule("-j MASQUERADE"), says: &["MASQUERADE"] },
    Case {
        name: "masquerade_in_prerouting",
        contribution: || {
            [vec![], vec![attachment(None, "nat", "PREROUTING", Placement::First, "-j MASQUERADE")], vec![]]
        },
        says: &["MASQUERADE"],
    },
    Case {
        name: "dnat_to_the_other_family",
        contribution: || {
            let rule = "-p tcp -j DNAT --to-destination 192.0.2.1:80";
            [vec![chain(Family::Ipv6, "nat", "op-bad", &[rule])], vec![], vec![]]
        },
        says: &["192.0.2.1"],
    },
];

trial!(for case @ Case { name, .. } in CASES, "bad_input::rules::{name}", refused(case));
/// The bad policy stands beside a good one, on both backends.
pub fn refused(case: &Case) {
    for backend in Backend::ALL {
        let node = good_node(backend);
        let before = node.save_all();
        let [chains, attachments, sets] = (case.contribution)();
        let mut other = good_policy();
        other["grants"]["chains"] = json!(["rx-*"]);
        other["grants"]["sets"] = json!(["rx-*"]);
        other["settings"] = json!({});
        node.set("policies", json!({ "good": static_rules(&chains, &attachments, &sets), "other": other }));
        let output = node.ruleward(&["--output", "json", "apply"]).output();
        assert!(matches!(output.code, Some(75 | 78)), "it was not refused: {output:#?}");
        assert_says(&output, case.says);
        assert_same("everything after the refusal", &before, &node.save_all());
    }
}

const BAD: [(&str, Contribution, &str); 3] = [
    ("that_only_the_kernel_refuses", || rule("-j MASQUERADE"), "MASQUERADE"),
    ("that_the_check_refuses", || rule("-j op-nowhere"), "op-nowhere"),
    ("that_the_policy_refuses", || rule("-A INPUT"), "-A"),
];

trial!(
    for backend in Backend::ALL,
    for (name, contribution, says) in BAD,
    "bad_input::last_good_stays::{backend}::rule_{name}",
    last_good_stays(backend, contribution, says)
);
fn last_good_stays(backend: Backend, contribution: Contribution, says: &str) {
    let node = good_node(backend);
    let before = node.save_all();
    let [chains, attachments, sets] = contribution();
    node.set("policies", json!({ "good": static_rules(&chains, &attachments, &sets) }));
    let daemon = ruleward_tests::Daemon::start(&node);
    let status =
        daemon.wait_until("told why", |status| status.report.policies.iter().any(|policy| policy.state == "last-good"));
    let reason = status.report.policy("good").reason.clone().unwrap_or_default();
    assert!(reason.contains(says), "the reason does not say {says}: {reason}");
    assert_same("everything", &before, &node.save_all());
    // The last good one is not only left alone: it is kept in force.
    let incidents = daemon.status().mark();
    node.stranger(Family::Ipv6).flush_chain("filter", "op-in");
    daemon.refresh_ending_with(78);
    daemon.incident_after(&incidents, "chain-flushed", Family::Ipv6, "filter", "op-in");
    assert_same("everything", &before, &node.save_all());
    daemon.stop();
    // Also when it is started once more: nothing good is forgotten.
    let daemon = ruleward_tests::Daemon::start(&node);
    daemon.wait_until("told why", |status| status.report.policies.iter().any(|policy| policy.state == "last-good"));
    assert_same("everything", &before, &node.save_all());
}
