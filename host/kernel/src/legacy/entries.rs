//! From the bytes of an iptables-legacy table to its chains and rules.
//!
//! A built-in chain begins where the kernel says, a user-defined one with an entry whose target is `ERROR` and carries
//! the chain's name. Each ends with an entry that is its policy or its return and no rule; one more `ERROR` ends the
//! table. That is how every program on top of libiptc writes a table, and what iptables-legacy-save reads. Bytes in any other
//! order are refused: a rule that can't be seen would be worse than an error.

use ruleward_core::base_chain::ChainState;
use ruleward_core::contribution::Verdict;
use ruleward_core::encoded_rule::{RawChain, RawRule, RawTable};
use ruleward_core::names::Family;

use super::form::{FormError, Surroundings, form};
use super::layout::{ERROR, Entries, Entry, Layout, Malformed, STANDARD, i32_at, until_zero};
use crate::set_index::SetIndexError;

/// The built-in chains, by the number of their hook.
pub(super) const HOOKS: [&[u8]; 5] = [b"PREROUTING", b"INPUT", b"FORWARD", b"OUTPUT", b"POSTROUTING"];
/// `-NF_DROP - 1`
const DROP: i32 = -1;
/// `-NF_ACCEPT - 1`
const ACCEPT: i32 = -2;
/// `-NF_REPEAT - 1`
const RETURN: i32 = -5;

/// Where the built-in chain of a hook begins, and where its policy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct HookPlace {
    pub entry: u32,
    pub underflow: u32,
}

/// The places of all hooks that a table has.
pub(super) type HookPlaces = [Option<HookPlace>; HOOKS.len()];

/// A chain whose rules are still bytes.
struct Span<'a> {
    name: &'a [u8],
    /// Where a jump to it lands.
    start: usize,
    /// Where its policy must be; none for a chain of the user.
    underflow: Option<u32>,
    /// Its entries, the implicit one at the end included.
    entries: Vec<Entry<'a>>,
}

/// All chains and rules of `table`, whose hooks are at `hooks`.
pub(super) fn table(
    family: Family,
    hooks: &HookPlaces,
    table: &[u8],
    set_name: &mut dyn FnMut(u16) -> Result<Option<Box<str>>, SetIndexError>,
) -> Result<RawTable, FormError> {
    let layout = Layout::of(family);
    let spans = spans(layout, hooks, table)?;
    // In the order of their offsets, since the table was read in that order.
    let chain_at = |offset: usize| {
        let found = spans.binary_search_by_key(&offset, |span| span.start).ok()?;
        spans.get(found).map(|span| span.name)
    };
    let mut around = Surroundings { chain_at: &chain_at, set_name };
    let mut chains = Vec::with_capacity(spans.len());
    for span in &spans {
        let rules = rules_of(layout, span)?.iter().map(|entry| {
            let form = form(layout, *entry, &mut around)?;
            Ok(RawRule { form, handle: 0 })
        });
        let rules = rules.collect::<Result<_, FormError>>()?;
        let state = ChainState { policy: policy_of(layout, span), ..ChainState::default() };
        chains.push(RawChain { name: String::from_utf8_lossy(span.name).into(), rules, state });
    }
    Ok(RawTable { chains, ..RawTable::default() })
}

/// Cuts a table into its chains.
fn spans<'a>(layout: &'static Layout, hooks: &HookPlaces, table: &'a [u8]) -> Result<Vec<Span<'a>>, Malformed> {
    let mut spans: Vec<Span<'_>> = Vec::new();
    let mut closed = table.is_empty();
    for entry in Entries::new(layout, table) {
        let entry = entry?;
        let target = layout.target(entry.bytes).ok_or_else(|| entry.malformed("its target is not inside it"))?;
        if target.name == ERROR {
            if entry.end() == table.len() {
                closed = true;
                break;
            }
            let name = until_zero(target.data);
            spans.push(Span { name, start: entry.end(), underflow: None, entries: Vec::new() });
            continue;
        }
        if let Some((name, place)) = hook_at(hooks, entry.offset) {
            spans.push(Span { name, start: entry.offset, underflow: Some(place.underflow), entries: Vec::new() });
        }
        match spans.last_mut() {
            Some(span) => span.entries.push(entry),
            None => return Err(entry.malformed("it stands before the first chain")),
        }
    }
    let built_in = spans.iter().filter(|span| span.underflow.is_some()).count();
    match (closed, built_in == hooks.iter().flatten().count()) {
        (true, true) => Ok(spans),
        (false, _) => Err(Malformed { offset: table.len(), reason: "the table does not end with an ERROR entry" }),
        (true, false) => Err(Malformed { offset: 0, reason: "a built-in chain does not begin where the kernel says" }),
    }
}

fn hook_at(hooks: &HookPlaces, offset: usize) -> Option<(&'static [u8], HookPlace)> {
    let found = HOOKS.into_iter().zip(hooks).filter_map(|(name, place)| Some((name, (*place)?)));
    found.into_iter().find(|(_, place)| usize::try_from(place.entry) == Ok(offset))
}

/// What `iptables-legacy-save` shows of a chain: all but its last entry.
fn rules_of<'a, 'b>(layout: &Layout, span: &'b Span<'a>) -> Result<&'b [Entry<'a>], Malformed> {
    let Some((last, rules)) = span.entries.split_last() else {
        return Err(Malformed { offset: span.start, reason: "a chain begins there that has no end" });
    };
    let is_end = match span.underflow {
        Some(underflow) => usize::try_from(underflow) == Ok(last.offset),
        None => returns(layout, last),
    };
    if is_end && layout.is_unconditional(last.bytes) {
        return Ok(rules);
    }
    Err(last.malformed("a chain ends there with a rule, not with its policy or its return"))
}

/// The policy of a built-in chain: the verdict of its last entry.
fn policy_of(layout: &Layout, span: &Span<'_>) -> Option<Verdict> {
    span.underflow?;
    let target = layout.target(span.entries.last()?.bytes)?;
    match i32_at(target.data, 0).filter(|_| target.name == STANDARD)? {
        DROP => Some(Verdict::Drop),
        ACCEPT => Some(Verdict::Accept),
        _ => None,
    }
}

fn returns(layout: &Layout, entry: &Entry<'_>) -> bool {
    layout.target(entry.bytes).is_some_and(|target| target.name == STANDARD && i32_at(target.data, 0) == Some(RETURN))
}
