//! `/livez` and `/readyz`: whether the daemon works, and whether the node is right, each with its reasons.

use std::time::Duration;

use crate::status_store::{Progress, StatusStore};
use ruleward_report::plain::plain;

/// Longer than a check may take with the default time limits: ten minutes for the xtables lock, and a command or two. Then
/// the checking thread is taken for dead.
pub const LONGEST_CHECK: Duration = Duration::from_secs(15 * 60);
/// How late the next check may begin.
pub const LATEST: Duration = Duration::from_secs(60);

/// A verdict with its reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Whether all is well.
    pub good: bool,
    /// `ok`, or one reason a line.
    pub text: String,
}

/// Whether checks go on. A node that is wrong has a living daemon all the same.
pub fn live(store: &StatusStore) -> Health {
    let reason = match store.progress() {
        Progress::Running(time) if time > LONGEST_CHECK => {
            Some(format!("a check has been running for {} s and does not end", time.as_secs()))
        }
        Progress::Due(late) if late > LATEST => Some(format!("the next check is {} s late", late.as_secs())),
        Progress::Running(_) | Progress::Due(_) | Progress::Waiting => None,
    };
    Health { good: reason.is_none(), text: reason.map_or_else(|| "ok\n".to_owned(), |reason| reason + "\n") }
}

/// Whether the kernel shows what the policies ask for.
pub fn ready(store: &StatusStore) -> Health {
    let live = live(store);
    let status = store.brief();
    if live.good && status.report.in_sync && !store.stopping() {
        return Health { good: true, text: "ok\n".to_owned() };
    }
    let mut reasons: Vec<String> = status.report.problems.iter().map(|problem| plain(problem)).collect();
    if !live.good {
        reasons.insert(0, live.text.trim_end().to_owned());
    }
    if store.stopping() {
        reasons.insert(0, "the daemon is stopping; rules stay in force".to_owned());
    }
    reasons.extend(status.waiting.map(|what| format!("waiting {}", plain(&what))));
    if reasons.is_empty() {
        reasons.push("no check has ended well yet".to_owned());
    }
    Health { good: false, text: reasons.join("\n") + "\n" }
}
