//! The capability set of the unit: with it everything works, and without each of them what the handbook says does not, and
//! it is said. What the unit grants is read from the unit.

use std::fs;
use std::path::Path;

use ruleward_tests::policies::{attachment, chain, set, static_rules};
use ruleward_tests::trial;
use ruleward_tests::{Backend, Daemon, Family, Incident, Node, Placement, sandbox, until_named};
use serde_json::{Value, json};

use super::node;

/// In small letters and without `cap_`.
fn of_the_unit() -> Vec<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/systemd/ruleward.service");
    let unit = fs::read_to_string(file).expect("the unit is in the checkout");
    let line = unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).expect("the unit has a set");
    line.to_lowercase().split_whitespace().map(|name| name.trim_start_matches("cap_").to_owned()).collect()
}

/// The unit's set without one of them.
fn confine(node: &Node, without: Option<&str>) {
    let all = of_the_unit();
    let kept = all.iter().filter(|name| Some(name.as_str()) != without);
    node.confine(&format!("-all{}", kept.map(|name| format!(",+{name}")).collect::<String>()));
}

trial!("service::capabilities::each_of_the_unit_is_tried", each_of_the_unit_is_tried());
/// Whoever adds a capability to the unit has to say here what it is for.
fn each_of_the_unit_is_tried() {
    assert_eq!(of_the_unit(), ["net_admin", "net_raw", "sys_admin", "sys_nice"]);
}

/// Somebody flushes the chain with our jump.
fn flush(node: &Node, daemon: &Daemon) -> Incident {
    let before = daemon.status().mark();
    node.command(Family::Ipv4.tool(node.backend, "")).args(&["-F", "INPUT"]).must();
    daemon.incident_after(&before, "rule-deleted", Family::Ipv4, "filter", "INPUT")
}

/// What is said of who did that, where it can be told.
fn actor_of_a_flush(node: &Node, daemon: &Daemon) -> String {
    until_named(node.backend, || flush(node, daemon)).actor().name.clone()
}

trial!(
    for backend in Backend::ALL,
    "service::capabilities::{backend}::those_of_the_unit_are_enough",
    those_of_the_unit_are_enough(backend)
);
fn those_of_the_unit_are_enough(backend: Backend) {
    let node = node(backend);
    node.set("policies", with_a_set());
    confine(&node, None);
    let daemon = node.daemon();
    let status = daemon.status();
    assert_eq!(status.report.basis.as_deref(), Some("rehearsed"));
    let watch = status.watch.expect("there is a watch");
    let tool = Family::Ipv4.tool(backend, "");
    match backend {
        Backend::Nft => {
            assert_eq!((watch.method.as_str(), watch.unproven), ("nf_tables events", 0));
            assert_eq!(actor_of_a_flush(&node, &daemon), tool);
        }
        Backend::Legacy if sandbox::is_real_root() => {
            assert_eq!(watch.method, "events of the xtables lock (fanotify)");
            assert_eq!(actor_of_a_flush(&node, &daemon), tool);
        }
        Backend::Legacy => assert_eq!(watch.method, "events of the xtables lock (inotify)"),
    }
    daemon.stop();
    let output = node.cleanup();
    assert!(!node.save_all().contains("op-"), "{output:?}");
}

trial!(
    for backend in Backend::ALL,
    "service::capabilities::{backend}::without_net_admin_it_does_not_start",
    without_net_admin_it_does_not_start(backend)
);
fn without_net_admin_it_does_not_start(backend: Backend) {
    let node = node(backend);
    confine(&node, Some("net_admin"));
    let output = node.ruleward(&["run"]).output();
    assert_eq!(output.code, Some(77), "{output:?}");
    assert!(output.stderr.contains("CAP_NET_ADMIN"), "{output:?}");
}

trial!(
    for backend in Backend::ALL,
    "service::capabilities::{backend}::without_net_raw",
    without_net_raw(backend)
);
/// iptables-legacy and whatever asks for sets open a raw socket; rules of iptables-nft without sets need none.
fn without_net_raw(backend: Backend) {
    let node = node(backend);
    confine(&node, Some("net_raw"));
    let reason = match backend {
        Backend::Legacy => "unable to initialize table",
        Backend::Nft => {
            node.daemon().stop();
            node.set("policies", with_a_set());
            "Can't open socket to ipset"
        }
    };
    let daemon = Daemon::start(&node);
    daemon.wait_until("told why", |status| {
        let policy = status.report.policies.iter().find(|policy| policy.name == "web");
        let candidate = policy.and_then(|policy| policy.candidate.as_ref());
        candidate.and_then(|candidate| candidate.reason.as_deref()).is_some_and(|told| told.contains(reason))
    });
}

/// A policy with a rule that asks for a set.
fn with_a_set() -> Value {
    json!({ "web": static_rules(
        &[chain(Family::Ipv4, "filter", "op-in", &["-m set --match-set op-some src -j RETURN"])],
        &[attachment(Family::Ipv4, "filter", "INPUT", Placement::First, "-j op-in")],
        &[set(Family::Ipv4, "op-some", "hash:ip", &["192.0.2.1"])],
    ) })
}

trial!(
    for backend in Backend::ALL,
    "service::capabilities::{backend}::without_sys_admin_nothing_is_rehearsed",
    without_sys_admin_nothing_is_rehearsed(backend)
);
fn without_sys_admin_nothing_is_rehearsed(backend: Backend) {
    let node = node(backend);
    confine(&node, Some("sys_admin"));
    let daemon = node.daemon();
    let status = daemon.status();
    assert_eq!(status.report.basis.as_deref(), Some("learned"));
    let said = |words: &str| status.report.notes.iter().any(|note| note.contains(words));
    assert!(said("CAP_SYS_ADMIN is needed"), "{:?}", status.report.notes);
    let watch = status.watch.clone().expect("there is a watch");
    assert!(watch.repair.contains("no rehearsal is possible"), "{watch:?}");
    // Repaired all the same; who did it is known on nft only.
    let tool = Family::Ipv4.tool(backend, "");
    match backend {
        Backend::Nft => assert_eq!(actor_of_a_flush(&node, &daemon), tool),
        Backend::Legacy => {
            assert_eq!(watch.method, "events of the xtables lock (inotify)");
            assert!(watch.detail.contains("CAP_SYS_ADMIN"), "{watch:?}");
            assert_eq!(flush(&node, &daemon).actor().name, "unknown");
        }
    }
}

trial!(
    for backend in Backend::ALL,
    "service::capabilities::{backend}::without_sys_nice_it_is_said",
    without_sys_nice_it_is_said(backend)
);
/// Only the writers of iptables-legacy are looked at in a hurry.
fn without_sys_nice_it_is_said(backend: Backend) {
    let node = node(backend);
    confine(&node, Some("sys_nice"));
    let daemon = node.daemon();
    assert_eq!(daemon.status().report.basis.as_deref(), Some("rehearsed"));
    let said = daemon.log().contains("CAP_SYS_NICE is missing");
    let fanotify = backend == Backend::Legacy && sandbox::is_real_root();
    assert_eq!(said, fanotify, "{}", daemon.log());
}
