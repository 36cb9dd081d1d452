//! The words for iptables-restore and ipset: what is loaded for a rehearsal, and what carries out a plan.
//!
//! Each script is one table and commits as a whole or not at all. Chains are deleted by a script of their own, after the
//! last rule that refers to them is gone: in one nft transaction the kernel can still count that reference.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use crate::base_chain::Structure;
use crate::check::{CheckedRule, CheckedSet};
use crate::contribution::Verdict;
use crate::grants::HOST_PREFIX;
use crate::members::Members;
use crate::merge::{Desired, DesiredTable};
use crate::names::{Family, Hook, PolicyName, SetName, Table};
use crate::plan::{Edit, Insert, SetChange, SetStep, TablePlan};
use crate::set_use;

/// Where a rule or set of a rehearsal came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Whose.
    pub policy: PolicyName,
    /// `chain web-in in filter (IPv4), rule 3`
    pub place: String,
    /// The rule, in the words in which it is written; empty for a set.
    pub text: Arc<str>,
}

/// A table of the desired state for an empty namespace, with a stub for each chain that is awaited.
#[derive(Debug, Clone)]
pub struct Rehearsal<'a> {
    family: Family,
    table: Table,
    wanted: &'a DesiredTable,
    heads: Vec<String>,
}

/// A rule of a rehearsal.
#[derive(Debug, Clone)]
pub struct RehearsedRule<'a> {
    /// In which chain.
    pub chain: &'a str,
    /// Without `-A CHAIN`.
    pub text: Arc<str>,
    policy: &'a PolicyName,
    number: u32,
}

impl RehearsedRule<'_> {
    /// The same rule in other words.
    #[must_use]
    pub fn with_text(&self, text: &str) -> Self {
        Self { text: text.into(), ..self.clone() }
    }
}

impl<'a> Rehearsal<'a> {
    /// Of one table.
    pub fn new(family: Family, table: Table, wanted: &'a DesiredTable) -> Self {
        let stubs = wanted.awaited_chains();
        let chains: BTreeSet<&str> = wanted.chains.keys().chain(stubs).map(|name| name.as_str()).collect();
        // A chain of ours is emptied by its line; one that is built in has to be told.
        let built_in = wanted.hooks.keys().map(|hook| format!("-F {hook}"));
        let policies = wanted.hooks.iter().filter_map(|(hook, rules)| Some((hook, rules.policy.as_ref()?.1)));
        let policies = policies.map(|(hook, policy)| format!(":{hook} {policy} [0:0]"));
        let chains = chains.into_iter().map(|name| format!(":{name} - [0:0]"));
        let heads = built_in.chain(policies).chain(chains).collect();
        Self { family, table, wanted, heads }
    }

    /// All rules, in the order in which they are loaded.
    pub fn rules(&self) -> Vec<RehearsedRule<'a>> {
        let chains = self.wanted.chains.iter().flat_map(|(name, (policy, rules))| {
            let rule = move |rule: &'a CheckedRule| (name.as_str(), &rule.text, policy, rule.number);
            rules.iter().map(rule)
        });
        let hooks = self.wanted.hooks.iter().flat_map(|(hook, rules)| {
            let all = rules.first.iter().chain(&rules.last);
            all.map(move |one| (hook.as_str(), &one.rule.text, &one.policy, one.rule.number))
        });
        let all = chains.chain(hooks);
        let rule = |(chain, text, policy, number)| RehearsedRule { chain, text: Arc::clone(text), policy, number };
        all.map(rule).collect()
    }

    /// The script with these of the rules.
    pub fn script<'r>(&self, rules: impl IntoIterator<Item = &'r RehearsedRule<'a>>) -> String
    where
        'a: 'r,
    {
        let mut script = format!("*{}\n", self.table);
        for head in &self.heads {
            script.push_str(head);
            script.push('\n');
        }
        for rule in rules {
            push_rule(&mut script, "-A", rule.chain, None, &rule.text);
        }
        script.push_str("COMMIT\n");
        script
    }

    /// Which of the rules in a script stands on line `line` (from 1), counted from 0; `None` if that line is no rule.
    pub fn rule_of_line(&self, line: usize) -> Option<usize> {
        line.checked_sub(2 + self.heads.len())
    }

    /// Where a rule came from.
    pub fn origin(&self, rule: &RehearsedRule<'_>) -> Origin {
        let RehearsedRule { chain, number, .. } = rule;
        let place = match Hook::from_name(chain) {
            Some(hook) => format!("attachment {number} to {}/{hook} ({})", self.table, self.family),
            None => format!("chain {chain} in {} ({}), rule {number}", self.table, self.family),
        };
        Origin { policy: rule.policy.clone(), place, text: Arc::clone(&rule.text) }
    }
}

fn push_rule(script: &mut String, command: &str, chain: &str, number: Option<usize>, text: &str) {
    script.push_str(command);
    script.push(' ');
    script.push_str(chain);
    if let Some(number) = number {
        let _ = write!(script, " {number}");
    }
    if !text.is_empty() {
        script.push(' ');
        script.push_str(text);
    }
    script.push('\n');
}

/// How rules of built-in chains are named when they are deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// By their text: can never hit a stranger's rule.
    ByText,
    /// By their number: for the few rules whose text the tools do not find again (some extensions, native nft
    /// rules). Only while nobody else can have written since the plan was made.
    ByNumber,
}

/// Whether a rule that is deleted by its text holds a line break, which no line of a script can.
pub fn has_line_breaks(plan: &TablePlan) -> bool {
    plan.chains.iter().any(|chain| match &chain.edit {
        Edit::BuiltIn { delete, .. } => delete.iter().any(|(text, _)| text.contains('\n')),
        Edit::Replace { .. } | Edit::Splice { .. } => false,
    })
}

/// The script that changes one table, chains that are to be deleted emptied with it. `None` if there is nothing to do.
pub fn update(plan: &TablePlan, deletion: Deletion) -> Option<String> {
    let policies = || plan.structure.iter().filter_map(policy_of);
    if plan.chains.is_empty() && plan.remove.is_empty() && policies().next().is_none() {
        return None;
    }
    let mut script = format!("*{}\n", plan.table);
    for (hook, policy) in policies() {
        let _ = writeln!(script, ":{hook} {policy} [0:0]");
    }
    for chain in &plan.chains {
        if let Edit::Replace { .. } = chain.edit {
            let _ = writeln!(script, ":{} - [0:0]", chain.chain);
        }
    }
    for chain in &plan.chains {
        let name = chain.chain.as_str();
        match &chain.edit {
            Edit::Replace { rules } => rules.iter().for_each(|rule| push_rule(&mut script, "-A", name, None, rule)),
            Edit::Splice { delete, insert } => {
                delete.iter().for_each(|number| push_rule(&mut script, "-D", name, Some(*number), ""));
                push_inserts(&mut script, name, insert);
            }
            Edit::BuiltIn { delete, insert } => {
                for (text, number) in delete {
                    match deletion {
                        Deletion::ByText => push_rule(&mut script, "-D", name, None, text),
                        Deletion::ByNumber => push_rule(&mut script, "-D", name, Some(*number), ""),
                    }
                }
                push_inserts(&mut script, name, insert);
            }
        }
    }
    for chain in &plan.remove {
        let _ = writeln!(script, "-F {chain}");
    }
    script.push_str("COMMIT\n");
    Some(script)
}

/// The policy that a step gives to a built-in chain.
fn policy_of(step: &Structure) -> Option<(Hook, Verdict)> {
    match step {
        Structure::Policy { hook, policy, .. } | Structure::Make { hook, policy: Some(policy), .. } => {
            Some((*hook, *policy))
        }
        _ => None,
    }
}

fn push_inserts(script: &mut String, chain: &str, inserts: &[Insert]) {
    for insert in inserts {
        let command = if insert.number.is_some() { "-I" } else { "-A" };
        push_rule(script, command, chain, insert.number, &insert.text);
    }
}

/// The script that deletes chains that nothing refers to any more. `None` if there are none.
pub fn removal(plan: &TablePlan) -> Option<String> {
    if plan.remove.is_empty() {
        return None;
    }
    let mut script = format!("*{}\n", plan.table);
    for chain in &plan.remove {
        let _ = writeln!(script, "-X {chain}");
    }
    script.push_str("COMMIT\n");
    Some(script)
}

/// So many members are in one script for ipset. A large set is loaded by several, one after the other.
pub const MOST_MEMBERS: usize = 20_000;

/// The sets of the desired state, each after those that are its members.
pub fn sets_in_order(desired: &Desired) -> impl Iterator<Item = (&SetName, &CheckedSet)> {
    let is_list = |set: &CheckedSet| set.create.starts_with(set_use::LIST);
    let lists = desired.sets.iter().filter(move |(_, set)| is_list(set));
    desired.sets.iter().filter(move |(_, set)| !is_list(set)).chain(lists)
}

/// For `ipset restore`: one set for an empty namespace. The first script has a line before its first member, each of the
/// others has only members, at most [`MOST_MEMBERS`].
pub fn rehearsal_set<'a>(name: &'a SetName, set: &'a CheckedSet) -> impl Iterator<Item = String> + 'a {
    filled(name.as_str().to_owned(), format!("create {name} {}\n", set.create), &set.members, String::new())
}

/// For `ipset restore`: all sets of the desired state, empty, and those of others.
pub fn empty_sets(desired: &Desired) -> String {
    let own = sets_in_order(desired).map(|(name, set)| format!("create {name} {}\n", set.create));
    foreign_sets(desired).into_iter().chain(own).collect()
}

/// For `ipset restore`: a stub for each set of others. To a rule or a set of sets any type is the same.
pub fn foreign_sets(desired: &Desired) -> Option<String> {
    let stubs: String = desired.foreign_sets().into_iter().map(|name| format!("create {name} hash:ip\n")).collect();
    (!stubs.is_empty()).then_some(stubs)
}

/// Scripts that carry out `head`, add `members` to `name`, and carry out `tail`.
fn filled(name: String, head: String, members: &Members, tail: String) -> impl Iterator<Item = String> + '_ {
    let mut members = members.iter();
    let (mut head, mut tail) = (head, Some(tail));
    std::iter::from_fn(move || {
        tail.as_ref()?;
        let mut script = std::mem::take(&mut head);
        let mut added = 0;
        for member in members.by_ref().take(MOST_MEMBERS) {
            let _ = writeln!(script, "add {name} {member} -exist");
            added += 1;
        }
        if added < MOST_MEMBERS {
            script.push_str(&tail.take()?);
        }
        Some(script)
    })
}

/// For `ipset restore`: one change of a set, as scripts that follow each other. What is interrupted between two of them
/// leaves a set behind that is recognised by its name, and the set itself as it was; only a set that nothing uses is
/// destroyed and filled in place.
pub fn set_step(step: &SetStep) -> Box<dyn Iterator<Item = String> + '_> {
    match step {
        SetStep::Create(change) if change.filled => {
            Box::new(std::iter::once(format!("rename {} {}\n", scratch_set(&change.name), change.name)))
        }
        SetStep::Recreate(change) if change.filled => {
            let SetChange { name, .. } = change;
            Box::new(std::iter::once(format!("destroy {name}\nrename {} {name}\n", scratch_set(name))))
        }
        SetStep::Swap(change) if change.filled => {
            let scratch = scratch_set(&change.name);
            Box::new(std::iter::once(format!("swap {scratch} {}\ndestroy {scratch}\n", change.name)))
        }
        SetStep::Create(change) => {
            let SetChange { name, create, members, .. } = change;
            Box::new(filled(name.clone(), format!("create {name} {create}\n"), members, String::new()))
        }
        SetStep::Swap(change) => {
            let SetChange { name, create, members, .. } = change;
            let scratch = scratch_set(name);
            let tail = format!("swap {scratch} {name}\ndestroy {scratch}\n");
            Box::new(filled(scratch.clone(), format!("create {scratch} {create}\n"), members, tail))
        }
        SetStep::Recreate(change) => {
            let SetChange { name, create, members, .. } = change;
            Box::new(filled(name.clone(), format!("destroy {name}\ncreate {name} {create}\n"), members, String::new()))
        }
        SetStep::Destroy(name) => Box::new(std::iter::once(format!("destroy {name}\n"))),
    }
}

/// For `ipset restore`: makes the set under its scratch name, so that one more script puts it in its place.
pub fn fill(change: &SetChange) -> impl Iterator<Item = String> + '_ {
    let scratch = scratch_set(&change.name);
    let head = format!("create {scratch} {}\n", change.create);
    filled(scratch, head, &change.members, String::new())
}

/// The name under which a set is filled before it takes another's place: the host's own prefix and a number made of
/// the name (FNV-1a, 64 bits), so that what a crash leaves behind is recognised by its name.
pub fn scratch_set(name: &str) -> String {
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325, mix);
    format!("{HOST_PREFIX}{hash:016x}")
}
