//! Reports for people. What matters comes first: right or not, then what to do.
//!
//! Texts from outside (rules, policies, the kernel's messages) can't move the cursor or forge lines: control characters
//! are shown escaped.

use std::collections::BTreeMap;
use std::fmt::Write;

use ruleward_core::names::{Family, Hook, Table};

use super::limits;
use super::plain::plain;
use super::{
    AwaitingReport, CandidateReport, CandidateState, Change, Incident, Intent, Outcome, PinReport, PolicyReport,
    PolicyState, Report, ShadowReport,
};

/// How many characters of a digest are shown: `sha256:` and twelve digits.
const SHOWN_DIGEST: usize = 19;

/// How many warnings of a policy are shown.
const MOST_WARNINGS: usize = 10;

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

/// The difference as `plan` shows it: rules by family, table and chain.
pub fn plan(report: &Report, style: Style) -> String {
    let mut text = String::new();
    refused(&mut text, report, style);
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
    enforced(&mut text, report, style);
    notes(&mut text, report);
    text
}

/// What `apply` and `refresh` have done.
pub fn done(report: &Report, style: Style) -> String {
    let mut text = String::new();
    let took = duration(report.timings_ms.total);
    let (added, removed) = count(&report.changes);
    refused(&mut text, report, style);
    let with = if report.refused.is_empty() { "" } else { " with what was in force before" };
    let headline = match (report.outcome, report.in_sync) {
        (Outcome::Unchanged, true) => style.good(&format!("In sync{with}: nothing had to change ({took}).")),
        (Outcome::Changed, true) => {
            let places = plural(report.changes.len(), "difference");
            style.good(&format!("In sync{with}: {places} repaired, {added} added, {removed} removed ({took})."))
        }
        (Outcome::Unchanged | Outcome::Changed, false) => style.bad(&format!("OUT OF SYNC ({took}).")),
        (Outcome::Refused, _) => style.bad("Refused: nothing was written."),
        (Outcome::Failed | Outcome::Pending, _) => style.bad("Failed: what is in force stays."),
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
    let headline = if good { style.good("Configuration and policies are valid.") } else { style.bad("INVALID.") };
    let _ = writeln!(text, "{headline}");
    if good || !report.policies.is_empty() {
        text.push_str(&policies(&report.policies, style));
    }
    notes(&mut text, report);
    text
}

/// One line a policy.
pub fn policies(policies: &[PolicyReport], style: Style) -> String {
    let mut text = String::new();
    if policies.is_empty() {
        let _ = writeln!(text, "  none: add a [policies.NAME] section to the configuration");
    }
    for policy in policies {
        let state = match policy.state {
            PolicyState::Current => style.paint("32", "current"),
            PolicyState::Off => "off".to_owned(),
            PolicyState::Shadow => shadow(policy),
            PolicyState::LastGood => style.bad("LAST GOOD ANSWER"),
            PolicyState::Waiting if policy.contribution.is_some() => style.bad("WAITING, LAST GOOD ANSWER IN FORCE"),
            PolicyState::Waiting => style.bad("WAITING, NOT IN FORCE"),
            PolicyState::NeverAnswered => style.bad("NEVER ANSWERED"),
        };
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
    text
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
    let Some(ShadowReport { of, comes, goes, .. }) = policy.shadow.as_ref().filter(|_| policy.reason.is_none()) else {
        return "shadow".to_owned();
    };
    let of = of.as_ref().map_or_else(String::new, |of| format!(" of {}", plain(of)));
    match (comes, goes) {
        (0, 0) => format!("shadow{of}: nothing would change"),
        _ => format!(
            "shadow{of}: {comes} lines would come and {goes} go (`ruleward policy diff {}`)",
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
        CandidateState::Loading => "is being loaded".to_owned(),
        CandidateState::Waiting => "waits".to_owned(),
        CandidateState::Refused => style.bad("is REFUSED"),
    };
    let reason = candidate.reason.as_deref().map(|reason| format!(": {}", plain(reason))).unwrap_or_default();
    format!("its new version{version}{digest} {state}{reason}")
}

/// How it was repaired and how fast, or why not.
pub(super) fn repair(incident: &Incident, style: Style) -> String {
    if incident.is_only_recorded() {
        return plain(&incident.how);
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

pub(super) fn notes(text: &mut String, report: &Report) {
    for note in &report.notes {
        let _ = writeln!(text, "Note: {}", plain(note));
    }
}

fn count(changes: &[Change]) -> (usize, usize) {
    let sum = |lines: fn(&Change) -> usize| changes.iter().map(lines).sum();
    (sum(|change| change.added.len()), sum(|change| change.removed.len()))
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
