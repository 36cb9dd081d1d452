//! Where something stands in the files of a configuration: for messages about a policy's settings, which a policy and the
//! kernel's tools know only as JSON or as words. Read when there is something to say, and never kept: a file that was
//! changed meanwhile is searched as it is now.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use ruleward_core::names::PolicyName;
use ruleward_core::quote;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use ruleward_reconcile::Locate;

use super::files;
use super::problem::{ConfigError, Place, Source};

/// The files as they are now, and whose settings are asked about.
#[derive(Debug)]
pub struct Written {
    sources: Vec<Source>,
    policy: String,
}

impl Written {
    /// For the settings of `policy` in the configuration in `file`.
    pub fn read(file: &Path, policy: &PolicyName) -> Self {
        Self { sources: files::read_all(file, &mut ConfigError::default()), policy: policy.to_string() }
    }

    /// Where a JSON pointer into the settings leads. A place that does not exist is that of what it would be in.
    pub fn setting(&self, pointer: &str) -> Option<Place> {
        self.find(|settings| {
            let mut found = settings;
            for step in pointer.split('/').skip(1) {
                let step = step.replace("~1", "/").replace("~0", "~");
                let next = match found.get_ref() {
                    DeValue::Table(table) => table.get(step.as_str()),
                    DeValue::Array(array) => step.parse::<usize>().ok().and_then(|at| array.get(at)),
                    _ => None,
                };
                let Some(next) = next else { break };
                found = next;
            }
            Some(found.span().start)
        })
    }

    /// Where a rule of iptables is written that has these words, if it is written in the settings at all.
    pub fn rule(&self, text: &str) -> Option<Place> {
        let words: Vec<Cow<'_, str>> = quote::words(text).collect();
        if words.is_empty() { None } else { self.find(|settings| find_words(settings, &words)) }
    }

    fn find(&self, look: impl Fn(&Spanned<DeValue<'_>>) -> Option<usize>) -> Option<Place> {
        self.sources.iter().find_map(|source| {
            let table = DeTable::parse(&source.text).ok()?;
            let policies = table.get_ref().get("policies")?.get_ref().as_table()?;
            let settings = policies.get(self.policy.as_str())?.get_ref().as_table()?.get("settings")?;
            Some(source.place(look(settings)?))
        })
    }
}

/// The main file of a configuration, to be searched for the places of what is said about it.
#[derive(Debug)]
pub struct ConfigFile(pub PathBuf);

impl Locate for ConfigFile {
    fn setting(&self, policy: &PolicyName, pointer: &str) -> Option<String> {
        Written::read(&self.0, policy).setting(pointer).map(|place| place.to_string())
    }

    fn rule(&self, policy: &PolicyName, text: &str) -> Option<String> {
        Written::read(&self.0, policy).rule(text).map(|place| place.to_string())
    }
}

/// The first string with these words. Identity comments that were put in front of them do not count.
fn find_words(value: &Spanned<DeValue<'_>>, words: &[Cow<'_, str>]) -> Option<usize> {
    match value.get_ref() {
        DeValue::String(text) => {
            let own: Vec<Cow<'_, str>> = quote::words(text).collect();
            (!own.is_empty() && words.ends_with(&own)).then_some(value.span().start)
        }
        DeValue::Array(array) => array.iter().find_map(|value| find_words(value, words)),
        DeValue::Table(table) => table.iter().find_map(|(_, value)| find_words(value, words)),
        _ => None,
    }
}
