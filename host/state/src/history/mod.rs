//! What each policy answered, when, to what, and what became of it: records on disk, so that any answer can be looked
//! at, compared, given again and put in force again.
//!
//! Nothing here is needed to keep the node right. The thread of [`StateWriter`](crate::StateWriter) writes, so that no
//! check waits for the disk; what can't be written waits in memory, as far as it is bounded, and `status` says so.

pub mod changes;
pub mod format;
mod queue;
pub mod record;
pub mod store;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::BTreeMap;

pub use ruleward_reconcile::record::Event;

pub(crate) use queue::{Batch, Queue};
pub(crate) use writer::Writer;

/// Gives the kept components with their lengths in bytes.
pub type KeptComponents = Box<dyn Fn() -> BTreeMap<String, u64> + Send>;
