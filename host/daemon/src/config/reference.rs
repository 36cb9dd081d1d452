//! The tables of `docs/configuration.md`, made from the documentation of [`super::Config`] and its parts: `` `key`: meaning.
//! Default: `value`. `` Every key must have it, the default that it tells must be the one that counts, and the bounds
//! must be allowed.

use std::fmt::Write;
use std::path::Path;

use ruleward_core::limit::Limit;

use super::limits::shown;
use super::{Config, Source, decode, policy};
use crate::generated::{assert_current, documentation, with_part};

struct Key {
    name: String,
    meaning: String,
    default: String,
}

impl Key {
    /// The default as a value, if it is one.
    fn default_value(&self) -> Option<&str> {
        let value = self.default.strip_prefix('`')?.strip_suffix('`')?;
        (!value.contains('`')).then_some(value)
    }

    /// `` `1s` to `1h` `` in the meaning.
    fn bounds(&self) -> Option<[&str; 2]> {
        let at = self.meaning.find("` to `")?;
        let bounds = [self.meaning[..at].rsplit('`').next()?, self.meaning[at + 6..].split('`').next()?];
        bounds.iter().all(|bound| bound.starts_with(|c: char| c.is_ascii_digit())).then_some(bounds)
    }
}

/// The fields of a struct in this module, by their documentation.
fn keys(of: &str) -> Vec<Key> {
    let source = include_str!("mod.rs");
    let (_, body) = source.split_once(&format!("pub struct {of} {{\n")).unwrap();
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
        keys.push(Key {
            name: name.trim_matches('`').to_owned(),
            meaning: meaning.trim_end_matches('.').to_owned(),
            default: default.trim().trim_end_matches('.').to_owned(),
        });
    }
    keys.sort_by(|one, other| one.name.cmp(&other.name));
    keys
}

fn table(keys: &[Key]) -> String {
    let mut text = "| key | default | meaning |\n|---|---|---|\n".to_owned();
    for Key { name, meaning, default } in keys {
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
fn every_key_tells_the_default_that_counts_and_bounds_that_are_allowed() {
    let found = keys("Config");
    let names: Vec<&str> = found.iter().map(|key| key.name.as_str()).collect();
    assert_eq!(names, decode::KEYS);
    let none = parse("").unwrap();
    for key in &found {
        if let Some(value) = key.default_value() {
            let config = with(&key.name, value).unwrap_or_else(|| panic!("{} can't be {value}", key.name));
            assert_eq!(config, none, "the default of {} is another one than {value}", key.name);
        }
        for bound in key.bounds().into_iter().flatten() {
            assert!(with(&key.name, bound).is_some(), "{} can't be {bound}", key.name);
        }
        if let Some([least, most]) = key.bounds() {
            let beyond = |text: &str, by: &str| text.replacen(|c: char| c.is_ascii_digit(), by, 1);
            let (below, above) = (beyond(least, "0"), beyond(most, "99"));
            assert!(with(&key.name, &above).is_none(), "{} can be {above}, above {most}", key.name);
            // A number that begins with a zero has no smaller one that is made like this.
            assert!(below == least || with(&key.name, &below).is_none(), "{} can be {below}, below {least}", key.name);
        }
    }
    let names: Vec<String> = keys("PolicyConfig").into_iter().map(|key| key.name).collect();
    assert_eq!(names, policy::KEYS);
}

#[test]
fn the_reference_is_current() {
    let text = std::fs::read_to_string(documentation("configuration.md")).unwrap();
    let text = with_part(&text, "keys", &table(&keys("Config")));
    let text = with_part(&text, "keys of a policy", &table(&keys("PolicyConfig")));
    let text = with_part(&text, "limits", &limits());
    assert_current("configuration.md", &text);
}
