//! Damage to a whole table. It takes the strangers' rules too, which are not ours to bring back: the table is then
//! exactly what is ours, and the case puts the strangers' rules back itself.

use ruleward_tests::save::without_rules;

use super::group::{Case, Scene};

pub const CASES: &[(&str, Case)] =
    &[("table-flushed", table_flushed), ("table-deleted", table_deleted), ("chain-planted", chain_planted)];

fn table_flushed(scene: &Scene<'_>) {
    let all = scene.node.save_exact(scene.place.family, scene.place.table);
    scene.stranger.flush_table(scene.place.table);
    let ours = without_rules(scene.before, |rule| !rule.contains("op-"));
    let report = scene.check(&ours);
    report.assert_incident(&["table-flushed"], &scene.place.family.to_string(), scene.place.table, "");
    scene.node.load(scene.place.family, &all);
    scene.quiet();
}

fn table_deleted(scene: &Scene<'_>) {
    let all = scene.node.save_exact(scene.place.family, scene.place.table);
    // With iptables-legacy this is a flush and more.
    scene.hold();
    scene.stranger.delete_table(scene.place.table);
    let ours = without_rules(scene.before, |rule| !rule.contains("op-")).replace(":other -\n", "");
    let report = scene.check(&ours);
    report.assert_incident(&["table-flushed"], &scene.place.family.to_string(), scene.place.table, "");
    scene.node.load(scene.place.family, &all);
    scene.quiet();
}

/// A chain with a name of ours that no policy asked for.
fn chain_planted(scene: &Scene<'_>) {
    let table = scene.place.table;
    scene.hold();
    scene.stranger.new_chain(table, "op-planted");
    scene.stranger.append(table, "op-planted", "-j ACCEPT");
    let report = scene.check(scene.before);
    report.assert_incident(&["chain-added"], &scene.place.family.to_string(), table, "op-planted");
}
