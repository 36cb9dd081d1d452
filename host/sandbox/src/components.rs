//! The components of versions in force, kept in the state directory: a policy whose file is broken or gone after a
//! restart still answers with the version that was good. A file is named after its digest, written whole or not at all,
//! and believed only if its bytes have that digest.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::component_file::{ComponentBytes, LARGEST};
use ruleward_files::private_dir::{PrivateDir, PrivateError};
use ruleward_files::regular::{self, NotRead};

/// Ends the names of files.
const SUFFIX: &str = ".wasm";

/// Why a component can't be kept, or can't be had back.
#[derive(Debug, Error)]
pub enum KeptError {
    /// The folder or the file can't be used.
    #[error(transparent)]
    Storage(#[from] PrivateError),
    /// There is no such file.
    #[error("{} does not exist", .0.display())]
    Missing(PathBuf),
    /// It can't be read.
    #[error("{}: {source}", .path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Its bytes are not those that were kept.
    #[error("{} is damaged: its digest is not the one in its name", .0.display())]
    Damaged(PathBuf),
}

/// Keeps `component`, if it is not kept already.
///
/// # Errors
/// When it can't be written.
pub fn keep(state_directory: &Path, component: &ComponentBytes) -> Result<(), KeptError> {
    let folder = folder(state_directory)?;
    let name = name(&component.digest);
    let there = folder.file(&name).is_ok_and(|file| {
        file.and_then(|file| file.metadata().ok()).is_some_and(|file| file.len() == component.bytes.len() as u64)
    });
    // Of a file with the right length only the digest tells more, and that is asked when the file is needed.
    if there { Ok(()) } else { Ok(folder.replace(&name, &component.bytes)?) }
}

/// The kept component with this digest.
///
/// # Errors
/// When there is none that can be believed.
pub fn load(state_directory: &Path, digest: &str) -> Result<ComponentBytes, KeptError> {
    let folder = folder(state_directory)?;
    let name = name(digest);
    let path = folder.path().join(&name);
    let Some(file) = folder.file(&name)? else { return Err(KeptError::Missing(path)) };
    let unreadable = |source| KeptError::Unreadable { path: path.clone(), source };
    let metadata = file.metadata().map_err(unreadable)?;
    match regular::bytes_of(file, &metadata, LARGEST) {
        Ok(bytes) => {
            let component = ComponentBytes::from(bytes);
            if component.digest == digest {
                return Ok(component);
            }
        }
        Err(NotRead::Io(source)) => return Err(unreadable(source)),
        Err(NotRead::NotAFile | NotRead::TooLong(_)) => {}
    }
    // The next one that is kept must not be taken for this one.
    folder.remove(&name)?;
    Err(KeptError::Damaged(path))
}

/// Whether something is kept as the component with this digest.
pub fn is_kept(state_directory: &Path, digest: &str) -> bool {
    path(state_directory, digest).exists()
}

/// Where the component with this digest is, if it is kept.
pub fn path(state_directory: &Path, digest: &str) -> PathBuf {
    state_directory.join("components").join(name(digest))
}

/// All that are kept, with their lengths in bytes.
///
/// # Errors
/// When the folder can't be used.
pub fn all(state_directory: &Path) -> Result<BTreeMap<String, u64>, KeptError> {
    if !state_directory.join("components").exists() {
        return Ok(BTreeMap::new());
    }
    let folder = folder(state_directory)?;
    let one = |name: OsString| {
        let digest = format!("sha256:{}", name.to_str()?.strip_suffix(SUFFIX)?);
        Some((digest, folder.file(&name).ok()??.metadata().ok()?.len()))
    };
    Ok(folder.names()?.into_iter().filter_map(one).collect())
}

/// Removes all but the components with these digests. Answers how many went.
///
/// # Errors
/// When the folder can't be used.
pub fn prune(state_directory: &Path, keep: &[&str]) -> Result<usize, KeptError> {
    let folder = folder(state_directory)?;
    let kept: Vec<OsString> = keep.iter().map(|digest| name(digest)).collect();
    let mut removed = 0;
    folder.sweep()?;
    for name in folder.names()? {
        let ours = name.to_str().is_some_and(|name| name.ends_with(SUFFIX));
        if ours && !kept.contains(&name) {
            folder.remove(&name)?;
            removed += 1;
        }
    }
    Ok(removed)
}

fn folder(state_directory: &Path) -> Result<PrivateDir, PrivateError> {
    PrivateDir::open(&state_directory.join("components"))
}

fn name(digest: &str) -> OsString {
    let hexadecimal = digest.strip_prefix("sha256:").unwrap_or(digest);
    OsString::from(format!("{hexadecimal}{SUFFIX}"))
}
