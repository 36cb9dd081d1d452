//! What is different between two versions of a policy: each value with its place, as it was and as it is.

use serde::Serialize;
use serde_json::Value;

/// A value that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Difference {
    /// A JSON pointer: `/settings/chains/0/rules/1`.
    pub path: String,
    /// As it was; none if it was not there.
    pub old: Option<Value>,
    /// As it is; none if it is not there any more.
    pub new: Option<Value>,
}

/// What differs in `what` between two texts of JSON. Text that is no JSON is compared as a whole.
pub fn of_text(what: &str, old: &str, new: &str) -> Vec<Difference> {
    let value = |text: &str| serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()));
    of_values(what, &value(old), &value(new))
}

/// What differs in `what`.
pub fn of<T: Serialize>(what: &str, old: &T, new: &T) -> Vec<Difference> {
    let value = |input: &T| serde_json::to_value(input).unwrap_or_default();
    of_values(what, &value(old), &value(new))
}

fn of_values(what: &str, old: &Value, new: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    compare(&format!("/{what}"), Some(old), Some(new), &mut found);
    found
}

fn compare(path: &str, old: Option<&Value>, new: Option<&Value>, found: &mut Vec<Difference>) {
    match (old, new) {
        (Some(old), Some(new)) if old == new => {}
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            for (key, value) in before {
                compare(&below(path, key), Some(value), after.get(key), found);
            }
            for (key, value) in after.iter().filter(|(key, _)| !before.contains_key(*key)) {
                compare(&below(path, key), None, Some(value), found);
            }
        }
        (Some(Value::Array(before)), Some(Value::Array(after))) => {
            for at in 0..before.len().max(after.len()) {
                compare(&below(path, &at.to_string()), before.get(at), after.get(at), found);
            }
        }
        (old, new) => found.push(Difference { path: path.to_owned(), old: old.cloned(), new: new.cloned() }),
    }
}

/// As RFC 6901 has it.
fn below(path: &str, key: &str) -> String {
    format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests {
    use ruleward_core::grants::Grants;
    use serde_json::json;

    use super::*;

    #[test]
    fn each_value_that_differs_is_told_with_its_place() {
        let old = r#"{"same": 1, "gone": "x", "list": [1, 2], "in": {"a/b": true, "deep": [{"n": 1}]}}"#;
        let new = r#"{"same": 1, "list": [1, 3, 4], "in": {"a/b": false, "deep": [{"n": 1}]}, "come": null}"#;
        let difference = |path: &str, old, new| Difference { path: path.to_owned(), old, new };
        assert_eq!(
            of_text("settings", old, new),
            [
                difference("/settings/gone", Some(json!("x")), None),
                difference("/settings/in/a~1b", Some(json!(true)), Some(json!(false))),
                difference("/settings/list/1", Some(json!(2)), Some(json!(3))),
                difference("/settings/list/2", None, Some(json!(4))),
                difference("/settings/come", None, Some(json!(null))),
            ]
        );
        assert!(of_text("settings", old, old).is_empty());
        assert_eq!(of_text("settings", "no JSON", "other").len(), 1);
        let narrow = Grants { comments: vec!["cali:".to_owned()], ..Grants::default() };
        assert_eq!(of("grants", &Grants::default(), &narrow)[0].path, "/grants/comments/0");
    }
}
