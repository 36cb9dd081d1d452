//! Facts, settings and grants change while policies are evaluated. Whatever comes into force belongs to one snapshot of
//! all three: each read of the kernel shows one of the states that belong to them, never parts of two; and each record
//! is given again from the inputs that it names.

use std::collections::BTreeSet;
use std::fs;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ruleward_tests::policies::calico;
use ruleward_tests::save::canonical;
use ruleward_tests::trial;
use ruleward_tests::{Backend, Family, Node, poll};
use serde_json::{Value, json};

use crate::traffic::POOLS;

/// So often something is changed.
const CHANGES: u32 = 150;
/// Pools of each snapshot, so many that an evaluation takes as long as some changes are apart.
const MANY: u32 = 500;
/// Longest pause between two changes, in microseconds: a burst of them is let come to rest for 50 ms.
const PAUSE: u64 = 160_000;

/// Settings and grants, which are in one file: without the grant the ports that the resources ask for are not seen.
fn policy(variant: usize) -> Value {
    let mut policy = calico(["3.32.1", "3.28.2"][variant]);
    if variant == 1 {
        policy["grants"]["resources"] = json!(["IPPool", "Node"]);
    }
    policy
}

/// Ports and pools, which are in one file.
fn resources(variant: usize) -> String {
    let mut text = POOLS.to_owned();
    for number in 0..MANY {
        let (high, low) = (number / 250, number % 250);
        text += &format!(
            "---\napiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {{name: p{number}}}\n\
             spec: {{cidr: '10.{}.{low}.0/24', natOutgoing: true, ipipMode: Never, vxlanMode: Never}}\n",
            100 + 50 * variant as u32 + high,
        );
    }
    let range = ["20000:40000", "30000:50000"][variant];
    text + &format!(
        "---\napiVersion: projectcalico.org/v3\nkind: FelixConfiguration\nmetadata: {{name: default}}\n\
         spec: {{natPortRange: '{range}'}}\n"
    )
}

/// What a reader sees in one look at the nat table. None: iptables-save asks for the names of sets after it has read the
/// rules, and one of them had been replaced by then.
fn glance(node: &Node, family: Family) -> Option<String> {
    let output = node.command(family.tool(node.backend, "save")).args(&["-c", "-t", "nat"]).output();
    if output.code == Some(2) && output.stderr.contains("Set with index") {
        return None;
    }
    assert_eq!(output.code, Some(0), "{output:?}");
    Some(canonical(&output.stdout))
}

/// Both families.
fn look(node: &Node) -> Option<[String; 2]> {
    let [ipv4, ipv6] = Family::ALL.map(|family| glance(node, family));
    Some([ipv4?, ipv6?])
}

/// Puts `text` in place of a file in one step.
fn put(node: &Node, name: &str, text: &str) {
    node.write("new", text);
    fs::rename(node.path("new"), node.path(name)).expect("the same file system");
}

trial!(
    for backend in Backend::ALL,
    "reload::snapshot::{backend}::what_comes_into_force_belongs_to_one",
    what_comes_into_force_belongs_to_one(backend)
);
fn what_comes_into_force_belongs_to_one(backend: Backend) {
    let node = Node::new(backend);
    let configurations = [0, 1].map(|variant| {
        let policies = json!({ "calico": policy(variant) });
        node.configure(json!({ "watch": "auto", "history-versions": 1000, "policies": policies }));
        fs::read_to_string(node.path("ruleward.toml")).expect("it was just written")
    });
    let choices = [(0, 0), (0, 1), (1, 0), (1, 1)];
    let change = |(configuration, resource): (usize, usize)| {
        put(&node, "ruleward.toml", &configurations[configuration]);
        put(&node, "resources/all.yaml", &resources(resource));
    };
    let states = choices.map(|choice| {
        change(choice);
        node.apply();
        (look(&node).expect("nobody changes anything"), node.sets())
    });
    let distinct = states.iter().map(|(nat, sets)| format!("{nat:?}{sets}")).collect::<BTreeSet<_>>();
    assert_eq!(distinct.len(), choices.len(), "two snapshots come to the same");

    let daemon = node.daemon();
    let ended = AtomicBool::new(false);
    let mut luck: u64 = 10_087;
    std::thread::scope(|scope| {
        let (node, states, ended) = (&node, &states, &ended);
        let reader = scope.spawn(move || {
            let mut seen = BTreeSet::new();
            while !ended.load(Ordering::Acquire) {
                for (at, family) in Family::ALL.into_iter().enumerate() {
                    let Some(text) = glance(node, family) else { continue };
                    let state = states.iter().position(|(nat, _)| nat[at] == text);
                    seen.insert((at, state.unwrap_or_else(|| panic!("this belongs to no snapshot:\n{text}"))));
                }
            }
            seen
        });
        for _ in 0..CHANGES {
            luck = luck.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let variant = usize::from(luck >> 40 & 1 == 1);
            if luck >> 41 & 1 == 1 {
                put(node, "ruleward.toml", &configurations[variant]);
            } else {
                put(node, "resources/all.yaml", &resources(variant));
            }
            std::thread::sleep(Duration::from_micros((luck >> 44) % PAUSE));
        }
        ended.store(true, Ordering::Release);
        let seen = reader.join().unwrap_or_else(|panic| resume_unwind(panic));
        assert!(seen.len() > 2, "nothing changed meanwhile: {seen:?}");
    });
    for (choice, (nat, sets)) in choices.into_iter().zip(&states) {
        change(choice);
        poll("the last snapshot is in force", || {
            (look(&node).as_ref() == Some(nat) && node.sets() == *sets).then_some(())
        });
    }
    daemon.stop();
    let policy = |words: &[&str]| {
        let output = node.ruleward(&[&["--output", "json", "policy"], words].concat()).output();
        assert_eq!(output.code, Some(0), "{output:#?}");
        serde_json::from_str::<Value>(&output.stdout).expect("it was asked for JSON")
    };
    let records = policy(&["history", "calico"]);
    let records = records.as_array().expect("a list");
    assert!(records.len() > 2 * choices.len(), "hardly a record: {records:#?}");
    for record in records {
        assert_eq!(record["outcome"], "in-force", "{record:#}");
        let replay = policy(&["replay", record["record"].as_str().expect("a record has a name")]);
        assert_eq!(replay["identical"], true, "{replay:#}");
    }
    eprintln!("reload::snapshot::{backend}: {} records", records.len());
}
