//! From YAML text to JSON values, one for each document, by `serde-saphyr`. An unquoted word means what `kubectl` makes
//! of it, so that a file here and the same file sent through the Kubernetes API give a policy the same value: YAML 1.1
//! without numbers to the base of 60 (sigs.k8s.io/yaml, goyaml.v2/resolve.go). Where the two differ is in the tests.
//!
//! The text may be anything: nesting is limited, and what aliases expand to counts against the same budget as what
//! is written out, so that a short file can't become a large one. Duplicate keys, tags that ask for a type of their
//! own, and keys that are no words are refused, each with its line.

use std::panic::resume_unwind;
use std::thread;

use serde_json::{Number, Value};
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::{Error, MessageFormatter, Options, Spanned, UserMessageFormatter};

/// A level takes 5 KiB of it, and 40 KiB where nothing was optimised.
const STACK: usize = 8 << 20;

/// Deepest nesting; no Kubernetes resource comes near it.
const MAX_DEPTH: usize = 100;

/// Most scalars (keys, too), lists and mappings of one file, those that aliases repeat included.
const MAX_VALUES: usize = 2_000_000;

/// Most bytes of keys and strings of one file, those that aliases repeat included.
const MAX_TEXT: usize = 32 << 20;

/// Most values that are kept for aliases, one in two anchored lists counted twice.
const MAX_ANCHORED: usize = 250_000;

/// Largest float below which all whole numbers are exact.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A document of a YAML file.
#[derive(Debug, PartialEq)]
pub(super) struct YamlDocument {
    /// The line on which it begins, counted from 1.
    pub line: usize,
    /// What it says.
    pub value: Value,
}

/// Why text is not YAML that we read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct YamlError {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong.
    pub reason: String,
}

/// Reads all documents that are not empty, in a thread whose stack is large enough for the deepest nesting.
pub(super) fn read(text: &str) -> Result<Vec<YamlDocument>, YamlError> {
    let builder = thread::Builder::new().name("ruleward-yaml".to_owned()).stack_size(STACK);
    thread::scope(|scope| match builder.spawn_scoped(scope, || read_here(text)) {
        Ok(reader) => reader.join().unwrap_or_else(|panic| resume_unwind(panic)),
        Err(error) => Err(YamlError { line: 1, reason: format!("can't be read without another thread: {error}") }),
    })
}

fn read_here(text: &str) -> Result<Vec<YamlDocument>, YamlError> {
    let documents: Vec<Spanned<Value>> =
        serde_saphyr::from_str_multiple_with_options(text, options()).map_err(|error| YamlError {
            line: error.location().map_or(1, |location| line(location.line())),
            reason: reason(&error),
        })?;
    let document = |one: Spanned<Value>| {
        let mut value = one.value;
        make_whole(&mut value);
        YamlDocument { line: line(one.referenced.line()), value }
    };
    Ok(documents.into_iter().map(document).collect())
}

fn options() -> Options {
    serde_saphyr::options! {
        legacy_octal_numbers: true,
        null_as_string: true,
        reject_unsupported_tags: true,
        with_snippet: false,
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 2 * MAX_VALUES },
        budget: serde_saphyr::budget! {
            flow_nesting_limit: MAX_DEPTH,
            max_depth: MAX_DEPTH,
            max_nodes: MAX_VALUES,
            max_total_scalar_bytes: MAX_TEXT,
            max_recorded_anchor_bytes: MAX_TEXT,
            // What else is counted can't be more than the nodes, of which some have an end and an anchor.
            max_events: 4 * MAX_VALUES,
            max_aliases: MAX_VALUES,
            max_anchors: MAX_VALUES,
            max_recorded_anchor_events: MAX_ANCHORED,
            max_documents: MAX_VALUES,
            max_merge_keys: MAX_VALUES,
            enforce_alias_anchor_ratio: false,
        },
    }
}

fn line(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX).max(1)
}

/// Whole fractions become whole numbers (`1e3`, `2.0`), as in the JSON that the Kubernetes API answers with.
fn make_whole(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => {
            if let Some(float) = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < EXACT) {
                *number = Number::from(float as i64);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(make_whole),
        Value::Object(map) => map.values_mut().for_each(make_whole),
        _ => {}
    }
}

/// What is wrong, and what to do, in our words where we know better than the parser.
fn reason(error: &Error) -> String {
    match error {
        Error::AliasError { error, .. } => reason(error),
        Error::DuplicateMappingKey { key, .. } => {
            let key = shorten(key.as_deref().unwrap_or_default());
            format!("has the key {key:?} twice in one mapping; remove one")
        }
        Error::UnsupportedTag { tag, .. } => {
            format!("has the tag {:?}, which no resource needs; remove it", shorten(tag))
        }
        Error::NonFiniteFloat { value, .. } => {
            format!("{:?} is not a number that JSON has; put it in quotes", shorten(value))
        }
        Error::InvalidScalar { ty, .. } => format!("is not what its tag says: {ty}"),
        Error::RecursiveReferencesRequireWeakTypes { .. } => {
            "has an alias to a value that is not complete yet".to_owned()
        }
        Error::MergeValueNotMapOrSeqOfMaps { .. } => "has a merge key `<<` whose value is not a mapping".to_owned(),
        Error::Unexpected { expected: "string scalar", .. } => {
            "has a key that is not a plain word; keys are strings".to_owned()
        }
        Error::Budget { breach: BudgetBreach::Depth { .. }, .. } | Error::AliasReplayStackDepthExceeded { .. } => {
            format!("is nested more than {MAX_DEPTH} levels deep")
        }
        Error::Budget { breach: BudgetBreach::RecordedAnchorEvents { .. }, .. } => {
            format!("has more than {MAX_ANCHORED} values with anchors around them; write out what aliases repeat")
        }
        Error::Budget { .. } | Error::AliasReplayLimitExceeded { .. } => {
            "holds more than two million keys and values or 32 MiB of text, aliases counted in full; split the file"
                .to_owned()
        }
        other => format!("not valid YAML: {}", UserMessageFormatter.format_message(other)),
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(60).collect()
}
