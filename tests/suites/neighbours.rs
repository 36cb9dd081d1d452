//! Programs that write in several steps end as they do where nobody repairs: a repair comes before the first step or after
//! the last one. Afterwards all that is ours is back. Programs that have to be installed for it are in `cargo xtask neighbours`.

use std::fmt::Write;
use std::sync::Arc;

use ruleward_tests::save::chains_of;
use ruleward_tests::trial;
use ruleward_tests::{Backend, Daemon, Family, Node, poll};
use serde_json::json;

use crate::events::{JUMPS, quiet_node};

struct Scene {
    node: Arc<Node>,
    daemon: Daemon,
    backend: Backend,
}

impl Scene {
    fn new(backend: Backend) -> Self {
        let (node, daemon) = quiet_node(backend, &[]);
        Self { node, daemon, backend }
    }

    fn tool(&self, family: Family) -> String {
        family.tool(self.backend, "")
    }

    /// A script of several commands that another program runs: each of them must succeed.
    #[track_caller]
    fn script(&self, script: &str) {
        self.node.command("sh").args(&["-e", "-c", script]).must();
    }

    #[track_caller]
    fn restore(&self, family: Family, text: &str) {
        self.node.command(family.tool(self.backend, "restore")).args(&["-w", "-n"]).input(text).must();
    }

    /// All that is ours is in force again, and nobody asked for it.
    #[track_caller]
    fn all_is_back(&self) {
        poll("every chain and jump is back", || {
            let there = |family: Family, (table, hook, chain): (&str, &str, &str)| {
                let save = self.node.save(family, table);
                let jumps =
                    save.lines().filter(|line| line.starts_with(&format!("-A {hook} ")) && line.contains(chain));
                jumps.count() == 1 && save.lines().filter(|line| line.starts_with(&format!("-A {chain} "))).count() == 2
            };
            Family::ALL.into_iter().all(|family| JUMPS.into_iter().all(|jump| there(family, jump))).then_some(())
        });
        self.daemon.wait_until("in sync", |status| status.report.in_sync);
    }
}

trial!(
    for backend in Backend::ALL,
    "neighbours::{backend}::chains_are_deleted_after_a_flush",
    chains_are_deleted_after_a_flush(backend)
);
/// `iptables -F && iptables -X`: the second process does not find what the first has deleted. Another table each time, so
/// that no repair waits for another reason.
fn chains_are_deleted_after_a_flush(backend: Backend) {
    let scene = Scene::new(backend);
    for family in Family::ALL {
        for (table, ..) in JUMPS {
            let tool = scene.tool(family);
            scene.script(&format!("{tool} -w -t {table} -N fw; {tool} -w -t {table} -A OUTPUT -j fw"));
            scene.script(&format!("{tool} -w -t {table} -F && {tool} -w -t {table} -X"));
        }
    }
    scene.all_is_back();
    for family in Family::ALL {
        for (table, ..) in JUMPS {
            assert!(!chains_of(&scene.node.save(family, table)).contains(&"fw"), "what they deleted is gone");
        }
    }
}

trial!(
    for backend in Backend::ALL,
    "neighbours::{backend}::a_script_flushes_every_table",
    a_script_flushes_every_table(backend)
);
/// What `ufw-init flush-all` and many a firewall script do, one process for each step.
fn a_script_flushes_every_table(backend: Backend) {
    let scene = Scene::new(backend);
    let mut script = String::new();
    for family in Family::ALL {
        let tool = scene.tool(family);
        for (table, ..) in JUMPS {
            for step in ["-F", "-X", "-Z"] {
                writeln!(script, "{tool} -w -t {table} {step}").unwrap();
            }
        }
        writeln!(script, "{tool} -w -P INPUT ACCEPT; {tool} -w -P FORWARD ACCEPT").unwrap();
    }
    for _ in 0..2 {
        scene.script(&script);
        scene.all_is_back();
    }
}

trial!(
    for backend in Backend::ALL,
    "neighbours::{backend}::a_slow_script_outlasts_the_bound",
    a_slow_script_outlasts_the_bound(backend)
);
/// Longer than `repair-wait-mass` after the first table was flushed, the others are: none is repaired between its own two
/// steps because the first has waited long enough.
fn a_slow_script_outlasts_the_bound(backend: Backend) {
    let scene = Scene::new(backend);
    let (first, tool) = (JUMPS[0].0, scene.tool(Family::Ipv4));
    let mut script = format!("{tool} -w -t {first} -F && {tool} -w -t {first} -X\n");
    for step in ["-N", "-X"].into_iter().cycle().take(16) {
        writeln!(script, "{tool} -w -t raw {step} fw; sleep 0.1").unwrap();
    }
    for family in Family::ALL {
        let tool = scene.tool(family);
        for (table, ..) in JUMPS.into_iter().filter(|(table, ..)| *table != first) {
            writeln!(script, "{tool} -w -t {table} -F; sleep 0.1; {tool} -w -t {table} -X").unwrap();
        }
    }
    scene.script(&script);
    scene.all_is_back();
}

trial!(
    for backend in Backend::ALL,
    "neighbours::{backend}::one_restore_flushes_five_tables",
    one_restore_flushes_five_tables(backend)
);
/// Each table of a restore is a commit of its own.
fn one_restore_flushes_five_tables(backend: Backend) {
    let scene = Scene::new(backend);
    for _ in 0..2 {
        for family in Family::ALL {
            let (mut fill, mut flush) = (String::new(), String::new());
            for table in ruleward_tests::TABLES {
                writeln!(fill, "*{table}\n:fw-one - [0:0]\n:fw-two - [0:0]\n-A OUTPUT -j fw-one\n-A fw-one -j fw-two")
                    .unwrap();
                for number in 1..=100 {
                    writeln!(fill, "-A fw-two -s {} -j RETURN", family.address(number)).unwrap();
                }
                writeln!(fill, "COMMIT").unwrap();
                writeln!(flush, "*{table}\n-F\n-X\nCOMMIT").unwrap();
            }
            scene.restore(family, &fill);
            scene.restore(family, &flush);
        }
        scene.all_is_back();
    }
}

trial!(
    for backend in Backend::ALL,
    "neighbours::{backend}::a_restore_replaces_every_table",
    a_restore_replaces_every_table(backend)
);
/// `iptables-restore` without `--noflush`, as `netfilter-persistent` and ferm call it.
fn a_restore_replaces_every_table(backend: Backend) {
    let scene = Scene::new(backend);
    for family in Family::ALL {
        let mut text = String::new();
        for table in ruleward_tests::TABLES {
            writeln!(text, "*{table}\n:fw - [0:0]\n-A OUTPUT -j fw\n-A fw -s {} -j RETURN\nCOMMIT", family.address(9))
                .unwrap();
        }
        scene.node.command(family.tool(backend, "restore")).args(&["-w"]).input(&text).must();
        scene.all_is_back();
        for table in ruleward_tests::TABLES {
            let save = scene.node.save(family, table);
            assert!(save.contains("-A fw -s") && save.contains("-j fw\n"), "their rules stay:\n{save}");
        }
    }
}

trial!(
    for backend in Backend::ALL,
    "neighbours::{backend}::a_large_restore_beside_single_repairs",
    a_large_restore_beside_single_repairs(backend)
);
/// kube-proxy and Felix write thousands of lines at once, and delete chains in the same transaction. Meanwhile our rule is
/// deleted in the same table.
fn a_large_restore_beside_single_repairs(backend: Backend) {
    let scene = Scene::new(backend);
    let (family, (table, hook, _)) = (Family::Ipv4, JUMPS[0]);
    let chains = 300;
    for round in 0..4 {
        let (mut sync, mut clean) = (format!("*{table}\n"), format!("*{table}\n"));
        for chain in 0..chains {
            writeln!(sync, ":KUBE-{chain} - [0:0]\n-A KUBE-{chain} -s 10.0.{round}.1 -j RETURN").unwrap();
            writeln!(clean, ":KUBE-{chain} - [0:0]\n-X KUBE-{chain}").unwrap();
        }
        let before = scene.daemon.status().mark();
        std::thread::scope(|scope| {
            let tamper = scope.spawn(|| {
                let jump = crate::strangers::jump(&scene.node, family, table, hook, JUMPS[0].2);
                scene.node.command("sh").args(&["-c", &format!("{} -w -D {hook} {jump}", scene.tool(family))]).must();
            });
            for text in [&sync, &clean] {
                scene.restore(family, &format!("{text}COMMIT\n"));
            }
            tamper.join().unwrap();
        });
        scene.daemon.incident_after(&before, "rule-deleted", family, table, hook);
    }
    scene.all_is_back();
}

trial!(
    for backend in Backend::ALL,
    "neighbours::{backend}::a_program_that_never_pauses_is_not_waited_for",
    a_program_that_never_pauses_is_not_waited_for(backend)
);
/// Whoever writes without a pause holds up no repair for longer than the bound.
fn a_program_that_never_pauses_is_not_waited_for(backend: Backend) {
    let scene = Scene::new(backend);
    let tool = scene.tool(Family::Ipv4);
    let forever =
        format!("echo begins; while ! read -t 0 end; do {tool} -w -A FORWARD -j RETURN; {tool} -w -F FORWARD; done");
    let mut busy = scene.node.command("bash").args(&["-c", &forever]).start();
    busy.says("begins");
    scene.script(&format!("{tool} -w -t mangle -F"));
    scene.all_is_back();
    busy.finish();
}

trial!(
    for backend in Backend::ALL,
    "neighbours::{backend}::no_wait_is_a_choice",
    no_wait_is_a_choice(backend)
);
/// With bounds of nothing a repair is made as soon as it is heard of, whoever is in between.
fn no_wait_is_a_choice(backend: Backend) {
    let scene = Scene::new(backend);
    scene.node.set("repair-wait", json!("0s"));
    scene.node.set("repair-wait-mass", json!("0s"));
    scene.daemon.reload(0);
    let tool = scene.tool(Family::Ipv4);
    scene.script(&format!("{tool} -w -t nat -F"));
    scene.all_is_back();
}
