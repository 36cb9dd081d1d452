//! Writers that never pause while we repair: at rest all that is ours is there once, all that is theirs is there once,
//! and both are in order.

use ruleward_tests::save::rules_of;
use ruleward_tests::trial;
use ruleward_tests::{Backend, Daemon, Family, Node, try_poll};

use super::{JUMPS, deletion, quiet_node};

/// What a chain holds in the end: our jump, and the stranger's rules by their comments.
fn order(node: &Node, family: Family, (table, hook, target): (&str, &str, &str)) -> Vec<String> {
    let save = node.save(family, table);
    let ours = format!("-j {target}");
    let name = |rule: &&str| {
        let comment = rule.split("--comment ").nth(1).and_then(|rest| rest.split(' ').next());
        if rule.ends_with(&ours) { "ours".to_owned() } else { comment.unwrap_or("first").to_owned() }
    };
    rules_of(&save, hook).iter().map(name).collect()
}

/// `left` with the stranger's older rule in its middle, and our jump where it belongs.
fn expected(hook: &str, left: &[String]) -> Vec<String> {
    let mut all = left.to_vec();
    if hook == "POSTROUTING" {
        all.push("ours".to_owned());
    } else {
        all.insert(0, "ours".to_owned());
    }
    all
}

/// Waits until each chain is as it should be, and looks again after the daemon says that it is in sync.
#[track_caller]
fn at_rest(node: &Node, daemon: &Daemon, family: Family, place: (&str, &str, &str), left: &[String]) {
    let wanted = expected(place.1, left);
    let found = || {
        let mut found = order(node, family, place);
        // It stands wherever the writer's ends have moved past it.
        found.retain(|name| name != "first");
        found
    };
    let settled = try_poll(|| (found() == wanted).then_some(()));
    assert!(settled.is_some(), "{family} {place:?} at rest:\n  wanted {wanted:?}\n  found  {:?}", found());
    daemon.wait_until("in sync", |status| status.report.in_sync);
    assert_eq!(found(), wanted, "{family} {place:?}, after it was said to be in sync");
    let first = order(node, family, place).iter().filter(|name| *name == "first").count();
    assert_eq!(first, 1, "the stranger's older rule in {family} {place:?}");
}

/// The comments that a writer says it left.
fn left(lines: &[String]) -> Vec<String> {
    lines.iter().filter_map(|line| line.strip_prefix("left ")).map(ToOwned::to_owned).collect()
}

trial!("events::nft::races::writers_and_deleters_in_four_tables", writers_and_deleters_in_four_tables());
/// In each table of both families one writes thousands of rounds and another deletes our jump whenever it sees it.
fn writers_and_deleters_in_four_tables() {
    let (node, daemon) = quiet_node(Backend::Nft, &[]);
    let places: Vec<_> = Family::ALL.iter().flat_map(|family| JUMPS.map(|place| (*family, place))).collect();
    let mut pairs: Vec<_> = places
        .iter()
        .map(|(family, (table, hook, target))| {
            let family = family.to_string();
            let writer = node.raw(&["write-loop", &family, table, hook, "w", "1000"]).start();
            (writer, node.raw(&["loop-delete", &family, table, hook, target, "0"]).start())
        })
        .collect();
    for (writer, _) in &mut pairs {
        for thousand in 1..=3 {
            writer.says(&format!("round {thousand}000"));
        }
    }
    let mut lefts = Vec::new();
    let mut deleted = 0;
    for (writer, deleter) in pairs {
        let last = deleter.finish().pop().unwrap_or_default();
        deleted += last.strip_prefix("deleted ").and_then(|count| count.parse::<u64>().ok()).unwrap_or(0);
        lefts.push(left(&writer.finish()));
    }
    eprintln!(
        "events::nft::races: {} writers wrote 3000 rounds each, our jumps were deleted {deleted} times",
        lefts.len()
    );
    assert!(deleted >= places.len() as u64, "the deleters hardly found a jump: {deleted}");
    for ((family, place), left) in places.iter().zip(&lefts) {
        at_rest(&node, &daemon, *family, *place, left);
    }
}

trial!("events::nft::races::a_writer_without_a_pause", a_writer_without_a_pause());
/// No transaction that names a generation comes in time: whatever the daemon does instead, nothing may be lost.
fn a_writer_without_a_pause() {
    let (node, daemon) = quiet_node(Backend::Nft, &[]);
    let (family, place) = (Family::Ipv4, JUMPS[0]);
    let mut writer = node.raw(&["write-loop", "ipv4", place.0, place.1, "w", "0"]).start();
    writer.says("round 1000");
    for other in [JUMPS[1], JUMPS[2], place] {
        node.raw(&["delete-needle", "ipv4", other.0, other.1, other.2]).must();
    }
    for thousand in 2..=50 {
        writer.says(&format!("round {thousand}000"));
    }
    let left = left(&writer.finish());
    at_rest(&node, &daemon, family, place, &left);
    at_rest(&node, &daemon, family, JUMPS[1], &[]);
    at_rest(&node, &daemon, family, JUMPS[2], &[]);
}

trial!("events::legacy::races::writers_under_the_lock", writers_under_the_lock());
/// The stock tool in a loop, at both ends of a chain, and our jump deleted in between.
fn writers_under_the_lock() {
    let (node, daemon) = quiet_node(Backend::Legacy, &[]);
    let family = Family::Ipv4;
    let tool = family.tool(Backend::Legacy, "");
    let write = |place: (&str, &str, &str)| {
        let delete = deletion(&node, family, place);
        let script = format!(
            "i=0; while [ $i -lt 200 ]; do i=$((i + 1))\n\
             {tool} -w -t {0} -A {1} -m comment --comment b$i || exit 1\n\
             {tool} -w -t {0} -I {1} -m comment --comment f$i || exit 1\n\
             [ $i -le 4 ] || {{ {tool} -w -t {0} -D {1} -m comment --comment b$((i - 4)) || exit 1\n\
             {tool} -w -t {0} -D {1} -m comment --comment f$((i - 4)) || exit 1; }}\n\
             [ $((i % 4)) -ne 0 ] || {tool} -w -t {0} {delete} 2>/dev/null\n\
             done; true\n",
            place.0, place.1
        );
        node.command("sh").args(&["-c", &script]).must();
    };
    std::thread::scope(|scope| {
        let writers = [JUMPS[0], JUMPS[1]].map(|place| scope.spawn(move || write(place)));
        writers.into_iter().for_each(|writer| writer.join().expect("a writer failed"));
    });
    let left: Vec<_> = (197..=200).rev().map(|n| format!("f{n}")).chain((197..=200).map(|n| format!("b{n}"))).collect();
    for place in [JUMPS[0], JUMPS[1]] {
        at_rest(&node, &daemon, family, place, &left);
    }
}
