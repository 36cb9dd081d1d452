//! The narrow waist between the logic of observing, rehearsing and committing and whatever answers to it: the node's own
//! tools, or a kernel of plain data. Both pass the same contract tests (`contract_tests.rs`).

use std::collections::BTreeSet;
use std::time::Instant;

use ruleward_core::encoded_rule::{EncodedRule, RawTable, Stamp};
use ruleward_core::names::{Backend, Family, Table};
use ruleward_core::quote;
use ruleward_core::sets::ListReader;
use ruleward_core::transaction::Transaction;
use thiserror::Error;

use super::lock::LockError;
use super::process::ToolError;
use super::scratch::ScratchError;
use super::tools::RestoreError;

/// How closely a set is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Depth {
    /// Type and options.
    Outline,
    /// The number of members as well.
    Count,
    /// All members, which takes as long as there are many.
    Members,
}

/// What sets are: equal digests mean equal sets, as far as they were looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetsDigest {
    /// Of all that was looked at.
    pub hash: u64,
    /// Of all these sets together.
    pub members: u64,
}

/// Which chains of a table are read byte for byte.
#[derive(Clone, Copy)]
pub enum Wanted<'a> {
    /// The names of all chains, and the rules of those for which it says yes.
    Which(&'a dyn Fn(&str) -> bool),
    /// These chains, as far as they exist.
    Only(&'a BTreeSet<Box<str>>),
}

impl Wanted<'_> {
    /// What is wanted of a table that could only be read whole.
    pub fn narrow(self, mut whole: RawTable) -> RawTable {
        match self {
            Self::Which(which) => {
                whole.chains.iter_mut().filter(|chain| !which(&chain.name)).for_each(|chain| chain.rules.clear());
            }
            Self::Only(chains) => whole.chains.retain(|chain| chains.contains(&chain.name)),
        }
        whole
    }
}

/// A line for a rule of unknown text: its comments, a number made of its bytes (FNV-1a), and where it goes. Printable,
/// and in the words of iptables as far as it has any.
pub fn marks_line(form: &EncodedRule, comments: &[String], target: Option<(&str, &str)>) -> String {
    let mut line = String::new();
    for comment in comments {
        let printable: String = comment.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        for word in ["-m", "comment", "--comment", if printable.is_empty() { "?" } else { &printable }] {
            quote::push_word(&mut line, word);
        }
    }
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = form.bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix);
    quote::push_word(&mut line, &format!("[rule:{hash:016x}]"));
    if let Some((word, target)) = target {
        quote::push_word(&mut line, word);
        quote::push_word(&mut line, if target.is_empty() { "?" } else { target });
    }
    line
}

/// Why rules can't be read byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RawError {
    /// This port has no such thing.
    #[error("rules can't be read byte for byte here: {0}")]
    Unsupported(String),
    /// The kernel did not answer as it should.
    #[error("reading the rules of {family} {table} from the kernel failed: {reason}")]
    Failed {
        /// Where.
        family: Family,
        /// Where.
        table: Table,
        /// Why.
        reason: String,
    },
}

/// Why a transaction did not take effect. Nothing of it did.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TransactError {
    /// Another program was faster: another generation is current.
    #[error("another program changed the tables meanwhile")]
    Stale,
    /// The kernel refused it.
    #[error("the kernel refused the transaction: {reason}")]
    Refused {
        /// The steps (from 0) that it found fault with, as far as it says.
        steps: Vec<usize>,
        /// Why.
        reason: String,
    },
    /// It can't be sent at all.
    #[error("no transaction is possible: {0}")]
    Impossible(String),
}

/// One network namespace with its packet filter.
pub trait Port: Send + Sync {
    /// Which implementation of iptables it speaks to.
    fn backend(&self) -> Backend;

    /// `iptables-save -t TABLE`; empty if the table does not exist.
    ///
    /// # Errors
    /// When the tool fails, or prints anything that is not a complete save.
    fn save(&self, family: Family, table: Table) -> Result<String, ToolError>;

    /// `iptables-restore --noflush` with a script of one table: all of it or nothing.
    ///
    /// # Errors
    /// With the number of the refused line, if the tool tells.
    fn restore(&self, family: Family, script: &str) -> Result<(), RestoreError>;

    /// Why the tool does not append a rule to a chain, asked for this rule alone. The rule may be there afterwards: for a
    /// private namespace only.
    fn why_refused(&self, family: Family, table: Table, chain: &str, rule: &str) -> Option<String> {
        let _ = (family, table, chain, rule);
        None
    }

    /// `ipset list` of the sets whose names `wanted` claims, into `list`; others may be among them.
    ///
    /// # Errors
    /// When the tool fails.
    fn sets(&self, wanted: &dyn Fn(&str) -> bool, list: &mut ListReader) -> Result<(), ToolError>;

    /// What sets are, of each as far as `depth` says. `None` where the kernel does not tell.
    fn sets_digest(&self, depth: &dyn Fn(&str) -> Option<Depth>) -> Option<SetsDigest>;

    /// How many rules and sets use a set; `None` if it does not exist, or where the kernel does not tell.
    fn set_references(&self, set: &str) -> Option<u32>;

    /// `ipset restore`: line by line, what was done before a refused line stays done.
    ///
    /// # Errors
    /// With the number of the refused line.
    fn restore_sets(&self, script: &str) -> Result<(), RestoreError>;

    /// The number that changes with every change of nf_tables in this namespace. `None` on legacy, or where the
    /// kernel does not tell.
    fn generation(&self) -> Option<u32>;

    /// What a table is now; `None` where generations tell, or where the kernel does not.
    fn stamp(&self, family: Family, table: Table) -> Option<Stamp>;

    /// The rules of a table as the kernel holds them.
    ///
    /// # Errors
    /// [`RawError`]
    fn raw(&self, family: Family, table: Table, wanted: Wanted<'_>) -> Result<RawTable, RawError>;

    /// Whether a rule is no more than its form, so that it can be deleted and made again.
    fn stands_alone(&self, form: &EncodedRule) -> bool;

    /// A line for a rule of unknown text: its comments, its target, and a number that tells it from others.
    fn marks(&self, family: Family, form: &EncodedRule) -> String;

    /// A form of the same rule that the kernel takes quicker, if there is one.
    fn lighter(&self, form: &EncodedRule) -> Option<EncodedRule>;

    /// Whether iptables-save surely shows all that is in the rule.
    fn shows_all(&self, form: &EncodedRule) -> bool;

    /// Carries out a transaction: all of it at once, or nothing.
    ///
    /// # Errors
    /// [`TransactError`]
    fn transact(&self, transaction: &Transaction) -> Result<(), TransactError>;

    /// Waits until no other program is between reading the rules and committing to what it has read, as far as that can be
    /// seen, but not after `until`. True if it had to wait.
    fn wait_for_clients(&self, _until: Instant) -> bool {
        false
    }

    /// The same namespace with writers shut out as far as the backend allows: on legacy the xtables lock is held until
    /// the answer is dropped; on nft there is nothing to hold, and [`Port::generation`] tells whether another program wrote.
    ///
    /// # Errors
    /// When the lock can't be had in time.
    fn exclusive(&self) -> Result<Box<dyn Port + '_>, LockError>;

    /// Runs `work` with the port of a private, empty namespace.
    ///
    /// # Errors
    /// When no namespace can be made.
    fn in_scratch(&self, work: &mut (dyn FnMut(&dyn Port) + Send)) -> Result<(), ScratchError>;
}
