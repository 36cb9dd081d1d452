//! Builds a node's reconciler from a configuration: engine, backend, port and roster. For `check` all of it but the port.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use ruleward_core::contribution::Families;
use ruleward_core::facts::Version;
use ruleward_core::names::Backend;

use crate::config::{BackendChoice, Config, Mode, Written};
use crate::metrics::WaitFor;
use crate::node::{Edges, Node};
use crate::reload::{self, Subscription};
use crate::runtime::NodeRuntime;
use crate::serve::http::ReadCounters;
use crate::shadows::{self, Shadows};
use crate::status_store::StatusStore;
use crate::traces::Traces;
use ruleward_kernel::detect::{DetectError, Detection, detect};
use ruleward_kernel::event_source::EventSource;
use ruleward_kernel::live::Live;
use ruleward_kernel::tools::{ToolWait, Tools};
use ruleward_kernel::verdict::{Verdict, verdict};
use ruleward_kernel::watch::{self, Watch};
use ruleward_reconcile::policies::{Roster, Whom};
use ruleward_report::{ErrorClass, Outcome, PolicyState, Report};
use ruleward_sandbox::compile::{CompileLimits, Compiler};
use ruleward_sandbox::last_good::InDirectory;
use ruleward_sandbox::{OnEvaluation, PolicyEngine, PolicyEngineOptions, components};
use ruleward_state::history::store::Bounds;
use ruleward_state::{Kept, Settings, StateWriter};

/// Joins everything that checks need. What a running check waits for is shown on `store`; what others did and what
/// policies answered is written to `state`; how checks went is left with `traces`. With `watching`, changes are noticed
/// as they happen, in the calling thread's network namespace. `subscription` says what policies are made of.
///
/// # Errors
/// A report that says why no check is possible at all. A policy that can't be loaded is no such reason.
pub fn open(
    config: Arc<Config>,
    subscription: Subscription,
    store: &StatusStore,
    (state, traces): (&StateWriter, &Traces),
    watching: bool,
) -> Result<Node, Box<Report>> {
    let tools = tools(&config, store);
    let detection = find_backend(&config, &tools)?;
    tracing::info!("backend {}: {}", detection.backend, detection.reason);
    for leftover in &detection.leftovers {
        tracing::warn!("{leftover}");
    }
    let roster = Roster::open(Arc::new(InDirectory(config.state_directory.clone())), detection.families);
    let waiting = store.clone();
    let port = Live::new(
        tools.with_backend(detection.backend),
        config.lock_timeout,
        Arc::new(move |what| {
            waiting.waiting(WaitFor::Lock, what);
            if waiting.stopping() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }),
    );
    let shadows = if watching {
        let port = rehearsals(tools_of(&config).with_backend(detection.backend), config.lock_timeout);
        Shadows::start(Box::new(port), store.clone(), state.clone())
    } else {
        Shadows::none()
    };
    let watch = if watching && config.watch {
        let event_buffer = usize::try_from(config.event_buffer).unwrap_or(usize::MAX);
        Watch::open(detection.backend, watch::Options { event_buffer, poll_interval: config.legacy_poll_interval })
    } else {
        Watch::Off("the configuration says watch = \"off\"".to_owned())
    };
    if watching
        && config.watch
        && let Watch::Off(reason) = &watch
    {
        tracing::warn!("drift is detected at the refresh only: {reason}");
    }
    let edges = Edges { store: store.clone(), state: state.clone(), shadows, traces: traces.clone() };
    let events: Box<dyn EventSource> = Box::new(watch);
    Ok(Node::new(config, detection, roster, (Arc::new(port), events), subscription, edges))
}

/// Where rehearsals can be held, and nothing else is to be done.
pub fn rehearsals(tools: Tools, lock_timeout: Duration) -> Live {
    Live::new(tools, lock_timeout, Arc::new(|_| ControlFlow::Continue(())))
}

/// The node's tools, for work that nobody waits for.
pub fn tools_of(config: &Config) -> Tools {
    Tools::new(Backend::Nft).with_command_timeout(config.command_timeout).with_lock_timeout(config.lock_timeout)
}

/// Reads counters of rules for whoever looks at the status page: not within a check, and not for long.
pub fn counters(store: &StatusStore) -> ReadCounters {
    const PATIENCE: Duration = Duration::from_secs(5);
    let store = store.clone();
    Arc::new(move |family, table| {
        let backend = store.brief().report.backend.ok_or("no check has ended yet")?;
        let tools = Tools::new(backend).with_command_timeout(PATIENCE);
        tools.save_with_counters(family, table).map_err(|error| error.to_string())
    })
}

/// What is written to the state directory: records of policies and, for a daemon, incidents. What can't be written is
/// shown on `store`.
pub fn state(config: &Config, store: &StatusStore, incidents: bool) -> StateWriter {
    let bounds = Bounds { records: config.history_versions as usize, bytes: config.history_size };
    let (noted, state_directory) = (store.clone(), config.state_directory.clone());
    let settings = Settings {
        journal: incidents.then_some(config.incident_journal_size),
        history: Some((bounds, Box::new(move || components::all(&state_directory).unwrap_or_default()))),
    };
    StateWriter::start(&config.state_directory, settings, move |kept, note| {
        let about = match kept {
            Kept::Journal => "journal",
            Kept::History => "history",
        };
        noted.note(about, note);
    })
}

/// The engine that runs policies, and tells of it.
///
/// # Errors
/// A report, when this machine can't run WebAssembly.
pub fn engine(config: &Config, on_evaluation: OnEvaluation) -> Result<Arc<PolicyEngine>, Box<Report>> {
    let limits = CompileLimits { memory: config.compile_memory, seconds: config.compile_time.as_secs().max(1) };
    let compiler = Compiler { limits, timeout: config.compile_time, ..Compiler::default() };
    PolicyEngine::new(PolicyEngineOptions {
        compiler,
        on_evaluation,
        ..PolicyEngineOptions::new(&config.state_directory)
    })
    .map(Arc::new)
    .map_err(|error| Box::new(Report::failure(ErrorClass::Internal, error.to_string())))
}

/// Loads what the configuration asks for, once. `keeps`: in the state directory as well.
///
/// # Errors
/// A report that says why nothing can be loaded. A policy that can't be is no such reason.
pub fn load_once(config: &Config, state: &StateWriter, keeps: bool) -> Result<Subscription, Box<Report>> {
    reload::load_once(config, engine(config, OnEvaluation::nobody())?, state.clone(), keeps).map_err(|error| {
        Box::new(Report::failure(ErrorClass::Internal, format!("policies can't be loaded: {error}; try again")))
    })
}

fn tools(config: &Config, store: &StatusStore) -> Tools {
    let shown = store.clone();
    let on_wait = move |wait: ToolWait<'_>| {
        if wait.elapsed.as_secs() % 10 == 5 {
            tracing::warn!("still waiting {wait}");
        }
        shown.waiting(WaitFor::Tool, Some(wait.to_string()));
    };
    Tools::new(Backend::Nft)
        .with_command_timeout(config.command_timeout)
        .with_lock_timeout(config.lock_timeout)
        .with_on_wait(Arc::new(on_wait))
}

fn find_backend(config: &Config, tools: &Tools) -> Result<Detection, Box<Report>> {
    let choice = match config.backend {
        BackendChoice::Auto => None,
        BackendChoice::Fixed(backend) => Some(backend),
    };
    let enforced = || config.policies.values().filter(|policy| policy.mode == Mode::Enforce);
    let ours = |chain: &str| enforced().any(|policy| policy.grants.owns_chain(chain));
    detect(choice, config.families, &ours, tools).map_err(|error| {
        let class = match error {
            DetectError::Permission => ErrorClass::Permission,
            DetectError::NoFamily | DetectError::NoNftables(_) => ErrorClass::Configuration,
            _ => ErrorClass::Temporary,
        };
        Box::new(Report::failure(class, error.to_string()))
    })
}

/// Loads and asks every policy on this machine's facts, and tries their rules on this kernel where a private namespace can
/// be made, by an ordinary user in a user namespace. Looks at nothing that needs a privilege.
///
/// # Errors
/// A report that says why the policies could not even be asked.
pub fn check_configuration(config: &Config) -> Result<Report, Box<Report>> {
    let mut report = Report { outcome: Outcome::Unchanged, in_sync: true, ..Report::default() };
    let tools = Tools::new(Backend::Nft).with_command_timeout(config.command_timeout);
    let (backend, iptables, families) = match find_backend(config, &tools) {
        Ok(detection) => {
            report.backend_reason.clone_from(&detection.reason);
            (detection.backend, detection.version, detection.families)
        }
        Err(failure) => {
            let backend = match config.backend {
                BackendChoice::Fixed(backend) => backend,
                BackendChoice::Auto => Backend::Nft,
            };
            let version = tools.with_backend(backend).iptables_version().unwrap_or(Version(1, 8, 0));
            let why = failure.problems.join("; ");
            report.notes.push(format!(
                "the backend could not be found out ({why}); {backend} and iptables {version} are assumed"
            ));
            (backend, version, config.families)
        }
    };
    report.backend = Some(backend);
    let options = ruleward_facts::Options {
        node_name: config.node_name.as_deref(),
        resources: &config.resources,
        wants_resources: config.wants_resources(),
        iptables,
        backend,
        families,
    };
    let reading = ruleward_facts::read(&options, &mut ruleward_facts::Reader::default())
        .map_err(|error| Box::new(Report::failure(ErrorClass::Configuration, error.to_string())))?;
    report.notes.extend(reading.notes);
    let mut roster = Roster::without_records(families);
    let facts = Arc::new(reading.facts);
    let mut shadows = Vec::new();
    if let Some(configured) = load_once(config, &StateWriter::none(), false)?.newest() {
        roster.take(&configured.policies);
        report.notes.extend(configured.policies.notes);
        shadows = configured
            .policies
            .shadows
            .iter()
            .map(|(name, shadow)| shadows::check(name, shadow, &facts, families))
            .collect();
    }
    roster.evaluate(Some(&facts), &Whom::All, false, &NodeRuntime);
    report.notes.extend(roster.behind().waiting);
    report.policies = roster.report();
    report.policies.extend(shadows);
    for policy in &report.policies {
        let right = match policy.state {
            PolicyState::Current | PolicyState::Off | PolicyState::Waiting => true,
            PolicyState::Shadow => policy.reason.is_none(),
            PolicyState::LastGood | PolicyState::NeverAnswered => false,
        };
        if !right {
            let reason = policy.reason.as_deref().unwrap_or("it has not answered");
            report.problems.push(format!("policy {}: {reason}", policy.name));
        }
    }
    try_rules(config, &roster, backend, families, &mut report);
    if !report.problems.is_empty() {
        (report.class, report.outcome, report.in_sync) = (ErrorClass::Configuration, Outcome::Refused, false);
    }
    Ok(report)
}

/// Has the rules of each policy loaded into a private namespace.
fn try_rules(config: &Config, roster: &Roster, backend: Backend, families: Families, report: &mut Report) {
    for (name, grants, contribution) in roster.answers() {
        match verdict(name, backend, families, grants, contribution) {
            Verdict::Takes { warnings, .. } => report.notes.extend(warnings),
            Verdict::Refuses { reason, rules } => {
                let written = Written::read(&config.file, name);
                let mut places: Vec<String> =
                    rules.iter().filter_map(|rule| written.rule(rule)).map(|place| place.to_string()).collect();
                places.dedup();
                let places = if places.is_empty() { String::new() } else { format!(" ({})", places.join("; ")) };
                report.problems.push(format!("policy {name}: this kernel refuses its answer: {reason}{places}"));
            }
            Verdict::NotAsked { reason } => report.notes.push(format!(
                "policy {name}: whether the kernel and the tools take its rules was not tried: {reason}"
            )),
        }
    }
}
