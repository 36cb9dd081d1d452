//! What can be wrong with a configuration. Every problem says which file and key, and what would be right; a
//! [`ConfigError`] holds all that were found, so that an operator mends them in one go.

use std::fmt;
use std::path::{Path, PathBuf};

use ruleward_core::names::PolicyName;
use thiserror::Error;

/// Most problems that are kept; further ones are only counted.
const KEPT: usize = 50;

/// A place in a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// The line, counted from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, line {}", self.file.display(), self.line)
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Problem {
    /// The file, or the `conf.d` directory, could not be read.
    #[error("{}: {reason}", file.display())]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// What happened and what to do.
        reason: String,
        /// The reason is a missing permission.
        denied: bool,
    },
    /// The file is not TOML.
    #[error("{place}, column {column}: not valid TOML: {message}")]
    Syntax {
        /// Where.
        place: Place,
        /// The column in characters, counted from 1.
        column: usize,
        /// The parser's words.
        message: String,
    },
    /// A key that nobody reads.
    #[error("unknown key `{key}` in {place}; {hint}")]
    UnknownKey {
        /// The whole path of the key.
        key: String,
        /// Where.
        place: Place,
        /// The nearest known key, or all of them.
        hint: String,
    },
    /// A value of another type than the key has.
    #[error("{key} in {place}: expected {expected}, found {found}")]
    WrongType {
        /// The whole path of the key.
        key: String,
        /// Where.
        place: Place,
        /// What would be right, with an example.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A value of the right type that the key can't have.
    #[error("{key} in {place}: {reason}")]
    BadValue {
        /// The whole path of the key.
        key: String,
        /// Where.
        place: Place,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// The same key or policy in two files.
    #[error("{key} is set twice, in {first} and in {second}; remove one of them")]
    Twice {
        /// The whole path of the key.
        key: String,
        /// In the file that is read first.
        first: Place,
        /// In the other one.
        second: Place,
    },
    /// Two policies own the same name.
    #[error(
        "policies `{first}` ({first_place}) and `{second}` ({second_place}) would both own {what}; \
         every name has one owner: change the grants of one of them, or set its mode to \"off\""
    )]
    Overlap {
        /// A policy.
        first: PolicyName,
        /// Where it is configured.
        first_place: Place,
        /// Another policy.
        second: PolicyName,
        /// Where that one is configured.
        second_place: Place,
        /// The patterns that overlap.
        what: Box<str>,
    },
}

/// Everything that is wrong with a configuration: never empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Error)]
pub struct ConfigError {
    /// The first fifty.
    pub problems: Vec<Problem>,
    /// How many more there are.
    pub more: usize,
}

impl ConfigError {
    /// Takes one more problem. It is only worked out while there is room: finding its line costs a walk over the file.
    pub(super) fn add(&mut self, problem: impl FnOnce() -> Problem) {
        if self.problems.len() < KEPT {
            self.problems.push(problem());
        } else {
            self.more += 1;
        }
    }

    /// Whether a missing permission is the only reason: the configuration itself may be right.
    pub fn denied(&self) -> bool {
        self.more == 0
            && self.problems.iter().all(|problem| matches!(problem, Problem::Unreadable { denied: true, .. }))
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let line_break = if index == 0 { "" } else { "\n" };
            write!(f, "{line_break}{problem}")?;
        }
        match self.more {
            0 => Ok(()),
            more => write!(f, "\n... and {more} more"),
        }
    }
}

/// The text of a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Where it came from; messages name it.
    pub file: PathBuf,
    /// What it says.
    pub text: String,
}

impl Source {
    /// The line and column (in characters, both counted from 1) of a byte offset.
    pub(super) fn position(&self, offset: usize) -> (Place, usize) {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let column = 1 + String::from_utf8_lossy(&before[line_start..]).chars().count();
        (Place { file: self.file.clone(), line }, column)
    }

    /// The place of a byte offset.
    pub(super) fn place(&self, offset: usize) -> Place {
        self.position(offset).0
    }
}

/// A file that could not be read.
pub(super) fn unreadable(file: &Path, reason: impl Into<String>) -> Problem {
    Problem::Unreadable { file: file.to_owned(), reason: reason.into(), denied: false }
}
