//! Shadows: policies that are asked on live facts, checked and compared with what is in force, and never put in force. A
//! thread of its own does it, with a port of its own to private namespaces: whatever a shadow does, loop, trap or answer
//! a hundred thousand rules, no check and no repair waits for it, and nothing of it can reach the live tables.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::SystemTime;

use ruleward_core::contribution::{Contribution, Families};
use ruleward_core::facts::Facts;
use ruleward_core::names::PolicyName;

use crate::compare::{Comparison, Side, compare};
use crate::status_store::StatusStore;
use ruleward_kernel::port::Port;
use ruleward_reconcile::ShadowOrder;
use ruleward_reconcile::policies::{Answer, Counts, InForce, ShadowSpec, SpecState, Version};
use ruleward_reconcile::record::Event;
use ruleward_report::{PolicyReport, PolicyState, ShadowReport};
use ruleward_sandbox::Limits;
use ruleward_state::StateWriter;
use ruleward_state::history::record::{Mode, Outcome};

/// Where orders go.
#[derive(Debug)]
pub struct Shadows {
    orders: Option<Sender<ShadowOrder>>,
}

impl Shadows {
    /// Nobody asks them: for commands that run once.
    pub fn none() -> Self {
        Self { orders: None }
    }

    /// Starts the thread. What comes of it is shown on `store` and written to `state`; `port` is where rehearsals are held.
    pub fn start(port: Box<dyn Port + Send>, store: StatusStore, state: StateWriter) -> Self {
        let (orders, inbox) = channel();
        let mut work = Work { port, store, state, known: BTreeMap::new() };
        match std::thread::Builder::new().name("shadows".to_owned()).spawn(move || work.run(&inbox)) {
            Ok(_) => Self { orders: Some(orders) },
            Err(error) => {
                tracing::error!("shadow policies are not evaluated: the thread for it can't be started: {error}");
                Self::none()
            }
        }
    }

    /// Has them looked at. Never waits.
    pub fn order(&self, order: ShadowOrder) {
        if let Some(orders) = &self.orders {
            let _ = orders.send(order); // a thread that is gone has said why
        }
    }
}

/// What is known of a shadow.
struct Known {
    id: String,
    facts: Arc<Facts>,
    answer: Result<Answer, String>,
    /// What it was compared with, and what came of it.
    compared: Option<(Option<Arc<Contribution>>, Comparison)>,
}

struct Work {
    port: Box<dyn Port + Send>,
    store: StatusStore,
    state: StateWriter,
    known: BTreeMap<PolicyName, Known>,
}

impl Work {
    fn run(&mut self, orders: &Receiver<ShadowOrder>) {
        while let Ok(order) = orders.recv() {
            let order = orders.try_iter().last().unwrap_or(order);
            self.known.retain(|name, _| order.shadows.contains_key(name));
            let mut reports = Vec::new();
            for (name, shadow) in &order.shadows {
                let report = match &shadow.spec.state {
                    SpecState::Loaded(version) => self.look(name, shadow, version, &order),
                    other => {
                        if let SpecState::Refused { digest: Some(digest), cause, .. } = other {
                            self.state.record_version(unloadable(name, shadow, digest, cause));
                        }
                        check(name, shadow, &order.facts, order.families)
                    }
                };
                reports.push(report);
                self.store.shadows(reports.clone());
            }
            self.store.shadows(reports);
        }
    }

    fn look(
        &mut self,
        name: &PolicyName,
        shadow: &ShadowSpec,
        version: &Arc<Version>,
        order: &ShadowOrder,
    ) -> PolicyReport {
        let same = |known: &Known| known.id == version.id() && known.facts == order.facts;
        let news = !self.known.get(name).is_some_and(same);
        if news {
            let answer = version.evaluate(&order.facts, order.families).map_err(|error| error.reason);
            // Other facts with the same answer make no other difference.
            let compared = match (self.known.remove(name), &answer) {
                (Some(Known { id, answer: Ok(before), compared, .. }), Ok(now))
                    if id == version.id() && before.contribution == now.contribution =>
                {
                    compared
                }
                _ => None,
            };
            let (id, facts) = (version.id().to_owned(), Arc::clone(&order.facts));
            self.known.insert(name.clone(), Known { id, facts, answer, compared });
        }
        let Some(known) = self.known.get_mut(name) else { return empty(name) };
        let mut report = described(name, version, known.answer.as_ref());
        let contribution = match &known.answer {
            Ok(answer) => &answer.contribution,
            Err(reason) => {
                if news {
                    let outcome = Outcome::Refused { reason: reason.clone() };
                    self.state.record_version(asked(shadow, version, &order.facts, None, outcome));
                }
                return report;
            }
        };
        let enforced = shadow.of.as_ref().and_then(|of| order.in_force.get(of));
        let beside = enforced.map(|enforced| &enforced.contribution);
        let compared = match known.compared.take().filter(|(with, _)| with.as_ref() == beside) {
            Some(compared) => compared,
            None => {
                let limits = version.loaded().limits();
                let first = enforced.map(|InForce { grants, contribution }| Side { grants, limits, contribution });
                let second = Some(Side { grants: version.grants(), limits, contribution });
                let policy = shadow.of.as_ref().unwrap_or(name);
                let comparison = compare(Some(&*self.port), policy, order.families, first, second);
                let comparison =
                    comparison.unwrap_or_else(|reason| Comparison { refused: Some(reason), ..Comparison::default() });
                let outcome = match &comparison.refused {
                    Some(reason) => Outcome::RefusedByKernel { reason: reason.clone() },
                    None => Outcome::Shadow,
                };
                self.state.record_version(asked(
                    shadow,
                    version,
                    &order.facts,
                    Some(Arc::clone(contribution)),
                    outcome,
                ));
                (beside.cloned(), comparison)
            }
        };
        let (_, Comparison { difference, notes, refused }) = &compared;
        report.reason = refused.as_ref().map(|reason| format!("this kernel refuses its answer: {reason}"));
        report.shadow = Some(ShadowReport {
            of: shadow.of.as_ref().map(ToString::to_string),
            added: difference.added,
            removed: difference.removed,
            notes: notes.clone(),
        });
        known.compared = Some(compared);
        report
    }
}

/// Asks a shadow once, and compares it with nothing: whether it would answer at all.
pub fn check(name: &PolicyName, shadow: &ShadowSpec, facts: &Facts, families: Families) -> PolicyReport {
    match &shadow.spec.state {
        SpecState::Loaded(version) => {
            let answer = version.evaluate(facts, families).map_err(|error| error.reason);
            described(name, version, answer.as_ref())
        }
        SpecState::Loading { digest } => {
            PolicyReport { digest: digest.clone(), reason: Some("it is being loaded".to_owned()), ..empty(name) }
        }
        SpecState::Refused { digest, reason, .. } => {
            PolicyReport { digest: digest.clone(), reason: Some(reason.clone()), ..empty(name) }
        }
    }
}

fn described(name: &PolicyName, version: &Version, answer: Result<&Answer, &String>) -> PolicyReport {
    let report = PolicyReport {
        version: Some(version.loaded().description().version.clone()),
        digest: Some(version.loaded().digest().to_owned()),
        ..empty(name)
    };
    match answer {
        Ok(answer) => {
            let Counts { chains, rules, sets } = answer.counts;
            let warnings = answer.warnings.to_vec();
            PolicyReport { warnings, contribution: Some(answer.digest().to_owned()), chains, rules, sets, ..report }
        }
        Err(reason) => PolicyReport { reason: Some(reason.clone()), ..report },
    }
}

/// A shadow of which nothing is known yet.
pub fn empty(name: &PolicyName) -> PolicyReport {
    PolicyReport::new(name, PolicyState::Shadow)
}

fn unloadable(name: &PolicyName, shadow: &ShadowSpec, digest: &str, cause: &str) -> Event {
    let limits: &Limits = &shadow.spec.limits;
    Event {
        policy: name.clone(),
        at: SystemTime::now(),
        mode: Mode::Shadow,
        shadow_of: shadow.of.clone(),
        outcome: Outcome::Refused { reason: cause.to_owned() },
        component: digest.to_owned(),
        described: None,
        settings: Arc::clone(&shadow.spec.settings),
        grants: shadow.spec.grants.clone(),
        limits: limits.clone(),
        facts: None,
        sees_interfaces: false,
        sees_nft_tables: false,
        sees_resources: std::collections::BTreeSet::new(),
        contribution: None,
    }
}

fn asked(
    shadow: &ShadowSpec,
    version: &Version,
    facts: &Arc<Facts>,
    contribution: Option<Arc<Contribution>>,
    outcome: Outcome,
) -> Event {
    let facts = Some(Arc::clone(facts));
    let shadow_of = shadow.of.clone();
    Event { mode: Mode::Shadow, shadow_of, facts, contribution, ..Event::of(version, SystemTime::now(), outcome) }
}
