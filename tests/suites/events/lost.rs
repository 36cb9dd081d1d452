//! Events that are lost, and events that come all at once: everything is repaired, whoever is named did it, and a
//! flood is one incident.

use ruleward_tests::trial;
use ruleward_tests::{Backend, Daemon, Family, Incident, poll, sandbox};
use serde_json::json;

use super::{JUMPS, all_comes_back, comes_back, deletion, quiet_node};

/// One nft transaction of somebody who is not the machine's own root must fit into net.core.wmem_max.
fn flood(backend: Backend) -> usize {
    if backend == Backend::Legacy || sandbox::is_real_root() { 10_000 } else { 400 }
}

/// Restore text that fills the stranger's own chain, with one more line.
fn restore_text(count: usize, table: &str, last: &str) -> String {
    let rules: String = (0..count).map(|n| format!("-A theirs -p udp --dport {} -j RETURN\n", 1 + n)).collect();
    format!("*{table}\n:theirs - [0:0]\n{rules}{last}\nCOMMIT\n")
}

/// Each incident at the place names its actor or nobody; there is one at least.
#[track_caller]
fn right_or_unknown(daemon: &Daemon, family: Family, table: &str, name: &str) {
    let here =
        |incident: &&Incident| incident.family == Some(family.to_string()) && incident.table.as_deref() == Some(table);
    let told = daemon.wait_until(&format!("telling of {family} {table}"), |status| {
        status.report.in_sync && status.report.incidents.iter().any(|incident| here(&incident))
    });
    let names: Vec<_> =
        told.report.incidents.iter().filter(here).map(|incident| incident.actor().name.clone()).collect();
    let kernel_name: String = name.chars().take(15).collect();
    assert!(
        names.iter().all(|found| *found == kernel_name || found == "unknown"),
        "{kernel_name} did it at {family} {table}, {names:?} are accused"
    );
}

trial!(
    for backend in Backend::ALL,
    "events::{backend}::lost::buffer_overflows",
    buffer_overflows(backend)
);
/// In the first table our jump goes in the same restore as the flood, in the second right behind one.
fn buffer_overflows(backend: Backend) {
    let (node, daemon) = quiet_node(backend, &[("event-buffer", json!("4KiB"))]);
    let count = flood(backend);
    let family = Family::Ipv4;
    let ([_, nat, ..], restore) = (JUMPS, family.tool(backend, "restore"));
    let before = node.save(family, nat.0);
    node.add(family, &restore_text(count, nat.0, &deletion(&node, family, nat)));
    poll("our jump is there again", || {
        let now = node.save(family, nat.0);
        let without: String =
            now.lines().filter(|line| !line.contains("theirs")).map(|line| format!("{line}\n")).collect();
        let stays = now.lines().filter(|line| line.starts_with("-A theirs ")).count() == count;
        (without == before && stays).then_some(())
    });
    right_or_unknown(&daemon, family, nat.0, &restore);

    for family in Family::ALL {
        let mangle = JUMPS[2];
        let before = node.save(family, mangle.0);
        let words = format!("-w -t {} {}", mangle.0, deletion(&node, family, mangle));
        node.add(family, &restore_text(count, "filter", ""));
        node.command("sh").args(&["-c", &format!("{} {words}", family.tool(backend, ""))]).must();
        comes_back(&node, family, mangle.0, &before);
        right_or_unknown(&daemon, family, mangle.0, &family.tool(backend, ""));
    }
}

trial!(
    for backend in Backend::ALL,
    "events::{backend}::lost::daemon_is_stopped_for_a_while",
    daemon_is_stopped_for_a_while(backend)
);
/// Much happens while it can't look: another actor in every place.
fn daemon_is_stopped_for_a_while(backend: Backend) {
    let (node, daemon) = quiet_node(backend, &[]);
    let before = node.save_all();
    let [filter, nat, mangle, security] = JUMPS;
    daemon.pause();
    let words = format!("-w -t {} {}", nat.0, deletion(&node, Family::Ipv4, nat));
    node.command("sh").args(&["-c", &format!("{} {words}", Family::Ipv4.tool(backend, ""))]).must();
    node.stranger(Family::Ipv6).flush_chain(mangle.0, mangle.2);
    let line = format!("*{}\n{}\nCOMMIT\n", security.0, deletion(&node, Family::Ipv6, security));
    node.add(Family::Ipv6, &line);
    let past_the_tools = match backend {
        Backend::Nft => ["delete-needle", "ipv4", filter.0, filter.1, filter.2],
        Backend::Legacy => ["legacy-delete", "ipv4", filter.0, filter.1, "1"],
    };
    node.raw(&past_the_tools).must();
    // And much that concerns nobody.
    node.add(Family::Ipv4, &restore_text(flood(backend), "raw", ""));
    node.command(Family::Ipv4.tool(backend, "")).args(&["-w", "-t", "raw", "-F", "theirs"]).must();
    node.command(Family::Ipv4.tool(backend, "")).args(&["-w", "-t", "raw", "-X", "theirs"]).must();
    daemon.resume();
    all_comes_back(&node, &before);
    right_or_unknown(&daemon, Family::Ipv4, nat.0, &Family::Ipv4.tool(backend, ""));
    right_or_unknown(&daemon, Family::Ipv6, mangle.0, Family::Ipv6.program());
    right_or_unknown(&daemon, Family::Ipv6, security.0, &Family::Ipv6.tool(backend, "restore"));
    let raw = if backend == Backend::Nft { "raw_stranger" } else { "unknown" };
    right_or_unknown(&daemon, Family::Ipv4, filter.0, raw);
}

trial!(
    for backend in Backend::ALL,
    "events::{backend}::lost::a_flood_is_one_incident",
    a_flood_is_one_incident(backend)
);
/// Ten thousand changes of one chain between two looks.
fn a_flood_is_one_incident(backend: Backend) {
    let (node, daemon) = quiet_node(backend, &[]);
    let (table, _, chain) = JUMPS[0];
    let before = node.save(Family::Ipv4, table);
    let incidents = daemon.status().mark();
    daemon.pause();
    match backend {
        Backend::Nft => drop(node.raw(&["burst", "ipv4", table, chain, "10000", "many"]).must()),
        Backend::Legacy => {
            for number in 0..50 {
                let rules: String = (0..200)
                    .map(|n| format!("-A {chain} -p udp --dport {} -j RETURN\n", 1 + n + 200 * number))
                    .collect();
                node.add(Family::Ipv4, &format!("*{table}\n{rules}COMMIT\n"));
            }
        }
    }
    daemon.resume();
    comes_back(&node, Family::Ipv4, table, &before);
    let incident = daemon.incident_after(&incidents, "rule-added", Family::Ipv4, table, chain);
    assert_eq!(daemon.status().since(&incidents).len(), 1, "a flood is one incident");
    // On legacy nobody tells how many there were, and a small buffer forgets.
    // What has not been heard within a tenth of a second, on a busy machine, does not hold up the repair and is not counted.
    if backend == Backend::Nft && sandbox::is_real_root() {
        assert!(incident.events >= 1_000, "there were 10000 changes: {} events", incident.events);
    }
    let lines = daemon.log().lines().count();
    assert!(lines < 5_000, "the log has {lines} lines for one incident");
}
