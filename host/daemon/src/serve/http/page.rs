//! The status page: is the node right, since when, and what happened. Whole without JavaScript; every text from outside is
//! escaped by the template, and shown as [`plain`] has it.

use std::time::SystemTime;

use maud::{DOCTYPE, Markup, html};

use super::{plots, usage};
use crate::status_store::StatusStore;
use ruleward_report::actors;
use ruleward_report::plain::plain;
use ruleward_report::screen::contest;
use ruleward_report::status::{Status, Verdict};
use ruleward_report::text::{self, Style};
use ruleward_report::{Change, Incident, NOTHING_WRITTEN, PolicyReport, PolicyState};

/// Incidents on the page; `ruleward incidents` has all.
const SHOWN: usize = 50;

/// The page.
pub fn whole(status: &Status, store: &StatusStore) -> Markup {
    let refused = if status.report.refused.is_empty() { "" } else { "REFUSED; " };
    let title = format!("{}: {refused}{}", status.node_name, word(status));
    let body = html! {
        main id="main" {
            @for (id, section) in markup(status, store) {
                section id=(id) { (section) }
            }
        }
    };
    frame(&title, &status.node_name, &body)
}

/// What is around every page.
pub fn frame(title: &str, node: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (plain(title)) " - Ruleward" }
                link rel="stylesheet" href="/style.css";
                script src="/live.js" defer {}
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                header {
                    h1 { "Ruleward " span.node { (plain(node)) } }
                    nav aria-label="Pages" {
                        a href="/" { "Status" } " " a href="/rules" { "Rules" } " " a href="/metrics" { "Metrics" }
                    }
                    p #live .live role="status" { "as of the loading of this page" }
                }
                (body)
            }
        }
    }
}

/// The sections by their id, for the stream of events.
pub fn sections(status: &Status, store: &StatusStore) -> Vec<(&'static str, String)> {
    markup(status, store).into_iter().map(|(id, section)| (id, section.into_string())).collect()
}

fn markup(status: &Status, store: &StatusStore) -> Vec<(&'static str, Markup)> {
    vec![
        ("state", state(status)),
        ("incidents", incidents(status)),
        ("plots", plots::section(&status.report.incidents)),
        ("policies", policies(&status.report.policies)),
        ("daemon", daemon(status, store)),
    ]
}

fn state(status: &Status) -> Markup {
    let report = &status.report;
    html! {
        @for refused in &report.refused { p.bad { strong { "REFUSED" } ": " (plain(refused)) } }
        @let good = status.verdict() == Verdict::InSync && status.fights.is_empty();
        @let class = if good { "verdict good" } else if report.in_sync { "verdict" } else { "verdict bad" };
        p class=(class) { strong { (word(status)) } " since " (time(&status.since)) }
        @if let Some(why) = &report.nothing_enforced { p.bad { (plain(why)) "." } }
        @for line in text::waiting(&report.awaiting) { p.bad { (plain(&line)) "." } }
        @if let Some(what) = &status.waiting {
            p.bad { "The running check waits " (plain(what)) "." }
        }
        @for fight in &status.fights {
            p.bad {
                strong { "Fight" } " over " (plain(&fight.place)) ": " (contest(fight, SystemTime::now())) "."
            }
        }
        @if !report.problems.is_empty() {
            h2 { "Problems" }
            ul.problems { @for problem in &report.problems { li { (plain(problem)) } } }
        }
        @if !report.notes.is_empty() {
            ul.notes { @for note in &report.notes { li { (plain(note)) } } }
        }
        @if !report.in_sync && !report.changes.is_empty() {
            h2 { "Changes" }
            @for change in &report.changes { (difference(change)) }
        }
    }
}

/// How the node stands, in a word.
fn word(status: &Status) -> &'static str {
    match status.verdict() {
        Verdict::Pending => "NOT IN SYNC YET",
        Verdict::OutOfSync => "OUT OF SYNC",
        Verdict::Refused => "In sync, running the previous version,",
        Verdict::NothingEnforced => "NOTHING ENFORCED",
        Verdict::InSync if !status.fights.is_empty() => "In sync, but another program keeps undoing it,",
        Verdict::InSync => "IN SYNC",
    }
}

fn difference(change: &Change) -> Markup {
    let place = match (change.family, change.table) {
        (Some(family), Some(table)) => format!("{family} {table}"),
        _ => "sets".to_owned(),
    };
    let heading = format!("{place}: {} {}", change.mark(), plain(&change.heading()));
    html! { h3 { (heading) } (diff(&format!("Lines of {heading}"), &change.removed, &change.added)) }
}

fn diff(label: &str, removed: &[String], added: &[String]) -> Markup {
    html! {
        @if !removed.is_empty() || !added.is_empty() {
            div.diff role="group" aria-label=(label) tabindex="0" {
                pre {
                    @for line in removed { span.del { "- " (plain(line)) "\u{a}" } }
                    @for line in added { span.add { "+ " (plain(line)) "\u{a}" } }
                }
            }
        }
    }
}

fn incidents(status: &Status) -> Markup {
    let total = status.incidents_total;
    html! {
        h2 { "Incidents" }
        @if total == 0 {
            p { "No drift since the daemon started." }
        } @else {
            p {
                (total) " since the daemon started" @if status.report.incidents.len() > SHOWN { "; the last " (SHOWN) } "."
                " + was put back, - was removed."
            }
            ol.timeline { @for incident in status.report.incidents.iter().rev().take(SHOWN) { li { (one(incident)) } } }
        }
    }
}

fn one(incident: &Incident) -> Markup {
    let who = actors::lines(&incident.actors, incident.more_actors);
    let (class, end) = match (incident.repaired, incident.latency_ms) {
        _ if incident.how == NOTHING_WRITTEN => ("good", incident.how.clone()),
        (true, Some(latency)) => ("good", format!("repaired {latency:.2} ms after the change, by {}", incident.how)),
        (true, None) => ("good", format!("repaired in {:.1} ms, by {}", incident.took_ms, incident.how)),
        (false, _) if incident.is_only_recorded() => ("", incident.how.clone()),
        (false, _) => ("bad", format!("NOT repaired: {}", incident.how)),
    };
    html! {
        details id=(format!("incident-{}", incident.id)) {
            summary id=(format!("summary-{}", incident.id)) {
                (time(&incident.at)) " " strong { (incident.kind.as_str()) } " in " (plain(&incident.place()))
                @if incident.times > 1 { " (" (incident.times) " times)" }
                " by " @for (number, one) in who.iter().enumerate() { @if number > 0 { "; " } span.actor { (one) } } ": " span class=(class) { (plain(&end)) }
            }
            p { (plain(&incident.detail)) }
            (diff(&format!("Rules of incident {}", incident.id), &incident.removed, &incident.added))
        }
    }
}

fn policies(policies: &[PolicyReport]) -> Markup {
    html! {
        h2 { "Policies" }
        @if policies.is_empty() {
            p { "No policy is enabled, so nothing is enforced. Enable one in the configuration." }
        } @else {
            div.wide role="region" aria-label="Policies" tabindex="0" {
                table {
                    thead { tr {
                        th scope="col" { "Policy" } th scope="col" { "State" } th scope="col" { "Version" }
                        th.number scope="col" { "Chains" } th.number scope="col" { "Rules" } th.number scope="col" { "Sets" }
                        th scope="col" { "Limits" } th scope="col" { "Digest" }
                    } }
                    tbody { @for policy in policies { (row(policy)) } }
                }
            }
        }
    }
}

fn row(policy: &PolicyReport) -> Markup {
    let (class, state) = match policy.state {
        PolicyState::Current => ("good", "current".to_owned()),
        PolicyState::LastGood => ("bad", "running the previous version".to_owned()),
        PolicyState::Waiting => ("bad", "waiting".to_owned()),
        PolicyState::NeverAnswered => ("bad", "no valid version yet".to_owned()),
        PolicyState::Shadow => ("", text::shadow(policy)),
        PolicyState::Off => ("", "off".to_owned()),
    };
    let digest = policy.digest.as_deref().unwrap_or("unknown");
    let short: String = digest.trim_start_matches("sha256:").chars().take(12).collect();
    html! {
        tr {
            th scope="row" { (plain(&policy.name)) }
            td {
                span class=(class) { (state) } @if let Some(reason) = text::own_reason(policy) { ": " (plain(reason)) }
                @for remark in text::remarks(policy, Style { colours: false }) { br; (remark) }
            }
            td { (plain(policy.version.as_deref().unwrap_or("unknown"))) }
            td.number { (policy.chains) } td.number { (policy.rules) } td.number { (policy.sets) }
            td { (usage::cell(policy)) }
            td { code title=(digest) { (short) } }
        }
    }
}

fn daemon(status: &Status, store: &StatusStore) -> Markup {
    let report = &status.report;
    html! {
        h2 { "Daemon" }
        dl {
            dt { "Version" } dd { (plain(&status.version)) ", pid " (status.pid) ", started " (time(&status.started)) }
            dt { "Checks" } dd {
                (status.checks) " (" (status.checks_failed) " failed), every " (plain(&status.refresh_interval))
                @if let Some(last) = &status.last_check { ", the last at " (time(last)) }
            }
            @if let Some(backend) = report.backend {
                dt { "Backend" } dd { (backend.as_str()) ": " (plain(&report.backend_reason)) }
            }
            @if let Some(watch) = &status.watch {
                dt { "Drift is detected by" } dd { (plain(&watch.method)) @if !watch.detail.is_empty() { ": " (plain(&watch.detail)) } }
                dt { "and repaired by" } dd { (plain(&watch.repair)) }
            }
            @if let Some((count, mean)) = store.metrics().mean_latency_ms() {
                dt { "Repairs" } dd {
                    (count) ", on average " (format!("{mean:.2} ms")) " after the change"
                }
            }
        }
    }
}

/// A time for people and for machines.
fn time(at: &str) -> Markup {
    html! { time datetime=(at) { (at.replace('T', " ").trim_end_matches('Z')) " UTC" } }
}
