//! Settings from a JSON Schema: the least that it asks for, and values that it should not take.

use serde_json::{Map, Value, json};

/// Deeper schemas than this are taken to be endless.
const DEEPEST: usize = 32;

/// One value of each JSON type.
pub fn one_of_each() -> [Value; 6] {
    [Value::Null, json!(true), json!(7), json!("text"), json!([]), json!({})]
}

/// The properties of the settings, each with its schema.
pub fn properties(schema: &Value) -> Vec<(&String, &Value)> {
    schema["properties"].as_object().into_iter().flatten().collect()
}

/// The least that the schema asks for. Whether it is enough, only the schema's own judge can tell.
pub fn least(schema: &Value) -> Value {
    match value(schema, schema, 0) {
        Value::Object(settings) => Value::Object(settings),
        _ => Value::Object(Map::new()),
    }
}

/// Follows a reference into the same document.
pub fn resolved<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let target = schema["$ref"].as_str().and_then(|reference| root.pointer(reference.strip_prefix('#')?));
    target.unwrap_or(schema)
}

fn value(root: &Value, schema: &Value, depth: usize) -> Value {
    let schema = resolved(root, schema);
    if depth > DEEPEST {
        return Value::Null;
    }
    let given =
        ["default", "const"].iter().map(|key| &schema[*key]).chain([&schema["enum"][0], &schema["examples"][0]]);
    if let Some(given) = given.into_iter().find(|one| !one.is_null()) {
        return given.clone();
    }
    for several in ["anyOf", "oneOf", "allOf"] {
        if !schema[several][0].is_null() {
            return value(root, &schema[several][0], depth + 1);
        }
    }
    let number = |key: &str| schema[key].as_i64();
    let kind = schema["type"].as_str().or(schema["type"][0].as_str());
    match kind {
        Some("string") => {
            Value::String("a".repeat(number("minLength").map_or(0, |length| length.clamp(0, 4096) as usize)))
        }
        Some("integer" | "number") => {
            json!(number("minimum").or(number("exclusiveMinimum").map(|n| n + 1)).unwrap_or(0))
        }
        Some("boolean") => json!(false),
        Some("array") => {
            let count = number("minItems").unwrap_or(0).clamp(0, 64);
            Value::Array((0..count).map(|_| value(root, &schema["items"], depth + 1)).collect())
        }
        Some("null") => Value::Null,
        _ => {
            let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            Value::Object(
                required.map(|name| (name.to_owned(), value(root, &schema["properties"][name], depth + 1))).collect(),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_required_is_filled_in() {
        let schema = json!({
            "type": "object",
            "required": ["a", "b", "c", "d", "e"],
            "properties": {
                "a": { "type": "array", "minItems": 1, "items": { "$ref": "#/$defs/port" } },
                "b": { "enum": ["x", "y"] },
                "c": { "type": "string", "minLength": 2 },
                "d": { "$ref": "#/$defs/nested" },
                "e": { "type": ["boolean", "null"] },
                "left-out": { "type": "string" },
            },
            "$defs": {
                "port": { "type": "integer", "minimum": 1 },
                "nested": { "type": "object", "required": ["f"], "properties": { "f": { "default": 5 } } },
            },
        });
        let least = least(&schema);
        assert_eq!(least, json!({ "a": [1], "b": "x", "c": "aa", "d": { "f": 5 }, "e": false }));
    }

    #[test]
    fn a_schema_that_holds_itself_ends() {
        let schema = json!({ "required": ["a"], "properties": { "a": { "$ref": "#" } } });
        assert!(least(&schema)["a"].is_object());
    }
}
