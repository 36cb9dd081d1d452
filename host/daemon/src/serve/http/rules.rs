//! `/rules`: what is kept in force, table by table, chain by chain, each with who wants it. `?table=nat&family=ipv4` shows
//! one table with the packets that each rule has met; the page without a question lists the tables, so that no answer grows
//! with the node.

use std::sync::Arc;
use std::time::SystemTime;

use maud::{Markup, html};
use ruleward_core::expected::{Expected, ExpectedAttachment, ExpectedRule, ExpectedTable};
use ruleward_core::names::{Family, Table};

use super::counters::{Count, Counted, Counters};
use super::page;
use crate::metrics::{family_label, place_counts};
use crate::status_store::StatusStore;
use ruleward_report::plain::plain;
use ruleward_report::screen::contest;
use ruleward_report::status::Status;

/// Rules on one page. `iptables-save` has all.
pub const MOST: usize = 2000;

/// The page for a query such as `family=ipv4&table=nat`.
pub async fn page(store: &StatusStore, counters: &Arc<Counters>, query: &str) -> Markup {
    let status = store.brief();
    let node = status.node_name.clone();
    let body = match (store.expected(), asked(query)) {
        (None, _) => html! { main id="main" { h2 { "Rules" } p { "Nothing has been put in force yet." } } },
        (Some(expected), None) => overview(&expected, &status),
        (Some(expected), Some((family, table))) => {
            let counted = counters.of(&expected, (family, table)).await;
            let note = match &counted {
                Ok(_) => "Before each rule: the packets and bytes that it has met. Reload the page for new numbers."
                    .to_owned(),
                Err(reason) => format!("Packets and bytes can't be shown: {}", plain(reason)),
            };
            let counts = counted.map(|counted| Counts(Counted::clone(&counted))).unwrap_or_default();
            one_table(&expected, (family, table), &note, counts, &status)
        }
    };
    page::frame("rules", &node, &body)
}

fn asked(query: &str) -> Option<(Family, Table)> {
    let value = |key: &str| {
        query.split('&').filter_map(|pair| pair.split_once('=')).find(|(name, _)| *name == key).map(|(_, value)| value)
    };
    let family = [Family::Ipv4, Family::Ipv6].into_iter().find(|one| Some(family_label(*one)) == value("family"))?;
    let tables = [Table::Raw, Table::Mangle, Table::Nat, Table::Filter, Table::Security];
    let table = tables.into_iter().find(|one| Some(one.as_str()) == value("table"))?;
    Some((family, table))
}

/// What is listed is what should be in force. Where it is not, that is said first.
fn standing(status: &Status) -> Markup {
    html! {
        @if !status.report.in_sync {
            p.bad { "The node is out of sync: what is listed should be in force, and a part of it is not. The status page says what." }
        }
    }
}

/// What another program has undone, and was not repaired yet, is not in force.
fn missing(status: &Status, (family, table): (Family, Table), chain: &str) -> Markup {
    let (whole, place) = (format!("{family} {table}"), format!("{family} {table} {chain}"));
    let undone = status.fights.iter().filter(|fight| fight.place == place || fight.place == whole);
    let undone = undone.filter(|fight| fight.missing_since.is_some());
    html! { @for fight in undone { p.bad { "Not in force as it should be: " (contest(fight, SystemTime::now())) "." } } }
}

fn overview(expected: &Expected, status: &Status) -> Markup {
    html! {
        main id="main" {
            h2 { "Rules" }
            (standing(status))
            p { "Rules in force, by table and by policy." }
            div.wide role="region" aria-label="Tables" tabindex="0" {
                table {
                    thead { tr {
                        th scope="col" { "Table" } th scope="col" { "Policy" }
                        th.number scope="col" { "Chains" } th.number scope="col" { "Rules" }
                    } }
                    tbody {
                        @for ((family, table, policy), counts) in place_counts(expected) {
                            tr {
                                th scope="row" {
                                    a href=(format!("/rules?family={}&table={}", family_label(family), table.as_str())) {
                                        (family) " " (table.as_str())
                                    }
                                }
                                td { (plain(&policy)) }
                                td.number { (counts.chains) } td.number { (counts.rules) }
                            }
                        }
                    }
                }
            }
            @if !expected.sets.is_empty() {
                h2 { "Sets" }
                ul { @for (name, set) in &expected.sets {
                    li { code { (plain(name.as_str())) } ": " (plain(&set.create)) ", " (set.members.len()) " members" }
                } }
            }
        }
    }
}

/// Counters that were not given to a rule yet.
#[derive(Default)]
struct Counts(Counted);

impl Counts {
    fn next(&mut self, line: &str) -> Option<Count> {
        self.0.get_mut(line)?.pop_front()
    }
}

fn one_table(
    expected: &Expected,
    (family, table): (Family, Table),
    note: &str,
    mut counts: Counts,
    status: &Status,
) -> Markup {
    let Some(wanted) = expected.tables.get(&(family, table)) else {
        return html! { main id="main" { h2 { (family) " " (table.as_str()) } p { "Ruleward keeps no rules in this table." } } };
    };
    let mut left = MOST;
    html! {
        main id="main" {
            h2 { (family) " " (table.as_str()) }
            p.notes { (note) }
            (standing(status))
            (hooks(wanted, &mut left, &mut counts, &|hook| missing(status, (family, table), hook)))
            @for (name, (policy, rules)) in &wanted.chains {
                @let shown = take(&mut left, rules.len());
                details id=(format!("chain-{}", plain(name.as_str()))) open[rules.len() <= 50] {
                    summary { code { (plain(name.as_str())) } ": " (rules.len()) " rules, wanted by " (plain(policy.as_str())) }
                    (missing(status, (family, table), name.as_str()))
                    div.diff role="group" aria-label=(format!("Rules of {}", plain(name.as_str()))) tabindex="0" {
                        pre { @for rule in rules.iter().take(shown) { (line(name.as_str(), rule, &mut counts)) } }
                    }
                    @if shown < rules.len() { p { (rules.len() - shown) " more are not shown; iptables-save has them." } }
                }
            }
        }
    }
}

fn hooks(wanted: &ExpectedTable, left: &mut usize, counts: &mut Counts, missing: &dyn Fn(&str) -> Markup) -> Markup {
    html! {
        @for (hook, rules) in &wanted.hooks {
            h3 { (hook.as_str()) }
            (missing(hook.as_str()))
            @for (heading, list) in [("before foreign rules", &rules.first), ("after them", &rules.last)] {
                @if !list.is_empty() {
                    p { (heading) ":" }
                    div.diff role="group" aria-label=(format!("{} {heading}", hook.as_str())) tabindex="0" {
                        pre { @for one in list.iter().take(take(left, list.len())) { (attachment(hook.as_str(), one, counts)) } }
                    }
                }
            }
        }
    }
}

fn attachment(hook: &str, one: &ExpectedAttachment, counts: &mut Counts) -> Markup {
    html! { (line(hook, &one.rule, counts)) span.who { "    wanted by " (plain(one.policy.as_str())) "\u{a}" } }
}

fn line(chain: &str, rule: &ExpectedRule, counts: &mut Counts) -> Markup {
    let text = text(chain, rule);
    html! {
        @if let Some((packets, bytes)) = counts.next(&text) {
            span.count { (format!("[{packets} packets, {bytes} bytes] ")) }
        }
        (plain(&text)) "\u{a}"
    }
}

/// A rule as iptables-save has it.
pub fn text(chain: &str, rule: &ExpectedRule) -> String {
    format!("-A {chain} {}", rule.show().unwrap_or_else(|| rule.write()))
}

fn take(left: &mut usize, wanted: usize) -> usize {
    let taken = wanted.min(*left);
    *left -= taken;
    taken
}
