//! Forms of values: how a key of the table is read, and what the reference says of it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ruleward_core::quantity::{parse_duration, parse_size};

use super::section::Section;

/// How the value of a key is written.
#[cfg_attr(not(test), allow(dead_code, reason = "the reference is made by a test"))]
pub(super) trait Form {
    /// What it becomes.
    type Value;

    /// The value, or the default if the key is not there or wrong. Relative paths count from `folder`.
    fn read(&self, top: &mut Section<'_, '_>, key: &str, folder: &Path) -> Self::Value;

    /// What counts if the key is not there, in Markdown.
    fn default(&self) -> String;

    /// The least and the most that is allowed, as it is written.
    fn bounds(&self) -> Option<[String; 2]> {
        None
    }
}

/// A value with a unit, between two bounds.
pub(super) struct Measure<T> {
    default: &'static str,
    bounds: [&'static str; 2],
    parse: fn(&str) -> Option<T>,
    read: ReadMeasure<T>,
}

/// Reads a key: with an example, the least and the most.
type ReadMeasure<T> = for<'a, 'p> fn(&mut Section<'a, 'p>, &str, &str, T, T) -> Option<T>;

/// A duration: the default, the least and the most.
pub(super) const fn span(default: &'static str, least: &'static str, most: &'static str) -> Measure<Duration> {
    let read: ReadMeasure<Duration> = |top, key, example, least, most| top.duration(key, example, least, most);
    Measure { default, bounds: [least, most], parse: parse_duration, read }
}

/// A number of bytes: the default, the least and the most.
pub(super) const fn size(default: &'static str, least: &'static str, most: &'static str) -> Measure<u64> {
    let read: ReadMeasure<u64> = |top, key, example, least, most| top.size(key, example, least, most);
    Measure { default, bounds: [least, most], parse: parse_size, read }
}

impl<T: Default> Form for Measure<T> {
    type Value = T;

    fn read(&self, top: &mut Section<'_, '_>, key: &str, _: &Path) -> T {
        // A test holds that each of the three can be parsed.
        let parse = |text| (self.parse)(text).unwrap_or_default();
        let [least, most] = self.bounds.map(parse);
        (self.read)(top, key, self.default, least, most).unwrap_or_else(|| parse(self.default))
    }

    fn default(&self) -> String {
        code(self.default)
    }

    fn bounds(&self) -> Option<[String; 2]> {
        Some(self.bounds.map(str::to_owned))
    }
}

/// A whole number: the default, the least and the most.
pub(super) struct Count(pub u32, pub u32, pub u32);

impl Form for Count {
    type Value = u32;

    fn read(&self, top: &mut Section<'_, '_>, key: &str, _: &Path) -> u32 {
        let found = top.number(key, self.1.into(), self.2.into());
        found.and_then(|number| u32::try_from(number).ok()).unwrap_or(self.0)
    }

    fn default(&self) -> String {
        code(&self.0.to_string())
    }

    fn bounds(&self) -> Option<[String; 2]> {
        Some([self.1.to_string(), self.2.to_string()])
    }
}

/// A folder: the default.
pub(super) struct Folder(pub &'static str);

impl Form for Folder {
    type Value = PathBuf;

    fn read(&self, top: &mut Section<'_, '_>, key: &str, folder: &Path) -> PathBuf {
        let expected = format!("a path such as {:?}", self.0);
        let Some((text, entry)) = top.text(key, &expected) else { return PathBuf::from(self.0) };
        if text.is_empty() || text.contains('\0') {
            top.wrong_type(key.to_owned(), entry, expected);
        }
        folder.join(text)
    }

    fn default(&self) -> String {
        code(self.0)
    }
}

/// One of these words: the default, and what each of them means.
pub(super) struct OneOf<T: 'static>(pub &'static str, pub &'static [(&'static str, T)]);

impl<T: Copy> Form for OneOf<T> {
    type Value = T;

    fn read(&self, top: &mut Section<'_, '_>, key: &str, _: &Path) -> T {
        let default = self.1.iter().find(|(word, _)| *word == self.0).unwrap_or(&self.1[0]);
        top.choice(key, self.1).unwrap_or(default.1)
    }

    fn default(&self) -> String {
        code(self.0)
    }
}

/// One that is like no other: its default in Markdown, and what reads it.
#[cfg_attr(not(test), allow(dead_code, reason = "the reference is made by a test"))]
pub(super) struct Special<T>(pub &'static str, pub fn(&mut Section<'_, '_>, &str) -> T);

impl<T> Form for Special<T> {
    type Value = T;

    fn read(&self, top: &mut Section<'_, '_>, key: &str, _: &Path) -> T {
        (self.1)(top, key)
    }

    fn default(&self) -> String {
        self.0.to_owned()
    }
}

#[cfg_attr(not(test), allow(dead_code, reason = "the reference is made by a test"))]
fn code(text: &str) -> String {
    format!("`{text}`")
}
