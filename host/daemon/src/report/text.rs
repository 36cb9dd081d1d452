//! Reports for people. What matters comes first: right or not, then what to do.
//!
//! Texts from outside (rules, policies, the kernel's messages) can't move the cursor or forge lines: control characters
//! are shown escaped.

use std::fmt::Write;

use ruleward_core::names::{Family, Table};

use super::plain::plain;
use super::status::{FightReport, Status};
use super::{Basis, Change, Incident, Intent, Outcome, PolicyReport, PolicyState, Report};
use crate::incidents::place;

/// How many incidents the status screen shows.
const SHOWN_INCIDENTS: usize = 10;

/// How to mark what matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// With the colours of a terminal.
    pub colours: bool,
}

impl Style {
    pub(super) fn paint(self, code: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn good(self, text: &str) -> String {
        self.paint("1;32", text)
    }

    pub(super) fn bad(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    pub(super) fn head(self, text: &str) -> String {
        self.paint("1", text)
    }
}

/// Problems, one line each, for the error output.
pub fn problems(report: &Report) -> String {
    let lines = report.problems.iter().flat_map(|problem| problem.lines());
    lines.map(|line| format!("ruleward: {}\n", plain(line))).collect()
}

/// The difference as `plan` shows it: rules by family, table and chain.
pub fn plan(report: &Report, style: Style) -> String {
    let mut text = String::new();
    if matches!(report.outcome, Outcome::Refused | Outcome::Failed | Outcome::Pending) {
        return text;
    }
    changes(&mut text, &report.changes, style);
    let (added, removed) = count(&report.changes);
    let summary = match report.changes.len() {
        0 if report.in_sync => "No difference: the kernel shows what the policies ask for.".to_owned(),
        0 => "Nothing to write, but the node is not as it should be.".to_owned(),
        places => {
            format!("{}: {added} to add, {removed} to remove; nothing was written.", plural(places, "difference"))
        }
    };
    let _ = writeln!(text, "{summary}");
    notes(&mut text, report);
    text
}

/// What `apply` and `refresh` have done.
pub fn done(report: &Report, style: Style) -> String {
    let mut text = String::new();
    let took = duration(report.timings_ms.total);
    let (added, removed) = count(&report.changes);
    let headline = match (report.outcome, report.in_sync) {
        (Outcome::Unchanged, true) => style.good(&format!("In sync: nothing had to change ({took}).")),
        (Outcome::Changed, true) => {
            let places = plural(report.changes.len(), "difference");
            style.good(&format!("In sync: {places} repaired, {added} added, {removed} removed ({took})."))
        }
        (Outcome::Unchanged | Outcome::Changed, false) => style.bad(&format!("NOT in sync ({took}).")),
        (Outcome::Refused, _) => style.bad("Refused: nothing was written."),
        (Outcome::Failed | Outcome::Pending, _) => style.bad("Failed: what is in force stays."),
    };
    let _ = writeln!(text, "{headline}");
    changes(&mut text, &report.changes, style);
    notes(&mut text, report);
    text
}

/// What `cleanup` has done.
pub fn cleaned(report: &Report, style: Style) -> String {
    if !report.in_sync {
        return done(report, style);
    }
    let mut text = String::new();
    let headline = match report.changes.len() {
        0 => "Nothing of ours was there.".to_owned(),
        places => format!("Everything of ours is gone: {} removed.", plural(places, "place")),
    };
    let _ = writeln!(text, "{}", style.good(&headline));
    changes(&mut text, &report.changes, style);
    notes(&mut text, report);
    text
}

/// What `check` has found.
pub fn checked(report: &Report, style: Style) -> String {
    let mut text = String::new();
    let good = report.exit_code(Intent::Write) == 0;
    let headline = if good { style.good("Configuration and policies are right.") } else { style.bad("NOT right.") };
    let _ = writeln!(text, "{headline}");
    if good || !report.policies.is_empty() {
        policies(&mut text, &report.policies, style);
    }
    notes(&mut text, report);
    text
}

/// The screen of `status`.
pub fn status(status: &Status, style: Style) -> String {
    let report = &status.report;
    let mut text = String::new();
    let since = plain(&status.since);
    let headline = match (report.outcome, report.in_sync) {
        (Outcome::Pending, _) => style.bad(&format!("NOT RIGHT YET: the first check runs since {since}")),
        (_, true) => style.good(&format!("RIGHT since {since}")),
        (_, false) => style.bad(&format!("NOT RIGHT since {since}")),
    };
    let _ = writeln!(text, "{headline}");
    for fight in &status.fights {
        let _ = writeln!(text, "{}", style.bad(&alarm(fight)));
    }
    if let Some(waiting) = &status.waiting {
        let _ = writeln!(text, "{}", style.bad(&format!("The running check waits {}", plain(waiting))));
    }
    for problem in &report.problems {
        let _ = writeln!(text, "{} {}", style.bad("Problem:"), plain(problem));
    }
    let _ = writeln!(text, "\n{}", style.head("Policies"));
    policies(&mut text, &report.policies, style);
    let _ = writeln!(text, "\n{}", style.head(&format!("Incidents: {} since the start", status.incidents_total)));
    for incident in report.incidents.iter().rev().take(SHOWN_INCIDENTS) {
        incident_line(&mut text, incident, style);
    }
    let _ = writeln!(text, "\n{}", style.head("Daemon"));
    daemon(&mut text, status);
    notes(&mut text, report);
    text
}

fn alarm(fight: &FightReport) -> String {
    let (opponent, place) = (plain(&fight.opponent.to_string()), plain(&fight.place));
    let (rounds, since) = (plural(usize::try_from(fight.rounds).unwrap_or(usize::MAX), "repair"), plain(&fight.since));
    let pause = duration(fight.pause_ms);
    format!(
        "ALARM: {opponent} keeps undoing {place} since {since}: {rounds}, now with {pause} between two; find out which \
         of the two should own it"
    )
}

fn daemon(text: &mut String, status: &Status) {
    let report = &status.report;
    let next = match status.next_check_in_ms {
        Some(left) => format!("next in {:.1} s", left as f64 / 1000.0),
        None => "one is running".to_owned(),
    };
    let last = status.last_check.as_deref().unwrap_or("none yet");
    let _ = writeln!(
        text,
        "  node {}, pid {}, version {}, started {}",
        plain(&status.node_name),
        status.pid,
        plain(&status.version),
        plain(&status.started)
    );
    let _ = writeln!(
        text,
        "  checks: {} ({} failed), every {}, last {}, {next}",
        status.checks,
        status.checks_failed,
        plain(&status.refresh_interval),
        plain(last)
    );
    if let Some(backend) = report.backend {
        let _ = writeln!(text, "  backend {backend}: {}", plain(&report.backend_reason));
    }
    if let Some(watch) = &status.watch {
        let detail = if watch.detail.is_empty() { String::new() } else { format!(": {}", plain(&watch.detail)) };
        let _ = writeln!(text, "  drift is noticed by {}{detail}", plain(&watch.method));
        let _ = writeln!(text, "  drift is repaired by {}", plain(&watch.repair));
    }
    let basis = match report.basis {
        Some(Basis::Rehearsed) => "rehearsed in a private network namespace",
        Some(Basis::Learned) => "learned from the read-back after the commit; no rehearsal was possible",
        Some(Basis::Unproven) => "not known yet",
        None => return,
    };
    let _ = writeln!(text, "  what the kernel must show: {basis}");
}

fn policies(text: &mut String, policies: &[PolicyReport], style: Style) {
    if policies.is_empty() {
        let _ = writeln!(text, "  none: add a [policies.NAME] section to the configuration");
    }
    for policy in policies {
        let state = match policy.state {
            PolicyState::Current => "current".to_owned(),
            PolicyState::Off => "off".to_owned(),
            PolicyState::LastGood => style.bad("LAST GOOD ANSWER"),
            PolicyState::NeverAnswered => style.bad("NEVER ANSWERED"),
        };
        let version = policy.version.as_deref().map(|version| format!(" {}", plain(version))).unwrap_or_default();
        let size = [(policy.chains, "chain"), (policy.rules, "rule"), (policy.sets, "set")]
            .map(|(number, what)| plural(number, what))
            .join(", ");
        let _ = write!(text, "  {}{version}: {state}; {size}", plain(&policy.name));
        if let Some(reason) = &policy.reason {
            let _ = write!(text, "; {}", plain(reason));
        }
        text.push('\n');
    }
}

fn incident_line(text: &mut String, incident: &Incident, style: Style) {
    let Incident { at, id, kind, .. } = incident;
    let place = plain(&place(incident));
    let times = if incident.times > 1 {
        format!(" {} times until {}", incident.times, plain(&incident.last_at))
    } else {
        String::new()
    };
    let author =
        if incident.author.is_known() { format!(" by {}", plain(&incident.author.to_string())) } else { String::new() };
    let _ = writeln!(
        text,
        "  {} #{id} {} in {place}{times}{author}: {}; {}",
        plain(at),
        kind.as_str(),
        plain(&incident.detail),
        repair(incident, style)
    );
}

/// How it was repaired and how fast, or why not.
pub(super) fn repair(incident: &Incident, style: Style) -> String {
    if !incident.repaired {
        return style.bad(&format!("NOT repaired: {}", plain(&incident.how)));
    }
    let how = plain(&incident.how);
    match (incident.latency_ms, incident.latency_ms_max) {
        (Some(latency), Some(worst)) if worst > latency => {
            format!("repaired by {how} {} after the change (at worst {})", duration(latency), duration(worst))
        }
        (Some(latency), _) => format!("repaired by {how} {} after the change", duration(latency)),
        (None, _) => format!("repaired by {how} in {}", duration(incident.took_ms)),
    }
}

/// One line a rule, under headings for family, table and chain.
fn changes(text: &mut String, changes: &[Change], style: Style) {
    let mut sorted: Vec<&Change> = changes.iter().collect();
    sorted.sort_by(|a, b| site(a).cmp(&site(b)));
    let mut last = None;
    for change in sorted {
        let heading = (change.family, change.table);
        if last != Some(heading) {
            last = Some(heading);
            let heading = match heading {
                (Some(family), Some(table)) => format!("{family} {table}"),
                _ => "sets".to_owned(),
            };
            let _ = writeln!(text, "{}", style.head(&heading));
        }
        let chain = if change.chain.is_empty() { "whole table".to_owned() } else { plain(&change.chain) };
        let _ = writeln!(text, "  {chain}: {}", change.kind.as_str());
        for line in &change.removed {
            let _ = writeln!(text, "    {}", style.paint("31", &format!("- {}", plain(line))));
        }
        for line in &change.added {
            let _ = writeln!(text, "    {}", style.paint("32", &format!("+ {}", plain(line))));
        }
    }
}

/// Tables first, sets last.
fn site(change: &Change) -> (bool, Option<Family>, Option<Table>, &str) {
    (change.family.is_none(), change.family, change.table, &change.chain)
}

fn notes(text: &mut String, report: &Report) {
    for note in &report.notes {
        let _ = writeln!(text, "Note: {}", plain(note));
    }
}

fn count(changes: &[Change]) -> (usize, usize) {
    let sum = |lines: fn(&Change) -> usize| changes.iter().map(lines).sum();
    (sum(|change| change.added.len()), sum(|change| change.removed.len()))
}

fn plural(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

pub(super) fn duration(milliseconds: f64) -> String {
    match milliseconds {
        short if short < 1.0 => format!("{short:.2} ms"),
        middle if middle < 1000.0 => format!("{middle:.1} ms"),
        long => format!("{:.1} s", long / 1000.0),
    }
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
