//! The last good answer of each policy with the version that gave it, kept across restarts: a policy that fails then
//! keeps what it had, and one that has left the configuration meanwhile is still known by its grants. A file is written
//! whole or not at all, and carries the digest of its contents: a damaged one is an error to report, never a contribution
//! that nobody asked for.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use ruleward_core::contribution::Contribution;
use ruleward_core::facts::Facts;
use ruleward_core::grants::Grants;
use ruleward_core::limit::Limits;
use ruleward_core::names::PolicyName;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use ruleward_files::digest;
use ruleward_files::private_dir::{PrivateDir, PrivateError};
use ruleward_files::sealed::{self, Broken};

/// Of the file's format.
const VERSION: u32 = 2;
/// Largest file that is read, bytes: more than the largest contribution that the default limits allow.
const LARGEST: u64 = 256 << 20;

/// A policy's answer, and what it was an answer to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LastGood<S = String, C = Contribution> {
    /// Whose.
    pub policy: PolicyName,
    /// Of the component that gave it: `sha256:...`.
    pub digest: String,
    /// What the component called its version.
    pub version: String,
    /// The settings that it was given, as JSON.
    pub settings: S,
    /// What it was allowed to own and read.
    pub grants: Grants,
    /// What it was allowed to use.
    pub limits: Limits,
    /// Of the facts that it was given: see [`facts_digest`].
    pub facts: String,
    /// The answer.
    pub contribution: C,
    /// What the policy logged at the level `warn` or above when it gave it.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// Why there is no last good answer, or why it can't be kept.
#[derive(Debug, Error)]
pub enum LastGoodError {
    /// The folder or the file can't be used.
    #[error(transparent)]
    Storage(#[from] PrivateError),
    /// The file can't be read.
    #[error("{}: {source}", .path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not what was written.
    #[error("{} is damaged ({problem}); remove the file; the policy's next valid answer is saved again", .path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// How that is known.
        problem: String,
    },
    /// Written by another version of this program.
    #[error("{} has the format {found}, and this version reads {VERSION}; remove it, or use the version that wrote it", .path.display())]
    OtherVersion {
        /// Which.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// A contribution that can't be written as JSON.
    #[error("the last good answer can't be written as JSON: {0}")]
    Unwritable(#[from] serde_json::Error),
}

/// Keeps last good answers for the next start. Only one process at a time may store.
pub trait Records: Send + Sync {
    /// The policies of which there is one, whole or damaged.
    ///
    /// # Errors
    /// When that can't be read.
    fn policies(&self) -> Result<Vec<PolicyName>, LastGoodError>;

    /// That of `policy`; `None` when there has been none.
    ///
    /// # Errors
    /// When there is one that can't be used.
    fn load(&self, policy: &PolicyName) -> Result<Option<LastGood>, LastGoodError>;

    /// Keeps it in place of the policy's former one.
    ///
    /// # Errors
    /// When it can't be written; the former one is still there then.
    fn store(&self, answer: &LastGood<&str, &Contribution>) -> Result<(), LastGoodError>;

    /// Whether there is one of `policy`, whole or damaged.
    fn exists(&self, policy: &PolicyName) -> bool;

    /// Forgets that of `policy`.
    ///
    /// # Errors
    /// When it is there and can't be removed.
    fn forget(&self, policy: &PolicyName) -> Result<(), LastGoodError>;
}

/// Last good answers in the folder `last-good` of a state directory.
#[derive(Debug, Clone)]
pub struct InDirectory(pub PathBuf);

impl Records for InDirectory {
    fn policies(&self) -> Result<Vec<PolicyName>, LastGoodError> {
        policies(&self.0)
    }

    fn load(&self, policy: &PolicyName) -> Result<Option<LastGood>, LastGoodError> {
        load(&self.0, policy)
    }

    fn store(&self, answer: &LastGood<&str, &Contribution>) -> Result<(), LastGoodError> {
        store(&self.0, answer)
    }

    fn exists(&self, policy: &PolicyName) -> bool {
        exists(&self.0, policy)
    }

    fn forget(&self, policy: &PolicyName) -> Result<(), LastGoodError> {
        forget(&self.0, policy)
    }
}

/// The digest of facts: `sha256:...`.
pub fn facts_digest(facts: &Facts) -> String {
    digest::of_json(facts)
}

/// Only one process at a time may store. Keeps `answer` in the folder `last-good` of the state directory, in place of the policy's former one.
///
/// # Errors
/// When it can't be written; the former one is still there then.
pub fn store<S: Serialize, C: Serialize>(state_directory: &Path, answer: &LastGood<S, C>) -> Result<(), LastGoodError> {
    let file = sealed::seal(VERSION, answer)?;
    let folder = folder(state_directory)?;
    folder.sweep()?;
    Ok(folder.replace_with(&name(&answer.policy), |to| file.write(to))?)
}

/// The last good answer of `policy`; `None` when there has been none.
///
/// # Errors
/// When there is one that can't be used.
pub fn load(state_directory: &Path, policy: &PolicyName) -> Result<Option<LastGood>, LastGoodError> {
    let folder = folder(state_directory)?;
    let name = name(policy);
    let path = folder.path().join(&name);
    let damaged = |problem: String| LastGoodError::Damaged { path: path.clone(), problem };
    let Some(file) = folder.file(&name)? else { return Ok(None) };
    let answer: LastGood = sealed::open(VERSION, file, LARGEST).map_err(|broken| match broken {
        Broken::Unreadable(source) => LastGoodError::Unreadable { path: path.clone(), source },
        Broken::OtherFormat(found) => LastGoodError::OtherVersion { path: path.clone(), found },
        Broken::Damaged(problem) => damaged(problem),
    })?;
    if answer.policy != *policy {
        return Err(damaged(format!("it belongs to the policy {}", answer.policy)));
    }
    Ok(Some(answer))
}

/// Whether there is a last good answer of `policy`, whole or damaged.
pub fn exists(state_directory: &Path, policy: &PolicyName) -> bool {
    state_directory.join("last-good").join(name(policy)).exists()
}

/// The policies of which there is a last good answer, whole or damaged. A folder that does not exist holds none.
///
/// # Errors
/// When the folder can't be read.
pub fn policies(state_directory: &Path) -> Result<Vec<PolicyName>, LastGoodError> {
    if !state_directory.join("last-good").exists() {
        return Ok(Vec::new());
    }
    let names = folder(state_directory)?.names()?;
    let policy = |name: &OsString| PolicyName::new(name.to_str()?.strip_suffix(".json")?).ok();
    let mut policies: Vec<PolicyName> = names.iter().filter_map(policy).collect();
    policies.sort();
    Ok(policies)
}

/// Forgets the last good answer of `policy`.
///
/// # Errors
/// When it is there and can't be removed.
pub fn forget(state_directory: &Path, policy: &PolicyName) -> Result<(), LastGoodError> {
    Ok(folder(state_directory)?.remove(&name(policy))?)
}

fn folder(state_directory: &Path) -> Result<PrivateDir, PrivateError> {
    PrivateDir::open(&state_directory.join("last-good"))
}

fn name(policy: &PolicyName) -> OsString {
    OsString::from(format!("{policy}.json"))
}
