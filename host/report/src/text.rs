//! Reports for people. What matters comes first: in sync or not, then what to do.
//!
//! Texts from outside (rules, policies, the kernel's messages) can't move the cursor or forge lines: control characters
//! are shown escaped.

use std::collections::BTreeMap;
use std::fmt::Write;

use ruleward_core::change::{Action, Object};
use ruleward_core::names::{Family, Hook, Table};

use super::limits;
use super::plain::plain;
use super::{
    AwaitingReport, CandidateReport, CandidateState, Change, Incident, Intent, NOTHING_WRITTEN, Outcome, PinReport,
    PolicyReport, PolicyState, Report, ShadowReport,
};

/// How many characters of a digest are shown: `sha256:` and twelve digits.
const SHOWN_DIGEST: usize = 19;

/// How many warnings of a policy are shown.
const MOST_WARNINGS: usize = 10;

/// What is said where no policy is configured.
const NO_POLICY: &str = "  none: add a [policies.NAME] section to the configuration\n";

/// How to mark what matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// With the colours of a terminal.
    pub colours: bool,
}

impl Style {
    /// In this colour of ECMA-48.
    pub fn paint(self, code: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// As it should be.
    pub fn good(self, text: &str) -> String {
        self.paint("1;32", text)
    }

    /// As it should not be.
    pub fn bad(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    /// A heading.
    pub fn head(self, text: &str) -> String {
        self.paint("1", text)
    }
}

/// Problems, one line each, for the error output.
pub fn problems(report: &Report) -> String {
    let lines = report.problems.iter().flat_map(|problem| problem.lines());
    lines.map(|line| format!("ruleward: {}\n", plain(line))).collect()
}

/// What `apply` would do, as `plan` shows it: by family, table and chain.
pub fn plan(report: &Report, style: Style) -> String {
    let mut text = String::new();
    refused(&mut text, report, style);
    if matches!(report.outcome, Outcome::Refused | Outcome::Failed | Outcome::Pending) {
        return text;
    }
    changes(&mut text, &report.changes, style);
    let summary = match report.changes.len() {
        0 if report.in_sync => "No changes: the node is in sync.".to_owned(),
        0 => "No changes to write, but the node is out of sync.".to_owned(),
        _ => format!("Plan: {}. Nothing was written.", tally(&report.changes, TO_DO)),
    };
    let _ = writeln!(text, "{summary}");
    enforced(&mut text, report, style);
    notes(&mut text, report);
    text
}

/// What `apply` and `refresh` have done.
pub fn done(report: &Report, style: Style) -> String {
    let mut text = String::new();
    let took = duration(report.timings_ms.total);
    refused(&mut text, report, style);
    let with = if report.refused.is_empty() { "" } else { ", running the previous version" };
    let headline = match (report.outcome, report.in_sync) {
        (Outcome::Unchanged, true) => style.good(&format!("In sync{with}: nothing had to change ({took}).")),
        (Outcome::Changed, true) => style.good(&format!("In sync{with}: {} ({took}).", tally(&report.changes, DONE))),
        (Outcome::Unchanged | Outcome::Changed, false) => style.bad(&format!("OUT OF SYNC ({took}).")),
        (Outcome::Refused, _) => style.bad("Refused: nothing was written."),
        (Outcome::Failed | Outcome::Pending, _) => style.bad("Failed: the rules in force stay."),
    };
    let _ = writeln!(text, "{headline}");
    enforced(&mut text, report, style);
    changes(&mut text, &report.changes, style);
    notes(&mut text, report);
    text
}

/// What is refused comes first: whoever has just changed it must not take the rest for its success.
pub(super) fn refused(text: &mut String, report: &Report, style: Style) {
    for refused in &report.refused {
        let _ = writeln!(text, "{} {}", style.bad("REFUSED:"), plain(refused));
    }
}

/// What is not enforced although the node is in sync.
pub(super) fn enforced(text: &mut String, report: &Report, style: Style) {
    if let Some(why) = &report.nothing_enforced {
        let _ = writeln!(text, "{} {}", style.bad("NOTHING ENFORCED:"), plain(why));
    }
    for line in waiting(&report.awaiting) {
        let _ = writeln!(text, "{} {}", style.bad("Waiting:"), plain(&line));
    }
}

/// `2 attachments of calico-jumps wait for the chain cali-FORWARD (IPv4 filter FORWARD, IPv6 filter FORWARD)`
pub fn waiting(awaiting: &[AwaitingReport]) -> Vec<String> {
    let mut waiting: BTreeMap<(&str, String), Vec<(&str, String)>> = BTreeMap::new();
    for one in awaiting {
        let place = format!("{} {} {}", one.family, one.table.as_str(), one.within);
        let awaited = match (&one.chain, &one.set) {
            (Some(chain), _) => format!("chain {chain}"),
            (None, set) => format!("set {}", set.as_deref().unwrap_or_default()),
        };
        waiting.entry((&one.policy, awaited)).or_default().push((&one.within, place));
    }
    let line = |((policy, awaited), places): ((&str, String), Vec<(&str, String)>)| {
        let wait = if places.len() == 1 { "waits" } else { "wait" };
        let attached = places.iter().all(|(within, _)| Hook::from_name(within).is_some());
        let number = plural(places.len(), if attached { "attachment" } else { "rule" });
        let mut places: Vec<String> = places.into_iter().map(|(_, place)| place).collect();
        places.dedup();
        format!("{number} of {policy} {wait} for the {awaited}, which does not exist ({})", places.join(", "))
    };
    waiting.into_iter().map(line).collect()
}

/// What `reload` has brought about.
pub fn reloaded(report: &Report, style: Style) -> String {
    let mut text = done(report, style);
    let _ = writeln!(text, "{}", style.head("Policies"));
    text.push_str(&policies(&report.policies, style));
    text
}

/// What `cleanup` has done.
pub fn cleaned(report: &Report, style: Style) -> String {
    if !report.in_sync {
        return done(report, style);
    }
    let mut text = String::new();
    let headline = match report.changes.len() {
        0 => "Nothing to remove: no policy owns a rule, chain or set on this node.".to_owned(),
        _ => format!("Removed everything that the policies own: {}.", tally(&report.changes, DONE)),
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
    let headline = if good { style.good("Configuration and policies are valid.") } else { style.bad("INVALID.") };
    let _ = writeln!(text, "{headline}");
    for policy in &report.policies {
        let of_it = format!("policy {}: ", policy.name);
        let state = match policy.state {
            _ if report.problems.iter().any(|problem| problem.starts_with(&of_it)) => style.bad("invalid"),
            PolicyState::Off => "off".to_owned(),
            PolicyState::Shadow => "valid, shadow".to_owned(),
            PolicyState::Waiting => "valid, waiting".to_owned(),
            PolicyState::Current | PolicyState::LastGood | PolicyState::NeverAnswered => style.paint("32", "valid"),
        };
        // A check puts nothing in force, so that each version is still to come.
        let candidate = policy.candidate.clone().filter(|candidate| candidate.reason.is_some());
        one_policy(&mut text, &PolicyReport { candidate, ..policy.clone() }, &state, style);
    }
    if report.policies.is_empty() && good {
        text.push_str(NO_POLICY);
    }
    notes(&mut text, report);
    text
}

/// One line a policy.
pub fn policies(policies: &[PolicyReport], style: Style) -> String {
    let mut text = String::new();
    if policies.is_empty() {
        text.push_str(NO_POLICY);
    }
    for policy in policies {
        let state = match policy.state {
            PolicyState::Current => style.paint("32", "current"),
            PolicyState::Off => "off".to_owned(),
            PolicyState::Shadow => shadow(policy),
            PolicyState::LastGood => style.bad("running the previous version"),
            PolicyState::Waiting if policy.contribution.is_some() => style.bad("waiting, running the previous version"),
            PolicyState::Waiting => style.bad("waiting, not in force"),
            PolicyState::NeverAnswered => style.bad("no valid version yet"),
        };
        one_policy(&mut text, policy, &state, style);
    }
    text
}

fn one_policy(text: &mut String, policy: &PolicyReport, state: &str, style: Style) {
    let version = policy.version.as_deref().map(|version| format!(" {}", plain(version))).unwrap_or_default();
    let size = counts(policy.chains as u64, policy.rules as u64, policy.sets as u64);
    let _ = write!(text, "  {}{version}: {state}; {size}", plain(&policy.name));
    if let Some(reason) = own_reason(policy) {
        let _ = write!(text, "; {}", plain(reason));
    }
    text.push('\n');
    for remark in remarks(policy, style) {
        let _ = writeln!(text, "    {remark}");
    }
    if let Some(usage) = limits::text(&policy.limits) {
        let _ = writeln!(text, "    {usage}");
    }
}

/// Why its newest answer is not the one in force, unless that is about its new version, which [`remarks`] tell of.
pub fn own_reason(policy: &PolicyReport) -> Option<&String> {
    policy.reason.as_ref().filter(|reason| refused_for(policy) != Some(reason))
}

/// What else there is to say of a policy: its new version, the earlier one that it is held at, and its own warnings.
pub fn remarks(policy: &PolicyReport, style: Style) -> Vec<String> {
    let candidate = policy.candidate.as_ref().map(|candidate| candidate_line(candidate, style));
    let pinned = policy.pinned.as_ref().map(|PinReport { record, since, why }| {
        let why = if why.is_empty() { String::new() } else { format!(" ({})", plain(why)) };
        let (name, record, since) = (plain(&policy.name), plain(record), plain(since));
        format!("pinned to {record} since {since}{why}, until its files change or `ruleward policy rollback --release {name}`")
    });
    let warnings = policy.warnings.iter().take(MOST_WARNINGS).map(|line| format!("warning: {}", plain(line)));
    let more = policy.warnings.len().saturating_sub(MOST_WARNINGS);
    let more = (more > 0).then(|| format!("and {more} warnings more; `--output json` has all"));
    candidate.into_iter().chain(pinned).chain(warnings).chain(more).collect()
}

/// What a shadow would change.
pub fn shadow(policy: &PolicyReport) -> String {
    let Some(ShadowReport { of, added, removed, .. }) = policy.shadow.as_ref().filter(|_| policy.reason.is_none())
    else {
        return "shadow".to_owned();
    };
    let of = of.as_ref().map_or_else(String::new, |of| format!(" of {}", plain(of)));
    match (added, removed) {
        (0, 0) => format!("shadow{of}: nothing would change"),
        _ => format!(
            "shadow{of}: {added} lines would be added, {removed} removed (`ruleward policy diff {}`)",
            plain(&policy.name)
        ),
    }
}

/// `2 chains, 12 rules, 1 set`
pub fn counts(chains: u64, rules: u64, sets: u64) -> String {
    let count = |number: u64, what| plural(usize::try_from(number).unwrap_or(usize::MAX), what);
    [count(chains, "chain"), count(rules, "rule"), count(sets, "set")].join(", ")
}

fn refused_for(policy: &PolicyReport) -> Option<&String> {
    policy.candidate.as_ref()?.reason.as_ref()
}

/// What the configuration asks for instead.
fn candidate_line(candidate: &CandidateReport, style: Style) -> String {
    let version = candidate.version.as_deref().map(|version| format!(" {}", plain(version))).unwrap_or_default();
    let digest: String =
        candidate.digest.as_deref().map(plain).unwrap_or_default().chars().take(SHOWN_DIGEST).collect();
    let digest = if digest.is_empty() { digest } else { format!(" ({digest})") };
    let state = match candidate.state {
        CandidateState::Loading => "loading".to_owned(),
        CandidateState::Waiting => "pending".to_owned(),
        CandidateState::Refused => style.bad("REFUSED"),
    };
    let reason = candidate.reason.as_deref().map(|reason| format!(": {}", plain(reason))).unwrap_or_default();
    format!("new version{version}{digest} {state}{reason}")
}

/// How it was repaired and how fast, or why not.
pub(super) fn repair(incident: &Incident, style: Style) -> String {
    if incident.is_only_recorded() {
        return plain(&incident.how);
    }
    if incident.how == NOTHING_WRITTEN {
        return plain(NOTHING_WRITTEN);
    }
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

/// What is done, under headings for family and table, with one line a rule.
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
        let _ = writeln!(
            text,
            "  {}",
            style.paint(colour(change.action), &format!("{} {}", change.mark(), change.heading()))
        );
        let (removed, added) = (("- ", &change.removed), ("+ ", &change.added));
        let lists: &[(&str, &Vec<String>)] = match change.action {
            Action::Add | Action::Move => &[("", added.1)],
            Action::Remove => &[("", removed.1)],
            Action::Change => &[removed, added],
        };
        for (sign, line) in lists.iter().flat_map(|(sign, lines)| lines.iter().map(move |line| (sign, line))) {
            let line = format!("{sign}{}", plain(line));
            let line = match *sign {
                "- " => style.paint(colour(Action::Remove), &line),
                "+ " => style.paint(colour(Action::Add), &line),
                _ => line,
            };
            let _ = writeln!(text, "      {line}");
        }
    }
}

/// Tables first, sets last.
fn site(change: &Change) -> (bool, Option<Family>, Option<Table>, &str) {
    (change.family.is_none(), change.family, change.table, &change.chain)
}

pub(super) fn notes(text: &mut String, report: &Report) {
    for note in &report.notes {
        let _ = writeln!(text, "Note: {}", plain(note));
    }
}

/// What [`tally`] says of each action, in its order.
const TO_DO: [&str; 4] = ["to add", "to remove", "to change", "to move"];
const DONE: [&str; 4] = ["added", "removed", "changed", "moved"];

/// `12 to add, 1 to change`: rules, members, and chains and sets without any.
fn tally(changes: &[Change], words: [&str; 4]) -> String {
    let mut counts = [0; 4];
    for change in changes {
        let (added, removed) = (change.added.len(), change.removed.len());
        match (change.action, change.object) {
            (Action::Change, Object::Members) => {
                counts[0] += added;
                counts[1] += removed;
            }
            (Action::Add, _) => counts[0] += added.max(1),
            (Action::Remove, _) => counts[1] += removed.max(1),
            (Action::Change, Object::Rules) => counts[2] += added.max(removed),
            (Action::Change, _) => counts[2] += 1,
            (Action::Move, _) => counts[3] += added,
        }
    }
    let some = counts.iter().zip(words).filter(|(count, _)| **count > 0);
    some.map(|(count, word)| format!("{count} {word}")).collect::<Vec<_>>().join(", ")
}

/// In which colour of ECMA-48 an action is shown.
fn colour(action: Action) -> &'static str {
    match action {
        Action::Add => "32",
        Action::Remove => "31",
        Action::Change => "33",
        Action::Move => "36",
    }
}

pub(super) fn plural(number: usize, what: &str) -> String {
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
