//! `/rules`: what is kept in force, table by table, chain by chain, each with who wants it. `?table=nat&family=ipv4` shows
//! one table; the page without a question lists the tables, so that no answer grows with the node.

use maud::{Markup, html};
use ruleward_core::expected::{Expected, ExpectedAttachment, ExpectedRule, ExpectedTable};
use ruleward_core::names::{Family, Table};

use super::page;
use crate::metrics::{family_label, place_counts};
use crate::report::board::Board;
use crate::report::plain::plain;

/// Rules on one page. `iptables-save` has all.
const MOST: usize = 2000;

/// The page for a query such as `family=ipv4&table=nat`.
pub fn page(board: &Board, query: &str) -> Markup {
    let node = board.brief().node_name;
    let body = match (board.expected(), asked(query)) {
        (None, _) => html! { main id="main" { h2 { "Rules" } p { "Nothing has been put in force yet." } } },
        (Some(expected), None) => overview(&expected),
        (Some(expected), Some((family, table))) => one_table(&expected, family, table),
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

fn overview(expected: &Expected) -> Markup {
    html! {
        main id="main" {
            h2 { "Rules" }
            p { "What is kept in force, by table and by the policy that wants it." }
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

fn one_table(expected: &Expected, family: Family, table: Table) -> Markup {
    let Some(wanted) = expected.tables.get(&(family, table)) else {
        return html! { main id="main" { h2 { (family) " " (table.as_str()) } p { "Nothing is kept in force here." } } };
    };
    let mut left = MOST;
    html! {
        main id="main" {
            h2 { (family) " " (table.as_str()) }
            (hooks(wanted, &mut left))
            @for (name, (policy, rules)) in &wanted.chains {
                @let shown = take(&mut left, rules.len());
                details id=(format!("chain-{}", plain(name.as_str()))) open[rules.len() <= 50] {
                    summary { code { (plain(name.as_str())) } ": " (rules.len()) " rules, wanted by " (plain(policy.as_str())) }
                    div.diff role="region" aria-label=(format!("Rules of {}", plain(name.as_str()))) tabindex="0" {
                        pre { @for rule in rules.iter().take(shown) { (line(name.as_str(), rule)) } }
                    }
                    @if shown < rules.len() { p { (rules.len() - shown) " more are not shown; iptables-save has them." } }
                }
            }
        }
    }
}

fn hooks(wanted: &ExpectedTable, left: &mut usize) -> Markup {
    html! {
        @for (hook, rules) in &wanted.hooks {
            h3 { (hook.as_str()) }
            @for (heading, list) in [("before strangers' rules", &rules.first), ("after them", &rules.last)] {
                @if !list.is_empty() {
                    p { (heading) ":" }
                    div.diff role="region" aria-label=(format!("{} {heading}", hook.as_str())) tabindex="0" {
                        pre { @for one in list.iter().take(take(left, list.len())) { (attachment(hook.as_str(), one)) } }
                    }
                }
            }
        }
    }
}

fn attachment(hook: &str, one: &ExpectedAttachment) -> Markup {
    html! { (line(hook, &one.rule)) span.who { "    wanted by " (plain(one.policy.as_str())) "\u{a}" } }
}

fn line(chain: &str, rule: &ExpectedRule) -> Markup {
    let text = rule.show().unwrap_or_else(|| rule.write());
    html! { "-A " (plain(chain)) " " (plain(text)) "\u{a}" }
}

fn take(left: &mut usize, wanted: usize) -> usize {
    let taken = wanted.min(*left);
    *left -= taken;
    taken
}
