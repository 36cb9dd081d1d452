//! The smallest edit that makes one chain as it must be: in a chain of ours rules that are right stay untouched, in a
//! built-in one the rules of others do as well.

use std::collections::{BTreeMap, BTreeSet};

use crate::align;
use crate::expected::ExpectedRule;
use crate::observed::ObservedTable;

use super::{ChainPlan, Edit, Insert, MOST_SINGLE_DELETIONS};

fn texts(rules: &[ExpectedRule]) -> Vec<String> {
    rules.iter().map(|rule| rule.show().unwrap_or(rule.write()).to_owned()).collect()
}

/// All rules of a chain of ours go, and all come.
pub(super) fn whole_chain(name: &str, rules: &[ExpectedRule], has: &ObservedTable) -> ChainPlan {
    let removed = has.rules(name).into_iter().map(str::to_owned).collect();
    let edit = Edit::Replace { rules: rules.iter().map(|rule| rule.write().into()).collect() };
    ChainPlan { chain: name.to_owned(), edit, removed, added: texts(rules) }
}

pub(super) fn own_chain(name: &str, rules: &[ExpectedRule], has: &ObservedTable) -> Option<ChainPlan> {
    let shown = has.rules(name);
    let replace = || Some(whole_chain(name, rules, has));
    if !has.has(name) {
        return replace();
    }
    let Some(wanted) = rules.iter().map(ExpectedRule::show).collect::<Option<Vec<&str>>>() else {
        return replace();
    };
    if wanted == shown {
        return None;
    }
    let stay = align::stay(&shown, &wanted);
    if stay.is_empty() {
        return replace();
    }
    let keep_old: BTreeSet<usize> = stay.iter().map(|pair| pair.0).collect();
    let keep_new: BTreeSet<usize> = stay.iter().map(|pair| pair.1).collect();
    let gone: Vec<usize> = (0..shown.len()).filter(|at| !keep_old.contains(at)).collect();
    let come: Vec<usize> = (0..wanted.len()).filter(|at| !keep_new.contains(at)).collect();
    let after_last_kept = stay.last().map_or(0, |pair| pair.1 + 1);
    let insert = come
        .iter()
        .map(|at| Insert { number: (*at < after_last_kept).then_some(at + 1), text: rules[*at].write().into() });
    Some(ChainPlan {
        chain: name.to_owned(),
        removed: gone.iter().map(|at| shown[*at].to_owned()).collect(),
        added: come.iter().map(|at| wanted[*at].to_owned()).collect(),
        edit: if gone.len() > MOST_SINGLE_DELETIONS {
            Edit::Replace { rules: rules.iter().map(|rule| rule.write().into()).collect() }
        } else {
            Edit::Splice { insert: insert.collect(), delete: gone.into_iter().rev().map(|at| at + 1).collect() }
        },
    })
}

/// Plans a built-in chain: ours before all strangers or after all strangers, strangers as they are.
pub(super) fn built_in_chain(
    name: &str,
    first: &[ExpectedRule],
    last: &[ExpectedRule],
    has: &[&str],
    ours: &[bool],
) -> Option<ChainPlan> {
    let strangers = ours.iter().filter(|ours| !**ours).count();
    let head_end = ours.iter().position(|ours| !ours).unwrap_or(has.len());
    let tail_start = ours.iter().rposition(|ours| !ours).map_or(0, |at| at + 1);

    // Which of ours may stay: in front of the strangers those that align with `first`, behind them with `last`.
    let shows = |rules: &[ExpectedRule]| rules.iter().map(|rule| rule.show().unwrap_or("\n").to_owned()).collect();
    let (first_shows, last_shows): (Vec<String>, Vec<String>) = (shows(first), shows(last));
    let wanted: Vec<&str> = first_shows.iter().chain(&last_shows).map(String::as_str).collect();
    let mut stays: BTreeMap<usize, usize> = BTreeMap::new(); // place in `has` -> place in `wanted`
    if strangers == 0 {
        stays.extend(align::stay(has, &wanted));
    } else {
        stays.extend(align::stay(&has[..head_end], &wanted[..first.len()]));
        let tail = align::stay(&has[tail_start..], &wanted[first.len()..]);
        stays.extend(tail.into_iter().map(|(at, place)| (at + tail_start, place + first.len())));
    }
    let mut gone: Vec<usize> = (0..has.len()).filter(|at| ours[*at] && !stays.contains_key(at)).collect();
    // Rules are deleted by text, which hits the first copy: where one copy goes, all go, and those wanted come anew.
    let gone_texts: BTreeSet<&str> = gone.iter().map(|at| has[*at]).collect();
    stays.retain(|at, _| !gone_texts.contains(has[*at]));
    gone = (0..has.len()).filter(|at| ours[*at] && !stays.contains_key(at)).collect();

    let placed: BTreeSet<usize> = stays.values().copied().collect();
    let come: Vec<usize> = (0..wanted.len()).filter(|place| !placed.contains(place)).collect();
    if gone.is_empty() && come.is_empty() {
        return None;
    }
    let rule = |place: usize| first.get(place).unwrap_or_else(|| &last[place - first.len()]);
    let last_placed = placed.last().copied();
    let insert = come.iter().map(|place| {
        let at_end = last_placed.is_none_or(|kept| kept < *place) && (*place >= first.len() || strangers == 0);
        let behind = if *place >= first.len() { strangers } else { 0 };
        Insert { number: (!at_end).then_some(place + 1 + behind), text: rule(*place).write().into() }
    });
    Some(ChainPlan {
        chain: name.to_owned(),
        removed: gone.iter().map(|at| has[*at].to_owned()).collect(),
        added: come.iter().map(|place| rule(*place).show().unwrap_or(rule(*place).write()).to_owned()).collect(),
        edit: Edit::BuiltIn {
            insert: insert.collect(),
            delete: gone.iter().rev().map(|at| (has[*at].into(), at + 1)).collect(),
        },
    })
}
