//! A policy's settings, from TOML to JSON. Keys come out sorted, so that equal settings are equal text.

use serde_json::{Map, Number, Value};
use toml::de::DeValue;

use super::problem::{ConfigError, Problem};
use super::section::{Entry, integer, quote_key};

/// Converts the value at `path`; what JSON can't express is reported and left out.
pub(super) fn to_json(path: &str, entry: Entry<'_>, problems: &mut ConfigError) -> Option<Value> {
    let bad = |reason: String| Problem::BadValue { key: path.to_owned(), place: entry.place(), reason };
    Some(match entry.value {
        DeValue::String(text) => Value::String(text.as_ref().to_owned()),
        DeValue::Boolean(boolean) => Value::Bool(*boolean),
        DeValue::Integer(number) => match integer(entry.value) {
            Some(number) => Value::Number(number.into()),
            None => {
                problems.add(|| bad(format!("{number} does not fit into 64 bits; write it as a string")));
                return None;
            }
        },
        DeValue::Float(float) => match float.as_str().parse().ok().and_then(Number::from_f64) {
            Some(number) => Value::Number(number),
            None => {
                problems.add(|| bad(format!("{float} is not a number that JSON has; write it as a string")));
                return None;
            }
        },
        DeValue::Datetime(date) => {
            problems.add(|| bad(format!("settings have no dates; write it as a string: \"{date}\"")));
            return None;
        }
        DeValue::Array(array) => {
            let elements = array.iter().enumerate();
            let element = |(index, value)| to_json(&format!("{path}[{index}]"), entry.element(value), problems);
            Value::Array(elements.filter_map(element).collect())
        }
        DeValue::Table(table) => {
            let mut map = Map::new();
            for (key, value) in super::section::entries(entry.source, table) {
                if let Some(value) = to_json(&format!("{path}.{}", quote_key(key)), value, problems) {
                    map.insert(key.to_owned(), value);
                }
            }
            map.sort_keys();
            Value::Object(map)
        }
    })
}
