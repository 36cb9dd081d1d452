//! Resources from a directory: every `*.yaml`, `*.yml` and `*.json` in it. Either all of them are read or there is
//! an error that lists what is wrong: a file that can't be read must not look as if its pools had been deleted.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ruleward_core::facts::Resource;
use serde_json::Value;
use thiserror::Error;

use super::collector::{Origin, ResourceCollector};
use super::directory::{self, read_files};
use super::yaml;
use ruleward_files::regular;

/// Most problems that are kept; further ones are only counted.
const KEPT: usize = 50;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Problem {
    /// A file or directory could not be read.
    #[error("{}: {reason}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What happened and what to do.
        reason: String,
    },
    /// What is written is not a resource.
    #[error("{origin}: {reason}")]
    Invalid {
        /// Where.
        origin: Origin,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// The same resource twice.
    #[error("{kind} {name:?} is there twice: {first}, and {second}; remove one of them")]
    Twice {
        /// The kind.
        kind: String,
        /// The name, after the namespace if there is one.
        name: String,
        /// Where it was found first.
        first: Origin,
        /// Where else.
        second: Origin,
    },
}

/// Everything that is wrong with the resources.
#[derive(Debug, Clone, Default, PartialEq, Eq, Error)]
pub struct ResourcesError {
    /// The first fifty, in the order of the files.
    pub problems: Vec<Problem>,
    /// How many more there are.
    pub more: usize,
}

impl ResourcesError {
    pub(super) fn add(&mut self, problem: Problem) {
        if self.problems.len() < KEPT {
            self.problems.push(problem);
        } else {
            self.more += 1;
        }
    }
}

impl From<Problem> for ResourcesError {
    fn from(problem: Problem) -> Self {
        Self { problems: vec![problem], more: 0 }
    }
}

impl fmt::Display for ResourcesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let line_break = if index == 0 { "" } else { "\n" };
            write!(f, "{line_break}{problem}")?;
        }
        match self.more {
            0 => Ok(()),
            more => write!(f, "\n... and {more} more"),
        }
    }
}

/// Resources, and what an operator should know about them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResourceSet {
    /// Sorted by kind, namespace and name.
    pub resources: Vec<Resource>,
    /// Remarks, such as a directory that does not exist.
    pub notes: Vec<String>,
}

/// Reads the resources in `directory` and the directories in it. A directory that does not exist holds none.
///
/// # Errors
/// [`ResourcesError`] lists everything that can't be read or is wrong; nothing of the rest is used then.
pub fn read_resources(directory: &Path) -> Result<ResourceSet, ResourcesError> {
    let Some(files) = read_files(directory)? else {
        let note = format!("{}: does not exist, so there are no resources", directory.display());
        return Ok(ResourceSet { resources: Vec::new(), notes: vec![note] });
    };
    let mut resources = ResourceCollector::default();
    for (path, bytes) in files {
        read_file(&path, &bytes, &mut resources);
    }
    Ok(ResourceSet { resources: resources.finish()?, notes: Vec::new() })
}

/// Reads the resources in one file.
///
/// # Errors
/// As [`read_resources`].
pub fn read_resource_file(path: &Path) -> Result<ResourceSet, ResourcesError> {
    let bytes = regular::read(path, directory::MAX_TOTAL_SIZE)
        .map_err(|error| Problem::Unreadable { path: path.to_owned(), reason: error.to_string() })?;
    let mut resources = ResourceCollector::default();
    read_file(path, &bytes, &mut resources);
    Ok(ResourceSet { resources: resources.finish()?, notes: Vec::new() })
}

/// Reads the resources in a file that holds these bytes.
#[cfg(feature = "fuzz")]
pub(super) fn from_bytes(path: &Path, bytes: &[u8]) {
    let mut resources = ResourceCollector::default();
    read_file(path, bytes, &mut resources);
    let _ = resources.finish();
}

fn read_file(path: &Path, bytes: &[u8], resources: &mut ResourceCollector) {
    let unreadable = |reason: String| Problem::Unreadable { path: path.to_owned(), reason };
    if bytes.is_empty() {
        // An editor may be about to write it.
        return resources.problem(unreadable("is empty; remove it, or leave a comment in it".to_owned()));
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let line = 1 + line_breaks(&bytes[..error.valid_up_to()]);
            let reason = format!("is not UTF-8: line {line} holds other bytes; save the file as UTF-8");
            return resources.problem(unreadable(reason));
        }
    };
    let source = Arc::from(path.display().to_string());
    if path.extension().is_some_and(|extension| extension == "json") {
        read_json(text, &source, resources);
    } else {
        read_yaml(text, &source, resources);
    }
}

fn read_yaml(text: &str, source: &Arc<str>, resources: &mut ResourceCollector) {
    let origin = |line| Origin { source: Arc::clone(source), line, item: None };
    match yaml::read(text) {
        Ok(documents) => {
            for document in documents {
                resources.add(document.value, origin(document.line));
            }
        }
        Err(error) => {
            resources.problem(Problem::Invalid { origin: origin(error.line), reason: error.reason });
        }
    }
}

/// One JSON value, or several after one another.
fn read_json(text: &str, source: &Arc<str>, resources: &mut ResourceCollector) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let (mut counted, mut line) = (0, 1);
    loop {
        let rest = &text[values.byte_offset()..];
        let start = text.len() - rest.trim_start().len();
        line += line_breaks(&text.as_bytes()[counted..start]);
        counted = start;
        let origin = |line| Origin { source: Arc::clone(source), line, item: None };
        match values.next() {
            Some(Ok(value)) => resources.add(value, origin(line)),
            Some(Err(error)) => {
                let reason = format!("not valid JSON: {error}");
                return resources.problem(Problem::Invalid { origin: origin(error.line().max(1)), reason });
            }
            None => return,
        }
    }
}

fn line_breaks(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}
