//! A table that another process owns: the kernel lets nobody else change it.

use ruleward_tests::trial;
use ruleward_tests::{Backend, Family};

use super::{comes_back, nft, node, shape};

trial!(
    for family in Family::ALL,
    "packets::nft::{family}::owned::is_a_problem_and_no_fight",
    is_a_problem_and_no_fight(family)
);
fn is_a_problem_and_no_fight(family: Family) {
    let node = node(Backend::Nft, "filter", "auto");
    node.apply();
    let daemon = node.daemon();
    let (before, rules) = (shape(&node, family, "filter"), node.save(family, "filter"));
    let ip = family.ip();
    // It lives as long as its input is open, and the table with it.
    let mut owner = node.command("nft").args(&["-i"]).start();
    owner.write(&format!("delete table {ip} filter; add table {ip} filter {{ flags owner; }}\n"));
    let pid = owner.pid();
    let told = |problem: &String| problem.contains("owner") && problem.contains(&format!("nft (pid {pid})"));
    let is_told = |status: &ruleward_tests::Status| !status.report.in_sync && status.report.problems.iter().any(told);
    daemon.wait_until("naming the owner", is_told);
    for number in 0..8 {
        owner.write(&format!("add chain {ip} filter theirs{number}\n"));
        super::awaits("the owner's chain", || {
            shape(&node, family, "filter").contains(&format!("theirs{number}")).then_some(())
        });
        daemon.refresh_ending_with(75);
    }
    let status = daemon.status();
    assert!(is_told(&status) && status.fights.is_empty(), "{status:#?}");
    let owned: Vec<_> = status.report.incidents.iter().filter(|incident| incident.kind == "table-owned").collect();
    assert!(matches!(owned.as_slice(), [one] if one.times == 1 && !one.repaired), "{:#?}", status.report.incidents);
    assert!(status.report.incidents.len() == 1, "nothing else has happened: {:#?}", status.report.incidents);
    // Other tables are kept.
    let other = if family == Family::Ipv4 { Family::Ipv6 } else { Family::Ipv4 };
    let kept = (shape(&node, other, "filter"), node.save(other, "filter"));
    nft(&node, &[format!("delete table {} filter", other.ip())]);
    comes_back(&node, other, "filter", (&kept.0, &kept.1));
    owner.finish();
    comes_back(&node, family, "filter", (&before, &rules));
    daemon.wait_until_in_sync();
}
