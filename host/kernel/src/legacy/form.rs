//! An iptables-legacy rule as a comparable [`EncodedRule`], and what can be read from one.
//!
//! The bytes are the kernel's entry: head, matches, target. Zero in them: counters, the kernel's own notes, the distance
//! to the next entry, set indexes. A standard target's verdict is an offset into the table for a jump and for a rule
//! without a target; here it is one of two words that no offset can be, and a jump's is followed by the chain's name.
//! So a rule has one form wherever it and its chain lie, and jump and goto still differ by a flag in the head.

use ruleward_core::encoded_rule::{EncodedRule, SetUse};
use ruleward_core::names::Family;

use super::layout::{Entry, Layout, Malformed, PART_HEADER, Part, STANDARD, i32_at, u16_at, until_zero};
use crate::set_index::{NO_SET, SetIndexError};

/// In place of the offset of the next rule.
const NO_TARGET: i32 = 0;
/// In place of the offset of a chain; its name comes next.
const CHAIN: i32 = 1;

/// Why a rule has no form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FormError {
    /// Its bytes are not what they should be.
    Malformed(Malformed),
    /// It uses a set that is not there, so the rule is not there any more either.
    NoSuchSet,
    /// The kernel does not tell the name of a set.
    Sets(SetIndexError),
}

impl From<Malformed> for FormError {
    fn from(error: Malformed) -> Self {
        Self::Malformed(error)
    }
}

/// What is beyond the entry itself.
pub(super) struct Surroundings<'a> {
    /// The name of the chain whose first rule lies at an offset.
    pub chain_at: &'a dyn Fn(usize) -> Option<&'a [u8]>,
    /// The name of the set with an index.
    pub set_name: &'a mut dyn FnMut(u16) -> Result<Option<Box<str>>, SetIndexError>,
}

/// The form of `entry`.
pub(super) fn form(layout: &Layout, entry: Entry<'_>, around: &mut Surroundings<'_>) -> Result<EncodedRule, FormError> {
    let mut bytes = entry.bytes.to_vec();
    layout.mask(&mut bytes);
    layout.forget_length(&mut bytes);
    let mut sets = Vec::new();
    let mut matches = layout.matches(entry.bytes);
    for part in matches.by_ref().filter(|part| part.name == b"set") {
        take_sets(entry, &part, 1, &mut bytes, &mut sets, around)?;
    }
    if !matches.is_at_end() {
        return Err(entry.malformed("a match in it has a wrong size").into());
    }
    let target = layout.target(entry.bytes).ok_or_else(|| entry.malformed("its target is not inside it"))?;
    if target.name == b"SET" {
        take_sets(entry, &target, if target.revision < 3 { 2 } else { 3 }, &mut bytes, &mut sets, around)?;
    } else if target.name == STANDARD {
        name_verdict(entry, &target, &mut bytes, around)?;
    }
    Ok(EncodedRule { bytes: bytes.into(), sets: sets.into() })
}

/// Moves the indexes of the sets at the beginning of a part's data out of the bytes.
fn take_sets(
    entry: Entry<'_>,
    part: &Part<'_>,
    count: usize,
    bytes: &mut [u8],
    sets: &mut Vec<SetUse>,
    around: &mut Surroundings<'_>,
) -> Result<(), FormError> {
    // `struct xt_set_info_v0` or `xt_set_info`.
    let stride = if part.revision == 0 { 20 } else { 4 };
    for at in (0..count).map(|place| place * stride) {
        let index = u16_at(part.data, at).ok_or_else(|| entry.malformed("a set in it is cut off"))?;
        if index == NO_SET {
            continue;
        }
        let name = (around.set_name)(index).map_err(FormError::Sets)?.ok_or(FormError::NoSuchSet)?;
        let at = part.data_at + at;
        if let Some(place) = bytes.get_mut(at..at + 2) {
            place.fill(0);
        }
        let offset = u32::try_from(at).map_err(|_| entry.malformed("it is too long"))?;
        sets.push(SetUse { offset, name });
    }
    Ok(())
}

/// Replaces an offset by what it means.
fn name_verdict(
    entry: Entry<'_>,
    target: &Part<'_>,
    bytes: &mut Vec<u8>,
    around: &Surroundings<'_>,
) -> Result<(), Malformed> {
    let verdict = i32_at(target.data, 0).ok_or_else(|| entry.malformed("its verdict is cut off"))?;
    let Ok(offset) = usize::try_from(verdict) else { return Ok(()) };
    let word = if offset == entry.end() { NO_TARGET } else { CHAIN };
    bytes.truncate(target.data_at);
    bytes.extend_from_slice(&word.to_ne_bytes());
    if word == CHAIN {
        let name = (around.chain_at)(offset).ok_or_else(|| entry.malformed("it jumps to where no chain begins"))?;
        bytes.extend_from_slice(name);
    }
    Ok(())
}

/// The comments in a rule, in their order; whatever the bytes are.
pub fn comments(form: &EncodedRule, family: Family) -> Vec<String> {
    let comments = Layout::of(family).matches(&form.bytes).filter(|part| part.name == b"comment");
    comments.map(|part| text(until_zero(part.data))).collect()
}

/// What a rule does: the chain that it jumps or goes to, or the name of its target. None: it only counts, or the
/// bytes are no rule.
pub fn target(form: &EncodedRule, family: Family) -> Option<String> {
    let layout = Layout::of(family);
    let at = layout.target_at(&form.bytes)?;
    let name = until_zero(form.bytes.get(at + 2..at + PART_HEADER - 1)?);
    if name != STANDARD {
        return Some(text(name));
    }
    let word = match i32_at(&form.bytes, at + PART_HEADER)? {
        CHAIN => return Some(text(form.bytes.get(at + PART_HEADER + 4..)?)),
        -1 => "DROP",
        -2 => "ACCEPT",
        -4 => "QUEUE",
        -5 => "RETURN",
        _ => return None,
    };
    Some(word.to_owned())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
