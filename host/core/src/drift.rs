//! Names what happened to the node, from the plan that undoes it: an operator reads "rule-deleted in nat POSTROUTING",
//! not a list of edits.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base_chain::Structure;
use crate::contribution::Verdict;
use crate::expected::{Expected, ExpectedAttachment, ExpectedHook, ExpectedRule};
use crate::grants::HOST_PREFIX;
use crate::members::Members;
use crate::names::{Family, Hook, Table};
use crate::observed::Observed;
use crate::plan::{ChainPlan, Plan, SetStep, TablePlan};
use crate::quote;

pub use crate::change::list;

/// What kind of drift.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A rule of ours is gone.
    RuleDeleted,
    /// A rule that nobody asked for is in a chain of ours, or carries our mark.
    RuleAdded,
    /// A rule of ours stands elsewhere than it should.
    RuleMoved,
    /// A rule of ours is there more than once.
    RuleDuplicated,
    /// A rule of ours was changed in place: its mark or its jump is there, the rest differs.
    RuleEdited,
    /// A chain of ours is empty.
    ChainFlushed,
    /// A chain of ours is gone.
    ChainDeleted,
    /// All that is ours in a table is gone.
    TableFlushed,
    /// A chain with a name of ours that nobody asked for.
    ChainAdded,
    /// A table is switched off (`flags dormant`): no packet meets any of its rules.
    TableDormant,
    /// A table is owned by another process, which alone may change it.
    TableOwned,
    /// A built-in chain has another hook, type or priority or none, or a chain of ours has one.
    BaseChainChanged,
    /// The policy of a built-in chain was changed.
    PolicyChanged,
    /// A set of ours is empty.
    SetEmptied,
    /// A set of ours has other members or options.
    SetChanged,
    /// A set of ours is gone.
    SetDeleted,
    /// A set of ours has another type.
    SetTypeChanged,
    /// A set with a name of ours that nobody asked for.
    SetAdded,
}

impl Kind {
    /// As in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RuleDeleted => "rule-deleted",
            Self::RuleAdded => "rule-added",
            Self::RuleMoved => "rule-moved",
            Self::RuleDuplicated => "rule-duplicated",
            Self::RuleEdited => "rule-edited",
            Self::ChainFlushed => "chain-flushed",
            Self::ChainDeleted => "chain-deleted",
            Self::TableFlushed => "table-flushed",
            Self::ChainAdded => "chain-added",
            Self::TableDormant => "table-dormant",
            Self::TableOwned => "table-owned",
            Self::BaseChainChanged => "base-chain-changed",
            Self::PolicyChanged => "policy-changed",
            Self::SetEmptied => "set-emptied",
            Self::SetChanged => "set-changed",
            Self::SetDeleted => "set-deleted",
            Self::SetTypeChanged => "set-type-changed",
            Self::SetAdded => "set-added",
        }
    }
}

/// One thing that differs from what should be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Drift {
    /// Which family; none for a set.
    pub family: Option<Family>,
    /// Which table; none for a set.
    pub table: Option<Table>,
    /// Which chain or set.
    pub chain: String,
    /// What happened.
    pub kind: Kind,
    /// Rules (or members) that the repair brings back, as iptables-save shows them.
    pub added: Vec<String>,
    /// Rules (or members) that the repair takes away.
    pub removed: Vec<String>,
}

/// Names everything in `plan`. What happened to a whole table is one drift.
pub fn name(plan: &Plan, expected: &Expected, observed: &Observed) -> Vec<Drift> {
    let mut drifts = Vec::new();
    for table in &plan.tables {
        match flushed(table, expected, observed) {
            Some(flushed) => drifts.push(flushed),
            None => name_table(&mut drifts, table, observed),
        }
    }
    name_sets(&mut drifts, plan, observed);
    drifts
}

fn name_sets(drifts: &mut Vec<Drift>, plan: &Plan, observed: &Observed) {
    for step in &plan.sets {
        drifts.extend(name_set(step, observed));
    }
    // Sets of ours that stood in for others are nobody's change.
    for set in plan.remove_sets.iter().filter(|set| !set.starts_with(HOST_PREFIX)) {
        let members = observed.set(set).map(|set| set.members.beyond(&Members::default())).unwrap_or_default();
        drifts.push(set_drift(set, Kind::SetAdded, Vec::new(), members));
    }
}

/// Whether nothing of ours is left in a table that should hold more than one thing.
fn flushed(plan: &TablePlan, expected: &Expected, observed: &Observed) -> Option<Drift> {
    let place = (plan.family, plan.table);
    let (wanted, has) = (expected.tables.get(&place)?, observed.tables.get(&place)?);
    if !has.covers_all() || plan.structure.iter().any(Structure::needs_transaction) {
        return None;
    }
    let held = |rule: &ExpectedRule| rule.missing(has, &observed.absent_sets).is_none();
    let in_force = |one: &&ExpectedAttachment| held(&one.rule);
    let rules = |hook: &ExpectedHook| hook.first.iter().chain(&hook.last).filter(in_force).count();
    let sites = wanted.chains.values().filter(|(_, rules)| rules.iter().any(held)).count()
        + wanted.hooks.values().filter(|hook| rules(hook) > 0).count();
    let gone = |hook: &Hook, wanted: &ExpectedHook| {
        let planned = plan.chains.iter().find(|chain| chain.chain == hook.as_str());
        planned.map_or(rules(wanted) == 0, |chain| chain.removed.is_empty() && chain.added.len() == rules(wanted))
    };
    let nothing_left = wanted.chains.keys().all(|name| has.rules(name.as_str()).is_empty())
        && wanted.hooks.iter().all(|(hook, wanted)| gone(hook, wanted));
    if sites < 2 || !nothing_left {
        return None;
    }
    let added = plan.chains.iter().flat_map(|chain| {
        chain.added.iter().map(move |rule| format!("-A {} {rule}", chain.chain).trim_end().to_owned())
    });
    let (family, table) = (Some(plan.family), Some(plan.table));
    let added = added.collect();
    Some(Drift { family, table, chain: String::new(), kind: Kind::TableFlushed, added, removed: Vec::new() })
}

fn name_table(drifts: &mut Vec<Drift>, plan: &TablePlan, observed: &Observed) {
    let place = (plan.family, plan.table);
    let drift = |chain: &str, kind, added: Vec<String>, removed: Vec<String>| Drift {
        family: Some(plan.family),
        table: Some(plan.table),
        chain: chain.to_owned(),
        kind,
        added,
        removed,
    };
    let Some(has) = observed.tables.get(&place) else { return };
    for step in &plan.structure {
        let (kind, added, removed) = match step {
            Structure::Wake { .. } => (Kind::TableDormant, Vec::new(), Vec::new()),
            Structure::Rebuild { chain, was, .. } => {
                let edit = plan.chains.iter().find(|plan| *plan.chain == **chain);
                let added = edit.map(|plan| plan.added.clone()).unwrap_or_default();
                (Kind::BaseChainChanged, added, vec![format!(":{chain} {was}")])
            }
            Structure::Policy { hook, policy, was } => policy_change(*hook, *was, Some(*policy)),
            // Its rules are missing, or its policy is: then it is named here.
            Structure::Make { hook, policy: Some(policy), .. } => policy_change(*hook, None, Some(*policy)),
            Structure::Make { policy: None, .. } => continue,
        };
        drifts.push(drift(step.chain().unwrap_or_default(), kind, added, removed));
    }
    let anew = |chain: &ChainPlan| plan.structure.iter().any(|step| step.rebuilds(&chain.chain));
    for chain in plan.chains.iter().filter(|chain| !anew(chain)) {
        if Hook::from_name(&chain.chain).is_some() || (has.has(&chain.chain) && !has.rules(&chain.chain).is_empty()) {
            let all = has.rules(&chain.chain);
            drifts.extend(
                name_rules(chain, &all)
                    .into_iter()
                    .map(|(kind, added, removed)| drift(&chain.chain, kind, added, removed)),
            );
        } else {
            let kind = if has.has(&chain.chain) { Kind::ChainFlushed } else { Kind::ChainDeleted };
            drifts.push(drift(&chain.chain, kind, chain.added.clone(), Vec::new()));
        }
    }
    for chain in &plan.remove {
        let rules = has.rules(chain).into_iter().map(str::to_owned).collect();
        drifts.push(drift(chain, Kind::ChainAdded, Vec::new(), rules));
    }
}

/// A policy of a built-in chain that is `now` and was, or should be, another: as a drift whose repair would bring that back.
pub fn policy_change(hook: Hook, now: Option<Verdict>, other: Option<Verdict>) -> (Kind, Vec<String>, Vec<String>) {
    let line = |policy: Option<Verdict>| policy.map(|policy| format!("-P {hook} {policy}")).into_iter().collect();
    (Kind::PolicyChanged, line(other), line(now))
}

type Named = (Kind, Vec<String>, Vec<String>);

/// Tells apart what happened to the rules of one chain.
fn name_rules(plan: &ChainPlan, has: &[&str]) -> Vec<Named> {
    let mut added = plan.added.clone();
    let mut named: Vec<Named> = Vec::new();
    let mut push =
        |kind: Kind, added: Option<String>, removed: Option<String>| match named.iter_mut().find(|n| n.0 == kind) {
            Some(entry) => {
                entry.1.extend(added);
                entry.2.extend(removed);
            }
            None => named.push((kind, added.into_iter().collect(), removed.into_iter().collect())),
        };
    let mut odd = Vec::new();
    for rule in &plan.removed {
        let copies = has.iter().filter(|other| *other == rule).count();
        if let Some(at) = added.iter().position(|other| other == rule) {
            let kind = if copies > 1 { Kind::RuleDuplicated } else { Kind::RuleMoved };
            push(kind, Some(added.remove(at)), Some(rule.clone()));
        } else if copies > 1 {
            push(Kind::RuleDuplicated, None, Some(rule.clone()));
        } else {
            odd.push(rule);
        }
    }
    for rule in odd {
        // Same comment is the same rule with another body; same target is the same jump, rewritten by hand.
        let marks = quote::marks(rule);
        let same_comment = |other: &String| {
            let other = quote::marks(other);
            !marks.comments.is_empty() && other.comments == marks.comments
        };
        let same_target = |other: &String| marks.target.is_some() && quote::marks(other).target == marks.target;
        let pair = added.iter().position(same_comment).or_else(|| added.iter().position(same_target));
        match pair {
            Some(at) => push(Kind::RuleEdited, Some(added.remove(at)), Some(rule.clone())),
            None => push(Kind::RuleAdded, None, Some(rule.clone())),
        }
    }
    for rule in added {
        push(Kind::RuleDeleted, Some(rule), None);
    }
    named
}

fn set_drift(set: &str, kind: Kind, added: Vec<String>, removed: Vec<String>) -> Drift {
    Drift { family: None, table: None, chain: set.to_owned(), kind, added, removed }
}

fn name_set(step: &SetStep, observed: &Observed) -> Option<Drift> {
    let (kind, change) = match step {
        SetStep::Create(change) => (Kind::SetDeleted, change),
        SetStep::Recreate(change) => (Kind::SetTypeChanged, change),
        SetStep::Swap(change) => {
            let empty = observed.set(&change.name).is_some_and(|set| set.members.is_empty());
            let emptied = empty && !change.shown.is_empty() && !change.other_options;
            (if emptied { Kind::SetEmptied } else { Kind::SetChanged }, change)
        }
        SetStep::Destroy(_) => return None,
    };
    Some(set_drift(&change.name, kind, change.added(), change.removed()))
}
