//! Records on disk: `history/POLICY/NUMBER.record` in the state directory. A record is written whole or not at all and
//! never changed; a damaged one is named and left out. Old ones go when there are too many or they take too much room,
//! first those that only other facts brought about; the newest of each policy and the newest that was put in force stay.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use ruleward_core::names::PolicyName;
use thiserror::Error;

use super::format::{self, FormatError, Parts};
use super::record::{Header, Outcome, Record, RecordName};
use ruleward_files::private_dir::{PrivateDir, PrivateError};

/// Ends the names of records.
const SUFFIX: &str = ".record";

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Records of each policy.
    pub records: usize,
    /// Bytes of all records and of the components that they name.
    pub bytes: u64,
}

/// Why records can't be had or kept.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The folder or the file can't be used.
    #[error(transparent)]
    Storage(#[from] PrivateError),
    /// The record is not what was written.
    #[error("{} {problem}", .path.display())]
    Format {
        /// Which.
        path: PathBuf,
        /// Why.
        problem: FormatError,
    },
    /// No such record.
    #[error("there is no record {0} here (any more); `ruleward policy history {policy}` lists those that are", policy = .0.policy)]
    Missing(RecordName),
    /// What can't be written as JSON.
    #[error("the record can't be written as JSON: {0}")]
    Unwritable(#[from] serde_json::Error),
}

/// The records of one policy.
#[derive(Debug, Default)]
pub struct Listing {
    /// Newest first.
    pub headers: Vec<Header>,
    /// What is wrong with others, one sentence each.
    pub damaged: Vec<String>,
}

/// The records of a node.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

/// A record's file, for deciding what goes.
struct File {
    name: RecordName,
    size: u64,
    /// None for a damaged one.
    header: Option<Header>,
    stays: bool,
}

impl Store {
    /// Of this state directory. Folders are made when something is kept.
    pub fn new(state_directory: &Path) -> Self {
        Self { root: state_directory.join("history") }
    }

    /// Policies of which there are records, by name.
    ///
    /// # Errors
    /// When the folder can't be read, or is not ours.
    pub fn policies(&self) -> Result<Vec<PolicyName>, StoreError> {
        if !exists(&self.root)? {
            return Ok(Vec::new());
        }
        let names = PrivateDir::open(&self.root)?.names()?;
        let mut policies: Vec<_> = names.iter().filter_map(|name| PolicyName::new(name.to_str()?).ok()).collect();
        policies.sort();
        Ok(policies)
    }

    /// The records of `policy`.
    ///
    /// # Errors
    /// When the folder can't be read, or is not ours. A single damaged record is no error.
    pub fn list(&self, policy: &PolicyName) -> Result<Listing, StoreError> {
        let Some((folder, numbers)) = self.numbers(policy)? else { return Ok(Listing::default()) };
        let mut listing = Listing::default();
        for number in numbers.into_iter().rev() {
            match self.header(&folder, number) {
                Ok(Some(header)) => listing.headers.push(header),
                Ok(None) => {} // gone meanwhile
                Err(error) => listing.damaged.push(error.to_string()),
            }
        }
        Ok(listing)
    }

    /// Whether there are records of `policy`.
    ///
    /// # Errors
    /// When the folder can't be read, or is not ours.
    pub fn holds_any(&self, policy: &PolicyName) -> Result<bool, StoreError> {
        Ok(self.numbers(policy)?.is_some_and(|(_, numbers)| !numbers.is_empty()))
    }

    /// One record, whole.
    ///
    /// # Errors
    /// When it is not there, or not what was written.
    pub fn read(&self, name: &RecordName) -> Result<Record, StoreError> {
        let missing = || StoreError::Missing(name.clone());
        let (folder, _) = self.numbers(&name.policy)?.ok_or_else(missing)?;
        let file = file_name(name.number);
        let path = folder.path().join(&file);
        let file = folder.file(&file)?.ok_or_else(missing)?;
        let portable = format::decode(file).map_err(|problem| StoreError::Format { path: path.clone(), problem })?;
        if portable.record.header.name() != *name {
            let problem = FormatError::Damaged(format!("it is the record {}", portable.record.header.name()));
            return Err(StoreError::Format { path, problem });
        }
        Ok(portable.record)
    }

    /// Writes a record under the next number of its policy, which it gets.
    ///
    /// # Errors
    /// When it can't be written. Nothing is half written.
    pub fn append(&self, header: &mut Header, parts: &Parts<'_>) -> Result<(), StoreError> {
        let newest = self.numbers(&header.policy)?.and_then(|(_, numbers)| numbers.last().copied());
        header.number = newest.unwrap_or_default() + 1;
        parts.describe(header);
        PrivateDir::open(&self.root)?;
        let folder = PrivateDir::open(&self.root.join(header.policy.as_str()))?;
        Ok(folder.replace_with(&file_name(header.number), |file| format::write(header, parts, None, file))?)
    }

    /// Removes what is over `bounds`. `components` are those that are kept, with their lengths: what no record names any
    /// more does not count. Answers what is over all the same, because what must stay is so large.
    ///
    /// # Errors
    /// When the folders can't be used.
    pub fn prune(&self, bounds: Bounds, components: &BTreeMap<String, u64>) -> Result<Option<String>, StoreError> {
        let mut files = Vec::new();
        for policy in self.policies()? {
            let mut own = self.files(&policy)?;
            while own.len() > bounds.records.max(1) {
                let Some(at) = superfluous(&own) else { break };
                self.remove(&own.remove(at).name)?;
            }
            files.extend(own);
        }
        let mut size = size(&files, components);
        while size > bounds.bytes {
            let Some(at) = oldest(&files) else {
                return Ok(Some(format!(
                    "the newest records and their components take {size} bytes, more than `history-size` allows"
                )));
            };
            self.remove(&files.remove(at).name)?;
            size = self::size(&files, components);
        }
        Ok(None)
    }

    /// Digests of all components that records name.
    ///
    /// # Errors
    /// When the folders can't be used.
    pub fn components(&self) -> Result<BTreeSet<String>, StoreError> {
        let mut named = BTreeSet::new();
        for policy in self.policies()? {
            named.extend(self.list(&policy)?.headers.into_iter().map(|header| header.component));
        }
        Ok(named)
    }

    /// Oldest first.
    fn files(&self, policy: &PolicyName) -> Result<Vec<File>, StoreError> {
        let Some((folder, numbers)) = self.numbers(policy)? else { return Ok(Vec::new()) };
        let file = |number: u64| {
            let size = folder.file(&file_name(number)).ok()??.metadata().ok()?.len();
            let header = self.header(&folder, number).ok().flatten();
            Some(File { name: RecordName { policy: policy.clone(), number }, size, header, stays: false })
        };
        let mut files: Vec<File> = numbers.into_iter().filter_map(file).collect();
        mark_those_that_stay(&mut files);
        Ok(files)
    }

    fn remove(&self, name: &RecordName) -> Result<(), StoreError> {
        let folder = PrivateDir::open(&self.root.join(name.policy.as_str()))?;
        Ok(folder.remove(&file_name(name.number))?)
    }

    fn header(&self, folder: &PrivateDir, number: u64) -> Result<Option<Header>, StoreError> {
        let name = file_name(number);
        let Some(file) = folder.file(&name)? else { return Ok(None) };
        let path = folder.path().join(&name);
        format::decode_header(file).map(Some).map_err(|problem| StoreError::Format { path, problem })
    }

    /// The policy's folder and the numbers of its records, ascending; none if there is no folder.
    fn numbers(&self, policy: &PolicyName) -> Result<Option<(PrivateDir, Vec<u64>)>, StoreError> {
        let path = self.root.join(policy.as_str());
        if !exists(&path)? {
            return Ok(None);
        }
        PrivateDir::open(&self.root)?;
        let folder = PrivateDir::open(&path)?;
        let number = |name: &OsString| name.to_str()?.strip_suffix(SUFFIX)?.parse().ok();
        let mut numbers: Vec<u64> = folder.names()?.iter().filter_map(number).collect();
        numbers.sort_unstable();
        Ok(Some((folder, numbers)))
    }
}

/// Whether there is anything; a look makes no folder.
fn exists(path: &Path) -> Result<bool, PrivateError> {
    path.try_exists().map_err(|source| PrivateError::Io { path: path.to_owned(), source })
}

fn file_name(number: u64) -> OsString {
    let mut name = OsString::from(format!("{number:010}"));
    name.push(OsStr::new(SUFFIX));
    name
}

/// Of records and what they name, in bytes.
fn size(files: &[File], components: &BTreeMap<String, u64>) -> u64 {
    let named = files.iter().filter_map(|file| Some(file.header.as_ref()?.component.as_str()));
    let named: BTreeSet<&str> = named.collect();
    files.iter().map(|file| file.size).sum::<u64>() + named.iter().filter_map(|name| components.get(*name)).sum::<u64>()
}

/// The newest of one policy's records, and the newest that was put in force, stay.
fn mark_those_that_stay(files: &mut [File]) {
    let in_force = |file: &File| file.header.as_ref().is_some_and(|header| header.outcome == Outcome::InForce);
    for at in files.iter().rposition(in_force).into_iter().chain(files.len().checked_sub(1)) {
        files[at].stays = true;
    }
}

/// Which of one policy's records, oldest first, is missed least: the oldest that only other facts brought about, else
/// the oldest.
fn superfluous(files: &[File]) -> Option<usize> {
    let by_facts = |at: &usize| {
        let header = |at: usize| files.get(at).and_then(|file| file.header.as_ref());
        let earlier = at.checked_sub(1).and_then(header);
        header(*at).zip(earlier).is_some_and(|(one, earlier)| one.same_version(earlier))
    };
    let mut free = (0..files.len()).filter(|at| !files[*at].stays);
    free.clone().find(by_facts).or_else(|| free.next())
}

/// The oldest record of all policies that may go; damaged ones first.
fn oldest(files: &[File]) -> Option<usize> {
    let free = files.iter().enumerate().filter(|(_, file)| !file.stays);
    free.min_by_key(|(_, file)| file.header.as_ref().map(|header| header.at.clone())).map(|(at, _)| at)
}
