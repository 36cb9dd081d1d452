//! Builds a pipeline from a configuration: engine, backend, port and roster. For `check` all of it but the port.

use std::ops::ControlFlow;
use std::sync::Arc;

use ruleward_core::facts::Version;
use ruleward_core::names::Backend;

use crate::config::{BackendChoice, Config, Mode};
use crate::facts;
use crate::incidents::Incidents;
use crate::journal::Journal;
use crate::kernel::detect::{DetectError, Detection, detect};
use crate::kernel::live::Live;
use crate::kernel::tools::{ToolWait, Tools};
use crate::kernel::watch::{self, Watch};
use crate::pipeline::Pipeline;
use crate::policies::{PolicyEngine, PolicyEngineOptions};
use crate::report::board::Board;
use crate::report::{ErrorClass, Outcome, PolicyState, Report};
use crate::roster::Roster;

/// Joins everything that checks need. What a running check waits for is shown on `board`; what others did is
/// written to `journal`. With `watching`, changes are noticed as they happen, in the calling thread's network namespace.
///
/// # Errors
/// A report that says why no check is possible at all. A policy that can't be loaded is no such reason.
pub fn open(config: Config, board: &Board, journal: &Journal, watching: bool) -> Result<Pipeline, Box<Report>> {
    let tools = tools(&config, board);
    let detection = find_backend(&config, &tools)?;
    tracing::info!("backend {}: {}", detection.backend, detection.reason);
    for leftover in &detection.leftovers {
        tracing::warn!("{leftover}");
    }
    let roster = Roster::open(&config, &engine(&config)?);
    let waiting = board.clone();
    let port = Live::new(
        tools.with_backend(detection.backend),
        config.lock_timeout,
        Arc::new(move |what| {
            waiting.waiting(what);
            if waiting.stopping() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }),
    );
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
        tracing::warn!("drift is found at the refresh only: {reason}");
    }
    let incidents = Incidents::new(journal.clone());
    Ok(Pipeline::new(config, detection, Box::new(port), roster, incidents, watch, board.clone()))
}

/// The engine that runs policies.
///
/// # Errors
/// A report, when this machine can't run WebAssembly.
pub fn engine(config: &Config) -> Result<PolicyEngine, Box<Report>> {
    PolicyEngine::new(PolicyEngineOptions::new(&config.state_directory))
        .map_err(|error| Box::new(Report::failure(ErrorClass::Internal, error.to_string())))
}

fn tools(config: &Config, board: &Board) -> Tools {
    let shown = board.clone();
    let on_wait = move |wait: ToolWait<'_>| {
        if wait.elapsed.as_secs() % 10 == 5 {
            tracing::warn!("still waiting {wait}");
        }
        shown.waiting(Some(wait.to_string()));
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

/// Loads and asks every policy on this machine's facts, and looks at nothing that needs a privilege.
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
    let options = facts::Options {
        node_name: config.node_name.as_deref(),
        documents: &config.documents,
        iptables,
        backend,
        families,
    };
    let reading = facts::read(&options)
        .map_err(|error| Box::new(Report::failure(ErrorClass::Configuration, error.to_string())))?;
    report.notes.extend(reading.notes);
    let mut roster = Roster::open(config, &engine(config)?);
    roster.evaluate(Some(&Arc::new(reading.facts)), families);
    report.policies = roster.report();
    for policy in &report.policies {
        if !matches!(policy.state, PolicyState::Current | PolicyState::Off) {
            let reason = policy.reason.as_deref().unwrap_or("it has not answered");
            report.problems.push(format!("policy {}: {reason}", policy.name));
            (report.class, report.outcome, report.in_sync) = (ErrorClass::Configuration, Outcome::Refused, false);
        }
    }
    Ok(report)
}
