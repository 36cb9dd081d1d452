//! The difference between what the kernel must show and what it shows, as the smallest set of changes.
//!
//! Always true of a plan: it touches no stranger's rule, chain or set; a chain that is right is not in it; a rule that is
//! right and in order is not rewritten, so its counters survive ([`MOST_SINGLE_DELETIONS`] is the exception). Applied to the state that it was made for, it gives
//! the expected state (`simulate` and the property tests hold it to that). Nothing is planned for what an
//! observation does not cover.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};

use crate::base_chain::{Structure, TableState};
use crate::drift::Drift;
use crate::estimator;
use crate::expected::{Expected, ExpectedAttachment, ExpectedRule, ExpectedTable};
use crate::foreign_object::Foreign;
use crate::members::Members;
use crate::names::{ChainName, Family, Hook, PolicyName, SetName, Table};
use crate::observed::{Observed, ObservedTable};
use crate::quote;
use crate::set_type::{self, StandIns};

use chain_edits::{built_in_chain, own_chain, whole_chain};
use set_steps::plan_sets;

/// When more rules than this have to go from a chain of ours it is emptied and filled anew: a message for each could be
/// more than the kernel takes at once, and would take it longer. Only then do rules that stay lose their counters.
pub const MOST_SINGLE_DELETIONS: usize = 2_000;

/// Everything that has to change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// What has to be done before anything else, after which all is compared anew: a set gets another type while rules
    /// of ours use it.
    pub first: Option<Box<Plan>>,
    /// What stands in for what in this plan, if it is such a first step.
    pub stand_ins: StandIns,
    /// Before the tables: rules may need these sets.
    pub sets: Vec<SetStep>,
    /// In the order of family and table.
    pub tables: Vec<TablePlan>,
    /// After the tables: sets that nothing wants any more.
    pub remove_sets: Vec<String>,
    /// Tables and chains of which nothing can be written.
    pub stuck: Vec<Stuck>,
    /// What keeps the node from being right, and no write of ours can change; what is stuck as well.
    pub problems: Vec<String>,
    /// The sets among them that can't have their type, each with the reason.
    pub blocked_sets: Vec<(SetName, String)>,
    /// What an operator may want to know.
    pub notes: Vec<String>,
    /// The nft generation that the plan was made for.
    pub generation: Option<u32>,
}

impl Plan {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.first.is_none() && self.sets.is_empty() && self.tables.is_empty() && self.remove_sets.is_empty()
    }
}

/// A table or a chain that is not as it should be, and that no write of ours can change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stuck {
    /// Which, and what is wrong with it.
    pub drift: Drift,
    /// What is wrong, and what to do.
    pub problem: String,
}

/// One change of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetStep {
    /// It does not exist: created and filled under its name, which nothing refers to yet.
    Create(SetChange),
    /// It exists with other members or options: another one is filled, then they swap names.
    Swap(SetChange),
    /// It exists with another type, and nothing uses it, or nothing will when [`Plan::first`] is done: destroyed and
    /// created.
    Recreate(SetChange),
    /// A scratch set that an interrupted commit left behind.
    Destroy(String),
}

impl SetStep {
    /// What a set becomes by it.
    pub fn change_mut(&mut self) -> Option<&mut SetChange> {
        match self {
            Self::Create(change) | Self::Swap(change) | Self::Recreate(change) => Some(change),
            Self::Destroy(_) => None,
        }
    }
}

/// What a set should become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetChange {
    /// Its name.
    pub name: String,
    /// Type and options for `ipset create`.
    pub create: String,
    /// All members for `ipset add`.
    pub members: Members,
    /// The same as they will be shown.
    pub shown: Members,
    /// Those that it has.
    pub has: Members,
    /// Whether it exists with other options; for people.
    pub other_options: bool,
    /// It stands ready under its scratch name.
    pub filled: bool,
}

impl SetChange {
    /// Members that it lacks, as shown. Takes a walk through all of them.
    pub fn added(&self) -> Vec<String> {
        self.shown.beyond(&self.has)
    }

    /// Members that it has too many. Takes a walk through all of them.
    pub fn removed(&self) -> Vec<String> {
        self.has.beyond(&self.shown)
    }
}

/// Changes of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TablePlan {
    /// Which family.
    pub family: Family,
    /// Which table.
    pub table: Table,
    /// What changes besides rules.
    pub structure: Vec<Structure>,
    /// Chains that change, built-in ones last.
    pub chains: Vec<ChainPlan>,
    /// Chains of ours that nothing wants: emptied with the rest, deleted after it.
    pub remove: Vec<String>,
}

impl TablePlan {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.structure.is_empty() && self.chains.is_empty() && self.remove.is_empty()
    }
}

/// Changes of one chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainPlan {
    /// Its name.
    pub chain: String,
    /// How it is changed.
    pub edit: Edit,
    /// Rules that go away, as shown; for people.
    pub removed: Vec<String>,
    /// Rules that come, as they will be shown if that is known; for people.
    pub added: Vec<String>,
}

/// How a chain is changed. Rule numbers count from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// Ours: created or emptied, and filled.
    Replace {
        /// All rules.
        rules: Vec<Box<str>>,
    },
    /// Ours: some rules go, some come, the others stay untouched.
    Splice {
        /// Numbers before the change, descending.
        delete: Vec<usize>,
        /// Numbers after the change, ascending.
        insert: Vec<Insert>,
    },
    /// Built in. Deleted by text, so that a rule that a stranger inserts meanwhile can't be hit instead of ours.
    BuiltIn {
        /// Text as shown and number before the change, descending.
        delete: Vec<(Box<str>, usize)>,
        /// Numbers after the change, ascending.
        insert: Vec<Insert>,
    },
}

/// A rule that comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Insert {
    /// Its number, or `None` for the end of the chain.
    pub number: Option<usize>,
    /// For iptables-restore.
    pub text: Box<str>,
}

/// Compares and plans.
pub fn plan(expected: &Expected, observed: &Observed) -> Plan {
    let mut plan = Plan { generation: observed.generation, ..Plan::default() };
    let absent = ObservedTable::default();
    for ((family, table), wanted) in &expected.tables {
        let has = match observed.tables.get(&(*family, *table)) {
            None if observed.partial => continue,
            has => has.unwrap_or(&absent),
        };
        let (family, table) = (*family, *table);
        let work = TableWork { family, table, wanted, has, expected, absent_sets: &observed.absent_sets };
        let (mut structure, skipped) = structure::of_table(&work, &mut plan.stuck);
        let mut chains = work.chains(&skipped, &structure, &mut plan.notes);
        let (remove, emptied) = work.obsolete_chains(&mut plan.notes);
        chains.extend(emptied);
        structure.extend(structure::missing(wanted, has, &chains));
        let of_table = TablePlan { family, table, structure, chains, remove };
        if of_table.is_empty() {
            continue;
        }
        match has.table_state() {
            Some(TableState { owner: Some(owner), .. }) => plan.stuck.push(structure::owned(&of_table, owner)),
            _ => plan.tables.push(of_table),
        }
    }
    plan.problems.extend(plan.stuck.iter().map(|stuck| stuck.problem.clone()));
    makers_first(&mut plan);
    plan.problems.extend(observed.unreadable.values().cloned());
    if let Some(sets) = &observed.sets {
        let in_use = plan_sets(&mut plan, expected, observed, sets);
        if !in_use.is_empty() {
            let (expected, stand_ins) = set_type::with_stand_ins(expected, &in_use);
            let first = self::plan(&expected, observed);
            // Sets that go are the business of the plan that comes after it.
            plan.first = Some(Box::new(Plan { stand_ins, remove_sets: Vec::new(), first: None, ..first }));
        }
    }
    plan
}

impl ChainPlan {
    /// Whether a rule that comes may make an estimator.
    fn makes_estimator(&self) -> bool {
        match &self.edit {
            Edit::Replace { rules } => rules.iter().any(|rule| estimator::makes(rule)),
            Edit::Splice { insert, .. } | Edit::BuiltIn { insert, .. } => {
                insert.iter().any(|insert| estimator::makes(&insert.text))
            }
        }
    }
}

impl TablePlan {
    /// The chains whose rules make estimators, and all the rest; `None` if one of these is nothing. iptables-legacy sorts
    /// the chains of a table by name, so only a commit before the other puts the first before the second.
    pub fn makers_and_rest(&self) -> Option<(Self, Self)> {
        let (makers, rest): (Vec<_>, Vec<_>) = self.chains.iter().cloned().partition(ChainPlan::makes_estimator);
        if makers.is_empty() || rest.is_empty() {
            return None;
        }
        let makers =
            Self { chains: makers, remove: Vec::new(), structure: Vec::new(), family: self.family, table: self.table };
        Some((makers, Self { chains: rest, ..self.clone() }))
    }
}

/// What makes an estimator is written before what may refer to it.
fn makers_first(plan: &mut Plan) {
    let makes = |table: &TablePlan| table.chains.iter().any(ChainPlan::makes_estimator);
    if plan.tables.iter().any(makes) {
        plan.tables.iter_mut().for_each(|table| table.chains.sort_by_key(|chain| !chain.makes_estimator()));
        plan.tables.sort_by_key(|table| !makes(table));
    }
}

struct TableWork<'a> {
    family: Family,
    table: Table,
    wanted: &'a ExpectedTable,
    has: &'a ObservedTable,
    expected: &'a Expected,
    absent_sets: &'a BTreeSet<SetName>,
}

impl TableWork<'_> {
    /// `skipped`: built-in chains of which nothing is changed. `structure`: what is made anew.
    fn chains(&self, skipped: &BTreeSet<Hook>, structure: &[Structure], notes: &mut Vec<String>) -> Vec<ChainPlan> {
        let anew = |name: &str| structure.iter().any(|step| step.rebuilds(name));
        let own = self.wanted.chains.iter().filter(|(name, _)| self.has.covers(name.as_str()));
        let of_chain = |(name, (policy, rules)): (&ChainName, &(PolicyName, Vec<ExpectedRule>))| {
            let rules = self.in_force(name.as_str(), policy, rules, notes);
            if anew(name.as_str()) {
                Some(whole_chain(name.as_str(), &rules, self.has))
            } else {
                own_chain(name.as_str(), &rules, self.has)
            }
        };
        let mut plans: Vec<ChainPlan> = own.filter_map(of_chain).collect();
        let hooks = self.table.hooks().iter().filter(|hook| self.has.covers(hook.as_str()) && !skipped.contains(hook));
        for hook in hooks {
            plans.extend(self.built_in(*hook, notes));
        }
        plans
    }

    /// The first thing that a rule needs and that does not exist.
    fn missing<'r>(&self, rule: &'r ExpectedRule) -> Option<&'r Foreign> {
        // A chain that is ours and goes is none to jump to.
        let goes = |awaited: &&Foreign| match awaited {
            Foreign::Chain(chain) => {
                let ours = self.expected.ownership.owns_chain(self.table, chain.as_str());
                ours && !self.wanted.chains.contains_key(chain)
            }
            Foreign::Set(_) => false,
        };
        rule.missing(self.has, self.absent_sets).or_else(|| rule.awaits().iter().find(goes))
    }

    /// The rules of a chain without those that wait.
    fn in_force<'r>(
        &self,
        chain: &str,
        policy: &PolicyName,
        rules: &'r [ExpectedRule],
        notes: &mut Vec<String>,
    ) -> Cow<'r, [ExpectedRule]> {
        let mut waits = |rule: &ExpectedRule| {
            let missing = self.missing(rule);
            notes.extend(missing.map(|awaited| {
                let (family, table) = (self.family, self.table);
                format!("{family} {table}/{chain}: {policy} waits for the {awaited}, which does not exist")
            }));
            missing.is_some()
        };
        if rules.iter().all(|rule| rule.awaits().is_empty()) {
            return Cow::Borrowed(rules);
        }
        rules.iter().filter(|rule| !waits(rule)).cloned().collect()
    }

    fn built_in(&self, hook: Hook, notes: &mut Vec<String>) -> Option<ChainPlan> {
        let empty = crate::expected::ExpectedHook::default();
        let wanted = self.wanted.hooks.get(&hook).unwrap_or(&empty);
        let (family, table) = (self.family, self.table);
        let mut in_force = |list: &[ExpectedAttachment]| -> Vec<ExpectedRule> {
            let each = list.iter().flat_map(|one| {
                self.in_force(hook.as_str(), &one.policy, std::slice::from_ref(&one.rule), notes).into_owned()
            });
            each.collect()
        };
        let (first, last) = (in_force(&wanted.first), in_force(&wanted.last));
        let has = self.has.rules(hook.as_str());
        let plain: HashSet<String> = first.iter().chain(&last).filter_map(|rule| self.jump(rule)).collect();
        let is_ours = |rule: &str| {
            // What we want there is ours, and a jump that we want whatever its comment is; the grants decide about the rest.
            let wanted = first.iter().chain(&last).any(|wanted| wanted.show() == Some(rule));
            let jump = || !plain.is_empty() && plain.contains(&quote::without_comments(rule));
            wanted || jump() || (self.expected.ownership.owns_rule(table, rule) && !self.is_shared(rule))
        };
        let ours: Vec<bool> = has.iter().map(|rule| is_ours(rule)).collect();
        for (rule, _) in has.iter().zip(&ours).filter(|(_, ours)| !**ours) {
            let target = quote::marks(rule).target;
            if let Some(owner) = target.and_then(|target| self.expected.ownership.chain_owner(table, &target)) {
                notes.push(format!(
                    "{family} {table}/{hook}: a foreign rule jumps to a chain of {owner} and stays: -A {hook} {rule} \
                     (jumps = \"exclusive\" in the grants of {owner} would have it removed)"
                ));
            }
        }
        built_in_chain(hook.as_str(), &first, &last, &has, &ours)
    }

    /// A jump to a chain that exists or is wanted, without its comments.
    fn jump(&self, rule: &ExpectedRule) -> Option<String> {
        let show = rule.show()?;
        let target = quote::marks(show).target?;
        let leads_to_chain = self.wanted.chains.contains_key(target.as_ref()) || self.has.has(&target);
        leads_to_chain.then(|| quote::without_comments(show))
    }

    fn is_shared(&self, rule: &str) -> bool {
        let shared = |target: &str| self.has.has(target) && !self.expected.ownership.owns_chain(self.table, target);
        self.expected.spare_shared && quote::marks(rule).target.is_some_and(|target| shared(&target))
    }

    /// Chains that can go, and those that must stay, which are emptied.
    fn obsolete_chains(&self, notes: &mut Vec<String>) -> (Vec<String>, Vec<ChainPlan>) {
        let ours = |name: &&str| self.expected.ownership.owns_chain(self.table, name);
        let unwanted = |name: &&str| !self.wanted.chains.contains_key(*name);
        let mut obsolete: BTreeSet<&str> = self.has.user_chains().filter(ours).filter(unwanted).collect();
        let mut emptied = Vec::new();
        if obsolete.is_empty() {
            return (Vec::new(), emptied);
        }
        // A foreign rule that jumps to one of ours keeps it from being deleted.
        let built_in = self.table.hooks().iter().map(|hook| hook.as_str()).filter(|hook| self.has.covers(hook));
        for chain in self.has.user_chains().filter(|name| !ours(name)).chain(built_in) {
            let is_hook = Hook::from_name(chain).is_some();
            for rule in self.has.rules(chain) {
                if is_hook && self.expected.ownership.owns_rule(self.table, rule) && !self.is_shared(rule) {
                    continue;
                }
                let target = quote::marks(rule).target;
                if let Some(target) = target.filter(|target| obsolete.contains(target.as_ref())) {
                    notes.push(format!(
                        "{} {}: chain {target} is ours and obsolete, but {chain} jumps to it; delete that rule to let \
                         it go",
                        self.family, self.table
                    ));
                    obsolete.remove(target.as_ref());
                    emptied.extend(own_chain(&target, &[], self.has));
                }
            }
        }
        (obsolete.into_iter().map(str::to_owned).collect(), emptied)
    }
}

mod chain_edits;
mod set_steps;
mod structure;

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
