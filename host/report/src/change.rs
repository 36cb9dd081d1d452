//! Something that had to change, in the words of iptables-save.

use ruleward_core::drift::{Drift, Kind};
use ruleward_core::names::{Family, Table};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Something that had to change.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Change {
    /// Which family; none for a set.
    pub family: Option<Family>,
    /// Which table; none for a set.
    pub table: Option<Table>,
    /// Which chain or set; empty for a whole table.
    pub chain: String,
    /// What is different.
    pub kind: Kind,
    /// Rules that come, as iptables-save shows them, or members.
    pub added: Vec<String>,
    /// Rules that go, or members.
    pub removed: Vec<String>,
}

impl From<Drift> for Change {
    fn from(drift: Drift) -> Self {
        let (added, removed) = (lines(&drift, &drift.added), lines(&drift, &drift.removed));
        let Drift { family, table, chain, kind, .. } = drift;
        Self { family, table, chain, kind, added, removed }
    }
}

/// Rules as iptables-save shows them, with their chain; members of a set as they are.
pub fn lines(drift: &Drift, lines: &[String]) -> Vec<String> {
    let whole = |line: &String| match drift.family {
        // Policies (`-P`) and what a chain is (`:NAME ...`) name their chain as well.
        Some(_) if !["-A ", "-P ", ":"].iter().any(|word| line.starts_with(word)) => {
            format!("-A {} {line}", drift.chain).trim_end().to_owned()
        }
        _ => line.clone(),
    };
    lines.iter().map(whole).collect()
}
