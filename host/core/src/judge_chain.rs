//! Whether a chain is the base chain that it should be, and how it becomes that.

use crate::base_chain::{BaseChain, ChainState, Structure, describe, word};
use crate::contribution::Verdict;
use crate::expected::ExpectedTable;
use crate::names::{Family, Hook, Table};
use crate::observed::ObservedTable;

/// A chain that must be a base chain: whether it is the one that it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Judged {
    /// It is, or nothing is known.
    Right,
    /// It has to be made anew.
    Rebuild(Structure),
    /// It is not, and can't be made anew without a loss.
    Stuck(String),
}

/// Judges a built-in chain that exists. `policy` is what a contribution asks for.
pub(crate) fn judge_hook(
    (family, table): (Family, Table),
    hook: Hook,
    wanted: &BaseChain,
    policy: Option<Verdict>,
    has: &ObservedTable,
) -> Judged {
    let name = hook.as_str();
    let Some(state) = has.state(name) else { return Judged::Right };
    if state.base.as_ref().is_some_and(|base| base.definition == wanted.definition) {
        return Judged::Right;
    }
    let was = describe(state);
    let remedy = format!(
        "`nft delete chain {} {table} {name}` after you have saved and deleted its rules; it is then made as iptables \
         makes it ({})",
        word(family),
        wanted.shown
    );
    let problem = format!(
        "{family} {table}: the built-in chain {name} is {was}, where iptables makes {}; our rules there do not see the \
         packets that they are for",
        wanted.shown
    );
    if state.jumps > 0 {
        return Judged::Stuck(format!(
            "{problem}; it can't be recreated while {} other rules jump to it: delete them, then {remedy}",
            state.jumps
        ));
    }
    match &state.rules {
        Some(rules) => Judged::Rebuild(Structure::Rebuild {
            chain: name.into(),
            base: Some(wanted.clone()),
            policy: policy.or(state.policy),
            rules: rules.clone(),
            was,
        }),
        None => Judged::Stuck(format!(
            "{problem}; it holds foreign rules that can't be written again byte for byte, so it is not recreated: {remedy}"
        )),
    }
}

/// Judges a chain of ours that exists.
pub(crate) fn judge_own(name: &str, has: &ObservedTable) -> Option<Structure> {
    let base = has.state(name)?.base.as_ref()?;
    let was = base.shown.to_string();
    Some(Structure::Rebuild { chain: name.into(), base: None, policy: None, rules: Vec::new(), was })
}

/// Whether a chain is another base chain than the one that it should be, or is one and should not be: then its rules are
/// needed as they are sent, to make it anew. `wanted` is what is known of the table.
pub fn is_misplaced(wanted: &ExpectedTable, chain: &str, state: &ChainState) -> bool {
    let Some(hook) = Hook::from_name(chain) else { return false }; // of our own chains all rules are known
    let base = wanted.bases.get(&hook).filter(|_| wanted.hooks.contains_key(&hook));
    base.is_some_and(|base| state.base.as_ref().is_none_or(|has| has.definition != base.definition))
}
