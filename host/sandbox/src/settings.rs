//! Judges an operator's settings by the JSON Schema that a policy describes. The schema comes from the policy and is
//! not believed: [`super::schema_shape`] bounds its work, patterns run in linear time, and nothing is ever fetched.

use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::Value;
use thiserror::Error;

use super::guest::one_line;
use super::schema_shape;

/// Largest schema, bytes.
pub const LARGEST_SCHEMA: usize = 256 << 10;
/// Bytes that one compiled pattern may take.
const LARGEST_PATTERN: usize = 1 << 20;
/// Problems that are named; more are counted.
const MOST_NAMED: usize = 8;
/// Longest description of one problem, bytes.
const LONGEST_PROBLEM: usize = 400;
/// Longest misspelt name that is compared with the known ones: comparing takes time in the square of it.
const LONGEST_NAME: usize = 100;
/// Deepest nesting of settings: more than anybody writes.
const DEEPEST_SETTINGS: usize = 32;

/// Why a schema can't be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the schema of its settings can't be used: {0}")]
pub struct SchemaError(pub String);

/// Why settings don't fit.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("settings don't fit the policy's schema: {}{}", .problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "), more(*.unnamed))]
pub struct SettingsError {
    /// The first problems.
    pub problems: Vec<SettingsProblem>,
    /// How many more there are.
    pub unnamed: usize,
}

/// One value that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}: {message}", if .path.is_empty() { "(the settings as a whole)" } else { .path.as_str() })]
pub struct SettingsProblem {
    /// JSON pointer to it; empty for the settings as a whole.
    pub path: String,
    /// What is wrong.
    pub message: String,
}

fn more(unnamed: usize) -> String {
    if unnamed == 0 { String::new() } else { format!("; and {unnamed} more") }
}

/// A schema that can be used.
#[derive(Debug)]
pub struct SettingsSchema {
    validator: Validator,
    text: Value,
}

impl SettingsSchema {
    /// Reads and compiles a schema of draft 2020-12.
    ///
    /// # Errors
    /// When it is too large, not JSON, not a schema, refers to something outside, or could take too long.
    pub fn new(text: &str) -> Result<Self, SchemaError> {
        if text.len() > LARGEST_SCHEMA {
            let problem = format!("it has {} bytes; at most {LARGEST_SCHEMA} are possible", text.len());
            return Err(SchemaError(problem));
        }
        let schema: Value = serde_json::from_str(text).map_err(|e| SchemaError(format!("it is not JSON: {e}")))?;
        schema_shape::check(&schema).map_err(SchemaError)?;
        let limits = PatternOptions::regex().size_limit(LARGEST_PATTERN).dfa_size_limit(LARGEST_PATTERN);
        let validator =
            jsonschema::options().with_draft(Draft::Draft202012).offline().with_pattern_options(limits).build(&schema);
        validator
            .map(|validator| Self { validator, text: schema })
            .map_err(|e| SchemaError(format!("at {}: {}", shown(e.instance_path().as_str()), problem(&e))))
    }

    /// Judges settings.
    ///
    /// # Errors
    /// [`SettingsError`] with the path of each value that does not fit.
    pub fn check(&self, settings: &Value) -> Result<(), SettingsError> {
        let whole = |message: String| SettingsProblem { path: String::new(), message };
        if depth(settings) > DEEPEST_SETTINGS {
            let problem = whole(format!("are nested deeper than {DEEPEST_SETTINGS} levels"));
            return Err(SettingsError { problems: vec![problem], unnamed: 0 });
        }
        let mut errors = self.validator.iter_errors(settings);
        let problems: Vec<_> = errors
            .by_ref()
            .take(MOST_NAMED)
            .map(|error| SettingsProblem {
                path: one_line(error.instance_path().as_str(), LONGEST_PROBLEM),
                message: self.unknown(&error).unwrap_or_else(|| problem(&error)),
            })
            .collect();
        if problems.is_empty() { Ok(()) } else { Err(SettingsError { problems, unnamed: errors.count() }) }
    }
}

impl SettingsSchema {
    /// What to say about settings that the schema does not know, with those that it knows at this place.
    fn unknown(&self, error: &jsonschema::ValidationError<'_>) -> Option<String> {
        let ValidationErrorKind::AdditionalProperties { unexpected } = error.kind() else { return None };
        let place = error.schema_path().as_str();
        let around = self.text.pointer(place.strip_suffix("/additionalProperties")?)?;
        let known: Vec<&str> = around.get("properties")?.as_object()?.keys().map(String::as_str).collect();
        let named: Vec<String> = unexpected.iter().map(|name| format!("`{name}`")).collect();
        let near = unexpected.iter().filter(|name| name.len() <= LONGEST_NAME).find_map(|name| {
            let nearest = known.iter().min_by_key(|known| strsim::osa_distance(name, known))?;
            (strsim::osa_distance(name, nearest) <= nearest.len().max(3) / 3).then_some(*nearest)
        });
        let hint = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("it knows {}", known.join(", ")),
        };
        Some(one_line(&format!("the policy has no setting {}; {hint}", named.join(", ")), LONGEST_PROBLEM))
    }
}

fn problem(error: &jsonschema::ValidationError<'_>) -> String {
    one_line(&error.to_string(), LONGEST_PROBLEM)
}

fn shown(path: &str) -> String {
    if path.is_empty() { "its root".to_owned() } else { one_line(path, LONGEST_PROBLEM) }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or_default(),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or_default(),
        _ => 0,
    }
}
