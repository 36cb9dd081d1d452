//! Somebody undoes every repair at once: the daemon does not spin, says against whom, and is as quick as ever when it
//! is over.

use std::time::Duration;

use libtest_mimic::Trial;
use ruleward_tests::trial::trial;
use ruleward_tests::{Backend, Daemon, Family, Node, Running, sandbox};

use super::{JUMPS, comes_back, deletion, quiet_node};

pub fn trials() -> Vec<Trial> {
    Backend::ALL.map(|backend| trial(format!("events::{backend}::fights::end_bounded"), move || fight(backend))).into()
}

const JUMP: (&str, &str, &str) = JUMPS[1];
/// How much of a core the daemon may use in a fight.
const SHARE: f64 = 0.05;

fn opponent(node: &Node, backend: Backend) -> (Running, &'static str) {
    let (table, hook, target) = JUMP;
    match backend {
        Backend::Nft => (node.raw(&["loop-delete", "ipv4", table, hook, target, "0"]).start(), "raw_stranger"),
        Backend::Legacy => {
            let delete = deletion(node, Family::Ipv4, JUMP);
            // Until the test makes a file; the shell never reads its input.
            let script = format!(
                "while :; do {} -w -t {table} {delete} 2>/dev/null; [ -e /run/enough ] && exit 0; done",
                Family::Ipv4.tool(backend, "")
            );
            (node.command("sh").args(&["-c", &script]).start(), "iptables-legacy")
        }
    }
}

/// The share of a core that the daemon uses in the next `window`. The only place where time itself is what is tested.
fn processor_share(daemon: &Daemon, window: Duration) -> f64 {
    let before = daemon.processor_time();
    std::thread::sleep(window);
    (daemon.processor_time() - before).as_secs_f64() / window.as_secs_f64()
}

fn fight(backend: Backend) {
    let (node, daemon) = quiet_node(backend, &[]);
    let before = node.save(Family::Ipv4, JUMP.0);
    let (running, name) = opponent(&node, backend);
    let pid = running.pid();
    processor_share(&daemon, Duration::from_secs(10));
    let share = processor_share(&daemon, Duration::from_secs(5));
    eprintln!("events::{backend}::fights: {:.2} % of a core after ten seconds", 100.0 * share);

    let told = daemon.wait_until("telling of a fight", |status| !status.fights.is_empty());
    let fight = &told.fights[0];
    assert!(fight.rounds > 1 && fight.pause_ms > 0.0, "{fight:#?}");
    let place = fight.place.to_string();
    assert!(place.contains(JUMP.0) && place.contains(JUMP.1), "it does not say where: {fight:#?}");
    if backend == Backend::Nft || sandbox::is_real_root() {
        assert_eq!(fight.opponent.name, name, "{fight:#?}");
    }
    if backend == Backend::Nft && sandbox::sees_real_pids() {
        assert_eq!(fight.opponent.pid, Some(pid), "{fight:#?}");
    }
    assert!(share < SHARE, "the daemon uses {:.2} % of a core in a fight", 100.0 * share);

    node.command("touch").args(&["/run/enough"]).must();
    running.finish();
    comes_back(&node, Family::Ipv4, JUMP.0, &before);
    daemon.wait_until("at peace again", |status| status.fights.is_empty() && status.report.in_sync);
    let incidents = daemon.status().mark();
    node.command("sh")
        .args(&[
            "-c",
            &format!("{} -w -t {} {}", Family::Ipv4.tool(backend, ""), JUMP.0, deletion(&node, Family::Ipv4, JUMP)),
        ])
        .must();
    comes_back(&node, Family::Ipv4, JUMP.0, &before);
    daemon.incident_after(&incidents, "rule-deleted", Family::Ipv4, JUMP.0, JUMP.1);
}
