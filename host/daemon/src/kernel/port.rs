//! The narrow waist between the logic of observing, rehearsing and committing and whatever answers to it: the node's own
//! tools, or a kernel of plain data. Both pass the same contract tests (`contract_tests.rs`).

use ruleward_core::names::{Backend, Family, Table};

use super::lock::LockError;
use super::process::ToolError;
use super::scratch::ScratchError;
use super::tools::RestoreError;

/// One network namespace with its packet filter.
pub trait Port: Sync {
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

    /// `ipset list`: all sets.
    ///
    /// # Errors
    /// When the tool fails.
    fn sets(&self) -> Result<String, ToolError>;

    /// `ipset restore`: line by line, what was done before a refused line stays done.
    ///
    /// # Errors
    /// With the number of the refused line.
    fn restore_sets(&self, script: &str) -> Result<(), RestoreError>;

    /// The number that changes with every change of nf_tables in this namespace. `None` on legacy, or where the
    /// kernel does not tell.
    fn generation(&self) -> Option<u32>;

    /// The same namespace with writers shut out as far as the backend allows: on legacy the xtables lock is held until
    /// the answer is dropped; on nft there is nothing to hold, and [`Port::generation`] tells whether somebody wrote.
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
