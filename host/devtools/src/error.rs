//! Why an author's command can't do its work.

use std::path::{Path, PathBuf};

use ruleward_sandbox::{EngineError, LoadError};
use thiserror::Error;

/// The reasons, in the words that an author reads.
#[derive(Debug, Error)]
pub enum AuthorError {
    /// The component.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A file of the author's: which, and what is wrong with it.
    #[error("{}: {reason}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A build that failed, or a node that can't be asked.
    #[error("{0}")]
    Other(String),
}

impl AuthorError {
    /// `path` can't be used, because `reason`.
    pub fn file(path: &Path, reason: impl ToString) -> Self {
        Self::File { path: path.to_owned(), reason: reason.to_string() }
    }
}
