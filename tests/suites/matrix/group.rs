//! One node and daemon serve all cases of a backend, family and table, one after the other: a daemon for each of two
//! thousand cases would be most of the run time. A case that fails takes its daemon with it, so that the next one
//! starts clean; a case that passes has left everything as it found it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ruleward_tests::policies::{attachment, chain, static_rules};
use ruleward_tests::save::{assert_same, rules_of};
use ruleward_tests::{Backend, Daemon, Family, HOOKS, Node, Placement, Report, Stranger};
use serde_json::json;

/// Where a case happens.
#[derive(Clone, Copy)]
pub struct Place {
    pub backend: Backend,
    pub family: Family,
    pub table: &'static str,
    pub hook: &'static str,
    pub placement: Placement,
}

/// What a case works on.
pub struct Scene<'g> {
    pub place: Place,
    pub node: &'g Node,
    daemon: &'g Daemon,
    pub stranger: Stranger<'g>,
    /// The whole table as it should be.
    pub before: &'g str,
    /// The chain of ours that the hook's jump at this placement goes to.
    pub chain: String,
}

pub type Case = fn(&Scene<'_>);

/// Rules that every table takes.
pub fn rules(family: Family) -> [String; 3] {
    [
        format!("-s {} -m comment --comment one -j RETURN", family.address(1)),
        "-p tcp --dport 80 -m comment --comment two -j RETURN".to_owned(),
        "-m mark --mark 0x1 -m comment --comment three -j RETURN".to_owned(),
    ]
}

/// Runs `case` with the group's daemon, which is started if need be.
pub fn with(place: Place, case: &Case) {
    let mut slot = slot(place.backend);
    let group = match slot.take() {
        Some(group) if (group.family, group.table) == (place.family, place.table) => group,
        other => {
            drop(other);
            Group::start(place)
        }
    };
    // A panic drops the group on its way out, which shows the daemon's log.
    case(&Scene {
        place,
        node: &group.node,
        daemon: &group.daemon,
        stranger: group.node.stranger(place.family),
        before: &group.before,
        chain: chain_name(place.hook, place.placement),
    });
    assert_same("the table after the case", &group.before, &group.node.save(place.family, place.table));
    *slot = Some(group);
}

/// Ends the daemons.
pub fn end() {
    for backend in Backend::ALL {
        slot(backend).take();
    }
}

impl Scene<'_> {
    /// A check now; afterwards the table must be `expected`.
    #[track_caller]
    pub fn check(&self, expected: &str) -> Report {
        let Place { family, table, .. } = self.place;
        let damaged = self.node.save(family, table);
        assert!(damaged != expected, "the tampering did nothing");
        let report = self.daemon.refresh();
        assert_same("the table after the check", expected, &self.node.save(family, table));
        assert!(report.in_sync && report.outcome == "changed", "{report:#?}");
        report
    }

    /// A check now; afterwards the table must be as before, and the incident must be of this kind in this chain.
    #[track_caller]
    pub fn repaired(&self, kind: &str, chain: &str) {
        let report = self.check(self.before);
        report.assert_incident(&[kind], &self.place.family.to_string(), self.place.table, chain);
    }

    /// A check that finds nothing.
    #[track_caller]
    pub fn quiet(&self) {
        self.daemon.refresh().assert_unchanged();
    }

    /// Our jump as `iptables-save` shows it, without `-A HOOK`, and its number.
    #[track_caller]
    pub fn jump(&self) -> (String, usize) {
        let target = format!("-j {}", self.chain);
        let rules = rules_of(self.before, self.place.hook);
        let at = rules.iter().position(|rule| rule.ends_with(&target)).unwrap_or_else(|| {
            panic!("no jump to {} in {}:\n{}", self.chain, self.place.hook, self.before);
        });
        (self.body(rules[at]), at + 1)
    }

    /// A rule of our chain as shown, without `-A CHAIN`; numbers count from 1.
    #[track_caller]
    pub fn rule(&self, number: usize) -> String {
        self.body(rules_of(self.before, &self.chain)[number - 1])
    }

    fn body(&self, line: &str) -> String {
        line.splitn(3, ' ').nth(2).unwrap_or_default().to_owned()
    }
}

struct Group {
    // In this order: the daemon ends first.
    daemon: Daemon,
    node: Arc<Node>,
    family: Family,
    table: &'static str,
    before: String,
}

impl Group {
    fn start(place: Place) -> Self {
        let Place { backend, family, table, .. } = place;
        let node = Node::new(backend);
        let hooks: Vec<_> = HOOKS.iter().filter(|(of, _)| *of == table).map(|(_, hook)| *hook).collect();
        let stranger = node.stranger(family);
        stranger.new_chain(table, "other");
        stranger.append(table, "other", "-j RETURN");
        let (mut chains, mut attachments) = (Vec::new(), Vec::new());
        for hook in hooks {
            stranger.append(table, hook, &format!("-s {} -j RETURN", family.address(100)));
            stranger.append(table, hook, "-m comment --comment \"someone else\" -j other");
            for placement in Placement::ALL {
                let name = chain_name(hook, placement);
                chains.push(chain(family, table, &name, &rules(family)));
                attachments.push(attachment(family, table, hook, placement, &format!("-j {name}")));
            }
        }
        node.configure(json!({
            "families": [family.to_string()],
            "policies": { "matrix": static_rules(&chains, &attachments, &[]) },
        }));
        let daemon = node.daemon();
        let before = node.save(family, table);
        daemon.refresh().assert_unchanged();
        Self { daemon, family, table, before, node }
    }
}

fn chain_name(hook: &str, placement: Placement) -> String {
    format!("op-{}-{placement}", hook.to_lowercase())
}

fn slot(backend: Backend) -> MutexGuard<'static, Option<Group>> {
    static SLOTS: [Mutex<Option<Group>>; 2] = [Mutex::new(None), Mutex::new(None)];
    let slot = &SLOTS[usize::from(backend == Backend::Legacy)];
    // A case that panicked has left the slot empty.
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}
