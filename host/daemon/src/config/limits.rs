//! Reads `limits` of a policy and `limits-ceiling`, which no policy's limits may be above. What a policy does not set has its
//! default, or the ceiling where that is lower.

use std::collections::BTreeMap;
use std::time::Duration;

use ruleward_core::limit::{Limit, Limits, Unit};

use super::section::Section;
use ruleward_core::quantity::{format_duration, format_size};

/// The keys of such a table, sorted.
const KEYS: [&str; Limit::ALL.len()] = [
    "chains",
    "fuel",
    "input",
    "instances",
    "log-line-size",
    "log-lines",
    "members",
    "memories",
    "memory",
    "output",
    "rules",
    "sets",
    "table-elements",
    "tables",
    "time",
];

/// The operator's ceiling: limits that have none are absent.
pub type Ceiling = BTreeMap<Limit, u64>;

/// Reads `limits-ceiling`.
pub(super) fn ceiling(top: &mut Section<'_, '_>, key: &str) -> Ceiling {
    let Some(mut section) = top.table(key, &KEYS) else { return Ceiling::new() };
    Limit::ALL.into_iter().filter_map(|limit| Some((limit, amount(&mut section, limit)?))).collect()
}

/// Reads the limits of the policy whose table is `policy`.
pub(super) fn read(policy: &mut Section<'_, '_>, ceiling: &Ceiling) -> Limits {
    let mut limits = Limits::default().capped(ceiling);
    let Some(mut section) = policy.table("limits", &KEYS) else { return limits };
    for limit in Limit::ALL {
        let Some(amount) = amount(&mut section, limit) else { continue };
        match (ceiling.get(&limit), section.get(limit.key())) {
            (Some(most), Some(entry)) if amount > *most => {
                let (amount, most) = (shown(limit, amount), shown(limit, *most));
                let reason = format!(
                    "{amount} is above the ceiling of {most}, which `limits-ceiling.{limit}` sets; use at most {most}, or raise the \
                     ceiling"
                );
                section.bad_value(section.path_of(limit.key()), entry, reason);
            }
            _ => limits[limit] = amount,
        }
    }
    limits
}

fn amount(section: &mut Section<'_, '_>, limit: Limit) -> Option<u64> {
    let (least, most) = limit.bounds();
    match limit.unit() {
        Unit::Bytes => section.size(limit.key(), "64MiB", least, most),
        Unit::Microseconds => {
            let [least, most] = [least, most].map(Duration::from_micros);
            let duration = section.duration(limit.key(), "250ms", least, most)?;
            u64::try_from(duration.as_micros()).ok()
        }
        Unit::Count => section.number(limit.key(), least, most),
    }
}

/// As it is written in the configuration.
pub(super) fn shown(limit: Limit, amount: u64) -> String {
    match limit.unit() {
        Unit::Bytes => format_size(amount),
        Unit::Microseconds => format_duration(Duration::from_micros(amount)).to_string(),
        Unit::Count => amount.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_has_a_key() {
        let mut keys = Limit::ALL.map(Limit::key);
        keys.sort_unstable();
        assert_eq!(keys, KEYS);
    }
}
