//! What of the configuration the reconciler goes by.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use ruleward_core::limit::Limit;
use ruleward_core::names::PolicyName;
use ruleward_core::settle::Bounds;

/// What of the configuration the reconciler goes by.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Between two full comparisons, at most.
    pub refresh_interval: Duration,
    /// How long a repair waits for those who write.
    pub repair_bounds: Bounds,
    /// After so many checks that found nothing changed, everything is read all the same.
    pub full_comparison_every: u32,
    /// Rules are repaired by netlink where that is proven.
    pub replay: bool,
    /// What no policy's limits may be above.
    pub limits_ceiling: BTreeMap<Limit, u64>,
    /// As long as all policies together may take by their limits, each being asked twice.
    pub longest_evaluation: Duration,
    /// Finds the place of something in the files of the configuration.
    pub locate: Option<Arc<dyn Locate>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            refresh_interval: Duration::from_secs(90),
            repair_bounds: Bounds::default(),
            full_comparison_every: 10,
            replay: true,
            limits_ceiling: BTreeMap::new(),
            longest_evaluation: Duration::ZERO,
            locate: None,
        }
    }
}

/// Says where something stands in the files of the configuration, for messages.
pub trait Locate: Debug + Send + Sync {
    /// Where a JSON pointer into a policy's settings leads.
    fn setting(&self, policy: &PolicyName, pointer: &str) -> Option<String>;

    /// Where a rule of iptables is written that has these words.
    fn rule(&self, policy: &PolicyName, text: &str) -> Option<String>;
}
