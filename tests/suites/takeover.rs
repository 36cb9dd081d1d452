//! On a node that Felix programmed, the first plan is empty: in scope `all`, where Ruleward takes over Felix's nat
//! part, and in scope `jumps`, where Felix keeps running. Nothing that a real Felix wrote is touched.

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::Trial;
use ruleward_tests::policies::{calico, calico_jumps};
use ruleward_tests::save::{assert_same, rules_of};
use ruleward_tests::trial::trial;
use ruleward_tests::{Backend, Family, Node, TABLES};
use ruleward_tests::{trial, trials};
use serde_json::{Value, json};

type Policy = fn(&str) -> Value;

/// Folders `data/captures/vVERSION/CONFIGURATION`.
fn captures() -> Vec<(String, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/captures");
    let folders = |path: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut folders: Vec<_> =
            entries.map(|entry| entry.expect("readable").path()).filter(|path| path.is_dir()).collect();
        folders.sort();
        folders
    };
    let version =
        |folder: &Path| folder.file_name().map(|name| name.to_string_lossy().trim_start_matches('v').to_owned());
    let all: Vec<_> = folders(&root)
        .iter()
        .flat_map(|of| folders(of).into_iter().map(|folder| (version(of).unwrap_or_default(), folder)))
        .collect();
    assert!(!all.is_empty(), "no captures in {}", root.display());
    all
}

fn read(capture: &Path, name: &str) -> String {
    fs::read_to_string(capture.join(name)).unwrap_or_else(|error| panic!("{}/{name}: {error}", capture.display()))
}

/// Loads what Felix programmed, all tables that the capture has, and gives the node Felix's inputs.
fn programmed_by_felix(node: &Node, capture: &Path, policy: &Value) {
    node.load_sets(&read(capture, "ipset.save"));
    for (family, suffix) in [(Family::Ipv4, "4.save"), (Family::Ipv6, "6.save")] {
        for table in TABLES.iter().filter(|table| capture.join(format!("{table}{suffix}")).exists()) {
            node.load(family, &read(capture, &format!("{table}{suffix}")));
        }
    }
    node.resources(&read(capture, "resources.yaml"));
    node.configure(json!({ "policies": { "calico-postrouting": policy } }));
}

trials!(first_plans);
/// One for each capture, with either policy.
fn first_plans() -> Vec<Trial> {
    let mut trials = Vec::new();
    for backend in Backend::ALL {
        for (version, capture) in captures() {
            for (scope, policy) in [("all", calico as Policy), ("jumps", calico_jumps)] {
                let name = format!(
                    "takeover::{backend}::{scope}::v{version}::{}",
                    capture.file_name().unwrap_or_default().to_string_lossy()
                );
                let (version, capture) = (version.clone(), capture.clone());
                trials.push(trial(name, move || the_first_plan_is_empty(backend, &capture, &policy(&version))));
            }
        }
    }
    trials
}

fn the_first_plan_is_empty(backend: Backend, capture: &Path, policy: &Value) {
    let node = Node::new(backend);
    programmed_by_felix(&node, capture, policy);
    let before = node.save_all();
    node.plan(0).assert_unchanged();
    assert_same("everything after `plan`", &before, &node.save_all());
    let daemon = node.daemon();
    daemon.refresh().assert_unchanged();
    assert_same("everything after `run` and `refresh`", &before, &node.save_all());
    node.plan(0).assert_unchanged();
    assert_eq!(daemon.status().incidents_total, 0);
    // The same resources as calicoctl prints them, one call a kind.
    if capture.join("calicoctl-get.yaml").exists() {
        node.resources(&read(capture, "calicoctl-get.yaml"));
        node.plan(0).assert_unchanged();
    }
}

fn capture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/captures").join(path)
}

trial!(
    for backend in Backend::ALL,
    "takeover::{backend}::jumps_come_back_beside_felix",
    jumps_come_back_beside_felix(backend)
);
/// The remedy for a node on v3.28.2: Felix runs, and only its jumps are kept.
fn jumps_come_back_beside_felix(backend: Backend) {
    let node = Node::new(backend);
    programmed_by_felix(&node, &capture("v3.28.3/strangers"), &calico_jumps("3.28.2"));
    let daemon = node.daemon();
    let before = node.save_all();
    for family in Family::ALL {
        for (hook, chain) in
            [("PREROUTING", "cali-PREROUTING"), ("OUTPUT", "cali-OUTPUT"), ("POSTROUTING", "cali-POSTROUTING")]
        {
            let save = node.save(family, "nat");
            let target = format!("-j {chain}");
            let jump = rules_of(&save, hook).into_iter().find(|rule| rule.ends_with(&target));
            let jump = jump.unwrap_or_else(|| panic!("no jump in {hook}:\n{save}")).to_owned();
            let rule = jump.splitn(3, ' ').nth(2).unwrap_or_default();
            let incidents = daemon.status().mark();
            node.stranger(family).delete("nat", hook, rule);
            daemon.refresh_since(&incidents).assert_incident(&["rule-deleted"], &family.to_string(), "nat", hook);
            assert_same("everything", &before, &node.save_all());
        }
    }
    // Felix adds a chain and a rule of its own: in scope `jumps` that is its affair.
    node.stranger(Family::Ipv4).new_chain("nat", "cali-new");
    node.stranger(Family::Ipv4).append(
        "nat",
        "cali-POSTROUTING",
        "-m comment --comment \"cali:0123456789abcdef\" -j cali-new",
    );
    let before = node.save_all();
    daemon.refresh().assert_unchanged();
    assert_same("everything", &before, &node.save_all());
}

trial!(
    for backend in Backend::ALL,
    "takeover::{backend}::jumps_wait_for_felix",
    jumps_wait_for_felix(backend)
);
/// Before Felix has made its chains there is nothing to jump to.
fn jumps_wait_for_felix(backend: Backend) {
    let node = Node::new(backend);
    node.resources(&read(&capture("v3.28.3/vxlan"), "resources.yaml"));
    node.configure(json!({ "policies": { "calico-postrouting": calico_jumps("3.28.2") } }));
    let before = node.save_all();
    let daemon = node.daemon();
    assert_same("everything", &before, &node.save_all());
    for family in Family::ALL {
        node.stranger(family).new_chain("nat", "cali-POSTROUTING");
    }
    daemon.refresh();
    for family in Family::ALL {
        let save = node.save(family, "nat");
        let jump = "-A POSTROUTING -m comment --comment \"cali:0i8pjzKKPyA34aQD\" -j cali-POSTROUTING";
        assert_eq!(rules_of(&save, "POSTROUTING"), [jump]);
        assert!(!save.contains("-j cali-OUTPUT"), "{save}");
    }
}

trial!(
    for backend in Backend::ALL,
    "takeover::{backend}::from_the_older_dialect_to_the_newer",
    from_the_older_dialect_to_the_newer(backend)
);
/// After an upgrade of Calico: the same node, the new names and identifiers, and nothing of the old left.
fn from_the_older_dialect_to_the_newer(backend: Backend) {
    let node = Node::new(backend);
    programmed_by_felix(&node, &capture("v3.28.3/port-range"), &calico("3.32.1"));
    assert_eq!(node.apply().outcome, "changed");
    let newer = Node::new(backend);
    programmed_by_felix(&newer, &capture("v3.32.1/port-range"), &calico("3.32.1"));
    assert_same("everything", &newer.save_all(), &node.save_all());
    node.apply().assert_unchanged();
}
