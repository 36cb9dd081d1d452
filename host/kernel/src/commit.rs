//! Carries out a plan, in one of two ways. At once: all tables and both families in one transaction, tied to the generation
//! that was compared. With the stock tools: each table in one restore, all or nothing for itself; when one is refused the
//! others are still committed, and the error says which is which. Sets come first in both, and what nothing wants any
//! more goes last.

use std::fmt;
use std::time::{Duration, Instant};

use ruleward_core::names::{Backend, Family, Table};
use ruleward_core::observed::{Observed, ObservedTable};
use ruleward_core::plan::{Edit, Plan, TablePlan};
use ruleward_core::rule_encodings::RuleEncodings;
use ruleward_core::script::{self, Deletion};
use ruleward_core::transaction::{Transaction, structural, transaction};
use thiserror::Error;

use super::port::{Port, TransactError};
use super::tools::RestoreError;

/// What was done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// What could not be tidied up, and does no harm.
    pub notes: Vec<String>,
    /// Only the first step was done: the rest is planned anew from what is there now.
    pub unfinished: bool,
}

/// Why a plan was not carried out, or not all of it.
#[derive(Debug, Error)]
pub enum CommitError {
    /// Another program changed nf_tables after it was read; nothing was written.
    #[error("another program changed the tables while the change was planned; nothing was written")]
    Stale,
    /// It can't be done at once; nothing was written but sets.
    #[error("it can't be done in one transaction: {0}")]
    NotAtOnce(String),
    /// Some of it was refused.
    #[error("{0}")]
    Partial(Partial),
}

/// What was refused, and what was not.
#[derive(Debug, Default)]
pub struct Partial {
    /// What was refused, with the reason.
    pub failed: Vec<(String, String)>,
    /// What was committed.
    pub done: Vec<String>,
}

impl fmt::Display for Partial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (what, error)) in self.failed.iter().enumerate() {
            write!(f, "{}{what} not committed: {error}", if at == 0 { "" } else { "; " })?;
        }
        if self.done.is_empty() {
            f.write_str("; nothing else was to do")
        } else {
            write!(f, "; committed: {}", self.done.join(", "))
        }
    }
}

/// Carries out `plan`, which was made from `observed`, in one transaction.
///
/// # Errors
/// [`CommitError::Stale`] and [`CommitError::NotAtOnce`] with the tables as they were; [`CommitError::Partial`] if
/// sets can't be made.
pub fn commit_at_once(
    port: &dyn Port,
    plan: &Plan,
    observed: &Observed,
    forms: &RuleEncodings,
) -> Result<Committed, CommitError> {
    let mut committed = Committed::default();
    let planned = if plan.tables.is_empty() { None } else { Some(transaction(plan, observed, forms)) };
    let transaction = planned.transpose().map_err(|reason| CommitError::NotAtOnce(reason.to_string()))?;
    commit_sets(port, plan, &mut Partial::default())?;
    if let Some(transaction) = transaction {
        port.transact(&transaction).map_err(|error| match error {
            TransactError::Stale => CommitError::Stale,
            error => CommitError::NotAtOnce(error.to_string()),
        })?;
    }
    remove_sets(port, plan, &mut committed);
    Ok(committed)
}

fn commit_sets(port: &dyn Port, plan: &Plan, partial: &mut Partial) -> Result<(), CommitError> {
    if plan.sets.is_empty() {
        return Ok(());
    }
    // Rules that need these sets would be refused for a reason that is not theirs.
    let mut scripts = plan.sets.iter().flat_map(script::set_step);
    if let Err(error) = scripts.try_for_each(|script| restore_sets(port, &script)) {
        partial.failed.push(("sets".to_owned(), error.to_string()));
        return Err(CommitError::Partial(std::mem::take(partial)));
    }
    partial.done.push("sets".to_owned());
    Ok(())
}

/// While anyone lists a set the kernel swaps it with no other: what is left of the script waits a moment for that.
fn restore_sets(port: &dyn Port, script: &str) -> Result<(), RestoreError> {
    let began = Instant::now();
    let mut rest = script;
    loop {
        let refused = port.restore_sets(rest);
        let line = match &refused {
            Err(RestoreError::Refused { line: Some(line), message, .. }) if message.ends_with(BUSY) => line,
            _ => return refused,
        };
        let done: usize = rest.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
        if began.elapsed() > LISTING {
            return refused;
        }
        rest = rest.get(done..).unwrap_or_default();
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// What ipset says then.
const BUSY: &str = "Device or resource busy";
/// How long it is waited for.
const LISTING: Duration = Duration::from_millis(250);

/// The kernel forgets the users of rules that are gone a moment later.
const LAGS: Duration = Duration::from_millis(500);

/// Waits until nothing uses a set any more, but not longer than that takes.
pub fn wait_until_unused(port: &dyn Port, set: &str) {
    let began = Instant::now();
    while port.set_references(set).is_some_and(|references| references > 0) && began.elapsed() < LAGS {
        // No event tells when: it is asked for, some 250 times at most.
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn remove_sets(port: &dyn Port, plan: &Plan, committed: &mut Committed) {
    for set in &plan.remove_sets {
        wait_until_unused(port, set);
        if let Err(error) = port.restore_sets(&format!("destroy {set}\n")) {
            committed.notes.push(format!("obsolete set {set} stays: {error}"));
        }
    }
}

/// Carries out `plan` with the stock tools.
///
/// # Errors
/// [`CommitError`]
pub fn commit(port: &dyn Port, plan: &Plan) -> Result<Committed, CommitError> {
    if plan.generation.is_some() && port.generation() != plan.generation {
        return Err(CommitError::Stale);
    }
    let mut partial = Partial::default();
    let mut committed = Committed::default();
    if restructure(port, plan, &mut partial)? {
        committed.unfinished = true; // what iptables-save showed before is not what it shows now
        return Ok(committed);
    }
    commit_sets(port, plan, &mut partial)?;
    for table in &plan.tables {
        let what = format!("{} {}", table.family, table.table);
        match commit_table(port, table) {
            Ok(()) => partial.done.push(what),
            Err(error) => partial.failed.push((what, error.to_string())),
        }
    }
    if !partial.failed.is_empty() {
        return Err(CommitError::Partial(partial));
    }
    for table in &plan.tables {
        if let Some(removal) = script::removal(table)
            && let Err(error) = port.restore(table.family, &removal)
        {
            let chains = table.remove.join(", ");
            committed.notes.push(format!("{} {}: obsolete chains {chains} stay: {error}", table.family, table.table));
        }
    }
    remove_sets(port, plan, &mut committed);
    Ok(committed)
}

/// What the stock tools can't do comes first, each chain for itself: where one is refused, the others and the rules are still
/// put right. Whether anything was done.
fn restructure(port: &dyn Port, plan: &Plan, partial: &mut Partial) -> Result<bool, CommitError> {
    let parts: Vec<_> = plan.tables.iter().flat_map(structural).collect();
    let Some(mut generation) = port.generation().filter(|_| !parts.is_empty()) else { return Ok(false) };
    let mut done = false;
    for (what, steps) in parts {
        match port.transact(&Transaction { generation, steps }) {
            Ok(()) => (generation, done) = (generation.wrapping_add(1), true),
            Err(TransactError::Stale) if !done => return Err(CommitError::Stale),
            Err(TransactError::Stale) => break,
            Err(error) => partial.failed.push((what, error.to_string())),
        }
    }
    Ok(done)
}

fn commit_table(port: &dyn Port, plan: &TablePlan) -> Result<(), RestoreError> {
    if port.backend() == Backend::Legacy
        && let Some((makers, rest)) = plan.makers_and_rest()
        && commit_at_once_in(port, &makers).is_ok()
    {
        return commit_at_once_in(port, &rest);
    }
    commit_at_once_in(port, plan)
}

fn commit_at_once_in(port: &dyn Port, plan: &TablePlan) -> Result<(), RestoreError> {
    let Some(update) = script::update(plan, Deletion::ByText) else { return Ok(()) };
    let refused = if script::has_line_breaks(plan) {
        Err(RestoreError::Unwritable { reason: "a rule that is to be deleted holds a line break" })
    } else {
        port.restore(plan.family, &update)
    };
    let Err(RestoreError::Refused { .. } | RestoreError::Unwritable { .. }) = refused else { return refused };
    // The tools don't find some rules again by the text that they print. Numbers do, if nothing has moved.
    match script::update(plan, Deletion::ByNumber) {
        Some(update) if numbers_hold(port, plan.family, plan.table, plan) => port.restore(plan.family, &update),
        _ => refused,
    }
}

/// Whether every rule that is to be deleted from a built-in chain still stands at its number.
fn numbers_hold(port: &dyn Port, family: Family, table: Table, plan: &TablePlan) -> bool {
    let Ok(text) = port.save(family, table) else { return false };
    let Ok(now) = ObservedTable::parse(table, text) else { return false };
    let mut deletions = plan.chains.iter().filter_map(|chain| match &chain.edit {
        Edit::BuiltIn { delete, .. } if !delete.is_empty() => Some((chain.chain.as_str(), delete)),
        _ => None,
    });
    let mut any = false;
    let all = deletions.all(|(chain, delete)| {
        any = true;
        let rules = now.rules(chain);
        delete.iter().all(|(text, number)| rules.get(number - 1).is_some_and(|rule| **rule == **text))
    });
    any && all
}
