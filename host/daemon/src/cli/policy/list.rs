//! `policy list`: how each policy stands. The running daemon knows best; without one the history says what was in force.

use std::fmt::Write;
use std::path::Path;

use ruleward_core::names::PolicyName;
use serde::Serialize;

use super::problem::failed;
use crate::cli::commands::{no_answer, runtime_directory, state_directory};
use crate::serve::client::{self, ClientError};
use ruleward_report::output::Output;
use ruleward_report::plain::plain;
use ruleward_report::text::{self, Style};
use ruleward_report::{PolicyReport, PolicyState};
use ruleward_state::history::record::{Header, Outcome};
use ruleward_state::history::store::Store;

/// A policy as it is listed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Entry {
    #[serde(flatten)]
    policy: PolicyReport,
    /// Since when this version is in force: RFC 3339, UTC; none if the history does not say.
    since: Option<String>,
    /// The record of what is in force, such as web@17; none if the history does not say.
    record: Option<String>,
}

/// Prints the list; gives the exit code.
pub fn show(config: &Path, output: Output) -> u8 {
    let store = match state_directory(config, output) {
        Ok(directory) => Store::new(&directory),
        Err(error) => return no_answer(&error, output),
    };
    let entries = match runtime_directory(config, output).and_then(|directory| client::status(&directory)) {
        Ok(status) => status.report.policies.into_iter().map(|policy| from_daemon(&store, policy)).collect(),
        Err(error @ ClientError::NoDaemon(_)) => match from_history(&store) {
            Ok(entries) => {
                no_answer(&error, output);
                entries
            }
            Err(problem) => return failed(&problem.into(), output),
        },
        Err(error) => return no_answer(&error, output),
    };
    output.print(&entries, |style| entries.iter().map(|entry| line(entry, style)).collect());
    0
}

fn from_daemon(store: &Store, policy: PolicyReport) -> Entry {
    // What may not be read here is left out: status is for more people than the history.
    let headers =
        PolicyName::new(&policy.name).ok().and_then(|name| store.list(&name).ok()).unwrap_or_default().headers;
    let newest = headers.iter().find(|header| header.outcome == Outcome::InForce);
    let newest = newest.filter(|header| policy.digest.as_ref() == Some(&header.component));
    Entry {
        since: newest.map(|newest| since(&headers, newest)),
        record: newest.map(|newest| newest.name().to_string()),
        policy,
    }
}

/// When the version of `newest` came into force.
fn since(headers: &[Header], newest: &Header) -> String {
    let in_force = headers.iter().filter(|header| header.outcome == Outcome::InForce);
    let of_version = in_force.take_while(|header| header.same_version(newest));
    of_version.last().unwrap_or(newest).at.clone()
}

fn from_history(store: &Store) -> Result<Vec<Entry>, ruleward_state::history::store::StoreError> {
    let mut entries = Vec::new();
    for policy in store.policies()? {
        let headers = store.list(&policy)?.headers;
        let Some(newest) = headers.iter().find(|header| header.outcome == Outcome::InForce) else { continue };
        let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let report = PolicyReport {
            version: newest.component_version.clone(),
            digest: Some(newest.component.clone()),
            contribution: newest.contribution.as_ref().map(|part| part.digest.clone()),
            chains: count(newest.chains),
            rules: count(newest.rules),
            sets: count(newest.sets),
            ..PolicyReport::new(&policy, PolicyState::LastGood)
        };
        let (since, record) = (Some(since(&headers, newest)), Some(newest.name().to_string()));
        entries.push(Entry { policy: report, since, record });
    }
    Ok(entries)
}

fn line(entry: &Entry, style: Style) -> String {
    let mut text = text::policies(std::slice::from_ref(&entry.policy), style);
    let digest: String = entry.policy.digest.as_deref().map(plain).unwrap_or_default().chars().take(19).collect();
    if let (Some(since), Some(record)) = (&entry.since, &entry.record) {
        let _ = writeln!(text, "    {digest} in force since {}, {}", plain(since), plain(record));
    }
    text
}
