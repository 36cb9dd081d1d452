//! What the daemon says about its checks: one line when something happened or changed, silence otherwise.

use ruleward_core::schedule::{Outcome, Reason};

use ruleward_report::Report;

/// How often a failure that stays the same is said again, in checks.
const REPEAT: u32 = 20;

/// Remembers what was said last.
#[derive(Debug, Default)]
pub struct Journal {
    last: Option<(Outcome, Vec<String>)>,
    same: u32,
}

impl Journal {
    /// Says what there is to say about one repair that nobody asked for. Its incidents have their own lines.
    pub fn tell_repair(&mut self, report: &Report) {
        self.say("repair", report);
    }

    /// Says what there is to say about one check.
    pub fn tell(&mut self, reason: Reason, report: &Report) {
        self.say(word(reason), report);
    }

    /// Says that one check found that nothing has happened since the last one.
    pub fn tell_again(&self, reason: Reason) {
        tracing::debug!("{}: nothing has happened since the last check", word(reason));
    }

    fn say(&mut self, reason: &str, report: &Report) {
        let outcome = report.scheduled();
        let now = Some((outcome, report.problems.clone()));
        let news = self.last != now;
        self.same = if news { 0 } else { self.same + 1 };
        self.last = now;
        let total = report.timings_ms.total;
        let problems = report.problems.join("; ");
        match outcome {
            Outcome::Wrote if reason == "repair" => tracing::debug!("{reason}: in sync again, {total:.1} ms"),
            Outcome::Wrote => {
                let places = match report.changes.len() {
                    1 => "1 difference".to_owned(),
                    many => format!("{many} differences"),
                };
                tracing::info!("{reason}: {places} written, in sync again, {total:.1} ms");
            }
            Outcome::Clean if news => tracing::info!("{reason}: in sync, nothing to do, {total:.1} ms"),
            Outcome::Clean => tracing::debug!("{reason}: in sync, nothing to do, {total:.1} ms"),
            Outcome::Failed if news => tracing::error!("{reason}: OUT OF SYNC: {problems}; trying again"),
            Outcome::Failed if self.same.is_multiple_of(REPEAT) => {
                tracing::error!("{reason}: still OUT OF SYNC after {} more checks: {problems}", self.same);
            }
            Outcome::Failed => tracing::debug!("{reason}: still OUT OF SYNC: {problems}"),
        }
        if outcome != Outcome::Failed && news && !problems.is_empty() {
            tracing::warn!("{reason}: {problems}");
        }
    }
}

fn word(reason: Reason) -> &'static str {
    match reason {
        Reason::Start => "first check",
        Reason::Refresh => "refresh",
        Reason::Recheck => "check after a write",
        Reason::Retry => "check after a failure",
        Reason::Asked => "check on request",
        Reason::Change => "check after a change",
    }
}
