//! What `status` says of the watch and of fights.

use std::sync::Arc;
use std::time::SystemTime;

use ruleward_core::rule_encodings::{Coverage, RuleEncodings};

use crate::effect::Effect;
use crate::reconciler::Reconciler;
use ruleward_report::status::{FightReport, WatchReport};

impl Reconciler {
    /// How drift is noticed and repaired, for `status`.
    pub(crate) fn show_watch(&mut self) {
        let (method, detail) = self.kernel.events.method();
        let forms = self.target.expected.as_ref().and_then(|expected| expected.forms.clone());
        // It takes a walk over all rules, and changes with them only.
        let known =
            |(of, _): &&(Arc<RuleEncodings>, Coverage)| forms.as_ref().is_some_and(|forms| Arc::ptr_eq(of, forms));
        let coverage = match (self.kernel.coverage.as_ref().filter(known), &forms) {
            (Some((_, coverage)), _) => coverage.clone(),
            (None, Some(forms)) => forms.coverage(),
            (None, None) => Coverage::default(),
        };
        self.kernel.coverage = forms.clone().map(|forms| (forms, coverage.clone()));
        let mut repair = match &forms {
            Some(forms) if forms.replayable && coverage.unproven == 0 => {
                format!("netlink replay, all {} rules proven", coverage.rules)
            }
            Some(forms) if forms.replayable => {
                let example = coverage.reason.as_deref().unwrap_or_default();
                format!(
                    "netlink replay; {} of {} rules only by iptables-restore: {example}",
                    coverage.unproven, coverage.rules
                )
            }
            Some(_) => "iptables-restore; compared byte for byte".to_owned(),
            None => {
                format!(
                    "iptables-restore; compared by text: {}",
                    self.target.no_encodings.as_deref().unwrap_or("not yet known")
                )
            }
        };
        for table in &coverage.by_text {
            repair.push_str("; compared by text: ");
            repair.push_str(table);
        }
        if let Some(reason) = &self.kernel.by_tools {
            repair.push_str("; the last write fell back to iptables-restore: ");
            repair.push_str(reason);
        }
        let unproven = coverage.unproven as u64;
        self.effect(Effect::ShowWatch(WatchReport { method, detail, repair, unproven }));
    }

    /// The alarm, for `status`.
    pub(crate) fn show_fights(&mut self) {
        let now = self.kernel.elapsed();
        let began = self.runtime.wall_clock().checked_sub(now).unwrap_or(SystemTime::UNIX_EPOCH);
        let fights = self.kernel.fights.fights(now);
        let fights = fights.iter().map(|fight| FightReport::new(fight, began)).collect();
        self.effect(Effect::ShowFights(fights));
    }
}
