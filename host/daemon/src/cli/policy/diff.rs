//! `policy diff`: which rules differ between a shadow and what is in force, or between two records. Where a private
//! namespace can be made the lines are those that the tools show.

use std::fmt::Write;
use std::path::Path;

use ruleward_core::difference::{Difference, Line};
use ruleward_core::names::PolicyName;
use serde::Serialize;

use super::problem::{Problem, failed};
use crate::cli::commands::state_directory;
use crate::compare::{Side, compare};
use crate::config::{Config, Mode as Configured};
use crate::open::{rehearsals, tools_of};
use ruleward_report::output::Output;
use ruleward_report::plain::plain;
use ruleward_report::text::Style;
use ruleward_state::history::record::{Header, Mode, Outcome, Record, RecordName};
use ruleward_state::history::store::Store;

/// Exit code for a difference.
const DIFFERENT: u8 = 2;

/// What is printed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Shown {
    /// What the lines with `goes` are from; none if nothing was there.
    first: Option<String>,
    /// What the lines with `comes` are from.
    second: String,
    #[serde(flatten)]
    difference: Difference,
    notes: Vec<String>,
}

/// Prints it; gives the exit code.
pub fn show(config: &Path, policy: &PolicyName, numbers: (Option<u64>, Option<u64>), output: Output) -> u8 {
    match find(config, policy, numbers, output) {
        Ok(shown) => {
            output.print(&shown, |style| text(&shown, style));
            if shown.difference.is_empty() { 0 } else { DIFFERENT }
        }
        Err(problem) => failed(&problem, output),
    }
}

fn find(
    file: &Path,
    policy: &PolicyName,
    numbers: (Option<u64>, Option<u64>),
    output: Output,
) -> Result<Shown, Problem> {
    let store = Store::new(&state_directory(file, output)?);
    let config = Config::load(file).ok();
    let (first, second) = match numbers {
        (first, Some(second)) => (first.map(|number| named(policy, number)), named(policy, second)),
        (Some(first), None) => (Some(named(policy, first)), newest(&store, policy, |_| true)?),
        (None, None) => choose(&store, config.as_ref(), policy)?,
    };
    let read = |name: &RecordName| store.read(name).map_err(Problem::from);
    let (first, second) = (first.as_ref().map(read).transpose()?, read(&second)?);
    let facts = second.facts.as_ref().or(first.as_ref().and_then(|first| first.facts.as_ref()));
    let facts = facts.ok_or_else(|| no_answer(&second))?;
    let port = config
        .as_ref()
        .map(|config| rehearsals(tools_of(config).with_backend(facts.system.backend), config.lock_timeout));
    let port = port.as_ref().map(|port| port as &dyn ruleward_kernel::port::Port);
    // As answers of one policy, so that the name of a shadow makes no difference.
    let judged = second.header.shadow_of.as_ref().unwrap_or(&second.header.policy);
    let sides = (first.as_ref().map(side).transpose()?, Some(side(&second)?));
    let comparison = compare(port, judged, facts.system.families, sides.0, sides.1).map_err(Problem::Other)?;
    let refused = comparison.refused.map(|reason| format!("this kernel refuses {}: {reason}", second.header.name()));
    let mut notes: Vec<String> = comparison.notes.into_iter().chain(refused).collect();
    if !comparison.difference.as_shown {
        notes.push("lines are as they are written, not as the tools show them: no rehearsal was possible".to_owned());
    }
    Ok(Shown {
        first: first.map(|first| first.header.name().to_string()),
        second: second.header.name().to_string(),
        difference: comparison.difference,
        notes,
    })
}

fn named(policy: &PolicyName, number: u64) -> RecordName {
    RecordName { policy: policy.clone(), number }
}

fn side(record: &Record) -> Result<Side<'_>, Problem> {
    let contribution = record.contribution.as_ref().ok_or_else(|| no_answer(record))?;
    Ok(Side { grants: &record.header.grants, limits: &record.header.limits, contribution })
}

fn no_answer(record: &Record) -> Problem {
    let reason = record.header.outcome.reason().unwrap_or("it was not asked");
    Problem::NoAnswer(record.header.name(), reason.to_owned())
}

fn newest(store: &Store, policy: &PolicyName, fits: impl Fn(&Header) -> bool) -> Result<RecordName, Problem> {
    let headers = store.list(policy)?.headers;
    let in_force = |header: &&Header| header.outcome == Outcome::InForce && fits(header);
    let found = headers.iter().find(in_force).map(Header::name);
    found.ok_or_else(|| Problem::NothingToCompare(format!("no version of policy {policy} has been in force")))
}

/// The two that are most likely meant.
fn choose(
    store: &Store,
    config: Option<&Config>,
    policy: &PolicyName,
) -> Result<(Option<RecordName>, RecordName), Problem> {
    let headers = store.list(policy)?.headers;
    let shadow = |name: &PolicyName| -> Result<Option<Header>, Problem> {
        let headers = store.list(name)?.headers;
        Ok(headers.into_iter().find(|header| header.mode == Mode::Shadow && header.contribution.is_some()))
    };
    let configured = |name: &PolicyName| config.and_then(|config| config.policies.get(name));
    let is_shadow = match configured(policy) {
        Some(configured) => configured.mode == Configured::Shadow,
        None => headers.first().is_some_and(|header| header.mode == Mode::Shadow),
    };
    if is_shadow {
        let Some(header) = shadow(policy)? else {
            return Err(Problem::NothingToCompare(format!(
                "the shadow {policy} has not answered yet; `ruleward status` says why"
            )));
        };
        let of = header.shadow_of.as_ref().map(|of| newest(store, of, |_| true)).transpose()?;
        return Ok((of, header.name()));
    }
    let all = config.into_iter().flat_map(|config| &config.policies);
    let beside = all.filter(|(_, other)| other.mode == Configured::Shadow && other.shadow_of.as_ref() == Some(policy));
    for (name, _) in beside {
        if let Some(header) = shadow(name)? {
            return Ok((Some(newest(store, policy, |_| true)?), header.name()));
        }
    }
    let second = newest(store, policy, |_| true)?;
    let first = headers.iter().find(|header| header.outcome == Outcome::InForce && header.number < second.number);
    Ok((first.map(Header::name), second))
}

fn text(shown: &Shown, style: Style) -> String {
    let mut text = String::new();
    let first = shown.first.as_deref().unwrap_or("nothing");
    for table in &shown.difference.tables {
        let heading = match (table.family, table.table) {
            (Some(family), Some(table)) => format!("{family} {table}"),
            _ => "sets".to_owned(),
        };
        let _ = writeln!(text, "{}", style.head(&heading));
        for line in &table.lines {
            let line = match line {
                Line::Removed(line) => style.paint("31", &format!("- {}", plain(line))),
                Line::Added(line) => style.paint("32", &format!("+ {}", plain(line))),
            };
            let _ = writeln!(text, "  {line}");
        }
    }
    let (added, removed) = (shown.difference.added, shown.difference.removed);
    let _ = match (added, removed) {
        (0, 0) => writeln!(text, "No difference between {first} and {}.", shown.second),
        _ => writeln!(text, "From {first} to {}: {added} lines added, {removed} removed.", shown.second),
    };
    for note in &shown.notes {
        let _ = writeln!(text, "Note: {}", plain(note));
    }
    text
}
