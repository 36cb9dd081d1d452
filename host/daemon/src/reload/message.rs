//! What the thread that reloads is told.

use std::collections::BTreeSet;

use super::loader::Loaded;

/// What the thread is told.
pub enum Message {
    /// Look at all files. `thorough`: at their contents in any case, and try again what was refused. When everything that
    /// was found is loaded, or refused, the ticket is answered.
    Look { ticket: Option<u64>, thorough: bool },
    /// Another thread has loaded something.
    Loaded(Box<Loaded>),
    /// These components are in force or on their way.
    Settled(BTreeSet<String>),
    /// What policies see has changed.
    Facts,
    /// The end.
    Stop,
}
