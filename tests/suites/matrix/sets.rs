//! Damage to an address set, as far as the kernel lets a stranger go: a set in use can't be destroyed.

use std::sync::Arc;

use ruleward_tests::policies::{attachment, chain, set, static_rules};
use ruleward_tests::save::assert_same;
use ruleward_tests::{Backend, Daemon, Family, Node, Placement, Report, Status};
use serde_json::json;

use super::group::Mode;

type SetCase = fn(&Scene);

pub const CASES: &[(&str, SetCase)] = &[
    ("set-emptied", |scene| scene.tamper("flush op-blocked", "set-emptied")),
    ("member-added", |scene| scene.tamper(&format!("add op-blocked {}", scene.family.address(33)), "set-changed")),
    ("member-deleted", |scene| scene.tamper(&format!("del op-blocked {}", scene.family.address(1)), "set-changed")),
    ("member-replaced", |scene| {
        let (old, new) = (scene.family.address(1), scene.family.address(3));
        scene.tamper(&format!("del op-blocked {old}\nadd op-blocked {new}"), "set-changed");
    }),
    ("set-swapped", set_swapped),
    ("set-deleted", |scene| scene.destroy("", "set-deleted")),
    ("set-type-changed", |scene| {
        scene.destroy(&format!("create op-blocked hash:net family {}", scene.family.inet()), "set-type-changed");
    }),
    ("set-options-changed", |scene| {
        let create = format!("create op-blocked hash:ip family {} maxelem 12", scene.family.inet());
        let members = [1, 2].map(|number| format!("add op-blocked {}", scene.family.address(number)));
        scene.destroy(&format!("{create}\n{}", members.join("\n")), "set-changed");
    }),
    ("set-planted", |scene| {
        scene.hold();
        scene.node.load_sets(&format!("create op-planted hash:ip family {}\n", scene.family.inet()));
        scene.repaired("set-added", "op-planted");
    }),
];

/// A node with one set in use by one rule.
pub struct Scene {
    mode: Mode,
    daemon: Daemon,
    node: Arc<Node>,
    family: Family,
    sets: String,
    rules: String,
}

pub fn with(mode: Mode, backend: Backend, family: Family, case: &SetCase) {
    let node = Node::new(backend);
    let rules = ["-m set --match-set op-blocked src -j DROP"];
    let members = [family.address(1), family.address(2)];
    let watch = if mode == Mode::Asked { "off" } else { "auto" };
    node.configure(json!({ "families": [family.to_string()], "watch": watch, "policies": { "sets": static_rules(
        &[chain(family, "filter", "op-in", &rules)],
        &[attachment(family, "filter", "INPUT", Placement::First, "-j op-in")],
        &[set(family, "op-blocked", "hash:ip", &members.each_ref().map(String::as_str))],
    ) } }));
    // A daemon that finds all in order does not look again for an hour.
    node.apply();
    let daemon = node.daemon();
    let (sets, rules) = (node.sets(), node.save(family, "filter"));
    assert!(sets.contains(&format!("add op-blocked {}", family.address(2))), "{sets}");
    case(&Scene { mode, daemon, family, sets, rules, node });
}

impl Scene {
    /// Runs a script of ipset and checks what becomes of it.
    #[track_caller]
    fn tamper(&self, script: &str, kind: &str) {
        self.hold();
        self.node.load_sets(&format!("{script}\n"));
        assert!(self.sets != self.node.sets(), "the tampering did nothing");
        self.repaired(kind, "op-blocked");
    }

    /// Takes away the rule that keeps the set alive, then the set.
    #[track_caller]
    fn destroy(&self, then: &str, kind: &str) {
        self.hold();
        self.node.stranger(self.family).flush_chain("filter", "op-in");
        self.node.load_sets(&format!("destroy op-blocked\n{then}\n"));
        let report = self.repaired(kind, "op-blocked");
        report.assert_incident(&["chain-flushed"], &self.family.to_string(), "filter", "op-in");
    }

    /// A check now; it must find this, and everything must be as before.
    #[track_caller]
    fn repaired(&self, kind: &str, set: &str) -> Report {
        let report = self.check(set);
        let found = report.incidents.iter().find(|incident| incident.chain.as_deref() == Some(set));
        let found = found.unwrap_or_else(|| panic!("no incident names {set}: {report:#?}"));
        assert_eq!((found.kind.as_str(), found.repaired), (kind, true), "{found:#?}");
        assert_same("the sets", &self.sets, &self.node.sets());
        assert_same("the rules", &self.rules, &self.node.save(self.family, "filter"));
        if self.mode == Mode::Asked {
            self.daemon.refresh().assert_unchanged();
        }
        report
    }

    /// As in [`super::group::Scene::hold`].
    #[track_caller]
    fn hold(&self) {
        if self.mode == Mode::ByEvents {
            self.daemon.pause();
        }
    }

    /// A check now, or by itself until an incident names `set`. Changes of sets alone make no events: a rule of a
    /// stranger's is one, and gives away nothing of what is to be found.
    #[track_caller]
    fn check(&self, set: &str) -> Report {
        if self.mode == Mode::Asked {
            return self.daemon.refresh();
        }
        self.node.stranger(self.family).append("filter", "FORWARD", "-j RETURN");
        self.daemon.resume();
        let named = |status: &Status| {
            status.report.in_sync
                && status.report.incidents.iter().any(|incident| incident.chain.as_deref() == Some(set))
        };
        let status = self.daemon.wait_until(&format!("telling of {set}"), named);
        self.node.stranger(self.family).delete("filter", "FORWARD", "-j RETURN");
        status.report
    }
}

/// The stranger's own set, which now holds what was ours, stays.
fn set_swapped(scene: &Scene) {
    let foreign =
        format!("create theirs hash:ip family {}\nadd theirs {}\n", scene.family.inet(), scene.family.address(4));
    scene.hold();
    scene.node.load_sets(&format!("{foreign}swap theirs op-blocked\n"));
    let report = scene.check("op-blocked");
    assert!(report.incidents.iter().any(|incident| incident.kind == "set-changed" && incident.repaired), "{report:#?}");
    let now = scene.node.sets();
    let (ours, theirs): (Vec<_>, Vec<_>) = now.lines().partition(|line| !line.contains(" theirs "));
    assert_same("our set", scene.sets.trim(), &ours.join("\n"));
    assert_same("their set", scene.sets.trim(), &theirs.join("\n").replace(" theirs ", " op-blocked "));
}
