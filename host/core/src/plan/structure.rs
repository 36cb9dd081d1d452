//! What has to change in a table besides rules, so that packets meet them.

use std::collections::BTreeSet;

use crate::base_chain::{Owner, Structure, describe, word};
use crate::contribution::Verdict;
use crate::drift::{Drift, Kind};
use crate::expected::{ExpectedHook, ExpectedTable};
use crate::judge_chain::{Judged, judge_hook, judge_own};
use crate::names::{Family, Hook, Table};
use crate::observed::ObservedTable;

use super::{ChainPlan, Stuck, TablePlan, TableWork};

/// What has to change, and the built-in chains that can't be put right: the problem of each is told.
pub(super) fn of_table(work: &TableWork<'_>, stuck: &mut Vec<Stuck>) -> (Vec<Structure>, BTreeSet<Hook>) {
    let TableWork { family, table, wanted, has, expected, .. } = *work;
    let place = (family, table);
    let (mut steps, mut skipped) = (Vec::new(), BTreeSet::new());
    let own = has.user_chains().filter(|name| has.covers(name) && expected.ownership.owns_chain(table, name));
    steps.extend(own.filter_map(|name| judge_own(name, has)));
    for (hook, rules) in wanted.hooks.iter().filter(|(hook, rules)| has.covers(hook.as_str()) && is_wanted(rules)) {
        let policy = rules.policy.as_ref().map(|(_, policy)| *policy);
        if !has.has(hook.as_str()) {
            // Where it is not known how to make it, the stock tools do. Without it all packets pass.
            let by_tools = policy.filter(|policy| *policy == Verdict::Drop && !wanted.bases.contains_key(hook));
            steps.extend(by_tools.map(|policy| Structure::Policy { hook: *hook, policy, was: None }));
            continue;
        }
        let judged = wanted.bases.get(hook).map(|base| judge_hook(place, *hook, base, policy, has));
        match judged {
            Some(Judged::Rebuild(step)) => steps.push(step),
            Some(Judged::Stuck(problem)) => {
                let was = has.state(hook.as_str()).map(describe).unwrap_or_default();
                stuck.push(Stuck {
                    drift: drift(place, hook.as_str(), Kind::BaseChainChanged, vec![format!(":{hook} {was}")]),
                    problem,
                });
                skipped.insert(*hook);
            }
            Some(Judged::Right) | None => {
                let was = has.policy(hook.as_str());
                let other = policy.filter(|policy| was.is_some_and(|was| was != *policy));
                steps.extend(other.map(|policy| Structure::Policy { hook: *hook, policy, was }));
            }
        }
    }
    let released = expected.released.iter().filter(|(of_family, of_table, _)| (*of_family, *of_table) == place);
    for (.., hook) in released.filter(|(.., hook)| has.covers(hook.as_str())) {
        let was = has.policy(hook.as_str());
        let drops = was == Some(Verdict::Drop);
        steps.extend(drops.then_some(Structure::Policy { hook: *hook, policy: Verdict::Accept, was }));
    }
    if let Some(state) = has.table_state().filter(|state| state.dormant && wants_anything(wanted)) {
        steps.push(Structure::Wake { flags: state.flags });
    }
    (steps, skipped)
}

fn drift((family, table): (Family, Table), chain: &str, kind: Kind, removed: Vec<String>) -> Drift {
    let (family, table) = (Some(family), Some(table));
    Drift { family, table, chain: chain.to_owned(), kind, added: Vec::new(), removed }
}

fn is_wanted(hook: &ExpectedHook) -> bool {
    !hook.first.is_empty() || !hook.last.is_empty() || hook.policy.is_some()
}

fn wants_anything(wanted: &ExpectedTable) -> bool {
    !wanted.chains.is_empty() || wanted.hooks.values().any(is_wanted)
}

/// The built-in chains that are to be made, as far as it is known how.
pub(super) fn missing<'a>(
    wanted: &'a ExpectedTable,
    has: &'a ObservedTable,
    chains: &'a [ChainPlan],
) -> impl Iterator<Item = Structure> + 'a {
    let drops = |rules: &ExpectedHook| rules.policy.as_ref().is_some_and(|(_, policy)| *policy == Verdict::Drop);
    let asked = wanted.hooks.iter().filter(|(_, rules)| drops(rules)).map(|(hook, _)| *hook);
    let hooks: BTreeSet<Hook> = chains.iter().filter_map(|plan| Hook::from_name(&plan.chain)).chain(asked).collect();
    let hooks = hooks.into_iter().filter(|hook| has.covers(hook.as_str()) && !has.has(hook.as_str()));
    hooks.filter_map(|hook| {
        let policy = wanted.hooks.get(&hook).and_then(|rules| rules.policy.as_ref()).map(|(_, policy)| *policy);
        Some(Structure::Make { hook, base: wanted.bases.get(&hook)?.clone(), policy })
    })
}

/// Nothing of the plan can be written.
pub(super) fn owned(plan: &TablePlan, owner: &Owner) -> Stuck {
    let TablePlan { family, table, structure, chains, remove } = plan;
    let changed = chains.iter().map(|plan| plan.chain.as_str()).chain(remove.iter().map(String::as_str));
    let changed = changed.chain(structure.iter().filter_map(Structure::chain));
    let names: BTreeSet<&str> = changed.collect();
    let names = names.into_iter().collect::<Vec<_>>().join(", ");
    let ip = word(*family);
    let remedy = if owner.port == 0 {
        format!(
            "take the table over and delete it in one `nft -i`: `add table {ip} {table} {{ flags owner, persist; }}`, \
             `delete table {ip} {table}`; Ruleward then recreates it"
        )
    } else {
        "stop that process (the table goes with it), or let it give the table up; Ruleward then recreates it".to_owned()
    };
    let problem = format!(
        "{family} {table}: the table is owned by {owner} (`flags owner`), and the kernel lets no other process change it; out of \
         sync: {names}. To repair it, {remedy}"
    );
    Stuck { drift: drift((*family, *table), "", Kind::TableOwned, Vec::new()), problem }
}
