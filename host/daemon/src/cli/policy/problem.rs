//! What can go wrong with a command about policies, and what it exits with.

use std::path::PathBuf;

use ruleward_core::names::PolicyName;
use thiserror::Error;

use crate::serve::client::ClientError;
use ruleward_files::private_dir::PrivateError;
use ruleward_report::output::Output;
use ruleward_report::text;
use ruleward_report::{ErrorClass, Report};
use ruleward_state::history::format::FormatError;
use ruleward_state::history::record::RecordName;
use ruleward_state::history::store::StoreError;

/// Why a command has nothing to show.
#[derive(Debug, Error)]
pub enum Problem {
    /// Where they are can't be known.
    #[error(transparent)]
    Unreachable(#[from] ClientError),
    /// The records.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A damaged record; others are there.
    #[error("{0}")]
    Damaged(String),
    /// No records.
    #[error("there is no history of a policy {0}; `ruleward policy list` names the policies")]
    NoHistory(PolicyName),
    /// Nothing to compare.
    #[error("{0}")]
    NothingToCompare(String),
    /// A record whose answer is none.
    #[error("{0} holds no answer: {1}")]
    NoAnswer(RecordName, String),
    /// A file.
    #[error("{}: {error}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A file that is no record.
    #[error("{} {problem}", .path.display())]
    Format {
        /// Which.
        path: PathBuf,
        /// Why.
        problem: FormatError,
    },
    /// Something else.
    #[error("{0}")]
    Other(String),
}

impl Problem {
    fn class(&self) -> ErrorClass {
        let denied = |error: &std::io::Error| error.kind() == std::io::ErrorKind::PermissionDenied;
        match self {
            Self::Store(StoreError::Storage(PrivateError::Io { source, .. })) if denied(source) => {
                ErrorClass::Permission
            }
            Self::Store(StoreError::Storage(PrivateError::Foreign { .. })) => ErrorClass::Permission,
            Self::File { error, .. } if denied(error) => ErrorClass::Permission,
            Self::Unreachable(_) => ErrorClass::Permission,
            _ => ErrorClass::Configuration,
        }
    }
}

/// Says it on the standard error output; gives the exit code.
pub fn failed(problem: &Problem, output: Output) -> u8 {
    let class = problem.class();
    let says_it = matches!(problem, Problem::Unreachable(_));
    let hint = if class == ErrorClass::Permission && !says_it {
        "; run the command as the user that runs the daemon (root)"
    } else {
        ""
    };
    let report = Report::failure(class, format!("{problem}{hint}"));
    output.complain(&text::problems(&report));
    class.exit_code()
}
