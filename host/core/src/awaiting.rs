//! Attachments that are not in force because the chain that they jump to does not exist: nothing is wrong, and no packet
//! meets them.

use crate::expected::{Expected, ExpectedAttachment, ExpectedHook};
use crate::names::{ChainName, Family, Hook, PolicyName, Table};
use crate::observed::Observed;

/// One that waits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Awaiting {
    /// Where it belongs.
    pub family: Family,
    /// Where it belongs.
    pub table: Table,
    /// Where it belongs.
    pub hook: Hook,
    /// Who wants it.
    pub policy: PolicyName,
    /// The chain that does not exist.
    pub chain: ChainName,
}

/// All attachments of a hook, in their order.
pub fn attachments(hook: &ExpectedHook) -> impl Iterator<Item = &ExpectedAttachment> {
    hook.first.iter().chain(&hook.last)
}

/// What waits by `observed`; of what it does not cover, what waited `before`.
pub fn awaiting(expected: &Expected, observed: &Observed, before: &[Awaiting]) -> Vec<Awaiting> {
    let mut all = Vec::new();
    for ((family, table), wanted) in &expected.tables {
        for (hook, rules) in &wanted.hooks {
            let has = observed.tables.get(&(*family, *table));
            let known = !observed.partial || has.is_some_and(|has| has.covers(hook.as_str()));
            for one in attachments(rules) {
                let Some(chain) = &one.awaits else { continue };
                let place = Awaiting {
                    family: *family,
                    table: *table,
                    hook: *hook,
                    policy: one.policy.clone(),
                    chain: chain.clone(),
                };
                let waits =
                    if known { !has.is_some_and(|has| has.has(chain.as_str())) } else { before.contains(&place) };
                if waits {
                    all.push(place);
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
    match expected.rule_count() {
        0 if expected.sets.is_empty() => Some("the policies ask for no rule".to_owned()),
        _ if wanted > 0 && awaiting.len() >= wanted => {
            let number = if wanted == 1 { "the only attachment waits" } else { "all attachments wait" };
            Some(format!("{number} for chains that do not exist"))
        }
        _ => None,
    }
}
