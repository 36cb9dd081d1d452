//! A policy's own words on why it has no answer, as one line that can be shown.

use thiserror::Error;

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

impl Refusal {
    /// By the setting at `place`.
    pub fn of_setting(place: &str, message: &str) -> Self {
        Self::Settings { place: line(place), message: line(message) }
    }

    /// By the document at `place`.
    pub fn of_document(place: &str, message: &str) -> Self {
        Self::Document { place: line(place), message: line(message) }
    }

    /// Until something exists.
    pub fn waiting(text: &str) -> Self {
        Self::Waiting(line(text))
    }

    /// For another reason.
    pub fn other(text: &str) -> Self {
        Self::Other(line(text))
    }
}

fn line(text: &str) -> String {
    if text.trim().is_empty() { "(it gives no reason)".to_owned() } else { one_line(text, LONGEST) }
}
