//! Joins the reconciler with the rest of the program: what is configured goes in, effects are carried
//! out.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ruleward_core::facts::NftTable;
use ruleward_core::schedule::Reason;
use ruleward_facts::change_counter::ChangeCounter;
use ruleward_facts::{FactsError, Reader};
use ruleward_kernel::detect::Detection;
use ruleward_kernel::event_source::EventSource;
use ruleward_kernel::nft_tables::nft_tables;
use ruleward_kernel::port::Port;
use ruleward_reconcile::incidents::Incidents;
use ruleward_reconcile::policies::{PolicySet, Roster};
use ruleward_reconcile::{Effect, Effects, FactsReading, FactsRefusal, FactsSource, Reconciler, Surroundings};
use ruleward_report::{Checks, Intent, Report};
use tokio::sync::watch;

use crate::config::Config;
use crate::logs;
use crate::metrics::WaitFor;
use crate::reload::{Configured, OnRequest, ReloadRequest, Subscription};
use crate::runtime::NodeRuntime;
use crate::shadows::{self, Shadows};
use crate::status_store::StatusStore;
use crate::traces::Traces;
use ruleward_state::StateWriter;

/// How long the first check waits for components that are being loaded once there is something to put or keep in force.
/// From a warm cache it takes milliseconds.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often who waits looks whether to stop, and says that it waits: the watchdog goes by it.
const LOOK: Duration = Duration::from_millis(100);

/// The reconciler of this node.
pub struct Node {
    reconciler: Reconciler,
    /// The configuration that counts.
    config: watch::Sender<Arc<Config>>,
    /// What was refused of the newest configuration.
    refusal: Option<String>,
    /// A configuration was taken.
    any: bool,
    subscription: Subscription,
    store: StatusStore,
    traces: Traces,
}

/// Where effects are carried out.
pub struct Edges {
    /// What `status` reads.
    pub store: StatusStore,
    /// Writes incidents and what policies answered.
    pub state: StateWriter,
    /// Asks shadows.
    pub shadows: Shadows,
    /// Sends traces.
    pub traces: Traces,
}

impl Node {
    /// Joins the edges.
    pub fn new(
        config: Arc<Config>,
        detection: Detection,
        roster: Roster,
        (port, events): (Arc<dyn Port>, Box<dyn EventSource>),
        subscription: Subscription,
        edges: Edges,
    ) -> Self {
        let settings = Arc::new(config.reconciler_settings());
        let config = watch::Sender::new(config);
        let facts = NodeFacts {
            config: config.subscribe(),
            detection: detection.clone(),
            reader: Reader::default(),
            changes: subscription.changes(),
        };
        let (store, traces) = (edges.store.clone(), edges.traces.clone());
        let incidents = Incidents::new(edges.state.last_incident());
        let surroundings = Surroundings {
            port,
            events,
            facts: Box::new(facts),
            runtime: Arc::new(NodeRuntime),
            effects: carry_out(edges, subscription.on_request()),
        };
        let reconciler = Reconciler::new(settings, detection, roster, incidents, surroundings);
        Self { reconciler, config, refusal: None, any: false, subscription, store, traces }
    }

    /// Takes what is configured now. The first check waits for it.
    fn take_configured(&mut self) {
        if let Some(newest) = self.subscription.newest() {
            self.take(&newest);
        }
        let began = Instant::now();
        let mut waited = false;
        while self.reconciler.waits_for_policies() && !self.store.stopping() {
            if self.reconciler.can_begin() && began.elapsed() > PATIENCE {
                break;
            }
            match self.subscription.wait(LOOK) {
                Ok(Some(newest)) => self.take(&newest),
                Ok(None) => {
                    waited = true;
                    self.store.waiting(WaitFor::Policies, Some("for policies to be loaded".to_owned()));
                }
                Err(_) => break,
            }
        }
        if waited {
            self.store.waiting(WaitFor::Policies, None);
        }
    }

    fn take(&mut self, Configured { config, policies, .. }: &Configured) {
        let before = self.config.send_replace(Arc::clone(config));
        let reading = |config: &Config| (config.resources.clone(), config.node_name.clone(), config.wants_resources());
        if reading(config) != reading(&before) {
            self.reconciler.forget_facts_heard();
        }
        self.count(*config != before, policies);
        self.reconciler.take(policies);
        logs::configure(config.log, config.log_format);
        self.traces.configure(config.traces.as_ref(), config.node_name.as_deref());
        self.store.node(config.node_name.as_deref(), config.refresh_interval);
    }

    /// Tells the metrics what became of what was read. The first configuration is no change.
    fn count(&mut self, changed: bool, policies: &PolicySet) {
        let metrics = self.store.metrics().policies();
        if self.any && changed {
            metrics.configuration(true);
        }
        if policies.refusal.is_some() && policies.refusal != self.refusal {
            metrics.configuration(false);
        }
        metrics.configuration_refused(policies.refusal.is_some());
        self.any = true;
        self.refusal.clone_from(&policies.refusal);
    }

    /// Adds the newest word on each shadow.
    fn tell_shadows(&self, report: &mut Report) {
        let known = self.store.known_shadows();
        for name in self.reconciler.shadows() {
            let of_it = known.iter().find(|shadow| shadow.name == name.as_str()).cloned();
            report.policies.push(of_it.unwrap_or_else(|| shadows::empty(name)));
        }
    }
}

impl Checks for Node {
    fn check(&mut self, intent: Intent, reason: Reason) -> Arc<Report> {
        self.take_configured();
        self.reconciler.set_traced(self.traces.are_wanted());
        let mut report = self.reconciler.check(intent, reason);
        // A report that is given again has no shadows: where there are any, each check makes a new one.
        if let Some(report) = Arc::get_mut(&mut report) {
            self.tell_shadows(report);
        }
        report
    }

    fn attend(&mut self) -> Option<Report> {
        let mut report = self.reconciler.handle_events()?;
        self.tell_shadows(&mut report);
        Some(report)
    }

    fn signals(&self) -> Vec<BorrowedFd<'_>> {
        self.reconciler.signals()
    }

    fn rest(&self) -> Option<Duration> {
        self.reconciler.rest()
    }

    fn cleanup(&mut self) -> Report {
        self.take_configured();
        let mut report = self.reconciler.cleanup();
        self.tell_shadows(&mut report);
        report
    }
}

/// Carries effects out. Nothing of it waits.
fn carry_out(edges: Edges, on_request: OnRequest) -> Effects {
    let Edges { store, state, shadows, traces } = edges;
    Box::new(move |effect| match effect {
        Effect::Progress { doing, longest } => store.heartbeat().step(Instant::now(), doing, longest),
        Effect::RecordIncident(incident) => state.record_incident(&incident),
        Effect::RecordHistory(event) => state.record_version(*event),
        Effect::RunShadows(order) => shadows.order(*order),
        Effect::LeaveTrace(trace) => traces.leave(*trace),
        Effect::Activated(policy) => store.metrics().policies().version_taken(policy.as_str()),
        Effect::Enforced(expected) => store.expect(&expected),
        Effect::ShowWatch(watch) => store.watch(watch),
        Effect::ShowFights(fights) => store.fights(fights),
        Effect::ComponentsInUse(digests) => on_request(ReloadRequest::Settled(digests)),
        Effect::LookAgain => on_request(ReloadRequest::LookAgain),
        Effect::FactsChanged => on_request(ReloadRequest::FactsChanged),
    })
}

/// The node's facts.
struct NodeFacts {
    config: watch::Receiver<Arc<Config>>,
    detection: Detection,
    reader: Reader,
    changes: Arc<ChangeCounter>,
}

impl FactsSource for NodeFacts {
    fn read(&mut self) -> Result<FactsReading, FactsRefusal> {
        let config = Arc::clone(&self.config.borrow());
        let options = ruleward_facts::Options {
            node_name: config.node_name.as_deref(),
            resources: &config.resources,
            wants_resources: config.wants_resources(),
            iptables: self.detection.version,
            backend: self.detection.backend,
            families: self.detection.families,
        };
        match ruleward_facts::read(&options, &mut self.reader) {
            Ok(ruleward_facts::Reading { facts, notes, late }) => Ok(FactsReading { facts, notes, late }),
            Err(error) => {
                let passing = matches!(error, FactsError::NoAnswer { .. } | FactsError::NoThread(_));
                Err(FactsRefusal { reason: error.to_string(), passing })
            }
        }
    }

    fn changes(&self) -> Option<u64> {
        self.changes.count()
    }

    fn tables(&self) -> Option<Vec<NftTable>> {
        nft_tables().ok()
    }
}
