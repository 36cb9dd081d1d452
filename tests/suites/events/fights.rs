//! Somebody undoes every repair at once: the daemon does not spin, says against whom, and is as quick as ever when it
//! is over. What that takes of a processor is measured by `cargo xtask bench fight`.

use std::time::{Duration, Instant};

use ruleward_tests::trial;
use ruleward_tests::{Backend, Family, Node, Running, can_be_told, sandbox};

use super::{JUMPS, comes_back, deletion, quiet_node};

const JUMP: (&str, &str, &str) = JUMPS[1];
/// Up to five repairs of one place within ten seconds are immediate. Then this is the first pause, and each is twice as
/// long as the one before.
const CALM: (u64, Duration) = (5, Duration::from_secs(10));
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// When the pause is as long, enough of them were seen to grow.
const LONG_PAUSE: Duration = Duration::from_secs(3);

/// Deletes the jump once.
#[track_caller]
fn strike(node: &Node, backend: Backend) {
    let (tool, delete) = (Family::Ipv4.tool(backend, ""), deletion(node, Family::Ipv4, JUMP));
    node.command("sh").args(&["-c", &format!("{tool} -w -t {} {delete}", JUMP.0)]).must();
}

/// Deletes it as soon as it is there, until [`end`].
fn opponent(node: &Node, backend: Backend) -> (Running, &'static str) {
    let (table, hook, target) = JUMP;
    match backend {
        Backend::Nft => (node.raw(&["loop-delete", "ipv4", table, hook, target, "0"]).start(), "raw_stranger"),
        Backend::Legacy => {
            let delete = deletion(node, Family::Ipv4, JUMP);
            // Until the test makes a file; the shell never reads its input.
            let script = format!(
                "n=0; until [ -e /run/enough ]; do {} -w -t {table} {delete} 2>/dev/null && n=$((n+1)); done; \
                 echo deleted $n",
                Family::Ipv4.tool(backend, "")
            );
            (node.command("sh").args(&["-c", &script]).start(), "iptables-legacy")
        }
    }
}

/// Stops the opponent: how often it has deleted the jump.
#[track_caller]
fn end(node: &Node, opponent: Running) -> u64 {
    node.command("touch").args(&["/run/enough"]).must();
    let said = opponent.finish();
    let count = said.last().and_then(|last| last.strip_prefix("deleted ")?.parse().ok());
    count.unwrap_or_else(|| panic!("the opponent does not say how often it has deleted the jump: {said:?}"))
}

/// How many repairs there may be in this time. The slower the machine, the longer it took, and the more it may be.
fn most_repairs(time: Duration) -> u64 {
    let mut most = CALM.0 * (1 + time.as_secs() / CALM.1.as_secs());
    let (mut pause, mut at) = (FIRST_PAUSE, FIRST_PAUSE);
    while at <= time {
        (pause, at, most) = (pause * 2, at + pause * 2, most + 1);
    }
    most
}

trial!(for backend in Backend::ALL, "events::{backend}::fights::end_bounded", fight(backend));
fn fight(backend: Backend) {
    let (node, daemon) = quiet_node(backend, &[]);
    let before = node.save(Family::Ipv4, JUMP.0);
    // On legacy only who comes alone is surely named: of many who take the lock one after the other it is not known
    // which did it, or they are gone when they are asked. None of that may hide the name.
    strike(&node, backend);
    comes_back(&node, Family::Ipv4, JUMP.0, &before);

    let began = Instant::now();
    let (running, name) = opponent(&node, backend);
    let pid = running.pid();
    let long = 1e3 * LONG_PAUSE.as_secs_f64();
    let told = daemon.wait_until("telling of a fight with long pauses", |status| {
        status.fights.first().is_some_and(|fight| fight.pause_ms >= long)
    });
    let told_after = began.elapsed();
    let deletions = end(&node, running);
    let (ended_after, most) = (began.elapsed(), most_repairs(began.elapsed()));
    eprintln!("events::{backend}::fights: {deletions} deletions in {ended_after:?}");

    let fight = &told.fights[0];
    // All pauses before this one together are as long as it is, but for the first.
    let pauses = Duration::from_secs_f64(fight.pause_ms / 1e3) - FIRST_PAUSE;
    assert!(told_after >= pauses, "it does not wait: {pauses:?} of pauses in {told_after:?}: {fight:#?}");
    // The jump was there at first. A check that looks again after a write, and comes between a deletion and the news of it,
    // repairs without waiting, and up to six times.
    assert!(deletions <= 1 + most + 6, "{deletions} deletions in {ended_after:?}, where {most} repairs were due");
    let place = fight.place.to_string();
    assert!(place.contains(JUMP.0) && place.contains(JUMP.1), "it does not say where: {fight:#?}");
    if can_be_told(backend) {
        assert!(fight.opponents.iter().any(|one| one.actor.name == name), "{fight:#?}");
    }
    if backend == Backend::Nft && sandbox::sees_real_pids() {
        assert!(fight.opponents.iter().any(|one| one.actor.pid == Some(pid)), "{fight:#?}");
    }

    comes_back(&node, Family::Ipv4, JUMP.0, &before);
    daemon.wait_until("at peace again", |status| status.fights.is_empty() && status.report.in_sync);
    let incidents = daemon.status().mark();
    strike(&node, backend);
    comes_back(&node, Family::Ipv4, JUMP.0, &before);
    daemon.incident_after(&incidents, "rule-deleted", Family::Ipv4, JUMP.0, JUMP.1);
}
