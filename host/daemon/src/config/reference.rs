//! The tables of `docs/configuration.md`: made from the table of keys ([`super::keys`]), and for policies from the
//! documentation of [`super::PolicyConfig`]: `` `key`: meaning. Default: `value`. ``

use std::fmt::Write;
use std::path::Path;

use ruleward_core::limit::Limit;
use ruleward_core::settle::Bounds;

use super::keys::KEYS;
use super::limits::shown;
use super::{Config, Source, policy};
use crate::generated::{assert_current, documentation, with_part};

/// A key of a policy.
struct PolicyKey {
    name: String,
    meaning: String,
    default: String,
}

/// The fields of [`super::PolicyConfig`], by their documentation.
fn keys_of_a_policy() -> Vec<PolicyKey> {
    let source = include_str!("mod.rs");
    let (_, body) = source.split_once("pub struct PolicyConfig {\n").unwrap();
    let (body, _) = body.split_once("\n}\n").unwrap();
    let mut documentation = String::new();
    let mut keys = Vec::new();
    for line in body.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("/// ") {
            documentation.push_str(text);
            documentation.push(' ');
            continue;
        }
        let text = std::mem::take(&mut documentation);
        if !text.starts_with('`') {
            continue; // it is no key
        }
        let (name, rest) = text.split_once(": ").unwrap();
        let (meaning, default) = rest.rsplit_once(" Default: ").unwrap_or_else(|| panic!("{name} has no default"));
        keys.push(PolicyKey {
            name: name.trim_matches('`').to_owned(),
            meaning: meaning.trim_end_matches('.').to_owned(),
            default: default.trim().trim_end_matches('.').to_owned(),
        });
    }
    keys.sort_by(|one, other| one.name.cmp(&other.name));
    keys
}

fn keys() -> String {
    let mut text = "| key | default | bounds | a change counts | meaning |\n|---|---|---|---|---|\n".to_owned();
    for key in KEYS {
        let meaning = key.meaning.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
        let bounds = (key.bounds)().map(|[least, most]| format!("`{least}` to `{most}`")).unwrap_or_default();
        let when = if key.waits { "at the next start" } else { "at once" };
        let (name, default) = (key.name, (key.default)());
        let _ = writeln!(text, "| `{name}` | {default} | {bounds} | {when} | {} |", meaning.trim_end_matches('.'));
    }
    text
}

fn policy_keys() -> String {
    let mut text = "| key | default | meaning |\n|---|---|---|\n".to_owned();
    for PolicyKey { name, meaning, default } in keys_of_a_policy() {
        let _ = writeln!(text, "| `{name}` | {default} | {meaning} |");
    }
    text
}

fn limits() -> String {
    let schema = serde_json::to_value(schemars::schema_for!(Limit)).unwrap();
    let mut text = "| key | default | bounds | of what |\n|---|---|---|---|\n".to_owned();
    for limit in Limit::ALL {
        let variant = schema["oneOf"].as_array().unwrap().iter().find(|one| one["const"] == limit.key()).unwrap();
        let meaning = variant["description"].as_str().unwrap().replace('\n', " ");
        let meaning = meaning.trim_end_matches('.').replace("[`Limit::Output`]", "`output`");
        let (least, most) = limit.bounds();
        let [default, least, most] = [limit.default_amount(), least, most].map(|amount| shown(limit, amount));
        let most = if limit == Limit::Fuel { "2⁶³ - 1".to_owned() } else { format!("`{most}`") };
        let _ = writeln!(text, "| `{limit}` | `{default}` | `{least}` to {most} | {meaning} |");
    }
    text
}

fn parse(text: &str) -> Option<Config> {
    let file = Path::new("/etc/ruleward/ruleward.toml");
    let config = Config::parse(file, &[Source { file: file.to_owned(), text: text.to_owned() }]);
    config.ok()
}

/// With a value that is written as it is, or as a text.
fn with(key: &str, value: &str) -> Option<Config> {
    parse(&format!("{key} = {value}\n")).or_else(|| parse(&format!("{key} = \"{value}\"\n")))
}

#[test]
fn the_default_that_is_told_counts_and_the_bounds_are_the_last_that_are_allowed() {
    assert!(KEYS.is_sorted_by_key(|key| key.name));
    let none = parse("").unwrap();
    for key in KEYS {
        let (name, default, bounds) = (key.name, (key.default)(), (key.bounds)());
        if let Some(value) = default.strip_prefix('`').and_then(|value| value.strip_suffix('`')) {
            let config = with(name, value).unwrap_or_else(|| panic!("{name} can't be {value}"));
            assert_eq!(config, none, "the default of {name} is another one than {value}");
        }
        for bound in bounds.iter().flatten() {
            assert!(with(name, bound).is_some(), "{name} can't be {bound}");
        }
        if let Some([least, most]) = bounds {
            let beyond = |text: &str, by: &str| text.replacen(|c: char| c.is_ascii_digit(), by, 1);
            let (below, above) = (beyond(&least, "0"), beyond(&most, "99"));
            assert!(with(name, &above).is_none(), "{name} can be {above}, above {most}");
            // A number that begins with a zero has no smaller one that is made like this.
            assert!(below == least || with(name, &below).is_none(), "{name} can be {below}, below {least}");
        }
    }
    let waits = Bounds { single: none.repair_wait, mass: none.repair_wait_mass };
    assert_eq!(waits, Bounds::default());
    let names: Vec<String> = keys_of_a_policy().into_iter().map(|key| key.name).collect();
    assert_eq!(names, policy::KEYS);
}

#[test]
fn the_reference_is_current() {
    let text = std::fs::read_to_string(documentation("configuration.md")).unwrap();
    let text = with_part(&text, "keys", &keys());
    let text = with_part(&text, "keys of a policy", &policy_keys());
    let text = with_part(&text, "limits", &limits());
    assert_current("configuration.md", &text);
}
