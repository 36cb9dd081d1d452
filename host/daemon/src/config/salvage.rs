//! What of a wrong configuration makes sense by itself: for `cleanup`, which has to know who may own what and needs
//! nothing else to be right.

use std::path::Path;

use toml::{Table, Value};

use super::problem::{ConfigError, Source};
use super::{Config, files};

impl Config {
    /// The configuration in `file` without the keys and policies that are wrong. Of a policy that is wrong its grants
    /// count, if they are right. None: nothing in any file makes sense.
    pub fn salvaged(file: &Path) -> Option<Self> {
        let file = std::path::absolute(file).ok()?;
        let sources = files::read_all(&file, &mut ConfigError::default());
        let tables: Vec<Table> = sources.iter().filter_map(|source| toml::from_str(&source.text).ok()).collect();
        if tables.is_empty() {
            return None;
        }
        let mut sound = Table::new();
        for (key, value) in tables.into_iter().flatten() {
            let Value::Table(policies) = &value else {
                add(&file, &mut sound, |table| drop(table.insert(key.clone(), value.clone())));
                continue;
            };
            if key != "policies" {
                add(&file, &mut sound, |table| drop(table.insert(key.clone(), value.clone())));
                continue;
            }
            for (name, policy) in policies {
                let whole = add(&file, &mut sound, |table| put(table, name, policy.clone()));
                if let Some(grants) = policy.get("grants").filter(|_| !whole) {
                    let only = Value::Table([("grants".to_owned(), grants.clone())].into_iter().collect());
                    add(&file, &mut sound, |table| put(table, name, only.clone()));
                }
            }
        }
        parse(&file, &sound)
    }
}

fn put(table: &mut Table, name: &str, policy: Value) {
    let policies = table.entry("policies").or_insert_with(|| Value::Table(Table::new()));
    if let Value::Table(policies) = policies {
        policies.insert(name.to_owned(), policy);
    }
}

/// Whether what `change` makes of `sound` is right; else `sound` stays as it is.
fn add(file: &Path, sound: &mut Table, change: impl FnOnce(&mut Table)) -> bool {
    let mut changed = sound.clone();
    change(&mut changed);
    let right = parse(file, &changed).is_some();
    if right {
        *sound = changed;
    }
    right
}

fn parse(file: &Path, table: &Table) -> Option<Config> {
    let line = |(key, value): (&String, &Value)| Some(format!("{} = {}\n", quoted(key)?, written(value)?));
    let text: String = table.iter().map(line).collect::<Option<_>>()?;
    Config::parse(file, &[Source { file: file.to_owned(), text }]).ok()
}

/// A value on one line.
fn written(value: &Value) -> Option<String> {
    Some(match value {
        Value::String(text) => quoted(text)?,
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => format!("{number:?}"),
        Value::Boolean(truth) => truth.to_string(),
        Value::Datetime(time) => time.to_string(),
        Value::Array(values) => format!("[{}]", values.iter().map(written).collect::<Option<Vec<_>>>()?.join(", ")),
        Value::Table(table) => {
            let entry = |(key, value): (&String, &Value)| Some(format!("{} = {}", quoted(key)?, written(value)?));
            format!("{{ {} }}", table.iter().map(entry).collect::<Option<Vec<_>>>()?.join(", "))
        }
    })
}

/// As JSON has it, which TOML reads as well.
fn quoted(text: &str) -> Option<String> {
    serde_json::to_string(text).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_makes_sense_of_a_wrong_configuration_counts() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ruleward.toml");
        assert!(Config::salvaged(&file).is_none(), "there is no file");
        fs::write(&file, "[policies\n").unwrap();
        assert!(Config::salvaged(&file).is_none(), "nothing of it is TOML");
        fs::create_dir(folder.path().join("conf.d")).unwrap();
        let more = "state-directory = \"/s\"\nrefresh-intervall = \"7s\"\nlog = \"loud\"\n\
                    [policies.good.grants]\ntables = [\"nat\"]\nchains = [\"g-*\"]\n\
                    [policies.typing-error]\nlimit = 7\n\
                    [policies.typing-error.grants]\ntables = [\"nat\"]\nchains = [\"t-*\"]\n\
                    [policies.hopeless.grants]\ntables = [\"nut\"]\n";
        fs::write(folder.path().join("conf.d/more.toml"), more).unwrap();
        Config::load(&file).unwrap_err();
        let config = Config::salvaged(&file).unwrap();
        assert_eq!(config.state_directory, Path::new("/s"));
        let names: Vec<_> = config.policies.keys().map(|name| name.as_str()).collect();
        assert_eq!(names, ["good", "typing-error"]);
        assert!(config.policies.values().all(|policy| policy.grants.chains.len() == 1));
    }
}
