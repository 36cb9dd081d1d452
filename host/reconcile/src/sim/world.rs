//! The node: a kernel, two policies, and the loop around the reconciler as the daemon has it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ruleward_core::contribution::{AddressSet, Attachment, Chain, Contribution, Families, SetMember, SetType};
use ruleward_core::facts::{NftTable, Version as Number};
use ruleward_core::grants::{Grants, Pattern};
use ruleward_core::limit::{Limits, Usage};
use ruleward_core::names::{Backend, ChainName, Family, Hook, Placement, PolicyName, SetName, Table};
use ruleward_core::rule::{Direction, Match, Rule, Target};
use ruleward_core::schedule::{Action, Event, Outcome, Reason, Schedule};
use ruleward_core::set_members::SetMembers;
use ruleward_core::simulate::Simulated;
use ruleward_kernel::detect::Detection;
use ruleward_kernel::sim::{Fake, FakeEvents};
use ruleward_report::{Intent, Report};
use ruleward_sandbox::testkit::facts;
use ruleward_sandbox::{Cause, Description, EvaluateError, Evaluation, Log, Refusal};

use super::SimRuntime;
use crate::policies::{Component, PolicySet, PolicySpec, Roster, SpecState, Version};
use crate::{Effect, FactsReading, FactsRefusal, FactsSource, Reconciler, Surroundings};

/// What a step takes, so that nothing happens at the same moment.
const STEP: Duration = Duration::from_micros(50);
/// So many steps without time passing are a loop that never rests.
const MOST_STEPS: usize = 2000;
pub const REFRESH: Duration = Duration::from_secs(90);

/// Rules by chain.
pub type Rules = BTreeMap<(Family, Table, String), Vec<String>>;

/// A component that answers what the test says.
#[derive(Debug)]
struct Scripted {
    digest: String,
    description: Description,
    limits: Limits,
    answer: Option<Contribution>,
}

impl Component for Scripted {
    fn evaluate(&self, _: &ruleward_core::facts::Facts, _: &Grants, _: &str) -> Result<Evaluation, Box<EvaluateError>> {
        let (usage, log) = (Usage::default(), Log::default());
        match &self.answer {
            Some(contribution) => Ok(Evaluation { contribution: contribution.clone(), usage, log }),
            None => {
                let cause = Cause::Refused(Refusal::Other("it fails".to_owned()));
                Err(Box::new(EvaluateError { cause, usage, log }))
            }
        }
    }

    fn description(&self) -> &Description {
        &self.description
    }

    fn digest(&self) -> &str {
        &self.digest
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn usage(&self) -> Option<(Usage, Usage)> {
        None
    }
}

struct SimFacts;

impl FactsSource for SimFacts {
    fn read(&mut self) -> Result<FactsReading, FactsRefusal> {
        Ok(FactsReading { facts: facts(), notes: Vec::new(), late: false })
    }

    fn changes(&self) -> Option<u64> {
        Some(0)
    }

    fn tables(&self) -> Option<Vec<NftTable>> {
        None
    }
}

/// The two policies: one in filter, with a set, and one in nat.
pub const POLICIES: [&str; 2] = ["web", "nat"];

fn grants(policy: &str) -> Grants {
    let pattern = |text: &str| vec![Pattern::new(text).unwrap()];
    match policy {
        "web" => Grants {
            tables: vec![Table::Filter],
            chains: pattern("web-*"),
            sets: pattern("web-*"),
            ..Grants::default()
        },
        _ => Grants { tables: vec![Table::Nat], chains: pattern("nat-*"), ..Grants::default() },
    }
}

fn protocol(number: u8) -> Match {
    Match::Protocol { number, negated: false }
}

fn rule(matches: Vec<Match>, target: Target) -> Rule {
    Rule { matches, target: Some(target), comment: None }
}

/// What a policy asks for, in one of several ways.
pub fn contribution(policy: &str, variant: u8) -> Contribution {
    let chain = |name: &str| ChainName::new(name).unwrap();
    let jump = |name: &str| Target::Jump(chain(name));
    let own = |table, name: &str, rules| Chain { table, families: Families::BOTH, name: chain(name), rules };
    let attach = |table, hook, placement, order, rule| Attachment {
        table,
        hook,
        families: Families::BOTH,
        placement,
        order,
        rule,
    };
    if policy == "nat" {
        let table = Table::Nat;
        let rules = (0..variant % 3).map(|at| rule(vec![protocol(20 + at)], Target::Return)).collect();
        return Contribution {
            chains: vec![own(table, "nat-out", rules)],
            attachments: vec![attach(table, Hook::Postrouting, Placement::First, 0, rule(vec![], jump("nat-out")))],
            ..Contribution::default()
        };
    }
    let table = Table::Filter;
    let set = SetName::new("web-blocked").unwrap();
    let in_set = Match::Set { name: set.clone(), directions: vec![Direction::Source], negated: false };
    let mut asked = Contribution {
        chains: vec![own(table, "web-in", vec![rule(vec![protocol(6)], Target::Accept)])],
        attachments: vec![attach(table, Hook::Input, Placement::First, 0, rule(vec![], jump("web-in")))],
        ..Contribution::default()
    };
    if variant & 1 != 0 {
        asked.chains.push(own(table, "web-log", vec![rule(vec![protocol(17)], Target::Drop)]));
        asked.chains[0].rules.push(rule(vec![protocol(17)], jump("web-log")));
        asked.attachments.push(attach(table, Hook::Forward, Placement::Last, 5, rule(vec![], Target::Drop)));
    }
    if variant & 2 != 0 {
        let mut members = SetMembers::default();
        for last in 1..=3 {
            members.push(&SetMember::Network(format!("192.0.2.{}/32", last + variant).parse().unwrap()));
        }
        asked.sets.push(AddressSet {
            name: set,
            family: Family::Ipv4,
            kind: SetType::HashIp,
            members,
            max_elements: None,
            dynamic: false,
            timeout: None,
            options: Vec::new(),
        });
        let drops = attach(table, Hook::Input, Placement::First, -1, rule(vec![in_set], Target::Drop));
        asked.attachments.push(Attachment { families: Families { ipv4: true, ipv6: false }, ..drops });
    }
    asked
}

/// The node.
pub struct World {
    pub backend: Backend,
    pub kernel: Fake,
    runtime: SimRuntime,
    reconciler: Reconciler,
    schedule: Schedule,
    specs: BTreeMap<PolicyName, PolicySpec>,
    number: u32,
    /// What the last check reported.
    pub last: Arc<Report>,
    /// Effects and reports, as text.
    pub told: Arc<Mutex<Vec<String>>>,
    /// Checks are made when they are due.
    checks: bool,
    /// Looks whether a check claims rightly that all is in sync.
    pub claims: Option<fn(&Self)>,
    /// When the reconciler wrote, since the beginning.
    pub writes: Vec<Duration>,
    /// The foreign rules, as whoever owns them left them.
    foreign: Arc<Mutex<Rules>>,
}

impl World {
    /// An empty node, with both policies as variant 0.
    pub fn new(backend: Backend) -> Self {
        let (kernel, runtime) = (Fake::new(backend), SimRuntime::default());
        let told: Arc<Mutex<Vec<String>>> = Arc::default();
        let keep = Arc::clone(&told);
        let surroundings = Surroundings {
            port: Arc::new(kernel.clone()),
            events: Box::new(FakeEvents::new(kernel.clone(), runtime.0.clone())),
            facts: Box::new(SimFacts),
            runtime: Arc::new(runtime.clone()),
            effects: Box::new(move |effect| keep.lock().unwrap().extend(text_of(&effect))),
        };
        let detection = Detection {
            backend,
            reason: "a script".to_owned(),
            version: Number(1, 8, 9),
            kernel: Number(6, 12, 0),
            families: Families::BOTH,
            leftovers: Vec::new(),
        };
        let roster = Roster::without_records(Families::BOTH);
        let incidents = crate::incidents::Incidents::new(0);
        let reconciler = Reconciler::new(Arc::default(), detection, roster, incidents, surroundings);
        let mut world = Self {
            backend,
            kernel,
            runtime,
            reconciler,
            schedule: Schedule::new(REFRESH),
            specs: BTreeMap::new(),
            number: 0,
            last: Arc::default(),
            told,
            checks: true,
            claims: None,
            writes: Vec::new(),
            foreign: Arc::default(),
        };
        for policy in POLICIES {
            world.specify(policy, Some(contribution(policy, 0)));
        }
        world.offer();
        world
    }

    fn specify(&mut self, policy: &str, answer: Option<Contribution>) {
        self.number += 1;
        let (name, grants) = (PolicyName::new(policy).unwrap(), grants(policy));
        let limits = Limits::default();
        let component = Scripted {
            digest: format!("sha256:{:064}", self.number),
            description: Description {
                name: name.clone(),
                version: self.number.to_string(),
                summary: String::new(),
                settings_schema: "true".to_owned(),
                reads_interfaces: false,
                reads_nft_tables: false,
                wants: grants.clone(),
            },
            limits: limits.clone(),
            answer,
        };
        let version = Version::new(name.clone(), component, "{}", grants.clone());
        let state = SpecState::Loaded(Arc::new(version));
        self.specs.insert(name, PolicySpec { grants, settings: "{}".into(), limits, state });
    }

    fn offer(&mut self) {
        self.reconciler.take(&PolicySet { specs: self.specs.clone(), complete: true, ..PolicySet::default() });
    }

    /// Another version of a policy; without an answer one that fails.
    pub fn change_policy(&mut self, policy: &str, answer: Option<Contribution>) {
        self.specify(policy, answer);
        self.offer();
        self.happens(Event::Changed);
    }

    /// Somebody asks for a check.
    pub fn ask(&mut self) {
        self.happens(Event::Asked);
    }

    /// The first check.
    pub fn start(&mut self) {
        self.happens(Event::Started);
    }

    fn happens(&mut self, event: Event) {
        let mut event = event;
        loop {
            let (schedule, action) = self.schedule.clone().step(event, self.runtime.0.passed());
            self.schedule = schedule;
            match action {
                Action::Check(reason) => event = self.check(reason),
                Action::WaitUntil(_) => return,
            }
        }
    }

    fn check(&mut self, reason: Reason) -> Event {
        let report = self.watched(|reconciler| reconciler.check(Intent::Write, reason));
        self.told.lock().unwrap().push(format!("checked: {}", summary(&report)));
        if let Some(claims) = self.claims.filter(|_| report.in_sync) {
            claims(self);
        }
        let outcome = report.scheduled();
        self.last = report;
        Event::Checked(outcome)
    }

    fn handle_events(&mut self) {
        if let Some(report) = self.watched(Reconciler::handle_events) {
            self.told.lock().unwrap().push(format!("repaired: {}", summary(&report)));
            let outcome = report.scheduled();
            self.last = Arc::new(report);
            if self.checks {
                self.happens(Event::Repaired(outcome));
            }
        }
    }

    /// A step of the reconciler, after which all foreign rules are what they were.
    fn watched<T>(&mut self, step: impl FnOnce(&mut Reconciler) -> T) -> T {
        let before = (self.kernel.transactions(), self.kernel.restores());
        let done = step(&mut self.reconciler);
        if before != (self.kernel.transactions(), self.kernel.restores()) {
            self.writes.push(self.runtime.0.passed());
        }
        let now = self.kernel.look(foreign_rules);
        assert_eq!(now, *self.foreign.lock().unwrap(), "foreign rules were touched");
        self.runtime.0.advance(STEP);
        done
    }

    /// Since the beginning.
    pub fn now(&self) -> Duration {
        self.runtime.0.passed()
    }

    /// So much time passes, and all is done that is due meanwhile.
    pub fn run(&mut self, time: Duration) {
        let end = self.runtime.0.passed() + time;
        let (mut steps, mut since) = (0, self.runtime.0.passed());
        loop {
            let now = self.runtime.0.passed();
            if now > since + Duration::from_secs(1) {
                (steps, since) = (0, now);
            }
            steps += 1;
            assert!(steps < MOST_STEPS, "the loop does not rest");
            if self.schedule.due() <= now {
                self.happens(Event::Woken);
                continue;
            }
            let rest = self.reconciler.rest();
            if self.kernel.has_news() || rest.is_some_and(|rest| rest.is_zero()) {
                self.handle_events();
                continue;
            }
            let next = rest.map_or(self.schedule.due(), |rest| self.schedule.due().min(now + rest));
            if next >= end {
                self.runtime.0.advance(end.saturating_sub(now));
                return;
            }
            self.runtime.0.advance(next - now);
        }
    }

    /// The same without any check: only what is heard of is looked at.
    pub fn run_without_checks(&mut self, time: Duration) {
        let schedule = std::mem::replace(&mut self.schedule, Schedule::new(Duration::MAX / 4));
        let (schedule_off, _) = self.schedule.clone().step(Event::Checked(Outcome::Clean), self.runtime.0.passed());
        self.schedule = schedule_off;
        self.checks = false;
        self.run(time);
        (self.schedule, self.checks) = (schedule, true);
    }

    /// Another program does something.
    pub fn foreign(&self, change: impl FnOnce(&mut Simulated), unheard: bool) {
        let foreign = Arc::clone(&self.foreign);
        let noted = move |kernel: &mut Simulated| {
            change(kernel);
            *foreign.lock().unwrap() = foreign_rules(kernel);
        };
        if unheard { self.kernel.unheard(noted) } else { self.kernel.stranger(noted) }
    }

    /// What another program will do when it comes to it.
    pub fn later(&self, change: impl FnOnce(&mut Simulated) + Send + 'static) -> ruleward_kernel::sim::Change {
        let foreign = Arc::clone(&self.foreign);
        Box::new(move |kernel| {
            change(kernel);
            *foreign.lock().unwrap() = foreign_rules(kernel);
        })
    }

    /// What is in force by the reconciler's own account.
    pub fn in_force(&self) -> BTreeMap<String, Contribution> {
        let all = self.reconciler.roster.in_force();
        all.into_iter().map(|(name, one)| (name.to_string(), Contribution::clone(&one.contribution))).collect()
    }
}

/// What of an effect two runs of the same script must have in common.
fn text_of(effect: &Effect) -> Option<String> {
    match effect {
        Effect::Progress { .. } | Effect::LeaveTrace(_) | Effect::Enforced(_) | Effect::ShowWatch(_) => None,
        Effect::RecordIncident(incident) => Some(format!("incident {}", serde_json::to_string(incident).unwrap())),
        Effect::RecordHistory(event) => {
            Some(format!("history {} {:?} {}", event.policy, event.outcome, event.component))
        }
        other => Some(format!("{other:?}")),
    }
}

fn summary(report: &Report) -> String {
    let Report { outcome, in_sync, problems, notes, changes, .. } = report;
    format!("{outcome:?} in_sync={in_sync} {problems:?} {notes:?} {} changes", changes.len())
}

pub fn is_own_chain(name: &str) -> bool {
    name.starts_with("web-") || name.starts_with("nat-")
}

pub fn is_own_rule(rule: &str) -> bool {
    rule.contains("rw:web:") || rule.contains("rw:nat:")
}

fn all_rules(kernel: &mut Simulated) -> Rules {
    let mut rules = Rules::new();
    for family in Family::ALL {
        for table in [Table::Filter, Table::Nat] {
            for (chain, all) in kernel.table(family, table).iter() {
                rules.insert((family, table, chain.clone()), all.clone());
            }
        }
    }
    rules
}

/// All rules that are not ours, in their order.
pub fn foreign_rules(kernel: &mut Simulated) -> Rules {
    let mut rules = all_rules(kernel);
    rules.retain(|(_, _, chain), _| !is_own_chain(chain));
    rules.values_mut().for_each(|rules| rules.retain(|rule| !is_own_rule(rule)));
    rules.retain(|(_, _, chain), rules| !rules.is_empty() || Hook::from_name(chain).is_none());
    rules
}

/// All that is ours: our chains whole, of built-in chains our rules, and of each where it stands.
/// An empty chain to which a foreign rule jumps can't be removed, whether a policy asks for it or not.
pub fn own_rules(kernel: &mut Simulated) -> Rules {
    let mut own = Rules::new();
    let (all, foreign) = (all_rules(kernel), foreign_rules(kernel));
    for ((family, table, chain), rules) in all {
        if is_own_chain(&chain) {
            let jump = format!("-j {chain}");
            let mut there = foreign.iter().filter(|((of, at, _), _)| (*of, *at) == (family, table));
            if rules.is_empty() && there.any(|(_, rules)| rules.iter().any(|rule| rule.ends_with(&jump))) {
                continue;
            }
            own.insert((family, table, chain), rules);
        } else if rules.iter().any(|rule| is_own_rule(rule)) {
            let first = rules.iter().take_while(|rule| is_own_rule(rule)).count();
            let last = rules.iter().rev().take_while(|rule| is_own_rule(rule)).count();
            let between: Vec<&String> = rules[first..].iter().filter(|rule| is_own_rule(rule)).collect();
            assert!(between.len() <= last, "rules of ours stand among foreign ones in {chain}: {rules:#?}");
            own.insert((family, table, chain), rules.iter().filter(|rule| is_own_rule(rule)).cloned().collect());
        }
    }
    own
}

/// Our sets, with what they hold.
pub fn own_sets(kernel: &mut Simulated) -> BTreeMap<String, BTreeSet<String>> {
    let own = kernel.sets().iter().filter(|(name, _)| is_own_chain(name));
    own.map(|(name, set)| (name.clone(), set.members.iter().map(str::to_owned).collect())).collect()
}
