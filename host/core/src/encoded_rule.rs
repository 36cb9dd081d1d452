//! Rules as the kernel holds them, byte for byte, and what their text is.
//!
//! A [`EncodedRule`] is made comparable by the edge that reads it: counters are zero, and so are the indexes of address sets,
//! whose names stand beside the bytes. So the same rule has the same form in every namespace, and after its set was made
//! anew under another index.

use crate::base_chain::{ChainState, TableState};

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EncodedRule {
    /// What the kernel dumps, without counters and set indexes.
    pub bytes: Box<[u8]>,
    /// The sets that it uses.
    pub sets: Box<[SetUse]>,
}

/// One use of an address set in a rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SetUse {
    /// Where in the bytes its index belongs: two bytes in the machine's own order.
    pub offset: u32,
    /// Its name.
    pub name: Box<str>,
}

/// A rule that stands in a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawRule {
    /// Its form.
    pub form: EncodedRule,
    /// What names it for as long as it stands there; 0 where the backend has no such thing (legacy).
    pub handle: u64,
}

/// A chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawChain {
    /// Its name.
    pub name: Box<str>,
    /// Its rules, in their order.
    pub rules: Vec<RawRule>,
    /// What else it is.
    pub state: ChainState,
}

/// A table or a part of it. One that does not exist is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawTable {
    /// Chains that were read, built-in ones included.
    pub chains: Vec<RawChain>,
    /// What it is besides its chains.
    pub state: TableState,
    /// What the whole table was when it was read, on a backend without generations.
    pub stamp: Option<Stamp>,
}

/// What tells two readings of a table apart: equal ones mean that nothing but counters changed between them. Made with a
/// secret key, so that nobody can make a table up to fit one; in another process the same table has another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Of the table's size and of where its built-in chains lie, which is cheap to ask for.
    pub outline: u64,
    /// Of all of it.
    pub content: u64,
}
