//! Where things lie in what the kernel gives of an iptables-legacy table: entries, their matches, their target.
//!
//! Every offset and size is checked, whatever the bytes are; nothing here panics. Sources: `struct ipt_entry` in
//! `linux/netfilter_ipv4/ip_tables.h`, `struct ip6t_entry` in `linux/netfilter_ipv6/ip6_tables.h`, `struct
//! xt_entry_match` and `xt_entry_target` in `linux/netfilter/x_tables.h`.

use std::ops::Range;

use ruleward_core::names::Family;

/// Sizes are rounded up to it (`XT_ALIGN`).
pub(super) const ALIGNMENT: usize = align_of::<u64>();
/// Before the data of a match or target: `u16` size, name, `u8` revision.
pub(super) const PART_HEADER: usize = 32;
/// The target that begins a user-defined chain and ends the table.
pub(super) const ERROR: &[u8] = b"ERROR";
/// The target without a name: its data is a verdict.
pub(super) const STANDARD: &[u8] = b"";

/// What is wrong with a table's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed {
    /// Where the entry begins.
    pub offset: usize,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// Where the parts of an entry's head lie.
#[derive(Debug)]
pub(super) struct Layout {
    /// Its length.
    pub header: usize,
    nfcache: usize,
    target_offset: usize,
    next_offset: usize,
    comefrom: usize,
    counters: usize,
    /// Between the fields: means nothing.
    padding: [Range<usize>; 2],
}

const fn rounded(size: usize) -> usize {
    size.next_multiple_of(ALIGNMENT)
}

const IPV4: Layout = Layout {
    header: rounded(96) + 16,
    nfcache: 84,
    target_offset: 88,
    next_offset: 90,
    comefrom: 92,
    counters: rounded(96),
    padding: [96..rounded(96), 0..0],
};

const IPV6: Layout = Layout {
    header: rounded(148) + 16,
    nfcache: 136,
    target_offset: 140,
    next_offset: 142,
    comefrom: 144,
    counters: rounded(148),
    padding: [133..136, 148..rounded(148)],
};

impl Layout {
    pub(super) fn of(family: Family) -> &'static Self {
        match family {
            Family::Ipv4 => &IPV4,
            Family::Ipv6 => &IPV6,
        }
    }

    /// Zeroes what changes by itself and what means nothing: counters, and the kernel's own notes.
    pub(super) fn mask(&self, entry: &mut [u8]) {
        for range in
            [self.nfcache..self.nfcache + 4, self.comefrom..self.comefrom + 4, self.counters..self.counters + 16]
                .into_iter()
                .chain(self.padding.iter().cloned())
        {
            if let Some(bytes) = entry.get_mut(range) {
                bytes.fill(0);
            }
        }
    }

    /// Zeroes how far it is to the next entry, which the length tells.
    pub(super) fn forget_length(&self, entry: &mut [u8]) {
        if let Some(bytes) = entry.get_mut(self.next_offset..self.next_offset + 2) {
            bytes.fill(0);
        }
    }

    /// Whether the entry takes every packet: nothing in its head asks for anything, and it has no match.
    pub(super) fn is_unconditional(&self, entry: &[u8]) -> bool {
        let head = entry.get(..self.nfcache).is_some_and(|head| head.iter().all(|byte| *byte == 0));
        head && self.target_at(entry) == Some(self.header)
    }

    /// Where the target begins: after the head and all matches, if it is inside.
    pub(super) fn target_at(&self, entry: &[u8]) -> Option<usize> {
        let at = usize::from(u16_at(entry, self.target_offset)?);
        (at >= self.header && at <= entry.len()).then_some(at)
    }

    /// The matches of an entry, or of the form of one; ends early where a size is wrong.
    pub(super) fn matches<'a>(&self, entry: &'a [u8]) -> Parts<'a> {
        let end = self.target_at(entry).unwrap_or(0);
        Parts { bytes: entry.get(..end).unwrap_or_default(), at: self.header }
    }

    /// The target of an entry.
    pub(super) fn target<'a>(&self, entry: &'a [u8]) -> Option<Part<'a>> {
        part(entry, self.target_at(entry)?)
    }
}

/// An entry of a table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    /// Where it begins in the table.
    pub offset: usize,
    /// All of it.
    pub bytes: &'a [u8],
}

impl Entry<'_> {
    pub(super) fn end(&self) -> usize {
        self.offset + self.bytes.len()
    }

    pub(super) fn malformed(&self, reason: &'static str) -> Malformed {
        Malformed { offset: self.offset, reason }
    }
}

/// The length of the entry that begins at `offset`, checked against what must fit into it.
fn entry_length(layout: &Layout, table: &[u8], offset: usize) -> Result<usize, Malformed> {
    let wrong = |reason| Malformed { offset, reason };
    let rest = table.get(offset..).unwrap_or_default();
    let length = u16_at(rest, layout.next_offset).map(usize::from).ok_or_else(|| wrong("it is cut off in its head"))?;
    let entry = rest.get(..length).ok_or_else(|| wrong("it is longer than the table"))?;
    if length < layout.header + PART_HEADER {
        return Err(wrong("it is shorter than a head and a target"));
    }
    if layout.target(entry).is_none() {
        return Err(wrong("its target is not inside it"));
    }
    Ok(length)
}

/// The entries of a table; ends after the first that is wrong.
pub(super) struct Entries<'a> {
    layout: &'static Layout,
    table: &'a [u8],
    at: usize,
}

impl<'a> Entries<'a> {
    pub(super) fn new(layout: &'static Layout, table: &'a [u8]) -> Self {
        Self { layout, table, at: 0 }
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let offset = self.at;
        if offset >= self.table.len() {
            return None;
        }
        match entry_length(self.layout, self.table, offset) {
            Ok(length) => {
                self.at = offset + length;
                Some(Ok(Entry { offset, bytes: self.table.get(offset..self.at)? }))
            }
            Err(error) => {
                self.at = self.table.len();
                Some(Err(error))
            }
        }
    }
}

/// Zeroes in all entries what changes by itself, so that a table's bytes change with its rules alone.
pub(super) fn mask(family: Family, table: &mut [u8]) -> Result<(), Malformed> {
    let (layout, mut offset) = (Layout::of(family), 0);
    while offset < table.len() {
        let end = offset + entry_length(layout, table, offset)?;
        if let Some(entry) = table.get_mut(offset..end) {
            layout.mask(entry);
        }
        offset = end;
    }
    Ok(())
}

/// A match or a target.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'a> {
    /// Its name, without the closing zero byte.
    pub name: &'a [u8],
    /// Which version of its data.
    pub revision: u8,
    /// Where its data begins in the entry.
    pub data_at: usize,
    /// Its data.
    pub data: &'a [u8],
}

/// The part at `at`, if all of it is inside `bytes`.
pub(super) fn part(bytes: &[u8], at: usize) -> Option<Part<'_>> {
    let size = usize::from(u16_at(bytes, at)?);
    let whole = bytes.get(at..at.checked_add(size)?)?;
    let data = whole.get(PART_HEADER..)?;
    let name = until_zero(whole.get(2..PART_HEADER - 1)?);
    Some(Part { name, revision: *whole.get(PART_HEADER - 1)?, data_at: at + PART_HEADER, data })
}

/// Matches, one after the other.
pub(super) struct Parts<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Parts<'_> {
    /// Whether the last one ended where the target begins.
    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        let part = part(self.bytes, self.at)?;
        self.at = part.data_at + part.data.len();
        Some(part)
    }
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(super) fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(super) fn until_zero(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    bytes.get(..end).unwrap_or_default()
}
