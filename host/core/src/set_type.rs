//! Gives a set another type while rules use it. ipset changes no type, destroys no set in use, and swaps only sets of
//! one kind; so rules of ours are led to a stand-in that holds what the set should hold, then the set is made anew, then
//! they are led back. At every moment each packet meets our rules with the one or the other.
//!
//! Always true: it is only done where nothing but our own rules and sets uses the set. Anyone else's use is a problem
//! that names it. An interrupted change is recognised by the stand-in's name, and carried on.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

pub use crate::set_use::{LIST, SetUser, listed};

use crate::encoded_rule::{EncodedRule, SetUse};
use crate::expected::{Expected, ExpectedHook, ExpectedRule, ExpectedSet};
use crate::grants::HOST_PREFIX;
use crate::members::Members;
use crate::names::{Hook, SetName};
use crate::quote;
use crate::sets::ObservedSet;

impl SetUser {
    pub(crate) fn is_ours(&self, expected: &Expected) -> bool {
        match self {
            Self::Set(name) => expected.ownership.owns_set(name),
            Self::Rule { family, table, chain, text, .. } => match Hook::from_name(chain) {
                None => expected.ownership.owns_chain(*table, chain),
                Some(hook) => {
                    let hook = expected.tables.get(&(*family, *table)).and_then(|table| table.hooks.get(&hook));
                    let mut wanted = hook.into_iter().flat_map(|hook| hook.first.iter().chain(&hook.last));
                    wanted.any(|one| one.rule.show() == Some(text)) || expected.ownership.owns_rule(*table, text)
                }
            },
        }
    }
}

/// Of this many users the names are given.
const MOST_NAMED: usize = 5;

/// Whether a set has another type or family than it should, so that no swap can bring it about.
pub fn is_other_type(set: &ExpectedSet, has: &ObservedSet) -> bool {
    let (kind, options) = match &set.show {
        Some(show) => (show.kind.as_str(), show.options.as_str()),
        None => set.create.split_once(' ').unwrap_or((&set.create, "")),
    };
    has.kind != kind || family_word(&has.options) != family_word(options)
}

fn family_word(options: &str) -> Option<&str> {
    options.split(' ').skip_while(|word| *word != "family").nth(1)
}

/// Why a set can't have its type: who uses it that is not ours. `None`: only our own rules and sets do.
pub(crate) fn obstacle(
    name: &SetName,
    set: &ExpectedSet,
    has: &ObservedSet,
    users: &[SetUser],
    expected: &Expected,
) -> Option<String> {
    let foreign: Vec<String> = users.iter().filter(|user| !user.is_ours(expected)).map(ToString::to_string).collect();
    let known: u32 = users.iter().map(SetUser::uses).sum();
    let unknown = has.references.saturating_sub(known);
    if foreign.is_empty() && unknown == 0 {
        return None;
    }
    let mut by: Vec<String> = foreign.iter().take(MOST_NAMED).cloned().collect();
    if foreign.len() > MOST_NAMED {
        by.push(format!("{} more", foreign.len() - MOST_NAMED));
    }
    if unknown > 0 {
        by.push(format!("{unknown} users that neither iptables nor ipset shows (tc, or a rule of nft's own)"));
    }
    let (kind, options) = set.show.as_ref().map_or((set.create.as_str(), ""), |show| (&show.kind, &show.options));
    Some(format!(
        "set {name} exists as {} {}, and {} is wanted: ipset can't change the type of a set in use, and what is not ours \
         uses it: {}; delete that, and the set is put right by itself, or give the policy's set another name",
        has.kind,
        has.options,
        format!("{kind} {options}").trim_end(),
        by.join(", ")
    ))
}

/// What stands in for what, in one step of a change of type.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StandIns {
    /// Name of the set, and of the one in its place.
    names: BTreeMap<Box<str>, Box<str>>,
    /// Of rules as they are written with stand-ins: how they are written without.
    written: HashMap<Box<str>, Arc<str>>,
}

impl StandIns {
    /// Of no set.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The sets that nothing of ours uses any more when the step is done.
    pub fn sets(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(|name| &**name)
    }

    /// Whether a rule as shown uses one of these sets, or its stand-in.
    pub fn concern(&self, rule: &str) -> bool {
        self.names.iter().any(|(set, by)| names_set(rule, |name| **name == **set || **name == **by))
    }

    /// How a rule is written without stand-ins, if it has any.
    pub fn original(&self, written: &str) -> Option<&Arc<str>> {
        self.written.get(written)
    }

    /// The same rule with the stand-ins.
    pub fn form(&self, form: &EncodedRule) -> EncodedRule {
        let sets = form
            .sets
            .iter()
            .map(|used| SetUse { offset: used.offset, name: self.names.get(&used.name).unwrap_or(&used.name).clone() });
        EncodedRule { bytes: form.bytes.clone(), sets: sets.collect() }
    }

    fn rule(&mut self, rule: &mut ExpectedRule) {
        let shown = rule.show().unwrap_or(rule.write());
        if let Cow::Owned(renamed) = rename_sets(shown, &self.names) {
            self.written.insert(renamed.as_str().into(), rule.write().into());
            *rule = rule.in_words(renamed.into());
        }
    }

    fn hook(&mut self, hook: &mut ExpectedHook) {
        hook.first.iter_mut().chain(&mut hook.last).for_each(|one| self.rule(&mut one.rule));
    }
}

/// `expected` with a stand-in for each of these sets, which are not in it themselves.
pub(crate) fn with_stand_ins(expected: &Expected, sets: &[&SetName]) -> (Expected, StandIns) {
    let mut renewed = expected.clone();
    let mut stand_ins = StandIns::default();
    for name in sets {
        let Some(set) = renewed.sets.remove(*name) else { continue };
        let by = stand_in(name.as_str(), &set.create);
        if let Ok(by) = SetName::new(&by) {
            renewed.sets.insert(by, set);
        }
        stand_ins.names.insert(name.as_str().into(), by.into());
    }
    for set in renewed.sets.values_mut().filter(|set| set.create.starts_with(LIST)) {
        set.members = rename_members(&set.members, &stand_ins.names);
        if let Some(show) = &mut set.show {
            show.members = rename_members(&show.members, &stand_ins.names).to_sorted();
        }
    }
    for table in renewed.tables.values_mut() {
        table.chains.values_mut().flat_map(|(_, rules)| rules).for_each(|rule| stand_ins.rule(rule));
        table.hooks.values_mut().for_each(|hook| stand_ins.hook(hook));
    }
    (renewed, stand_ins)
}

fn rename_members(members: &Members, names: &BTreeMap<Box<str>, Box<str>>) -> Members {
    let rename = |member: &str| {
        let (name, rest) = member.split_at(member.find(' ').unwrap_or(member.len()));
        names.get(name).map_or_else(|| member.to_owned(), |by| format!("{by}{rest}"))
    };
    members.iter().map(rename).collect()
}

/// A name for the stand-in that tells the set and the type (FNV-1a, 64 bits).
fn stand_in(name: &str, create: &str) -> String {
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = name.bytes().chain([0]).chain(create.bytes()).fold(0xcbf2_9ce4_8422_2325, mix);
    format!("{HOST_PREFIX}{hash:016x}")
}

/// The options before the name of a set, as iptables-save shows them.
const SET_OPTIONS: [&str; 4] = ["--match-set", "--add-set", "--del-set", "--map-set"];

fn names_set(rule: &str, wanted: impl Fn(&&str) -> bool) -> bool {
    let mut before = "";
    rule.split(' ').any(|word| {
        let option = std::mem::replace(&mut before, word);
        SET_OPTIONS.contains(&option) && wanted(&word.trim_matches('"'))
    })
}

/// How often a rule as shown names this set.
pub fn uses_of_set(rule: &str, set: &str) -> u32 {
    let mut before = "";
    let uses = rule.split(' ').filter(|word| {
        let option = std::mem::replace(&mut before, word);
        SET_OPTIONS.contains(&option) && word.trim_matches('"') == set
    });
    u32::try_from(uses.count()).unwrap_or(u32::MAX)
}

fn rename_sets<'r>(rule: &'r str, names: &BTreeMap<Box<str>, Box<str>>) -> Cow<'r, str> {
    if !names_set(rule, |name| names.contains_key(*name)) {
        return Cow::Borrowed(rule);
    }
    let mut renamed = String::with_capacity(rule.len() + 32);
    let mut before = "";
    for word in rule.split(' ') {
        let option = std::mem::replace(&mut before, word);
        let by = names.get(word.trim_matches('"')).filter(|_| SET_OPTIONS.contains(&option));
        match by {
            Some(by) => quote::push_word(&mut renamed, by),
            None => {
                if !renamed.is_empty() {
                    renamed.push(' ');
                }
                renamed.push_str(word);
            }
        }
    }
    Cow::Owned(renamed)
}

#[cfg(test)]
#[path = "set_type_tests.rs"]
mod tests;
