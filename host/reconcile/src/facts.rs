//! What a check begins with: the policies that are configured now, facts, and the answers of the policies.

use std::collections::BTreeMap;
use std::sync::Arc;

use ruleward_core::facts::{Facts, NftTable};
use ruleward_core::names::PolicyName;

use crate::policies::ShadowSpec;
use ruleward_report::PinReport;

/// Where facts come from.
pub trait FactsSource: Send {
    /// All of them, as they are now.
    ///
    /// # Errors
    /// Why there are none; those that were read last go on to count.
    fn read(&mut self) -> Result<FactsReading, FactsRefusal>;

    /// A number that stays the same as long as nothing that facts are made of changes; none while that is not known.
    fn changes(&self) -> Option<u64>;

    /// The tables of nf_tables that are none of iptables'; none where the kernel does not tell. Asked often.
    fn tables(&self) -> Option<Vec<NftTable>>;
}

/// Facts, and what an operator should know about how they came about.
#[derive(Debug, Clone)]
pub struct FactsReading {
    /// The facts.
    pub facts: Facts,
    /// Remarks, such as a directory that does not exist.
    pub notes: Vec<String>,
    /// Some are from an earlier reading: what has changed since may be missing.
    pub late: bool,
}

/// Why facts could not be read.
#[derive(Debug, Clone)]
pub struct FactsRefusal {
    /// Why.
    pub reason: String,
    /// It may pass by itself.
    pub passing: bool,
}

/// What was offered last, as far as reports say it.
#[derive(Debug, Default)]
pub(crate) struct Offered {
    pub any: bool,
    /// Everything that the configuration asked for when this process began has been loaded, or refused.
    pub complete: bool,
    pub refusal: Option<String>,
    pub notes: Vec<String>,
    pub shadows: BTreeMap<PolicyName, ShadowSpec>,
    pub pinned: BTreeMap<PolicyName, PinReport>,
}

/// Facts, and when they were read.
#[derive(Debug, Default)]
pub(crate) struct FactsCache {
    pub facts: Option<Arc<Facts>>,
    pub notes: Vec<String>,
    /// What was heard of changes before they were read; none if that is not known.
    pub heard: Option<u64>,
}
