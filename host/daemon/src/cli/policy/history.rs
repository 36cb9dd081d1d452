//! `policy history`: the versions of a policy, newest first, from the files.

use std::fmt::Write;
use std::path::Path;

use ruleward_core::names::PolicyName;
use serde::Serialize;

use super::problem::{Problem, failed};
use crate::cli::commands::state_directory;
use ruleward_report::output::Output;
use ruleward_report::plain::plain;
use ruleward_report::text::{Style, counts};
use ruleward_sandbox::last_good::{self, LastGood};
use ruleward_state::history::changes::{self, Difference};
use ruleward_state::history::record::{Header, Mode, Outcome};
use ruleward_state::history::store::{Listing, Store};

/// How many differences of a record are printed for people, and how many characters of a value.
const MOST_SHOWN: usize = 20;
const LONGEST: usize = 120;

/// A record as it is listed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Entry<'a> {
    /// `web@17`
    record: String,
    /// Its answer is the one in force.
    in_force_now: bool,
    /// Until when it was in force: RFC 3339, UTC; none if it still is, never was, or the end is not known.
    in_force_until: Option<String>,
    /// Inputs that differ from those of the record before.
    changed: Vec<&'static str>,
    /// The values that differ in settings, grants and limits.
    differences: Vec<Difference>,
    #[serde(flatten)]
    header: &'a Header,
}

/// Prints them; gives the exit code.
pub fn show(config: &Path, policy: &PolicyName, last: Option<usize>, output: Output) -> u8 {
    let state_directory = match state_directory(config, output) {
        Ok(directory) => directory,
        Err(problem) => return failed(&problem.into(), output),
    };
    let store = Store::new(&state_directory);
    let listing = match store.list(policy) {
        Ok(listing) => listing,
        Err(error) => return failed(&error.into(), output),
    };
    let Listing { headers, damaged } = &listing;
    for damaged in damaged {
        failed(&Problem::Damaged(damaged.clone()), output);
    }
    if headers.is_empty() {
        return failed(&Problem::NoHistory(policy.clone()), output);
    }
    // Of a policy that has left the configuration nothing is kept here.
    let kept = last_good::load(&state_directory, policy).ok().flatten();
    let settings = |header: &Header| store.read(&header.name()).ok().map(|record| record.settings);
    let entries: Vec<Entry<'_>> = entries(headers, kept.as_ref(), &settings).take(last.unwrap_or(usize::MAX)).collect();
    output.print(&entries, |style| entries.iter().map(|entry| text(entry, style)).collect());
    0
}

fn entries<'a>(
    headers: &'a [Header],
    kept: Option<&'a LastGood>,
    settings: &'a dyn Fn(&Header) -> Option<String>,
) -> impl Iterator<Item = Entry<'a>> {
    headers.iter().enumerate().map(move |(at, header)| {
        let earlier = headers[at + 1..].iter().find(|earlier| earlier.mode == header.mode);
        let changed = earlier.map(|earlier| header.changes_since(earlier)).unwrap_or_default();
        let next = headers[..at].iter().rev().find(|later| was_in_force(later));
        let was = was_in_force(header);
        Entry {
            record: header.name().to_string(),
            in_force_now: was && next.is_none() && kept.is_some_and(|kept| is_of(header, kept)),
            in_force_until: next.filter(|_| was).map(|next| next.at.clone()),
            differences: earlier.map(|earlier| differences(header, earlier, settings)).unwrap_or_default(),
            changed,
            header,
        }
    })
}

fn was_in_force(header: &Header) -> bool {
    header.outcome == Outcome::InForce && header.mode == Mode::Enforce
}

/// Whether the answer that is kept for the next start is of this version.
fn is_of(header: &Header, kept: &LastGood) -> bool {
    (&header.component, &header.grants, &header.limits) == (&kept.digest, &kept.grants, &kept.limits)
}

fn differences(new: &Header, old: &Header, settings: &dyn Fn(&Header) -> Option<String>) -> Vec<Difference> {
    let mut found = Vec::new();
    if new.settings != old.settings
        && let (Some(old), Some(new)) = (settings(old), settings(new))
    {
        found = changes::of_text("settings", &old, &new);
    }
    found.extend(changes::of("grants", &old.grants, &new.grants));
    found.extend(changes::of("limits", &old.limits, &new.limits));
    found
}

fn text(entry: &Entry<'_>, style: Style) -> String {
    let header = entry.header;
    let outcome = match (&header.outcome, entry.in_force_now, &entry.in_force_until) {
        (Outcome::InForce, true, _) => style.good("in force since then"),
        (Outcome::InForce, false, Some(until)) => format!("in force until {}", plain(until)),
        (Outcome::InForce, false, None) => "was in force, and is no more".to_owned(),
        (outcome, ..) if outcome.reason().is_some() => style.bad(outcome.as_str()),
        (outcome, ..) => outcome.as_str().to_owned(),
    };
    let version = header.component_version.as_deref().unwrap_or("version unknown");
    let digest: String = header.component.chars().take(19).collect();
    let changed =
        if entry.changed.is_empty() { String::new() } else { format!("; changed: {}", entry.changed.join(", ")) };
    let size = counts(header.chains, header.rules, header.sets);
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{} {} {outcome}: {} ({}), {size}{changed}",
        style.head(&entry.record),
        plain(&header.at),
        plain(version),
        plain(&digest)
    );
    if let Some(reason) = header.outcome.reason() {
        let _ = writeln!(text, "  {}", plain(reason));
    }
    for Difference { path, old, new } in entry.differences.iter().take(MOST_SHOWN) {
        let shown = |value: &Option<serde_json::Value>| match value {
            Some(value) => shortened(&plain(&value.to_string())),
            None => "(not there)".to_owned(),
        };
        let _ = writeln!(text, "  {}: {} -> {}", plain(path), shown(old), shown(new));
    }
    if let Some(more) = entry.differences.len().checked_sub(MOST_SHOWN).filter(|more| *more > 0) {
        let _ = writeln!(text, "  and {more} more; `--output json` has all");
    }
    text
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= LONGEST {
        text.to_owned()
    } else {
        text.chars().take(LONGEST).chain("...".chars()).collect()
    }
}
