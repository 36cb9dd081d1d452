//! A policy's own words on why it has no answer, as one line that can be shown.

use thiserror::Error;

use super::contract_v0_1::ruleward::policy::types as wit;
use super::guest::one_line;

/// Longest text that is shown, bytes.
const LONGEST: usize = 1000;

/// Why a policy has no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// A setting that fits the schema and is of no use.
    #[error("refuses the setting {place}: {message}")]
    Settings {
        /// Which.
        place: String,
        /// Why.
        message: String,
    },
    /// A document that is of no use.
    #[error("refuses the document {place}: {message}")]
    Document {
        /// Which, and which field.
        place: String,
        /// Why.
        message: String,
    },
    /// Something must exist first.
    #[error("is waiting: {0}")]
    Waiting(String),
    /// Anything else.
    #[error("refuses: {0}")]
    Other(String),
}

/// Converts the contract's failure.
pub fn lift(failure: wit::Failure) -> Refusal {
    let line =
        |text: &str| if text.trim().is_empty() { "(it gives no reason)".to_owned() } else { one_line(text, LONGEST) };
    match failure {
        wit::Failure::Settings(problem) => {
            Refusal::Settings { place: line(&problem.where_), message: line(&problem.message) }
        }
        wit::Failure::Document(problem) => {
            Refusal::Document { place: line(&problem.where_), message: line(&problem.message) }
        }
        wit::Failure::Waiting(text) => Refusal::Waiting(line(&text)),
        wit::Failure::Other(text) => Refusal::Other(line(&text)),
    }
}
