//! Damage to a jump in a built-in chain.

use ruleward_tests::Placement;
use ruleward_tests::save::rules_of;

use super::group::{Case, Scene};

pub const CASES: &[(&str, Case)] = &[
    ("jump-deleted", deleted),
    ("jump-moved", moved),
    ("jump-overtaken", overtaken),
    ("jump-duplicated", duplicated),
    ("jump-without-comment", without_comment),
    ("jump-edited", edited),
];

fn deleted(scene: &Scene<'_>) {
    scene.stranger.delete(scene.place.table, scene.place.hook, &scene.jump().0);
    scene.repaired("rule-deleted", scene.place.hook);
}

/// Taken out, and put back at the other end of the chain.
fn moved(scene: &Scene<'_>) {
    let (jump, _) = scene.jump();
    let (table, hook) = (scene.place.table, scene.place.hook);
    scene.hold();
    scene.stranger.delete(table, hook, &jump);
    match scene.place.placement {
        Placement::First => scene.stranger.append(table, hook, &jump),
        Placement::Last => scene.stranger.insert(table, hook, 1, &jump),
    }
    scene.repaired("rule-moved", hook);
}

/// A stranger's rule stands where only ours should: it stays, but on the other side of our jump.
fn overtaken(scene: &Scene<'_>) {
    let (jump, _) = scene.jump();
    let (table, hook) = (scene.place.table, scene.place.hook);
    let foreign = format!("-d {} -j RETURN", scene.place.family.address(101));
    // The text of the stranger's rule is learned from where it stands.
    scene.hold();
    match scene.place.placement {
        Placement::First => scene.stranger.insert(table, hook, 1, &foreign),
        Placement::Last => scene.stranger.append(table, hook, &foreign),
    }
    let damaged = scene.node.save(scene.place.family, table);
    let shown = rules_of(&damaged, hook).into_iter().find(|rule| !scene.before.contains(rule)).unwrap_or_else(|| {
        panic!("the stranger's rule is not there:\n{damaged}");
    });
    let line = format!("-A {hook} {jump}\n");
    let both = match scene.place.placement {
        Placement::First => format!("{line}{shown}\n"),
        Placement::Last => format!("{shown}\n{line}"),
    };
    let expected = scene.before.replace(&line, &both);
    let report = scene.check(&expected);
    report.assert_incident(&["rule-moved"], &scene.place.family.to_string(), table, hook);
    scene.stranger.delete(table, hook, &foreign);
    scene.quiet();
}

fn duplicated(scene: &Scene<'_>) {
    let (jump, number) = scene.jump();
    scene.stranger.insert(scene.place.table, scene.place.hook, number, &jump);
    scene.repaired("rule-duplicated", scene.place.hook);
}

/// A person puts the jump "back" by hand, without its identifier.
fn without_comment(scene: &Scene<'_>) {
    let (_, number) = scene.jump();
    let by_hand = format!("-j {}", scene.chain);
    scene.stranger.replace(scene.place.table, scene.place.hook, number, &by_hand);
    scene.repaired("rule-edited", scene.place.hook);
}

/// The identifier is intact, the jump now only takes some packets.
fn edited(scene: &Scene<'_>) {
    let (jump, number) = scene.jump();
    let narrowed = format!("-s {} {jump}", scene.place.family.address(9));
    scene.stranger.replace(scene.place.table, scene.place.hook, number, &narrowed);
    scene.repaired("rule-edited", scene.place.hook);
}
