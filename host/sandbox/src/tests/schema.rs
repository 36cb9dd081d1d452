//! Schemas that policies may describe: usable ones are kept, hostile ones are refused before they cost anything.

use serde_json::json;

use crate::settings::{LARGEST_SCHEMA, SettingsSchema};

fn refused(schema: &serde_json::Value) -> String {
    SettingsSchema::new(&schema.to_string()).unwrap_err().to_string()
}

#[test]
fn references_into_definitions_work_and_may_recur_through_the_settings() {
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$defs": {"tree": {"type": "object", "properties": {"value": {"type": "integer"}, "left": {"$ref": "#/$defs/tree"}}}},
        "$ref": "#/$defs/tree",
    });
    let schema = SettingsSchema::new(&schema.to_string()).unwrap();
    schema.check(&json!({"left": {"left": {"value": 1}}})).unwrap();
    let error = schema.check(&json!({"left": {"left": {"value": "x"}}})).unwrap_err();
    assert_eq!(error.problems[0].path, "/left/left/value");
    assert_eq!(
        error.to_string(),
        "settings don't fit the policy's schema: /left/left/value: \"x\" is not of type \"integer\""
    );
}

#[test]
fn nothing_is_fetched() {
    for reference in ["https://example.com/schema.json", "file:///etc/passwd", "other.json#/$defs/x"] {
        let message = refused(&json!({"properties": {"a": {"$ref": reference}}}));
        assert!(message.contains("which is outside") && message.contains(reference), "{message}");
    }
    assert!(refused(&json!({"$schema": "https://example.com/mine"})).contains("its $schema is"));
    assert!(refused(&json!({"$schema": "http://json-schema.org/draft-07/schema#"})).contains("write it in"));
    assert!(refused(&json!({"items": {"$id": "https://example.com/x"}})).contains("only the root may have one"));
}

#[test]
fn circles_are_refused() {
    assert!(refused(&json!({"$ref": "#"})).contains("leads back to its own schema"));
    let two = json!({"$defs": {"a": {"allOf": [{"$ref": "#/$defs/b"}]}, "b": {"not": {"$ref": "#/$defs/a"}}}, "$ref": "#/$defs/a"});
    assert!(refused(&two).contains("leads back to its own schema"));
    assert!(refused(&json!({"$dynamicRef": "#x"})).contains("it uses $dynamicRef"));
    assert!(refused(&json!({"$ref": "#/$defs/none"})).contains("which it does not have"));
}

#[test]
fn doubling_references_are_refused() {
    let mut definitions = serde_json::Map::new();
    definitions.insert("d0".to_owned(), json!({"type": "string"}));
    for level in 1..=30 {
        let below = json!({"$ref": format!("#/$defs/d{}", level - 1)});
        definitions.insert(format!("d{level}"), json!({"anyOf": [below, below]}));
    }
    let message = refused(&json!({"$defs": definitions, "$ref": "#/$defs/d30"}));
    assert!(message.contains("gives more than 100000 schemas"), "{message}");
}

#[test]
fn depth_is_limited_through_references_too() {
    let mut definitions = serde_json::Map::new();
    definitions.insert("d0".to_owned(), json!({"type": "string"}));
    for level in 1..=5000 {
        definitions.insert(format!("d{level:05}"), json!({"items": {"$ref": format!("#/$defs/d{:05}", level - 1)}}));
    }
    definitions.insert("d00000".to_owned(), json!({"type": "string"}));
    assert!(refused(&json!({"$defs": definitions})).contains("is nested deeper than 64 schemas"));
    let nested = "[".repeat(100_000);
    assert!(SettingsSchema::new(&nested).unwrap_err().to_string().contains("it is not JSON: recursion limit"));
}

#[test]
fn size_and_patterns_are_limited() {
    let large = format!("\"{}\"", "x".repeat(LARGEST_SCHEMA));
    assert!(SettingsSchema::new(&large).unwrap_err().to_string().contains("at most 262144 are possible"));
    let message = refused(&json!({"pattern": "((a{1000}){1000}){1000}"}));
    assert!(message.contains("can't be used: at /pattern"), "{message}");
    let many: serde_json::Map<_, _> = (0..300).map(|number| (format!("^p{number}$"), json!({}))).collect();
    assert!(refused(&json!({"patternProperties": many})).contains("more than 256 patterns"));
}

#[test]
fn a_pattern_that_would_take_forever_elsewhere_takes_linear_time() {
    let schema = SettingsSchema::new(&json!({"pattern": "^(a+)+$"}).to_string()).unwrap();
    schema.check(&json!("a".repeat(50_000) + "b")).unwrap_err();
}

#[test]
fn schemas_that_are_no_schemas_are_refused() {
    assert!(refused(&json!({"properties": 5})).contains("at /properties"));
    assert!(refused(&json!("text")).contains("can't be used"));
    assert!(SettingsSchema::new("{").unwrap_err().to_string().contains("it is not JSON"));
}

#[test]
fn deep_settings_are_refused() {
    let mut settings = json!(1);
    for _ in 0..40 {
        settings = json!([settings]);
    }
    let error = SettingsSchema::new("{}").unwrap().check(&settings).unwrap_err();
    assert!(error.to_string().contains("nested deeper than 32 levels"), "{error}");
}
