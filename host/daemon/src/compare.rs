//! Compares what a policy asks for with what it would ask for: two answers, rehearsed in a private namespace where that
//! is possible, so that the lines are those that the tools would show; else in the words in which they are written.

use ruleward_core::contribution::{Contribution, Families};
use ruleward_core::difference::{Difference, difference};
use ruleward_core::expected::Expected;
use ruleward_core::grants::Grants;
use ruleward_core::merge::{Desired, merge};
use ruleward_core::names::PolicyName;
use ruleward_core::ownership::Ownership;

use ruleward_kernel::port::Port;
use ruleward_kernel::rehearse::{Learn, RehearseError, rehearse};
use ruleward_reconcile::policies::judge;
use ruleward_sandbox::Limits;

/// One answer, and by what it is judged.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// What the policy may own.
    pub grants: &'a Grants,
    /// How much it may ask for.
    pub limits: &'a Limits,
    /// What it asks for.
    pub contribution: &'a Contribution,
}

/// What differs, and what is to be said about the comparison.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// The lines.
    pub difference: Difference,
    /// Why the lines are not those that the tools would show.
    pub notes: Vec<String>,
    /// Why this kernel does not take the second answer, if so.
    pub refused: Option<String>,
}

/// Compares the answers as those of one policy; none is an answer that asks for nothing. `port` is where a rehearsal can
/// be held.
///
/// # Errors
/// When one of them is not allowed to the policy.
pub fn compare(
    port: Option<&dyn Port>,
    policy: &PolicyName,
    families: Families,
    first: Option<Side<'_>>,
    second: Option<Side<'_>>,
) -> Result<Comparison, String> {
    let desired = |side| desired(policy, families, side);
    let (first, second) = (rehearsed(port, desired(first)?), rehearsed(port, desired(second)?));
    let mut notes: Vec<String> = first.note.into_iter().chain(second.note).chain(first.refused).collect();
    notes.dedup();
    let difference = difference(&first.expected, &second.expected);
    Ok(Comparison { difference, notes, refused: second.refused })
}

/// A state as far as it could be rehearsed.
struct Rehearsed {
    expected: Expected,
    note: Option<String>,
    refused: Option<String>,
}

fn rehearsed(port: Option<&dyn Port>, desired: Desired) -> Rehearsed {
    let unproven = |desired| Rehearsed { expected: Expected::unproven(desired), note: None, refused: None };
    let Some(port) = port else { return unproven(desired) };
    match rehearse(port, desired.clone(), Learn::Nothing) {
        Ok(done) => Rehearsed { expected: done.expected, note: done.impossible, refused: None },
        Err(error @ RehearseError::Refused(_)) => Rehearsed { refused: Some(error.to_string()), ..unproven(desired) },
        Err(error) => Rehearsed { note: Some(error.to_string()), ..unproven(desired) },
    }
}

fn desired(policy: &PolicyName, families: Families, side: Option<Side<'_>>) -> Result<Desired, String> {
    let all = families.iter().collect();
    let Some(Side { grants, limits, contribution }) = side else {
        return Ok(Desired { families: all, ..Desired::default() });
    };
    let answer = judge(policy, grants, limits, contribution.clone(), families)?;
    Ok(merge(&[answer.checked], Ownership::new(vec![(policy.clone(), grants.clone())]), all))
}
