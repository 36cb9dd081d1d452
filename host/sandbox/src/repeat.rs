//! Finds out whether a policy answers the same inputs with the same answer. The first answer of each loaded component is
//! asked for twice; what differs is named, and the policy is refused.
//!
//! The sandbox leaves a policy little to differ by: there is no clock, randomness, thread or shared state, NaN has one bit
//! pattern, and every call has a fresh instance. What is left comes from the machine: memory that the system can't give, and
//! time that runs out. A policy that makes its answer depend on these is what is caught here.

use ruleward_core::contribution::Contribution;
use ruleward_core::limit::Limit;
use serde_json::Value;
use thiserror::Error;

use super::evaluate::{Cause, EvaluateError, Evaluation, Fault};
use super::guest::one_line;

/// Longest text of a value that is shown, bytes.
const LONGEST: usize = 120;

/// Where two answers to the same inputs differ.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "answers the same inputs in two ways; {place} is first {first}, then {second}: make it depend on its facts and settings alone"
)]
pub struct Difference {
    /// The first place: `chain nat/web, rule 3, target`.
    pub place: String,
    /// What is there in the first answer.
    pub first: String,
    /// What is there in the second.
    pub second: String,
}

/// The first answer, if the second is the same.
///
/// # Errors
/// [`Cause::Unrepeatable`]; or the second's own failure, if that was for lack of time.
pub fn confirm(
    first: Evaluation,
    second: Result<Evaluation, Box<EvaluateError>>,
) -> Result<Evaluation, Box<EvaluateError>> {
    let difference = match second {
        Ok(second) => {
            let usage = first.usage.clone().or_worse(&second.usage);
            match difference(&first.contribution, &second.contribution) {
                None => return Ok(Evaluation { usage, ..first }),
                Some(difference) => difference,
            }
        }
        Err(error) if matches!(&error.cause, Cause::Fault(Fault::Exceeded(over)) if over.limit == Limit::Time) => {
            return Err(error);
        }
        Err(error) => Difference {
            place: "the answer".to_owned(),
            first: "a contribution".to_owned(),
            second: format!("none, because it {}", error.cause),
        },
    };
    Err(Box::new(EvaluateError { cause: Cause::Unrepeatable(difference), usage: first.usage, log: first.log }))
}

/// The first place where two contributions differ.
pub fn difference(first: &Contribution, second: &Contribution) -> Option<Difference> {
    if first == second {
        return None;
    }
    let json = |contribution: &Contribution| serde_json::to_value(contribution).unwrap_or_default();
    let (first, second) = (json(first), json(second));
    let mut place = Vec::new();
    let (first, second) = descend(&first, &second, &mut place);
    let shown = |value: Option<&Value>| match value {
        None => "missing".to_owned(),
        Some(value) => one_line(&value.to_string(), LONGEST),
    };
    let place = if place.is_empty() { "the answer".to_owned() } else { place.join(", ") };
    Some(Difference { place, first: shown(first), second: shown(second) })
}

type Pair<'a> = (Option<&'a Value>, Option<&'a Value>);

/// Goes down to the first difference; `place` says where that is.
fn descend<'a>(first: &'a Value, second: &'a Value, place: &mut Vec<String>) -> Pair<'a> {
    match (first, second) {
        (Value::Object(left), Value::Object(right)) => {
            let keys = left.keys().chain(right.keys().filter(|key| !left.contains_key(*key)));
            for key in keys {
                match (left.get(key), right.get(key)) {
                    (Some(one), Some(other)) if one == other => {}
                    (one, other) => {
                        // Lists are named by their elements.
                        if !matches!(one.or(other), Some(Value::Array(_))) {
                            place.push(key.replace('_', "-"));
                        }
                        return both(one, other, key, place);
                    }
                }
            }
            (Some(first), Some(second))
        }
        _ => (Some(first), Some(second)),
    }
}

fn both<'a>(first: Option<&'a Value>, second: Option<&'a Value>, key: &str, place: &mut Vec<String>) -> Pair<'a> {
    match (first, second) {
        (Some(Value::Array(left)), Some(Value::Array(right))) => {
            let length = left.len().max(right.len());
            for index in 0..length {
                let (one, other) = (left.get(index), right.get(index));
                if one != other {
                    place.push(element(key, index, one.or(other)));
                    return match (one, other) {
                        (Some(one), Some(other)) => descend(one, other, place),
                        ends => ends,
                    };
                }
            }
            (first, second)
        }
        (Some(one), Some(other)) => descend(one, other, place),
        ends => ends,
    }
}

/// `chain nat/web`, `rule 3`.
fn element(list: &str, index: usize, value: Option<&Value>) -> String {
    let what = list.strip_suffix("es").filter(|stem| stem.ends_with("ch")).or(list.strip_suffix('s')).unwrap_or(list);
    let text = |key: &str| value.and_then(|value| value.get(key)).and_then(Value::as_str);
    match (text("table"), text("name")) {
        (Some(table), Some(name)) => format!("{what} {table}/{name}"),
        (None, Some(name)) => format!("{what} {name}"),
        _ => format!("{what} {}", index + 1),
    }
}
