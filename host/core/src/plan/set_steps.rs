//! What has to change in sets: which are created, filled anew or destroyed, and which wait because rules or other sets
//! still use them.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::expected::{Expected, ExpectedSet};
use crate::grants::HOST_PREFIX;
use crate::members::Members;
use crate::names::SetName;
use crate::observed::Observed;
use crate::set_type::{self, SetUser};
use crate::sets::{self, ObservedSet};

use super::{Plan, SetChange, SetStep};

/// Plans the sets. Gives those whose type changes while only rules and sets of ours use them.
pub(super) fn plan_sets<'e>(
    plan: &mut Plan,
    expected: &'e Expected,
    all: &Observed,
    observed: &BTreeMap<String, ObservedSet>,
) -> Vec<&'e SetName> {
    let users: &BTreeMap<String, Vec<SetUser>> = &all.set_users;
    let wanted: HashSet<&str> = expected.sets.keys().map(SetName::as_str).collect();
    let left_behind = observed.iter().filter(|(name, _)| name.starts_with(HOST_PREFIX) && !wanted.contains(&***name));
    for (name, set) in left_behind {
        // One that stands in for another still: the rules that use it are led back first.
        let of_set = users.get(name).map_or(&[][..], Vec::as_slice);
        if set.references == 0 {
            plan.sets.push(SetStep::Destroy(name.clone()));
        } else if of_set.iter().all(|user| user.is_ours(expected)) {
            plan.remove_sets.push(name.clone());
        } else {
            plan.notes.push(format!("set {name} was left behind, but rules or sets that are not ours use it"));
        }
    }
    let mut in_use = Vec::new();
    // A set of sets needs its members first.
    let (lists, others): (Vec<_>, Vec<_>) =
        expected.sets.iter().partition(|(_, set)| set.create.starts_with(set_type::LIST));
    for (name, set) in others.into_iter().chain(lists) {
        let has = observed.get(name.as_str());
        if let Some(has) = has.filter(|has| has.references > 0 && set_type::is_other_type(set, has)) {
            let of_set = users.get(name.as_str()).map_or(&[][..], Vec::as_slice);
            if let Some(problem) = set_type::obstacle(name, set, has, of_set, expected) {
                plan.problems.push(problem.clone());
                plan.blocked_sets.push((name.clone(), problem));
                continue;
            }
            in_use.push(name);
        }
        let set = without_absent(name, set, &all.absent_sets, &mut plan.notes);
        plan.sets.extend(set_step(name.as_str(), &set, has));
    }
    let used_by_us = |name: &str| {
        let word = format!(" {name} ");
        plan.tables.iter().any(|table| {
            table.chains.iter().any(|chain| chain.removed.iter().any(|rule| rule.contains(&word)))
                || !table.remove.is_empty()
        })
    };
    let mut held = Vec::new();
    let mut remove = Vec::new();
    for (name, set) in observed {
        let known = wanted.contains(name.as_str()) || name.starts_with(HOST_PREFIX);
        if known || !expected.ownership.owns_set(name) {
            continue;
        }
        if set.references == 0 || used_by_us(name) {
            remove.push(name.clone());
        } else {
            held.push(format!("set {name} is ours and obsolete, but {} rules or sets use it", set.references));
        }
    }
    remove.sort_by_key(|name| observed.get(name).is_some_and(|set| set.kind != set_type::LIST));
    plan.remove_sets.extend(remove);
    plan.notes.extend(held);
    in_use
}

/// A set of sets without those of other programs that do not exist.
fn without_absent<'s>(
    name: &SetName,
    set: &'s ExpectedSet,
    absent: &BTreeSet<SetName>,
    notes: &mut Vec<String>,
) -> Cow<'s, ExpectedSet> {
    if absent.is_empty() || !set.create.starts_with(set_type::LIST) {
        return Cow::Borrowed(set);
    }
    let there = |member: &&str| !absent.contains(member.split(' ').next().unwrap_or_default());
    let waiting = set_type::listed(&set.members).filter(|member| absent.contains(*member));
    notes.extend(
        waiting.map(|member| format!("set {name} waits for its member, the set {member}, which does not exist")),
    );
    let members = set.members.iter().filter(there).collect();
    let show = set
        .show
        .as_ref()
        .map(|show| ObservedSet { members: show.members.iter().filter(there).collect(), ..show.clone() });
    Cow::Owned(ExpectedSet { members, show, ..set.clone() })
}

fn set_step(name: &str, set: &ExpectedSet, has: Option<&ObservedSet>) -> Option<SetStep> {
    let none = Members::default();
    let change = || {
        let (shown, has_members) = match (&set.show, set.dynamic) {
            (_, true) => (none.clone(), &none),
            (Some(show), false) => (show.members.clone(), has.map_or(&none, |has| &has.members)),
            (None, false) => (set.members.to_sorted(), has.map_or(&none, |has| &has.members)),
        };
        SetChange {
            name: name.to_owned(),
            create: set.create.clone(),
            members: match has {
                // What rules have put into it stays, also when it is made anew with other options.
                Some(has) if set.dynamic && !set_type::is_other_type(set, has) => {
                    sets::kept_members(has.members.iter(), &set.create).into_iter().collect()
                }
                _ => set.members.clone(),
            },
            shown,
            has: has_members.clone(),
            other_options: matches!((has, &set.show), (Some(has), Some(show)) if has.options != show.options),
            filled: false,
        }
    };
    let Some(has) = has else { return Some(SetStep::Create(change())) };
    if set_type::is_other_type(set, has) {
        return Some(SetStep::Recreate(change()));
    }
    let Some(show) = &set.show else { return Some(SetStep::Swap(change())) };
    let same = has.options == show.options && (set.dynamic || has.members == show.members);
    (!same).then(|| SetStep::Swap(change()))
}
