//! One node and daemon serve all cases of a backend, family and table, one after the other: a daemon for each of two
//! thousand cases would be most of the run time. A case that fails takes its daemon with it, so that the next one
//! starts clean; a case that passes has left everything as it found it.

use std::cell::{Cell, RefCell};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ruleward_tests::policies::{attachment, chain, static_rules};
use ruleward_tests::save::{assert_same, rules_of};
use ruleward_tests::{
    Backend, Daemon, Family, HOOKS, Incident, Mark, Node, Placement, Report, Status, Stranger, can_be_told, try_poll,
};
use serde_json::json;

/// How the daemon learns of the damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Somebody asks for a check.
    Asked,
    /// Nobody asks, and the next periodic check is an hour away.
    ByEvents,
}

/// Where a case happens.
#[derive(Clone, Copy)]
pub struct Place {
    pub mode: Mode,
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
    /// Which incidents there were.
    incidents: RefCell<Mark>,
    held: Cell<bool>,
    heard: Cell<bool>,
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
        Some(group) if (group.mode, group.family, group.table) == (place.mode, place.family, place.table) => group,
        other => {
            drop(other);
            Group::start(place)
        }
    };
    // A panic drops the group on its way out, which shows the daemon's log.
    let heard = (0..ATTEMPTS).any(|_| group.run(place, case));
    assert!(heard, "in {ATTEMPTS} tries no event told of it: the comparison after an earlier repair found it");
    *slot = Some(group);
}

/// After a repair the daemon looks again by itself, soon and then ever more rarely. That may come first once.
const ATTEMPTS: usize = 3;

/// Ends the daemons.
pub fn end() {
    for backend in Backend::ALL {
        slot(backend).take();
    }
}

impl Scene<'_> {
    /// From here to the check the damage takes several steps, and only together they are what the case is about: a
    /// daemon that hears of the first one, or looks again after an earlier write, must not undo it before the second.
    #[track_caller]
    pub fn hold(&self) {
        self.daemon.pause();
        self.held.set(true);
    }

    /// A check now, or by itself; afterwards the table must be `expected`.
    #[track_caller]
    pub fn check(&self, expected: &str) -> Report {
        self.look(expected, &|_| true)
    }

    /// The same; by itself it goes on until an incident is as wished.
    #[track_caller]
    fn look(&self, expected: &str, wish: &dyn Fn(&Incident) -> bool) -> Report {
        if self.held.take() {
            self.daemon.resume();
        }
        match self.place.mode {
            Mode::Asked => self.asked(expected),
            Mode::ByEvents => self.by_events(expected, wish),
        }
    }

    #[track_caller]
    fn asked(&self, expected: &str) -> Report {
        let Place { family, table, .. } = self.place;
        let report = self.daemon.refresh_since(&self.incidents.borrow());
        assert_same("the table after the check", expected, &self.node.save(family, table));
        report
    }

    /// The incidents since the case began, as `status` shows them. They prove that there was damage: it may be gone
    /// before anyone can look at it.
    #[track_caller]
    fn by_events(&self, expected: &str, wish: &dyn Fn(&Incident) -> bool) -> Report {
        let Place { family, table, .. } = self.place;
        let mut last = String::new();
        let comes_back = try_poll(|| {
            last = self.node.save(family, table);
            (last == expected).then_some(())
        });
        if comes_back.is_none() {
            assert_same("the table, long after the damage,", expected, &last);
        }
        let before = self.incidents.take();
        let told = |status: &Status| status.report.in_sync && status.since(&before).iter().any(wish);
        let mut status =
            self.daemon.wait_until(&format!("in sync with the incident of this case after {before:?}"), told);
        self.incidents.replace(status.mark());
        status.report.incidents = status.since(&before);
        self.heard.set(status.report.incidents.iter().any(Incident::was_heard));
        status.report
    }

    /// A check now; afterwards the table must be as before, and the incident must be of this kind in this chain.
    #[track_caller]
    pub fn repaired(&self, kind: &str, chain: &str) {
        let (family, table) = (self.place.family.to_string(), self.place.table);
        let wish = |incident: &Incident| incident.repaired && incident.is(kind, &family, table, chain);
        let report = self.look(self.before, &wish);
        report.assert_incident(&[kind], &family, table, chain);
    }

    /// Nothing is wrong: a check finds nothing, or nothing was found since the last look.
    #[track_caller]
    pub fn quiet(&self) {
        match self.place.mode {
            Mode::Asked => self.daemon.refresh().assert_unchanged(),
            Mode::ByEvents => {
                let status = self.daemon.status();
                assert_eq!(status.mark(), *self.incidents.borrow(), "an incident without damage: {status:#?}");
            }
        }
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
    mode: Mode,
    family: Family,
    table: &'static str,
    before: String,
}

impl Group {
    fn start(place: Place) -> Self {
        let Place { mode, backend, family, table, .. } = place;
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
            "refresh-interval": "1h",
            "watch": match mode { Mode::Asked => "off", Mode::ByEvents => "auto" },
            "policies": { "matrix": static_rules(&chains, &attachments, &[]) },
        }));
        // A daemon that finds all in order does not look again for an hour.
        node.apply();
        let daemon = node.daemon();
        let before = node.save(family, table);
        daemon.refresh().assert_unchanged();
        Self { daemon, mode, family, table, before, node }
    }
}

impl Group {
    /// Whether the daemon heard of the damage, where it could.
    #[track_caller]
    fn run(&self, place: Place, case: &Case) -> bool {
        let scene = Scene {
            place,
            node: &self.node,
            daemon: &self.daemon,
            stranger: self.node.stranger(place.family),
            before: &self.before,
            incidents: RefCell::new(self.daemon.status().mark()),
            held: Cell::new(false),
            heard: Cell::new(false),
            chain: chain_name(place.hook, place.placement),
        };
        case(&scene);
        assert_same("the table after the case", &self.before, &self.node.save(place.family, place.table));
        let could = place.mode == Mode::ByEvents && can_be_told(place.backend);
        !could || scene.heard.get()
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
