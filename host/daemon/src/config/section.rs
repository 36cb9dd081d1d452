//! A TOML table with typed access to its keys. Keys that nobody knows are reported when the section is opened, wrong
//! types and values when a key is read; reading then yields `None`, so that one pass finds every problem.

use std::collections::BTreeMap;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{ConfigError, Place, Problem, Source};
use ruleward_core::quantity::{format_duration, format_size, parse_duration, parse_size};

/// A value with its key and the file that it is from.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    pub source: &'a Source,
    pub value: &'a DeValue<'a>,
    /// Byte offset of the key.
    pub offset: usize,
}

impl<'a> Entry<'a> {
    pub fn place(&self) -> Place {
        self.source.place(self.offset)
    }

    /// A member of this array.
    pub fn element(&self, value: &'a Spanned<DeValue<'a>>) -> Self {
        Self { source: self.source, value: value.get_ref(), offset: value.span().start }
    }
}

/// The entries of a table.
pub(super) fn entries<'a>(
    source: &'a Source,
    table: &'a DeTable<'a>,
) -> impl Iterator<Item = (&'a str, Entry<'a>)> + use<'a> {
    table.iter().map(move |(key, value)| {
        (key.get_ref().as_ref(), Entry { source, value: value.get_ref(), offset: key.span().start })
    })
}

/// A table whose keys are known.
pub(super) struct Section<'a, 'p> {
    /// The path of the table with a trailing dot; empty at the top.
    path: String,
    entries: BTreeMap<&'a str, Entry<'a>>,
    pub problems: &'p mut ConfigError,
}

impl<'a, 'p> Section<'a, 'p> {
    /// A table at `path` of which only `known` keys are allowed.
    pub fn open(
        path: String,
        entries: impl Iterator<Item = (&'a str, Entry<'a>)>,
        known: &[&str],
        problems: &'p mut ConfigError,
    ) -> Self {
        let mut kept = BTreeMap::new();
        let mut unknown = Vec::new();
        for (key, entry) in entries {
            if known.contains(&key) {
                kept.insert(key, entry);
            } else {
                unknown.push((entry.offset, key, entry));
            }
        }
        unknown.sort_by_key(|(offset, ..)| *offset);
        for (_, key, entry) in unknown {
            problems.add(|| Problem::UnknownKey {
                key: format!("{path}{}", quote_key(key)),
                place: entry.place(),
                hint: hint(&path, key, known),
            });
        }
        Self { path, entries: kept, problems }
    }

    /// The whole path of a key of this table.
    pub fn path_of(&self, key: &str) -> String {
        format!("{}{}", self.path, quote_key(key))
    }

    /// The entry of a key.
    pub fn get(&self, key: &str) -> Option<Entry<'a>> {
        self.entries.get(key).copied()
    }

    /// Reports a value of the wrong type.
    pub fn wrong_type(&mut self, key: String, entry: Entry<'_>, expected: impl Into<String>) {
        let found = describe(entry.value);
        self.problems.add(|| Problem::WrongType { key, place: entry.place(), expected: expected.into(), found });
    }

    /// Reports a value that the key can't have.
    pub fn bad_value(&mut self, key: String, entry: Entry<'_>, reason: impl Into<String>) {
        self.problems.add(|| Problem::BadValue { key, place: entry.place(), reason: reason.into() });
    }

    /// A string.
    pub fn text(&mut self, key: &str, expected: &str) -> Option<(&'a str, Entry<'a>)> {
        let entry = self.get(key)?;
        if let Some(text) = entry.value.as_str() {
            return Some((text, entry));
        }
        self.wrong_type(self.path_of(key), entry, expected);
        None
    }

    /// One of a few words.
    pub fn choice<T: Copy>(&mut self, key: &str, choices: &[(&str, T)]) -> Option<T> {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let expected = one_of(&words);
        let (text, entry) = self.text(key, &expected)?;
        let found = choices.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            self.wrong_type(self.path_of(key), entry, expected);
        }
        found
    }

    /// A duration between two bounds.
    pub fn duration(&mut self, key: &str, example: &str, least: Duration, most: Duration) -> Option<Duration> {
        let expected = format!("a duration such as {example:?}");
        let (text, entry) = self.text(key, &expected)?;
        let path = self.path_of(key);
        let Some(duration) = parse_duration(text) else {
            self.wrong_type(path, entry, format!("{expected} (a number and ms, s, m, h or d; several are added up)"));
            return None;
        };
        if duration < least || duration > most {
            let (least, most) = (format_duration(least), format_duration(most));
            self.bad_value(path, entry, format!("{text:?} is out of bounds; use \"{least}\" to \"{most}\""));
            return None;
        }
        Some(duration)
    }

    /// A number of bytes between two bounds.
    pub fn size(&mut self, key: &str, example: &str, least: u64, most: u64) -> Option<u64> {
        let expected = format!("a size such as {example:?}");
        let entry = self.get(key)?;
        let path = self.path_of(key);
        let size = match entry.value {
            DeValue::String(text) => parse_size(text),
            DeValue::Integer(_) => integer(entry.value).and_then(|number| u64::try_from(number).ok()),
            _ => {
                self.wrong_type(path, entry, expected);
                return None;
            }
        };
        let Some(size) = size else {
            self.wrong_type(
                path,
                entry,
                format!("{expected} (a number and KiB, MiB or GiB, kB, MB or GB, or plain bytes)"),
            );
            return None;
        };
        if size < least || size > most {
            let (least, most) = (format_size(least), format_size(most));
            let found = entry.value.as_str().map_or_else(|| size.to_string(), |text| format!("{text:?}"));
            self.bad_value(path, entry, format!("{found} is out of bounds; use {least:?} to {most:?}"));
            return None;
        }
        Some(size)
    }

    /// A whole number between two bounds.
    pub fn number(&mut self, key: &str, least: u64, most: u64) -> Option<u64> {
        let entry = self.get(key)?;
        let path = self.path_of(key);
        let Some(number) = integer(entry.value) else {
            self.wrong_type(path, entry, format!("a whole number from {least} to {most}"));
            return None;
        };
        let fitting = u64::try_from(number).ok().filter(|number| (least..=most).contains(number));
        if fitting.is_none() {
            self.bad_value(path, entry, format!("{number} is out of bounds; use {least} to {most}"));
        }
        fitting
    }

    /// A list of strings with the place of each; members of other types are reported.
    pub fn texts(&mut self, key: &str, expected: &str) -> Vec<(String, &'a str, Entry<'a>)> {
        let Some(entry) = self.get(key) else { return Vec::new() };
        let path = self.path_of(key);
        let Some(array) = entry.value.as_array() else {
            self.wrong_type(path, entry, expected);
            return Vec::new();
        };
        let mut texts = Vec::new();
        for (index, value) in array.iter().enumerate() {
            let element = entry.element(value);
            match element.value.as_str() {
                Some(text) => texts.push((format!("{path}[{index}]"), text, element)),
                None => self.wrong_type(format!("{path}[{index}]"), element, "a string"),
            }
        }
        texts
    }

    /// A table under a key, opened with its own known keys.
    pub fn table<'s>(&'s mut self, key: &str, known: &[&str]) -> Option<Section<'a, 's>> {
        let entry = self.get(key)?;
        let path = self.path_of(key);
        let Some(table) = entry.value.as_table() else {
            self.wrong_type(path, entry, format!("a table with the keys {}", known.join(", ")));
            return None;
        };
        Some(Section::open(format!("{path}."), entries(entry.source, table), known, self.problems))
    }
}

/// The value of a TOML integer.
pub(super) fn integer(value: &DeValue<'_>) -> Option<i64> {
    let integer = value.as_integer()?;
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// A value in a few words: `integer 90`, `string "abc"`.
pub(super) fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) if text.chars().count() > 60 => {
            format!("string {:?}...", text.chars().take(60).collect::<String>())
        }
        DeValue::String(text) => format!("string {text:?}"),
        DeValue::Integer(integer) => format!("integer {integer}"),
        DeValue::Float(float) => format!("float {float}"),
        DeValue::Boolean(boolean) => format!("boolean {boolean}"),
        DeValue::Datetime(datetime) => format!("date {datetime}"),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// `"a", "b" or "c"`
pub(super) fn one_of(words: &[&str]) -> String {
    match words.split_last() {
        Some((last, [])) => format!("{last:?}"),
        Some((last, rest)) => {
            let rest: Vec<String> = rest.iter().map(|word| format!("{word:?}")).collect();
            format!("{} or {last:?}", rest.join(", "))
        }
        None => String::new(),
    }
}

/// A key as it must be written in TOML.
pub(super) fn quote_key(key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if bare { key.to_owned() } else { format!("{key:?}") }
}

/// The known word nearest to `word`, if one is near enough to be meant.
pub(super) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    // Nobody types a misspelt word of this length, and comparing takes time in the square of it.
    if word.len() > 100 {
        return None;
    }
    let word = word.to_lowercase().replace('_', "-");
    let (distance, best) = known.iter().map(|known| (strsim::osa_distance(&word, known), *known)).min()?;
    (distance <= best.len().max(3) / 3).then_some(best)
}

fn hint(path: &str, key: &str, known: &[&str]) -> String {
    match nearest(key, known) {
        Some(near) => format!("did you mean `{path}{near}`?"),
        None => format!("known keys here: {}", known.join(", ")),
    }
}
