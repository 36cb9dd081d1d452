//! What happened is still known after the daemon was killed, and its numbers go on.

use ruleward_tests::trial;
use ruleward_tests::{Backend, Family, Incident, Mark, Node};

use super::{JUMPS, comes_back, quiet_node};

/// What `ruleward incidents` prints: one object a line.
#[track_caller]
fn journal(node: &Node) -> Vec<Incident> {
    let text = node.ruleward(&["--output", "json", "incidents"]).must();
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("no incident ({error}): {line}"));
    text.lines().map(parse).collect()
}

trial!(
    for backend in Backend::ALL,
    "events::{backend}::journal::outlives_kill_9",
    outlives_kill_9(backend)
);
fn outlives_kill_9(backend: Backend) {
    let (node, mut daemon) = quiet_node(backend, &[]);
    let mut ids = Vec::new();
    for (round, (table, hook, target)) in [JUMPS[1], JUMPS[0]].into_iter().enumerate() {
        if round > 0 {
            daemon = node.daemon();
        }
        let before = node.save(Family::Ipv4, table);
        let known = journal(&node);
        assert_eq!(known.iter().map(|incident| incident.id).collect::<Vec<_>>(), ids, "{known:#?}");
        let jump = crate::strangers::jump(&node, Family::Ipv4, table, hook, target);
        node.stranger(Family::Ipv4).delete(table, hook, &jump);
        comes_back(&node, Family::Ipv4, table, &before);
        let last = ids.last().copied().unwrap_or(0);
        let told = daemon.incident_after(&Mark::default(), "rule-deleted", Family::Ipv4, table, hook);
        daemon.signal("KILL");
        assert_eq!(daemon.wait(), None);

        let known = journal(&node);
        let kept = known.iter().find(|incident| incident.id == told.id);
        let kept = kept.unwrap_or_else(|| panic!("incident {} is forgotten: {known:#?}", told.id));
        assert!(kept.is("rule-deleted", "ipv4", table, hook) && kept.repaired, "{kept:#?}");
        assert_eq!((&kept.added, &kept.actors, &kept.at), (&told.added, &told.actors, &told.at));
        assert!(kept.added.iter().any(|rule| rule.contains(target)), "it does not say which rule: {kept:#?}");
        assert!(told.id > last, "the numbers begin anew: {} after {last}", told.id);
        ids = known.iter().map(|incident| incident.id).collect();
    }
    let text = node.ruleward(&["incidents"]).must();
    assert!(text.contains("POSTROUTING") && text.contains("rule-deleted"), "{text}");
}
