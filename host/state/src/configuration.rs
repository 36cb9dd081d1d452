//! The texts of the last configuration that was right.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use ruleward_files::private_dir::{PrivateDir, PrivateError};
use ruleward_files::sealed;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Of the file.
const FORMAT: u32 = 1;
/// Its largest size: what all files of a configuration may have is less by far.
const LARGEST: u64 = 64 << 20;
const NAME: &str = "configuration.json";

/// Why it is not kept.
#[derive(Debug, Error)]
pub enum KeepError {
    /// The folder or the file can't be used.
    #[error("the valid configuration can't be saved, so a start with an invalid one would fail: {0}")]
    Storage(#[from] PrivateError),
    /// A path that is not Unicode, for example.
    #[error("the valid configuration can't be saved: {0}")]
    Unwritable(#[from] serde_json::Error),
}

/// The texts of all files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Texts {
    /// The one that was named.
    pub file: PathBuf,
    /// Each with its text, in the order in which they count.
    pub sources: Vec<(PathBuf, String)>,
}

/// Keeps them in place of those before.
///
/// # Errors
/// [`KeepError`]; what was kept before is still there then.
pub fn keep(state_directory: &Path, texts: &Texts) -> Result<(), KeepError> {
    let texts = sealed::seal(FORMAT, texts)?;
    Ok(folder(state_directory)?.replace_with(OsStr::new(NAME), |file| texts.write(file))?)
}

/// Whether any are kept in this state directory.
pub fn is_kept(state_directory: &Path) -> bool {
    state_directory.join("configuration").join(NAME).exists()
}

/// What was kept, if it is whole.
pub fn kept(state_directory: &Path) -> Option<Texts> {
    if !state_directory.join("configuration").exists() {
        return None;
    }
    let found = folder(state_directory).ok()?.file(OsStr::new(NAME)).ok()??;
    sealed::open(FORMAT, found, LARGEST).ok()
}

fn folder(state_directory: &Path) -> Result<PrivateDir, PrivateError> {
    PrivateDir::open(&state_directory.join("configuration"))
}
