//! What a plan would do, as an operator reads it before it is done: what is added, removed, changed or moved, and at which
//! place of its chain.
//!
//! [`drift`](crate::drift) tells the same plan as what happened to the node. Both list every edit; only the words differ.

use std::collections::{HashMap, VecDeque};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base_chain::Structure;
use crate::grants::HOST_PREFIX;
use crate::members::Members;
use crate::names::{Family, Hook, Table};
use crate::observed::{Observed, ObservedTable};
use crate::plan::{ChainPlan, Edit, Plan, SetStep, TablePlan};
use crate::quote;

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Something that does not exist is made.
    Add,
    /// Something is deleted.
    Remove,
    /// Something exists and gets another content.
    Change,
    /// A rule keeps its text and gets another place in its chain.
    Move,
}

impl Action {
    /// As in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Remove => "remove",
            Self::Change => "change",
            Self::Move => "move",
        }
    }
}

/// To what it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Object {
    /// Rules that follow each other in one chain.
    Rules,
    /// A chain with all of its rules.
    Chain,
    /// What happens to a packet that no rule of a built-in chain decides.
    Policy,
    /// The flags of a table.
    Table,
    /// A set with all of its members.
    Set,
    /// Members of a set.
    Members,
}

/// Where rules stand in their chain. Numbers count from 1, as `iptables -I` and `iptables -D` count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Position {
    /// The first rule's number: before everything is written where it is removed, else after that.
    pub number: usize,
    /// Its number before everything is written, where it is moved or changed.
    pub from: Option<usize>,
    /// How many rules that exist and stay will stand in front of it; none where it is removed.
    pub after: Option<usize>,
    /// How many rules that exist and stay will stand behind it; none where it is removed.
    pub before: Option<usize>,
}

/// One thing that is done.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// Where the rules stand; none for all else, and where a chain is emptied and filled anew.
    pub position: Option<Position>,
    /// Rules or members that are written, as iptables-save shows them. Of a moved rule its text.
    pub added: Vec<String>,
    /// Rules or members that are deleted. Of a moved rule its text.
    pub removed: Vec<String>,
}

/// Lists everything in `plan`: table by table, chain by chain, in the order of the rules; sets last.
pub fn list(plan: &Plan, observed: &Observed) -> Vec<Change> {
    let mut changes = Vec::new();
    for table in &plan.tables {
        if let Some(has) = observed.tables.get(&(table.family, table.table)) {
            of_table(&mut changes, table, has);
        }
    }
    changes.extend(plan.sets.iter().filter_map(of_set));
    // Sets of ours that stood in for others come and go within a commit.
    for name in plan.remove_sets.iter().filter(|name| !name.starts_with(HOST_PREFIX)) {
        let members = observed.set(name).map(|set| set.members.beyond(&Members::default())).unwrap_or_default();
        changes.push(set(name, Action::Remove, Object::Set, Vec::new(), members));
    }
    changes
}

fn set(name: &str, action: Action, object: Object, added: Vec<String>, removed: Vec<String>) -> Change {
    Change { action, object, family: None, table: None, chain: name.to_owned(), position: None, added, removed }
}

fn of_set(step: &SetStep) -> Option<Change> {
    let (action, object, change) = match step {
        SetStep::Create(change) => (Action::Add, Object::Set, change),
        SetStep::Swap(change) if !change.other_options => (Action::Change, Object::Members, change),
        SetStep::Swap(change) | SetStep::Recreate(change) => (Action::Change, Object::Set, change),
        SetStep::Destroy(_) => return None,
    };
    let header = matches!(object, Object::Set).then(|| format!("create {} {}", change.name, change.create));
    Some(set(&change.name, action, object, header.into_iter().chain(change.added()).collect(), change.removed()))
}

fn of_table(changes: &mut Vec<Change>, plan: &TablePlan, has: &ObservedTable) {
    let change = |action, object, chain: &str, added: Vec<String>, removed: Vec<String>| Change {
        action,
        object,
        family: Some(plan.family),
        table: Some(plan.table),
        chain: chain.to_owned(),
        position: None,
        added,
        removed,
    };
    for step in &plan.structure {
        changes.extend(match step {
            Structure::Wake { .. } => {
                Some(change(Action::Change, Object::Table, "", Vec::new(), vec!["flags dormant".to_owned()]))
            }
            Structure::Rebuild { chain, base, was, .. } => {
                let rules = plan.chains.iter().find(|plan| *plan.chain == **chain);
                let base = base.as_ref().map(|base| format!(":{chain} {}", base.shown));
                let added = base.into_iter().chain(rules.into_iter().flat_map(|plan| plan.added.iter().cloned()));
                Some(change(Action::Change, Object::Chain, chain, added.collect(), vec![format!(":{chain} {was}")]))
            }
            Structure::Policy { hook, policy, was } => {
                let line = |policy| format!("-P {hook} {policy}");
                let was = was.map(line).into_iter().collect();
                Some(change(Action::Change, Object::Policy, hook.as_str(), vec![line(*policy)], was))
            }
            Structure::Make { hook, policy, .. } => policy.map(|policy| {
                change(Action::Change, Object::Policy, hook.as_str(), vec![format!("-P {hook} {policy}")], Vec::new())
            }),
        });
    }
    let anew = |chain: &ChainPlan| plan.structure.iter().any(|step| step.rebuilds(&chain.chain));
    for chain in plan.chains.iter().filter(|chain| !anew(chain)) {
        if Hook::from_name(&chain.chain).is_none() && !has.has(&chain.chain) {
            changes.push(change(Action::Add, Object::Chain, &chain.chain, chain.added.clone(), Vec::new()));
            continue;
        }
        for run in of_rules(chain, has) {
            let empty = change(run.action, Object::Rules, &chain.chain, Vec::new(), Vec::new());
            changes.push(Change { position: run.position, added: run.added, removed: run.removed, ..empty });
        }
    }
    for chain in &plan.remove {
        let rules = has.rules(chain).into_iter().map(str::to_owned).collect();
        changes.push(change(Action::Remove, Object::Chain, chain, Vec::new(), rules));
    }
}

/// Rules that follow each other, to which the same is done.
struct Run {
    action: Action,
    position: Option<Position>,
    added: Vec<String>,
    removed: Vec<String>,
}

/// One rule: its number before, its number after.
struct Step {
    action: Action,
    from: Option<usize>,
    to: Option<usize>,
    added: Option<String>,
    removed: Option<String>,
}

impl Step {
    /// Whether `next` belongs into the same run.
    fn leads_to(&self, next: &Self) -> bool {
        let follows = |one: Option<usize>, next: Option<usize>| one.map(|one| one + 1) == next;
        self.action == next.action
            && match self.action {
                Action::Add => follows(self.to, next.to),
                Action::Remove => follows(self.from, next.from),
                Action::Change => self.from == self.to && next.from == next.to && follows(self.to, next.to),
                Action::Move => false,
            }
    }
}

fn of_rules(plan: &ChainPlan, has: &ObservedTable) -> Vec<Run> {
    let shown = has.rules(&plan.chain).len();
    let whole = |action, added, removed| vec![Run { action, position: None, added, removed }];
    let Some((from, to)) = numbers(plan, shown) else {
        return whole(Action::Change, plan.added.clone(), plan.removed.clone());
    };
    let mut steps = steps(plan, &from, &to, has);
    if steps.is_empty() {
        // Its text may stay: it is not known how the kernel will show it.
        return whole(Action::Change, plan.added.clone(), plan.removed.clone());
    }
    steps.sort_by_key(|step| (step.action, step.to.or(step.from)));
    let stay = shown.saturating_sub(plan.removed.len());
    let position = |step: &Step| {
        let number = step.to.or(step.from)?;
        let ahead = step.to.map(|number| number - 1 - to.partition_point(|other| *other < number));
        let from = step.to.and(step.from);
        Some(Position { number, from, after: ahead, before: ahead.map(|ahead| stay.saturating_sub(ahead)) })
    };
    let mut runs: Vec<Run> = Vec::new();
    let mut last: Option<Step> = None;
    for mut step in steps {
        let (added, removed) = (step.added.take(), step.removed.take());
        match runs.last_mut().filter(|_| last.as_ref().is_some_and(|last| last.leads_to(&step))) {
            Some(run) => {
                run.added.extend(added);
                run.removed.extend(removed);
            }
            None => runs.push(Run {
                action: step.action,
                position: position(&step),
                added: added.into_iter().collect(),
                removed: removed.into_iter().collect(),
            }),
        }
        last = Some(step);
    }
    runs.sort_by_key(|run| (run.position.map(|position| position.number), run.action));
    runs
}

/// The numbers of the rules that go, before everything is written, and of those that are written, after that; both
/// ascending. `None`: the chain is emptied and filled anew although some of its rules stay.
fn numbers(plan: &ChainPlan, shown: usize) -> Option<(Vec<usize>, Vec<usize>)> {
    let (gone, insert) = match &plan.edit {
        Edit::Replace { rules } => {
            let all = plan.removed.len() == shown && plan.added.len() == rules.len();
            return all.then(|| ((1..=shown).collect(), (1..=rules.len()).collect()));
        }
        Edit::Splice { delete, insert } => (delete.iter().rev().copied().collect::<Vec<_>>(), insert),
        Edit::BuiltIn { delete, insert } => (delete.iter().rev().map(|(_, number)| *number).collect(), insert),
    };
    // Those without a number are the last of the chain.
    let end = shown.saturating_sub(gone.len()) + insert.len();
    let number = |(at, one): (usize, &crate::plan::Insert)| one.number.unwrap_or(end + at + 1 - insert.len());
    let come = insert.iter().enumerate().map(number).collect();
    Some((gone, come))
}

/// What two rules have in common.
type Key<'k> = dyn Fn(&String) -> Option<String> + 'k;

/// What is done to each rule: the same text is a move; the same comment, the same chain to jump to or the same number is a
/// change.
fn steps(plan: &ChainPlan, from: &[usize], to: &[usize], has: &ObservedTable) -> Vec<Step> {
    let mut added: Vec<Option<&String>> = plan.added.iter().map(Some).collect();
    let mut left: Vec<(usize, &String)> = Vec::new();
    let mut steps = Vec::new();
    let by_text = |rule: &String| Some(rule.clone());
    let mut queue = queues(&added, by_text);
    for (at, rule) in plan.removed.iter().enumerate() {
        match queue.get_mut(rule).and_then(VecDeque::pop_front) {
            Some(place) => {
                added[place] = None;
                let (from, to) = (from.get(at).copied(), to.get(place).copied());
                if from != to {
                    let text = Some(rule.clone());
                    steps.push(Step { action: Action::Move, from, to, added: text.clone(), removed: text });
                }
            }
            None => left.push((at, rule)),
        }
    }
    let by_comment = |rule: &String| {
        let comments = quote::marks(rule).comments;
        (!comments.is_empty()).then(|| comments.join("\n"))
    };
    let by_jump =
        |rule: &String| quote::marks(rule).target.filter(|target| has.has(target)).map(std::borrow::Cow::into_owned);
    let change = |at: usize, place: usize, added: &mut Vec<Option<&String>>| Step {
        action: Action::Change,
        from: from.get(at).copied(),
        to: to.get(place).copied(),
        added: added[place].take().cloned(),
        removed: plan.removed.get(at).cloned(),
    };
    let keys: [&Key<'_>; 2] = [&by_comment, &by_jump];
    for key in keys {
        let mut queue = queues(&added, key);
        left.retain(|(at, rule)| {
            let place = key(rule).and_then(|key| queue.get_mut(&key).and_then(VecDeque::pop_front));
            steps.extend(place.map(|place| change(*at, place, &mut added)));
            place.is_none()
        });
    }
    left.retain(|(at, _)| {
        let place = from.get(*at).and_then(|number| to.binary_search(number).ok());
        let place = place.filter(|place| added[*place].is_some());
        steps.extend(place.map(|place| change(*at, place, &mut added)));
        place.is_none()
    });
    steps.extend(left.into_iter().map(|(at, rule)| Step {
        action: Action::Remove,
        from: from.get(at).copied(),
        to: None,
        added: None,
        removed: Some(rule.clone()),
    }));
    steps.extend(added.into_iter().enumerate().filter_map(|(place, rule)| {
        let rule = rule?.clone();
        let to = to.get(place).copied();
        Some(Step { action: Action::Add, from: None, to, added: Some(rule), removed: None })
    }));
    steps
}

/// The places of the rules with the same key, in their order.
fn queues(rules: &[Option<&String>], key: impl Fn(&String) -> Option<String>) -> HashMap<String, VecDeque<usize>> {
    let mut queues: HashMap<String, VecDeque<usize>> = HashMap::new();
    for (place, rule) in rules.iter().enumerate() {
        if let Some(key) = rule.and_then(&key) {
            queues.entry(key).or_default().push_back(place);
        }
    }
    queues
}

#[cfg(test)]
#[path = "change_tests.rs"]
mod tests;
