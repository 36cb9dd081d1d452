//! A policy's settings, from TOML to JSON text. Keys come out sorted, so that equal settings are
//! equal text. They may be large, and are kept as this text alone.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Number;
use toml::de::DeValue;

use super::problem::{ConfigError, Problem};
use super::section::{Entry, entries, integer, quote_key};

/// Converts the value at `path`; what JSON can't express is reported and left out.
pub(super) fn to_json(path: &str, entry: Entry<'_>, problems: &mut ConfigError) -> String {
    let mut json = String::new();
    if !push(&mut json, path, entry, problems) {
        json.push_str("null");
    }
    json.shrink_to_fit();
    json
}

/// Whether JSON can express it; else nothing was pushed.
fn push(json: &mut String, path: &str, entry: Entry<'_>, problems: &mut ConfigError) -> bool {
    let bad = |reason: String| Problem::BadValue { key: path.to_owned(), place: entry.place(), reason };
    match entry.value {
        DeValue::String(text) => push_word(json, text.as_ref()),
        DeValue::Boolean(boolean) => push_word(json, boolean),
        DeValue::Integer(number) => match integer(entry.value) {
            Some(number) => push_word(json, &number),
            None => {
                problems.add(|| bad(format!("{number} does not fit into 64 bits; write it as a string")));
                return false;
            }
        },
        DeValue::Float(float) => match float.as_str().parse().ok().and_then(Number::from_f64) {
            Some(number) => push_word(json, &number),
            None => {
                problems.add(|| bad(format!("{float} is not a number that JSON has; write it as a string")));
                return false;
            }
        },
        DeValue::Datetime(date) => {
            problems.add(|| bad(format!("settings have no dates; write it as a string: \"{date}\"")));
            return false;
        }
        DeValue::Array(array) => {
            json.push('[');
            for (index, value) in array.iter().enumerate() {
                let before = json.len();
                if index > 0 {
                    json.push(',');
                }
                if !push(json, &format!("{path}[{index}]"), entry.element(value), problems) {
                    json.truncate(before);
                }
            }
            json.push(']');
        }
        DeValue::Table(table) => {
            let sorted: BTreeMap<&str, Entry<'_>> = entries(entry.source, table).collect();
            json.push('{');
            for (index, (key, value)) in sorted.into_iter().enumerate() {
                let before = json.len();
                if index > 0 {
                    json.push(',');
                }
                push_word(json, key);
                json.push(':');
                if !push(json, &format!("{path}.{}", quote_key(key)), value, problems) {
                    json.truncate(before);
                }
            }
            json.push('}');
        }
    }
    true
}

fn push_word(json: &mut String, word: &(impl Serialize + ?Sized)) {
    json.push_str(&serde_json::to_string(word).unwrap_or_default());
}
