//! Collects Kubernetes-shaped resources, wherever they come from: files now, an API later. Each source hands over
//! JSON values with their origin; what a policy sees is the same. Lists are taken apart, every resource must have
//! `apiVersion`, `kind` and `metadata.name`, and none may be there twice.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use ruleward_core::facts::Resource;
use serde_json::{Map, Value};

use super::resources::{Problem, ResourcesError};

/// Where a resource came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The file.
    pub source: Arc<str>,
    /// The line on which it begins, or on which something is wrong with it, counted from 1.
    pub line: usize,
    /// Its place among the items of a list, counted from 0.
    pub item: Option<usize>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, line {}", self.source, self.line)?;
        self.item.map_or(Ok(()), |item| write!(f, ", items[{item}]"))
    }
}

/// Kind, namespace, name and API group: what tells resources apart. Kubernetes and Calico both have a Node of each name.
type Identity = (String, Option<String>, String, String);

/// The resources found so far.
#[derive(Debug, Default)]
pub struct ResourceCollector {
    found: BTreeMap<Identity, (Resource, Origin)>,
    problems: ResourcesError,
}

impl ResourceCollector {
    /// Takes a resource, or a list of them.
    pub fn add(&mut self, value: Value, origin: Origin) {
        let mut object = match value {
            Value::Object(object) => object,
            other => {
                let reason = format!("is {}, not a resource with apiVersion, kind and metadata", describe(&other));
                return self.refuse(origin, reason);
            }
        };
        let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
        if kind == "List" && !object.contains_key("items") {
            return self.refuse(origin, "is a List without items; add them, or items: [] for none".to_owned());
        }
        if origin.item.is_some() && kind == "List" {
            return self.refuse(origin, "is a List inside a List; write all items into one".to_owned());
        }
        if origin.item.is_some() || !kind.ends_with("List") || !object.contains_key("items") {
            return self.add_one(object, origin);
        }
        let item_kind = kind.strip_suffix("List").filter(|kind| !kind.is_empty()).map(Value::from);
        match object.remove("items") {
            Some(Value::Array(items)) => {
                let api_version = object.remove("apiVersion").filter(|_| item_kind.is_some());
                for (index, item) in items.into_iter().enumerate() {
                    let origin = Origin { item: Some(index), ..origin.clone() };
                    self.add(inherit(item, item_kind.as_ref(), api_version.as_ref()), origin);
                }
            }
            // What an empty list is when it has been through Go.
            Some(Value::Null) | None => {}
            Some(other) => self.refuse(origin, format!("items is {}; expected a list", describe(&other))),
        }
    }

    /// Notes that something could not be read or understood.
    pub fn problem(&mut self, problem: Problem) {
        self.problems.add(problem);
    }

    /// All resources, sorted by kind, namespace and name.
    ///
    /// # Errors
    /// [`ResourcesError`] lists everything that is wrong; there are no resources then.
    pub fn finish(self) -> Result<Vec<Resource>, ResourcesError> {
        if self.problems.problems.is_empty() {
            Ok(self.found.into_values().map(|(resource, _)| resource).collect())
        } else {
            Err(self.problems)
        }
    }

    fn refuse(&mut self, origin: Origin, reason: String) {
        self.problems.add(Problem::Invalid { origin, reason });
    }

    fn add_one(&mut self, object: Map<String, Value>, origin: Origin) {
        let (resource, origin) = match resource(object) {
            Ok(resource) => (resource, origin),
            Err(reason) => return self.refuse(origin, reason),
        };
        let group = resource.api_version.split_once('/').map_or("", |(group, _)| group).to_owned();
        let identity = (resource.kind.clone(), resource.namespace.clone(), resource.name.clone(), group);
        if let Some((_, first)) = self.found.get(&identity) {
            let (kind, namespace, name, _) = identity;
            let name = namespace.map_or(name.clone(), |namespace| format!("{namespace}/{name}"));
            return self.problems.add(Problem::Twice { kind, name, first: first.clone(), second: origin });
        }
        self.found.insert(identity, (resource, origin));
    }
}

/// Items of a typed list may leave out what the list says.
fn inherit(mut item: Value, kind: Option<&Value>, api_version: Option<&Value>) -> Value {
    if let Value::Object(object) = &mut item {
        for (key, value) in [("kind", kind), ("apiVersion", api_version)] {
            if let Some(value) = value
                && !object.contains_key(key)
            {
                object.insert(key.to_owned(), value.clone());
            }
        }
    }
    item
}

fn resource(object: Map<String, Value>) -> Result<Resource, String> {
    let api_version = text(object.get("apiVersion"), "apiVersion", "projectcalico.org/v3")?.to_owned();
    let kind = text(object.get("kind"), "kind", "IPPool")?.to_owned();
    let metadata = match object.get("metadata") {
        Some(Value::Object(metadata)) => metadata,
        Some(other) => return Err(format!("metadata is {}; expected a mapping with a name", describe(other))),
        None => return Err("has no metadata; add it with a name in it".to_owned()),
    };
    let name = text(metadata.get("name"), "metadata.name", "default-ipv4-ippool")?.to_owned();
    let namespace = match metadata.get("namespace") {
        None | Some(Value::Null) => None,
        Some(Value::String(namespace)) if namespace.is_empty() => None,
        value => Some(text(value, "metadata.namespace", "kube-system")?.to_owned()),
    };
    let mut value = Value::Object(object);
    value.sort_all_objects();
    Ok(Resource { kind, namespace, name, api_version, json: value.to_string() })
}

fn text<'v>(value: Option<&'v Value>, key: &str, example: &str) -> Result<&'v str, String> {
    match value {
        Some(Value::String(text)) if !text.is_empty() => Ok(text),
        Some(Value::String(_)) => Err(format!("{key} is empty; expected a string such as {example:?}")),
        Some(other) => Err(format!("{key} is {}; put it in quotes", describe(other))),
        None => Err(format!("has no {key}; add it, for example {key}: {example}")),
    }
}

fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(boolean) => format!("the boolean {boolean}"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(_) => "a string".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
    }
}
