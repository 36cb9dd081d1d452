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
    /// A resource that is of no use.
    #[error("refuses the resource {place}: {message}")]
    Resource {
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

    /// By the resource at `place`.
    pub fn of_resource(place: &str, message: &str) -> Self {
        Self::Resource { place: line(place), message: line(message) }
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
