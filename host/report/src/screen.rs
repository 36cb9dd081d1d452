//! The screen of `status`, for somebody who was woken: first whether the node is in sync and for how long, then what is wrong
//! and what to do, then everything else.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use super::plain::plain;
use super::status::{FightReport, Status, Verdict};
use super::text::{Style, duration, notes, plural, policies, refused, repair, waiting};
use super::{Basis, Incident, actors, milliseconds};

/// How many incidents it shows.
const SHOWN_INCIDENTS: usize = 10;

/// The screen as of `now`.
pub fn status(status: &Status, now: SystemTime, style: Style) -> String {
    let report = &status.report;
    let mut text = String::new();
    let since = plain(&status.since);
    let lasting = age(&status.since, now).map(|time| format!(" ({time})")).unwrap_or_default();
    let mut headline = match status.verdict() {
        Verdict::Pending => style.bad(&format!("NOT IN SYNC YET: the first check runs since {since}{lasting}")),
        Verdict::OutOfSync => style.bad(&format!("OUT OF SYNC since {since}{lasting}")),
        Verdict::Refused => format!("In sync, running the previous version, since {since}{lasting}"),
        Verdict::NothingEnforced => format!("In sync since {since}{lasting}, but nothing is enforced"),
        Verdict::InSync => style.good(&format!("IN SYNC since {since}{lasting}")),
    };
    if report.in_sync && !status.fights.is_empty() {
        headline = format!("In sync since {since}{lasting}, but another program keeps undoing it");
    }
    refused(&mut text, report, style);
    if let (Verdict::NothingEnforced, Some(why)) = (status.verdict(), &report.nothing_enforced) {
        let _ = writeln!(text, "{} {}", style.bad("NOTHING ENFORCED:"), plain(why));
    }
    let _ = writeln!(text, "{headline}");
    for line in waiting(&report.awaiting) {
        let _ = writeln!(text, "{} {}", style.bad("Waiting:"), plain(&line));
    }
    for fight in &status.fights {
        let _ = writeln!(text, "{}", style.bad(&alarm(fight, now)));
    }
    if let Some(waiting) = &status.waiting {
        let _ = writeln!(text, "{}", style.bad(&format!("The running check waits {}", plain(waiting))));
    }
    for problem in report.problems.iter().filter(|problem| !report.refused.contains(problem)) {
        let _ = writeln!(text, "{} {}", style.bad("Problem:"), plain(problem));
    }
    let _ = writeln!(text, "\n{}", style.head("Policies"));
    text.push_str(&policies(&report.policies, style));
    let _ = writeln!(text, "\n{}", style.head(&format!("Incidents: {} since the start", status.incidents_total)));
    for incident in report.incidents.iter().rev().take(SHOWN_INCIDENTS) {
        incident_line(&mut text, incident, now, style);
    }
    let _ = writeln!(text, "\n{}", style.head("Daemon"));
    daemon(&mut text, status);
    notes(&mut text, report);
    text
}

fn alarm(fight: &FightReport, now: SystemTime) -> String {
    format!("ALARM: {}; decide which of the two owns this place, and stop the other", contest(fight, now))
}

/// Who undoes what, how often, and how it stands at this moment.
pub fn contest(fight: &FightReport, now: SystemTime) -> String {
    let opponents = actors::lines(&fight.opponents, fight.more_opponents).join("; ");
    let (keep, place) = (if fight.opponents.len() > 1 { "keep" } else { "keeps" }, plain(&fight.place));
    let (times, since) = (plural(usize::try_from(fight.rounds).unwrap_or(usize::MAX), "repair"), plain(&fight.since));
    let stands = match (&fight.missing_since, &fight.next_try) {
        (Some(missing), next) => {
            let lasting = age(missing, now).map(|time| format!(" ({time})")).unwrap_or_default();
            let next = next
                .as_deref()
                .map_or_else(String::new, |next| format!(", the next repair is due {}", until(next, now)));
            format!("missing now, since {}{lasting}{next}", plain(missing))
        }
        (None, _) if fight.pause_ms > 0.0 => {
            format!("in force now, with {} between two repairs", duration(fight.pause_ms))
        }
        (None, _) => format!("in force now, undone about every {}", duration(fight.every_ms)),
    };
    format!("{opponents} {keep} undoing {place} since {since}: {times} so far; {stands}")
}

/// `in 3.2 s`, or `now`.
fn until(at: &str, now: SystemTime) -> String {
    let left = humantime::parse_rfc3339(at).ok().and_then(|at| at.duration_since(now).ok());
    left.map_or_else(|| "now".to_owned(), |left| format!("in {}", duration(milliseconds(left))))
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
        let detail = if watch.detail.is_empty() { String::new() } else { format!("; {}", plain(&watch.detail)) };
        let _ = writeln!(text, "  drift is detected by {}{detail}", plain(&watch.method));
        let _ = writeln!(text, "  drift is repaired by {}", plain(&watch.repair));
    }
    let basis = match report.basis {
        Some(Basis::Rehearsed) => "a rehearsal in a private network namespace",
        Some(Basis::Learned) => "reading them back after the commit; no rehearsal was possible",
        Some(Basis::Unproven) => "nothing yet",
        None => return,
    };
    let _ = writeln!(text, "  expected rules are known from {basis}");
}

fn incident_line(text: &mut String, incident: &Incident, now: SystemTime, style: Style) {
    let Incident { id, kind, last_at, .. } = incident;
    let place = plain(&incident.place());
    let when = age(last_at, now).map_or_else(|| plain(last_at), |time| format!("{time} ago"));
    let times = if incident.times > 1 { format!(" ({} times)", incident.times) } else { String::new() };
    let who = actors::lines(&incident.actors, incident.more_actors);
    let (by, beneath) = match (who.as_slice(), incident.actors.as_slice()) {
        (_, [one]) if who.len() == 1 && !one.actor.is_known() => (String::new(), None),
        ([one], _) => (format!(" by {}", style.head(one)), None),
        _ => (format!(" by {}", style.head("several programs")), Some(who)),
    };
    let _ = writeln!(
        text,
        "  {when}: #{id} {} in {place}{times}{by}: {}; {}",
        kind.as_str(),
        plain(&incident.detail),
        repair(incident, style)
    );
    for line in beneath.iter().flatten() {
        let _ = writeln!(text, "      {line}");
    }
}

/// How long ago that was, in its two largest units: `3h 12m`. None: it is no time, or still to come.
pub fn age(at: &str, now: SystemTime) -> Option<String> {
    let at = humantime::parse_rfc3339(at).ok()?;
    now.duration_since(at).ok().map(span)
}

fn span(time: Duration) -> String {
    let all = humantime::format_duration(Duration::from_secs(time.as_secs())).to_string();
    all.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_two_units() {
        let texts = [0, 59, 60, 3599, 3600, 86_399, 86_400, 90_000_000].map(Duration::from_secs).map(span);
        assert_eq!(texts, ["0s", "59s", "1m", "59m 59s", "1h", "23h 59m", "1day", "2years 10months"]);
        assert_eq!(age("1970-01-01T00:00:10Z", SystemTime::UNIX_EPOCH), None, "a clock that went back");
        assert_eq!(age("yesterday", SystemTime::now()), None);
    }
}
