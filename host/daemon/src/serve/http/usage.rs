//! What a policy used of its limits, for the table of policies: the fullest of those that say most in a word, all of them on
//! request.

use maud::{Markup, html};
use ruleward_core::limit::amount;

use ruleward_report::PolicyReport;
use ruleward_report::limits::LimitReport;
use ruleward_report::plain::plain;

/// The cell of one policy.
pub fn cell(policy: &PolicyReport) -> Markup {
    let known = || policy.limits.iter().filter(|limit| limit.worst.is_some());
    let Some(fullest) =
        known().filter(|limit| limit.says_most()).max_by(|one, other| one.share().total_cmp(&other.share()))
    else {
        return html! { "not asked yet" };
    };
    html! {
        details id=(format!("limits-{}", plain(&policy.name))) {
            summary id=(format!("limits-summary-{}", plain(&policy.name))) {
                span.bad[fullest.is_near()] { "at most " (percent(fullest)) " of " (fullest.limit) }
            }
            table {
                thead { tr {
                    th scope="col" { "Limit" } th.number scope="col" { "Last" } th.number scope="col" { "Worst" }
                    th.number scope="col" { "May use" } th scope="col" { "Share of the worst" }
                } }
                tbody { @for limit in known() { (row(limit)) } }
            }
        }
    }
}

fn row(limit: &LimitReport) -> Markup {
    let show = |number: Option<u64>| number.map_or_else(String::new, |number| amount(limit.limit, number));
    html! {
        tr {
            th scope="row" { (limit.limit) }
            td.number { (show(limit.last)) } td.number { (show(limit.worst)) } td.number { (show(Some(limit.most))) }
            td { span.bad[limit.is_near()] { (percent(limit)) } }
        }
    }
}

fn percent(limit: &LimitReport) -> String {
    let share = limit.share() * 100.0;
    if share > 0.0 && share < 1.0 { "less than 1 %".to_owned() } else { format!("{share:.0} %") }
}
