//! JSON into types, with the place of what does not fit.

use serde::Deserialize;
use serde_path_to_error::{Path, Segment};

/// Where and why text could not be read.
pub struct JsonProblem {
    path: Path,
    /// Why.
    pub message: String,
}

impl JsonProblem {
    /// As a field of a resource: `spec.cidr`.
    pub fn field(&self) -> String {
        let text = self.path.to_string();
        if text == "." { String::new() } else { text }
    }

    /// As a JSON pointer: `/ports/0`.
    pub fn pointer(&self) -> String {
        let mut pointer = String::new();
        for segment in &self.path {
            let part = match segment {
                Segment::Seq { index } => index.to_string(),
                Segment::Map { key } => key.replace('~', "~0").replace('/', "~1"),
                Segment::Enum { variant } => variant.clone(),
                Segment::Unknown => continue,
            };
            pointer.push('/');
            pointer.push_str(&part);
        }
        pointer
    }
}

/// Reads `text` as a `T`.
///
/// # Errors
/// [`JsonProblem`].
pub fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, JsonProblem> {
    // Keeping track of the path costs time, so only what failed is read with it.
    if let Ok(value) = serde_json::from_str(text) {
        return Ok(value);
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut reader);
    value.map_err(|error| {
        let path = error.path().clone();
        let message = error.into_inner().to_string();
        // The position in the text means nothing to whoever wrote a setting.
        let message = message.split(" at line ").next().unwrap_or(&message).to_owned();
        JsonProblem { path, message }
    })
}
