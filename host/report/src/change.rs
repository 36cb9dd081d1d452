//! One thing that a check does, or would do, in the words of iptables-save.

use ruleward_core::change::{self, Action, Object, Position};
use ruleward_core::drift::Drift;
use ruleward_core::names::{Family, Table};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::plain::plain;
use super::text::plural;

/// One thing that is done, or would be.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Change {
    /// What is done.
    pub action: Action,
    /// To what.
    pub object: Object,
    /// Which family; none for a set.
    pub family: Option<Family>,
    /// Which table; none for a set.
    pub table: Option<Table>,
    /// Which chain or set; empty for a table.
    pub chain: String,
    /// Where the rules stand in their chain; none for all else, and where a chain is emptied and filled anew.
    pub position: Option<Position>,
    /// Rules as iptables-save shows them, or members, that are written. Of a moved rule its text.
    pub added: Vec<String>,
    /// Rules or members that are deleted. Of a moved rule its text.
    pub removed: Vec<String>,
}

impl From<change::Change> for Change {
    fn from(change: change::Change) -> Self {
        let change::Change { action, object, family, table, chain, position, added, removed } = change;
        let whole = |lines: Vec<String>| match family {
            Some(_) if object != Object::Table => lines.iter().map(|line| whole(&chain, line)).collect(),
            _ => lines,
        };
        let (added, removed) = (whole(added), whole(removed));
        Self { action, object, family, table, chain, position, added, removed }
    }
}

impl Change {
    /// `add INPUT #1, before 13 existing rules`
    pub fn heading(&self) -> String {
        let (action, name) = (self.action.as_str(), plain(&self.chain));
        let rules = self.added.len().max(self.removed.len());
        match self.object {
            Object::Rules => match &self.position {
                Some(position) => format!("{action} {name} {}", self.place(position, rules)),
                None => format!("{action} {name}: emptied and filled again"),
            },
            Object::Chain if self.action == Action::Change => format!("{action} chain {name}"),
            Object::Chain => format!("{action} chain {name}, {}", plural(rules, "rule")),
            Object::Policy => format!("{action} policy of {name}"),
            Object::Table => format!("{action} table"),
            Object::Set => format!("{action} set {name}"),
            Object::Members => format!("{action} members of set {name}"),
        }
    }

    /// The mark of what is done: `+`, `-`, `~` or `>`.
    pub fn mark(&self) -> char {
        match self.action {
            Action::Add => '+',
            Action::Remove => '-',
            Action::Change => '~',
            Action::Move => '>',
        }
    }

    fn place(&self, position: &Position, rules: usize) -> String {
        let Position { number, from, after, before } = *position;
        let last = if rules > 1 { format!(" to #{}", number + rules - 1) } else { String::new() };
        let ends = match (after.unwrap_or(0), before.unwrap_or(0)) {
            _ if self.action == Action::Change && from == Some(number) => String::new(),
            (0, 0) => String::new(),
            (0, before) => format!(", before {}", plural(before, "existing rule")),
            (after, 0) => format!(", after {}", plural(after, "existing rule")),
            (after, before) => format!(", after {after} and before {}", plural(before, "existing rule")),
        };
        match from.filter(|from| *from != number) {
            Some(from) => format!("#{from} to #{number}{ends}"),
            None => format!("#{number}{last}{ends}"),
        }
    }
}

/// Rules as iptables-save shows them, with their chain; members of a set as they are.
pub fn lines(drift: &Drift, lines: &[String]) -> Vec<String> {
    match drift.family {
        Some(_) => lines.iter().map(|line| whole(&drift.chain, line)).collect(),
        None => lines.to_vec(),
    }
}

/// A rule with its chain.
fn whole(chain: &str, line: &str) -> String {
    // Policies (`-P`) and what a chain is (`:NAME ...`) name their chain as well.
    match line {
        whole if ["-A ", "-P ", ":"].iter().any(|word| whole.starts_with(word)) => whole.to_owned(),
        rule => format!("-A {chain} {rule}").trim_end().to_owned(),
    }
}
