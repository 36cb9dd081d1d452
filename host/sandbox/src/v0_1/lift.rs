//! Converts a policy's answer from contract 0.1.0 into the rule model, once. What comes out is well formed: names,
//! prefix lengths and ranges are right, lists are not empty where they must not be. That nothing is over a limit has been
//! seen before; whether rules make sense together (ports without a protocol, jumps to nowhere, grants) is decided later.
//!
//! It fails on the first thing that is wrong and says in which chain, attachment or set, in which rule and match
//! (counted from 1), what is wrong there and what would be right.

use ruleward_core::contribution::{Attachment, Chain, ChainPolicy, Contribution, Families, Verdict};
use ruleward_core::names::{ChainName, Hook, Placement, Table};

use super::bindings::ruleward::policy::types as wit;
use super::{lift_rules, lift_sets};
use crate::guest::one_line;
use crate::lift_error::{LiftError, Lifted, Wrong};

/// Converts `answer`.
///
/// # Errors
/// [`LiftError`] for the first thing that is malformed.
pub fn contribution(answer: wit::Contribution) -> Result<Contribution, LiftError> {
    let lifted = || {
        Ok(Contribution {
            chains: answer.chains.into_iter().enumerate().map(chain).collect::<Lifted<_>>()?,
            attachments: answer.attachments.into_iter().enumerate().map(attachment).collect::<Lifted<_>>()?,
            sets: answer.sets.into_iter().enumerate().map(lift_sets::set).collect::<Lifted<_>>()?,
            policies: answer.policies.into_iter().enumerate().map(policy).collect::<Lifted<_>>()?,
        })
    };
    lifted().map_err(|wrong: Wrong| wrong.into())
}

fn chain((index, chain): (usize, wit::Chain)) -> Lifted<Chain> {
    let table = table(chain.table);
    let place = || format!("chain {table}/{}", shown(&chain.name));
    let name = ChainName::new(&chain.name)
        .map_err(|e| Wrong::from(e).within(&format!("chain {} of table {table}", index + 1)))?;
    let families = families(chain.families).map_err(|e| e.within("families").within(&place()))?;
    let rules = chain.rules.into_iter().enumerate();
    let rules = rules
        .map(|(index, rule)| {
            lift_rules::rule(rule).map_err(|e| e.within(&format!("rule {}", index + 1)).within(&place()))
        })
        .collect::<Lifted<_>>()?;
    Ok(Chain { table, families, name, rules })
}

fn attachment((index, attachment): (usize, wit::Attachment)) -> Lifted<Attachment> {
    let (table, hook) = (table(attachment.table), hook(attachment.hook));
    let place = || format!("attachment {} ({table}/{hook})", index + 1);
    has_hook(table, hook).map_err(|e| e.within(&place()))?;
    Ok(Attachment {
        table,
        hook,
        families: families(attachment.families).map_err(|e| e.within("families").within(&place()))?,
        placement: match attachment.placement {
            wit::Placement::First => Placement::First,
            wit::Placement::Last => Placement::Last,
        },
        order: attachment.order,
        rule: lift_rules::rule(attachment.rule).map_err(|e| e.within(&place()))?,
    })
}

fn policy((index, policy): (usize, wit::ChainPolicy)) -> Lifted<ChainPolicy> {
    let (table, hook) = (table(policy.table), hook(policy.hook));
    let place = || format!("policy {} ({table}/{hook})", index + 1);
    has_hook(table, hook).map_err(|e| e.within(&place()))?;
    Ok(ChainPolicy {
        table,
        hook,
        families: families(policy.families).map_err(|e| e.within("families").within(&place()))?,
        policy: match policy.policy {
            wit::Verdict::Accept => Verdict::Accept,
            wit::Verdict::Drop => Verdict::Drop,
        },
    })
}

fn has_hook(table: Table, hook: Hook) -> Lifted<()> {
    if table.hooks().contains(&hook) {
        return Ok(());
    }
    let hooks: Vec<_> = table.hooks().iter().map(|hook| hook.as_str()).collect();
    Err(Wrong::new(format!("table {table} has no {hook}; it has {}", hooks.join(", "))).within("hook"))
}

/// A name as far as it can be shown in one line.
pub fn shown(name: &str) -> String {
    one_line(name, 80)
}

fn families(families: wit::Families) -> Lifted<Families> {
    if families == wit::Families::empty() {
        return Err(Wrong::new("none is set; set ipv4, ipv6 or both"));
    }
    Ok(Families { ipv4: families.contains(wit::Families::IPV4), ipv6: families.contains(wit::Families::IPV6) })
}

/// The table.
pub fn table(table: wit::Table) -> Table {
    match table {
        wit::Table::Raw => Table::Raw,
        wit::Table::Mangle => Table::Mangle,
        wit::Table::Nat => Table::Nat,
        wit::Table::Filter => Table::Filter,
        wit::Table::Security => Table::Security,
    }
}

fn hook(hook: wit::Hook) -> Hook {
    match hook {
        wit::Hook::Prerouting => Hook::Prerouting,
        wit::Hook::Input => Hook::Input,
        wit::Hook::Forward => Hook::Forward,
        wit::Hook::Output => Hook::Output,
        wit::Hook::Postrouting => Hook::Postrouting,
    }
}
