//! Rules that are not in force because something that another program makes does not exist: nothing
//! is wrong, and no packet meets them.

pub use crate::foreign_object::Foreign;

use crate::expected::{Expected, ExpectedAttachment, ExpectedHook};
use crate::names::{Family, Hook, PolicyName, Table};
use crate::observed::Observed;

/// One that waits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Awaiting {
    /// Where it belongs.
    pub family: Family,
    /// Where it belongs.
    pub table: Table,
    /// Where it belongs.
    pub chain: Box<str>,
    /// Who wants it.
    pub policy: PolicyName,
    /// The first thing that it needs and that does not exist.
    pub awaited: Foreign,
}

/// All attachments of a hook, in their order.
pub fn attachments(hook: &ExpectedHook) -> impl Iterator<Item = &ExpectedAttachment> {
    hook.first.iter().chain(&hook.last)
}

/// What waits by `observed`; of what it does not cover, what waited `before`.
pub fn awaiting(expected: &Expected, observed: &Observed, before: &[Awaiting]) -> Vec<Awaiting> {
    let mut all = Vec::new();
    for ((family, table), wanted) in &expected.tables {
        let mut chains: Vec<&str> = wanted.awaits.values().flatten().map(|chain| &**chain).collect();
        chains.sort_unstable();
        chains.dedup();
        for chain in chains {
            let has = observed.tables.get(&(*family, *table)).filter(|has| has.covers(chain));
            let Some(has) = has else {
                let same = |one: &&Awaiting| (one.family, one.table, &*one.chain) == (*family, *table, chain);
                all.extend(before.iter().filter(same).cloned());
                continue;
            };
            for (policy, rule) in wanted.rules_of(chain) {
                if let Some(awaited) = rule.missing(has, &observed.absent_sets) {
                    all.push(Awaiting {
                        family: *family,
                        table: *table,
                        chain: chain.into(),
                        policy: policy.clone(),
                        awaited: awaited.clone(),
                    });
                }
            }
        }
    }
    all
}

/// Why no packet meets any rule of what is wanted, if so.
pub fn nothing_enforced(expected: &Expected, awaiting: &[Awaiting]) -> Option<String> {
    let hooks = expected.tables.values().flat_map(|table| table.hooks.values());
    let wanted = hooks.flat_map(attachments).count();
    let waiting = awaiting.iter().filter(|one| Hook::from_name(&one.chain).is_some()).count();
    match expected.rule_count() {
        0 if expected.sets.is_empty() => Some("the policies ask for no rule".to_owned()),
        _ if wanted > 0 && waiting >= wanted => {
            let number = if wanted == 1 { "the only attachment waits" } else { "all attachments wait" };
            let sets = awaiting.iter().any(|one| matches!(one.awaited, Foreign::Set(_)));
            let what = if sets { "chains or sets" } else { "chains" };
            Some(format!("{number} for {what} that do not exist"))
        }
        _ => None,
    }
}
