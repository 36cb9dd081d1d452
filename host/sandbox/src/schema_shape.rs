//! Bounds the work that a schema can cause before it is compiled. References stay inside it; following all of them
//! gives a tree of limited size and depth; none leads back to itself without descending into the settings. So judging
//! settings takes time that is bounded by their own size.

use std::collections::HashMap;

use serde_json::{Map, Value};

/// Most schemas that are met when every reference is followed.
const MOST_SCHEMAS: u64 = 100_000;
/// Longest way down, references included.
const DEEPEST: u64 = 64;
/// Most patterns.
const MOST_PATTERNS: usize = 256;
/// The dialect, with and without the empty fragment.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Keywords whose value is a schema for the same value.
const SAME_ONE: [&str; 4] = ["not", "if", "then", "else"];
/// Keywords whose value is a list of schemas for the same value.
const SAME_LIST: [&str; 3] = ["allOf", "anyOf", "oneOf"];
/// Keywords whose value is a schema for parts.
const PART_ONE: [&str; 7] = [
    "additionalProperties",
    "contains",
    "contentSchema",
    "items",
    "propertyNames",
    "unevaluatedItems",
    "unevaluatedProperties",
];
/// Keywords whose value maps names to schemas for parts.
const PART_MAP: [&str; 2] = ["properties", "patternProperties"];
/// Keywords whose value maps names to schemas that references may name.
const STORES: [&str; 2] = ["$defs", "definitions"];
/// Keywords that make references hard to follow; plain ones do the same.
const INDIRECT: [&str; 5] = ["$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveAnchor", "$recursiveRef"];

/// How far a schema has been judged.
#[derive(Clone, Copy)]
enum Known {
    /// It is being judged: meeting it again is a circle.
    Open,
    /// Its size and depth.
    Closed { size: u64, depth: u64 },
}

struct Walk<'a> {
    root: &'a Value,
    /// By address: every schema is a part of `root`, which does not move.
    known: HashMap<*const Value, Known>,
    patterns: usize,
}

/// Judges the schema `root`.
///
/// # Errors
/// What is wrong, and what would be right.
pub fn check(root: &Value) -> Result<(), String> {
    if let Some(dialect) = root.get("$schema")
        && dialect.as_str().map(|text| text.trim_end_matches('#')) != Some(DIALECT)
    {
        return Err(format!("its $schema is {dialect}; write it in {DIALECT:?}"));
    }
    let mut walk = Walk { root, known: HashMap::new(), patterns: 0 };
    let (size, _) = walk.schema(root, &mut Vec::new(), 0)?;
    if size > MOST_SCHEMAS {
        return Err(format!("following its references gives more than {MOST_SCHEMAS} schemas; make it simpler"));
    }
    Ok(())
}

impl<'a> Walk<'a> {
    /// Size and depth of `schema`. `same` holds the schemas above it that judge the same value.
    fn schema(&mut self, schema: &'a Value, same: &mut Vec<*const Value>, above: u64) -> Result<(u64, u64), String> {
        let Value::Object(keywords) = schema else { return Ok((1, 1)) };
        let address: *const Value = schema;
        if same.contains(&address) {
            return Err("a reference leads back to its own schema and never ends".to_owned());
        }
        match self.known.get(&address) {
            Some(Known::Open) => return Ok((1, 1)),
            Some(Known::Closed { size, depth }) if above + depth <= DEEPEST => return Ok((*size, *depth)),
            _ => {}
        }
        if above >= DEEPEST {
            return Err(format!("it is nested deeper than {DEEPEST} schemas, references included; make it flatter"));
        }
        self.known.insert(address, Known::Open);
        self.judge(keywords)?;
        let (mut size, mut depth) = (1u64, 1u64);
        let mut add = |(one_size, one_depth): (u64, u64)| {
            size = size.saturating_add(one_size);
            depth = depth.max(one_depth + 1);
        };
        same.push(address);
        for child in same_value(keywords) {
            add(self.schema(child, same, above + 1)?);
        }
        if let Some(reference) = keywords.get("$ref") {
            let target = self.target(reference)?;
            add(self.schema(target, same, above + 1)?);
        }
        same.pop();
        for child in parts(keywords) {
            add(self.schema(child, &mut Vec::new(), above + 1)?);
        }
        self.known.insert(address, Known::Closed { size, depth });
        Ok((size, depth))
    }

    fn judge(&mut self, keywords: &Map<String, Value>) -> Result<(), String> {
        if let Some(keyword) = INDIRECT.iter().find(|keyword| keywords.contains_key(**keyword)) {
            return Err(format!("it uses {keyword}; refer with \"$ref\": \"#/$defs/NAME\" instead"));
        }
        let is_root = self.root.as_object().is_some_and(|root| std::ptr::eq(root, keywords));
        if !is_root && keywords.contains_key("$id") {
            return Err("a schema inside it has an $id of its own; only the root may have one".to_owned());
        }
        let pattern_properties = keywords.get("patternProperties").and_then(Value::as_object).map_or(0, Map::len);
        self.patterns += usize::from(keywords.contains_key("pattern")) + pattern_properties;
        if self.patterns > MOST_PATTERNS {
            return Err(format!("it has more than {MOST_PATTERNS} patterns"));
        }
        Ok(())
    }

    /// The schema that a reference means.
    fn target(&self, reference: &Value) -> Result<&'a Value, String> {
        let text = reference.as_str().ok_or_else(|| format!("its $ref is {reference}; it must be text"))?;
        let pointer = text.strip_prefix('#').ok_or_else(|| {
            format!("it refers to {text:?}, which is outside; put that schema into $defs, nothing is fetched")
        })?;
        if pointer.contains('%') {
            return Err(format!("its reference {text:?} is percent-encoded; use names that need no encoding"));
        }
        self.root.pointer(pointer).ok_or_else(|| format!("it refers to {text:?}, which it does not have"))
    }
}

/// Schemas in `keywords` for the same value.
fn same_value(keywords: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    let one = SAME_ONE.iter().filter_map(|keyword| keywords.get(*keyword));
    let lists = SAME_LIST.iter().filter_map(|keyword| keywords.get(*keyword)?.as_array()).flatten();
    let dependent = keywords.get("dependentSchemas").and_then(Value::as_object);
    one.chain(lists).chain(dependent.into_iter().flat_map(|map| map.values()))
}

/// Schemas in `keywords` for parts of the value, and those that only references use.
fn parts(keywords: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    let one = PART_ONE.iter().filter_map(|keyword| keywords.get(*keyword));
    let list = keywords.get("prefixItems").and_then(Value::as_array).into_iter().flatten();
    let maps = PART_MAP.iter().chain(&STORES).filter_map(|keyword| keywords.get(*keyword)?.as_object());
    one.chain(list).chain(maps.flat_map(|map| map.values()))
}
