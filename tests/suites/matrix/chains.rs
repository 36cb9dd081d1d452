//! Damage to a chain of ours, for the chain that each jump of the matrix goes to.

use super::group::{Case, Scene};

pub const CASES: &[(&str, Case)] = &[
    ("rule-deleted", rule_deleted),
    ("rule-added", rule_added),
    ("rule-moved", rule_moved),
    ("rule-duplicated", rule_duplicated),
    ("rule-edited", rule_edited),
    ("chain-flushed", chain_flushed),
    ("chain-deleted", chain_deleted),
    ("chain-renamed", chain_renamed),
];

fn rule_deleted(scene: &Scene<'_>) {
    scene.stranger.delete(scene.place.table, &scene.chain, &scene.rule(2));
    scene.repaired("rule-deleted", &scene.chain);
}

fn rule_added(scene: &Scene<'_>) {
    scene.stranger.insert(scene.place.table, &scene.chain, 2, "-j RETURN");
    scene.repaired("rule-added", &scene.chain);
}

fn rule_moved(scene: &Scene<'_>) {
    scene.hold();
    scene.stranger.delete(scene.place.table, &scene.chain, &scene.rule(1));
    scene.stranger.append(scene.place.table, &scene.chain, &scene.rule(1));
    scene.repaired("rule-moved", &scene.chain);
}

fn rule_duplicated(scene: &Scene<'_>) {
    scene.stranger.append(scene.place.table, &scene.chain, &scene.rule(1));
    scene.repaired("rule-duplicated", &scene.chain);
}

/// The comment stays, the body does not: what comparing comments alone never sees.
fn rule_edited(scene: &Scene<'_>) {
    let edited = scene.rule(1).replace("-j RETURN", "-j ACCEPT");
    scene.stranger.replace(scene.place.table, &scene.chain, 1, &edited);
    scene.repaired("rule-edited", &scene.chain);
}

fn chain_flushed(scene: &Scene<'_>) {
    scene.stranger.flush_chain(scene.place.table, &scene.chain);
    scene.repaired("chain-flushed", &scene.chain);
}

/// Its jump must go first.
fn chain_deleted(scene: &Scene<'_>) {
    let table = scene.place.table;
    scene.hold();
    scene.stranger.delete(table, scene.place.hook, &scene.jump().0);
    scene.stranger.flush_chain(table, &scene.chain);
    scene.stranger.delete_chain(table, &scene.chain);
    scene.repaired("chain-deleted", &scene.chain);
}

/// The jump follows the chain to its new name.
fn chain_renamed(scene: &Scene<'_>) {
    scene.stranger.rename_chain(scene.place.table, &scene.chain, "op-renamed");
    let report = scene.check(scene.before);
    let (family, table) = (scene.place.family.to_string(), scene.place.table);
    report.assert_incident(&["chain-deleted"], &family, table, &scene.chain);
    report.assert_incident(&["chain-added"], &family, table, "op-renamed");
}
