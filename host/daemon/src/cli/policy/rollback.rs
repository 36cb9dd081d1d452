//! `policy rollback`: holds a policy at an earlier version. The pin is written here; the running daemon takes it like any
//! changed file, through the same gate, and if it does not take it the pin goes again.

use std::path::Path;
use std::time::SystemTime;

use ruleward_core::names::PolicyName;
use serde::Serialize;

use super::problem::{Problem, failed};
use crate::config::{Config, Mode, PolicyConfig};
use crate::reload::pins::{component, wanted as wanted_now};
use crate::serve::client::{self, ClientError};
use crate::serve::control::Request;
use ruleward_report::output::Output;
use ruleward_report::plain::plain;
use ruleward_report::{PolicyReport, Report, timestamp};
use ruleward_sandbox::components;
use ruleward_state::history::record::{Header, Outcome, Record, RecordName};
use ruleward_state::history::store::Store;
use ruleward_state::pins::{self, Pin, PinError};

/// What came of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Done {
    policy: String,
    /// What is held now; none if what is configured counts again.
    record: Option<String>,
    /// Whether a daemon runs, and has taken it.
    in_force: bool,
    /// How the policy stands, if a daemon runs.
    state: Option<PolicyReport>,
}

impl From<PinError> for Problem {
    fn from(error: PinError) -> Self {
        match error {
            PinError::Storage(error) => Self::Store(error.into()),
            error @ (PinError::Damaged(_) | PinError::Unwritable(_)) => Self::Other(error.to_string()),
        }
    }
}

/// Puts a record's version in force and holds it there; gives the exit code.
pub fn hold(file: &Path, policy: &PolicyName, record: Option<u64>, why: &str, output: Output) -> u8 {
    print(try_hold(file, policy, record, why), output)
}

/// Lets what is configured count again; gives the exit code.
pub fn release(file: &Path, policy: &PolicyName, output: Output) -> u8 {
    print(try_release(file, policy), output)
}

fn print(result: Result<Done, Problem>, output: Output) -> u8 {
    match result {
        Ok(done) => {
            output.print(&done, |_| text(&done));
            0
        }
        Err(problem) => failed(&problem, output),
    }
}

fn text(done: &Done) -> String {
    let policy = plain(&done.policy);
    match (&done.record, done.in_force) {
        (Some(record), true) => format!(
            "{policy} is held at {record}, until its files change or `ruleward policy rollback --release {policy}`\n"
        ),
        (Some(record), false) => format!("{policy} will be held at {record} from the next start on: no daemon runs\n"),
        (None, true) => format!("{policy} is as it is configured again\n"),
        (None, false) => format!("{policy} will be as it is configured from the next start on: no daemon runs\n"),
    }
}

fn load(file: &Path) -> Result<Config, Problem> {
    Config::load(file).map_err(|error| {
        Problem::Other(format!(
            "the configuration has errors, so nothing can be held against it; correct it first\n{error}"
        ))
    })
}

fn configured<'a>(config: &'a Config, policy: &PolicyName) -> Result<&'a PolicyConfig, Problem> {
    let found = config.policies.get(policy).filter(|found| found.mode == Mode::Enforce);
    found.ok_or_else(|| {
        Problem::Other(format!(
            "{policy} is no policy that the configuration puts in force; only such a one can be held"
        ))
    })
}

fn try_hold(file: &Path, policy: &PolicyName, record: Option<u64>, why: &str) -> Result<Done, Problem> {
    let config = load(file)?;
    let wanted = configured(&config, policy)?;
    let store = Store::new(&config.state_directory);
    let name = match record {
        Some(number) => RecordName { policy: policy.clone(), number },
        None => earlier(&store, policy)?,
    };
    let Record { header, settings, .. } = store.read(&name)?;
    if header.outcome != Outcome::InForce {
        return Err(Problem::Other(format!(
            "{name} has never been in force ({}); name one that has: `ruleward policy history {policy}`",
            header.outcome.as_str()
        )));
    }
    components::load(&config.state_directory, &header.component)
        .map_err(|error| Problem::Other(format!("the component of {name} can't be loaded: {error}")))?;
    let before = pins::read(&config.state_directory, policy).ok().flatten();
    let pin = Pin {
        policy: policy.clone(),
        record: name.to_string(),
        since: timestamp(SystemTime::now()),
        why: why.to_owned(),
        component: header.component.clone(),
        settings,
        grants: header.grants.clone(),
        limits: header.limits.clone(),
        against: wanted_now(wanted),
        against_component: component(wanted),
    };
    pins::write(&config.state_directory, &pin)?;
    let Some(report) = reload(&config)? else {
        return Ok(Done { policy: policy.to_string(), record: Some(pin.record), in_force: false, state: None });
    };
    let state = report.policies.iter().find(|found| found.name == policy.as_str());
    let holds = |state: &&PolicyReport| {
        state.digest.as_ref() == Some(&header.component)
            && state.candidate.is_none()
            && state.pinned.as_ref().is_some_and(|pinned| pinned.record == pin.record)
    };
    if let Some(state) = state.filter(holds) {
        let state = Some(state.clone());
        return Ok(Done { policy: policy.to_string(), record: Some(pin.record), in_force: true, state });
    }
    let reason = refusal(&report, state);
    match before {
        Some(before) => pins::write(&config.state_directory, &before)?,
        None => drop(pins::remove(&config.state_directory, policy)?),
    }
    reload(&config)?;
    Err(Problem::Other(format!("{name} is not taken: {reason}; what was in force stays")))
}

/// Why the daemon has not taken it.
fn refusal(report: &Report, state: Option<&PolicyReport>) -> String {
    let of_candidate = state.and_then(|state| state.candidate.as_ref()?.reason.clone());
    let reason = of_candidate.or_else(|| state.and_then(|state| state.reason.clone()));
    reason.unwrap_or_else(|| report.problems.iter().chain(&report.notes).cloned().collect::<Vec<_>>().join("; "))
}

fn try_release(file: &Path, policy: &PolicyName) -> Result<Done, Problem> {
    let config = load(file)?;
    if !pins::remove(&config.state_directory, policy)? {
        return Err(Problem::Other(format!("{policy} is not held")));
    }
    let report = reload(&config)?;
    let state = report.as_ref().and_then(|report| report.policies.iter().find(|found| found.name == policy.as_str()));
    Ok(Done { policy: policy.to_string(), record: None, in_force: report.is_some(), state: state.cloned() })
}

/// Has the daemon take it; none if no daemon runs.
fn reload(config: &Config) -> Result<Option<Report>, Problem> {
    match client::ask(&config.runtime_directory, &Request::Reload {}, || tracing::warn!("still waiting")) {
        Ok(report) => Ok(Some(report)),
        Err(ClientError::NoDaemon(_)) => Ok(None),
        Err(error) => Err(Problem::Other(error.to_string())),
    }
}

/// The newest version in force that is not the one in force now.
fn earlier(store: &Store, policy: &PolicyName) -> Result<RecordName, Problem> {
    let headers = store.list(policy)?.headers;
    let mut in_force = headers.iter().filter(|header| header.outcome == Outcome::InForce);
    let newest = in_force.next().ok_or_else(|| Problem::NoHistory(policy.clone()))?;
    let other = in_force.find(|header| !header.same_version(newest));
    other
        .map(Header::name)
        .ok_or_else(|| Problem::Other(format!("no other version of policy {policy} is in the history")))
}
