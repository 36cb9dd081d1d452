//! What is malformed in a policy's answer, and where.

use ruleward_core::names::NameError;
use thiserror::Error;

/// Why an answer is no contribution.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{place}: {problem}")]
pub struct LiftError {
    /// Where: `chain nat/web, rule 3, match 2 (destination-ports)`.
    pub place: String,
    /// What is wrong, and what would be right.
    pub problem: String,
}

/// Something wrong in a part that does not know where it stands; callers put the place in front.
#[derive(Debug)]
pub struct Wrong {
    place: String,
    problem: String,
}

impl Wrong {
    /// `problem` says what is wrong and what is right.
    pub fn new(problem: impl Into<String>) -> Self {
        Self { place: String::new(), problem: problem.into() }
    }

    /// The same, found inside `place`.
    pub fn within(mut self, place: &str) -> Self {
        self.place = if self.place.is_empty() { place.to_owned() } else { format!("{place}, {}", self.place) };
        self
    }
}

impl From<Wrong> for LiftError {
    fn from(Wrong { place, problem }: Wrong) -> Self {
        Self { place, problem }
    }
}

impl From<NameError> for Wrong {
    fn from(error: NameError) -> Self {
        Self::new(error.to_string())
    }
}

/// What conversions of parts return.
pub type Lifted<T> = Result<T, Wrong>;
