//! What can't be put right without a loss for others is told, with what to do, and holds up nothing else.

use ruleward_tests::trial;
use ruleward_tests::{Backend, Family, try_poll};

use super::{awaits, hooks, nft, node, own, rules, shape};

trial!(
    for family in Family::ALL,
    for (how, replay) in [("by_netlink", "auto"), ("by_the_tools", "off")],
    "packets::nft::{family}::stuck::is_told_and_holds_up_nothing_else::{how}",
    is_told_and_holds_up_nothing_else(family, replay)
);
/// INPUT hangs nowhere, and holds a rule with an anonymous set, which no one can make anew.
fn is_told_and_holds_up_nothing_else(family: Family, replay: &str) {
    let node = node(Backend::Nft, "filter", replay);
    node.apply();
    let daemon = node.daemon();
    let (before, saved) = (shape(&node, family, "filter"), node.save(family, "filter"));
    let ip = family.ip();
    let set = format!("{ip} saddr {{ {}, {} }} counter accept", family.address(1), family.address(2));
    let damage = [
        format!("flush chain {ip} filter INPUT"),
        format!("delete chain {ip} filter INPUT"),
        format!("add chain {ip} filter INPUT"),
        format!("add rule {ip} filter INPUT {set}"),
        // What else is wrong in this table is put right all the same.
        format!("flush chain {ip} filter {}", own("FORWARD")),
        format!("flush chain {ip} filter OUTPUT"),
    ];
    nft(&node, &damage);
    let told = |problem: &String| {
        problem.contains("INPUT") && problem.contains(&format!("nft delete chain {ip} filter INPUT"))
    };
    let status = daemon
        .wait_until("telling of the chain", |status| !status.report.in_sync && status.report.problems.iter().any(told));
    assert_eq!(node.ruleward(&["status"]).output().code, Some(1), "{status:#?}");
    assert!(status.fights.is_empty(), "{status:#?}");
    let others = |text: &str| -> Vec<String> {
        text.lines()
            .filter(|line| !line.contains(" INPUT") && !line.starts_with(":INPUT") && !line.contains("op-input"))
            .map(str::to_owned)
            .collect()
    };
    let mut last = Vec::new();
    let found = try_poll(|| {
        last = others(&rules(&node, family, "filter"));
        (last == others(&saved)).then_some(())
    });
    assert!(found.is_some(), "the rest stays\n{last:#?}\ninstead of\n{:#?}", others(&saved));
    let list = node.command("nft").args(&["list", "chain", ip, "filter", "INPUT"]).must();
    assert!(list.contains(&family.address(1)), "the foreign rule is still there:\n{list}");
    let report = node.ruleward(&["--output", "json", "apply"]).output();
    assert_ne!(report.code, Some(0), "`apply` does not call it done: {report:#?}");

    // The remedy that the message names.
    nft(&node, &[format!("flush chain {ip} filter INPUT"), format!("delete chain {ip} filter INPUT")]);
    awaits("all is right again", || {
        let now = (shape(&node, family, "filter"), rules(&node, family, "filter"));
        (now == (before.clone(), saved.clone())).then_some(())
    });
    daemon.wait_until_in_sync();
}

trial!(
    for family in Family::ALL,
    "packets::nft::{family}::stuck::a_chain_that_others_jump_to_is_left",
    a_chain_that_others_jump_to_is_left(family)
);
fn a_chain_that_others_jump_to_is_left(family: Family) {
    let node = node(Backend::Nft, "mangle", "auto");
    node.apply();
    let daemon = node.daemon();
    let ip = family.ip();
    let mut damage: Vec<String> =
        ["flush", "delete", "add"].map(|verb| format!("{verb} chain {ip} mangle INPUT")).into();
    damage.extend([format!("add chain {ip} mangle theirs"), format!("add rule {ip} mangle theirs counter jump INPUT")]);
    nft(&node, &damage);
    let told = |problem: &String| problem.contains("INPUT") && problem.contains("jump");
    daemon
        .wait_until("telling of the chain", |status| !status.report.in_sync && status.report.problems.iter().any(told));
    nft(&node, &[format!("flush chain {ip} mangle theirs")]);
    daemon.wait_until("in sync", |status| status.report.in_sync);
    assert_eq!(hooks("mangle").len(), shape(&node, family, "mangle").matches("type ").count());
}
