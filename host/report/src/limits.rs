//! A policy's limits, and what it used of them: the JSON of each, and the line for people.

use std::collections::BTreeMap;

use ruleward_core::limit::{Limit, Limits, Unit, Usage, amount};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// From this share of a limit on the line for people marks it.
const NEAR: f64 = 0.8;

/// One limit of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LimitReport {
    /// Its key in the configuration.
    pub limit: Limit,
    /// What its numbers count.
    pub unit: Unit,
    /// What holds unless the configuration says otherwise.
    pub default: u64,
    /// What holds.
    pub most: u64,
    /// Above what it can't be set; none if the operator sets no ceiling.
    pub ceiling: Option<u64>,
    /// What the last call used or wanted; none before the first.
    pub last: Option<u64>,
    /// The most that any call used or wanted since the policy was loaded.
    pub worst: Option<u64>,
}

impl LimitReport {
    /// All limits of one policy; `usage` is of the last call, and the worst.
    pub fn all(limits: &Limits, ceiling: &BTreeMap<Limit, u64>, usage: Option<&(Usage, Usage)>) -> Vec<Self> {
        let report = |limit: Limit| Self {
            limit,
            unit: limit.unit(),
            default: limit.default_amount(),
            most: limits[limit],
            ceiling: ceiling.get(&limit).copied(),
            last: usage.map(|(last, _)| last[limit]),
            worst: usage.map(|(_, worst)| worst[limit]),
        };
        Limit::ALL.into_iter().map(report).collect()
    }

    /// Whether some call came near it.
    pub fn is_near(&self) -> bool {
        self.worst.is_some() && self.share() >= NEAR
    }

    /// Whether it is one of those that tell how a policy fares, or one that some call came near.
    pub fn says_most(&self) -> bool {
        matches!(self.limit, Limit::Memory | Limit::Time | Limit::Fuel) || self.is_near()
    }

    /// The worst that a call used of it, from 0 to 1; more if it was stopped for that.
    pub fn share(&self) -> f64 {
        self.worst.unwrap_or(0) as f64 / self.most.max(1) as f64
    }

    /// `memory 1.1 MiB of 64 MiB`; where the worst call used more than the last: `time 3ms (at worst 12ms) of 1s`.
    fn text(&self) -> Option<String> {
        let (last, worst) = (self.last?, self.worst?);
        if worst == 0 {
            return None;
        }
        let show = |number| amount(self.limit, number);
        let at_worst = if worst > last { format!(" (at worst {})", show(worst)) } else { String::new() };
        let near = if self.is_near() { " (!)" } else { "" };
        Some(format!("{} {}{at_worst} of {}{near}", self.limit, show(last), show(self.most)))
    }
}

/// What was used of the limits that say most, and of those that come near; none before the first call. JSON has all.
pub fn text(limits: &[LimitReport]) -> Option<String> {
    let parts: Vec<String> = limits.iter().filter(|limit| limit.says_most()).filter_map(LimitReport::text).collect();
    (!parts.is_empty()).then(|| format!("uses {}", parts.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_shown_against_its_limit() {
        let limits = Limits::default();
        let (mut last, mut worst) = (Usage::default(), Usage::default());
        (last[Limit::Memory], worst[Limit::Memory]) = (1 << 20, 1 << 20);
        (last[Limit::Time], worst[Limit::Time]) = (3_000, 900_000);
        let ceiling = BTreeMap::from([(Limit::Time, 2_000_000)]);
        let reports = LimitReport::all(&limits, &ceiling, Some(&(last, worst)));
        assert_eq!(text(&reports).unwrap(), "uses memory 1 MiB of 64 MiB, time 3ms (at worst 900ms) of 1s (!)");
        let json = serde_json::to_value(&reports).unwrap();
        assert_eq!(json.as_array().unwrap().len(), Limit::ALL.len());
        assert_eq!(
            json[1],
            serde_json::json!({
                "limit": "time", "unit": "microseconds", "default": 1_000_000, "most": 1_000_000, "ceiling": 2_000_000,
                "last": 3_000, "worst": 900_000,
            })
        );
        for report in &reports {
            assert_eq!(serde_json::to_value(report.limit).unwrap(), report.limit.key());
        }
    }

    #[test]
    fn before_the_first_call_there_is_nothing_to_show() {
        assert_eq!(text(&LimitReport::all(&Limits::default(), &BTreeMap::new(), None)), None);
    }
}
